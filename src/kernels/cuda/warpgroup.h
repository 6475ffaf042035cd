/**
 * @file warpgroup.h
 * Hopper's products of a warp group (wgmma), which read both operands from shared memory
 * while the threads go on. Only sm_90a has them; elsewhere kernels that use them trap.
 *
 * An operand is rows of 32 bytes along k, one granule, in the 32-byte swizzle in which
 * packed weights lie (icd_i_gpu_swizzle), 8 rows to 256 bytes, so that it begins at a
 * multiple of 256.
 */
#ifndef ICD_KERNELS_CUDA_WARPGROUP_H
#define ICD_KERNELS_CUDA_WARPGROUP_H

#include "kernels/cuda/lang.h"

enum { WARPGROUP = 128, WARPGROUP_ROWS = 64, OPERAND_ROWS8 = 256 /* bytes of 8 rows */ };

/* PTX ISA, "Matrix-descriptor": address, leading and stride offsets in units of 16 bytes
 * (bits 0, 16, 32), swizzle (bits 62, 63; 3: 32 bytes). One swizzle covers all of k, so
 * that the leading offset is not read. */
ICD_INLINE uint64_t operand_of(const void *p)
{
    return (uint64_t)(shared_address(p) >> 4 & 0x3fff) | (uint64_t)1 << 16 |
           (uint64_t)(OPERAND_ROWS8 >> 4) << 32 | (uint64_t)3 << 62;
}

#if defined(ICD_EMULATE)

template <int type, int N, typename sum>
ICD_INLINE void group_multiply(sum (&c)[N / 2], uint64_t a, uint64_t b)
{
    emu_group_multiply(type, N, c, a, b);
}
#define group_fence  emu_group_fence
#define group_commit emu_group_commit
template <int left> ICD_INLINE void group_wait()
{
    emu_group_wait(left);
}
#define fence_copies emu_fence_copies

#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)

#define ICD_REGS_32                                                                      \
    "{%0, %1, %2, %3, %4, %5, %6, %7, "                                                  \
    "%8, %9, %10, %11, %12, %13, %14, %15, "                                             \
    "%16, %17, %18, %19, %20, %21, %22, %23, "                                           \
    "%24, %25, %26, %27, %28, %29, %30, %31}"
#define ICD_REGS_64                                                                      \
    "{%0, %1, %2, %3, %4, %5, %6, %7, "                                                  \
    "%8, %9, %10, %11, %12, %13, %14, %15, "                                             \
    "%16, %17, %18, %19, %20, %21, %22, %23, "                                           \
    "%24, %25, %26, %27, %28, %29, %30, %31, "                                           \
    "%32, %33, %34, %35, %36, %37, %38, %39, "                                           \
    "%40, %41, %42, %43, %44, %45, %46, %47, "                                           \
    "%48, %49, %50, %51, %52, %53, %54, %55, "                                           \
    "%56, %57, %58, %59, %60, %61, %62, %63}"
#define ICD_OUT_8(k, i)                                                                  \
    k(c[i]), k(c[i + 1]), k(c[i + 2]), k(c[i + 3]), k(c[i + 4]), k(c[i + 5]),            \
        k(c[i + 6]), k(c[i + 7])
#define ICD_OUT_32(k) ICD_OUT_8(k, 0), ICD_OUT_8(k, 8), ICD_OUT_8(k, 16), ICD_OUT_8(k, 24)
#define ICD_OUT_64(k)                                                                    \
    ICD_OUT_32(k), ICD_OUT_8(k, 32), ICD_OUT_8(k, 40), ICD_OUT_8(k, 48), ICD_OUT_8(k, 56)
/* The predicate says that c is added to. */
#define ICD_GROUP_MULTIPLY(N, shape, regs, outs, in_a, in_b, rest)                       \
    asm volatile("{\n.reg .pred p;\nsetp.eq.b32 p, 1, 1;\n"                              \
                 "wgmma.mma_async.sync.aligned." shape " " regs ", " in_a ", " in_b      \
                 ", p" rest ";\n}"                                                       \
                 : outs                                                                  \
                 : "l"(a), "l"(b))

/* c [64 x N] += a [64 rows] b^T [N rows]. */
template <int type, int N, typename sum>
ICD_INLINE void group_multiply(sum (&c)[N / 2], uint64_t a, uint64_t b)
{
    if constexpr (type == ICD_GPU_BF16 && N == 64)
        ICD_GROUP_MULTIPLY(64, "m64n64k16.f32.bf16.bf16", ICD_REGS_32, ICD_OUT_32("+f"),
                           "%32", "%33", ", 1, 1, 0, 0");
    else if constexpr (type == ICD_GPU_BF16)
        ICD_GROUP_MULTIPLY(128, "m64n128k16.f32.bf16.bf16", ICD_REGS_64, ICD_OUT_64("+f"),
                           "%64", "%65", ", 1, 1, 0, 0");
    else if constexpr (type == ICD_GPU_INT8 && N == 64)
        ICD_GROUP_MULTIPLY(64, "m64n64k32.s32.s8.s8", ICD_REGS_32, ICD_OUT_32("+r"),
                           "%32", "%33", "");
    else if constexpr (type == ICD_GPU_INT8)
        ICD_GROUP_MULTIPLY(128, "m64n128k32.s32.s8.s8", ICD_REGS_64, ICD_OUT_64("+r"),
                           "%64", "%65", "");
    else if constexpr (N == 64)
        ICD_GROUP_MULTIPLY(64, "m64n64k32.f32.e4m3.e4m3", ICD_REGS_32, ICD_OUT_32("+f"),
                           "%32", "%33", ", 1, 1");
    else
        ICD_GROUP_MULTIPLY(128, "m64n128k32.f32.e4m3.e4m3", ICD_REGS_64, ICD_OUT_64("+f"),
                           "%64", "%65", ", 1, 1");
}

/* What threads did to the sums comes before the products that follow. */
ICD_INLINE void group_fence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
ICD_INLINE void group_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/* Until all but the last `left` groups are done. */
template <int left> ICD_INLINE void group_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(left) : "memory");
}
/* What this thread's copies wrote is seen by products, which read through another proxy.
 */
ICD_INLINE void fence_copies()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

#else

template <int type, int N, typename sum>
ICD_INLINE void group_multiply(sum (&)[N / 2], uint64_t, uint64_t)
{
    __trap();
}
ICD_INLINE void group_fence()
{
}
ICD_INLINE void group_commit()
{
}
template <int left> ICD_INLINE void group_wait()
{
}
ICD_INLINE void fence_copies()
{
}

#endif
#endif
