/* Products for few tokens: time follows the bytes of the weights. A thread owns one
 * 16-byte chunk of every granule, so that a block reads each granule as one run; the
 * activations of 64 granules wait in shared memory. */
#include "kernels/cuda/lang.h"

ICD_INLINE void multiply_chunk(float *sum, const uint32_t w[4], const uint32_t x[4])
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        *sum = fmaf(low_bf16(w[i]), low_bf16(x[i]), *sum);
        *sum = fmaf(high_bf16(w[i]), high_bf16(x[i]), *sum);
    }
}
ICD_INLINE void multiply_chunk(int32_t *sum, const uint32_t w[4], const uint32_t x[4])
{
#pragma unroll
    for (int i = 0; i < 4; i++) *sum = dot4(w[i], x[i], *sum);
}

ICD_INLINE uint32_t bits_of(float v)
{
    return as_bits(v);
}
ICD_INLINE uint32_t bits_of(int32_t v)
{
    return (uint32_t)v;
}
ICD_INLINE float add_bits(float v, uint32_t bits)
{
    return v + as_float(bits);
}
ICD_INLINE int32_t add_bits(int32_t v, uint32_t bits)
{
    return v + (int32_t)bits;
}

/* room[token][granule] <- activations of `count` granules of the list; `row`: bytes of a
 * token's part of the room. */
template <int type, int T, bool gather, int row>
ICD_INLINE void stage_x(const icd_gpu_product &p, unsigned char *room, int64_t at,
                        int count)
{
    const int size = type == ICD_GPU_BF16 ? 2 : 1;
    const int unit = gather ? size : ICD_GPU_CHUNK, n = ICD_GPU_GRANULE / unit;
    for (int i = thread_id(); i < T * count * n; i += 2 * p.vector) {
        int part = i % n, g = i / n % count, t = i / n / count;
        unsigned char *to =
            room + t * row + g * ICD_GPU_GRANULE + part * unit;
        int64_t from = gather ? (int64_t)p.live[(at + g) * n + part] * size
                              : (int64_t)p.live[at + g] * ICD_GPU_GRANULE + part * unit;
        bool valid = t < p.tokens && from >= 0;
        const unsigned char *a = p.a + (valid ? t * p.slots * size + from : 0);
        if (!gather)
            *(uint4 *)to = valid ? *(const uint4 *)a : make_uint4(0, 0, 0, 0);
        else if (type == ICD_GPU_BF16)
            *(uint16_t *)to = valid ? *(const uint16_t *)a : 0;
        else
            *to = valid ? *a : 0;
    }
}

template <int type, int T, typename sum>
ICD_INLINE void multiply_staged(const icd_gpu_product &p, const unsigned char *room,
                                int64_t at, int count, int half, sum *c)
{
    const unsigned char *w = p.w + (at * p.vector * 2 + thread_id()) * ICD_GPU_CHUNK;
#pragma unroll 4
    for (int g = 0; g < count; g++) {
        uint4 v = load_stream(w + (int64_t)g * p.vector * ICD_GPU_GRANULE);
        const uint32_t wide[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int t = 0; t < T; t++) {
            uint4 u = *(const uint4 *)(room +
                                       (t * ICD_GPU_DECODE_X + g) * ICD_GPU_GRANULE +
                                       half * ICD_GPU_CHUNK);
            const uint32_t x[4] = {u.x, u.y, u.z, u.w};
            multiply_chunk(&c[t], wide, x);
        }
    }
}

/* As in tile.cu: the last piece of a row block adds all of them up in their order; T sums
 * of each thread. */
