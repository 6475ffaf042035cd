#include "solver/solve.h"

#include "base/mem.h"
#include "solver/joint.h"
#include "solver/lower.h"
#include "solver/objective.h"
#include "solver/refine.h"
#include "solver/touched.h"
#include <stdio.h>
#include <string.h>

/* An order of indices and what it is worth. */
typedef struct candidate {
    int32_t *old_of_new;
    icd_verdict verdict;
    const char *from; /* where it came from, for the reason */
} candidate;

typedef struct contest {
    icd_solve *s;
    candidate best, trial;
} contest;

static icd_status contest_init(icd_solve *s, contest *c)
{
    icd_status status;
    *c = (contest){.s = s};
    ICD_TRY(ICD_ALLOC(s->ctx, s->space.n, &c->best.old_of_new));
    ICD_TRY(ICD_ALLOC(s->ctx, s->space.n, &c->trial.old_of_new));
done:
    return status;
}

static void contest_release(contest *c)
{
    icd_i_free(c->s->ctx, c->best.old_of_new);
    icd_i_free(c->s->ctx, c->trial.old_of_new);
}

/* Smaller is better, the first difference decides. */
static void ranks(const icd_solve *s, const icd_verdict *v, double rank[4])
{
    const icd_score *score = &v->score;
    rank[0] = 0;
    if (s->stats->objective == ICD_OBJ_T) rank[0] = score->T;
    if (s->stats->objective == ICD_OBJ_J) rank[0] = score->J;
    rank[1] = s->o.k_blocks > 0 ? v->slices : 0;
    rank[2] = score->cut;
    rank[3] = v->quarter;
}

static bool is_better(const icd_solve *s, const icd_verdict *a, const icd_verdict *b)
{
    double x[4], y[4];
    ranks(s, a, x);
    ranks(s, b, y);
    for (int i = 0; i < 4; ++i)
        if (x[i] != y[i]) return x[i] < y[i];
    return a->score.C < b->score.C;
}

static icd_status judge_trial(contest *c, const char *from, bool keep)
{
    icd_solve *s = c->s;
    icd_status status =
        icd_i_score(s->ctx, s->problem, c->trial.old_of_new, &s->o, &c->trial.verdict);
    if (status != ICD_OK) return status;
    c->trial.from = from;
    if (keep || is_better(s, &c->trial.verdict, &c->best.verdict)) {
        candidate swap = c->best;
        c->best = c->trial;
        c->trial = swap;
    }
    return ICD_OK;
}

/* What the solve starts from and never does worse than: prev where it is legal. */
static icd_status enter_start(contest *c)
{
    icd_status status;
    icd_solve *s = c->s;
    const icd_perm *prev = s->problem->prev;
    bool legal =
        prev && icd_constraint_check_perm(s->ctx, s->problem->constraint, prev) == ICD_OK;
    for (int32_t k = 0; k < s->space.n; ++k)
        c->trial.old_of_new[k] = prev ? prev->old_of_new[k] : k;
    ICD_TRY(judge_trial(c, "the previous order", true));
    s->stats->start = c->best.verdict.score;
    ICD_TRY(icd_i_lower_bounds(s->ctx, s->problem, &s->o, &s->stats->start));
    if (!prev) c->best.from = "the order as it was";
    if (!prev || legal) return ICD_OK;
    icd_i_warn(s->ctx, "the previous order breaks the constraint and is not kept");
    icd_ctx_clear(s->ctx);
    for (int32_t k = 0; k < s->space.n; ++k) c->trial.old_of_new[k] = k;
    ICD_TRY(judge_trial(c, "the order as it was", true));
done:
    return status;
}

/* Bodies that are tied or pinned got the nearest legal places; free units may still swap.
 */
static icd_status refine_units(icd_solve *s, int32_t *unit_at)
{
    icd_status status = ICD_OK;
    icd_wgraph g = {0};
    icd_bounds bounds = {0};
    int32_t *unit_of = NULL;
    if (s->space.plain || !s->has_graph) return ICD_OK;
    ICD_TRY(ICD_ALLOC(s->ctx, s->space.n, &unit_of));
    for (int32_t i = 0; i < s->space.n; ++i) unit_of[i] = i / s->space.unit;
    ICD_TRY(icd_i_wgraph_build(s->ctx, s->problem->w, unit_of, s->space.units, &g));
    ICD_TRY(icd_i_bounds_nest(s->ctx, NULL, s->space.units, s->granule, &bounds));
    icd_refine_params refine = {.bounds = &bounds,
                                .frozen = s->space.frozen,
                                .budget = &s->budget,
                                .steps = s->o.refine_steps};
    ICD_TRY(icd_i_refine(s->ctx, &g, &refine, unit_at, &s->stats->iters));
done:
    icd_i_free(s->ctx, unit_of);
    icd_i_bounds_release(s->ctx, &bounds);
    icd_i_wgraph_release(s->ctx, &g);
    return status;
}

