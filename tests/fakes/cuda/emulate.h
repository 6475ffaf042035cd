/**
 * @file emulate.h
 * CUDA's words on a CPU: a thread of a block is a fiber, barriers and warp instructions
 * switch between them. Meant to find mistakes in index arithmetic, layouts of fragments,
 * missing barriers and missing waits: the order in which fibers run changes from launch
 * to launch, asynchronous copies arrive as late as they may, shared memory starts as NaN,
 * and addresses are checked. It says nothing about speed or memory models.
 */
#ifndef ICD_FAKE_EMULATE_H
#define ICD_FAKE_EMULATE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

struct uint4 {
    uint32_t x, y, z, w;
};
static inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w)
{
    return {x, y, z, w};
}

typedef void emu_kernel(const void *params);

/** Puts a kernel on the list before main runs. */
struct emu_entry {
    emu_entry(const char *name, emu_kernel *fn, int threads, size_t params);
};

struct emu_found {
    const char *name;
    emu_kernel *fn; /* NULL: no such kernel */
    int threads;    /* most of a block */
    size_t params;  /* bytes */
};
emu_found emu_find(const char *name);

/** Runs a grid. @return false where the launch itself is wrong (message on stderr) */
bool emu_launch(emu_kernel *fn, unsigned blocks, unsigned threads, size_t shared,
                const void *params);

/** True where [p, p + bytes) lies in an allocation of the fake device. */
bool emu_is_global(const void *p, size_t bytes);

int emu_thread();
int emu_block();
unsigned char *emu_shared();
void emu_block_sync();
float emu_warp_xor(float v, int mask);
void emu_copy_async(void *to, const void *from, bool valid);
void emu_copy_commit();
void emu_copy_wait(int left);
void emu_load_matrix(uint32_t r[4], const void *p, bool turned);
void emu_multiply(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1);
void emu_multiply(int32_t c[4], const uint32_t a[4], uint32_t b0, uint32_t b1);
bool emu_multiply_e4m3(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1);
uint4 emu_load(const void *p);
uint32_t emu_shared_address(const void *p);
/** A thread's sums of a product of its warp group, computed when it is waited for from
 * operands that must not have changed since. */
void emu_group_multiply(int type, int n, void *c, uint64_t a, uint64_t b);
void emu_group_fence();
void emu_group_commit();
void emu_group_wait(int left);
void emu_fence_copies();

/** True where products of warp groups are to be wrong. */
bool emu_is_wrong();

/** True where the fake device has an instruction for products of e4m3. */
bool emu_has_fp8();

#define ICD_INLINE static inline
#define ICD_MEMBER static inline
#define ICD_KERNEL(name, type, threads, resident)                                        \
    static void name##_body(const type &p);                                              \
    static void name##_entry(const void *params)                                         \
    {                                                                                    \
        name##_body(*(const type *)params);                                              \
    }                                                                                    \
    static const emu_entry name##_listed(#name, name##_entry, threads, sizeof(type));    \
    static void name##_body(const type &p)
#define ICD_SHARED(name) unsigned char *name = emu_shared()

#define thread_id      emu_thread
#define block_id       emu_block
#define block_sync     emu_block_sync
#define warp_xor       emu_warp_xor
#define copy_async     emu_copy_async
#define copy_commit    emu_copy_commit
#define multiply       emu_multiply
#define load_stream    emu_load
#define shared_address emu_shared_address
#define multiply_e4m3  emu_multiply_e4m3

static inline void fence()
{
}
static inline uint32_t count_up(uint32_t *at)
{
    return (*at)++;
}
static inline uint32_t load_fresh(const uint32_t *p)
{
    return *p;
}
template <int left> static inline void copy_wait()
{
    emu_copy_wait(left);
}
static inline void load_matrix(uint32_t r[4], const void *p)
{
    emu_load_matrix(r, p, false);
}
static inline void load_matrix_turned(uint32_t r[4], const void *p)
{
    emu_load_matrix(r, p, true);
}
static inline float as_float(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}
static inline uint32_t as_bits(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}
static inline uint32_t round_bf16(float v)
{
    uint32_t bits = as_bits(v);
    if (isnan(v)) return 0x7fff;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
static inline uint32_t pack_bf16(float low, float high)
{
    return round_bf16(high) << 16 | round_bf16(low);
}
static inline int dot4(uint32_t a, uint32_t b, int c)
{
    for (int i = 0; i < 4; i++) c += (int8_t)(a >> 8 * i) * (int8_t)(b >> 8 * i);
    return c;
}
static inline float power_of_two(float x)
{
    float v = exp2f(x);
    return v < 0x1p-126f ? 0 : v; /* NaN stays */
}
static inline float rsqrtf(float v)
{
    return 1 / sqrtf(v);
}

#endif
