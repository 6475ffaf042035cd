/**
 * @file lower.h
 * What no order can beat: lower bounds on cut and T, proved where they are computed.
 * @source Donath, Hoffman (1973), 10.1147/rd.175.0420 (spectral)
 */
#ifndef ICD_SOLVER_LOWER_H
#define ICD_SOLVER_LOWER_H

#include "solver/budget.h"
#include <icd/solver.h>

/**
 * Fills score->cut_bound and score->T_bound; opts->bound says how hard to try.
 * @param budget [in] NULL: none; once it is over, weaker bounds are left
 * @cost degree and forest O(nnz); spectral O(n^3) time and n^2 doubles
 * @det  any thread count
 */
icd_status icd_i_lower_bounds(icd_ctx *ctx, const icd_problem *problem,
                              const icd_solver_opts *opts, icd_budget *budget,
                              icd_score *score);

#endif
