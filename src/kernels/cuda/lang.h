/**
 * @file lang.h
 * The words in which the device kernels are written: CUDA's, under names that a test can
 * give another meaning (tests/fakes/emulate.h runs the same kernels on a CPU).
 */
#ifndef ICD_KERNELS_CUDA_LANG_H
#define ICD_KERNELS_CUDA_LANG_H

#include "kernels/cuda/params.h"

#if defined(ICD_EMULATE)
#include "emulate.h"
#else

#define ICD_INLINE static __device__ __forceinline__
#define ICD_MEMBER static __device__ __forceinline__
#define ICD_KERNEL(name, type, threads, resident)                                        \
    extern "C" __global__ void __launch_bounds__(threads, resident)                      \
        name(const __grid_constant__ type p)
#define ICD_SHARED(name) extern __shared__ __align__(1024) unsigned char name[]

ICD_INLINE int thread_id()
{
    return (int)threadIdx.x;
}
ICD_INLINE int block_id()
{
    return (int)blockIdx.x;
}
ICD_INLINE void block_sync()
{
    __syncthreads();
}
ICD_INLINE void fence()
{
    __threadfence();
}
ICD_INLINE uint32_t count_up(uint32_t *at)
{
    return atomicAdd(at, 1u);
}
ICD_INLINE float warp_xor(float v, int mask)
{
    return __shfl_xor_sync(0xffffffffu, v, mask);
}
ICD_INLINE uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}
/* Another block may have written it. */
ICD_INLINE uint32_t load_fresh(const uint32_t *p)
{
    return __ldcg(p);
}
/* 16 bytes that this launch reads once. */
ICD_INLINE uint4 load_stream(const void *p)
{
    return __ldcs((const uint4 *)p);
}

/* Copies 16 bytes into shared memory, zeros where not `valid`. */
ICD_INLINE void copy_async(void *to, const void *from, bool valid)
{
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
        "l"(from), "r"(valid ? 16 : 0)
        : "memory");
}
ICD_INLINE void copy_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int left> ICD_INLINE void copy_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}

/* Four 8 x 16-byte matrices; lane l gives the address of row l % 8 of matrix l / 8. */
ICD_INLINE void load_matrix(uint32_t r[4], const void *p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(p))
                 : "memory");
}
/* The same, each matrix of 8 x 8 bf16 transposed. */
ICD_INLINE void load_matrix_turned(uint32_t r[4], const void *p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(p))
                 : "memory");
}

