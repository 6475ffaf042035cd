/**
 * @file sketch.h
 * An order by aggregation: clusters of clusters, laid out one behind the other. Much
 * cheaper than bisection, and rougher: a start for refinement.
 * @source Arai et al. (2016), 10.1109/IPDPS.2016.110
 */
#ifndef ICD_SOLVER_SKETCH_H
#define ICD_SOLVER_SKETCH_H

#include "solver/budget.h"
#include "solver/wgraph.h"

/**
 * @param order [out] node at slot; the members of a cluster stand together, at every
 * level
 * @cost time O(nnz) a level, O(log n) levels; memory O(nnz + n)
 * @det  any thread count
 */
icd_status icd_i_sketch(icd_ctx *ctx, const icd_wgraph *g, icd_budget *budget,
                        uint64_t seed, int32_t *order);

#endif
