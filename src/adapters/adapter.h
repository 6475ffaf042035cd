/**
 * @file adapter.h
 * What the adapters of one family share; docs/adding/adapter.md shows how to add one.
 */
#ifndef ICD_ADAPTERS_ADAPTER_H
#define ICD_ADAPTERS_ADAPTER_H

#include "core/mask.h"
#include <icd/adapters.h>

/** The value at `rank` (0-based) of `n` values sorted in descending order; reorders them.
 */
float icd_i_select_descending(float *v, int64_t n, int64_t rank);

/**
 * Marks the `keep` largest of `n` values, ties by lower index.
 * @param work [in] scratch of n floats
 * @param kept [out] [n]
 * @cost  expected O(n)
 */
void icd_i_keep_largest(const float *value, int64_t n, int64_t keep, float *work,
                        bool *kept);

/** Fills the loss that activations see: max_error and cosine of x' W'^T against x W^T.
 * @param x [in] [tokens x cols] x' where it is not x; NULL: x */
icd_status icd_i_measure_loss_with(icd_ctx *ctx, const icd_matrix *w,
                                   const float *changed, const icd_calibration *cal,
                                   const float *x, icd_transform_meta *meta);
icd_status icd_i_measure_loss(icd_ctx *ctx, const icd_matrix *w, const float *changed,
                              const icd_calibration *cal, icd_transform_meta *meta);

/** A transform that was not applied, and why. */
void icd_i_no_op(icd_ctx *ctx, icd_transform_meta *meta, const char *name,
                 const char *fmt, ...) ICD_PRINTF(4, 5);

#endif
