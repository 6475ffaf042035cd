#include "encoder.h"

/* Outlier channels and static scales, seen from outside: kernels and orders do not change
   what a model computes, and it stays near the values that its weights hold. */

/* Every `step`-th channel is an outlier; their weights are left out of the scales. */
static void widen(sparse *s, int32_t dtype, int32_t group, int32_t step, int32_t first,
                  float input_scale)
{
    const icd_linear *list = NULL;
    int64_t count = 0;
    assert_ok(ctx, icd_runner_linears(ctx, s->model, &list, &count));
    for (int64_t i = 0; i < count; i++) {
        float *w = NULL, *rest = NULL;
        int32_t outlier[512];
        int64_t found = 0, cols = list[i].cols;
        assert_ok(ctx, icd_model_tensor_f32(ctx, s->model, list[i].tensor, &w));
        assert_ok(ctx, icd_model_tensor_f32(ctx, s->model, list[i].tensor, &rest));
        for (int32_t c = first; step && c < cols; c += step) outlier[found++] = c;
        for (int64_t k = 0; k < found; k++)
            for (int64_t r = 0; r < list[i].rows; r++) rest[r * cols + outlier[k]] = 0;
        icd_matrix m = {list[i].name, rest, list[i].rows, cols};
        icd_quantized_free(ctx, s->quant[i]);
        assert_ok(ctx, icd_quantize_matrix(ctx, &m, dtype, group, &s->quant[i]));
        if (found)
            assert_ok(ctx, icd_quantized_widen(ctx, s->quant[i], w, outlier, found));
        s->quant[i]->input_scale = input_scale;
        s->layout->entry[i].quant = s->quant[i];
        icd_mem_free(ctx, w);
        icd_mem_free(ctx, rest);
    }
    icd_mem_free(ctx, (void *)(uintptr_t)list);
}

/* The model in f32 with the values that the small weights hold. */
static result exact(const sparse *s)
{
    const icd_linear *list = NULL;
    icd_replacement with[MOST_TENSORS];
    icd_model *worth = NULL;
    int64_t count = 0;
    assert_ok(ctx, icd_runner_linears(ctx, s->model, &list, &count));
    for (int64_t i = 0; i < count; i++) {
        float *w = malloc((size_t)(list[i].rows * list[i].cols) * sizeof *w);
        assert_non_null(w);
        for (int64_t r = 0; r < list[i].rows; r++)
            icd_quantized_row(s->quant[i], r, w + r * list[i].cols);
        with[i] = (icd_replacement){list[i].tensor, w};
    }
    assert_ok(ctx, icd_model_replace(ctx, s->model, with, count, &worth));
    result r = run_once(ctx, worth, NULL, ICD_RUN_F32, &batch);
    for (int64_t i = 0; i < count; i++) free((void *)(uintptr_t)with[i].data);
    icd_model_free(ctx, worth);
    icd_mem_free(ctx, (void *)(uintptr_t)list);
    return r;
}

static void check_run(const sparse *s, int32_t dtype, const result *expected)
{
    result r = run_once(ctx, s->model, s->layout, dtype, &batch);
    assert_same_bits(expected, &r);
    result_release(&r);
}

/* Masked or not, scattered or together, in any order and kernel: the same bits. */
static void kernels_and_orders_agree(void **state)
{
    (void)state;
    for (int masked = 0; masked < 2; masked++)
        for (int fixed = 0; fixed < 2; fixed++) {
            sparse s = sparse_new(ctx, source, 16, masked ? .4 : 1, 3);
            widen(&s, ICD_WEIGHT_INT8, 0, 5, 2, fixed ? .03f : 0);
            result dense = run_once(ctx, s.model, s.layout, ICD_RUN_INT8, &batch);
            for (int ordered = 0; ordered < 2; ordered++) {
                if (ordered) set_orders(ctx, s.model, s.layout, 4);
                for (int32_t g = 4; g <= 16; g *= 2) {
                    set_kernels(s.layout, ICD_KERNEL_TILE, g);
                    check_run(&s, ICD_RUN_INT8, &dense);
                }
                set_kernels(s.layout, ICD_KERNEL_GATHER, 1);
                check_run(&s, ICD_RUN_INT8, &dense);
                set_kernels(s.layout, ICD_KERNEL_DENSE, 4);
                check_run(&s, ICD_RUN_INT8, &dense);
            }
            result_release(&dense);
            sparse_free(ctx, &s);
        }
}

