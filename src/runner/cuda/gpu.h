/**
 * @file gpu.h
 * What the device engines share: loaded kernels, linears in device memory, buffers and
 * launches. Work is asked for in order; nothing here waits unless it says so.
 */
#ifndef ICD_RUNNER_CUDA_GPU_H
#define ICD_RUNNER_CUDA_GPU_H

#include "base/cuda/device.h"
#include "kernels/cuda/params.h"
#include "kernels/cuda/schedule.h"
#include "runner/linear.h"

/** Kernels: X(member, name, image, bytes of shared memory); PRODUCT(V, BM) is that of a
 * tile pipeline. */
#define ICD_GPU_PIPELINE(V, BM)                                                          \
    (ICD_GPU_STAGES * ICD_GPU_STAGE * ICD_GPU_GRANULE * ((V) + (BM)))
#define ICD_GPU_ROOM_OF(V, BM)                                                           \
    (ICD_GPU_ROOMS * ICD_GPU_STAGE * ICD_GPU_GRANULE * ((V) + (BM)))
#define ICD_GPU_DECODE_ROOM(T) ((T)*ICD_GPU_DECODE_X * ICD_GPU_GRANULE)
#define ICD_GPU_KERNELS(X)                                                               \
    X(TILE_BF16_64_64, "icd_tile_bf16_64x64", TILE, ICD_GPU_PIPELINE(64, 64))            \
    X(TILE_BF16_64_128, "icd_tile_bf16_64x128", TILE, ICD_GPU_PIPELINE(64, 128))         \
    X(TILE_BF16_128_64, "icd_tile_bf16_128x64", TILE, ICD_GPU_PIPELINE(128, 64))         \
    X(TILE_BF16_128_128, "icd_tile_bf16_128x128", TILE, ICD_GPU_PIPELINE(128, 128))      \
    X(TILE_INT8_64_64, "icd_tile_int8_64x64", TILE, ICD_GPU_PIPELINE(64, 64))            \
    X(TILE_INT8_64_128, "icd_tile_int8_64x128", TILE, ICD_GPU_PIPELINE(64, 128))         \
    X(TILE_INT8_128_64, "icd_tile_int8_128x64", TILE, ICD_GPU_PIPELINE(128, 64))         \
    X(TILE_INT8_128_128, "icd_tile_int8_128x128", TILE, ICD_GPU_PIPELINE(128, 128))      \
    X(TILE_FP8_64_64, "icd_tile_fp8_64x64", TILE, ICD_GPU_PIPELINE(64, 64))              \
    X(TILE_FP8_64_128, "icd_tile_fp8_64x128", TILE, ICD_GPU_PIPELINE(64, 128))           \
    X(TILE_FP8_128_64, "icd_tile_fp8_128x64", TILE, ICD_GPU_PIPELINE(128, 64))           \
    X(TILE_FP8_128_128, "icd_tile_fp8_128x128", TILE, ICD_GPU_PIPELINE(128, 128))        \
    X(HOPPER_BF16_64_128, "icd_hopper_bf16_64x128", HOPPER, ICD_GPU_ROOM_OF(64, 128))    \
    X(HOPPER_BF16_64_256, "icd_hopper_bf16_64x256", HOPPER, ICD_GPU_ROOM_OF(64, 256))    \
    X(HOPPER_BF16_128_128, "icd_hopper_bf16_128x128", HOPPER, ICD_GPU_ROOM_OF(128, 128)) \
    X(HOPPER_BF16_128_256, "icd_hopper_bf16_128x256", HOPPER, ICD_GPU_ROOM_OF(128, 256)) \
    X(HOPPER_INT8_64_128, "icd_hopper_int8_64x128", HOPPER, ICD_GPU_ROOM_OF(64, 128))    \
    X(HOPPER_INT8_64_256, "icd_hopper_int8_64x256", HOPPER, ICD_GPU_ROOM_OF(64, 256))    \
    X(HOPPER_INT8_128_128, "icd_hopper_int8_128x128", HOPPER, ICD_GPU_ROOM_OF(128, 128)) \
    X(HOPPER_INT8_128_256, "icd_hopper_int8_128x256", HOPPER, ICD_GPU_ROOM_OF(128, 256)) \
    X(HOPPER_FP8_64_128, "icd_hopper_fp8_64x128", HOPPER, ICD_GPU_ROOM_OF(64, 128))      \
    X(HOPPER_FP8_64_256, "icd_hopper_fp8_64x256", HOPPER, ICD_GPU_ROOM_OF(64, 256))      \
    X(HOPPER_FP8_128_128, "icd_hopper_fp8_128x128", HOPPER, ICD_GPU_ROOM_OF(128, 128))   \
    X(HOPPER_FP8_128_256, "icd_hopper_fp8_128x256", HOPPER, ICD_GPU_ROOM_OF(128, 256))   \
    X(GATHER_BF16_64, "icd_gather_bf16_64x64", TILE, ICD_GPU_PIPELINE(64, 64))           \
    X(GATHER_BF16_128, "icd_gather_bf16_128x64", TILE, ICD_GPU_PIPELINE(128, 64))        \
    X(GATHER_INT8_64, "icd_gather_int8_64x64", TILE, ICD_GPU_PIPELINE(64, 64))           \
    X(GATHER_INT8_128, "icd_gather_int8_128x64", TILE, ICD_GPU_PIPELINE(128, 64))        \
    X(GATHER_FP8_64, "icd_gather_fp8_64x64", TILE, ICD_GPU_PIPELINE(64, 64))             \
    X(GATHER_FP8_128, "icd_gather_fp8_128x64", TILE, ICD_GPU_PIPELINE(128, 64))          \
    X(DECODE_FP8, "icd_decode_fp8", DECODE, ICD_GPU_DECODE *ICD_GPU_DECODE_ROW)          \
    X(DECODE_GATHER_FP8, "icd_decode_gather_fp8", DECODE,                                \
      ICD_GPU_DECODE *ICD_GPU_DECODE_ROW)                                                \
    X(DECODE_BF16_1, "icd_decode_bf16_1", DECODE, ICD_GPU_DECODE_ROOM(1))                \
    X(DECODE_BF16_4, "icd_decode_bf16_4", DECODE, ICD_GPU_DECODE_ROOM(4))                \
    X(DECODE_BF16_8, "icd_decode_bf16_8", DECODE, ICD_GPU_DECODE_ROOM(8))                \
    X(DECODE_INT8_1, "icd_decode_int8_1", DECODE, ICD_GPU_DECODE_ROOM(1))                \
    X(DECODE_INT8_4, "icd_decode_int8_4", DECODE, ICD_GPU_DECODE_ROOM(4))                \
    X(DECODE_INT8_8, "icd_decode_int8_8", DECODE, ICD_GPU_DECODE_ROOM(8))                \
    X(DECODE_GATHER_BF16_1, "icd_decode_gather_bf16_1", DECODE, ICD_GPU_DECODE_ROOM(1))  \
    X(DECODE_GATHER_BF16_4, "icd_decode_gather_bf16_4", DECODE, ICD_GPU_DECODE_ROOM(4))  \
    X(DECODE_GATHER_BF16_8, "icd_decode_gather_bf16_8", DECODE, ICD_GPU_DECODE_ROOM(8))  \
    X(DECODE_GATHER_INT8_1, "icd_decode_gather_int8_1", DECODE, ICD_GPU_DECODE_ROOM(1))  \
    X(DECODE_GATHER_INT8_4, "icd_decode_gather_int8_4", DECODE, ICD_GPU_DECODE_ROOM(4))  \
    X(DECODE_GATHER_INT8_8, "icd_decode_gather_int8_8", DECODE, ICD_GPU_DECODE_ROOM(8))  \
    X(ROWS, "icd_rows", ROWS, 0)                                                         \
    X(FINISH, "icd_finish", ROWS, 0)                                                     \
    X(EMBED, "icd_embed", ROWS, 0)                                                       \
    X(ATTENTION_64, "icd_attention_64", ATTENTION, 192 * (64 * 2 + 16))                  \
    X(ATTENTION_128, "icd_attention_128", ATTENTION, 192 * (128 * 2 + 16))               \
    X(ATTENTION_MASS, "icd_attention_mass", ATTENTION, 128 * (128 * 2 + 16))             \
    X(PAGED_MASS, "icd_paged_mass", ATTENTION, 0)                                        \
    X(ROPE, "icd_rope", ATTENTION, 0)                                                    \
    X(PAGED, "icd_paged", ATTENTION, (32 + ICD_GPU_HEAD + ICD_GPU_PAGED) * 4)            \
    X(MOVE, "icd_move", ATTENTION, 0)                                                    \
    X(CONV, "icd_conv", MAMBA, 0)                                                        \
    X(SCAN_CARRY, "icd_scan_carry", MAMBA, ICD_GPU_PATCH * 2 * ICD_GPU_STATES * 4)       \
    X(SCAN, "icd_scan", MAMBA, ICD_GPU_PATCH * 2 * ICD_GPU_STATES * 4)

