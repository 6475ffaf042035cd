/**
 * @file cache.h
 * The paged KV caches of a model on a device. Where a token lies is decided on the CPU,
 * in the same caches as the CPU engine's (core/kv.h); keys, values and masses live on the
 * device. A cache may be shown to whoever thins or permutes it: with its values, or
 * places and masses only, and then the device moves its tokens itself.
 */
#ifndef ICD_RUNNER_CUDA_CACHE_H
#define ICD_RUNNER_CUDA_CACHE_H

#include "core/kv.h"
#include "runner/cuda/gpu.h"

typedef struct icd_gpu_cache {
    icd_kv *kv;              /**< where tokens lie; values only while they are shown */
    icd_dptr page_k, page_v; /**< bf16 [pages][kv_heads][page][dim] */
    icd_dptr live;           /**< [pages][page] */
    icd_dptr mass;           /**< f32 [pages][page] */
} icd_gpu_cache;

typedef struct icd_gpu_caches {
    icd_gpu *gpu;
    icd_gpu_cache *layer;
    int64_t layers;
    int32_t shown;     /**< nothing, places, or values too */
    icd_status broken; /**< why they could not be shown */
    int32_t *held;     /**< [layers][sequences][tokens] where the token of a position lies
                            on the device, while only places are shown; -1: nowhere */
    int32_t *move;     /**< from and to */
    icd_kv_slot *list;
    float *zeros;
    icd_dptr scratch; /**< values of one layer on their way; {0}: not needed so far */
    icd_dptr moves;
} icd_gpu_caches;

icd_status icd_i_gpu_caches_new(icd_ctx *ctx, icd_gpu *gpu, const icd_kv_shape *shape,
                                int64_t layers, icd_gpu_caches *out);

/** Memory of the host; that of the device goes with the device. */
void icd_i_gpu_caches_release(icd_ctx *ctx, icd_gpu_caches *c);

/** The caches hold the places of the tokens of `batch` sequences and nothing else.
 * @param lengths [in] NULL: all `seq` */
void icd_i_gpu_caches_start(icd_gpu_caches *c, int64_t batch, int64_t seq,
                            const int32_t *lengths);

/** A place for one more token of a sequence. */
void icd_i_gpu_caches_append(icd_gpu_caches *c, int64_t layer, int64_t sequence);

/**
 * The cache of a layer as the CPU sees it; the first call after a step reads from the
 * device. An error is kept for icd_i_gpu_caches_take.
 * @param values [in] false: places, positions and masses; keys and values may be old
 */
icd_kv **icd_i_gpu_caches_show(icd_ctx *ctx, icd_gpu_caches *c, int64_t layer,
                               bool values);

/**
 * What was changed outside comes into force on the device: values that were shown are
 * uploaded, else tokens are moved there.
 * @return ICD_OK | ICD_EUNSUPPORTED a cache in int8 | ICD_EINVAL a token that the device
 * does not hold | what showing returned
 */
icd_status icd_i_gpu_caches_take(icd_ctx *ctx, icd_gpu_caches *c);

#endif
