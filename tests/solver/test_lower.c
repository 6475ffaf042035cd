#include "solver_support.h"

enum { CASES = 150, MOST = 8 };

typedef struct optimum {
    double cut, T;
} optimum;

static icd_score score_of(icd_ctx *ctx, const icd_problem *problem, int32_t *order,
                          int64_t n, const icd_solver_opts *opts)
{
    icd_score score;
    icd_perm *perm = NULL;
    assert_ok(ctx, icd_perm_from_array(ctx, order, n, ICD_FRAME_CHECKPOINT, "t", &perm));
    assert_ok(ctx, icd_score_perm(ctx, problem, perm, opts, &score));
    icd_perm_free(ctx, perm);
    return score;
}

/* Every order of n indices. */
static void try_all(icd_ctx *ctx, const icd_problem *p, int32_t *order, int64_t k,
                    int64_t n, const icd_solver_opts *opts, optimum *best)
{
    if (k == n) {
        icd_score s = score_of(ctx, p, order, n, opts);
        if (s.cut < best->cut) best->cut = s.cut;
        if (s.T < best->T) best->T = s.T;
        return;
    }
    for (int64_t i = k; i < n; ++i) {
        int32_t swap = order[k];
        order[k] = order[i];
        order[i] = swap;
        try_all(ctx, p, order, k + 1, n, opts, best);
        order[i] = order[k];
        order[k] = swap;
    }
}

/* Every third index is asked for often. */
static icd_access *random_sets(icd_ctx *ctx, int64_t n, int64_t events, icd_rng *rng)
{
    icd_access *a = NULL;
    int64_t at = 0;
    assert_ok(ctx, ICD_ALLOC(ctx, 1, &a));
    assert_ok(ctx, ICD_ALLOC(ctx, events + 1, &a->event_ptr));
    assert_ok(ctx, ICD_ALLOC(ctx, events * n, &a->index));
    a->n = n;
    a->events = events;
    for (int64_t e = 0; e < events; ++e) {
        for (int32_t i = 0; i < n; ++i)
            if (icd_i_rng_unit(rng) < (i % 3 ? 0.3 : 0.8)) a->index[at++] = i;
        a->event_ptr[e + 1] = at;
    }
    return a;
}

static void test_never_above_the_optimum(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    icd_rng rng;
    int tight = 0;
    (void)state;
    icd_i_rng_init(&rng, 31, 1);
    for (int c = 0; c < CASES; ++c) {
        int64_t n = 2 + icd_i_rng_below(&rng, c % 30 == 0 ? MOST - 1 : 5);
        icd_csr *w = random_graph(ctx, n, 0.2 + 0.7 * icd_i_rng_unit(&rng), c % 2, &rng);
        icd_access *sets = random_sets(ctx, n, 6, &rng);
        icd_problem problem = {.w = w, .sets = sets};
        icd_solver_opts opts = solver_defaults();
        int32_t order[MOST];
        optimum best = {1e30, 1e30};
        opts.granule = (int32_t)(1 + icd_i_rng_below(&rng, 4));
        for (int32_t i = 0; i < n; ++i) order[i] = i;
        opts.bound = ICD_BOUND_NONE;
        try_all(ctx, &problem, order, 0, n, &opts, &best);
        for (int32_t bound = ICD_BOUND_AUTO; bound <= ICD_BOUND_SPECTRAL; ++bound) {
            opts.bound = bound;
            icd_score s = score_of(ctx, &problem, order, n, &opts);
            assert_true(s.cut_bound >= 0 && s.cut_bound <= best.cut);
            assert_true(s.T_bound >= 1 && s.T_bound <= best.T);
            tight += bound == ICD_BOUND_SPECTRAL && s.cut_bound > 0.8 * best.cut;
        }
        icd_access_free(ctx, sets);
        icd_csr_free(ctx, w);
    }
    icd_ctx_free(ctx);
    assert_true(tight > CASES / 4);
}

