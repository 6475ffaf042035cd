/* bench_decode MODEL_DIR [f32|int8] [PROMPT] [THREADS]: tokens a second of a decoder
 * after a prompt of PROMPT tokens (random ids), one sequence, with and without the head;
 * beside it the bytes that a token must read and the bandwidth of plain reading by as
 * many threads, measured in turns with the tokens. Medians. */
#include "base/rng.h"
#include "base/threads.h"
#include "core/kv.h"
#include <icd/runner.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 15, READ_BYTES = 256 << 20, CHUNKS = 64, CACHES = 4 };

static icd_ctx *ctx;

static void check(icd_status status)
{
    if (status == ICD_OK) return;
    fprintf(stderr, "%s\n", icd_ctx_message(ctx));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x)
{
    qsort(x, ROUNDS, sizeof *x, by_value);
    return x[ROUNDS / 2];
}

typedef struct reader {
    const uint64_t *data;
    uint64_t sum[CHUNKS];
} reader;

static void read_chunk(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    reader *r = arg;
    int64_t n = READ_BYTES / 8 / chunks;
    const uint64_t *at = r->data + chunk * n;
    uint64_t lane[8] = {0};
    (void)worker;
    for (int64_t i = 0; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++) lane[l] ^= at[i + l];
    for (int l = 0; l < 8; l++) r->sum[chunk] += lane[l];
}

static int64_t weight_bytes(const icd_model *model, bool int8)
{
    const icd_linear *list = NULL;
    int64_t count = 0, sum = 0;
    check(icd_runner_linears(ctx, model, &list, &count));
    for (int64_t i = 0; i < count; i++)
        sum += list[i].rows * list[i].cols * (int8 ? 1 : 4);
    icd_mem_free(ctx, (void *)(uintptr_t)list);
    return sum;
}

static int64_t cache_bytes(icd_runner *runner, const icd_model *model)
{
    int64_t sum = 0;
    for (int64_t n = 0; n < icd_model_get_config(model)->layers; n++)
        sum += icd_i_kv_use(icd_runner_kv(runner, n)).bytes;
    return sum;
}

static icd_runner *prefilled(const icd_model *model, bool int8, int64_t prompt,
                             double *seconds)
{
    const icd_model_config *c = icd_model_get_config(model);
    icd_runner_opts opts;
    icd_runner *runner = NULL;
    icd_output out;
    icd_rng rng;
    int32_t *ids = malloc((size_t)prompt * sizeof *ids);
    icd_batch capacity = {.batch = 1, .seq = prompt + 1},
              batch = {.ids = ids, .batch = 1, .seq = prompt};
    if (!ids) exit(1);
    icd_i_rng_init(&rng, 1, 1);
    for (int64_t i = 0; i < prompt; i++)
        ids[i] = (int32_t)icd_i_rng_below(&rng, c->vocab);
    icd_options_init(&icd_runner_table, &opts);
    opts.dtype = int8 ? ICD_RUN_INT8 : ICD_RUN_F32;
    check(icd_runner_new(ctx, model, NULL, &capacity, &opts, &runner));
    double start = now();
    check(icd_runner_step(ctx, runner, &batch, &out));
    *seconds = now() - start;
    free(ids);
    return runner;
}

static void measure(icd_runner *runner, const icd_model *model, bool int8)
{
    const icd_model_config *c = icd_model_get_config(model);
    double body[ROUNDS], head[ROUNDS], read[ROUNDS];
    float *logits = malloc((size_t)c->vocab * sizeof *logits);
    reader r = {calloc(READ_BYTES, 1), {0}};
    const int32_t next = 1;
    icd_output out;
    if (!logits || !r.data) exit(1);
    memset((void *)(uintptr_t)r.data, 1, READ_BYTES);
    for (int i = 0; i < ROUNDS; i++) {
        double a = now();
        check(icd_runner_decode(ctx, runner, &next, false, &out));
        double b = now();
        check(icd_runner_logits(ctx, runner, 0, 1, logits));
        double d = now();
        icd_i_parallel(ctx, CHUNKS, read_chunk, &r);
        body[i] = b - a;
        head[i] = d - b;
        read[i] = now() - d;
    }
    int64_t weights = weight_bytes(model, int8), cache = cache_bytes(runner, model),
            last = c->vocab * c->hidden * 4;
    double t = median(body), h = median(head), bandwidth = READ_BYTES / median(read);
    printf("plain reading: %.2f GB/s\n", bandwidth * 1e-9);
    printf("layers: %.2f ms a token, %.1f MB weights + %.1f MB cache: %.2f GB/s, %.0f %% "
           "of plain reading\n",
           t * 1e3, (double)weights * 1e-6, (double)cache * 1e-6,
           (double)(weights + cache) / t * 1e-9,
           100 * (double)(weights + cache) / t / bandwidth);
    printf("head (f32): %.2f ms, %.1f MB: %.0f %% of plain reading\n", h * 1e3,
           (double)last * 1e-6, 100 * (double)last / h / bandwidth);
    printf("tokens a second: %.1f (%.1f without the head)\n", 1 / (t + h), 1 / t);
    free(logits);
    free((void *)(uintptr_t)r.data);
}

