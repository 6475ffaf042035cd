#include "hyper_support.h"

#include <icd/solver.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static icd_solver_opts of_t(int32_t granule)
{
    icd_solver_opts opts;
    icd_options_init(&icd_solver_table, &opts);
    opts.objective = ICD_OBJ_T;
    opts.granule = granule;
    return opts;
}

static icd_perm *fit(icd_ctx *ctx, const icd_access *a, const icd_constraint *c,
                     const icd_solver_opts *opts, icd_solver_stats *stats)
{
    icd_perm *perm = NULL;
    icd_problem problem = {.sets = a, .constraint = c};
    assert_ok(ctx, icd_fit_permutation(ctx, &problem, opts, &perm, stats));
    if (c) assert_ok(ctx, icd_constraint_check_perm(ctx, c, perm));
    return perm;
}

/* What stats say is what the sets say, and frequency sort is never better. */
static void check_against_frequency(icd_ctx *ctx, const icd_access *a, int32_t granule)
{
    icd_solver_stats stats;
    icd_solver_opts opts = of_t(granule);
    icd_perm *ours = fit(ctx, a, NULL, &opts, &stats);
    assert_int_equal(stats.objective, ICD_OBJ_T);
    double mine = touched(ctx, a, granule, ours->old_of_new);
    assert_true(fabs(stats.score.touched * (double)a->events - mine) < 1e-6 * mine);
    opts.method = "frequency";
    opts.refine_steps = 0;
    icd_perm *sorted = fit(ctx, a, NULL, &opts, NULL);
    assert_true(mine <= touched(ctx, a, granule, sorted->old_of_new));
    icd_perm_free(ctx, ours);
    icd_perm_free(ctx, sorted);
}

static void test_never_worse_than_frequency(void **state)
{
    icd_ctx *ctx = icd_ctx_new(NULL);
    (void)state;
    for (uint64_t seed = 1; seed < 5; ++seed) {
        icd_access *a = random_sets(ctx, 64, 300, 5, .4, .05, false, seed);
        check_against_frequency(ctx, a, 8);
        check_against_frequency(ctx, a, 16);
        icd_access_free(ctx, a);
    }
    icd_ctx_free(ctx);
}

/* Topics of whole units: with units of four, granules of eight hold two of a topic. */
static void test_units_move_together(void **state)
{
    icd_ctx *ctx = icd_ctx_new(NULL);
    icd_constraint c = {.unit = 4};
    icd_solver_opts opts = of_t(8);
    icd_solver_stats stats;
    (void)state;
    icd_access *units = random_sets(ctx, 16, 200, 8, .9, 0, false, 3), *a = NULL;
    assert_ok(ctx, icd_access_slice(ctx, units, 0, units->events, &a));
    a->n = 64;
    for (int64_t k = 0; k < a->event_ptr[a->events]; ++k)
        a->index[k] = 4 * units->index[k] + (int32_t)(k % 4);
    icd_perm *perm = fit(ctx, a, &c, &opts, &stats);
    assert_true(stats.score.touched <= 1);
    icd_perm_free(ctx, perm);
    icd_access_free(ctx, a);
    icd_access_free(ctx, units);
    icd_ctx_free(ctx);
}

static void test_fixed_indices_stay(void **state)
{
    static const int32_t fixed[] = {0, 5, 17, 40, 47};
    icd_ctx *ctx = icd_ctx_new(NULL);
    icd_constraint c = {.fixed = fixed, .fixed_count = 5};
    icd_solver_opts opts = of_t(8);
    icd_solver_stats stats;
    (void)state;
    icd_access *a = random_sets(ctx, 48, 200, 6, .5, .05, false, 4);
    icd_perm *perm = fit(ctx, a, &c, &opts, &stats);
    for (int k = 0; k < 5; ++k) assert_int_equal(perm->old_of_new[fixed[k]], fixed[k]);
    assert_true(stats.score.touched < stats.start.touched);
    icd_perm_free(ctx, perm);
    icd_access_free(ctx, a);
    icd_ctx_free(ctx);
}

static icd_status fit_small(icd_ctx *ctx, void *arg)
{
    icd_perm *perm = NULL;
    icd_problem problem = {.sets = arg};
    icd_solver_opts opts = of_t(4);
    opts.refine_steps = 1;
    icd_status status = icd_fit_permutation(ctx, &problem, &opts, &perm, NULL);
    assert_true((status == ICD_OK) == (perm != NULL));
    icd_perm_free(ctx, perm);
    return status;
}

static void test_failing_allocations(void **state)
{
    icd_ctx *ctx = icd_ctx_new(NULL);
    icd_access *a = random_sets(ctx, 12, 20, 3, .6, .1, false, 2);
    (void)state;
    icd_test_failing_allocations(fit_small, a);
    icd_access_free(ctx, a);
    icd_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never_worse_than_frequency),
        cmocka_unit_test(test_units_move_together),
        cmocka_unit_test(test_fixed_indices_stay),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
