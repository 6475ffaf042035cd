#include "solver/solve.h"

#include "base/mem.h"
#include "solver/arrange.h"
#include "solver/contest.h"
#include "solver/exact.h"
#include "solver/improve.h"
#include "solver/joint.h"
#include "solver/lower.h"
#include "solver/touched.h"
#include "solver/warm.h"
#include <stdio.h>
#include <string.h>

/* Graphs that are polished by default, by their entries: smaller ones were annealed when
 * they were divided, and larger ones would take too long. */
enum { POLISH_LEAST = 1 << 13, POLISH_MOST = 1 << 17, POLISH_OFFERS = 8 };

/* Entries of a graph that is ordered in any case, and the time that this may take. */
enum { LEAST_MOST = 1 << 19 };
static const double LEAST_S = .03;
static const char PREVIOUS[] = "the previous order", AS_IT_WAS[] = "the order as it was",
                  WARM[] = "the previous order, refined";

/* The last judging takes place when the search is over. */
static void reserve(icd_solve *s, double judge_s)
{
    double deadline = s->budget.deadline - 1.25 * judge_s;
    if (deadline > 0) s->budget.deadline = deadline;
}

/* What the solve starts from and never does worse than: prev where it is legal. */
static icd_status enter_start(icd_contest *c)
{
    icd_status status;
    icd_solve *s = c->s;
    const icd_perm *prev = s->problem->prev;
    double begin = icd_i_now();
    for (int32_t k = 0; k < s->space.n; ++k)
        c->trial.old_of_new[k] = prev ? prev->old_of_new[k] : k;
    ICD_TRY(icd_i_contest_judge(c, prev ? PREVIOUS : AS_IT_WAS, true));
    reserve(s, icd_i_now() - begin);
    s->stats->start = c->best.verdict.score;
    ICD_TRY(icd_i_lower_bounds(s->ctx, s->problem, &s->o, &s->budget, &s->stats->start));
    if (!prev) return ICD_OK;
    c->prev_is_legal =
        icd_constraint_check_perm(s->ctx, s->problem->constraint, prev) == ICD_OK;
    if (c->prev_is_legal) return ICD_OK;
    icd_i_warn(s->ctx, "the previous order breaks the constraint and is not kept");
    icd_ctx_clear(s->ctx);
    for (int32_t k = 0; k < s->space.n; ++k) c->trial.old_of_new[k] = k;
    ICD_TRY(icd_i_contest_judge(c, AS_IT_WAS, true));
done:
    return status;
}

/* Granules of the solve, and of a quarter of them, in slots of `n` nodes. */
typedef struct layers {
    icd_bounds slices, granules, quarters;
} layers;

static icd_status layers_init(icd_solve *s, int32_t n, layers *l)
{
    icd_status status;
    int32_t k = s->space.plain && s->o.k_blocks > 0 ? s->o.k_blocks : 1;
    int32_t quarter = s->granule > 4 ? s->granule / 4 : 1;
    ICD_TRY(icd_i_bounds_slices(s->ctx, n, k, &l->slices));
    ICD_TRY(icd_i_bounds_cross(s->ctx, &l->slices, s->granule, &l->granules));
    ICD_TRY(icd_i_bounds_nest(s->ctx, &l->granules, n, quarter, &l->quarters));
done:
    return status;
}

static void layers_release(icd_ctx *ctx, layers *l)
{
    icd_i_bounds_release(ctx, &l->slices);
    icd_i_bounds_release(ctx, &l->granules);
    icd_i_bounds_release(ctx, &l->quarters);
}

/* W between units, where bodies are more than units. */
static icd_status unit_graph(icd_solve *s, icd_wgraph *g)
{
    icd_status status;
    int32_t *unit_of = NULL;
    ICD_TRY(ICD_ALLOC(s->ctx, s->space.n, &unit_of));
    for (int32_t i = 0; i < s->space.n; ++i) unit_of[i] = i / s->space.unit;
    ICD_TRY(icd_i_wgraph_build(s->ctx, s->problem->w, unit_of, s->space.units, g));
done:
    icd_i_free(s->ctx, unit_of);
    return status;
}

/* Bodies that are tied or pinned got the nearest legal places; free units may still swap.
 */
