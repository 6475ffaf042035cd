#include "hyper_support.h"

#include "solver/hyper_split.h"

#include <stdlib.h>

static double choose(icd_ctx *ctx, const icd_access *a, icd_hyper_stats *stats)
{
    double p = 0;
    icd_hyper_params params = {
        .granule = 8, .effort = ICD_EFFORT_DEFAULT, .refine_steps = 1, .seed = 3};
    assert_ok(ctx, icd_i_hyper_choose_softness(ctx, a, &params, &p, stats));
    return p;
}

static void test_few_events_are_not_split(void **state)
{
    icd_ctx *ctx = icd_ctx_new(NULL);
    icd_access *a = random_sets(ctx, 32, 100, 4, .6, .1, false, 1);
    icd_hyper_stats stats = {0};
    (void)state;
    assert_true(choose(ctx, a, &stats) == ICD_HYPER_SOFTNESS);
    assert_int_equal(stats.offered, 0);
    icd_access_free(ctx, a);
    icd_ctx_free(ctx);
}

static void test_one_of_the_candidates(void **state)
{
    icd_ctx *ctx = icd_ctx_new(NULL);
    (void)state;
    for (uint64_t seed = 1; seed < 4; ++seed) {
        icd_access *a = random_sets(ctx, 48, 600, 6, .5, .1, seed % 2, seed);
        icd_hyper_stats stats = {0};
        double p = choose(ctx, a, &stats);
        assert_true(p > 0 && p <= ICD_HYPER_SOFTNESS);
        assert_true(stats.offered > 0 && !stats.timed_out);
        assert_true(choose(ctx, a, &stats) == p);
        icd_access_free(ctx, a);
    }
    icd_ctx_free(ctx);
}

/* Weights of the last quarter scale its judgement; what is learned stays. */
static void test_events_held_back_are_not_learned(void **state)
{
    icd_ctx *ctx = icd_ctx_new(NULL);
    icd_access *a = random_sets(ctx, 48, 600, 6, .5, .1, false, 5);
    icd_hyper_stats stats = {0}, again = {0};
    (void)state;
    double p = choose(ctx, a, &stats);
    a->weight = malloc(600 * sizeof *a->weight);
    assert_non_null(a->weight);
    for (int e = 0; e < 600; ++e) a->weight[e] = e < 450 ? 1 : 8;
    assert_true(choose(ctx, a, &again) == p);
    assert_int_equal(stats.accepted, again.accepted);
    free(a->weight);
    a->weight = NULL;
    icd_access_free(ctx, a);
    icd_ctx_free(ctx);
}

static icd_status choose_small(icd_ctx *ctx, void *arg)
{
    double p;
    icd_hyper_stats stats = {0};
    icd_hyper_params params = {.granule = 8, .refine_steps = 1};
    return icd_i_hyper_choose_softness(ctx, arg, &params, &p, &stats);
}

static void test_failing_allocations(void **state)
{
    icd_ctx *ctx = icd_ctx_new(NULL);
    icd_access *a = random_sets(ctx, 16, 260, 4, .9, .3, false, 2);
    (void)state;
    icd_test_failing_allocations(choose_small, a);
    icd_access_free(ctx, a);
    icd_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_events_are_not_split),
        cmocka_unit_test(test_one_of_the_candidates),
        cmocka_unit_test(test_events_held_back_are_not_learned),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
