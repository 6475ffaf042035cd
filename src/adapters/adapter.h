/**
 * @file adapter.h
 * What the adapters of one family share; docs/adding/adapter.md shows how to add one.
 */
#ifndef ICD_ADAPTERS_ADAPTER_H
#define ICD_ADAPTERS_ADAPTER_H

#include "core/mask.h"
#include <icd/adapters.h>

/** One way of choosing what survives. Required: all. */
typedef struct icd_sparsity_method {
    const char *name; /**< as in `transform.sparsity.type` */
    /** Rows that share one decision. */
    int32_t (*vector)(const icd_sparsity_opts *opts);
    /**
     * Sets the surviving bits of an empty mask.
     * @param saliency [in] [rows x cols], >= 0: (|w| s_c)^2
     */
    icd_status (*choose)(icd_ctx *ctx, const float *saliency,
                         const icd_sparsity_opts *opts, icd_mask *mask);
} icd_sparsity_method;

extern const icd_sparsity_method icd_i_sparsity_hds, icd_i_sparsity_unstructured;

/**
 * Marks the `keep` largest of `n` values, ties by lower index.
 * @param work [in] scratch of n floats
 * @param kept [out] [n]
 * @cost  expected O(n)
 */
void icd_i_keep_largest(const float *value, int64_t n, int64_t keep, float *work,
                        bool *kept);

/** Fills the loss that activations see: max_error and cosine of x W'^T against x W^T. */
icd_status icd_i_measure_loss(icd_ctx *ctx, const icd_matrix *w, const float *changed,
                              const icd_calibration *cal, icd_transform_meta *meta);

/** A transform that was not applied, and why. */
void icd_i_no_op(icd_ctx *ctx, icd_transform_meta *meta, const char *name,
                 const char *fmt, ...) ICD_PRINTF(4, 5);

#endif
