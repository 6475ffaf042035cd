#include "solver_support.h"

enum { MOST = 10, CASES = 324 };

typedef struct search {
    const icd_problem *problem;
    const icd_solver_opts *opts;
    int32_t n, granule, granules;
    double w[MOST][MOST], total;
    int32_t line[MOST], room[MOST], home[MOST]; /* home: granule in `prev` */
    double best;
} search;

static double joint(const search *s, double cost, double inside)
{
    const icd_solver_opts *o = s->opts;
    double mass[MOST] = {0}, null = 0, longest = s->granules - 1, J = 0;
    if (longest > o->lambda) longest = o->lambda + o->tau * (longest - o->lambda);
    for (int32_t i = 0; i < s->n; ++i)
        for (int32_t j = 0; j < s->n; ++j) mass[s->line[i]] += s->w[i][j];
    for (int32_t b = 0; b < s->granules; ++b)
        null += mass[b] / (2 * s->total) * mass[b] / (2 * s->total);
    if (longest > 0) J += o->alpha * cost / (longest * s->total);
    return J - o->mu * (inside / s->total - o->gamma * null);
}

static double touched(const search *s)
{
    const icd_access *a = s->problem->sets;
    double sum = 0, fewest = 0;
    for (int64_t e = 0; e < a->events; ++e) {
        uint32_t lines = 0;
        int64_t size = a->event_ptr[e + 1] - a->event_ptr[e];
        for (int64_t k = a->event_ptr[e]; k < a->event_ptr[e + 1]; ++k)
            lines |= 1u << s->line[a->index[k]];
        for (; lines; lines &= lines - 1) sum++;
        fewest += (double)((size + s->granule - 1) / s->granule);
    }
    return fewest > 0 ? sum / fewest : 1;
}

/* The price of moving. */
static double fare(const search *s)
{
    double moved = 0;
    if (!s->problem->prev) return 0;
    for (int32_t i = 0; i < s->n; ++i) moved += s->line[i] != s->home[i];
    return s->opts->gamma_stab * moved / s->n;
}

static double value_of(const search *s)
{
    double cut = 0, cost = 0, inside = 0;
    if (s->opts->objective == ICD_OBJ_T) return touched(s);
    for (int32_t i = 0; i < s->n; ++i)
        for (int32_t j = i + 1; j < s->n; ++j) {
            double far = abs(s->line[i] - s->line[j]);
            if (far > s->opts->lambda)
                far = s->opts->lambda + s->opts->tau * (far - s->opts->lambda);
            cut += far > 0 ? s->w[i][j] : 0;
            inside += far > 0 ? 0 : s->w[i][j];
            cost += far * s->w[i][j];
        }
    if (s->opts->objective == ICD_OBJ_CUT)
        return (s->total > 0 ? cut / s->total : 0) + fare(s);
    return (s->total > 0 ? joint(s, cost, inside) : 0) + fare(s);
}

/* Every division into granules, and all orders of the granules. */
static void divide(search *s, int32_t i)
{
    if (i == s->n) {
        double value = value_of(s);
        if (value < s->best) s->best = value;
        return;
    }
    for (int32_t b = 0; b < s->granules; ++b) {
        if (s->room[b] == 0) continue;
        s->room[b]--;
        s->line[i] = b;
        divide(s, i + 1);
        s->room[b]++;
    }
}

static double brute_force(const icd_problem *problem, const icd_solver_opts *opts)
{
    search s = {.problem = problem, .opts = opts, .granule = opts->granule, .best = 1e30};
    const icd_csr *w = problem->w;
    s.n = (int32_t)w->n;
    s.granules = (s.n + s.granule - 1) / s.granule;
    for (int32_t b = 0; b < s.granules; ++b)
        s.room[b] = b < s.granules - 1 ? s.granule : s.n - b * s.granule;
    for (int32_t i = 0; i < s.n; ++i)
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; ++k) {
            s.w[i][w->col[k]] = (double)w->val[k];
            s.total += (double)w->val[k] / 2;
        }
    for (int32_t k = 0; problem->prev && k < s.n; ++k)
        s.home[problem->prev->old_of_new[k]] = k / s.granule;
    divide(&s, 0);
    return s.best;
}

