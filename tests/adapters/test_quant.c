#include "support.h"

#include <icd/adapters.h>

#include "base/rng.h"

#include <math.h>
#include <string.h>

enum { ROWS = 7, COLS = 33, TOKENS = 5 };

static icd_ctx *ctx;
static float weights[ROWS * COLS], rows_x[TOKENS * COLS];

static int set_up(void **state)
{
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 1, 0);
    for (int i = 0; i < ROWS * COLS; i++) weights[i] = (float)icd_i_rng_normal(&rng);
    for (int i = 0; i < TOKENS * COLS; i++) rows_x[i] = (float)icd_i_rng_normal(&rng);
    memset(weights + 3 * COLS, 0, COLS * sizeof *weights);
    ctx = icd_ctx_new(NULL);
    return ctx ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    return 0;
}

static icd_quant_opts int8_options(void)
{
    icd_quant_opts opts;
    icd_options_init(&icd_quant_table, &opts);
    opts.dtype = ICD_Q_INT8;
    return opts;
}

static void error_is_at_most_half_a_step(void **state)
{
    icd_matrix matrix = {"test", weights, ROWS, COLS};
    icd_calibration cal = {.x = rows_x, .tokens = TOKENS};
    icd_quant_opts opts = int8_options();
    icd_quantized *q = NULL;
    icd_transform_meta meta;
    (void)state;
    assert_ok(ctx, icd_apply_quant(ctx, &matrix, &cal, &opts, &q, &meta));
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c++) {
            double back = (double)q->q[r * COLS + c] * (double)q->scale[r];
            assert_true(fabs(back - (double)weights[r * COLS + c]) <=
                        .5001 * (double)q->scale[r]);
            assert_in_range(q->q[r * COLS + c] + 127, 0, 254);
        }
    assert_true(q->scale[3] == 0);
    assert_true(meta.applied && meta.delta_layout && meta.granule == 4);
    assert_true(meta.sqnr_db > 35 && meta.cosine > .999 && meta.max_error < .02);
    icd_quantized_free(ctx, q);
}

static void infinity_is_a_no_op(void **state)
{
    float bad[ROWS * COLS];
    icd_matrix matrix = {"bad", bad, ROWS, COLS};
    icd_quant_opts opts = int8_options();
    icd_quantized *q = NULL;
    icd_transform_meta meta;
    (void)state;
    memcpy(bad, weights, sizeof bad);
    bad[2 * COLS] = INFINITY;
    assert_ok(ctx, icd_apply_quant(ctx, &matrix, NULL, &opts, &q, &meta));
    assert_null(q);
    assert_false(meta.applied);
    assert_non_null(strstr(meta.reason, "row 2"));
}

static void none_is_none(void **state)
{
    icd_matrix matrix = {"test", weights, ROWS, COLS};
    icd_quantized *q = NULL;
    icd_transform_meta meta;
    (void)state;
    assert_ok(ctx, icd_apply_quant(ctx, &matrix, NULL, NULL, &q, &meta));
    assert_null(q);
    assert_false(meta.applied);
}

static icd_status apply_once(icd_ctx *c, void *arg)
{
    icd_matrix matrix = {"test", weights, ROWS, COLS};
    icd_calibration cal = {.x = rows_x, .tokens = TOKENS};
    icd_quant_opts opts = int8_options();
    icd_quantized *q = NULL;
    icd_transform_meta meta;
    (void)arg;
    icd_status status = icd_apply_quant(c, &matrix, &cal, &opts, &q, &meta);
    icd_quantized_free(c, q);
    return status;
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(apply_once, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_is_at_most_half_a_step),
        cmocka_unit_test(infinity_is_a_no_op),
        cmocka_unit_test(none_is_none),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
