/**
 * @file packed.h
 * Models that are stored transformed: what survives of a weight matrix, in its small
 * type.
 *
 * In model.safetensors a packed matrix T [rows x cols] has no tensor T, but
 *
 *     T.icd.values   the surviving weights, row by row: I8 (int8), U8 (fp8: bits; int4:
 *                    two a byte, the first in the lower half), BF16 or F32
 *     T.icd.mask     U8 [ceil(rows / V), ceil(cols / 8)]: bit c % 8 of byte c / 8 of a
 *                    block of V rows: column c survives there; absent: all survive
 *     T.icd.scales   F32 [rows, groups]; absent: F32 and BF16 values need none
 *     T.icd.outlier_columns  I32 [outliers], ascending: columns whose weights are not
 *                    among the values, but
 *     T.icd.outliers BF16 [rows, outliers]; absent: none
 *     T.icd.order    I32 [cols]: the order in which groups are neighbours, n:m holds and
 *                    kernels read; absent: as the columns stand
 *
 * and the metadata `icd.packed` describes each in JSON: {"T": {"rows", "cols", "dtype":
 * "int8", "vector": V, "group", "n", "m", "frame"}}, with "outliers" and "input_scale"
 * (static scale of the activations) where there are such. All other tensors are as in any
 * checkpoint. icd_model_open reads such a file: T is there as f32, and icd_model_packed
 * tells how it is stored.
 */
#ifndef ICD_PACKED_H
#define ICD_PACKED_H

#include <icd/matrix.h>
#include <icd/model.h>

#ifdef __cplusplus
extern "C" {
#endif

struct icd_mask;

/** How one matrix is stored; what is NULL is not there. */
typedef struct icd_packed {
    const char *tensor;          /**< "encoder.layer.0.output.dense.weight" */
    const struct icd_mask *mask; /**< which weights survive; the others are 0 */
    const icd_quantized *quant;  /**< the small type; NULL: f32 */
    const icd_perm *order;       /**< local order of the columns */
} icd_packed;

/**
 * Writes a folder as icd_model_write does, with some matrices packed. What is read back
 * has the same bits.
 * @param packed [in] of matrices [out, in]; where `quant` is NULL the values are those of
 * the model's tensor
 * @return as icd_model_write | ICD_EINVAL a tensor that is not there or of another shape
 */
icd_status icd_model_write_packed(icd_ctx *ctx, const icd_model *model,
                                  const icd_packed *packed, int64_t count,
                                  const char *source, const char *dir);

/** How a tensor was stored in the file the model was opened from; NULL: whole. A model
 * made by icd_model_apply or icd_model_replace has no packed tensors. */
const icd_packed *icd_model_packed(const icd_model *model, const char *tensor);

#ifdef __cplusplus
}
#endif
#endif