static icd_status refine_units(icd_solve *s, int32_t *unit_at)
{
    icd_status status = ICD_OK;
    icd_wgraph g = {0};
    layers l = {0};
    if (s->space.plain || !s->has_graph || s->space.units == 0) return ICD_OK;
    ICD_TRY(unit_graph(s, &g));
    ICD_TRY(layers_init(s, s->space.units, &l));
    icd_refine_params refine = {.bounds = &l.granules,
                                .frozen = s->space.frozen,
                                .budget = &s->budget,
                                .steps = s->o.refine_steps};
    ICD_TRY(icd_i_refine(s->ctx, &g, &refine, unit_at, &s->stats->iters));
done:
    layers_release(s->ctx, &l);
    icd_i_wgraph_release(s->ctx, &g);
    return status;
}

static icd_status enter_method(icd_contest *c, const icd_method *method, bool refine,
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
    ICD_TRY(icd_i_contest_judge(c, method->name, keep));
done:
    icd_i_free(s->ctx, order);
    icd_i_free(s->ctx, unit_at);
    return status;
}

/* Effort high spends what time is left on searches that follow; what comes before need
 * not wait for the clock, and is the same for every budget. */
static icd_status enter_multilevel(icd_contest *c, bool keep)
{
    icd_solve *s = c->s;
    int32_t effort = s->o.effort;
    double begin = icd_i_now();
    if (effort > ICD_EFFORT_DEFAULT) s->o.effort = ICD_EFFORT_DEFAULT;
    icd_status status = enter_method(c, icd_i_method_find("multilevel"), true, keep);
    s->o.effort = effort;
    c->multilevel_s = icd_i_now() - begin;
    return status;
}

/* A budget that was over before anything was tried: a quick order still beats none, where
 * it takes less time than a budget may be overrun by. */
static icd_status enter_least(icd_contest *c)
{
    icd_solve *s = c->s;
    int32_t effort = s->o.effort;
    double deadline = s->budget.deadline;
    if (!s->has_graph || s->g.ptr[s->n] > LEAST_MOST || icd_i_cancelled(s->ctx) ||
        !icd_i_budget_over(&s->budget))
        return ICD_OK;
    s->o.effort = ICD_EFFORT_LOW;
    s->budget.deadline = icd_i_now() + LEAST_S;
    icd_status status = enter_method(c, icd_i_method_find("multilevel"), false, false);
    s->budget.deadline = deadline;
    s->o.effort = effort;
    return status;
}

static int64_t weight_of(const icd_wgraph *g)
{
    int64_t total = 0;
    for (int64_t k = 0; k < g->ptr[g->n]; ++k) total += g->edge[k].w;
    return total / 2;
}

/* The units of an order, unit at place. */
static void read_units(const icd_solve *s, const int32_t *old_of_new, int32_t *unit_at)
{
    for (int32_t k = 0; k < s->space.units; ++k)
        unit_at[k] = old_of_new[k * s->space.unit] / s->space.unit;
}

/* A solve that starts from an order instead of from nothing. */
static icd_status enter_warm(icd_contest *c, bool keep)
{
    icd_status status = ICD_OK;
    icd_solve *s = c->s;
    icd_wgraph own = {0}, *g = s->space.plain ? &s->g : &own;
    layers l = {0};
    int32_t *unit_at = NULL;
    if (!s->problem->prev || !c->prev_is_legal || !s->has_graph || s->n == 0)
        return ICD_OK;
    if (!s->space.plain) ICD_TRY(unit_graph(s, &own));
    ICD_TRY(ICD_ALLOC(s->ctx, s->space.units, &unit_at));
    read_units(s, s->problem->prev->old_of_new, unit_at);
    ICD_TRY(layers_init(s, s->space.units, &l));
    icd_refine_params refine = {.zones = &l.slices,
                                .bounds = &l.granules,
                                .frozen = s->space.plain ? NULL : s->space.frozen,
                                .budget = &s->budget,
                                .steps = s->o.refine_steps};
    double price = s->o.gamma_stab * (double)weight_of(g) / s->space.units;
    ICD_TRY(icd_i_warm(s->ctx, g, &refine, price < 1e9 ? (int64_t)price : 1000000000,
                       unit_at, &s->stats->iters));
    icd_i_space_expand(&s->space, unit_at, c->trial.old_of_new);
    ICD_TRY(icd_i_contest_judge(c, WARM, keep));
done:
    layers_release(s->ctx, &l);
    icd_i_wgraph_release(s->ctx, &own);
    icd_i_free(s->ctx, unit_at);
    return status;
}

/* The best order so far, bettered until the time is up: most of it for granules, then
 * their order, then quarters anew.
 * @param nest_s seconds that quarters need at least */
