/**
 * @file joint.h
 * Local search on J = alpha Cn - mu Q + gamma_stab R_stab itself.
 */
#ifndef ICD_SOLVER_JOINT_H
#define ICD_SOLVER_JOINT_H

#include "solver/solve.h"

/**
 * Random swaps of an index with one that shares a granule with its neighbour, kept when J
 * falls; every change of J is counted in O(degree). Ends after a pass that gains next to
 * nothing.
 * @param old_of_new [in/out] J never rises. Left alone under a constraint.
 * @det  any thread count
 */
icd_status icd_i_joint_refine(icd_solve *s, int32_t *old_of_new);

#endif
