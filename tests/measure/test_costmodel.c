#include "fixture.h"

#include "base/file.h"
#include "base/rng.h"
#include "measure/costmodel.h"

#include <math.h>
#include <string.h>

/* numpy.polyfit gives 2.02 and -.02; what leaving one out gives is computed by hand. */
static void line_and_left_out_predictions(void **state)
{
    const double y[] = {2.1, 3.9, 6.2, 7.8, 10.1, 12.2};
    double x[12], press = 0, all = 0, mean = 7.05;
    icd_fit fit, part;
    (void)state;
    for (int i = 0; i < 6; i++) {
        x[2 * i] = 1;
        x[2 * i + 1] = i + 1;
    }
    assert_ok(ctx, icd_i_fit(ctx, x, y, 6, 2, &fit));
    assert_near(fit.coef[1], 2.02, 1e-12);
    assert_near(fit.coef[0], -.02, 1e-12);
    for (int out = 0; out < 6; out++) {
        double xs[10], ys[5];
        for (int i = 0, k = 0; i < 6; i++) {
            if (i == out) continue;
            xs[2 * k] = 1;
            xs[2 * k + 1] = i + 1;
            ys[k++] = y[i];
        }
        assert_ok(ctx, icd_i_fit(ctx, xs, ys, 5, 2, &part));
        double e = y[out] - part.coef[0] - part.coef[1] * (out + 1);
        press += e * e;
        all += (y[out] - mean) * (y[out] - mean);
    }
    assert_near(fit.r2_cv, 1 - press / all, 1e-10);
    assert_true(fit.r2 > fit.r2_cv);
    assert_near(fit.spearman, 1, 1e-12);
}

static void three_columns_are_found_again(void **state)
{
    double x[90], y[30];
    icd_rng rng;
    icd_fit fit;
    (void)state;
    icd_i_rng_init(&rng, 5, 1);
    for (int i = 0; i < 30; i++) {
        x[3 * i] = 1;
        x[3 * i + 1] = 1e6 * icd_i_rng_unit(&rng);
        x[3 * i + 2] = 1e-3 * icd_i_rng_unit(&rng);
        y[i] = 3 + 2e-6 * x[3 * i + 1] - 500 * x[3 * i + 2];
    }
    assert_ok(ctx, icd_i_fit(ctx, x, y, 30, 3, &fit));
    assert_near(fit.coef[0], 3, 1e-6);
    assert_near(fit.coef[1], 2e-6, 1e-12);
    assert_near(fit.coef[2], -500, 1e-4);
    assert_near(fit.r2_cv, 1, 1e-9);
    for (int i = 0; i < 30; i++) x[3 * i + 2] = 2 * x[3 * i + 1];
    assert_fails(ctx, ICD_ENUMERIC, "depend", icd_i_fit(ctx, x, y, 30, 3, &fit));
    assert_fails(ctx, ICD_EINVAL, "points", icd_i_fit(ctx, x, y, 3, 2, &fit));
}

/* scipy.stats.spearmanr([1,2,2,4,5,0], [2,1,3,3,9,1]) = 0.80606 */
static void ranks_take_ties(void **state)
{
    const double x[] = {1, 2, 2, 4, 5, 0}, y[] = {2, 1, 3, 3, 9, 1}, c[] = {1, 1, 1};
    double r = 0;
    (void)state;
    assert_ok(ctx, icd_i_spearman(ctx, x, y, 6, &r));
    assert_near(r, .8060599359358183, 1e-12);
    assert_ok(ctx, icd_i_spearman(ctx, c, c, 3, &r));
    assert_true(isnan(r));
}

/* A path of four nodes in granules of one: distances 1, 1, 1; shuffled 2, 1, 1 by hand.
 */
