#include "support.h"

#include "base/json.h"
#include "base/rng.h"
#include "measure/paired.h"
#include "measure/robust.h"

#include <icd/measure.h>

#include <math.h>
#include <string.h>

static icd_ctx *ctx;
static json_t *oracle;

static int set_up(void **state)
{
    (void)state;
    ctx = icd_ctx_new(NULL);
    return ctx && icd_i_json_read(ctx, ICD_TEST_DATA "/stats_oracle.json", &oracle) ==
                       ICD_OK
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    json_decref(oracle);
    icd_ctx_free(ctx);
    return 0;
}

static int64_t values(const json_t *series, double x[200])
{
    const json_t *list = json_object_get(series, "x");
    for (size_t i = 0; i < json_array_size(list); i++)
        x[i] = json_number_value(json_array_get(list, i));
    return (int64_t)json_array_size(list);
}

static double of(const json_t *series, const char *key)
{
    return json_number_value(json_object_get(series, key));
}

/* Every series of the oracle: made by tests/data/make_stats_oracle.py with SciPy. */
static void agrees_with_scipy(void **state)
{
    json_t *series = NULL;
    const char *name = NULL;
    (void)state;
    json_object_foreach(json_object_get(oracle, "series"), name, series)
    {
        double x[200], t[200], median = 0;
        int64_t n = values(series, x), outliers = 0;
        icd_wilcoxon w;
        print_message("%s\n", name);
        assert_ok(ctx, icd_i_wilcoxon(ctx, x, n, &w));
        assert_near(w.statistic, of(series, "wilcoxon"), 1e-9);
        assert_near(w.p, of(series, "wilcoxon_p"), 1e-12);
        assert_int_equal(w.exact, json_is_true(json_object_get(series, "exact")));
        if (json_object_get(series, "flip_p"))
            assert_near(icd_i_sign_flip_p(x, n, 1000, 1), of(series, "flip_p"), 1e-12);
        for (int64_t i = 0; i < n; i++) t[i] = (double)i;
        icd_trend line = icd_i_trend(t, x, n);
        assert_near(line.slope, of(series, "slope"), 1e-12);
        assert_near(line.low, of(series, "slope_low"), 1e-6);
        assert_near(line.high, of(series, "slope_high"), 1e-6);
        assert_ok(ctx, icd_i_median(ctx, x, n, &median));
        assert_near(median, of(series, "median"), 1e-12);
        assert_ok(ctx, icd_i_outliers(ctx, x, n, NULL, &outliers));
        assert_int_equal(outliers, (int64_t)of(series, "outliers"));
    }
}

/* Small sample: the exact p-value is a count, 2 of 2^5 flips are as extreme. */
static void small_samples_are_exact(void **state)
{
    const double d[] = {1, 2, 3, 4, 5}, zero[] = {0, 0, 0};
    icd_wilcoxon w;
    (void)state;
    assert_near(icd_i_sign_flip_p(d, 5, 1000, 1), 2. / 32, 1e-15);
    assert_ok(ctx, icd_i_wilcoxon(ctx, d, 5, &w));
    assert_near(w.p, 2. / 32, 1e-15);
    assert_ok(ctx, icd_i_wilcoxon(ctx, zero, 3, &w));
    assert_true(isnan(w.p));
    assert_int_equal(w.ranked, 0);
    assert_ok(ctx, icd_i_wilcoxon(ctx, NULL, 0, &w));
    assert_true(isnan(w.p));
}

static void drawn_flips_agree_with_the_normal_limit(void **state)
{
    double d[100];
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 5, 1);
    for (int i = 0; i < 100; i++) d[i] = .2 + icd_i_rng_normal(&rng);
    double z = 10 * icd_i_mean(d, 100) / icd_i_sd(d, 100);
    assert_near(icd_i_sign_flip_p(d, 100, 100000, 3), 2 * icd_i_normal_cdf(-fabs(z)),
                .01);
}

