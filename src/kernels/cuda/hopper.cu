/* Products over live granules by warp groups (wgmma, sm_90a). As in tile.cu a persistent
 * block works through its items, tiles of BM tokens x V rows; here a warp group takes 64
 * of the tokens, a granule is one instruction of 64 tokens x V rows x 32 bytes, and both
 * operands are read from shared memory where the copies put them. (Two pieces of 64
 * tokens a warp group would read the weights half as often; ptxas then moves sums between
 * registers and waits for every instruction.)
 *
 * Products of stage s are under way while the copies of stage s + 2 are asked for. With
 * four rooms, that of stage s + 2 was last read by stage s - 2, which every thread waited
 * for before the barrier of stage s. */
#include "kernels/cuda/tile.h"
#include "kernels/cuda/warpgroup.h"

template <int V, int BM> struct shape {
    static const int threads = BM / WARPGROUP_ROWS * WARPGROUP; /* 2 for a token */
    static const int w_bytes = ICD_GPU_STAGE * V * ICD_GPU_GRANULE;
    static const int stage = w_bytes + ICD_GPU_STAGE * BM * ICD_GPU_GRANULE;
    static const int sums = V / 2; /* of a thread */
    static const int resident = ICD_GPU_ROOMS * stage <= 96 << 10 ? 2 : 1;
};

/* What a thread copies of every granule of activations: 16 bytes of one token. */
struct reader {
    const unsigned char *row;
    int32_t to;
    bool valid;
};

template <int type, int BM>
ICD_INLINE reader reader_of(const icd_gpu_product &p, const icd_gpu_item &item)
{
    const int half = thread_id() % 2, t = thread_id() / 2;
    const int64_t token = (int64_t)item.tile * BM + t;
    const bool valid = token < p.tokens;
    const int64_t bytes = p.slots * (type == ICD_GPU_BF16 ? 2 : 1);
    return {p.a + (valid ? token : 0) * bytes + half * ICD_GPU_CHUNK,
            icd_i_gpu_swizzle(t, half), valid};
}

template <int V, int BM>
ICD_INLINE void load_stage(const icd_gpu_product &p, const reader &a, unsigned char *room,
                           const icd_gpu_item &item, int64_t base, int stage)
{
    typedef shape<V, BM> z;
    int at = item.first + stage * ICD_GPU_STAGE, count = item.last - at;
    unsigned char *to = room + stage % ICD_GPU_ROOMS * z::stage;
    if (count > ICD_GPU_STAGE) count = ICD_GPU_STAGE;
    if (count > 0) load_w<V, z::threads>(p, to, base + at, count);
#pragma unroll
    for (int g = 0; g < ICD_GPU_STAGE; g++)
        if (g < count)
            copy_async(to + z::w_bytes + g * BM * ICD_GPU_GRANULE + a.to,
                       a.row + (int64_t)p.live[base + at + g] * ICD_GPU_GRANULE, a.valid);
    copy_commit();
}

template <int type, int V, int BM, typename sum>
ICD_INLINE void multiply_stage(const unsigned char *w, int count,
                               sum (&c)[shape<V, BM>::sums])
{
    const unsigned char *mine =
        w + shape<V, BM>::w_bytes +
        thread_id() / WARPGROUP * WARPGROUP_ROWS * ICD_GPU_GRANULE;
    const uint64_t x = operand_of(mine), y = operand_of(w);
    /* Nearly every stage is full, and then addresses are constants apart. */
    if (count == ICD_GPU_STAGE) {
        group_fence();
#pragma unroll
        for (int g = 0; g < ICD_GPU_STAGE; g++)
            group_multiply<type, V>(c, x + g * (BM * ICD_GPU_GRANULE / 16),
                                    y + g * (V * ICD_GPU_GRANULE / 16));
        group_commit();
        return;
    }
#pragma unroll 1
    for (int g = 0; g < count; g++) {
        group_fence();
        group_multiply<type, V>(c, x + g * (BM * ICD_GPU_GRANULE / 16),
                                y + g * (V * ICD_GPU_GRANULE / 16));
    }
    group_fence();
    group_commit();
}