template <int T, typename sum>
ICD_INLINE bool join_parts(const icd_gpu_product &p, const icd_gpu_item &item,
                           unsigned char *room, sum *c)
{
    const int threads = 2 * p.vector;
    const int64_t piece = (int64_t)T * threads;
#pragma unroll
    for (int t = 0; t < T; t++)
        p.partial[(item.slot + item.part) * piece + t * threads + thread_id()] =
            bits_of(c[t]);
    fence();
    block_sync();
    if (thread_id() == 0)
        *(uint32_t *)room = count_up(p.tally + item.tally) + 1u == (uint32_t)item.parts;
    block_sync();
    bool last = *(uint32_t *)room != 0;
    block_sync();
    if (!last) return false;
    fence();
    if (thread_id() == 0) p.tally[item.tally] = 0;
#pragma unroll
    for (int t = 0; t < T; t++) {
        c[t] = 0;
        for (int part = 0; part < item.parts; part++)
            c[t] = add_bits(c[t], load_fresh(p.partial + (item.slot + part) * piece +
                                             t * threads + thread_id()));
    }
    return true;
}

template <int type>
ICD_INLINE void store(const icd_gpu_product &p, float v, int t, int r)
{
    if (t >= p.tokens || r >= p.rows) return;
    if (type != ICD_GPU_BF16) v *= p.a_scale[t] * p.w_scale[r];
    if (p.bias) v += p.bias[r];
    store_value(p, t * p.ldy + (p.place ? p.place[r] : r), activate(v, p.act));
}

ICD_INLINE float other_half(float v)
{
    return v + warp_xor(v, 1);
}
ICD_INLINE int32_t other_half(int32_t v)
{
    return v + (int32_t)as_bits(warp_xor(as_float((uint32_t)v), 1));
}

template <int type, int T, bool gather>
ICD_INLINE void decode(const icd_gpu_product &p, unsigned char *room)
{
    typedef typename product_of<type>::sum sum;
    const int row = thread_id() / 2, half = thread_id() % 2 ^ (row >> 2 & 1);
    for (int i = p.item_ptr[block_id()]; i < p.item_ptr[block_id() + 1]; i++) {
        const icd_gpu_item item = p.item[i];
        const int64_t base = p.block_ptr[item.block];
        sum c[T] = {};
        for (int at = item.first; at < item.last; at += ICD_GPU_DECODE_X) {
            int count = item.last - at < ICD_GPU_DECODE_X ? item.last - at
                                                          : (int)ICD_GPU_DECODE_X;
            block_sync();
            stage_x<type, T, gather, ICD_GPU_DECODE_X * ICD_GPU_GRANULE>(p, room, base + at, count);
            block_sync();
            multiply_staged<type, T>(p, room, base + at, count, half, c);
        }
        block_sync();
        if (item.parts > 1 && !join_parts<T>(p, item, room, c)) continue;
#pragma unroll
        for (int t = 0; t < T; t++) {
            sum both = other_half(c[t]);
            if (thread_id() % 2 == 0)
                store<type>(p, (float)both, t, item.block * p.vector + row);
        }
    }
}

/* 16 bytes of a row's granule; zeros where there is no such granule. */
ICD_INLINE uint4 load_row(const unsigned char *granule, int row, int half, bool there)
{
    if (!there) return make_uint4(0, 0, 0, 0);
    return load_stream(granule + icd_i_gpu_swizzle(row, half));
}

/* Eight tokens on tensor cores, for a type that has no fast instruction of its own: a warp
 * owns 16 rows. Four lanes share a row and take one chunk each of two granules, so that a
 * product's k runs over memory in another order, which is the same for both operands. */