typedef enum icd_gpu_which {
#define ICD_GPU_ENUM(member, name, image, shared) ICD_RUN_##member,
    ICD_GPU_KERNELS(ICD_GPU_ENUM)
#undef ICD_GPU_ENUM
        ICD_RUN_KERNELS
} icd_gpu_which;

typedef struct icd_lt icd_lt;
typedef struct icd_splt icd_splt;

/** Which way of running a dense linear won for a shape; no padding between members. */
typedef struct icd_gpu_race {
    int32_t by; /**< icd_gpu_way */
    int32_t type, act, vector, biased, placed;
    int64_t tokens, rows, cols, slots;
} icd_gpu_race;

/** What the first comparison of a Hopper kernel with the one for every device said. */
typedef enum icd_gpu_trust {
    ICD_GPU_UNTRIED,
    ICD_GPU_TRUSTED, /**< the same values, and faster */
    ICD_GPU_REFUSED
} icd_gpu_trust;
enum { ICD_GPU_HOPPERS = ICD_RUN_HOPPER_FP8_128_256 - ICD_RUN_HOPPER_BF16_64_128 + 1 };

typedef struct icd_gpu {
    icd_device *device;
    icd_device_info info;
    icd_gpu_kernel kernel[ICD_RUN_KERNELS];
    icd_lt *lt;     /**< cuBLASLt; NULL: not there, dense linears run our kernel */
    icd_splt *splt; /**< cuSPARSELt; NULL: not there, 2:4 runs as dense */
    icd_dptr partial, tally; /**< workspace of products that are cut */
    icd_dptr raw;            /**< sums of another library's products, to be finished */
    int64_t partial_bytes, tally_bytes, raw_bytes;
    icd_gpu_race *race;
    int64_t races, race_capacity;
    bool hopper; /**< has the products of warp groups (kernels/cuda/hopper.cu) */
    int8_t trust[ICD_GPU_HOPPERS]; /**< icd_gpu_trust of each of their kernels */
} icd_gpu;