template <int type, int V, int BM, typename sum>
ICD_INLINE void multiply_item(const icd_gpu_product &p, unsigned char *room,
                              const icd_gpu_item &item, sum (&c)[shape<V, BM>::sums])
{
    const int64_t base = p.block_ptr[item.block];
    const reader a = reader_of<type, BM>(p, item);
    const int stages = (item.last - item.first + ICD_GPU_STAGE - 1) / ICD_GPU_STAGE;
    load_stage<V, BM>(p, a, room, item, base, 0);
    load_stage<V, BM>(p, a, room, item, base, 1);
    for (int s = 0; s < stages; s++) {
        int left = item.last - item.first - s * ICD_GPU_STAGE;
        copy_wait<1>();
        fence_copies();
        block_sync(); /* the stage is there, and nobody reads stage s - 2 */
        multiply_stage<type, V, BM>(room + s % ICD_GPU_ROOMS * shape<V, BM>::stage,
                                    left < ICD_GPU_STAGE ? left : ICD_GPU_STAGE, c);
        load_stage<V, BM>(p, a, room, item, base, s + 2);
        group_wait<1>();
    }
    group_wait<0>();
    copy_wait<0>();
    block_sync();
}

/* Sums of a thread: row lane / 4 of its warp's 16 tokens and the eighth below, two
 * neighbouring rows of the weights in every eight. */
template <int type, int V, int BM, typename sum>
ICD_INLINE void store_item(const icd_gpu_product &p, const icd_gpu_item &item,
                           sum (&c)[shape<V, BM>::sums])
{
    const int lane = thread_id() % 32, warp = thread_id() / 32;
    const int t = item.tile * BM + warp * 16 + lane / 4;
    const int r0 = item.block * V + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < V / 8; n++) {
        const sum *v = c + 4 * n;
        store_rows<type>(p, (float)v[0], (float)v[1], t, r0 + n * 8);
        store_rows<type>(p, (float)v[2], (float)v[3], t + 8, r0 + n * 8);
    }
}

template <int type, int V, int BM>
ICD_INLINE void product(const icd_gpu_product &p, unsigned char *room)
{
    typedef typename product_of<type>::sum sum;
    typedef shape<V, BM> z;
    for (int i = p.item_ptr[block_id()]; i < p.item_ptr[block_id() + 1]; i++) {
        const icd_gpu_item item = p.item[i];
        sum c[z::sums] = {};
        multiply_item<type, V, BM>(p, room, item, c);
        if (item.parts > 1 && !join_parts<z::sums, z::threads>(p, item, room, c))
            continue;
        store_item<type, V, BM>(p, item, c);
    }
}

#define PRODUCT(name, type, V, BM)                                                       \
    ICD_KERNEL(name, icd_gpu_product, (shape<V, BM>::threads), (shape<V, BM>::resident)) \
    {                                                                                    \
        ICD_SHARED(room);                                                                \
        product<type, V, BM>(p, room);                                                   \
    }

PRODUCT(icd_hopper_bf16_64x128, ICD_GPU_BF16, 64, 128)
PRODUCT(icd_hopper_bf16_64x256, ICD_GPU_BF16, 64, 256)
PRODUCT(icd_hopper_bf16_128x128, ICD_GPU_BF16, 128, 128)
PRODUCT(icd_hopper_bf16_128x256, ICD_GPU_BF16, 128, 256)
PRODUCT(icd_hopper_int8_64x128, ICD_GPU_INT8, 64, 128)
PRODUCT(icd_hopper_int8_64x256, ICD_GPU_INT8, 64, 256)
PRODUCT(icd_hopper_int8_128x128, ICD_GPU_INT8, 128, 128)
PRODUCT(icd_hopper_int8_128x256, ICD_GPU_INT8, 128, 256)
PRODUCT(icd_hopper_fp8_64x128, ICD_GPU_FP8, 64, 128)
PRODUCT(icd_hopper_fp8_64x256, ICD_GPU_FP8, 64, 256)
PRODUCT(icd_hopper_fp8_128x128, ICD_GPU_FP8, 128, 128)
PRODUCT(icd_hopper_fp8_128x256, ICD_GPU_FP8, 128, 256)
