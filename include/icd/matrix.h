/**
 * @file matrix.h
 * A weight matrix as the adapters and the runner hand it on: f32, or int8 with a scale
 * per row.
 */
#ifndef ICD_MATRIX_H
#define ICD_MATRIX_H

#include <icd/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A weight matrix [rows x cols] (out, in), row-major, borrowed. */
typedef struct icd_matrix {
    const char *name;
    const float *w;
    int64_t rows, cols;
} icd_matrix;

/** int8 weights with one scale per output row: w ~ q * scale. */
typedef struct icd_quantized {
    int64_t rows, cols;
    int8_t *q;    /**< [rows x cols], -127..127 */
    float *scale; /**< [rows]; 0 for an all-zero row */
} icd_quantized;

/** Zeroed storage. */
icd_status icd_quantized_new(icd_ctx *ctx, int64_t rows, int64_t cols,
                             icd_quantized **out);
void icd_quantized_free(icd_ctx *ctx, icd_quantized *q);

/**
 * Quantises one row of weights: the largest magnitude becomes 127, rounding to nearest
 * even.
 * @return false when the row holds NaN or infinity (outputs then undefined)
 */
bool icd_quantize_weights(const float *w, int64_t cols, int8_t *q, float *scale);

#ifdef __cplusplus
}
#endif
#endif
