#include "support.h"

#include <icd/adapters.h>

#include "adapters/adapter.h"
#include "base/rng.h"
#include "core/mask.h"

#include <math.h>
#include <string.h>

enum { ROWS = 10, COLS = 16 };

static icd_ctx *ctx;
static float weights[ROWS * COLS];
static double x_sq[COLS];

static int set_up(void **state)
{
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 42, 0);
    for (int i = 0; i < ROWS * COLS; i++) weights[i] = (float)icd_i_rng_normal(&rng);
    for (int c = 0; c < COLS; c++) x_sq[c] = icd_i_rng_unit(&rng) + .1;
    ctx = icd_ctx_new(NULL);
    return ctx ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    return 0;
}

static icd_sparsity_opts options(int32_t type, double rate)
{
    icd_sparsity_opts opts;
    icd_options_init(&icd_sparsity_table, &opts);
    opts.type = type;
    opts.rate = rate;
    opts.vector = 4;
    return opts;
}

static const icd_matrix MATRIX = {"test", weights, ROWS, COLS};
static const icd_calibration CALIBRATION = {.x_sq = x_sq};

/* Saliency of one vector by definition: sum over its rows of (|w| ||x||)^2. */
static double vector_saliency(int64_t block, int64_t col)
{
    double sum = 0;
    for (int64_t r = 4 * block; r < 4 * block + 4 && r < ROWS; r++)
        sum +=
            (double)weights[r * COLS + col] * (double)weights[r * COLS + col] * x_sq[col];
    return sum;
}

static void hds_keeps_the_best_vectors_of_every_block(void **state)
{
    icd_sparsity_opts opts = options(ICD_S_HDS, .75);
    icd_mask *mask = NULL;
    icd_transform_meta meta;
    (void)state;
    assert_ok(ctx, icd_apply_sparsity(ctx, &MATRIX, &CALIBRATION, &opts, &mask, &meta));
    assert_int_equal(mask->blocks, 3);
    for (int64_t b = 0; b < 3; b++) {
        int kept = 0;
        double worst = INFINITY, best_dead = 0;
        for (int64_t c = 0; c < COLS; c++) {
            double s = vector_saliency(b, c);
            if (icd_i_mask_get(mask, b, c)) {
                kept++;
                worst = fmin(worst, s);
            } else {
                best_dead = fmax(best_dead, s);
            }
        }
        assert_int_equal(kept, 4);
        assert_true(worst >= best_dead * (1 - 1e-6));
    }
    assert_true(meta.applied && meta.delta_layout);
    assert_near(meta.rate, .75, 1e-12);
    assert_in_range((int)(100 * meta.retained), 26, 99);
    icd_mask_free(ctx, mask);
}

static void unstructured_keeps_exactly_the_asked_number(void **state)
{
    (void)state;
    for (double rate = 0; rate < .95; rate += .1) {
        icd_sparsity_opts opts = options(ICD_S_UNSTRUCTURED, rate);
        icd_mask *mask = NULL;
        icd_transform_meta meta;
        opts.saliency = ICD_SALIENCY_MAGNITUDE;
        assert_ok(ctx, icd_apply_sparsity(ctx, &MATRIX, NULL, &opts, &mask, &meta));
        double kept = icd_i_mask_density(mask) * ROWS * COLS;
        assert_near(kept, round((1 - rate) * ROWS * COLS), 1e-9);
        assert_int_equal(meta.delta_layout, meta.rate >= .25);
        icd_mask_free(ctx, mask);
    }
}

static void ties_go_to_the_lower_index(void **state)
{
    const float value[] = {1, 2, 2, 2, 0};
    float work[5];
    bool kept[5];
    (void)state;
    icd_i_keep_largest(value, 5, 2, work, kept);
    assert_true(!kept[0] && kept[1] && kept[2] && !kept[3] && !kept[4]);
    icd_i_keep_largest(value, 5, 0, work, kept);
    for (int i = 0; i < 5; i++) assert_false(kept[i]);
    icd_i_keep_largest(value, 5, 9, work, kept);
    for (int i = 0; i < 5; i++) assert_true(kept[i]);
}

static void what_cannot_be_done_is_a_no_op(void **state)
{
    icd_sparsity_opts opts = options(ICD_S_HDS, .5);
    float bad[ROWS * COLS];
    icd_matrix matrix = {"bad", bad, ROWS, COLS};
    icd_mask *mask = NULL;
    icd_transform_meta meta;
    (void)state;
    assert_ok(ctx, icd_apply_sparsity(ctx, &MATRIX, NULL, &opts, &mask, &meta));
    assert_null(mask);
    assert_false(meta.applied);
    assert_non_null(strstr(meta.reason, "calibration"));
    memcpy(bad, weights, sizeof bad);
    bad[17] = NAN;
    assert_ok(ctx, icd_apply_sparsity(ctx, &matrix, &CALIBRATION, &opts, &mask, &meta));
    assert_null(mask);
    assert_non_null(strstr(meta.reason, "NaN"));
}

static void input_is_never_changed(void **state)
{
    float before[ROWS * COLS], out[ROWS * COLS];
    icd_sparsity_opts opts = options(ICD_S_HDS, .5);
    icd_mask *mask = NULL;
    icd_transform_meta meta;
    (void)state;
    memcpy(before, weights, sizeof before);
    assert_ok(ctx, icd_apply_sparsity(ctx, &MATRIX, &CALIBRATION, &opts, &mask, &meta));
    icd_mask_apply(mask, weights, out);
    assert_memory_equal(before, weights, sizeof before);
    for (int i = 0; i < ROWS * COLS; i++)
        assert_true(out[i] ==
                    (icd_i_mask_get(mask, i / COLS / 4, i % COLS) ? weights[i] : 0));
    icd_mask_free(ctx, mask);
}

static void rate_out_of_range_is_refused(void **state)
{
    icd_sparsity_opts opts = options(ICD_S_HDS, 1.5);
    icd_mask *mask = NULL;
    icd_transform_meta meta;
    (void)state;
    assert_fails(ctx, ICD_EINVAL, "rate",
                 icd_apply_sparsity(ctx, &MATRIX, &CALIBRATION, &opts, &mask, &meta));
}

static icd_status apply_once(icd_ctx *c, void *arg)
{
    float x[2 * COLS];
    icd_calibration cal = {.x_sq = x_sq, .x = x, .tokens = 2};
    icd_sparsity_opts opts = options(ICD_S_UNSTRUCTURED, .5);
    icd_mask *mask = NULL;
    icd_transform_meta meta;
    (void)arg;
    for (int i = 0; i < 2 * COLS; i++) x[i] = (float)i;
    icd_status status = icd_apply_sparsity(c, &MATRIX, &cal, &opts, &mask, &meta);
    icd_mask_free(c, mask);
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
        cmocka_unit_test(hds_keeps_the_best_vectors_of_every_block),
        cmocka_unit_test(unstructured_keeps_exactly_the_asked_number),
        cmocka_unit_test(ties_go_to_the_lower_index),
        cmocka_unit_test(what_cannot_be_done_is_a_no_op),
        cmocka_unit_test(input_is_never_changed),
        cmocka_unit_test(rate_out_of_range_is_refused),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
