/**
 * @file improve.h
 * The search that goes on until the time is used up: annealing of the whole graph where
 * it is small, else of windows of granules that hang together, one after the other.
 * @source Kirkpatrick, Gelatt, Vecchi (1983), 10.1126/science.220.4598.671
 */
#ifndef ICD_SOLVER_IMPROVE_H
#define ICD_SOLVER_IMPROVE_H

#include "solver/refine.h"

typedef struct icd_improve_params {
    const icd_bounds *zones; /**< nodes stay inside a zone; NULL: one */
    const icd_bounds *blocks;
    const uint8_t *frozen; /**< by node: keeps its slot; NULL: none */
    icd_budget *budget;
    double begin,
        end;       /**< of the whole plan, on the clock of icd_i_now(): for progress */
    double until;  /**< when this search ends */
    double offers; /**< to a node, then it ends, clock or not; 0: follow the clock */
    double enough; /**< share of the weight at which the cut cannot fall further */
    uint64_t seed;
} icd_improve_params;

/**
 * @param order [in/out] node at slot; the cut between blocks never rises
 * @cost the time until `until`, less once `enough` is met; memory O(nnz + n)
 * @det  with `offers`, unless the time ends first: a function of the arguments
 */
icd_status icd_i_improve(icd_ctx *ctx, const icd_wgraph *g,
                         const icd_improve_params *params, int32_t *order,
                         int64_t *passes);

#endif