/* The caches of all layers. */
typedef struct caches {
    const char *name;
    icd_kv **kv;
    double seconds[ROUNDS];
    int64_t bytes;
} caches;

static void drop_half(icd_kv *kv, icd_rng *rng)
{
    int64_t n = 0, live = kv->sequence[0].live;
    icd_kv_slot *slot = malloc((size_t)live * sizeof *slot);
    if (!slot) exit(1);
    icd_i_kv_list(kv, 0, slot);
    for (int64_t i = 0; i < live; i++)
        if (icd_i_rng_below(rng, 2)) slot[n++] = slot[i];
    icd_i_kv_drop(kv, 0, slot, n);
    free(slot);
}

static caches copy_caches(icd_runner *runner, const char *name, int64_t layers, bool drop,
                          bool compact, bool int8)
{
    caches c = {.name = name, .kv = malloc((size_t)layers * sizeof *c.kv)};
    icd_rng rng;
    icd_i_rng_init(&rng, 2, 2);
    if (!c.kv) exit(1);
    for (int64_t n = 0; n < layers; n++) {
        check(icd_i_kv_copy(ctx, icd_runner_kv(runner, n), int8, &c.kv[n]));
        if (drop) drop_half(c.kv[n], &rng);
        if (compact) check(icd_i_kv_permute(ctx, c.kv[n], 0, NULL));
        c.bytes += icd_i_kv_use(c.kv[n]).bytes;
    }
    return c;
}

static double time_with(icd_runner *runner, const caches *c, int64_t layers)
{
    const int32_t next = 1;
    icd_output out;
    for (int64_t n = 0; n < layers; n++)
        check(icd_runner_put_kv(ctx, runner, n, c->kv[n]));
    check(icd_runner_decode(ctx, runner, &next, false, &out));
    double start = now();
    check(icd_runner_decode(ctx, runner, &next, false, &out));
    return now() - start;
}

static void compare_caches(icd_runner *runner, int64_t layers)
{
    caches c[CACHES] = {
        copy_caches(runner, "whole", layers, false, false, false),
        copy_caches(runner, "half dropped", layers, true, false, false),
        copy_caches(runner, "half dropped, compacted", layers, true, true, false),
        copy_caches(runner, "whole, int8", layers, false, false, true),
    };
    for (int i = 0; i < ROUNDS; i++)
        for (int k = 0; k < CACHES; k++)
            c[k].seconds[i] = time_with(runner, &c[k], layers);
    for (int k = 0; k < CACHES; k++) {
        printf("cache %-24s %7.1f MB  %7.2f ms a token\n", c[k].name,
               (double)c[k].bytes * 1e-6, median(c[k].seconds) * 1e3);
        for (int64_t n = 0; n < layers; n++) icd_i_kv_free(ctx, c[k].kv[n]);
        free(c[k].kv);
    }
}

int main(int argc, char **argv)
{
    bool int8 = argc > 2 && strcmp(argv[2], "int8") == 0;
    int64_t prompt = argc > 3 ? atoll(argv[3]) : 256;
    icd_ctx_opts opts = {.size = sizeof opts, .threads = argc > 4 ? atoi(argv[4]) : 0};
    icd_model *model = NULL;
    double seconds = 0;
    if (argc < 2 || prompt < 1) {
        fprintf(stderr, "usage: bench_decode MODEL_DIR [f32|int8] [PROMPT] [THREADS]\n");
        return 2;
    }
    ctx = icd_ctx_new(&opts);
    if (!ctx) return 1;
    check(icd_model_open(ctx, argv[1], &model));
    icd_runner *runner = prefilled(model, int8, prompt, &seconds);
    printf("%s, %s, %d threads; prompt of %lld tokens in %.1f ms\n",
           icd_model_name(model), int8 ? "int8" : "f32", icd_ctx_threads(ctx),
           (long long)prompt, seconds * 1e3);
    measure(runner, model, int8);
    compare_caches(runner, icd_model_get_config(model)->layers);
    icd_runner_free(ctx, runner);
    icd_model_free(ctx, model);
    icd_ctx_free(ctx);
    return 0;
}
