/**
 * @file repair.h
 * Parts of roughly equal size to blocks of exact size.
 */
#ifndef ICD_SOLVER_REPAIR_H
#define ICD_SOLVER_REPAIR_H

#include "solver/split.h"

/**
 * Moves nodes out of parts that hold too many, least loss first, to the part with room
 * that they have most weight in common with, and lists the nodes part by part.
 * @param bounds [in]     part b shall hold bounds->at[b+1] - bounds->at[b] nodes
 * @param part   [in/out] node -> part, 0..bounds->count-1
 * @param order  [out]    node at slot
 * @cost time O(nnz + sum over moves of the part's edges), memory O(n)
 */
icd_status icd_i_repair(icd_ctx *ctx, const icd_wgraph *g, const icd_bounds *bounds,
                        int32_t *part, int32_t *order);

#endif
