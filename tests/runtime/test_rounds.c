/* The iteration through the library: a small block, no clock, memory that runs out. */
#include "support.h"

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"

#include <icd/config.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 32, INNER = 64, TOKENS = 32 };

typedef struct tensor {
    const char *name;
    int rows, cols; /* cols 0: a vector */
} tensor;

static const tensor TENSOR[] = {{"input", TOKENS, WIDTH},
                                {"layer.0.ffn.b1", INNER, 0},
                                {"layer.0.ffn.b2", WIDTH, 0},
                                {"layer.0.ffn.w1", INNER, WIDTH},
                                {"layer.0.ffn.w2", WIDTH, INNER}};
enum { TENSORS = sizeof TENSOR / sizeof TENSOR[0] };

static size_t count_of(const tensor *t)
{
    return (size_t)t->rows * (size_t)(t->cols ? t->cols : 1);
}

static size_t put_header(char *text, size_t size)
{
    size_t at = 0, used = (size_t)snprintf(text, size, "{");
    for (int i = 0; i < TENSORS; i++) {
        const tensor *t = &TENSOR[i];
        char shape[32];
        snprintf(shape, sizeof shape, t->cols ? "%d,%d" : "%d", t->rows, t->cols);
        used += (size_t)snprintf(
            text + used, size - used,
            "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
            i ? "," : "", t->name, shape, at, at + 4 * count_of(t));
        at += 4 * count_of(t);
    }
    used += (size_t)snprintf(text + used, size - used, "}");
    while (used % 8) text[used++] = ' ';
    return used;
}

/* A feed-forward block whose channels differ in size, and not in the same way for all
   rows. */
static const char *make_block(void)
{
    static char header[2048];
    static float data[TOKENS * WIDTH + INNER + WIDTH + 2 * INNER * WIDTH];
    const char *path = icd_test_path("block.safetensors");
    uint64_t length = put_header(header, sizeof header);
    size_t count = 0;
    icd_rng rng;
    icd_i_rng_init(&rng, 20240607, 0);
    for (int i = 0; i < TENSORS; i++)
        for (size_t k = 0; k < count_of(&TENSOR[i]); k++) {
            size_t cols = TENSOR[i].cols ? (size_t)TENSOR[i].cols : 1;
            double column = (double)(k % cols), rows = (double)(k / cols / 16);
            double size =
                i < 3 ? 1 : exp(.7 * sin(37 * column) + .7 * sin(5 * column * rows));
            data[count++] = (float)(.2 * size * icd_i_rng_normal(&rng));
        }
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(&length, sizeof length, 1, file), 1);
    assert_int_equal(fwrite(header, 1, length, file), length);
    assert_int_equal(fwrite(data, sizeof *data, count, file), count);
    assert_int_equal(fclose(file), 0);
    return path;
}

static const char *block_path;

/* What a test runs: settings beside those of every run here. */
typedef struct plan {
    const char *out, *set[4];
} plan;

static icd_status run(icd_ctx *ctx, void *arg)
{
    const plan *p = arg;
    icd_status status = ICD_OK;
    icd_config *config = NULL;
    icd_run_summary *summary = NULL;
    icd_run_opts opts = {.size = sizeof opts, .out = p->out, .no_measure = true};
    char model[1024];
    const char *const EVERY[] = {model,
                                 "pipeline.iterations=2",
                                 "runner.seq=16",
                                 "kernel.vector=16",
                                 "cache.enabled=false",
                                 "solver.effort=low"};
    snprintf(model, sizeof model, "model.path=%s", block_path);
    ICD_TRY(icd_config_new(ctx, &config));
    for (size_t i = 0; i < sizeof EVERY / sizeof EVERY[0]; i++)
        ICD_TRY(icd_config_override(ctx, config, EVERY[i]));
    for (size_t i = 0; i < 4 && p->set[i]; i++)
        ICD_TRY(icd_config_override(ctx, config, p->set[i]));
    ICD_TRY(icd_run(ctx, config, &opts, &summary));
done:
    icd_run_summary_free(ctx, summary);
    icd_config_free(ctx, config);
    return status;
}

static json_t *metrics_of(const plan *p)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/metrics.json", p->out);
    json_t *root = json_load_file(path, 0, NULL);
    assert_non_null(root);
    return root;
}

