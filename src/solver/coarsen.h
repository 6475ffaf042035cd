/**
 * @file coarsen.h
 * Clusters of strongly joined nodes, for multilevel bisection and for the fast method.
 * @source Karypis, Kumar (1998), 10.1137/S1064827595287997; Karypis, Kumar (1999, first
 * choice), 10.1145/309847.309954
 */
#ifndef ICD_SOLVER_COARSEN_H
#define ICD_SOLVER_COARSEN_H

#include "base/rng.h"
#include "solver/budget.h"
#include "solver/wgraph.h"

/**
 * Every node, in a random order, joins the neighbour, or the cluster of the neighbour,
 * with the heaviest edge relative to its size, as long as the cluster stays within `cap`.
 * Nodes without neighbours are packed together. Clusters are numbered by their lowest
 * node.
 * @param zone [in]  clusters never span two zones; NULL: one zone
 * @param map  [out] node -> cluster, g->n entries of the caller
 * @param work [in]  scratch 3 n int32, given back
 * @return number of clusters; 0 when the workspace is full
 */
int32_t icd_i_coarsen(const icd_wgraph *g, const int32_t *zone, int32_t cap, icd_rng *rng,
                      icd_work *work, int32_t *map);

/**
 * The same clusters, without zones, for large graphs: neighbours are looked at in
 * parallel.
 * @param count [out] clusters; where the time is over, single nodes are left
 * @cost time O(nnz + n), memory 17 n bytes
 * @det  any thread count
 */
icd_status icd_i_coarsen_wide(icd_ctx *ctx, const icd_wgraph *g, int32_t cap,
                              icd_rng *rng, icd_budget *budget, int32_t *map,
                              int32_t *count);

#endif
