/**
 * @file fiedler.h
 * The Fiedler vector of a connected graph: solved on a coarse graph, smoothed on finer
 * ones.
 * @source Fiedler (1973), 10.21136/CMJ.1973.101168; Barnard, Simon (1994),
 *         10.1002/cpe.4330060203
 */
#ifndef ICD_SOLVER_FIEDLER_H
#define ICD_SOLVER_FIEDLER_H

#include "solver/laplacian.h"

/**
 * @param l      [in]  the pencil to solve
 * @param g      [in]  the same graph in integers, for coarsening
 * @param vector [out] x of L x = value M x, unit M-norm
 * @cost time O(steps nnz), steps falling with n; memory O(nnz + n)
 */
icd_status icd_i_fiedler(icd_ctx *ctx, const icd_laplacian *l, const icd_wgraph *g,
                         double *vector, double *value);

/** Nodes by their Fiedler value, component by component, the largest first. */
icd_status icd_i_spectral_order(icd_ctx *ctx, const icd_wgraph *g, int32_t *order);

#endif