/**
 * Opens the device that the runner's options name, loads every kernel and, where they are
 * there, the libraries of the baselines; why one is not used is told as an event "gpu".
 * @param widest [in] values of the longest row that icd_i_gpu_rows will see
 */
icd_status icd_i_gpu_open(icd_ctx *ctx, const icd_runner_opts *opts, int64_t widest,
                          icd_gpu *out);
void icd_i_gpu_close(icd_ctx *ctx, icd_gpu *gpu);

/** Changes whenever a workspace moved: what was recorded before must be recorded anew. */
uint64_t icd_i_gpu_room(const icd_gpu *gpu);

/** Makes a workspace at least so large; it may move. New ones are zero. */
icd_status icd_i_gpu_grow(icd_ctx *ctx, icd_gpu *gpu, icd_dptr *at, int64_t *held,
                          int64_t need);

/** What multiplies. */
typedef enum icd_gpu_way {
    ICD_GPU_OURS,  /**< kernels/cuda */
    ICD_GPU_LT,    /**< cuBLASLt */
    ICD_GPU_SPARSE /**< cuSPARSELt: two of any four weights */
} icd_gpu_way;

/** A linear in device memory, and how it is run for the number of tokens it was prepared
 * for. */
typedef struct icd_gpu_linear {
    const icd_linear *info;
    icd_plan *plan;
    int32_t type;  /**< ICD_GPU_BF16, INT8, FP8 */
    int32_t act;   /**< ICD_GPU_NONE, GELU, RELU: what its products end with; set it
                      before icd_i_gpu_prepare */
    float step;    /**< of its activations in int8; 0: by the largest of each token */
    int64_t slots; /**< channels of a staged row */
    int64_t *block_ptr;                                  /**< [blocks + 1] granules */
    icd_dptr order, d_block_ptr, live, w, w_scale, bias; /**< bias {0}: none */
    icd_dptr place; /**< [rows] column of y; {0}: the row itself */
    bool wide;      /**< y in f32; by our kernel only. Set it before icd_i_gpu_prepare */
    int64_t width;  /**< values of a row of y, at least its rows */
    bool plain;     /**< the staged row is the row itself */
    int64_t tokens; /**< prepared for; 0: not yet */
    icd_gpu_which run;
    bool hopper;        /**< `run` is a kernel of hopper.cu */
    int32_t grid, tile; /**< tile: tokens of a tile */
    icd_dptr item, item_ptr;
    int64_t item_bytes;
    icd_gpu_cuts cuts;

    /** Dense only, for the libraries: the matrix as it is, in the local order. */
    icd_dptr flat;      /**< [rows][flat_slots]; {0}: only our kernel runs it */
    icd_dptr flat_bias; /**< bf16; {0}: none, or added afterwards */
    int64_t flat_slots;
    int32_t by; /**< icd_gpu_way */
    int32_t
        two_of_four; /**< of cuSPARSELt: ICD_SPLT_NONE, _NEW, or its number (splt.h) */
} icd_gpu_linear;

