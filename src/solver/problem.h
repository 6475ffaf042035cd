/**
 * @file problem.h
 * Whether the parts of a problem fit together.
 */
#ifndef ICD_SOLVER_PROBLEM_H
#define ICD_SOLVER_PROBLEM_H

#include "base/error.h"
#include <icd/solver.h>

/** Sizes and frames of W, sets, prev and constraint. @return ICD_OK | ICD_EINVAL */
icd_status icd_i_problem_check(icd_ctx *ctx, const icd_problem *problem);

/** Number of indices to order, and the frame they stand in. */
int64_t icd_i_problem_n(const icd_problem *problem);
uint64_t icd_i_problem_frame(const icd_problem *problem);

#endif