static icd_status enter_method(contest *c, const icd_method *method, bool refine,
                               bool keep)
{
    icd_status status;
    icd_solve *s = c->s;
    int32_t *order = NULL, *unit_at = NULL;
    ICD_TRY(ICD_ALLOC(s->ctx, s->n, &order));
    ICD_TRY(ICD_ALLOC(s->ctx, s->space.units, &unit_at));
    ICD_TRY(method->run(s, order));
    ICD_TRY(icd_i_space_place(s->ctx, &s->space, order, unit_at));
    if (refine) ICD_TRY(refine_units(s, unit_at));
    icd_i_space_expand(&s->space, unit_at, c->trial.old_of_new);
    ICD_TRY(judge_trial(c, method->name, keep));
done:
    icd_i_free(s->ctx, order);
    icd_i_free(s->ctx, unit_at);
    return status;
}

/* A solve that starts from an order instead of from nothing. */
static icd_status enter_warm(contest *c)
{
    icd_status status = ICD_OK;
    icd_solve *s = c->s;
    icd_bounds slices = {0}, granules = {0};
    int32_t *order = NULL;
    if (!s->problem->prev || !s->has_graph || !s->space.plain || s->n == 0) return ICD_OK;
    ICD_TRY(ICD_ALLOC(s->ctx, s->n, &order));
    for (int32_t k = 0; k < s->n; ++k)
        order[k] = s->problem->prev->old_of_new[k * s->space.unit] / s->space.unit;
    ICD_TRY(
        icd_i_bounds_slices(s->ctx, s->n, s->o.k_blocks ? s->o.k_blocks : 1, &slices));
    ICD_TRY(icd_i_bounds_cross(s->ctx, &slices, s->granule, &granules));
    icd_refine_params refine = {.zones = &slices,
                                .bounds = &granules,
                                .budget = &s->budget,
                                .steps = s->o.refine_steps};
    ICD_TRY(icd_i_refine(s->ctx, &s->g, &refine, order, &s->stats->iters));
    icd_i_space_expand(&s->space, order, c->trial.old_of_new);
    ICD_TRY(judge_trial(c, "the previous order, refined", false));
done:
    icd_i_bounds_release(s->ctx, &slices);
    icd_i_bounds_release(s->ctx, &granules);
    icd_i_free(s->ctx, order);
    return status;
}

/* The sets' own objective, from the best order that W and the counts gave. */
static icd_status enter_touched(contest *c)
{
    icd_status status;
    icd_solve *s = c->s;
    ICD_TRY(enter_method(c, icd_i_method_find("frequency"), false, false));
    ICD_TRY(icd_i_touched_order(s, c->trial.old_of_new));
    ICD_TRY(judge_trial(c, "greedy union", false));
    memcpy(c->trial.old_of_new, c->best.old_of_new,
           (size_t)s->space.n * sizeof *c->trial.old_of_new);
    const char *from = c->best.from;
    ICD_TRY(icd_i_touched_refine(s, c->trial.old_of_new));
    ICD_TRY(judge_trial(c, from, false));
done:
    return status;
}

/* J itself, from the best order by cut or from the one before. */
static icd_status enter_joint(contest *c)
{
    icd_status status;
    icd_solve *s = c->s;
    const char *from = c->best.from;
    memcpy(c->trial.old_of_new, c->best.old_of_new,
           (size_t)s->space.n * sizeof *c->trial.old_of_new);
    ICD_TRY(icd_i_joint_refine(s, c->trial.old_of_new));
    ICD_TRY(judge_trial(c, from, false));
done:
    return status;
}

/* Where moving has its price, a fresh solve would pay it in full: only the old order is
 * refined. */
static icd_status run_auto(contest *c)
{
    icd_status status;
    icd_solve *s = c->s;
    bool stay =
        s->stats->objective == ICD_OBJ_J && s->o.gamma_stab > 0 && s->problem->prev;
    ICD_TRY(enter_warm(c));
    if (s->has_graph && !stay)
        ICD_TRY(enter_method(c, icd_i_method_find("multilevel"), true, false));
    if (s->stats->objective == ICD_OBJ_J) ICD_TRY(enter_joint(c));
    if (s->stats->objective == ICD_OBJ_T) ICD_TRY(enter_touched(c));
    snprintf(s->stats->reason, sizeof s->stats->reason, "%s gave the lowest %s",
             c->best.from,
             s->stats->objective == ICD_OBJ_T   ? "number of granules touched"
             : s->stats->objective == ICD_OBJ_J ? "J"
                                                : "cut between granules");
done:
    return status;
}

static icd_status check_needs(const icd_solve *s, const icd_method *method)
{
    if (method->needs == ICD_NEEDS_W && !s->has_graph)
        return icd_i_fail(s->ctx, ICD_EINVAL, "solver.method", "give W, or choose auto",
                          "'%s' orders by W, and there is none", method->name);
    if (method->needs == ICD_NEEDS_SETS && !s->problem->sets)
        return icd_i_fail(s->ctx, ICD_EINVAL, "solver.method",
                          "give access sets, or choose degree",
                          "'%s' orders by access sets, and there are none", method->name);
    return ICD_OK;
}

