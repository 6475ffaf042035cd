#include "solver_support.h"

#include "solver/contest.h"
#include <stdio.h>
#include <time.h>

enum { SIDE = 90 };

/* A square mesh with weights 1..8. */
static icd_csr *square_mesh(icd_ctx *ctx, int32_t side)
{
    icd_csr *w = NULL;
    int64_t n = (int64_t)side * side, nnz = 0;
    assert_ok(ctx, icd_csr_new(ctx, n, 4 * n - 4 * side, &w));
    for (int32_t i = 0; i < n; ++i) {
        int32_t near[] = {i - side, i - 1, i + 1, i + side};
        bool there[] = {i >= side, i % side > 0, i % side < side - 1, i < n - side};
        for (int k = 0; k < 4; ++k) {
            if (!there[k]) continue;
            w->col[nnz] = near[k];
            w->val[nnz++] = (float)(1 + (i ^ near[k]) % 8);
        }
        w->row_ptr[i + 1] = nnz;
    }
    assert_ok(ctx, icd_csr_check(ctx, w, "mesh"));
    return w;
}

static void test_order_of_candidates(void **state)
{
    icd_solver_stats stats = {.objective = ICD_OBJ_CUT};
    icd_problem problem = {0};
    icd_solve s = {.problem = &problem, .stats = &stats, .o = solver_defaults()};
    icd_assessment a = {.score = {.cut = 0.2, .T = 3, .J = 1, .C = 5}};
    icd_assessment b = {.score = {.cut = 0.3, .T = 2, .J = 1, .C = 4}};
    (void)state;
    assert_true(icd_i_contest_better(&s, &a, &b));
    stats.objective = ICD_OBJ_T;
    assert_true(icd_i_contest_better(&s, &b, &a));
    stats.objective = ICD_OBJ_J;
    assert_true(icd_i_contest_better(&s, &a, &b)); /* J ties, cut decides */
    b.score.cut = 0.2;
    a.quarter = b.quarter = 0.5;
    assert_true(icd_i_contest_better(&s, &b, &a)); /* only C is left */
    stats.objective = ICD_OBJ_CUT;
    s.o.k_blocks = 4;
    a.slices = 0.1;
    assert_true(icd_i_contest_better(&s, &b, &a)); /* slices before granules */
    assert_false(icd_i_contest_better(&s, &a, &a));
}

