#include "encoder.h"

/* Everything about how linears are executed, seen from outside: layouts must not change
   what a model computes. */

/* The result of a layout in int8, compared with `expected` bit by bit. */
static void assert_layout_gives(const sparse *s, const result *expected)
{
    result r = run_once(ctx, s->model, s->layout, ICD_RUN_INT8, &batch);
    assert_same_bits(expected, &r);
    result_release(&r);
}

/* Row blocks of masks that are finer, equal, coarser and no divisor of the kernel's. */
static void test_kernels_agree(void **state)
{
    (void)state;
    static const int32_t VECTOR[] = {1, 16, 64, 5};
    static const double DENSITY[] = {.03, .25, .6, 1, 0};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        sparse s = sparse_new(ctx, source, VECTOR[seed % 4], DENSITY[seed % 5], seed);
        print_message("seed %llu\n", (unsigned long long)seed);
        result dense = run_once(ctx, s.model, s.layout, ICD_RUN_INT8, &batch);
        for (int ordered = 0; ordered < 2; ordered++) {
            if (ordered) set_orders(ctx, s.model, s.layout, seed);
            set_kernels(s.layout, ICD_KERNEL_DENSE, 4);
            assert_layout_gives(&s, &dense);
            set_kernels(s.layout, ICD_KERNEL_GATHER, 1);
            assert_layout_gives(&s, &dense);
            for (int32_t g = 4; g <= 64; g *= 4) {
                set_kernels(s.layout, ICD_KERNEL_TILE, g);
                assert_layout_gives(&s, &dense);
            }
        }
        result_release(&dense);
        sparse_free(ctx, &s);
    }
}

/* Kernels and granules may differ inside a group, whose input is staged once; the widest
   padding stands last, first and in the middle. */
static void test_mixed_kernels_in_a_group(void **state)
{
    (void)state;
    static const int32_t GRANULE[3][3] = {{4, 64, 16}, {64, 4, 16}, {16, 4, 64}};
    sparse s = sparse_new(ctx, source, 16, .3, 3);
    result dense = run_once(ctx, s.model, s.layout, ICD_RUN_INT8, &batch);
    set_orders(ctx, s.model, s.layout, 4);
    for (int i = 0; i < 3; i++) {
        for (int64_t e = 0; e < s.layout->count; e++) {
            int32_t g = GRANULE[i][e % 3];
            s.layout->entry[e].granule = g;
            s.layout->entry[e].kernel = g == 4    ? ICD_KERNEL_GATHER
                                        : g == 16 ? ICD_KERNEL_DENSE
                                                  : ICD_KERNEL_TILE;
        }
        assert_layout_gives(&s, &dense);
    }
    result_release(&dense);
    sparse_free(ctx, &s);
}

/* f32 sums run in the local order: other roundings, the same function. */
static void test_orders_in_f32(void **state)
{
    (void)state;
    sparse s = sparse_new(ctx, source, 16, .5, 5);
    result plain = run_once(ctx, s.model, NULL, ICD_RUN_F32, &batch),
           identity = run_once(ctx, s.model, s.layout, ICD_RUN_F32, &batch);
    assert_same_bits(&plain, &identity);
    set_orders(ctx, s.model, s.layout, 6);
    result ordered = run_once(ctx, s.model, s.layout, ICD_RUN_F32, &batch);
    assert_true(relative_gap(ordered.hidden, plain.hidden, plain.tokens * plain.width) <=
                1e-5);
    result_release(&plain);
    result_release(&identity);
    result_release(&ordered);
    sparse_free(ctx, &s);
}

/* Without int8 weights in the layout the runner quantises by the same rule. */
static void test_own_weights(void **state)
{
    (void)state;
    sparse s = sparse_new(ctx, source, 16, .5, 7);
    result given = run_once(ctx, s.model, s.layout, ICD_RUN_INT8, &batch);
    for (int64_t i = 0; i < s.layout->count; i++) s.layout->entry[i].quant = NULL;
    assert_layout_gives(&s, &given);
    result none = run_once(ctx, s.model, NULL, ICD_RUN_INT8, &batch);
    assert_same_bits(&given, &none);
    result_release(&none);
    result_release(&given);
    sparse_free(ctx, &s);
}

