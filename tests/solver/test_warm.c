#include "solver_support.h"

#include "solver/warm.h"

enum { N = 480, GROUPS = 30, GRANULE = 16 };

static icd_perm *solve(icd_ctx *ctx, const icd_csr *w, const icd_perm *prev,
                       const char *method, double gamma, icd_solver_stats *stats)
{
    icd_problem problem = {.w = w, .prev = prev};
    icd_solver_opts opts = solver_defaults();
    icd_perm *perm = NULL;
    opts.method = method;
    opts.granule = GRANULE;
    opts.gamma_stab = gamma;
    opts.bound = ICD_BOUND_NONE;
    assert_ok(ctx, icd_fit_permutation(ctx, &problem, &opts, &perm, stats));
    assert_bijection(perm);
    return perm;
}

/* Every index of the first granules loses its ties to its own group for another's. */
static void rewire(icd_csr *w, const int32_t *hidden, int32_t groups)
{
    for (int64_t i = 0; i < w->n; ++i)
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; ++k) {
            int32_t a = hidden[i], b = hidden[w->col[k]];
            if (a < groups && b < groups) w->val[k] = a == b ? 0.01f : 2;
        }
}

static int64_t count_moved(const icd_perm *a, const icd_perm *b)
{
    int32_t home[N];
    int64_t moved = 0;
    for (int32_t k = 0; k < N; ++k) home[a->old_of_new[k]] = k / GRANULE;
    for (int32_t k = 0; k < N; ++k) moved += home[b->old_of_new[k]] != k / GRANULE;
    return moved;
}

/* After a small change of W little moves, and what is reported is what moved. */
static void test_small_change(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    icd_solver_stats stats;
    int32_t hidden[N];
    (void)state;
    icd_csr *w = planted_graph(ctx, N, GROUPS, 0.8, 0.01, 6, hidden);
    icd_perm *prev = solve(ctx, w, NULL, "auto", 0, &stats);
    rewire(w, hidden, 3);
    icd_perm *next = solve(ctx, w, prev, "warm", 0, &stats);
    int64_t moved = count_moved(prev, next), slots = 0;
    for (int32_t k = 0; k < N; ++k) slots += prev->old_of_new[k] != next->old_of_new[k];
    assert_true(moved > 0 && moved <= 3 * GRANULE + 8);
    assert_int_equal(stats.moved, slots);
    assert_near(stats.score.R_stab, (double)moved / N, 1e-12);
    assert_true(stats.score.cut < stats.start.cut);
    icd_perm_free(ctx, prev);
    icd_perm_free(ctx, next);
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

/* What has nothing to gain stays; a high price keeps everything; cut and price together
 * never rise. */
static void test_price(void **state)
{
    static const double GAMMA[] = {0, 0.02, 0.2, 1, 100};
    icd_ctx *ctx = ctx_of_threads(1);
    icd_solver_stats stats;
    int32_t hidden[N];
    int64_t last = N + 1;
    (void)state;
    icd_csr *w = planted_graph(ctx, N, GROUPS, 0.6, 0.05, 8, hidden);
    icd_perm *prev = solve(ctx, w, NULL, "auto", 0, &stats);
    icd_perm *same = solve(ctx, w, prev, "warm", 0, &stats);
    assert_memory_equal(same->old_of_new, prev->old_of_new, sizeof hidden);
    rewire(w, hidden, 10);
    for (int i = 0; i < 5; ++i) {
        icd_perm *next = solve(ctx, w, prev, "auto", GAMMA[i], &stats);
        int64_t moved = count_moved(prev, next);
        assert_true(moved <= last);
        assert_true(stats.score.cut + GAMMA[i] * stats.score.R_stab <=
                    stats.start.cut + 1e-9);
        if (GAMMA[i] == 100) assert_int_equal(moved, 0);
        last = moved;
        icd_perm_free(ctx, next);
    }
    icd_perm_free(ctx, prev);
    icd_perm_free(ctx, same);
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

/* Ties and fixed indices are kept, and swaps of free units still better the cut. */
static void test_constraint(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    icd_rng rng;
    icd_perm *prev = NULL, *next = NULL;
    icd_solver_stats stats;
    int32_t fixed[] = {0, 7, 33};
    icd_tie tie[] = {{10, 40}, {12, 42}};
    icd_constraint c = {.unit = 1, .tie = tie, .ties = 2, .fixed = fixed};
    icd_solver_opts opts = solver_defaults();
    (void)state;
    c.fixed_count = 3;
    icd_i_rng_init(&rng, 12, 1);
    icd_csr *w = random_graph(ctx, 96, 0.2, true, &rng);
    assert_ok(ctx, icd_perm_identity(ctx, 96, w->frame, &prev));
    icd_problem problem = {.w = w, .constraint = &c, .prev = prev};
    opts.method = "warm";
    opts.granule = 8;
    assert_ok(ctx, icd_fit_permutation(ctx, &problem, &opts, &next, &stats));
    assert_ok(ctx, icd_constraint_check_perm(ctx, &c, next));
    assert_true(stats.score.cut < stats.start.cut);
    icd_perm_free(ctx, prev);
    icd_perm_free(ctx, next);
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

/* A previous order that the constraint forbids is no start; without one there is no warm
 * start at all. */
static void test_refusals(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    icd_rng rng;
    icd_perm *perm = NULL;
    (void)state;
    icd_i_rng_init(&rng, 12, 1);
    icd_csr *w = random_graph(ctx, 20, 0.4, true, &rng);
    icd_solver_opts opts = solver_defaults();
    opts.method = "warm";
    assert_fails(ctx, ICD_EINVAL, "previous order",
                 icd_fit_permutation(ctx, &(icd_problem){.w = w}, &opts, &perm, NULL));
    assert_null(perm);
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

static icd_status warm_once(icd_ctx *ctx, void *arg)
{
    icd_perm *prev = NULL, *perm = NULL;
    icd_solver_opts opts = solver_defaults();
    const icd_csr *w = arg;
    icd_status status = icd_perm_identity(ctx, w->n, w->frame, &prev);
    opts.granule = 8;
    opts.method = "warm";
    icd_problem problem = {.w = w, .prev = prev};
    if (status == ICD_OK) status = icd_fit_permutation(ctx, &problem, &opts, &perm, NULL);
    icd_perm_free(ctx, prev);
    icd_perm_free(ctx, perm);
    return status;
}

static void test_failing_allocations(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 31, 1);
    icd_csr *w = random_graph(ctx, 48, 0.3, true, &rng);
    icd_test_failing_allocations(warm_once, w);
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_change),        cmocka_unit_test(test_price),
        cmocka_unit_test(test_constraint),          cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
