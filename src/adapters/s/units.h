/**
 * @file units.h
 * What a sparsity type prunes: units of V rows x g neighbouring slots, and which of them
 * compete for a budget. Every type is one shape.
 */
#ifndef ICD_ADAPTERS_S_UNITS_H
#define ICD_ADAPTERS_S_UNITS_H

#include "core/mask.h"
#include <icd/adapters.h>
#include <icd/perm.h>

typedef struct icd_unit_shape {
    int64_t rows, cols;   /**< of the matrix */
    int64_t vector;       /**< V: rows of a unit */
    int64_t granule;      /**< g: slots of a unit */
    int64_t down, across; /**< units: ceil(rows / V) x ceil(cols / g) */
    int64_t group; /**< units in a row of units that compete; 0: all of the matrix */
    int64_t keep;  /**< of every group; -1: by the rate */
} icd_unit_shape;

/** The shape of a type on a matrix. */
icd_unit_shape icd_i_unit_shape(const icd_sparsity_opts *opts, int64_t rows,
                                int64_t cols);

/**
 * Saliency of every unit, summed in double over its rows and slots.
 * @param order [in] column at each slot; NULL: identity
 * @param sum   [out] [down x across]
 */
icd_status icd_i_unit_sums(icd_ctx *ctx, const icd_unit_shape *shape,
                           const float *saliency, const int32_t *order, float *sum);

/** Weights of unit (i, j), fewer at the edges. */
int64_t icd_i_unit_weights(const icd_unit_shape *shape, int64_t i, int64_t j);

/** Share of the matrix's saliency over share of its weights, of every unit; 0 where the
 * matrix has none. */
void icd_i_unit_worths(const icd_unit_shape *shape, const float *sum, float *worth);

/** Marks the units that survive, by rate or by floor. @param kept [out] [down x across]
 */
icd_status icd_i_unit_choose(icd_ctx *ctx, const icd_unit_shape *shape, const float *sum,
                             double rate, double floor, bool *kept);

/** A mask whose bits are those of the surviving units. */
icd_status icd_i_unit_mask(icd_ctx *ctx, const icd_unit_shape *shape, const bool *kept,
                           const int32_t *order, int32_t mask_vector, icd_mask **out);

#endif
