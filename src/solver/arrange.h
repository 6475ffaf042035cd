/**
 * @file arrange.h
 * The order of whole granules: those that share weight come to lie near each other, so
 * that C falls and no cut changes.
 */
#ifndef ICD_SOLVER_ARRANGE_H
#define ICD_SOLVER_ARRANGE_H

#include "solver/objective.h"
#include "solver/split.h"

/**
 * Exchanges blocks of equal length inside their zone: by annealing where the effort is
 * not low, then with near ones until none is better.
 * @param zones [in]     refined by `blocks`
 * @param order [in/out] node at slot; C never rises
 * @cost time O(nnz), memory O(nnz + n)
 * @det  a function of the arguments
 */
icd_status icd_i_arrange(icd_ctx *ctx, const icd_wgraph *g, const icd_bounds *zones,
                         const icd_bounds *blocks, const icd_solver_opts *o,
                         int32_t *order);

#endif
