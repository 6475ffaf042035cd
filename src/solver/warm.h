/**
 * @file warm.h
 * A solve that starts from the previous order: swaps where W has changed, each charged
 * for the indices that leave their granule.
 * @source Kernighan, Lin (1970), 10.1002/j.1538-7305.1970.tb01770.x
 */
#ifndef ICD_SOLVER_WARM_H
#define ICD_SOLVER_WARM_H

#include "solver/refine.h"

/**
 * Swaps two nodes where that lowers cut + price * (nodes away from the block they started
 * in); a pass looks again only at blocks near the swaps of the last.
 * @param price [in]     in edge weights
 * @param order [in/out] node at slot
 * @cost  first pass O(nnz + pulled nodes * block size), later ones what has changed
 * @det   a function of the arguments
 */
icd_status icd_i_warm(icd_ctx *ctx, const icd_wgraph *g, const icd_refine_params *params,
                      int64_t price, int32_t *order, int64_t *passes);

#endif
