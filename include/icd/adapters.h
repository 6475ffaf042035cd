/**
 * @file adapters.h
 * S and Q: transforms of one matrix. They never change their input; what they cannot do
 * is a no-op with the reason in the metadata, and the caller goes on.
 */
#ifndef ICD_ADAPTERS_H
#define ICD_ADAPTERS_H

#include <icd/matrix.h>
#include <icd/options.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum icd_sparsity_type {
    ICD_S_NONE,
    ICD_S_HDS,
    ICD_S_UNSTRUCTURED
} icd_sparsity_type;
typedef enum icd_saliency {
    ICD_SALIENCY_MAGNITUDE,
    ICD_SALIENCY_ACTIVATION
} icd_saliency;
typedef enum icd_quant_dtype { ICD_Q_NONE, ICD_Q_INT8 } icd_quant_dtype;
typedef enum icd_quant_method { ICD_Q_PTQ_MINMAX } icd_quant_method;

/** Section `transform.sparsity`. */
typedef struct icd_sparsity_opts {
    size_t size;
    int32_t type;     /**< icd_sparsity_type */
    double rate;      /**< share of weights zeroed, 0 <= rate < 1 */
    int32_t vector;   /**< hds: V output rows share one decision */
    int32_t saliency; /**< icd_saliency: |w| or |w| * ||x|| */
} icd_sparsity_opts;

/** Section `transform.quant`. */
typedef struct icd_quant_opts {
    size_t size;
    int32_t dtype;  /**< icd_quant_dtype */
    int32_t method; /**< icd_quant_method */
} icd_quant_opts;

extern const icd_option_table icd_sparsity_table;
extern const icd_option_table icd_quant_table;

/** Activations that feed the matrix, from real input; borrowed; NULL pointers: not known.
 */
typedef struct icd_calibration {
    const double *x_sq; /**< [cols] sum over tokens of x^2 */
    const float *x;     /**< [tokens x cols] a sample of rows, for the measured loss */
    int64_t tokens;
} icd_calibration;

/** What a transform did; plain numbers, NaN where not measured. */
typedef struct icd_transform_meta {
    const char *kind; /**< "S" or "Q" */
    const char *type; /**< "hds", "unstructured", "int8" */
    bool applied;     /**< false: no-op; `reason` says why */
    char reason[160];
    double rate;       /**< S: share of weights really zeroed */
    int32_t vector;    /**< S: rows that must keep moving together */
    bool delta_layout; /**< whether W changed enough to ask for a new order */
    char rule[96];     /**< the rule behind delta_layout, in words */
    int32_t
        granule; /**< neighbours taken together by the kernel afterwards; 0: unchanged */
    double retained;  /**< S: share of the saliency that survives */
    double sqnr_db;   /**< Q: signal to quantisation noise of the weights */
    double max_error; /**< max |y' - y| / max |y| on the calibration rows */
    double cosine;    /**< mean cosine of y' and y on the calibration rows */
} icd_transform_meta;

struct icd_mask;

/**
 * Zeroes weights of least saliency.
 * @param w    [in]
 * @param cal  [in]  NULL: magnitude only (activation saliency then is a no-op with its
 * reason)
 * @param opts [in]
 * @param mask [out] what survives; NULL after a no-op; owned by the caller
 * (icd_mask_free)
 * @param meta [out]
 * @return ICD_OK (no-ops included) | ICD_EINVAL options out of range | ICD_ENOMEM
 * @det    ties by lower column, then lower row
 */
icd_status icd_apply_sparsity(icd_ctx *ctx, const icd_matrix *w,
                              const icd_calibration *cal, const icd_sparsity_opts *opts,
                              struct icd_mask **mask, icd_transform_meta *meta);
void icd_mask_free(icd_ctx *ctx, struct icd_mask *mask);

/** Copies w with masked weights zeroed into `out` [rows x cols] of the caller. */
void icd_mask_apply(const struct icd_mask *mask, const float *w, float *out);

/** Quantises a matrix; a row with NaN or Inf is a no-op with its reason. */
icd_status icd_apply_quant(icd_ctx *ctx, const icd_matrix *w, const icd_calibration *cal,
                           const icd_quant_opts *opts, icd_quantized **out,
                           icd_transform_meta *meta);

#ifdef __cplusplus
}
#endif
#endif
