/* BERT on the emulated device against the CPU engine. */
#include "cuda/fake.h"
#include "runner/small.h"

#include <math.h>

static icd_ctx *ctx;

static int set_up(void **state)
{
    (void)state;
    ctx = small_ctx(1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    return 0;
}

static icd_runner_opts device_opts(int32_t dtype, int32_t vector)
{
    icd_runner_opts opts = small_opts(dtype);
    on_device(&opts);
    opts.vector = vector;
    return opts;
}

static result run_device(const icd_model *model, const icd_layout *layout, int32_t dtype,
                         int32_t vector, const icd_batch *batch)
{
    icd_runner_opts opts = device_opts(dtype, vector);
    icd_runner *runner = NULL;
    icd_output out;
    assert_ok(ctx, icd_runner_new(ctx, model, layout, batch, &opts, &runner));
    assert_ok(ctx, icd_runner_step(ctx, runner, batch, &out));
    result kept = keep_output(&out);
    assert_ok(ctx, icd_runner_step(ctx, runner, batch, &out)); /* the graph again */
    result again = keep_output(&out);
    assert_same_bits(&kept, &again);
    result_release(&again);
    icd_runner_free(ctx, runner);
    return kept;
}

/* Rows of tokens that count. */
static void compare(const result *a, const result *b, const icd_batch *batch,
                    double bound)
{
    double gap = 0, top = 0, worst = 1;
    for (int64_t s = 0; s < batch->batch; s++)
        for (int64_t t = 0; t < batch->lengths[s]; t++) {
            const float *x = a->hidden + (s * batch->seq + t) * a->width;
            const float *y = b->hidden + (s * batch->seq + t) * a->width;
            for (int64_t i = 0; i < a->width; i++) {
                double d = fabs((double)x[i] - (double)y[i]);
                gap = d <= gap ? gap : isnan(d) ? INFINITY : d;
                top = fmax(top, fabs((double)y[i]));
            }
            worst = fmin(worst, cosine(x, y, a->width));
        }
    print_message("largest relative gap %.2g, least cosine %.6f\n", gap / top, worst);
    assert_true(gap / top <= bound);
    assert_true(worst >= (bound > .1 ? 0.95 : 0.99));
}

static void agrees(const small_shape *z, int64_t batch, int64_t seq, int32_t dtype,
                   int32_t vector, double bound)
{
    icd_model *model = small_bert(ctx, z, 5);
    icd_batch b = small_batch(z, batch, seq, 2);
    /* no CPU multiplies fp8 */
    result expected =
        run_once(ctx, model, NULL, dtype == ICD_RUN_FP8 ? ICD_RUN_F32 : dtype, &b);
    result found = run_device(model, NULL, dtype, vector, &b);
    compare(&found, &expected, &b, bound);
    if (found.pooled)
        assert_true(relative_gap(found.pooled, expected.pooled, b.batch * found.width) <=
                    2 * bound);
    result_release(&expected);
    result_release(&found);
    small_batch_release(&b);
    icd_model_free(ctx, model);
}

static void test_bf16(void **state)
{
    (void)state;
    need_device();
    agrees(&SMALL, 5, 9, ICD_RUN_BF16, 64, 3e-2);
    small_shape z = {1, 40, 150, 5, 23, 11, "relu", false};
    agrees(&z, 1, 7, ICD_RUN_BF16, 128, 3e-2);
}

static void test_int8(void **state)
{
    (void)state;
    need_device();
    agrees(&SMALL, 5, 9, ICD_RUN_INT8, 64, 6e-2);
    agrees(&SMALL, 1, 4, ICD_RUN_INT8, 128, 6e-2);
}

/* Fixed steps of activations, small enough that some are cut; the linears of the first
 * group keep what they have: f32 on a CPU, bf16 here. */
static void test_mixed(void **state)
{
    (void)state;
    need_device();
    icd_model *source = small_bert(ctx, &SMALL, 5);
    icd_batch b = small_batch(&SMALL, 2, 9, 2);
    sparse s = sparse_new(ctx, source, 64, .5, 9);
    for (int64_t i = 0; i < s.layout->count; i++) {
        icd_layout_entry *e = &s.layout->entry[i];
        e->whole = !strcmp(e->group, s.layout->entry[0].group);
        s.quant[i]->input_scale = 0.02F;
        if (e->whole) e->quant = NULL;
    }
    set_kernels(s.layout, ICD_KERNEL_TILE, 4);
    result expected = run_once(ctx, s.model, s.layout, ICD_RUN_INT8, &b);
    result found = run_device(s.model, s.layout, ICD_RUN_INT8, 64, &b);
    compare(&found, &expected, &b, 6e-2);
    result_release(&expected);
    result_release(&found);
    sparse_free(ctx, &s);
    small_batch_release(&b);
    icd_model_free(ctx, source);
}

/* One sequence, and three times the same: kernels of few tokens and of many. */
static void few_and_many(int32_t dtype, double bound)
{
    icd_model *model = small_bert(ctx, &SMALL, 5);
    icd_batch few = small_batch(&SMALL, 1, 4, 2), many = small_batch(&SMALL, 3, 4, 2);
    for (int i = 0; i < 12; i++) ((int32_t *)(uintptr_t)many.ids)[i] = few.ids[i % 4];
    for (int i = 0; i < 3; i++) ((int32_t *)(uintptr_t)many.lengths)[i] = few.lengths[0];
    result a = run_device(model, NULL, dtype, 64, &few);
    result b = run_device(model, NULL, dtype, 128, &many);
    compare(&a, &b, &few, bound);
    result_release(&a);
    result_release(&b);
    small_batch_release(&few);
    small_batch_release(&many);
    icd_model_free(ctx, model);
}

/* Against f32: e4m3 rounds by up to 1 of 16, and this model has no tolerance for it. */
static void test_fp8(void **state)
{
    (void)state;
    need_device();
    agrees(&SMALL, 5, 9, ICD_RUN_FP8, 64, 1.5e-1);
    agrees(&SMALL, 1, 4, ICD_RUN_FP8, 128, 4e-1);
    few_and_many(ICD_RUN_FP8, 5e-2);

    few_and_many(ICD_RUN_BF16, 2e-2);
}

/* A local order behind the activation function: the rows of one product are written as
 * the next reads them. */
static void test_local_orders(void **state)
{
    (void)state;
    need_device();
    static const int32_t DTYPE[] = {ICD_RUN_BF16, ICD_RUN_INT8, ICD_RUN_FP8};
    icd_model *source = small_bert(ctx, &SMALL, 8);
    sparse s = sparse_new(ctx, source, 64, .6, 9);
    icd_batch b = small_batch(&SMALL, 3, 9, 2);
    for (int64_t i = 0; i < s.layout->count; i++) s.layout->entry[i].quant = NULL;
    for (int i = 0; i < 3; i++) {
        result plain = run_device(s.model, NULL, DTYPE[i], 64, &b);
        set_orders(ctx, s.model, s.layout, 10);
        set_kernels(s.layout, ICD_KERNEL_TILE, 16);
        result tile = run_device(s.model, s.layout, DTYPE[i], 64, &b);
        compare(&tile, &plain, &b, DTYPE[i] == ICD_RUN_FP8 ? 1e-1 : 2e-2);
        set_kernels(s.layout, ICD_KERNEL_DENSE, 16);
        result dense = run_device(s.model, s.layout, DTYPE[i], 128, &b);
        compare(&dense, &plain, &b, DTYPE[i] == ICD_RUN_FP8 ? 1e-1 : 2e-2);
        result_release(&plain);
        result_release(&tile);
        result_release(&dense);
    }
    small_batch_release(&b);
    sparse_free(ctx, &s);
    icd_model_free(ctx, source);
}

/* Two orders of one model differ only by the order of sums in f32, and by the roundings
 * that this turns: what the check of arms against each other (runtime/stage_check.c) has
 * to let pass. */
static void test_orders_agree(void **state)
{
    (void)state;
    need_device();
    static const small_shape deep = {3, 64, 96, 4, 23, 40, "gelu", false};
    icd_model *source = small_bert(ctx, &deep, 8);
    sparse s = sparse_new(ctx, source, 64, .7, 9);
    icd_batch b = small_batch(&deep, 1, 30, 2);
    for (int64_t i = 0; i < s.layout->count; i++) s.layout->entry[i].quant = NULL;
    result plain = run_device(s.model, NULL, ICD_RUN_BF16, 64, &b);
    for (uint64_t seed = 1; seed <= 2; seed++) {
        set_orders(ctx, s.model, s.layout, seed);
        set_kernels(s.layout, ICD_KERNEL_TILE, 16);
        result found = run_device(s.model, s.layout, ICD_RUN_BF16, 64, &b);
        compare(&found, &plain, &b, 1e-2);
        result_release(&found);
    }
    result_release(&plain);
    small_batch_release(&b);
    sparse_free(ctx, &s);
    icd_model_free(ctx, source);
}

/* Beyond one tile of tokens, of queries and of keys. */
static void test_longer(void **state)
{
    (void)state;
    need_device();
    small_shape z = {1, 32, 64, 2, 23, 80, "gelu", true};
    agrees(&z, 2, 75, ICD_RUN_BF16, 64, 3e-2);
}

/* The range that is set aside changes no value. */
static void test_pinned(void **state)
{
    (void)state;
    need_device();
    icd_model *model = small_bert(ctx, &SMALL, 5);
    icd_batch b = small_batch(&SMALL, 2, 7, 2);
    icd_runner_opts opts = device_opts(ICD_RUN_BF16, 64);
    icd_runner *runner = NULL;
    icd_output out;
    result plain = run_device(model, NULL, ICD_RUN_BF16, 64, &b);
    opts.l2_pin = true;
    assert_ok(ctx, icd_runner_new(ctx, model, NULL, &b, &opts, &runner));
#ifndef ICD_TEST_GPU
    assert_true(fake_state()->pinned > 0);
#endif
    assert_ok(ctx, icd_runner_step(ctx, runner, &b, &out));
    result pinned = keep_output(&out);
    assert_same_bits(&plain, &pinned);
    icd_runner_free(ctx, runner);
    result_release(&plain);
    result_release(&pinned);
    small_batch_release(&b);
    icd_model_free(ctx, model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bf16),         cmocka_unit_test(test_int8),
        cmocka_unit_test(test_mixed),        cmocka_unit_test(test_fp8),
        cmocka_unit_test(test_local_orders), cmocka_unit_test(test_orders_agree),
        cmocka_unit_test(test_longer),       cmocka_unit_test(test_pinned),
    };
    return run_on_device(tests, set_up, tear_down);
}
