/* Synthetic models: they open as their architecture, are labelled, repeat, and have the
 * documented spectrum. */
#include "support.h"

#include "base/file.h"
#include "model/synth.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static icd_model *written(icd_ctx *ctx, const char *shape, const icd_synthetic_opts *opts,
                          const char *name, icd_synthetic_result *result)
{
    icd_model *model = NULL;
    assert_ok(ctx, icd_synthetic_write(ctx, shape, opts, icd_test_path(name), result));
    assert_ok(ctx, icd_model_open(ctx, icd_test_path(name), &model));
    return model;
}

static icd_ctx *new_ctx(int32_t threads)
{
    icd_ctx_opts opts = {.size = sizeof opts, .threads = threads};
    icd_ctx *ctx = icd_ctx_new(&opts);
    assert_non_null(ctx);
    return ctx;
}

static void test_opens_and_is_labelled(void **state)
{
    static const struct {
        const char *shape, *arch;
    } CASE[] = {{"bert-tiny", "bert"},
                {"mamba-tiny", "mamba"},
                {"llama-tiny", "decoder"},
                {"gpt2-tiny", "decoder"}};
    (void)state;
    icd_ctx *ctx = new_ctx(2);
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; i++) {
        icd_synthetic_result r;
        icd_synthetic_opts opts = {.layers = 3, .vocab = 64};
        icd_model *m = written(ctx, CASE[i].shape, &opts, CASE[i].shape, &r);
        assert_string_equal(icd_model_arch(m), CASE[i].arch);
        assert_true(icd_model_synthetic(m));
        assert_int_equal(icd_model_get_config(m)->layers, 3);
        assert_int_equal(icd_model_get_config(m)->vocab, 64);
        assert_int_equal(icd_model_parameters(m), r.parameters);
        assert_int_equal(r.bytes, 4 * r.parameters);
        assert_non_null(icd_model_axis(m, "residual"));
        icd_model_free(ctx, m);
    }
    icd_ctx_free(ctx);
}

/* Parameters of the published checkpoints, tied heads counted once. */
static void test_true_shapes(void **state)
{
    static const struct {
        const char *name;
        int64_t parameters;
    } CASE[] = {{"bert-base", 109482240},   {"bert-large", 335141888},
                {"minilm", 22713216},       {"mamba-130m", 129135360},
                {"mamba-2.8b", 2768345600}, {"smollm2-135m", 134515008},
                {"gpt2", 124439808},        {"gpt2-xl", 1557611200}};
    (void)state;
    icd_ctx *ctx = new_ctx(1);
    int64_t shapes = 0;
    const icd_synthetic_shape *shape = icd_synthetic_shapes(&shapes);
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; i++) {
        icd_synth_tensor *list = NULL;
        int64_t count = 0, sum = 0, s = 0;
        while (strcmp(shape[s].name, CASE[i].name) != 0) assert_true(++s < shapes);
        assert_ok(ctx, icd_i_synth_list(ctx, &shape[s], &list, &count));
        for (int64_t t = 0; t < count; t++) sum += list[t].rows * list[t].cols;
        assert_int_equal(sum, CASE[i].parameters);
        icd_i_free(ctx, list);
    }
    icd_ctx_free(ctx);
}

static void test_seed_threads_and_shards(void **state)
{
    (void)state;
    uint64_t hash[4];
    for (int i = 0; i < 4; i++) {
        icd_ctx *ctx = new_ctx(i == 1 ? 3 : 1);
        icd_synthetic_result r;
        icd_synthetic_opts opts = {.seed = i == 3 ? 2 : 1, .vocab = 64};
        char name[16];
        snprintf(name, sizeof name, "repeat-%d", i);
        if (i == 2) opts.shard = 200000;
        icd_model *m = written(ctx, "mamba-tiny", &opts, name, &r);
        hash[i] = icd_model_hash(m);
        assert_int_equal(r.files > 1, i == 2);
        assert_true(icd_model_synthetic(m));
        icd_model_free(ctx, m);
        icd_ctx_free(ctx);
    }
    assert_true(hash[0] == hash[1]);
    assert_true(hash[0] == hash[2]);
    assert_true(hash[0] != hash[3]);
}

