/**
 * @file cascade.h
 * Recursive bisection on ever finer graphs: the first cuts are made on a graph of
 * clusters of clusters, the last ones on the nodes themselves.
 * @source Karypis, Kumar (1998, k-way), 10.1006/jpdc.1997.1404; Walshaw, Cross (2000),
 *         10.1137/S1064827598337373
 */
#ifndef ICD_SOLVER_CASCADE_H
#define ICD_SOLVER_CASCADE_H

#include "solver/split.h"

/**
 * Divides all slots into groups of blocks of `fine`, each on the graph of clusters that
 * shows it as some hundred nodes.
 * @param reached [out] the groups, icd_i_bounds_release; `at` NULL: the graph is small or
 * does not coarsen, and nothing was done
 * @param part    [out] node -> group, not quite of the size it shall have
 * @param order   [out] nodes by group
 * @cost time O(nnz), memory O(nnz + n)
 * @det  any thread count
 */
icd_status icd_i_cascade(icd_ctx *ctx, const icd_wgraph *g,
                         const icd_split_params *params, icd_bounds *reached,
                         int32_t *part, int32_t *order);

/**
 * From groups to exact blocks of `fine`, on the graph itself: nodes move to the group
 * they have most in common with, groups get their size, and are split.
 * @param part  [in/out] node -> group
 * @param order [out]    node at slot
 */
icd_status icd_i_cascade_end(icd_ctx *ctx, const icd_wgraph *g,
                             const icd_split_params *params, const icd_bounds *reached,
                             int32_t *part, int32_t *order);

#endif