/* Outliers at the end: their granules are not multiplied in int8. */
static void together_they_free_granules(void **state)
{
    (void)state;
    sparse s = sparse_new(ctx, source, 16, 1, 3);
    icd_linear_cost scattered, together;
    widen(&s, ICD_WEIGHT_INT8, 0, 4, 1, 0);
    result before = run_once(ctx, s.model, s.layout, ICD_RUN_INT8, &batch);
    icd_layout_entry *e = &s.layout->entry[0];
    assert_ok(ctx, icd_runner_linear_cost(ctx, e, 16, &scattered));
    for (int64_t i = 0; i < s.layout->count; i++) {
        icd_layout_entry *one = &s.layout->entry[i];
        bool axis = !strcmp(one->group, "layer.0.attn.qkv");
        if (!axis) continue;
        icd_perm *order = NULL;
        assert_ok(ctx, icd_i_order_outliers_last(ctx, NULL,
                                                 icd_model_frame(s.model, "residual"),
                                                 s.quant[i], 4, &order));
        assert_ok(ctx, icd_i_layout_set_order(ctx, s.layout, one->group, order));
        icd_perm_free(ctx, order);
    }
    assert_ok(ctx, icd_runner_linear_cost(ctx, e, 16, &together));
    assert_true(scattered.live == scattered.all);
    int64_t regular = e->cols - s.quant[0]->outliers, blocks = (e->rows + 15) / 16;
    assert_int_equal(together.live, blocks * ((regular + 3) / 4));
    assert_true(together.live < together.all);
    assert_true(together.bytes < scattered.bytes);
    check_run(&s, ICD_RUN_INT8, &before);
    result_release(&before);
    sparse_free(ctx, &s);
}

static void outliers_come_near_to_their_values(void **state)
{
    static const struct {
        int32_t weight, run, group;
    } TYPE[] = {{ICD_WEIGHT_INT8, ICD_RUN_INT8, 0},
                {ICD_WEIGHT_INT4, ICD_RUN_INT4, 0},
                {ICD_WEIGHT_INT4, ICD_RUN_INT4, 8}};
    (void)state;
    for (int i = 0; i < 3; i++)
        for (int32_t step = 0; step < 9; step += 4) {
            sparse s = sparse_new(ctx, source, 16, 1, 5);
            widen(&s, TYPE[i].weight, TYPE[i].group, step, 0, 0);
            result wanted = exact(&s);
            result r = run_once(ctx, s.model, s.layout, TYPE[i].run, &batch);
            assert_true(cosine(wanted.hidden, r.hidden, r.tokens * r.width) > .999);
            result_release(&wanted);
            result_release(&r);
            sparse_free(ctx, &s);
        }
}

static void refuse(const sparse *s, const char *say)
{
    icd_runner *runner = NULL;
    icd_runner_opts opts = small_opts(ICD_RUN_INT8);
    assert_fails(ctx, ICD_EINVAL, say,
                 icd_runner_new(ctx, s->model, s->layout, &batch, &opts, &runner));
    assert_null(runner);
}

static void linears_of_one_input_must_agree(void **state)
{
    (void)state;
    sparse s = sparse_new(ctx, source, 16, 1, 5);
    widen(&s, ICD_WEIGHT_INT8, 0, 4, 0, 0);
    s.quant[1]->input_scale = 1;
    refuse(&s, "another scale of the input");
    s.quant[1]->input_scale = 0;
    s.quant[1]->outlier[0]++;
    refuse(&s, "other outliers");
    sparse_free(ctx, &s);
}

/* Without small weights for every linear of a group, all of it runs in f32. */
static void groups_stay_whole(void **state)
{
    (void)state;
    sparse s = sparse_new(ctx, source, 16, .5, 5);
    result f32 = run_once(ctx, s.model, s.layout, ICD_RUN_F32, &batch);
    for (int64_t i = 0; i < s.layout->count; i++)
        if (i % 6 != 1 && i % 6 != 2) s.layout->entry[i].quant = NULL;
    icd_i_layout_keep_whole(s.layout);
    for (int64_t i = 0; i < s.layout->count; i++)
        assert_true(s.layout->entry[i].whole && !s.layout->entry[i].quant);
    check_run(&s, ICD_RUN_INT8, &f32);
    for (int64_t i = 5; i < s.layout->count; i += 6)
        s.layout->entry[i].quant = s.quant[i];
    icd_i_layout_keep_whole(s.layout);
    assert_true(s.layout->entry[5].quant && !s.layout->entry[5].whole);
    result mixed = run_once(ctx, s.model, s.layout, ICD_RUN_INT8, &batch);
    assert_true(cosine(f32.hidden, mixed.hidden, mixed.tokens * mixed.width) > .999);
    assert_true(relative_gap(f32.hidden, mixed.hidden, mixed.tokens * mixed.width) > 0);
    result_release(&mixed);
    result_release(&f32);
    sparse_free(ctx, &s);
}

static icd_status run_all(icd_ctx *c, void *arg)
{
    const sparse *s = arg;
    icd_runner *runner = NULL;
    icd_runner_opts opts = small_opts(ICD_RUN_INT8);
    icd_output out;
    icd_status status = icd_runner_new(c, s->model, s->layout, &batch, &opts, &runner);
    if (status == ICD_OK) status = icd_runner_step(c, runner, &batch, &out);
    icd_runner_free(c, runner);
    return status;
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    sparse s = sparse_new(ctx, source, 16, .5, 5);
    widen(&s, ICD_WEIGHT_INT8, 0, 8, 3, 0);
    icd_test_failing_allocations(run_all, &s);
    sparse_free(ctx, &s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_and_orders_agree),
        cmocka_unit_test(together_they_free_granules),
        cmocka_unit_test(outliers_come_near_to_their_values),
        cmocka_unit_test(linears_of_one_input_must_agree),
        cmocka_unit_test(groups_stay_whole),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
