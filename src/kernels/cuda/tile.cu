/* Products over live granules on tensor cores (mma.sync, sm_80 and later): a persistent
 * block works through its items; each item is a tile of BM tokens x V rows over a range
 * of the row block's live granules, copied into shared memory three stages ahead. */
#include "kernels/cuda/tile.h"

enum { SIDE = 2 }; /* warps along the rows; a warp takes 32 tokens x V / 2 rows */

template <int V, int BM> struct shape {
    static const int threads = BM / 32 * SIDE * 32;
    static const int w_bytes = ICD_GPU_STAGE * V * ICD_GPU_GRANULE;
    static const int a_bytes = ICD_GPU_STAGE * BM * ICD_GPU_GRANULE;
    static const int stage = w_bytes + a_bytes;
    static const int pairs = V / SIDE / 16;            /* 16-row operands of a warp */
    static const int resident = V + BM == 128 ? 4 : 2; /* blocks of a multiprocessor */
};

/* The same granules of BM tokens. */
template <int type, int V, int BM>
ICD_INLINE void load_a(const icd_gpu_product &p, unsigned char *to, int64_t at, int count,
                       int first)
{
    const int64_t row = p.slots * (type == ICD_GPU_BF16 ? 2 : 1);
    for (int i = thread_id(); i < count * BM * 2; i += shape<V, BM>::threads) {
        int g = i / (BM * 2), t = i / 2 % BM, half = i % 2;
        bool valid = first + t < p.tokens;
        const unsigned char *from = p.a + (int64_t)p.live[at + g] * ICD_GPU_GRANULE +
                                    half * ICD_GPU_CHUNK + (valid ? first + t : 0) * row;
        copy_async(to + g * BM * ICD_GPU_GRANULE + icd_i_gpu_swizzle(t, half), from,
                   valid);
    }
}

/* Single channels: each value on its own, and no copy engine for so little. */
template <int type, int V, int BM>
ICD_INLINE void gather_a(const icd_gpu_product &p, unsigned char *to, int64_t at,
                         int count, int first)
{
    const int size = type == ICD_GPU_BF16 ? 2 : 1, n = ICD_GPU_GRANULE / size;
    for (int i = thread_id(); i < count * BM * n; i += shape<V, BM>::threads) {
        int c = i % n, g = i / n % count, t = i / n / count;
        int channel = p.live[(at + g) * n + c];
        bool valid = first + t < p.tokens && channel >= 0;
        int64_t from = valid ? (first + t) * p.slots + channel : 0;
        unsigned char *slot = to + g * BM * ICD_GPU_GRANULE +
                              icd_i_gpu_swizzle(t, c * size / ICD_GPU_CHUNK) +
                              c * size % ICD_GPU_CHUNK;
        if (type == ICD_GPU_BF16)
            *(uint16_t *)slot = valid ? ((const uint16_t *)p.a)[from] : 0;
        else
            *slot = valid ? p.a[from] : 0;
    }
}

/* One stage: `count` granules multiplied by what a warp owns of them. */
template <int type, int V, int BM, typename sum>
ICD_INLINE void multiply_stage(const unsigned char *w, const unsigned char *a, int count,
                               sum (*c)[2][2][4])
{
    const int lane = thread_id() % 32, warp = thread_id() / 32;
    const int t0 = warp / SIDE * 32, r0 = warp % SIDE * (V / SIDE);
    for (int g = 0; g < count; g++) {
        uint32_t x[2][4];
        const unsigned char *ag = a + g * BM * ICD_GPU_GRANULE,
                            *wg = w + g * V * ICD_GPU_GRANULE;
#pragma unroll
        for (int m = 0; m < 2; m++)
            load_matrix(x[m], ag + icd_i_gpu_swizzle(t0 + m * 16 + lane % 16, lane / 16));
#pragma unroll
        for (int n = 0; n < shape<V, BM>::pairs; n++) {
            uint32_t b[4];
            load_matrix(b, wg + icd_i_gpu_swizzle(r0 + n * 16 + lane % 8 + lane / 16 * 8,
                                                  lane / 8 % 2));
#pragma unroll
            for (int m = 0; m < 2; m++) {
                product_of<type>::multiply_by(c[n][m][0], x[m], b[0], b[1]);
                product_of<type>::multiply_by(c[n][m][1], x[m], b[2], b[3]);
            }
        }
    }
}

template <int type, int V, int BM, bool gather>
ICD_INLINE void load_stage(const icd_gpu_product &p, unsigned char *room,
                           const icd_gpu_item &item, int64_t base, int stage)
{
    int at = item.first + stage * ICD_GPU_STAGE, count = item.last - at;
    unsigned char *to = room + stage % ICD_GPU_STAGES * shape<V, BM>::stage;
    if (count > ICD_GPU_STAGE) count = ICD_GPU_STAGE;
    if (count > 0) {
        load_w<V, shape<V, BM>::threads>(p, to, base + at, count);
        if (gather)
            gather_a<type, V, BM>(p, to + shape<V, BM>::w_bytes, base + at, count,
                                  item.tile * BM);
        else
            load_a<type, V, BM>(p, to + shape<V, BM>::w_bytes,
                                                    base + at, count, item.tile * BM);
    }
    copy_commit();
}

