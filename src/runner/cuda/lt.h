/**
 * @file lt.h
 * The dense baseline: cuBLASLt, loaded at run time, its algorithms tried and the fastest
 * kept.
 */
#ifndef ICD_RUNNER_CUDA_LT_H
#define ICD_RUNNER_CUDA_LT_H

#include "runner/cuda/gpu.h"

/** Operand types of the baseline; sums and results: BF16, FP8 bf16; INT8 int32. */
enum { ICD_LT_BF16, ICD_LT_FP8, ICD_LT_INT8, ICD_LT_TYPES };

typedef struct icd_lt icd_lt;

/**
 * Loads the library.
 * @param library [in] NULL: libcublasLt.so of the CUDA release this was built with
 * @return ICD_OK | ICD_EUNSUPPORTED not built with it, not there, or it refuses | ENOMEM
 */
icd_status icd_i_lt_open(icd_ctx *ctx, icd_gpu *gpu, const char *library, icd_lt **out);
void icd_i_lt_close(icd_ctx *ctx, icd_lt *lt);

/** y [tokens x rows] = x [tokens x cols] w^T [rows x cols], all row-major. */
typedef struct icd_lt_product {
    int32_t type;
    int64_t tokens, rows, cols;
    icd_dptr x, w, y;
} icd_lt_product;

/**
 * Picks an algorithm: each of the library's suggestions runs ten times on these operands,
 * the fastest by the median is kept for this shape (one shape at a time).
 * @param tried [out] how many ran
 * @return ICD_OK | ICD_EUNSUPPORTED none for this shape and type on this device
 */
icd_status icd_i_lt_tune(icd_ctx *ctx, icd_lt *lt, const icd_lt_product *p,
                         int32_t *tried);

/** Asks for the product that was tuned; may be recorded. */
icd_status icd_i_lt_run(icd_ctx *ctx, icd_lt *lt, const icd_lt_product *p);

#endif
