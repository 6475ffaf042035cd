/**
 * @file objective.h
 * The parts of the score that the solver asks for on their own.
 */
#ifndef ICD_SOLVER_OBJECTIVE_H
#define ICD_SOLVER_OBJECTIVE_H

#include <icd/solver.h>

/** phi(d) = d up to lambda, then lambda + tau (d - lambda). */
static inline double icd_i_phi(const icd_solver_opts *o, double d)
{
    return d <= o->lambda ? d : o->lambda + o->tau * (d - o->lambda);
}

/** A score, and the figures that only the solver compares. */
typedef struct icd_assessment {
    icd_score score;
    double quarter; /**< cut between granules of g/4 */
    double slices;  /**< cut between the blocks of Q */
} icd_assessment;

/** block_of[slot]: the slices of k_blocks, else granules; n entries of the caller.
 * @return blocks */
int32_t icd_i_quality_blocks(const icd_solver_opts *o, int32_t n, int32_t *block_of);

/** icd_score_perm after its checks; options are resolved. */
icd_status icd_i_score(icd_ctx *ctx, const icd_problem *problem,
                       const int32_t *old_of_new, const icd_solver_opts *o,
                       icd_assessment *out);

#endif