/** What a linear is made of; borrowed. */
typedef struct icd_gpu_weights {
    const void *w;      /**< [rows x cols] f32, int8 or e4m3, as the linear's type says */
    const float *scale; /**< int8, fp8: [rows] */
    const float *bias;  /**< [rows]; NULL: none */
} icd_gpu_weights;

/**
 * Packs and uploads one linear; its `order` is not made (icd_i_gpu_linears_new does).
 * @param l [in, out] zeroed but for info and type
 */
icd_status icd_i_gpu_linear_put(icd_ctx *ctx, icd_gpu *gpu, const icd_layout_entry *e,
                                int32_t vector, const icd_gpu_weights *from,
                                icd_gpu_linear *l);

/** Packs and uploads the linears of a runner; those of a group get the same staged row.
 * @param out [out] [r->linears]; freed with icd_i_gpu_linears_free */
icd_status icd_i_gpu_linears_new(icd_ctx *ctx, icd_gpu *gpu, icd_runner *r,
                                 const icd_layout *layout, icd_gpu_linear **out);
void icd_i_gpu_linears_free(icd_ctx *ctx, const icd_runner *r, icd_gpu_linear *linear);

/**
 * `first` writes its rows in the local order of `second`, which then reads them where
 * they lie: one pass over them less. Without effect where the two do not fit together
 * (rows of one are not columns of the other) or `second` reads another type than bf16.
 */
icd_status icd_i_gpu_chain(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *first,
                           icd_gpu_linear *second);

/** Makes and uploads the schedules for a number of tokens, and the workspace; dense
 * linears are timed, ours against the library's, once for each shape. Waits for work that
 * uses the ones before. */
icd_status icd_i_gpu_prepare(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *linear,
                             int64_t count, int64_t tokens);

/** y [tokens][ldy] = act(staged w^T + bias). @param scale [in] int8, fp8: of the rows */
icd_status icd_i_gpu_product(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_linear *l,
                             icd_dptr staged, icd_dptr scale, icd_dptr y, int64_t ldy);

/** Bytes of weights, lists and schedule that a product reads, by the plan. */
int64_t icd_i_gpu_bytes(const icd_gpu_linear *l);

/** Launches with `blocks` blocks. */
icd_status icd_i_gpu_run(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_which which, int64_t blocks,
                         int32_t threads, const void *params);

/** A buffer with what is in `from`. */
icd_status icd_i_gpu_put(icd_ctx *ctx, icd_gpu *gpu, const void *from, int64_t bytes,
                         const char *what, icd_dptr *out);

#define ICD_GPU_PUT(ctx, gpu, from, count, what, out)                                    \
    icd_i_gpu_put((ctx), (gpu), (from), (count) * (int64_t)sizeof *(from), (what), (out))

#endif
