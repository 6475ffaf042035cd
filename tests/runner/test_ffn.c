#include "small.h"

#define ICD_TEST_THREADS 2
#include "fixture.h"

enum { WIDTH = 19, INNER = 53, TOKENS = 21 };

static void add_block(small_tensors *s, int64_t n)
{
    char name[64];
    snprintf(name, sizeof name, "layer.%lld.ffn.w1", (long long)n);
    small_add(s, name, INNER, WIDTH, 0, .3);
    snprintf(name, sizeof name, "layer.%lld.ffn.b1", (long long)n);
    small_add(s, name, INNER, 0, 0, .3);
    snprintf(name, sizeof name, "layer.%lld.ffn.w2", (long long)n);
    small_add(s, name, WIDTH, INNER, 0, .3);
    snprintf(name, sizeof name, "layer.%lld.ffn.b2", (long long)n);
    small_add(s, name, WIDTH, 0, 0, .3);
}

/* Blocks `first` and `last` (the same: one) in a file of their own. */
static icd_model *small_ffn(int64_t first, int64_t last)
{
    small_tensors s = {.ctx = ctx};
    icd_model *model = NULL;
    const char *path = icd_test_path("block.safetensors");
    icd_i_rng_init(&s.rng, 5, 1);
    add_block(&s, first);
    if (last != first) add_block(&s, last);
    assert_ok(ctx, icd_safetensors_write(ctx, path, s.tensor, s.count,
                                         (const char *[]){"activation", "relu", NULL}));
    small_release(&s);
    assert_ok(ctx, icd_model_open(ctx, path, &model));
    return model;
}

static const float *block_tensor(const icd_model *m, int64_t n, const char *part)
{
    char name[64];
    snprintf(name, sizeof name, "layer.%lld.ffn.%s", (long long)n, part);
    assert_non_null(icd_model_tensor(m, name));
    return icd_model_tensor(m, name)->data;
}

static void naive_block(const icd_model *m, int64_t n, const float *x, float *y)
{
    const float *w1 = block_tensor(m, n, "w1"), *b1 = block_tensor(m, n, "b1"),
                *w2 = block_tensor(m, n, "w2"), *b2 = block_tensor(m, n, "b2");
    for (int64_t t = 0; t < TOKENS; t++) {
        double h[INNER];
        for (int64_t r = 0; r < INNER; r++) {
            h[r] = (double)b1[r];
            for (int64_t c = 0; c < WIDTH; c++)
                h[r] += (double)w1[r * WIDTH + c] * (double)x[t * WIDTH + c];
            h[r] = fmax(h[r], 0);
        }
        for (int64_t r = 0; r < WIDTH; r++) {
            double sum = (double)b2[r];
            for (int64_t c = 0; c < INNER; c++) sum += (double)w2[r * INNER + c] * h[c];
            y[t * WIDTH + r] = (float)sum;
        }
    }
}

static void fill_rows(float *x, int64_t n)
{
    icd_rng rng;
    icd_i_rng_init(&rng, 8, 1);
    for (int64_t i = 0; i < n; i++) x[i] = (float)icd_i_rng_normal(&rng);
}

/* Blocks keep the numbers of their file, and each sees the same rows. */
static void test_definition(void **state)
{
    (void)state;
    static const int64_t BLOCK[][2] = {{0, 0}, {3, 70}, {2, 1000000007}};
    float x[TOKENS * WIDTH], expected[TOKENS * WIDTH];
    fill_rows(x, TOKENS * WIDTH);
    icd_batch b = {.batch = 3, .seq = TOKENS / 3, .rows = x, .width = WIDTH};
    for (size_t i = 0; i < sizeof BLOCK / sizeof *BLOCK; i++) {
        icd_model *m = small_ffn(BLOCK[i][0], BLOCK[i][1]);
        result r = run_once(ctx, m, NULL, ICD_RUN_F32, &b),
               rounded = run_once(ctx, m, NULL, ICD_RUN_INT8, &b);
        naive_block(m, BLOCK[i][1], x, expected);
        assert_int_equal(r.tokens, TOKENS);
        assert_null(r.pooled);
        assert_true(relative_gap(r.hidden, expected, TOKENS * WIDTH) <= 1e-6);
        assert_true(cosine(rounded.hidden, expected, TOKENS * WIDTH) >= .999);
        result_release(&rounded);
        result_release(&r);
        icd_model_free(ctx, m);
    }
}

static void test_linears(void **state)
{
    (void)state;
    icd_model *m = small_ffn(3, 70);
    const icd_linear *list = NULL;
    int64_t count = 0;
    assert_ok(ctx, icd_runner_linears(ctx, m, &list, &count));
    assert_int_equal(count, 4);
    assert_string_equal(list[0].name, "layer.3.ffn.up");
    assert_string_equal(list[3].name, "layer.70.ffn.down");
    assert_string_equal(list[3].tensor, "layer.70.ffn.w2");
    assert_string_equal(list[2].out_axis, "layer.70.ffn.inner");
    assert_string_equal(list[3].in_axis, "layer.70.ffn.inner");
    assert_string_equal(list[3].out_axis, "");
    assert_int_equal(list[3].rows, WIDTH);
    assert_int_equal(list[3].cols, INNER);
    icd_mem_free(ctx, (void *)(uintptr_t)list);
    icd_model_free(ctx, m);
}