/* Weights of `quant` are used, not those of the model. */
static void test_given_weights(void **state)
{
    (void)state;
    sparse s = sparse_new(ctx, source, 16, 1, 8);
    result before = run_once(ctx, s.model, s.layout, ICD_RUN_INT8, &batch);
    s.quant[3]->scale[0] *= 2;
    result after = run_once(ctx, s.model, s.layout, ICD_RUN_INT8, &batch);
    assert_memory_not_equal(before.hidden, after.hidden, sizeof(float) * 36);
    result_release(&before);
    result_release(&after);
    sparse_free(ctx, &s);
}

static void test_threads(void **state)
{
    (void)state;
    icd_batch big = small_batch(&SMALL, 13, 11, 3);
    sparse s = sparse_new(ctx, source, 16, .3, 9);
    set_orders(ctx, s.model, s.layout, 9);
    for (int kernel = ICD_KERNEL_DENSE; kernel <= ICD_KERNEL_TILE; kernel++) {
        result one = {0};
        set_kernels(s.layout, kernel, 16);
        for (int32_t threads = 1; threads <= 4; threads *= 2) {
            icd_ctx *own = small_ctx(threads);
            result r = run_once(own, s.model, s.layout, ICD_RUN_INT8, &big);
            if (threads == 1) {
                one = r;
            } else {
                assert_same_bits(&one, &r);
                result_release(&r);
            }
            icd_ctx_free(own);
        }
        result_release(&one);
    }
    sparse_free(ctx, &s);
    small_batch_release(&big);
}

static void refuse(const icd_model *model, const icd_layout *layout, icd_status expected,
                   const char *text, int32_t dtype)
{
    icd_runner_opts opts = small_opts(dtype);
    icd_runner *runner = NULL;
    assert_fails(ctx, expected, text,
                 icd_runner_new(ctx, model, layout, &batch, &opts, &runner));
    assert_null(runner);
}

static void replace_order(icd_layout_entry *e, uint64_t seed, uint64_t frame)
{
    icd_rng rng;
    icd_i_rng_init(&rng, seed, 1);
    icd_perm_free(ctx, e->order);
    e->order = random_order(ctx, &rng, e->cols, frame);
}

static void test_orders_of_a_group_differ(void **state)
{
    (void)state;
    sparse s = sparse_new(ctx, source, 16, .5, 10);
    for (int dtype = ICD_RUN_F32; dtype <= ICD_RUN_INT8; dtype++) {
        replace_order(icd_i_layout_get(s.layout, "layer.1.attn.k"), 1, 0);
        refuse(s.model, s.layout, ICD_EINVAL, "another local order", dtype);
        replace_order(icd_i_layout_get(s.layout, "layer.1.attn.q"), 2, 0);
        refuse(s.model, s.layout, ICD_EINVAL, "another local order", dtype);
    }
    sparse_free(ctx, &s);
}

static void test_bad_layout(void **state)
{
    (void)state;
    sparse s = sparse_new(ctx, source, 16, .5, 11);
    icd_layout_entry *up = icd_i_layout_get(s.layout, "layer.0.ffn.up");
    const icd_quantized *own = up->quant;
    replace_order(up, 3, 77);
    refuse(s.model, s.layout, ICD_EINVAL, "frame", ICD_RUN_INT8);
    refuse(s.model, s.layout, ICD_EINVAL, "frame", ICD_RUN_F32);
    icd_perm_free(ctx, up->order);
    up->order = NULL;
    up->kernel = ICD_KERNEL_TILE + 1;
    refuse(s.model, s.layout, ICD_EINVAL, "kernel", ICD_RUN_INT8);
    up->kernel = ICD_KERNEL_TILE, up->granule = 6;
    refuse(s.model, s.layout, ICD_EINVAL, "granule of 6", ICD_RUN_INT8);
    up->granule = 8, up->rows++;
    refuse(s.model, s.layout, ICD_EINVAL, "71 x 36", ICD_RUN_INT8);
    up->rows--, up->quant = icd_i_layout_get(s.layout, "layer.0.ffn.down")->quant;
    refuse(s.model, s.layout, ICD_EINVAL, "int8 weights of 36 x 70", ICD_RUN_INT8);
    up->quant = own;
    assert_ok(ctx, icd_i_layout_add(ctx, s.layout, "layer.2.ffn.up", "g", 1, 1));
    refuse(s.model, s.layout, ICD_EINVAL, "no such linear", ICD_RUN_INT8);
    s.layout->count--; /* entry 12 stays allocated: its strings are freed below */
    icd_i_free(ctx, s.layout->entry[s.layout->count].linear);
    icd_i_free(ctx, s.layout->entry[s.layout->count].group);
    result fine = run_once(ctx, s.model, s.layout, ICD_RUN_INT8, &batch);
    result_release(&fine);
    sparse_free(ctx, &s);
}

