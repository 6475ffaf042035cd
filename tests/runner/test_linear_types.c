#include "encoder.h"

/* Linears in every type, seen from outside: skipping zeros, packing small types and local
   orders must not change what a model computes. */

/* The weights of the masked model in another type, in the layout; or, in f32, what those
   weights are worth, as a model of its own. */
static icd_model *retype(sparse *s, int32_t dtype, int32_t group)
{
    const icd_linear *list = NULL;
    icd_model *worth = NULL;
    icd_replacement with[MOST_TENSORS];
    int64_t count = 0;
    assert_ok(ctx, icd_runner_linears(ctx, s->model, &list, &count));
    for (int64_t i = 0; i < count; i++) {
        float *w = NULL;
        assert_ok(ctx, icd_model_tensor_f32(ctx, s->model, list[i].tensor, &w));
        icd_matrix m = {list[i].name, w, list[i].rows, list[i].cols};
        icd_quantized_free(ctx, s->quant[i]);
        assert_ok(ctx, icd_quantize_matrix(ctx, &m, dtype, group, &s->quant[i]));
        s->layout->entry[i].quant = s->quant[i];
        for (int64_t r = 0; r < m.rows; r++)
            icd_quantized_row(s->quant[i], r, w + r * m.cols);
        with[i] = (icd_replacement){list[i].tensor, w};
    }
    assert_ok(ctx, icd_model_replace(ctx, s->model, with, count, &worth));
    for (int64_t i = 0; i < count; i++)
        icd_mem_free(ctx, (void *)(uintptr_t)with[i].data);
    icd_mem_free(ctx, (void *)(uintptr_t)list);
    return worth;
}

static void assert_run_gives(const icd_model *m, const sparse *s, int32_t dtype,
                             const result *expected)
{
    result r = run_once(ctx, m, s->layout, dtype, &batch);
    assert_same_bits(expected, &r);
    result_release(&r);
}

static void check_kernels(const icd_model *m, const sparse *s, int32_t dtype,
                          const result *expected)
{
    set_kernels(s->layout, ICD_KERNEL_DENSE, 4);
    assert_run_gives(m, s, dtype, expected);
    set_kernels(s->layout, ICD_KERNEL_GATHER, 1);
    assert_run_gives(m, s, dtype, expected);
    for (int32_t g = 4; g <= 64; g *= 4) {
        set_kernels(s->layout, ICD_KERNEL_TILE, g);
        assert_run_gives(m, s, dtype, expected);
    }
}

/* Adding exact zeros in f32 changes nothing, so all kernels agree bit by bit. */
static void kernels_agree_in_f32(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        sparse s = sparse_new(ctx, source, 16, .15 * (double)seed, seed);
        for (int ordered = 0; ordered < 2; ordered++) {
            if (ordered) set_orders(ctx, s.model, s.layout, seed);
            set_kernels(s.layout, ICD_KERNEL_DENSE, 4);
            result dense = run_once(ctx, s.model, s.layout, ICD_RUN_F32, &batch);
            check_kernels(s.model, &s, ICD_RUN_F32, &dense);
            result_release(&dense);
        }
        sparse_free(ctx, &s);
    }
}

/* bf16 storage: the f32 run of the rounded weights, bit by bit. */
static void bf16_is_f32_with_rounded_weights(void **state)
{
    (void)state;
    sparse s = sparse_new(ctx, source, 16, .4, 3);
    icd_model *worth = retype(&s, ICD_WEIGHT_BF16, 0);
    result expected = run_once(ctx, worth, NULL, ICD_RUN_F32, &batch);
    check_kernels(s.model, &s, ICD_RUN_BF16, &expected);
    for (int64_t i = 0; i < s.layout->count; i++) s.layout->entry[i].quant = NULL;
    set_kernels(s.layout, ICD_KERNEL_DENSE, 4);
    assert_run_gives(s.model, &s, ICD_RUN_BF16, &expected);
    result_release(&expected);
    icd_model_free(ctx, worth);
    sparse_free(ctx, &s);
}

