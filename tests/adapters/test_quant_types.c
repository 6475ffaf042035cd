/* int4, fp8, bf16, groups and their order, cuts. */
#include "support.h"

#include <icd/adapters.h>
#include <icd/perm.h>

#include "adapters/q/clip.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 6, COLS = 50, GROUP = 8 };

static icd_ctx *ctx;
static float weights[ROWS * COLS];
static icd_perm *order;

static int set_up(void **state)
{
    icd_rng rng;
    icd_perm *p = NULL;
    (void)state;
    icd_i_rng_init(&rng, 9, 0);
    for (int i = 0; i < ROWS * COLS; i++)
        weights[i] = (float)icd_i_rng_normal(&rng) * (i % COLS % 7 ? .1f : 4.f);
    ctx = icd_ctx_new(NULL);
    if (!ctx || icd_perm_identity(ctx, COLS, ICD_FRAME_CHECKPOINT, &p) != ICD_OK)
        return -1;
    icd_i_rng_shuffle(&rng, p->old_of_new, COLS);
    icd_status status = icd_perm_from_array(ctx, p->old_of_new, COLS,
                                            ICD_FRAME_CHECKPOINT, "test", &order);
    icd_perm_free(ctx, p);
    return status == ICD_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    icd_perm_free(ctx, order);
    icd_ctx_free(ctx);
    return 0;
}

static icd_quant_opts options(int32_t dtype, int32_t group)
{
    icd_quant_opts opts;
    icd_options_init(&icd_quant_table, &opts);
    opts.dtype = dtype;
    opts.group = group;
    return opts;
}

static icd_transform_meta run(const icd_quant_opts *opts, const icd_perm *p, float *back)
{
    icd_matrix w = {"test", weights, ROWS, COLS};
    icd_quantized *q = NULL;
    icd_transform_meta meta;
    assert_ok(ctx, icd_apply_quant_at(ctx, &w, NULL, opts, p, &q, &meta));
    assert_true(meta.applied);
    for (int64_t r = 0; r < ROWS; r++) icd_quantized_row(q, r, back + r * COLS);
    icd_quantized_free(ctx, q);
    return meta;
}

static double largest_error(const float *back)
{
    double worst = 0;
    for (int i = 0; i < ROWS * COLS; i++)
        worst = fmax(worst, fabs((double)(back[i] - weights[i])));
    return worst;
}

static void finer_types_and_smaller_groups_lose_less(void **state)
{
    float back[ROWS * COLS];
    (void)state;
    icd_quant_opts int4 = options(ICD_Q_INT4, 0), groups = options(ICD_Q_INT4, GROUP),
                   int8 = options(ICD_Q_INT8, 0), fp8 = options(ICD_Q_FP8, 0),
                   e5m2 = options(ICD_Q_FP8_E5M2, 0), bf16 = options(ICD_Q_BF16, 0);
    double coarse = run(&int4, NULL, back).sqnr_db;
    assert_true(run(&groups, NULL, back).sqnr_db > coarse);
    assert_true(run(&int8, NULL, back).sqnr_db > coarse + 15);
    assert_true(largest_error(back) < 4. * 4 / 127);
    assert_true(run(&fp8, NULL, back).sqnr_db > run(&e5m2, NULL, back).sqnr_db);
    assert_true(run(&bf16, NULL, back).sqnr_db > 45);
}

/* Columns of one size together: int4 groups then waste no levels. */
static void an_order_that_gathers_outliers_helps_groups(void **state)
{
    float back[ROWS * COLS];
    int32_t index[COLS];
    icd_perm *sorted = NULL;
    int n = 0;
    (void)state;
    for (int c = 0; c < COLS; c++)
        if (c % 7 == 0) index[n++] = c;
    for (int c = 0; c < COLS; c++)
        if (c % 7 != 0) index[n++] = c;
    assert_ok(ctx, icd_perm_from_array(ctx, index, COLS, ICD_FRAME_CHECKPOINT, "test",
                                       &sorted));
    icd_quant_opts groups = options(ICD_Q_INT4, GROUP);
    icd_transform_meta plain = run(&groups, NULL, back),
                       ordered = run(&groups, sorted, back);
    double small_before = 0, small_after = 0;
    run(&groups, NULL, back);
    for (int i = 0; i < ROWS * COLS; i++)
        if (i % COLS % 7) small_before += fabs((double)(back[i] - weights[i]));
    run(&groups, sorted, back);
    for (int i = 0; i < ROWS * COLS; i++)
        if (i % COLS % 7) small_after += fabs((double)(back[i] - weights[i]));
    assert_true(small_after < .5 * small_before);
    assert_int_equal(ordered.unit, GROUP);
    assert_int_equal(plain.granule, GROUP);
    icd_perm_free(ctx, sorted);
}

/* With one scale per row the order of columns does not matter. */
static void without_groups_the_order_changes_nothing(void **state)
{
    float a[ROWS * COLS], b[ROWS * COLS];
    static const int32_t TYPES[] = {ICD_Q_INT8, ICD_Q_INT4, ICD_Q_FP8, ICD_Q_BF16};
    (void)state;
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++) {
        icd_quant_opts opts = options(TYPES[i], 0);
        run(&opts, NULL, a);
        run(&opts, order, b);
        assert_memory_equal(a, b, sizeof a);
    }
}

static void cuts(void **state)
{
    float w[1000], work[1000], back[ROWS * COLS];
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 4, 0);
    for (int i = 0; i < 1000; i++) w[i] = (float)icd_i_rng_normal(&rng);
    w[5] = 40;
    assert_true(icd_i_clip_kld(w, 1000, 7) < 30);
    assert_true(icd_i_clip_kld(w, 1000, 7) >= 40 / 3.1f);
    assert_near(icd_i_clip_percentile(w, 1000, 100, work), 40, 0);
    assert_true(icd_i_clip_percentile(w, 1000, 99, work) < 4);
    assert_true(icd_i_clip_kld(w, 0, 7) == 0);
    icd_quant_opts opts = options(ICD_Q_INT4, 0);
    opts.method = ICD_Q_PTQ_PERCENTILE;
    opts.percentile = 90;
    run(&opts, NULL, back);
    for (int i = 0; i < ROWS * COLS; i++)
        assert_true(fabsf(back[i]) <= fabsf(weights[i]) + 4);
    opts.method = ICD_Q_PTQ_KLD;
    run(&opts, NULL, back);
}

static icd_status apply_one(icd_ctx *c, void *arg)
{
    icd_matrix w = {"test", weights, ROWS, COLS};
    icd_quant_opts opts = options(ICD_Q_INT4, GROUP);
    icd_quantized *q = NULL;
    icd_transform_meta meta;
    (void)arg;
    opts.method = ICD_Q_PTQ_PERCENTILE;
    icd_status status = icd_apply_quant_at(c, &w, NULL, &opts, order, &q, &meta);
    icd_quantized_free(c, q);
    return status;
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(apply_one, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finer_types_and_smaller_groups_lose_less),
        cmocka_unit_test(an_order_that_gathers_outliers_helps_groups),
        cmocka_unit_test(without_groups_the_order_changes_nothing),
        cmocka_unit_test(cuts),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
