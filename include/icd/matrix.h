/**
 * @file matrix.h
 * A weight matrix as the adapters and the runner hand it on: f32, or values of a smaller
 * type with scales, compressed n:m or not.
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

/** What one weight is stored as. */
typedef enum icd_weight_dtype {
    ICD_WEIGHT_F32,
    ICD_WEIGHT_BF16,     /**< the upper half of an f32 */
    ICD_WEIGHT_INT8,     /**< -127..127 */
    ICD_WEIGHT_INT4,     /**< -8..7 */
    ICD_WEIGHT_FP8_E4M3, /**< no infinity; largest 448 (OCP) */
    ICD_WEIGHT_FP8_E5M2, /**< largest 57344 */
    ICD_WEIGHT_DTYPES
} icd_weight_dtype;

/**
 * Weights of a small type: w = value(q) * scale of its row and group. Columns are those
 * of the model; a group is `group` neighbours in the order `order`, and a local order
 * under which such a matrix is executed must keep every group (and every m of an n:m
 * pattern) together.
 */
typedef struct icd_quantized {
    int64_t rows, cols;
    int8_t *q;      /**< [rows x cols] INT8, INT4: the value; FP8: its bits; else NULL */
    float *scale;   /**< [rows x icd_quantized_groups]; 0 for an all-zero row or group */
    uint16_t *bits; /**< [rows x cols] BF16; else NULL */
    int32_t dtype;  /**< icd_weight_dtype */
    int32_t group;  /**< columns that share a scale; 0: the whole row */
    int32_t n, m;   /**< at most n of any m neighbours (columns m i .. m i + m - 1, in the
                         order that the matrix is executed in) of a row are not zero; 0: no
                         such promise */
    int32_t *order; /**< [cols] groups are neighbours here: order[k] = column; NULL: as
                       the columns stand */
    int64_t outliers;  /**< columns that are held in bf16 instead; their values are 0 */
    int32_t *outlier;  /**< [outliers] which, ascending */
    uint16_t *wide;    /**< [rows x outliers] their weights, bits of bf16 */
    float input_scale; /**< INT8, INT4: an activation x is read as round(x / input_scale),
                          at most 127; 0: by the largest of its token */
} icd_quantized;

/** Zeroed storage of int8 weights with one scale per row. */
icd_status icd_quantized_new(icd_ctx *ctx, int64_t rows, int64_t cols,
                             icd_quantized **out);

/**
 * Zeroed storage of another type.
 * @param group [in] columns that share a scale; 0: the whole row
 * @return ICD_OK | ICD_EINVAL sizes, F32 or an unknown type, a negative group |
 * ICD_ENOMEM
 */
icd_status icd_quantized_new_as(icd_ctx *ctx, int64_t rows, int64_t cols, int32_t dtype,
                                int32_t group, icd_quantized **out);
void icd_quantized_free(icd_ctx *ctx, icd_quantized *q);

/** Scales per row. */
int64_t icd_quantized_groups(const icd_quantized *q);

/**
 * Rounds a matrix to a small type, to nearest even; scales make the largest magnitude of
 * a group the largest value (INT8 127, INT4 7, E4M3 448, E5M2 57344; BF16 has scale 1).
 * @return ICD_OK | ICD_EDATA NaN or infinity | ICD_EINVAL type or group | ICD_ENOMEM
 */
icd_status icd_quantize_matrix(icd_ctx *ctx, const icd_matrix *w, int32_t dtype,
                               int32_t group, icd_quantized **out);

/**
 * Holds some columns in bf16 from now on. Their part in the scales should have been taken
 * away before: quantise a matrix in which these columns are zero.
 * @param w       [in] [q->rows x q->cols]; the listed columns are read
 * @param outlier [in] ascending
 * @return ICD_OK | ICD_EINVAL indices out of range or not ascending, weights that are
 * BF16 anyway | ICD_ENOMEM
 */
icd_status icd_quantized_widen(icd_ctx *ctx, icd_quantized *q, const float *w,
                               const int32_t *outlier, int64_t count);

/** One row as f32. @param out [out] [cols] */
void icd_quantized_row(const icd_quantized *q, int64_t row, float *out);

/**
 * Sets n and m where every row keeps the promise (zeros counted by value).
 * @return false, and nothing set, when a row has more
 */
bool icd_quantized_set_nm(icd_quantized *q, int32_t n, int32_t m);

/** "f32", "bf16", "int8", "int4", "fp8_e4m3", "fp8_e5m2". */
const char *icd_weight_dtype_name(int32_t dtype);

/** Bits of one weight, scales not counted. */
int32_t icd_weight_dtype_bits(int32_t dtype);

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
