/**
 * @file lt.h
 * The dense baseline: cuBLASLt, loaded at run time, its suggestions tried and the fastest
 * kept, once for each shape.
 */
#ifndef ICD_RUNNER_CUDA_LT_H
#define ICD_RUNNER_CUDA_LT_H

#include "runner/cuda/gpu.h"

/**
 * Loads the library.
 * @param library [in] NULL: libcublasLt.so.13, else .12
 * @return ICD_OK | ICD_EUNSUPPORTED not there, too old, or it refuses to start |
 * ICD_ENOMEM
 */
icd_status icd_i_lt_open(icd_ctx *ctx, icd_gpu *gpu, const char *library, icd_lt **out);
void icd_i_lt_close(icd_ctx *ctx, icd_lt *lt);

/** y [tokens][rows] = act(x [tokens][ldx] w^T [rows][cols] + bias); `y` is bf16, for int8
 * the sums in int32. */
typedef struct icd_lt_product {
    int32_t type; /**< ICD_GPU_BF16, INT8, FP8 */
    int32_t relu; /**< bf16 only */
    int64_t tokens, rows, cols, ldx;
    icd_dptr x, w, y;
    icd_dptr bias; /**< bf16 only: bf16 [rows]; {0}: none */
} icd_lt_product;

/**
 * Picks an algorithm for the shape of a product: each of the library's suggestions runs
 * on these operands, the fastest by the median is kept. A shape that was seen before
 * costs nothing.
 * @param tried [out] how many ran; NULL: not asked for
 * @return ICD_OK | ICD_EUNSUPPORTED none for this shape and type on this device
 */
icd_status icd_i_lt_tune(icd_ctx *ctx, icd_lt *lt, const icd_lt_product *p,
                         int32_t *tried);

/** Asks for a product whose shape was tuned; may be recorded. */
icd_status icd_i_lt_run(icd_ctx *ctx, icd_lt *lt, const icd_lt_product *p);

#endif