static icd_access *random_sets(icd_ctx *ctx, int64_t n, icd_rng *rng)
{
    enum { EVENTS = 12 };
    icd_access *a = NULL;
    int64_t at = 0;
    assert_ok(ctx, ICD_ALLOC(ctx, 1, &a));
    assert_ok(ctx, ICD_ALLOC(ctx, EVENTS + 1, &a->event_ptr));
    assert_ok(ctx, ICD_ALLOC(ctx, EVENTS * n, &a->index));
    a->n = n;
    a->events = EVENTS;
    for (int64_t e = 0; e < EVENTS; ++e) {
        for (int32_t i = 0; i < n; ++i)
            if (icd_i_rng_unit(rng) < 0.35) a->index[at++] = i;
        a->event_ptr[e + 1] = at;
    }
    return a;
}

/* @return whether the best of all orders was missed */
static bool misses(icd_ctx *ctx, int c, icd_rng *rng)
{
    static const int32_t OBJECTIVE[] = {ICD_OBJ_CUT, ICD_OBJ_T, ICD_OBJ_J};
    int64_t n = c % 9 == 0 ? 8 + icd_i_rng_below(rng, 3) : 2 + icd_i_rng_below(rng, 6);
    icd_csr *w = random_graph(ctx, n, 0.2 + 0.7 * icd_i_rng_unit(rng), c % 2, rng);
    icd_access *sets = random_sets(ctx, n, rng);
    icd_problem problem = {.w = w, .sets = sets};
    icd_solver_opts opts = solver_defaults();
    icd_solver_stats stats;
    icd_perm *perm = NULL, *prev = NULL;
    if (c % 5 == 0) {
        assert_ok(ctx, icd_perm_identity(ctx, n, w->frame, &prev));
        icd_i_rng_shuffle(rng, prev->old_of_new, n);
        problem.prev = prev;
        opts.gamma_stab = 0.3;
    }
    opts.objective = OBJECTIVE[c % 3];
    opts.granule = 2 + c / 3 % 3;
    opts.effort = ICD_EFFORT_HIGH;
    opts.time_budget_s = 2;
    assert_ok(ctx, icd_fit_permutation(ctx, &problem, &opts, &perm, &stats));
    assert_bijection(perm);
    assert_true(stats.optimal && !stats.budget_used);
    double found = opts.objective == ICD_OBJ_T   ? stats.score.T
                   : opts.objective == ICD_OBJ_J ? stats.score.J
                                                 : stats.score.cut;
    if (prev && opts.objective == ICD_OBJ_CUT)
        found += opts.gamma_stab * stats.score.R_stab;
    double best = brute_force(&problem, &opts);
    bool missed = fabs(found - best) > 1e-7;
    if (missed)
        print_message("case %d: n %d, g %d, objective %d: found %g, best %g\n", c, (int)n,
                      opts.granule, opts.objective, found, best);
    icd_perm_free(ctx, perm);
    icd_perm_free(ctx, prev);
    icd_access_free(ctx, sets);
    icd_csr_free(ctx, w);
    return missed;
}

static void test_best_of_all_orders(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    icd_rng rng;
    int missed = 0;
    (void)state;
    icd_i_rng_init(&rng, 404, 1);
    for (int c = 0; c < CASES; ++c) missed += misses(ctx, c, &rng);
    icd_ctx_free(ctx);
    assert_int_equal(missed, 0);
}

/* Slices first, then granules: no other order has less of the first, nor as little of it
 * and less of the second. */
static void test_slices_first(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 405, 1);
    for (int c = 0; c < 40; ++c) {
        icd_csr *w = random_graph(ctx, 8, 0.5, true, &rng);
        icd_problem problem = {.w = w};
        icd_solver_opts opts = solver_defaults(), halves = opts;
        icd_solver_stats stats;
        icd_perm *perm = NULL;
        opts.granule = 2;
        opts.k_blocks = 2;
        opts.objective = halves.objective = ICD_OBJ_CUT;
        halves.granule = 4;
        assert_ok(ctx, icd_fit_permutation(ctx, &problem, &opts, &perm, &stats));
        assert_near(naive_cut(w, perm->old_of_new, 4) / naive_cut(w, perm->old_of_new, 1),
                    brute_force(&problem, &halves), 1e-7);
        icd_perm_free(ctx, perm);
        icd_csr_free(ctx, w);
    }
    icd_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best_of_all_orders),
        cmocka_unit_test(test_slices_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
