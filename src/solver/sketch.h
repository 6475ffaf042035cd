/**
 * @file sketch.h
 * Blocks from clusters: the graph is coarsened once, as a whole, and only the small graph
 * is bisected. An order of magnitude cheaper than bisecting the graph itself, and
 * rougher.
 */
#ifndef ICD_SOLVER_SKETCH_H
#define ICD_SOLVER_SKETCH_H

#include "solver/split.h"

/**
 * @param cluster [in]  slots that a cluster may take; small beside a block
 * @param order   [out] node at slot; blocks are exact
 * @cost time O(nnz + nnz' log(blocks)), nnz' of the coarse graph; memory O(nnz + n)
 * @det  any thread count
 */
icd_status icd_i_sketch(icd_ctx *ctx, const icd_wgraph *g, const icd_bounds *blocks,
                        int32_t cluster, const icd_bisect_params *params, uint64_t seed,
                        int32_t *order);

#endif