/* c [16 x 8] += a [16 x 32 bytes] b^T [8 x 32 bytes]. */
ICD_INLINE void multiply(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
ICD_INLINE void multiply(int32_t c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* The same of e4m3; false where the device has no such instruction (before sm_89). */
ICD_INLINE bool multiply_e4m3(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
#if __CUDA_ARCH__ >= 890
    asm volatile("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    return true;
#else
    (void)c, (void)a, (void)b0, (void)b1;
    return false;
#endif
}

/* Two values as bf16, ties to even, `low` in the low half. */
ICD_INLINE uint32_t pack_bf16(float low, float high)
{
    uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
ICD_INLINE float as_float(uint32_t bits)
{
    return __uint_as_float(bits);
}
ICD_INLINE uint32_t as_bits(float v)
{
    return __float_as_uint(v);
}
ICD_INLINE int dot4(uint32_t a, uint32_t b, int c)
{
    return __dp4a((int)a, (int)b, c);
}
/* To 2 units in the last place; 0 where the result is subnormal. */
ICD_INLINE float power_of_two(float x)
{
    float r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}

#endif

ICD_INLINE float from_bf16(uint16_t bits)
{
    return as_float((uint32_t)bits << 16);
}
ICD_INLINE uint16_t to_bf16(float v)
{
    return (uint16_t)pack_bf16(v, 0);
}
/* The two values of a pair. */
ICD_INLINE float low_bf16(uint32_t pair)
{
    return as_float(pair << 16);
}
ICD_INLINE float high_bf16(uint32_t pair)
{
    return as_float(pair & 0xffff0000u);
}

/* An e4m3 is f32's sign, its 4 exponent bits lowest and its 3 mantissa bits highest,
 * times 2^120 for the difference of the biases; so are subnormals. NaN is not known here:
 * rows that hold one get it as their scale. */
ICD_INLINE float from_e4m3(uint32_t byte)
{
    return as_float((byte & 0x80) << 24 | (byte & 0x7f) << 20) * 0x1p120f;
}
/* Two neighbouring bytes as a pair of bf16, exactly. */
ICD_INLINE uint32_t widen_e4m3(uint32_t two)
{
    return pack_bf16(from_e4m3(two & 0xff), from_e4m3(two >> 8 & 0xff));
}
/* The nearest e4m3, ties to even; beyond 448: 448. */
ICD_INLINE uint32_t to_e4m3(float v)
{
    uint32_t sign = as_bits(v) >> 24 & 0x80;
    float a = fminf(fabsf(v), 448);
    if (a < 0x1p-6f) return sign | (uint32_t)rintf(a * 0x1p9f);
    uint32_t bits = as_bits(a);
    bits += 0x7ffff + (bits >> 20 & 1);
    return sign | ((bits >> 20) - (120 << 3));
}

/* c += a b^T of e4m3: by the device's instruction, else as two products of bf16. Both
 * operands are split in the same way along k, so that which half takes which value does
 * not matter. */
ICD_INLINE void multiply_fp8(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    if (multiply_e4m3(c, a, b0, b1)) return;
    const uint32_t first[4] = {widen_e4m3(a[0]), widen_e4m3(a[1]), widen_e4m3(a[0] >> 16),
                               widen_e4m3(a[1] >> 16)};
    const uint32_t second[4] = {widen_e4m3(a[2]), widen_e4m3(a[3]),
                                widen_e4m3(a[2] >> 16), widen_e4m3(a[3] >> 16)};
    multiply(c, first, widen_e4m3(b0), widen_e4m3(b0 >> 16));
    multiply(c, second, widen_e4m3(b1), widen_e4m3(b1 >> 16));
}

/* The product of a type. */
template <int type> struct product_of {
    typedef float sum;
    ICD_MEMBER void multiply_by(sum c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
    {
        multiply(c, a, b0, b1);
    }
};
template <> struct product_of<ICD_GPU_INT8> {
    typedef int32_t sum;
    ICD_MEMBER void multiply_by(sum c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
    {
        multiply(c, a, b0, b1);
    }
};
template <> struct product_of<ICD_GPU_FP8> {
    typedef float sum;
    ICD_MEMBER void multiply_by(sum c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
    {
        multiply_fp8(c, a, b0, b1);
    }
};

/* One value of a product, or two neighbours where they lie together. */
ICD_INLINE void store_value(const icd_gpu_product &p, int64_t at, float v)
{
    if (p.wide)
        ((float *)p.y)[at] = v;
    else
        ((uint16_t *)p.y)[at] = to_bf16(v);
}
ICD_INLINE void store_pair(const icd_gpu_product &p, int64_t at, float low, float high)
{
    if (p.wide) {
        store_value(p, at, low);
        store_value(p, at + 1, high);
    } else {
        *(uint32_t *)((uint16_t *)p.y + at) = pack_bf16(low, high);
    }
}

/* Sums and maxima over a block of `threads` threads, the same for all of them; `room`:
 * 32 floats of shared memory. A fixed tree: the same bits every time. */
ICD_INLINE float warp_sum(float v)
{
    for (int mask = 16; mask; mask >>= 1) v += warp_xor(v, mask);
    return v;
}
ICD_INLINE float warp_max(float v)
{
    for (int mask = 16; mask; mask >>= 1) v = fmaxf(v, warp_xor(v, mask));
    return v;
}
ICD_INLINE float block_sum(float v, float *room, int threads)
{
    float sum = 0;
    v = warp_sum(v);
    block_sync();
    if (thread_id() % 32 == 0) room[thread_id() / 32] = v;
    block_sync();
    for (int i = 0; i < threads / 32; i++) sum += room[i];
    return sum;
}
ICD_INLINE float block_max(float v, float *room, int threads)
{
    float most = 0;
    v = warp_max(v);
    block_sync();
    if (thread_id() % 32 == 0) room[thread_id() / 32] = v;
    block_sync();
    for (int i = 0; i < threads / 32; i++) most = fmaxf(most, room[i]);
    return most;
}

ICD_INLINE float gelu(float x)
{
    return 0.5f * x * erfcf(-x * 0.70710678118654752f);
}
ICD_INLINE float silu(float x)
{
    return x / (1 + expf(-x));
}
/* NaN stays NaN. */
ICD_INLINE float relu(float v)
{
    return v > 0 || isnan(v) ? v : 0;
}
/* What a product ends with. */
ICD_INLINE float activate(float v, int act)
{
    if (act == ICD_GPU_GELU) return gelu(v);
    return act == ICD_GPU_RELU ? relu(v) : v;
}

#endif