static void test_bf16_is_the_same_rounded(void **state)
{
    (void)state;
    static const char NAME[] = "backbone.layers.1.mixer.out_proj.weight";
    icd_ctx *ctx = new_ctx(1);
    float *value[2];
    int64_t count = 0;
    for (int half = 0; half < 2; half++) {
        icd_synthetic_result r;
        icd_synthetic_opts opts = {.vocab = 32, .bf16 = half};
        icd_model *m = written(ctx, "mamba-tiny", &opts, half ? "half" : "full", &r);
        count = icd_model_tensor(m, NAME)->count;
        assert_ok(ctx, icd_model_tensor_f32(ctx, m, NAME, &value[half]));
        icd_model_free(ctx, m);
    }
    for (int64_t i = 0; i < count; i++)
        assert_true(fabsf(value[0][i] - value[1][i]) <= fabsf(value[0][i]) / 256);
    icd_mem_free(ctx, value[0]);
    icd_mem_free(ctx, value[1]);
    icd_ctx_free(ctx);
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* RMS of the columns of a down projection: median and largest apart as documented, and
 * the values themselves of the documented size. */
static void test_spectrum(void **state)
{
    (void)state;
    icd_ctx *ctx = new_ctx(1);
    enum { ROWS = 2048, COLS = 1024 };
    icd_synth_tensor t = {.name = "layer.down",
                          .kind = ICD_SYNTH_DOWN,
                          .dims = 2,
                          .shape = {ROWS, COLS},
                          .rows = ROWS,
                          .cols = COLS};
    float *w = NULL, *rms = NULL;
    assert_ok(ctx, ICD_ALLOC(ctx, ROWS * COLS, &w));
    assert_ok(ctx, ICD_ALLOC(ctx, COLS, &rms));
    assert_ok(ctx, icd_i_synth_fill(ctx, &t, 3, 4, w));
    double all = 0, square = 0, mean = 0;
    for (int64_t c = 0; c < COLS; c++) {
        double sum = 0;
        for (int64_t r = 0; r < ROWS; r++)
            sum += (double)w[r * COLS + c] * (double)w[r * COLS + c];
        all += sum;
        rms[c] = (float)(log(sum / ROWS) / 2);
        mean += (double)rms[c] / COLS;
    }
    for (int64_t c = 0; c < COLS; c++)
        square += ((double)rms[c] - mean) * ((double)rms[c] - mean) / COLS;
    qsort(rms, COLS, sizeof *rms, by_value);
    /* spread 0.143 of Student's t with 5 degrees: standard deviation 0.143 sqrt(5/3) */
    assert_near(sqrt(square), .185, .03);
    assert_true(exp((double)(rms[COLS - 1] - rms[COLS / 2])) > 1.6);
    /* 3.8 / sqrt(cols) / sqrt(layers) */
    assert_near(sqrt(all / ROWS / COLS) * sqrt((double)COLS), 1.9, .2);
    icd_i_free(ctx, w);
    icd_i_free(ctx, rms);
    icd_ctx_free(ctx);
}

static void test_wrong_use(void **state)
{
    (void)state;
    icd_ctx *ctx = new_ctx(1);
    icd_synthetic_result r;
    icd_synthetic_opts opts = {.vocab = 32}, wrong = {.layers = -1};
    assert_fails(ctx, ICD_EINVAL, "'bert-huge', expected one of bert-base",
                 icd_synthetic_write(ctx, "bert-huge", NULL, icd_test_path("no"), &r));
    assert_fails(ctx, ICD_EINVAL, "found -1",
                 icd_synthetic_write(ctx, "bert-tiny", &wrong, icd_test_path("no"), &r));
    icd_model_free(ctx, written(ctx, "mamba-tiny", &opts, "twice", &r));
    assert_fails(
        ctx, ICD_EINVAL, "already holds a config.json",
        icd_synthetic_write(ctx, "mamba-tiny", &opts, icd_test_path("twice"), &r));
    icd_ctx_free(ctx);
}

static icd_status write_one(icd_ctx *ctx, void *arg)
{
    static int64_t calls;
    char name[32];
    icd_synthetic_result r;
    (void)arg;
    snprintf(name, sizeof name, "short-%d", (int)calls++);
    icd_synthetic_opts opts = {.layers = 1, .vocab = 16};
    return icd_synthetic_write(ctx, "llama-tiny", &opts, icd_test_path(name), &r);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(write_one, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens_and_is_labelled),
        cmocka_unit_test(test_true_shapes),
        cmocka_unit_test(test_seed_threads_and_shards),
        cmocka_unit_test(test_bf16_is_the_same_rounded),
        cmocka_unit_test(test_spectrum),
        cmocka_unit_test(test_wrong_use),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
