#include "solver/problem.h"

#include "solver/lower.h"
#include "solver/objective.h"
#include <inttypes.h>

int64_t icd_i_problem_n(const icd_problem *problem)
{
    return problem->w ? problem->w->n : problem->sets->n;
}

uint64_t icd_i_problem_frame(const icd_problem *problem)
{
    return problem->w ? problem->w->frame : problem->sets->frame;
}

static icd_status check_fits(icd_ctx *ctx, const char *what, int64_t n, uint64_t frame,
                             int64_t want_n, uint64_t want_frame)
{
    if (n != want_n)
        return icd_i_fail(ctx, ICD_EINVAL, what, NULL,
                          "found %" PRId64 " indices, expected %" PRId64, n, want_n);
    if (frame != want_frame)
        return icd_i_fail(ctx, ICD_EINVAL, what, "bring both into one order first",
                          "its indices stand in frame %016" PRIx64
                          ", those of the problem in %016" PRIx64,
                          frame, want_frame);
    return ICD_OK;
}

icd_status icd_i_problem_check(icd_ctx *ctx, const icd_problem *p)
{
    icd_status status = ICD_OK;
    if (!p->w && !p->sets)
        return icd_i_fail(ctx, ICD_EINVAL, "problem", "give W, access sets, or both",
                          "found neither W nor access sets");
    int64_t n = icd_i_problem_n(p);
    uint64_t frame = icd_i_problem_frame(p);
    if (p->sets)
        ICD_TRY(check_fits(ctx, "access sets", p->sets->n, p->sets->frame, n, frame));
    if (p->prev)
        ICD_TRY(check_fits(ctx, "previous order", p->prev->n, p->prev->from, n, frame));
    ICD_TRY(icd_constraint_check(ctx, p->constraint, n));
done:
    return status;
}

icd_status icd_score_perm(icd_ctx *ctx, const icd_problem *problem, const icd_perm *perm,
                          const icd_solver_opts *opts, icd_score *out)
{
    icd_status status;
    icd_solver_opts o;
    icd_assessment verdict;
    *out = (icd_score){0};
    ICD_TRY(icd_options_resolve(ctx, &icd_solver_table, opts, &o));
    ICD_TRY(icd_i_problem_check(ctx, problem));
    ICD_TRY(check_fits(ctx, "permutation", perm->n, perm->from, icd_i_problem_n(problem),
                       icd_i_problem_frame(problem)));
    ICD_TRY(icd_i_score(ctx, problem, perm->old_of_new, &o, &verdict));
    ICD_TRY(icd_i_lower_bounds(ctx, problem, &o, NULL, &verdict.score));
    *out = verdict.score;
done:
    return status;
}