static icd_status improve(icd_solve *s, const icd_wgraph *g, const layers *l,
                          double cut_bound, double nest_s, int32_t *unit_at)
{
    static const icd_bisect_params BISECT = {NULL, 4, 4, 100};
    icd_status status;
    icd_bisect_params bisect = BISECT;
    double now = icd_i_now(), left = s->budget.deadline - now;
    double kept = 0.15 * left > nest_s ? 0.15 * left : nest_s;
    if (kept > left / 2) kept = left / 2;
    icd_improve_params params = {.zones = &l->slices,
                                 .blocks = &l->granules,
                                 .frozen = s->space.plain ? NULL : s->space.frozen,
                                 .budget = &s->budget,
                                 .begin = now,
                                 .end = s->budget.deadline,
                                 .until = now + left - kept,
                                 .enough = cut_bound,
                                 .seed = (uint64_t)s->o.seed};
    bisect.budget = &s->budget;
    ICD_TRY(icd_i_improve(s->ctx, g, &params, unit_at, &s->stats->iters));
    if (!s->space.plain || icd_i_budget_over(&s->budget)) goto done;
    ICD_TRY(icd_i_arrange(s->ctx, g, &l->slices, &l->granules, &s->o, unit_at));
    if (s->granule < 2 || icd_i_budget_over(&s->budget)) goto done;
    ICD_TRY(icd_i_split(s->ctx, g, &l->granules, &l->quarters, &bisect, params.seed,
                        unit_at, NULL));
    params.zones = &l->granules;
    params.blocks = &l->quarters;
    params.until = s->budget.deadline;
    params.enough = 0;
    ICD_TRY(icd_i_improve(s->ctx, g, &params, unit_at, &s->stats->iters));
done:
    return status;
}

/* A short and cold annealing where it takes milliseconds: the same for every clock. */
static icd_status polish(icd_solve *s, const icd_wgraph *g, const layers *l,
                         int32_t *unit_at)
{
    icd_status status;
    icd_improve_params params = {.zones = &l->slices,
                                 .blocks = &l->granules,
                                 .frozen = s->space.plain ? NULL : s->space.frozen,
                                 .budget = &s->budget,
                                 .until = s->budget.deadline,
                                 .offers = POLISH_OFFERS,
                                 .seed = (uint64_t)s->o.seed};
    ICD_TRY(icd_i_improve(s->ctx, g, &params, unit_at, &s->stats->iters));
    params.zones = &l->granules;
    params.blocks = &l->quarters;
    ICD_TRY(icd_i_improve(s->ctx, g, &params, unit_at, &s->stats->iters));
done:
    return status;
}

static bool wants_improvement(icd_contest *c)
{
    icd_solve *s = c->s;
    if (!s->has_graph || icd_i_contest_optimal(c) || icd_i_budget_over(&s->budget))
        return false;
    int64_t entries = s->g.ptr[s->n];
    if (s->o.effort == ICD_EFFORT_DEFAULT)
        return entries >= POLISH_LEAST && entries <= POLISH_MOST;
    return s->o.effort == ICD_EFFORT_HIGH;
}

static icd_status enter_improved(icd_contest *c)
{
    icd_status status = ICD_OK;
    icd_solve *s = c->s;
    icd_wgraph own = {0}, *g = s->space.plain ? &s->g : &own;
    layers l = {0};
    int32_t *unit_at = NULL;
    double cut_bound = s->stats->start.cut_bound;
    if (!wants_improvement(c)) return ICD_OK;
    if (s->o.k_blocks > 0) cut_bound = 0;
    if (!s->space.plain) ICD_TRY(unit_graph(s, &own));
    ICD_TRY(ICD_ALLOC(s->ctx, s->space.units, &unit_at));
    ICD_TRY(layers_init(s, s->space.units, &l));
    const char *from = c->best.from;
    read_units(s, c->best.old_of_new, unit_at);
    if (s->o.effort == ICD_EFFORT_HIGH)
        ICD_TRY(improve(s, g, &l, cut_bound, c->multilevel_s / 2, unit_at));
    else
        ICD_TRY(polish(s, g, &l, unit_at));
    icd_i_budget_over(&s->budget);
    icd_i_space_expand(&s->space, unit_at, c->trial.old_of_new);
    ICD_TRY(icd_i_contest_judge(c, from, false));
done:
    layers_release(s->ctx, &l);
    icd_i_wgraph_release(s->ctx, &own);
    icd_i_free(s->ctx, unit_at);
    return status;
}

