/**
 * @file tile.h
 * What the kernels over live granules share: copies into shared memory, pieces of a tile
 * added up, the store.
 */
#ifndef ICD_KERNELS_CUDA_TILE_H
#define ICD_KERNELS_CUDA_TILE_H

#include "kernels/cuda/lang.h"

/* Granules of the weights lie as they are needed: one run of memory. */
template <int V, int threads>
ICD_INLINE void load_w(const icd_gpu_product &p, unsigned char *to, int64_t at, int count)
{
    const unsigned char *from = p.w + at * V * ICD_GPU_GRANULE;
    for (int i = thread_id(); i < count * V * 2; i += threads)
        copy_async(to + i * ICD_GPU_CHUNK, from + (int64_t)i * ICD_GPU_CHUNK, true);
}

ICD_INLINE uint32_t bits_of(float v)
{
    return as_bits(v);
}
ICD_INLINE uint32_t bits_of(int32_t v)
{
    return (uint32_t)v;
}
ICD_INLINE void add_bits(float *c, uint32_t v)
{
    *c += as_float(v);
}
ICD_INLINE void add_bits(int32_t *c, uint32_t v)
{
    *c += (int32_t)v;
}

/* Puts this piece's sums into the workspace; true for the block that finds all of the
 * tile's pieces there, with their sum, added in the order of the pieces. */
template <int values, int threads, typename sum>
ICD_INLINE bool join_parts(const icd_gpu_product &p, const icd_gpu_item &item,
                           unsigned char *room, sum *c)
{
    uint32_t *mine =
        p.partial + (int64_t)(item.slot + item.part) * values * threads + thread_id();
#pragma unroll
    for (int i = 0; i < values; i++) mine[i * threads] = bits_of(c[i]);
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
    for (int i = 0; i < values; i++) c[i] = 0;
    for (int part = 0; part < item.parts; part++) {
        const uint32_t *from =
            p.partial + (int64_t)(item.slot + part) * values * threads + thread_id();
#pragma unroll
        for (int i = 0; i < values; i++) add_bits(&c[i], load_fresh(from + i * threads));
    }
    return true;
}

template <int type>
ICD_INLINE float finish(const icd_gpu_product &p, float v, int t, int r)
{
    if (type != ICD_GPU_BF16) v *= p.a_scale[t] * p.w_scale[r];
    if (p.bias) v += p.bias[r];
    return activate(v, p.act);
}

/* Two neighbouring rows of one token. */
template <int type>
ICD_INLINE void store_rows(const icd_gpu_product &p, float v0, float v1, int t, int r)
{
    if (t >= p.tokens || r >= p.rows) return;
    const int64_t row = t * p.ldy;
    bool both = r + 1 < p.rows;
    float low = finish<type>(p, v0, t, r),
          high = both ? finish<type>(p, v1, t, r + 1) : 0;
    if (!p.place && both && p.ldy % 2 == 0) {
        store_pair(p, row + r, low, high);
        return;
    }
    store_value(p, row + (p.place ? p.place[r] : r), low);
    if (both) store_value(p, row + (p.place ? p.place[r + 1] : r + 1), high);
}

#endif