static icd_status run_named(contest *c, const char *name)
{
    icd_status status;
    const icd_method *method = icd_i_method_find(name);
    if (!method)
        return icd_i_fail(c->s->ctx, ICD_EINVAL, "solver.method",
                          "icd solve --help lists the methods",
                          "found '%s', expected auto or the name of a method", name);
    ICD_TRY(check_needs(c->s, method));
    ICD_TRY(enter_method(c, method, method->run == icd_i_multilevel, true));
    snprintf(c->s->stats->reason, sizeof c->s->stats->reason, "asked for by name");
done:
    return status;
}

static icd_status choose_objective(icd_solve *s)
{
    int32_t asked = s->o.objective;
    if (asked == ICD_OBJ_T && !s->problem->sets)
        return icd_i_fail(s->ctx, ICD_EINVAL, "solver.objective",
                          "give access sets, or choose cut",
                          "T counts granules that access sets touch, and there are none");
    if ((asked == ICD_OBJ_CUT || asked == ICD_OBJ_J) && !s->problem->w)
        return icd_i_fail(s->ctx, ICD_EINVAL, "solver.objective", "give W, or choose T",
                          "cut and J are sums over W, and there is none");
    if (asked == ICD_OBJ_AUTO) asked = s->problem->sets ? ICD_OBJ_T : ICD_OBJ_CUT;
    s->stats->objective = asked;
    return ICD_OK;
}

static icd_status solve_init(icd_solve *s)
{
    icd_status status;
    ICD_TRY(icd_i_problem_check(s->ctx, s->problem));
    ICD_TRY(choose_objective(s));
    ICD_TRY(icd_i_space_init(s->ctx, s->problem->constraint, icd_i_problem_n(s->problem),
                             &s->space));
    s->n = s->space.bodies;
    s->granule = s->o.granule / s->space.unit;
    if (s->granule < 1) s->granule = 1;
    s->has_graph = s->problem->w != NULL;
    if (s->has_graph)
        ICD_TRY(icd_i_wgraph_build(s->ctx, s->problem->w, s->space.body_of, s->n, &s->g));
done:
    return status;
}

static void solve_release(icd_solve *s)
{
    icd_i_wgraph_release(s->ctx, &s->g);
    icd_i_space_release(s->ctx, &s->space);
}

static icd_status hand_over(contest *c, icd_perm **out)
{
    icd_status status;
    icd_solve *s = c->s;
    icd_perm *perm = NULL;
    icd_solver_stats *stats = s->stats;
    ICD_TRY(icd_i_check_cancel(s->ctx));
    ICD_TRY(icd_perm_from_array(s->ctx, c->best.old_of_new, s->space.n,
                                icd_i_problem_frame(s->problem), "result", &perm));
    ICD_TRY(icd_constraint_check_perm(s->ctx, s->problem->constraint, perm));
    stats->score = c->best.verdict.score;
    stats->score.cut_bound = stats->start.cut_bound;
    stats->score.T_bound = stats->start.T_bound;
    for (int32_t k = 0; k < s->space.n; ++k) {
        int32_t before = s->problem->prev ? s->problem->prev->old_of_new[k] : k;
        stats->moved += perm->old_of_new[k] != before;
    }
    stats->timed_out = atomic_load(&s->budget.over) && s->o.effort != ICD_EFFORT_HIGH;
    stats->budget_used = atomic_load(&s->budget.over) && s->o.effort == ICD_EFFORT_HIGH;
    *out = perm;
    perm = NULL;
done:
    icd_perm_free(s->ctx, perm);
    return status;
}

static icd_status solve(icd_solve *s, icd_perm **out)
{
    icd_status status;
    contest c = {.s = s};
    const char *name = s->o.method && s->o.method[0] ? s->o.method : "auto";
    ICD_TRY(solve_init(s));
    ICD_TRY(contest_init(s, &c));
    ICD_TRY(enter_start(&c));
    icd_verdict start = c.best.verdict;
    ICD_TRY(strcmp(name, "auto") ? run_named(&c, name) : run_auto(&c));
    s->stats->improved = is_better(s, &c.best.verdict, &start);
    snprintf(s->stats->method, sizeof s->stats->method, "%s", name);
    ICD_TRY(hand_over(&c, out));
done:
    contest_release(&c);
    return status;
}

icd_status icd_fit_permutation(icd_ctx *ctx, const icd_problem *problem,
                               const icd_solver_opts *opts, icd_perm **out,
                               icd_solver_stats *stats)
{
    icd_status status;
    icd_solver_stats unused, *kept = stats ? stats : &unused;
    double begin = icd_i_now();
    icd_solve s = {.ctx = ctx, .problem = problem, .stats = kept};
    *out = NULL;
    *kept = (icd_solver_stats){0};
    ICD_TRY(icd_options_resolve(ctx, &icd_solver_table, opts, &s.o));
    s.budget.ctx = ctx;
    s.budget.deadline = begin + s.o.time_budget_s;
    ICD_TRY(solve(&s, out));
    kept->elapsed_s = icd_i_now() - begin;
done:
    solve_release(&s);
    return status;
}