/* The sets' own objective, from the best order that W and the counts gave. */
static icd_status enter_touched(icd_contest *c, bool stay)
{
    icd_status status = ICD_OK;
    icd_solve *s = c->s;
    if (!stay) {
        ICD_TRY(enter_method(c, icd_i_method_find("frequency"), false, false));
        ICD_TRY(icd_i_touched_order(s, c->trial.old_of_new));
        ICD_TRY(icd_i_contest_judge(c, "greedy union", false));
    }
    icd_i_contest_retry(c);
    const char *from = c->best.from;
    ICD_TRY(icd_i_touched_refine(s, c->trial.old_of_new));
    ICD_TRY(icd_i_contest_judge(c, from, false));
done:
    return status;
}

/* J itself, from the best order by cut or from the one before. */
static icd_status enter_joint(icd_contest *c)
{
    icd_status status;
    icd_solve *s = c->s;
    const char *from = c->best.from;
    icd_i_contest_retry(c);
    ICD_TRY(icd_i_joint_refine(s, c->trial.old_of_new));
    ICD_TRY(icd_i_contest_judge(c, from, false));
done:
    return status;
}

/* Where there are few orders, all of them; the better the best is, the sooner it ends. */
static icd_status enter_exact(icd_contest *c)
{
    icd_status status = ICD_OK;
    if (!icd_i_exact_fits(c->s) || icd_i_contest_optimal(c)) return ICD_OK;
    icd_i_contest_retry(c);
    ICD_TRY(icd_i_exact(c->s, c->trial.old_of_new, &c->searched));
    ICD_TRY(icd_i_contest_judge(c, "exhaustive search", false));
done:
    return status;
}

/* Of the objective itself, from the best order so far. */
static icd_status enter_search(icd_contest *c, bool stay)
{
    bool over = icd_i_budget_over(&c->s->budget);
    if (c->s->stats->objective == ICD_OBJ_J) return over ? ICD_OK : enter_joint(c);
    if (c->s->stats->objective == ICD_OBJ_T) return enter_touched(c, stay);
    return stay ? ICD_OK : enter_improved(c);
}

/* Where moving has its price, a fresh solve would pay it in full: only the old order is
 * refined. */
static icd_status run_auto(icd_contest *c)
{
    icd_status status;
    icd_solve *s = c->s;
    bool stay = s->o.gamma_stab > 0 && s->problem->prev;
    ICD_TRY(enter_warm(c, false));
    if (!stay) ICD_TRY(enter_least(c));
    if (s->has_graph && !stay) ICD_TRY(enter_multilevel(c, false));
    ICD_TRY(enter_exact(c));
    if (!icd_i_contest_optimal(c)) ICD_TRY(enter_search(c, stay));
    icd_i_contest_explain(c);
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
    if (method->needs == ICD_NEEDS_PREV && (!s->problem->prev || !s->has_graph))
        return icd_i_fail(s->ctx, ICD_EINVAL, "solver.method",
                          "give both, or choose auto",
                          "'%s' refines a previous order by W, and there is no %s",
                          method->name, s->has_graph ? "previous order" : "W");
    return ICD_OK;
}

static icd_status run_named(icd_contest *c, const char *name)
{
    icd_status status;
    const icd_method *method = icd_i_method_find(name);
    if (!method)
        return icd_i_fail(c->s->ctx, ICD_EINVAL, "solver.method",
                          "icd solve --help lists the methods",
                          "found '%s', expected auto or the name of a method", name);
    ICD_TRY(check_needs(c->s, method));
    if (method->needs == ICD_NEEDS_PREV) {
        ICD_TRY(enter_warm(c, true));
    } else if (method->run == icd_i_multilevel) {
        ICD_TRY(enter_multilevel(c, true));
        ICD_TRY(enter_improved(c));
    } else {
        ICD_TRY(enter_method(c, method, false, true));
    }
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

static icd_status hand_over(icd_contest *c, icd_perm **out)
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
    stats->optimal = icd_i_contest_optimal(c);
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
    icd_contest c = {.s = s};
    const char *name = s->o.method && s->o.method[0] ? s->o.method : "auto";
    ICD_TRY(solve_init(s));
    ICD_TRY(icd_i_contest_init(s, &c));
    ICD_TRY(enter_start(&c));
    icd_assessment start = c.best.verdict;
    ICD_TRY(strcmp(name, "auto") ? run_named(&c, name) : run_auto(&c));
    s->stats->improved = icd_i_contest_better(s, &c.best.verdict, &start);
    snprintf(s->stats->method, sizeof s->stats->method, "%s", name);
    ICD_TRY(hand_over(&c, out));
done:
    icd_i_contest_release(&c);
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
