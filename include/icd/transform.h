/**
 * @file transform.h
 * The adapters S and Q alone: a model in, a transformed model out.
 */
#ifndef ICD_TRANSFORM_H
#define ICD_TRANSFORM_H

#include <icd/config.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How a transformed model is stored. */
typedef enum icd_transform_format {
    ICD_TRANSFORM_PACKED, /**< what survives, in its small type (icd/packed.h) */
    ICD_TRANSFORM_DENSE   /**< f32 with the values that the small type holds:
                             `transformers` loads it */
} icd_transform_format;

typedef struct icd_transform_result {
    int64_t linears, sparse, quantized; /**< of these, how many were changed */
    int64_t weights, zeros;             /**< of all linears */
    int64_t bytes_before, bytes_after;  /**< weights, masks and scales of the linears */
    double retained;                    /**< mean over weights; NaN: no sparsity */
    double sqnr_db;                     /**< least of all linears; NaN: not quantised */
    double cosine;   /**< least of all linears on the calibration rows; NaN: no input */
    int64_t skipped; /**< linears whose transform was a no-op with a reason */
} icd_transform_result;

/**
 * Applies sections transform.sparsity and transform.quant to every linear of a model.
 * Beside the folder of the model stands transform_meta.json: what was done to each linear
 * and what it cost.
 * @param model [in] folder or block file
 * @param input [in] text or ids for calibration; NULL: none, or a block file's own rows
 * @return ICD_OK, no-ops included | ICD_EINVAL neither S nor Q asked for | the errors of
 * reading and writing
 */
icd_status icd_transform_model(icd_ctx *ctx, const icd_config *config, const char *model,
                               const char *input, int32_t format, const char *dir,
                               icd_transform_result *result);

#ifdef __cplusplus
}
#endif
#endif