/* Worked by hand: .01 x 4, .02 x 3, .03 x 2 and .04 in ascending order, never falling. */
static void holm_steps_down(void **state)
{
    const double p[] = {.04, .01, NAN, .03, .02}, one[] = {.4, .9};
    double a[5];
    (void)state;
    icd_holm(p, 5, a);
    assert_near(a[1], .04, 1e-15);
    assert_near(a[4], .06, 1e-15);
    assert_near(a[3], .06, 1e-15);
    assert_near(a[0], .06, 1e-15);
    assert_true(isnan(a[2]));
    icd_holm(one, 2, a);
    assert_near(a[0], .8, 1e-15);
    assert_near(a[1], .9, 1e-15);
    icd_holm(NULL, 0, NULL);
}

/* Where most values are equal, any other is odd; without values nothing is. */
static void outliers_are_flagged_one_by_one(void **state)
{
    const double x[] = {1, 1, 1, 2, 1, 1};
    bool flag[6];
    int64_t count = 9;
    (void)state;
    assert_ok(ctx, icd_i_outliers(ctx, x, 6, flag, &count));
    assert_int_equal(count, 1);
    assert_true(flag[3]);
    assert_ok(ctx, icd_i_outliers(ctx, x, 0, NULL, &count));
    assert_int_equal(count, 0);
}

static void memory_shows_in_the_autocorrelation(void **state)
{
    double x[400] = {0};
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 11, 1);
    for (int i = 1; i < 400; i++) x[i] = .7 * x[i - 1] + icd_i_rng_normal(&rng);
    assert_near(icd_i_autocorrelation(x, 400), .7, .1);
    assert_near(icd_i_autocorrelation(x, 2), 0, 0);
    assert_true(isnan(icd_i_trend(x, x, 2).slope));
}

static void batches_forget(void **state)
{
    double x[512] = {0}, y[512], batch[512];
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 3, 1);
    for (int i = 1; i < 512; i++) x[i] = .8 * x[i - 1] + icd_i_rng_normal(&rng);
    for (int i = 0; i < 512; i++) y[i] = i % 2 ? 1 : -1;
    int64_t count = icd_i_batch(x, 511, 30, batch);
    assert_in_range(count, 30, 128);
    assert_near(icd_i_mean(batch, count), icd_i_mean(x, 511), 1e-12);
    assert_true(icd_i_sd(batch, count) / sqrt((double)count) >
                1.5 * icd_i_sd(x, 511) / sqrt(511.));
    assert_int_equal(icd_i_batch(y, 512, 30, batch), 512);
    assert_int_equal(icd_i_batch(x, 40, 30, batch), 40);
}

static icd_status all(icd_ctx *c, void *arg)
{
    const double d[] = {1, -2, 3, 4.5, -5};
    icd_wilcoxon w;
    int64_t count = 0;
    (void)arg;
    icd_status status = icd_i_wilcoxon(c, d, 5, &w);
    return status == ICD_OK ? icd_i_outliers(c, d, 5, NULL, &count) : status;
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(all, NULL);
}

/* Against Fagerland, Lydersen & Laake (2014), table of 21 pairs; and by hand. */
static void score_interval_of_pairs(void **state)
{
    (void)state;
    icd_interval ci = icd_i_paired_proportions(1, 7, 21);
    assert_near(ci.low, -.517, 5e-4);
    assert_near(ci.high, -.026, 5e-4);
    ci = icd_i_paired_proportions(7, 1, 21);
    assert_near(ci.low, .026, 5e-4);
    assert_near(ci.high, .517, 5e-4);
    ci = icd_i_paired_proportions(0, 0, 400);
    assert_near(ci.high, 3.841459 / 403.841459, 1e-6);
    assert_near(ci.low, -ci.high, 1e-12);
    ci = icd_i_paired_proportions(0, 50, 50);
    assert_near(ci.low, -1, 1e-9);
    assert_true(ci.high > -.9 && ci.high < -.8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(score_interval_of_pairs),
        cmocka_unit_test(agrees_with_scipy),
        cmocka_unit_test(small_samples_are_exact),
        cmocka_unit_test(drawn_flips_agree_with_the_normal_limit),
        cmocka_unit_test(holm_steps_down),
        cmocka_unit_test(outliers_are_flagged_one_by_one),
        cmocka_unit_test(memory_shows_in_the_autocorrelation),
        cmocka_unit_test(batches_forget),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
