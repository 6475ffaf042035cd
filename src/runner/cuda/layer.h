/**
 * @file layer.h
 * Steps that the device engines share, between products.
 */
#ifndef ICD_RUNNER_CUDA_LAYER_H
#define ICD_RUNNER_CUDA_LAYER_H

#include "runner/cuda/gpu.h"

/** What the next product reads: one buffer for all, written before each. */
typedef struct icd_gpu_stage {
    icd_dptr rows, scale;
} icd_gpu_stage;

/** Sizes of the buffer for `tokens` rows of the widest linear. */
icd_status icd_i_gpu_stage_new(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_linear *linear,
                               int64_t count, int64_t tokens, icd_gpu_stage *out);

/** Runs a pass over rows that stages the input of `next`. @param next [in] NULL: nothing
 * is staged */
icd_status icd_i_gpu_rows_to(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_rows pass,
                             const icd_gpu_linear *next, const icd_gpu_stage *stage);

/** y = x w^T + bias of rows of bf16 (op ICD_GPU_COPY_WIDE: f32) as they are,
 * [tokens][ldx]: staged first, unless the linear can read them where they lie. */
icd_status icd_i_gpu_apply(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_linear *l,
                           icd_dptr x, int64_t ldx, int32_t op,
                           const icd_gpu_stage *stage, icd_dptr y);

/** y = staged w^T + bias. */
icd_status icd_i_gpu_multiply(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_linear *l,
                              const icd_gpu_stage *stage, icd_dptr y);

/** Attention of whole sequences. */
icd_status icd_i_gpu_attend(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_attention *p);

/** Fails where an observer was set: nothing is copied out of a device in between. */
icd_status icd_i_gpu_check_observers(icd_ctx *ctx, const icd_runner *r);

#endif