static double loss(const json_t *rounds, size_t i)
{
    const json_t *r = json_array_get(json_object_get(rounds, "round"), i);
    return json_number_value(json_object_get(r, "loss_after"));
}

static void assert_exact(const json_t *metrics)
{
    const json_t *row = NULL, *rows = json_object_get(metrics, "exactness");
    size_t i = 0;
    assert_true(json_array_size(rows) > 2);
    json_array_foreach(rows, i, row)
    {
        if (!json_is_true(json_object_get(row, "ok")))
            print_error("%s\n", json_string_value(json_object_get(row, "what")));
        assert_true(json_is_true(json_object_get(row, "ok")));
    }
}

/* Every kind of transform that depends on the layout loses less in a later round, and the
   new model equals its own unpermuted self. */
static void losses_fall(void **state)
{
    (void)state;
    static const plan PLAN[] = {
        {NULL, {"transform.sparsity.type=2:4", "transform.quant.dtype=int8"}},
        {NULL, {"transform.quant.dtype=int4", "transform.quant.group=32"}},
        {NULL, {"transform.quant.dtype=int4", "transform.quant.group=16"}},
        {NULL,
         {"transform.sparsity.type=block", "transform.sparsity.rate=.5",
          "transform.sparsity.vector=16", "transform.sparsity.granule=4"}},
    };
    for (size_t i = 0; i < sizeof PLAN / sizeof PLAN[0]; i++) {
        char name[16];
        snprintf(name, sizeof name, "falls%d", (int)i);
        plan p = PLAN[i];
        p.out = icd_test_path(name);
        icd_ctx *ctx = icd_ctx_new(NULL);
        assert_ok(ctx, run(ctx, &p));
        json_t *metrics = metrics_of(&p);
        const json_t *rounds = json_object_get(metrics, "rounds");
        if (json_integer_value(json_object_get(rounds, "kept")) < 2)
            print_error("%s: no later round was kept\n", p.set[0]);
        assert_true(json_integer_value(json_object_get(rounds, "kept")) >= 2);
        assert_true(loss(rounds, 1) < loss(rounds, 0));
        assert_exact(metrics);
        json_decref(metrics);
        icd_ctx_free(ctx);
    }
}

/* Counts allocations; the one numbered `fail_at` fails. */
typedef struct tally {
    int64_t requests, fail_at, live;
} tally;

static void *tally_realloc(void *user, void *ptr, size_t bytes)
{
    tally *t = user;
    if (++t->requests == t->fail_at) return NULL;
    void *out = realloc(ptr, bytes ? bytes : 1);
    if (out && !ptr) t->live++;
    return out;
}

static void tally_free(void *user, void *ptr)
{
    tally *t = user;
    if (ptr) t->live--;
    free(ptr);
}

static int64_t run_with(int64_t fail_at, const plan *p)
{
    tally t = {0};
    icd_ctx_opts opts = {
        .size = sizeof opts, .allocator = {tally_realloc, tally_free, &t}, .threads = 1};
    icd_ctx *ctx = icd_ctx_new(&opts);
    assert_non_null(ctx);
    t.fail_at = t.requests + fail_at;
    if (fail_at == 0) t.fail_at = 0;
    icd_status status = run(ctx, (void *)(intptr_t)p);
    if (status != ICD_OK && status != ICD_ENOMEM)
        fail_msg("allocation %lld failing gives %s: %s", (long long)fail_at,
                 icd_status_code(status), icd_ctx_message(ctx));
    icd_ctx_free(ctx);
    if (t.live != 0)
        fail_msg("allocation %lld failing leaves %lld behind", (long long)fail_at,
                 (long long)t.live);
    return t.requests;
}

/* Wherever memory runs out in whichever round, nothing stays behind. */
static void memory_may_run_out_in_any_round(void **state)
{
    (void)state;
    enum { SAMPLES = 24 };
    plan p = {icd_test_path("short"),
              {"transform.quant.dtype=int4", "transform.quant.group=16"}};
    int64_t all = run_with(0, &p);
    for (int64_t k = 0; k < SAMPLES; k++) run_with(1 + k * all / SAMPLES, &p);
}

static int set_up(void **state)
{
    (void)state;
    block_path = make_block();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_fall),
        cmocka_unit_test(memory_may_run_out_in_any_round),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