static void test_never_above_a_method(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    int32_t hidden[160];
    (void)state;
    icd_csr *w = planted_graph(ctx, 160, 5, 0.5, 0.02, 4, hidden);
    for (int32_t i = 0; icd_solver_method_name(i); ++i) {
        icd_problem problem = {.w = w};
        icd_solver_opts opts = solver_defaults();
        icd_solver_stats stats;
        icd_perm *perm = NULL;
        opts.method = icd_solver_method_name(i);
        opts.granule = 16;
        if (!strcmp(opts.method, "frequency") || !strcmp(opts.method, "warm")) continue;
        assert_ok(ctx, icd_fit_permutation(ctx, &problem, &opts, &perm, &stats));
        assert_true(stats.score.cut_bound > 0.3);
        assert_true(stats.score.cut_bound <= stats.score.cut);
        assert_true(stats.score.cut_bound == stats.start.cut_bound);
        icd_perm_free(ctx, perm);
    }
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

static icd_csr *star(icd_ctx *ctx, int64_t n)
{
    float *a = calloc((size_t)(n * n), sizeof *a);
    for (int64_t i = 1; i < n; ++i) a[i] = a[i * n] = 1;
    icd_csr *w = csr_of_dense(ctx, a, n);
    free(a);
    return w;
}

/* Paths are cut once between granules, stars keep g - 1 of their rays: both bounds are
 * met. */
static void test_tight(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    icd_solver_opts opts = solver_defaults();
    int32_t order[1000];
    (void)state;
    opts.granule = 16;
    opts.bound = ICD_BOUND_DEGREE;
    for (int32_t i = 0; i < 1000; ++i) order[i] = i;
    for (int shape = 0; shape < 2; ++shape) {
        icd_csr *w = shape ? star(ctx, 1000) : path_graph(ctx, 1000, false);
        icd_problem problem = {.w = w};
        icd_score s = score_of(ctx, &problem, order, 1000, &opts);
        assert_true(s.cut_bound <= s.cut && s.cut_bound > s.cut - 1e-6);
        icd_csr_free(ctx, w);
    }
    icd_ctx_free(ctx);
}

/* Graphs of many entries get a bound in a hurry: lower, but not by much, and from equal
 * weights what all of them have. */
static void test_in_a_hurry(void **state)
{
    enum { N = 400 };
    icd_ctx *ctx = ctx_of_threads(1);
    icd_rng rng;
    int32_t order[N];
    (void)state;
    icd_i_rng_init(&rng, 5, 1);
    for (int32_t i = 0; i < N; ++i) order[i] = i;
    for (int c = 0; c < 4; ++c) {
        icd_csr *w = random_graph(ctx, N, 0.6 + 0.1 * c, c % 2, &rng);
        icd_problem problem = {.w = w};
        icd_solver_opts opts = solver_defaults();
        double bound[3];
        opts.granule = 16;
        assert_true(w->nnz > 1 << 16);
        for (int32_t effort = ICD_EFFORT_LOW; effort <= ICD_EFFORT_DEFAULT; ++effort) {
            opts.effort = effort;
            bound[effort] = score_of(ctx, &problem, order, N, &opts).cut_bound;
        }
        opts.bound = ICD_BOUND_DEGREE;
        bound[2] = score_of(ctx, &problem, order, N, &opts).cut_bound;
        assert_true(bound[0] <= bound[1] + 1e-9 && bound[1] <= bound[2] + 1e-9);
        assert_true(bound[0] > 0.9 * bound[2] && bound[2] > 0.5);
        icd_csr_free(ctx, w);
    }
    icd_ctx_free(ctx);
}

typedef struct trial {
    icd_problem problem;
    icd_solver_opts opts;
    icd_perm *perm;
} trial;

static icd_status score_once(icd_ctx *ctx, void *arg)
{
    trial *t = arg;
    icd_score s;
    return icd_score_perm(ctx, &t->problem, t->perm, &t->opts, &s);
}

static void test_allocation_failure(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 3, 1);
    icd_csr *w = random_graph(ctx, 40, 0.4, true, &rng);
    icd_access *sets = random_sets(ctx, 40, 9, &rng);
    trial t = {.problem = {.w = w, .sets = sets}, .opts = solver_defaults()};
    t.opts.granule = 8;
    assert_ok(ctx, icd_perm_identity(ctx, 40, w->frame, &t.perm));
    icd_test_failing_allocations(score_once, &t);
    icd_perm_free(ctx, t.perm);
    icd_access_free(ctx, sets);
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never_above_the_optimum),
        cmocka_unit_test(test_never_above_a_method),
        cmocka_unit_test(test_tight),
        cmocka_unit_test(test_in_a_hurry),
        cmocka_unit_test(test_allocation_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
