/**
 * @file exact.h
 * All orders of a few indices: depth first, pruned by what is already paid.
 */
#ifndef ICD_SOLVER_EXACT_H
#define ICD_SOLVER_EXACT_H

#include "solver/solve.h"

enum { ICD_EXACT_MOST = 10 };

/** True where nothing but the objective binds the order, of ICD_EXACT_MOST indices at
 * most. */
bool icd_i_exact_fits(const icd_solve *s);

/**
 * Looks for an order that is better by the objective than the given one: by cut, with
 * k_blocks by the cut between slices first; by T; by J.
 * @param old_of_new [in/out] replaced where a better one is found
 * @param proven     [out]    the search ended: no order is better than the result
 * @cost at most some millions of steps, O(granules) each; memory O(1)
 */
icd_status icd_i_exact(icd_solve *s, int32_t *old_of_new, bool *proven);

#endif