/* 4 bits: the f32 run of their values, up to the rounding of activations to int8. */
static void int4_computes_with_its_values(void **state)
{
    static const int32_t GROUP[] = {0, 8, 16, 32};
    (void)state;
    for (int g = 0; g < 4; g++) {
        sparse s = sparse_new(ctx, source, 16, .5, 4);
        icd_model *worth = retype(&s, ICD_WEIGHT_INT4, GROUP[g]);
        result exact = run_once(ctx, worth, NULL, ICD_RUN_F32, &batch);
        result dense = run_once(ctx, s.model, s.layout, ICD_RUN_INT4, &batch);
        assert_true(cosine(exact.hidden, dense.hidden, exact.tokens * exact.width) >
                    .999);
        for (int32_t granule = 8; granule <= 32; granule *= 2) {
            set_kernels(s.layout, ICD_KERNEL_TILE, granule);
            result tile = run_once(ctx, s.model, s.layout, ICD_RUN_INT4, &batch);
            assert_true(relative_gap(tile.hidden, dense.hidden,
                                     dense.tokens * dense.width) < .02);
            result_release(&tile);
        }
        result_release(&dense);
        result_release(&exact);
        icd_model_free(ctx, worth);
        sparse_free(ctx, &s);
    }
}

static void refuse(const sparse *s, icd_status expected, const char *text, int32_t dtype)
{
    icd_runner_opts opts = small_opts(dtype);
    icd_runner *runner = NULL;
    assert_fails(ctx, expected, text,
                 icd_runner_new(ctx, s->model, s->layout, &batch, &opts, &runner));
    assert_null(runner);
}

static void what_has_no_kernel_is_refused(void **state)
{
    (void)state;
    sparse s = sparse_new(ctx, source, 16, .5, 5);
    icd_model_free(ctx, retype(&s, ICD_WEIGHT_INT4, 8));
    set_kernels(s.layout, ICD_KERNEL_GATHER, 1);
    refuse(&s, ICD_EUNSUPPORTED, "expected dense or tiles", ICD_RUN_INT4);
    set_kernels(s.layout, ICD_KERNEL_TILE, 4);
    refuse(&s, ICD_EUNSUPPORTED, "granules of 4", ICD_RUN_INT4);
    set_kernels(s.layout, ICD_KERNEL_DENSE, 4);
    set_orders(ctx, s.model, s.layout, 5);
    refuse(&s, ICD_EINVAL, "tears groups of 8 channels", ICD_RUN_INT4);
    icd_model_free(ctx, retype(&s, ICD_WEIGHT_FP8_E4M3, 0));
    refuse(&s, ICD_EUNSUPPORTED, "weights in fp8_e4m3", ICD_RUN_INT8);
    icd_model_free(ctx, retype(&s, ICD_WEIGHT_BF16, 0));
    s.layout->entry[1].quant = NULL;
    refuse(&s, ICD_EINVAL, "activations of another type", ICD_RUN_INT8);
    sparse_free(ctx, &s);
}

/* Two of four keep their int8 bits, whether the local order keeps the fours together
   (half the bytes) or not (dense). */
/* Five bytes of any eight weights, in whole steps, and a list; all eight where the order
   tears fours apart. */
static void cost_of_two_of_four(const sparse *s, bool torn)
{
    enum { ROWS = 16 };
    for (int64_t i = 0; i < s->layout->count; i++) {
        icd_layout_entry e = s->layout->entry[i];
        icd_linear_cost cost;
        e.kernel = ICD_KERNEL_DENSE;
        assert_ok(ctx, icd_runner_linear_cost(ctx, &e, ROWS, &cost));
        int64_t blocks = (e.rows + ROWS - 1) / ROWS, steps = blocks * ((e.cols + 7) / 8);
        int64_t dense = blocks * ROWS * ((e.cols + 3) / 4 * 4);
        assert_int_equal(icd_i_two_of_four(&e), !torn);
        assert_int_equal(cost.bytes, torn ? dense : steps * (5 * ROWS + 4));
    }
}

