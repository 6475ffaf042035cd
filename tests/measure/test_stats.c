#include "support.h"

#include "base/mem.h"
#include "base/rng.h"
#include "measure/stats.h"

#include <math.h>

static icd_ctx *ctx;

static int set_up(void **state)
{
    (void)state;
    ctx = icd_ctx_new(NULL);
    return ctx ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    return 0;
}

static void normal_quantile_matches_tables(void **state)
{
    (void)state;
    assert_near(icd_i_normal_quantile(.975), 1.959963984540054, 1e-10);
    assert_near(icd_i_normal_quantile(.001), -3.090232306167813, 1e-9);
    assert_near(icd_i_normal_cdf(1), .8413447460685429, 1e-12);
    for (double p = .01; p < 1; p += .01)
        assert_near(icd_i_normal_cdf(icd_i_normal_quantile(p)), p, 1e-12);
}

static void quantiles_interpolate(void **state)
{
    const double x[] = {1, 2, 3, 4};
    (void)state;
    assert_near(icd_i_quantile_sorted(x, 4, .5), 2.5, 1e-15);
    assert_near(icd_i_quantile_sorted(x, 4, 0), 1, 0);
    assert_near(icd_i_quantile_sorted(x, 4, 1), 4, 0);
    assert_near(icd_i_quantile_sorted(x, 1, .3), 1, 0);
}

/* Small sample: the exact p-value is a count, 2 of 2^5 flips are as extreme. */
static void sign_flip_is_exact_for_few_pairs(void **state)
{
    const double d[] = {1, 2, 3, 4, 5};
    (void)state;
    assert_near(icd_i_sign_flip_p(d, 5, 1000, 1), 2. / 32, 1e-15);
}

static void hedges_g_matches_hand_calculation(void **state)
{
    const double a[] = {1, 2, 3, 4}, b[] = {3, 4, 5, 6};
    (void)state;
    /* difference 2, pooled sd sqrt(5/3), correction 1 - 3/23 */
    assert_near(icd_i_hedges_g(a, b, 4), 2 / sqrt(5. / 3) * (1 - 3. / 23), 1e-12);
}

static void bootstrap_of_constant_has_no_width(void **state)
{
    double x[30];
    icd_interval ci;
    (void)state;
    for (int i = 0; i < 30; i++) x[i] = 7;
    assert_ok(ctx, icd_i_bca_mean(ctx, x, 30, .95, 1000, 1, &ci));
    assert_near(ci.low, 7, 0);
    assert_near(ci.high, 7, 0);
    assert_fails(ctx, ICD_EINVAL, "expected 2 or more",
                 icd_i_bca_mean(ctx, x, 1, .95, 1000, 1, &ci));
}

/* SciPy 1.10: scipy.stats.bootstrap((x,), np.mean, method='BCa', n_resamples=200000) on
   x = exp(0.3 z_i), z_i the normal scores of 40 values, gives (0.9557, 1.1504). */
static void bootstrap_agrees_with_scipy(void **state)
{
    double x[40];
    icd_interval ci;
    (void)state;
    for (int i = 0; i < 40; i++) x[i] = exp(.3 * icd_i_normal_quantile((i + .5) / 40));
    assert_ok(ctx, icd_i_bca_mean(ctx, x, 40, .95, 200000, 1, &ci));
    assert_near(ci.low, .9557, .002);
    assert_near(ci.high, 1.1504, .002);
}

/* 95 % intervals of paired log-ratios cover the truth in 92 to 97 % of simulated
 * experiments. */
static void interval_covers_the_truth(void **state)
{
    enum { EXPERIMENTS = 1500, BLOCKS = 40 };
    icd_rng rng;
    int covered = 0;
    (void)state;
    icd_i_rng_init(&rng, 20261123, 7);
    for (int e = 0; e < EXPERIMENTS; e++) {
        double d[BLOCKS];
        icd_interval ci;
        for (int i = 0; i < BLOCKS; i++)
            d[i] = -.1 + .05 * icd_i_rng_normal(&rng) + .05 * (icd_i_rng_unit(&rng) - .5);
        assert_ok(ctx, icd_i_bca_mean(ctx, d, BLOCKS, .95, 600, (uint64_t)e, &ci));
        covered += ci.low <= -.1 && -.1 <= ci.high;
    }
    print_message("coverage %.1f %%\n", 100. * covered / EXPERIMENTS);
    assert_in_range(covered, EXPERIMENTS * 92 / 100, EXPERIMENTS * 97 / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normal_quantile_matches_tables),
        cmocka_unit_test(quantiles_interpolate),
        cmocka_unit_test(sign_flip_is_exact_for_few_pairs),
        cmocka_unit_test(hedges_g_matches_hand_calculation),
        cmocka_unit_test(bootstrap_of_constant_has_no_width),
        cmocka_unit_test(bootstrap_agrees_with_scipy),
        cmocka_unit_test(interval_covers_the_truth),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