/* The pipeline. Every stage has one group of copies, empty at the end, so that waiting
 * for all but the last STAGES - 2 groups is waiting for this stage. */
template <int type, int V, int BM, bool gather, typename sum>
ICD_INLINE void multiply_item(const icd_gpu_product &p, unsigned char *room,
                              const icd_gpu_item &item, sum (*c)[2][2][4])
{
    const int64_t base = p.block_ptr[item.block];
    const int stages = (item.last - item.first + ICD_GPU_STAGE - 1) / ICD_GPU_STAGE;
    for (int s = 0; s < ICD_GPU_STAGES - 1; s++)
        load_stage<type, V, BM, gather>(p, room, item, base, s);
    for (int s = 0; s < stages; s++) {
        int left = item.last - item.first - s * ICD_GPU_STAGE;
        copy_wait<ICD_GPU_STAGES - 2>();
        block_sync(); /* the stage is there, and nobody reads the one before it */
        load_stage<type, V, BM, gather>(p, room, item, base, s + ICD_GPU_STAGES - 1);
        unsigned char *w = room + s % ICD_GPU_STAGES * shape<V, BM>::stage;
        multiply_stage<type, V, BM>(w, w + shape<V, BM>::w_bytes,
                                    left < ICD_GPU_STAGE ? left : ICD_GPU_STAGE, c);
    }
    copy_wait<0>();
    block_sync();
}

template <int type, int V, int BM, typename sum>
ICD_INLINE void store_item(const icd_gpu_product &p, const icd_gpu_item &item,
                           sum (*c)[2][2][4])
{
    const int lane = thread_id() % 32, warp = thread_id() / 32;
    const int t0 = item.tile * BM + warp / SIDE * 32 + lane / 4;
    const int r0 = item.block * V + warp % SIDE * (V / SIDE) + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < shape<V, BM>::pairs; n++)
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const sum *v = c[n][m][h];
                int t = t0 + m * 16, r = r0 + n * 16 + h * 8;
                store_rows<type>(p, (float)v[0], (float)v[1], t, r);
                store_rows<type>(p, (float)v[2], (float)v[3], t + 8, r);
            }
}

template <int type, int V, int BM, bool gather>
ICD_INLINE void product(const icd_gpu_product &p, unsigned char *room)
{
    typedef typename product_of<type>::sum sum;
    for (int i = p.item_ptr[block_id()]; i < p.item_ptr[block_id() + 1]; i++) {
        const icd_gpu_item item = p.item[i];
        sum c[shape<V, BM>::pairs][2][2][4] = {};
        multiply_item<type, V, BM, gather>(p, room, item, c);
        if (item.parts > 1 &&
            !join_parts<shape<V, BM>::pairs * 16, shape<V, BM>::threads>(p, item, room,
                                                                         &c[0][0][0][0]))
            continue;
        store_item<type, V, BM>(p, item, c);
    }
}

#define PRODUCT(name, type, V, BM, gather)                                               \
    ICD_KERNEL(name, icd_gpu_product, (shape<V, BM>::threads), (shape<V, BM>::resident)) \
    {                                                                                    \
        ICD_SHARED(room);                                                                \
        product<type, V, BM, gather>(p, room);                                           \
    }

PRODUCT(icd_tile_bf16_64x64, ICD_GPU_BF16, 64, 64, false)
PRODUCT(icd_tile_bf16_64x128, ICD_GPU_BF16, 64, 128, false)
PRODUCT(icd_tile_bf16_128x64, ICD_GPU_BF16, 128, 64, false)
PRODUCT(icd_tile_bf16_128x128, ICD_GPU_BF16, 128, 128, false)
PRODUCT(icd_tile_int8_64x64, ICD_GPU_INT8, 64, 64, false)
PRODUCT(icd_tile_int8_64x128, ICD_GPU_INT8, 64, 128, false)
PRODUCT(icd_tile_int8_128x64, ICD_GPU_INT8, 128, 64, false)
PRODUCT(icd_tile_int8_128x128, ICD_GPU_INT8, 128, 128, false)
PRODUCT(icd_tile_fp8_64x64, ICD_GPU_FP8, 64, 64, false)
PRODUCT(icd_tile_fp8_64x128, ICD_GPU_FP8, 64, 128, false)
PRODUCT(icd_tile_fp8_128x64, ICD_GPU_FP8, 128, 64, false)
PRODUCT(icd_tile_fp8_128x128, ICD_GPU_FP8, 128, 128, false)
PRODUCT(icd_gather_bf16_64x64, ICD_GPU_BF16, 64, 64, true)
PRODUCT(icd_gather_bf16_128x64, ICD_GPU_BF16, 128, 64, true)
PRODUCT(icd_gather_int8_64x64, ICD_GPU_INT8, 64, 64, true)
PRODUCT(icd_gather_int8_128x64, ICD_GPU_INT8, 128, 64, true)
PRODUCT(icd_gather_fp8_64x64, ICD_GPU_FP8, 64, 64, true)
PRODUCT(icd_gather_fp8_128x64, ICD_GPU_FP8, 128, 64, true)