static void two_of_four_is_int8(void **state)
{
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 6, 0);
    for (int ordered = 0; ordered < 2; ordered++) {
        sparse s = sparse_new(ctx, source, 16, 1, 6);
        if (ordered) set_orders(ctx, s.model, s.layout, 6);
        for (int64_t i = 0; i < s.layout->count; i++) {
            icd_quantized *q = s.quant[i];
            for (int64_t k = 0; k < q->rows * q->cols; k++)
                if (k % q->cols % 4 == icd_i_rng_below(&rng, 2) ||
                    k % q->cols % 4 == 2 + (k / 64) % 2)
                    q->q[k] = 0;
            for (int64_t k = 0; k < q->rows * q->cols; k++)
                if (k % q->cols % 4 == 1) q->q[k] = 0;
        }
        result plain = run_once(ctx, s.model, s.layout, ICD_RUN_INT8, &batch);
        for (int64_t i = 0; i < s.layout->count; i++)
            assert_true(icd_quantized_set_nm(s.quant[i], 2, 4));
        cost_of_two_of_four(&s, ordered);
        assert_run_gives(s.model, &s, ICD_RUN_INT8, &plain);
        result_release(&plain);
        sparse_free(ctx, &s);
    }
}

static void count_event(void *user, const icd_event *event)
{
    if (!strcmp(event->stage, "kernel")) ++*(int64_t *)user;
    if (!strcmp(event->stage, "kernel"))
        assert_non_null(strstr(event->meta_json, "_us\":"));
}

/* Whichever kernel is the fastest here, the bits are those of dense; every choice is
   told. */
static void auto_takes_the_fastest(void **state)
{
    static const int32_t DTYPE[] = {ICD_RUN_F32, ICD_RUN_INT8, ICD_RUN_BF16};
    (void)state;
    for (int i = 0; i < 3; i++) {
        sparse s = sparse_new(ctx, source, 16, .3, 8);
        int64_t told = 0;
        if (DTYPE[i] == ICD_RUN_BF16) icd_model_free(ctx, retype(&s, ICD_WEIGHT_BF16, 0));
        result dense = run_once(ctx, s.model, s.layout, DTYPE[i], &batch);
        set_kernels(s.layout, ICD_KERNEL_AUTO, 4);
        icd_ctx_on_event(ctx, count_event, &told);
        assert_run_gives(s.model, &s, DTYPE[i], &dense);
        assert_int_equal(told, s.layout->count);
        icd_ctx_on_event(ctx, NULL, NULL);
        result_release(&dense);
        sparse_free(ctx, &s);
    }
}

/* What was chosen can be read, and where kernels break even is a share. */
static void choices_are_kept(void **state)
{
    (void)state;
    sparse s = sparse_new(ctx, source, 16, .3, 8);
    icd_runner_opts opts = small_opts(ICD_RUN_F32);
    icd_runner *runner = NULL;
    icd_break_even even;
    icd_kernel_choice choice;
    set_kernels(s.layout, ICD_KERNEL_AUTO, 4);
    s.layout->entry[0].kernel = ICD_KERNEL_TILE;
    assert_ok(ctx, icd_runner_new(ctx, s.model, s.layout, &batch, &opts, &runner));
    icd_runner_choice(runner, 0, &choice);
    assert_int_equal(choice.kernel, ICD_KERNEL_AUTO);
    for (int64_t i = 1; i < s.layout->count; i++) {
        icd_runner_choice(runner, i, &choice);
        double least = choice.kernel == ICD_KERNEL_DENSE  ? choice.dense_s
                       : choice.kernel == ICD_KERNEL_TILE ? choice.tile_s
                                                          : choice.gather_s;
        assert_true(least > 0 && least <= choice.dense_s);
        assert_true(choice.live > 0 && choice.live <= 1);
    }
    assert_ok(ctx, icd_runner_break_even(ctx, runner, &s.layout->entry[1], &even));
    assert_true(even.tile >= 0 && even.tile <= 1);
    assert_true(even.gather >= 0 && even.gather <= 1);
    icd_runner_free(ctx, runner);
    sparse_free(ctx, &s);
}