static void test_weights_that_are_not_finite(void **state)
{
    (void)state;
    float *w = NULL;
    icd_model *broken = NULL;
    static const char NAME[] = "encoder.layer.1.output.dense.weight";
    assert_ok(ctx, icd_model_tensor_f32(ctx, source, NAME, &w));
    w[3 * 70 + 5] = NAN;
    icd_replacement with = {NAME, w};
    assert_ok(ctx, icd_model_replace(ctx, source, &with, 1, &broken));
    refuse(broken, NULL, ICD_EDATA, "row 3 holds NaN", ICD_RUN_INT8);
    icd_model_free(ctx, broken);
    icd_mem_free(ctx, w);
}

static icd_linear_cost cost_of(const icd_layout_entry *e)
{
    icd_linear_cost cost;
    assert_ok(ctx, icd_runner_linear_cost(ctx, e, 16, &cost));
    return cost;
}

static void test_cost(void **state)
{
    (void)state;
    sparse s = sparse_new(ctx, source, 16, 0, 12);
    icd_layout_entry *e = icd_i_layout_get(s.layout, "layer.0.ffn.up"); /* 70 x 36 */
    icd_i_mask_set(e->mask, 0, 0);
    icd_i_mask_set(e->mask, 0, 3);
    icd_i_mask_set(e->mask, 4, 35);
    e->kernel = ICD_KERNEL_TILE, e->granule = 8;
    icd_linear_cost tile = cost_of(e);
    assert_int_equal(tile.all, 5 * 5);
    assert_int_equal(tile.live, 2);
    assert_int_equal(tile.bytes, 2 * 16 * 8 + 4 * 4);
    e->kernel = ICD_KERNEL_DENSE, e->granule = 4;
    icd_linear_cost dense = cost_of(e);
    assert_int_equal(dense.live, dense.all);
    assert_int_equal(dense.bytes, 5 * 16 * 36);
    e->kernel = ICD_KERNEL_GATHER, e->granule = 1;
    icd_linear_cost gather = cost_of(e);
    assert_int_equal(gather.live, 3);
    assert_int_equal(gather.bytes, 2 * 16 * 4 + 8 * 4);
    e->quant = NULL;
    icd_linear_cost f32 = cost_of(e);
    assert_int_equal(f32.live, 3);
    assert_int_equal(f32.bytes, 2 * 16 * 16 + 8 * 4);
    e->kernel = ICD_KERNEL_DENSE;
    f32 = cost_of(e);
    assert_int_equal(f32.live, f32.all);
    assert_int_equal(f32.bytes, 5 * 16 * 36 * 4);
    sparse_free(ctx, &s);
}

static icd_status new_and_step(icd_ctx *own, void *arg)
{
    const sparse *s = arg;
    icd_runner_opts opts = small_opts(ICD_RUN_INT8);
    icd_runner *runner = NULL;
    icd_linear_cost cost;
    icd_output out;
    icd_status status = icd_runner_new(own, s->model, s->layout, &batch, &opts, &runner);
    if (status == ICD_OK) status = icd_runner_step(own, runner, &batch, &out);
    if (status == ICD_OK)
        status = icd_runner_linear_cost(own, &s->layout->entry[1], 16, &cost);
    icd_runner_free(own, runner);
    return status;
}

/* Granules that differ within groups: the staged input is widened, too. */
static void test_failing_allocations(void **state)
{
    (void)state;
    sparse s = sparse_new(ctx, source, 16, .4, 13);
    set_orders(ctx, s.model, s.layout, 13);
    for (int64_t i = 0; i < s.layout->count; i++) {
        s.layout->entry[i].kernel = ICD_KERNEL_TILE;
        s.layout->entry[i].granule = i % 2 ? 16 : 64;
    }
    icd_test_failing_allocations(new_and_step, &s);
    sparse_free(ctx, &s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels_agree),
        cmocka_unit_test(test_mixed_kernels_in_a_group),
        cmocka_unit_test(test_orders_in_f32),
        cmocka_unit_test(test_own_weights),
        cmocka_unit_test(test_given_weights),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_orders_of_a_group_differ),
        cmocka_unit_test(test_bad_layout),
        cmocka_unit_test(test_weights_that_are_not_finite),
        cmocka_unit_test(test_cost),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests_name("runner linear", tests, set_up, tear_down);
}