static void cost_of_a_path(void **state)
{
    int64_t row[] = {0, 1, 3, 5, 6};
    int32_t col[] = {1, 0, 2, 1, 3, 2}, slot[] = {0, 2, 1, 3};
    float val[] = {1, 1, 1, 1, 1, 1};
    icd_csr w = {4, 6, row, col, val, 0};
    double sum[4];
    (void)state;
    icd_i_line_histogram(&w, NULL, 1, sum);
    assert_near(sum[1], 3, 0);
    assert_near(icd_i_cn(sum, 4, 3, .25), 3. / 9, 1e-12);
    icd_i_line_histogram(&w, slot, 1, sum);
    assert_near(sum[1], 1, 0);
    assert_near(sum[2], 2, 0);
    /* lambda 1, tau .5: phi(2) = 1.5, phi(3) = 2 */
    assert_near(icd_i_cn(sum, 4, 1, .5), (1 + 2 * 1.5) / (2 * 3), 1e-12);
    icd_i_line_histogram(&w, NULL, 4, sum);
    assert_near(icd_i_cn(sum, 1, 3, .25), 0, 0);
}

static icd_cost_model model(void)
{
    return (icd_cost_model){.base_ms = 1,
                            .ms_per_mb = 2,
                            .cov = {1e-4, -1e-4, 4e-4},
                            .sd_ms = .01,
                            .r2 = .99,
                            .r2_cv = .98,
                            .spearman = .97,
                            .alpha = .7,
                            .mu = .3,
                            .lambda = 3,
                            .tau = .25,
                            .j_r2_cv = NAN,
                            .j_spearman = NAN,
                            .layouts = 20,
                            .cpu = "a \"cpu\"",
                            .setting = "a model, cpu"};
}

static void ratio_has_an_interval(void **state)
{
    icd_cost_model m = model();
    double r, low, high;
    (void)state;
    icd_i_cost_model_ratio(&m, 2e6, 1e6, &r, &low, &high);
    assert_near(r, .6, 1e-12);
    assert_true(low < .6 && high > .6 && low > .5 && high < .7);
    icd_i_cost_model_ratio(&m, 2e6, 2e6, &r, &low, &high);
    assert_near(r, 1, 0);
    assert_near(low, 1, 1e-12);
    m.base_ms = -10;
    icd_i_cost_model_ratio(&m, 2e6, 1e6, &r, &low, &high);
    assert_true(isnan(r));
}

static void a_line_that_predicts_nothing_is_told(void **state)
{
    icd_cost_model m = model();
    (void)state;
    assert_null(icd_i_cost_model_flaw(&m));
    m.ms_per_mb = -2;
    assert_non_null(strstr(icd_i_cost_model_flaw(&m), "do not grow"));
    m = model();
    m.r2_cv = -5;
    assert_non_null(strstr(icd_i_cost_model_flaw(&m), "R2"));
    m.r2_cv = NAN;
    assert_non_null(icd_i_cost_model_flaw(&m));
    m = model();
    m.base_ms = NAN;
    assert_non_null(strstr(icd_i_cost_model_flaw(&m), "finite"));
}

static void file_round_trip(void **state)
{
    static const char *const BAD[] = {"[]", "{}", "{\"layouts\":20,\"base_ms\":\"x\"}"};
    icd_cost_model m = model(), back;
    const char *path = icd_test_path("calibration.json");
    (void)state;
    assert_ok(ctx, icd_i_cost_model_write(ctx, &m, NULL, path));
    assert_ok(ctx, icd_i_cost_model_read(ctx, path, &back));
    assert_near(back.ms_per_mb, 2, 0);
    assert_near(back.cov[1], -1e-4, 0);
    assert_true(isnan(back.j_r2_cv));
    assert_int_equal(back.layouts, 20);
    assert_string_equal(back.cpu, "a \"cpu\"");
    assert_string_equal(back.setting, "a model, cpu");
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        assert_ok(ctx, icd_i_file_write(ctx, path, BAD[i], strlen(BAD[i])));
        assert_fails(ctx, ICD_EDATA, "calibration.json",
                     icd_i_cost_model_read(ctx, path, &back));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_and_left_out_predictions),
        cmocka_unit_test(three_columns_are_found_again),
        cmocka_unit_test(ranks_take_ties),
        cmocka_unit_test(cost_of_a_path),
        cmocka_unit_test(ratio_has_an_interval),
        cmocka_unit_test(a_line_that_predicts_nothing_is_told),
        cmocka_unit_test(file_round_trip),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
