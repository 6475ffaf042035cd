/**
 * @file bisect.h
 * A graph in two sides of exact size with few edges between them: coarsen, cut the
 * coarsest graph in several ways, refine on the way back.
 * @source Hendrickson, Leland (1995), 10.1145/224170.224228
 */
#ifndef ICD_SOLVER_BISECT_H
#define ICD_SOLVER_BISECT_H

#include "base/rng.h"
#include "solver/budget.h"
#include "solver/wgraph.h"

typedef struct icd_bisect_params {
    icd_budget *budget;
    int32_t tries;    /**< starts at the coarsest level */
    int32_t passes;   /**< refinement passes per level */
    int32_t patience; /**< moves without a better state */
} icd_bisect_params;

/**
 * @param target [in]  slots on side 0; met exactly when every size is 1
 * @param work   [in]  icd_i_bisect_bytes, given back
 * @param side   [out] g->n entries
 * Once the budget is over the rest is done without search.
 * @cost time O(nnz log n), memory O(nnz + n)
 * @det  a function of graph, target, params and rng
 */
void icd_i_bisect(const icd_wgraph *g, int32_t target, const icd_bisect_params *params,
                  icd_rng *rng, icd_work *work, uint8_t *side);

size_t icd_i_bisect_bytes(int64_t n, int64_t nnz);

#endif