/* The reason names the winner, the figure, and what it was compared with. */
static void test_reason(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    icd_solver_opts opts = solver_defaults();
    icd_solver_stats stats;
    icd_perm *perm = NULL;
    char figure[16];
    (void)state;
    icd_csr *w = square_mesh(ctx, 20);
    opts.granule = 16;
    assert_ok(ctx,
              icd_fit_permutation(ctx, &(icd_problem){.w = w}, &opts, &perm, &stats));
    snprintf(figure, sizeof figure, "%.4f", stats.score.cut);
    assert_non_null(strstr(stats.reason, "multilevel has the lowest cut"));
    assert_non_null(strstr(stats.reason, figure));
    assert_non_null(strstr(stats.reason, "the order as it was: "));
    icd_perm_free(ctx, perm);
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

/* Two cliques in the way: the bound is met, and said to be. */
static void test_optimal(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    icd_solver_opts opts = solver_defaults();
    icd_solver_stats stats;
    icd_perm *perm = NULL;
    float a[32 * 32] = {0};
    (void)state;
    for (int i = 0; i < 32; ++i)
        for (int j = 0; j < 32; ++j) a[32 * i + j] = i != j && i % 2 == j % 2;
    icd_csr *w = csr_of_dense(ctx, a, 32);
    opts.granule = 16;
    opts.effort = ICD_EFFORT_HIGH;
    opts.time_budget_s = 7200; /* not needed */
    assert_ok(ctx,
              icd_fit_permutation(ctx, &(icd_problem){.w = w}, &opts, &perm, &stats));
    assert_true(stats.optimal && stats.score.cut == 0 && !stats.budget_used);
    assert_non_null(strstr(stats.reason, "no order has less"));
    icd_perm_free(ctx, perm);
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

/* Same bytes for any number of threads; large enough for parallel sums and recursion. */
static void test_same_bytes(void **state)
{
    static const int32_t THREADS[] = {1, 2, 4};
    icd_perm *perm[3] = {NULL};
    icd_solver_stats stats[3];
    icd_ctx *ctx = ctx_of_threads(1);
    (void)state;
    icd_csr *w = square_mesh(ctx, SIDE);
    for (int i = 0; i < 3; ++i) {
        icd_ctx *other = ctx_of_threads(THREADS[i]);
        icd_solver_opts opts = solver_defaults();
        icd_perm *found = NULL;
        opts.seed = 5;
        assert_ok(other, icd_fit_permutation(other, &(icd_problem){.w = w}, &opts, &found,
                                             &stats[i]));
        assert_ok(ctx, icd_perm_copy(ctx, found, &perm[i]));
        icd_perm_free(other, found);
        icd_ctx_free(other);
    }
    for (int i = 1; i < 3; ++i) {
        assert_memory_equal(perm[0]->old_of_new, perm[i]->old_of_new,
                            (size_t)perm[0]->n * sizeof *perm[0]->old_of_new);
        assert_memory_equal(&stats[0].score, &stats[i].score, sizeof stats[0].score);
    }
    for (int i = 0; i < 3; ++i) icd_perm_free(ctx, perm[i]);
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

typedef struct audience {
    icd_ctx *ctx;
    int left; /* calls until it cancels */
    clock_t at;
} audience;

static void listen(void *user, const char *stage, int64_t done, int64_t total)
{
    audience *a = user;
    (void)stage;
    (void)done;
    (void)total;
    if (a->left-- > 0) return;
    if (!a->at) a->at = clock();
    icd_ctx_cancel(a->ctx);
}

/* Whenever it is cancelled, it does hardly anything more. Processor time, not the clock
 * on the wall: that of others is no matter of ours. */
static void test_cancel(void **state)
{
    static const int WHEN[] = {0, 1, 5, 25, 60};
    (void)state;
    for (int i = 0; i < 5; ++i) {
        icd_ctx *ctx = ctx_of_threads(1);
        icd_csr *w = square_mesh(ctx, SIDE);
        icd_solver_opts opts = solver_defaults();
        icd_perm *perm = NULL;
        audience a = {.ctx = ctx, .left = WHEN[i]};
        opts.effort = ICD_EFFORT_HIGH;
        opts.time_budget_s = 7200;
        icd_ctx_on_progress(ctx, listen, &a);
        assert_int_equal(
            icd_fit_permutation(ctx, &(icd_problem){.w = w}, &opts, &perm, NULL),
            ICD_ECANCELLED);
        assert_true(clock() - a.at < CLOCKS_PER_SEC);
        assert_null(perm);
        icd_csr_free(ctx, w);
        icd_ctx_free(ctx);
    }
}

/* A budget that ends in the middle leaves a legal order, no worse than the start. */
static void test_budget(void **state)
{
    static const double SECONDS[] = {0, 0.001, 0.004, 0.016, 0.06};
    icd_ctx *ctx = ctx_of_threads(2);
    icd_csr *w = square_mesh(ctx, SIDE);
    (void)state;
    for (int i = 0; i < 10; ++i) {
        icd_solver_opts opts = solver_defaults();
        icd_solver_stats stats;
        icd_perm *perm = NULL;
        opts.effort = i % 2 ? ICD_EFFORT_HIGH : ICD_EFFORT_DEFAULT;
        opts.time_budget_s = SECONDS[i / 2];
        assert_ok(ctx,
                  icd_fit_permutation(ctx, &(icd_problem){.w = w}, &opts, &perm, &stats));
        assert_bijection(perm);
        assert_true(stats.score.cut <= stats.start.cut);
        if (opts.effort == ICD_EFFORT_HIGH) assert_true(stats.budget_used);
        if (SECONDS[i / 2] == 0) assert_true(stats.timed_out || stats.budget_used);
        icd_perm_free(ctx, perm);
    }
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_candidates),
        cmocka_unit_test(test_reason),
        cmocka_unit_test(test_optimal),
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