/* A threshold below every activation changes no bit, one above all leaves the biases; in
   between the error grows. */
static void small_activations_are_cut(void **state)
{
    static const double THRESHOLD[] = {0, 1e-30, .02, .3};
    enum { THRESHOLDS = 4 };
    (void)state;
    for (int dtype = ICD_RUN_F32; dtype <= ICD_RUN_INT8; dtype++) {
        sparse s = sparse_new(ctx, source, 16, .3, 8);
        result exact = run_once(ctx, s.model, s.layout, dtype, &batch);
        double found[THRESHOLDS];
        for (int i = 0; i < THRESHOLDS; i++) {
            icd_runner_opts opts = small_opts(dtype);
            icd_runner *runner = NULL;
            icd_output out;
            opts.threshold = THRESHOLD[i];
            assert_ok(ctx,
                      icd_runner_new(ctx, s.model, s.layout, &batch, &opts, &runner));
            assert_ok(ctx, icd_runner_step(ctx, runner, &batch, &out));
            found[i] = cosine(exact.hidden, out.hidden, out.tokens * out.width);
            if (i < 2)
                assert_memory_equal(exact.hidden, out.hidden,
                                    (size_t)(out.tokens * out.width) * sizeof(float));
            icd_runner_free(ctx, runner);
        }
        assert_true(found[3] < found[2] && found[2] < found[1]);
        assert_true(found[2] > .99);
        result_release(&exact);
        sparse_free(ctx, &s);
    }
}

static void auto_with_4_bits(void **state)
{
    (void)state;
    sparse s = sparse_new(ctx, source, 16, .3, 9);
    icd_model *worth = retype(&s, ICD_WEIGHT_INT4, 8);
    result exact = run_once(ctx, worth, NULL, ICD_RUN_F32, &batch);
    set_kernels(s.layout, ICD_KERNEL_AUTO, 4);
    result found = run_once(ctx, s.model, s.layout, ICD_RUN_INT4, &batch);
    assert_true(cosine(exact.hidden, found.hidden, exact.tokens * exact.width) > .999);
    result_release(&found);
    result_release(&exact);
    icd_model_free(ctx, worth);
    sparse_free(ctx, &s);
}

static icd_status new_and_step(icd_ctx *own, void *arg)
{
    const sparse *s = arg;
    icd_runner_opts opts = small_opts(ICD_RUN_INT4);
    icd_runner *runner = NULL;
    icd_output out;
    icd_status status = icd_runner_new(own, s->model, s->layout, &batch, &opts, &runner);
    if (status == ICD_OK) status = icd_runner_step(own, runner, &batch, &out);
    icd_runner_free(own, runner);
    return status;
}

static void failing_allocations_leave_nothing(void **state)
{
    static const int32_t DTYPE[] = {ICD_WEIGHT_BF16, ICD_WEIGHT_INT4};
    (void)state;
    for (int i = 0; i < 2; i++) {
        sparse s = sparse_new(ctx, source, 16, .5, 7);
        icd_model_free(ctx, retype(&s, DTYPE[i], i ? 16 : 0));
        s.layout->entry[5].kernel = ICD_KERNEL_AUTO;
        icd_test_failing_allocations(new_and_step, &s);
        sparse_free(ctx, &s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_agree_in_f32),
        cmocka_unit_test(bf16_is_f32_with_rounded_weights),
        cmocka_unit_test(int4_computes_with_its_values),
        cmocka_unit_test(what_has_no_kernel_is_refused),
        cmocka_unit_test(two_of_four_is_int8),
        cmocka_unit_test(auto_takes_the_fastest),
        cmocka_unit_test(choices_are_kept),
        cmocka_unit_test(small_activations_are_cut),
        cmocka_unit_test(auto_with_4_bits),
        cmocka_unit_test(failing_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
