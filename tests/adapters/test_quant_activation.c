#include "support.h"

#include <icd/adapters.h>

#include "base/rng.h"

#include <math.h>
#include <string.h>

/* Q with calibration: outlier channels, static scales, excluded linears. */

enum { ROWS = 24, COLS = 40, TOKENS = 30, LOUD = 7, LOUDER = 31 };

static icd_ctx *ctx;
static float weights[ROWS * COLS], x[TOKENS * COLS];
static const icd_calibration CAL = {.x = x, .tokens = TOKENS};
static const icd_matrix W = {"layer.3.ffn.up", weights, ROWS, COLS};

static int set_up(void **state)
{
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 1, 0);
    for (int i = 0; i < ROWS * COLS; i++) weights[i] = (float)icd_i_rng_normal(&rng);
    for (int i = 0; i < TOKENS * COLS; i++) {
        x[i] = (float)icd_i_rng_normal(&rng);
        if (i % COLS == LOUD) x[i] *= 20;
        if (i % COLS == LOUDER) x[i] *= 60;
    }
    ctx = icd_ctx_new(NULL);
    return ctx ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    return 0;
}

static icd_quant_opts options(int32_t dtype)
{
    icd_quant_opts opts;
    icd_options_init(&icd_quant_table, &opts);
    opts.dtype = dtype;
    return opts;
}

static icd_transform_meta run(const icd_quant_opts *opts, const icd_calibration *cal,
                              icd_quantized **q)
{
    icd_transform_meta meta;
    assert_ok(ctx, icd_apply_quant(ctx, &W, cal, opts, q, &meta));
    assert_true(meta.applied && *q);
    return meta;
}

static void outliers_are_the_loudest_channels(void **state)
{
    icd_quantized *q = NULL;
    icd_quant_opts opts = options(ICD_Q_INT8);
    float row[COLS];
    (void)state;
    opts.outliers = 2. / COLS;
    icd_transform_meta meta = run(&opts, &CAL, &q);
    assert_int_equal(meta.outliers, 2);
    assert_int_equal(q->outliers, 2);
    assert_int_equal(q->outlier[0], LOUD);
    assert_int_equal(q->outlier[1], LOUDER);
    for (int r = 0; r < ROWS; r++) {
        icd_quantized_row(q, r, row);
        assert_int_equal(q->q[r * COLS + LOUD], 0);
        assert_true(fabsf(row[LOUD] - weights[r * COLS + LOUD]) <=
                    fabsf(row[LOUD]) / 256);
    }
    assert_true(meta.refined && meta.cosine > meta.plain.cosine);
    assert_true(meta.max_error < meta.plain.max_error / 4);
    icd_quantized_free(ctx, q);
}

/* What was loud once, on a token that the sample does not hold, is loud. */
static void tokens_beside_the_sample_count(void **state)
{
    enum { ONCE = 3 };
    float top[COLS] = {0};
    icd_calibration cal = CAL;
    icd_quantized *q = NULL;
    icd_quant_opts opts = options(ICD_Q_INT8);
    (void)state;
    for (int i = 0; i < TOKENS * COLS; i++)
        top[i % COLS] = fmaxf(top[i % COLS], fabsf(x[i]));
    top[ONCE] = 1e4f;
    cal.x_max = top;
    opts.activation = ICD_Q_STATIC;
    run(&opts, &cal, &q);
    assert_true(q->input_scale == top[ONCE] / 127);
    icd_quantized_free(ctx, q);
    opts.outliers = 1. / COLS;
    run(&opts, &cal, &q);
    assert_int_equal(q->outlier[0], ONCE);
    assert_true(q->input_scale == top[LOUDER] / 127);
    icd_quantized_free(ctx, q);
}

static void a_threshold_limits_them(void **state)
{
    icd_quantized *q = NULL;
    icd_quant_opts opts = options(ICD_Q_INT4);
    (void)state;
    opts.group = 8;
    opts.outlier_threshold = 10;
    assert_int_equal(run(&opts, &CAL, &q).outliers, 2);
    icd_quantized_free(ctx, q);
    opts.outliers = 1. / COLS;
    assert_int_equal(run(&opts, &CAL, &q).outliers, 1);
    assert_int_equal(q->outlier[0], LOUDER);
    icd_quantized_free(ctx, q);
    opts.outlier_threshold = 1e6;
    icd_transform_meta meta = run(&opts, &CAL, &q);
    assert_true(meta.outliers == 0 && !meta.refined && isnan(meta.plain.cosine));
    icd_quantized_free(ctx, q);
}