static void test_bad_input(void **state)
{
    (void)state;
    icd_model *m = small_ffn(0, 0);
    icd_runner *runner = NULL;
    icd_output out;
    float x[TOKENS * WIDTH] = {0};
    int32_t ids[TOKENS] = {0};
    icd_batch b = {.batch = 1, .seq = TOKENS, .rows = x, .width = WIDTH};
    icd_runner_opts opts = small_opts(ICD_RUN_F32);
    assert_ok(ctx, icd_runner_new(ctx, m, NULL, &b, &opts, &runner));
    b.width = WIDTH + 1;
    assert_fails(ctx, ICD_EINVAL, "found rows of width 20, expected rows of width 19",
                 icd_runner_step(ctx, runner, &b, &out));
    assert_null(out.hidden);
    b = (icd_batch){.batch = 1, .seq = TOKENS, .ids = ids};
    assert_fails(ctx, ICD_EINVAL, "expected rows of width 19",
                 icd_runner_step(ctx, runner, &b, &out));
    icd_runner_free(ctx, runner);
    icd_model_free(ctx, m);
}

typedef struct step_case {
    icd_model *model;
    icd_batch batch;
    int32_t dtype;
} step_case;

static icd_status new_and_step(icd_ctx *own, void *arg)
{
    const step_case *c = arg;
    icd_runner_opts opts = small_opts(c->dtype);
    icd_runner *runner = NULL;
    icd_output out;
    icd_status status = icd_runner_new(own, c->model, NULL, &c->batch, &opts, &runner);
    if (status == ICD_OK) status = icd_runner_step(own, runner, &c->batch, &out);
    icd_runner_free(own, runner);
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    float x[TOKENS * WIDTH] = {0};
    step_case c = {small_ffn(0, 4),
                   {.batch = 1, .seq = TOKENS, .rows = x, .width = WIDTH},
                   ICD_RUN_F32};
    icd_test_failing_allocations(new_and_step, &c);
    c.dtype = ICD_RUN_INT8;
    icd_test_failing_allocations(new_and_step, &c);
    icd_model_free(ctx, c.model);
}

/* A real block against the outputs that were recorded with its weights; the last block of
   the file is layer 1. */
static void test_real_block(void **state)
{
    (void)state;
    const char *path = icd_test_shared("use-lite-ffn.safetensors");
    if (!path) skip_shared();
    icd_model *m = NULL;
    assert_ok(ctx, icd_model_open(ctx, path, &m));
    const icd_tensor *output = icd_model_tensor(m, "layer.1.ffn.output");
    icd_batch b = {.batch = 2,
                   .seq = output->shape[0] / 2,
                   .rows = block_tensor(m, 1, "input"),
                   .width = output->shape[1]};
    result r = run_once(ctx, m, NULL, ICD_RUN_F32, &b),
           rounded = run_once(ctx, m, NULL, ICD_RUN_INT8, &b);
    double gap = relative_gap(r.hidden, output->data, output->count),
           near = cosine(rounded.hidden, output->data, output->count);
    print_message("f32: relative error %.2g; int8: cosine %.5f\n", gap, near);
    assert_true(gap <= 1e-5);
    assert_true(near >= .999);
    result_release(&rounded);
    result_release(&r);
    icd_model_free(ctx, m);
}

/* The block that ships stores f16: weights widen exactly. */
static void test_shipped_block(void **state)
{
    (void)state;
    static const char PATH[] = ICD_SOURCE_DIR "/data/use-lite-ffn.safetensors";
    icd_model *m = NULL;
    float *x = NULL;
    assert_ok(ctx, icd_model_open(ctx, PATH, &m));
    const icd_model_config *c = icd_model_get_config(m);
    int64_t n = 16 * c->hidden;
    assert_ok(ctx, ICD_ALLOC(ctx, n, &x));
    fill_rows(x, n);
    icd_batch b = {.batch = 1, .seq = 16, .rows = x, .width = c->hidden};
    result r = run_once(ctx, m, NULL, ICD_RUN_F32, &b),
           rounded = run_once(ctx, m, NULL, ICD_RUN_INT8, &b);
    assert_int_equal(r.width, 512);
    assert_true(cosine(rounded.hidden, r.hidden, n) >= .999);
    result_release(&rounded);
    result_release(&r);
    icd_i_free(ctx, x);
    icd_model_free(ctx, m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition), cmocka_unit_test(test_linears),
        cmocka_unit_test(test_bad_input),  cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_real_block), cmocka_unit_test(test_shipped_block),
    };
    return cmocka_run_group_tests_name("runner ffn", tests, set_up, tear_down);
}