template <int type, typename sum>
ICD_INLINE void multiply_rows(const icd_gpu_product &p, const unsigned char *room,
                              int64_t at, int count, sum c[4])
{
    const int lane = thread_id() % 32, row = thread_id() / 32 * 16 + lane / 4;
    const int next = lane % 4 / 2, half = lane % 2;
    const unsigned char *x = room + lane / 4 * ICD_GPU_DECODE_ROW + next * ICD_GPU_GRANULE +
                             half * ICD_GPU_CHUNK;
    const unsigned char *w = p.w + (at + next) * p.vector * ICD_GPU_GRANULE;
#pragma unroll 4
    for (int g = 0; g < count; g += 2) {
        const unsigned char *granule = w + (int64_t)g * p.vector * ICD_GPU_GRANULE;
        const bool there = g + next < count;
        uint4 u = load_row(granule, row, half, there);
        uint4 v = load_row(granule, row + 8, half, there);
        uint4 b = there ? *(const uint4 *)(x + g * ICD_GPU_GRANULE)
                        : make_uint4(0, 0, 0, 0);
        const uint32_t first[4] = {u.x, v.x, u.y, v.y}, second[4] = {u.z, v.z, u.w, v.w};
        product_of<type>::multiply_by(c, first, b.x, b.y);
        product_of<type>::multiply_by(c, second, b.z, b.w);
    }
}

template <int type, bool gather>
ICD_INLINE void decode_rows(const icd_gpu_product &p, unsigned char *room)
{
    const int lane = thread_id() % 32, row = thread_id() / 32 * 16 + lane / 4;
    for (int i = p.item_ptr[block_id()]; i < p.item_ptr[block_id() + 1]; i++) {
        const icd_gpu_item item = p.item[i];
        const int64_t base = p.block_ptr[item.block];
        typename product_of<type>::sum c[4] = {};
        for (int at = item.first; at < item.last; at += ICD_GPU_DECODE_X) {
            int count = item.last - at < ICD_GPU_DECODE_X ? item.last - at
                                                          : (int)ICD_GPU_DECODE_X;
            block_sync();
            stage_x<type, ICD_GPU_DECODE, gather, ICD_GPU_DECODE_ROW>(p, room, base + at,
                                                                      count);
            block_sync();
            multiply_rows<type>(p, room, base + at, count, c);
        }
        block_sync();
        if (item.parts > 1 && !join_parts<4>(p, item, room, c)) continue;
#pragma unroll
        for (int j = 0; j < 4; j++)
            store<type>(p, (float)c[j], lane % 4 * 2 + j % 2,
                        item.block * p.vector + row + j / 2 * 8);
    }
}

#define DECODE_ROWS(name, type, gather)                                                  \
    ICD_KERNEL(name, icd_gpu_product, 256, 1)                                            \
    {                                                                                    \
        ICD_SHARED(room);                                                                \
        decode_rows<type, gather>(p, room);                                              \
    }

DECODE_ROWS(icd_decode_fp8, ICD_GPU_FP8, false)
DECODE_ROWS(icd_decode_gather_fp8, ICD_GPU_FP8, true)

#define DECODE(name, type, T, gather)                                                    \
    ICD_KERNEL(name, icd_gpu_product, 256, 1)                                            \
    {                                                                                    \
        ICD_SHARED(room);                                                                \
        decode<type, T, gather>(p, room);                                                \
    }

DECODE(icd_decode_bf16_1, ICD_GPU_BF16, 1, false)
DECODE(icd_decode_bf16_4, ICD_GPU_BF16, 4, false)
DECODE(icd_decode_bf16_8, ICD_GPU_BF16, 8, false)
DECODE(icd_decode_int8_1, ICD_GPU_INT8, 1, false)
DECODE(icd_decode_int8_4, ICD_GPU_INT8, 4, false)
DECODE(icd_decode_int8_8, ICD_GPU_INT8, 8, false)
DECODE(icd_decode_gather_bf16_1, ICD_GPU_BF16, 1, true)
DECODE(icd_decode_gather_bf16_4, ICD_GPU_BF16, 4, true)
DECODE(icd_decode_gather_bf16_8, ICD_GPU_BF16, 8, true)
DECODE(icd_decode_gather_int8_1, ICD_GPU_INT8, 1, true)
DECODE(icd_decode_gather_int8_4, ICD_GPU_INT8, 4, true)
DECODE(icd_decode_gather_int8_8, ICD_GPU_INT8, 8, true)