static void static_scales_hold_the_range(void **state)
{
    icd_quantized *q = NULL;
    icd_quant_opts opts = options(ICD_Q_INT8);
    float top = 0;
    (void)state;
    for (int i = 0; i < TOKENS * COLS; i++) top = fmaxf(top, fabsf(x[i]));
    opts.activation = ICD_Q_STATIC;
    icd_transform_meta whole = run(&opts, &CAL, &q);
    assert_true(q->input_scale == top / 127);
    icd_quantized_free(ctx, q);
    opts.outliers = 2. / COLS;
    icd_transform_meta apart = run(&opts, &CAL, &q);
    assert_true(q->input_scale > 0 && (double)q->input_scale < 5. / 127);
    assert_true(apart.cosine > whole.cosine && apart.cosine > .999);
    icd_quantized_free(ctx, q);
    opts.outliers = 0;
    opts.percentile = 90;
    opts.activation_range = ICD_Q_PTQ_PERCENTILE;
    (void)run(&opts, &CAL, &q);
    assert_true(q->input_scale < top / 127 / 4);
    icd_quantized_free(ctx, q);
    opts.activation_range = ICD_Q_PTQ_KLD;
    (void)run(&opts, &CAL, &q);
    assert_true(q->input_scale > 0 && q->input_scale <= top / 127);
    icd_quantized_free(ctx, q);
}

static void without_input_the_rest_is_done(void **state)
{
    icd_quantized *q = NULL;
    icd_quant_opts opts = options(ICD_Q_INT8);
    (void)state;
    opts.outliers = .1;
    opts.activation = ICD_Q_STATIC;
    icd_transform_meta meta = run(&opts, NULL, &q);
    assert_true(!meta.refined && q->outliers == 0 && q->input_scale == 0);
    icd_quantized_free(ctx, q);
}

static void what_is_given_is_taken(void **state)
{
    static const int32_t LIST[] = {3, 9}, BEYOND[] = {3, COLS};
    icd_quantized *q = NULL;
    icd_transform_meta meta;
    icd_quant_opts opts = options(ICD_Q_INT8);
    icd_quant_place place = {
        .given = true, .outlier = LIST, .outliers = 2, .input_scale = 2};
    (void)state;
    opts.outliers = .5;
    assert_ok(ctx, icd_apply_quant_in(ctx, &W, &CAL, &opts, &place, &q, &meta));
    assert_true(q->outliers == 2 && q->outlier[1] == 9 && q->input_scale == 2);
    icd_quantized_free(ctx, q);
    place.outlier = BEYOND;
    assert_fails(ctx, ICD_EINVAL, "outlier 40",
                 icd_apply_quant_in(ctx, &W, &CAL, &opts, &place, &q, &meta));
    assert_null(q);
}

static void excluded_linears_stay(void **state)
{
    const char *pattern[] = {"layer.[0-2].*", "*.ffn.up"};
    icd_quantized *q = NULL;
    icd_transform_meta meta;
    icd_quant_opts opts = options(ICD_Q_INT8);
    (void)state;
    opts.exclude = (icd_strings){pattern, 2};
    assert_ok(ctx, icd_apply_quant(ctx, &W, &CAL, &opts, &q, &meta));
    assert_null(q);
    assert_true(!meta.applied && !meta.delta_layout);
    assert_non_null(strstr(meta.reason, "exclude"));
    opts.exclude.count = 1;
    (void)run(&opts, &CAL, &q);
    icd_quantized_free(ctx, q);
}

static icd_status apply_once(icd_ctx *c, void *arg)
{
    icd_quantized *q = NULL;
    icd_transform_meta meta;
    icd_status status = icd_apply_quant(c, &W, &CAL, arg, &q, &meta);
    if (status != ICD_OK) assert_null(q);
    icd_quantized_free(c, q);
    return status;
}

static void survives_failing_allocations(void **state)
{
    icd_quant_opts opts = options(ICD_Q_INT8);
    (void)state;
    opts.outliers = .1;
    opts.activation = ICD_Q_STATIC;
    icd_test_failing_allocations(apply_once, &opts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outliers_are_the_loudest_channels),
        cmocka_unit_test(tokens_beside_the_sample_count),
        cmocka_unit_test(a_threshold_limits_them),
        cmocka_unit_test(static_scales_hold_the_range),
        cmocka_unit_test(without_input_the_rest_is_done),
        cmocka_unit_test(what_is_given_is_taken),
        cmocka_unit_test(excluded_linears_stay),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
