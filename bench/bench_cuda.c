/* Products on a GPU: tile, gather and decode kernels beside cuBLASLt, at the shapes of
 * BERT-base and Mamba-2.8B. Graph replays timed by events, operands rotated so that the
 * L2 holds none of them from the replay before; medians, one line a case, tab-separated.
 *
 *   bench_cuda [driver]        without a GPU: says so and ends with 77
 */
#include "base/mem.h"
#include "base/rng.h"
#include "runner/cuda/gpu.h"
#include "runner/cuda/lt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLAYS = 31, MOST_SETS = 16 };

typedef struct shape {
    const char *name;
    int64_t tokens, rows, cols;
} shape;

static const shape SHAPE[] = {
    {"bert-base attn 32x128", 4096, 768, 768},  {"bert-base up 32x128", 4096, 3072, 768},
    {"bert-base down 32x128", 4096, 768, 3072}, {"bert-base up 1x128", 128, 3072, 768},
    {"mamba-2.8b in 2048", 2048, 10240, 2560},  {"mamba-2.8b out 2048", 2048, 2560, 5120},
    {"mamba-2.8b in 64", 64, 10240, 2560},      {"mamba-2.8b in 8", 8, 10240, 2560},
    {"mamba-2.8b in 1", 1, 10240, 2560},
};

typedef struct bench {
    icd_ctx *ctx;
    icd_gpu gpu;
    icd_lt *lt;
    icd_timer *timer;
    icd_rng rng;
} bench;

/* One copy of the operands. */
typedef struct set {
    icd_gpu_linear l;
    icd_dptr x, scale, y, w;
} set;

static const char *const TYPE_NAME[ICD_GPU_TYPES] = {"bf16", "int8", "fp8"};

/* Weights of a type, as icd_gpu_weights has them: f32 for bf16, else random bytes (of
 * e4m3 none that is NaN). */
typedef struct weights {
    void *w;
    float *scale; /* [rows] ones */
} weights;

static icd_status random_weights(bench *b, const shape *s, int32_t type, weights *out)
{
    int64_t n = s->rows * s->cols;
    float *v = malloc((size_t)n * sizeof *v);
    out->w = v;
    out->scale = malloc((size_t)s->rows * sizeof *out->scale);
    if (!v || !out->scale) return ICD_ENOMEM;
    for (int64_t r = 0; r < s->rows; r++) out->scale[r] = 1;
    for (int64_t i = 0; i < n; i++)
        if (type == ICD_GPU_BF16)
            v[i] = (float)icd_i_rng_normal(&b->rng);
        else
            ((unsigned char *)v)[i] = (unsigned char)(icd_i_rng_u32(&b->rng) & 0xbf);
    return ICD_OK;
}

/* A mask in which each granule of V rows x g columns lives with probability `live`. */
static icd_status random_mask(bench *b, const shape *s, int32_t vector, int32_t granule,
                              double live, icd_mask **out)
{
    icd_status status = icd_i_mask_new(b->ctx, s->rows, s->cols, vector, out);
    for (int64_t i = 0; status == ICD_OK && i < (*out)->blocks; i++)
        for (int64_t c = 0; c < s->cols; c += granule) {
            bool keep = icd_i_rng_unit(&b->rng) < live;
            for (int64_t j = c; keep && j < c + granule && j < s->cols; j++)
                icd_i_mask_set(*out, i, j);
        }
    return status;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef icd_status launch_fn(bench *b, const shape *s, const set *one);

/* Records one launch on each set, replays, and gives the median time of one launch. */
static icd_status time_sets(bench *b, const shape *s, const set *sets, int64_t count,
                            launch_fn *launch, double *ms)
{
    icd_status status = ICD_OK, ended = ICD_OK;
    icd_device_graph *graph = NULL;
    double sample[REPLAYS];
    ICD_TRY(icd_device_record(b->ctx, b->gpu.device));
    for (int64_t i = 0; status == ICD_OK && i < count; i++)
        status = launch(b, s, &sets[i]);
    ended =
        icd_device_record_end(b->ctx, b->gpu.device, status == ICD_OK ? &graph : NULL);
    if (status == ICD_OK) status = ended;
    if (status != ICD_OK) goto done;
    ICD_TRY(icd_device_replay(b->ctx, b->gpu.device, graph)); /* warm */
    for (int i = 0; i < REPLAYS; i++) {
        ICD_TRY(icd_timer_start(b->ctx, b->timer));
        ICD_TRY(icd_device_replay(b->ctx, b->gpu.device, graph));
        ICD_TRY(icd_timer_stop(b->ctx, b->timer));
        ICD_TRY(icd_timer_ms(b->ctx, b->timer, &sample[i]));
    }
    qsort(sample, REPLAYS, sizeof *sample, by_value);
    *ms = sample[REPLAYS / 2] / (double)count;
done:
    icd_device_graph_free(b->ctx, graph);
    return status;
}

static icd_status launch_tile(bench *b, const shape *s, const set *one)
{
    return icd_i_gpu_product(b->ctx, &b->gpu, &one->l, one->x, one->scale, one->y,
                             s->rows);
}

static icd_lt_product lt_product(const shape *s, const set *one)
{
    return (icd_lt_product){.type = one->l.type,
                            .tokens = s->tokens,
                            .rows = s->rows,
                            .cols = s->cols,
                            .ldx = s->cols,
                            .x = one->x,
                            .w = one->w,
                            .y = one->y};
}

static icd_status launch_lt(bench *b, const shape *s, const set *one)
{
    icd_lt_product p = lt_product(s, one);
    return icd_i_lt_run(b->ctx, b->lt, &p);
}

/* Random numbers of like size: timings on zeros flatter. */
static icd_status put_random(bench *b, int32_t type, int64_t values, icd_dptr *out)
{
    int64_t bytes = values * icd_i_gpu_size(type);
    unsigned char *v = malloc((size_t)bytes);
    if (!v) return ICD_ENOMEM;
    for (int64_t i = 0; i < bytes; i++) {
        uint32_t bits = icd_i_rng_u32(&b->rng);
        bool exponent = type == ICD_GPU_BF16 && i % 2;
        v[i] = (unsigned char)(exponent ? 0x3c | (bits & 0x83) : bits & 0xbf);
    }
    icd_status status = icd_i_gpu_put(b->ctx, &b->gpu, v, bytes, "operands", out);
    free(v);
    return status;
}

static icd_status put_ones(bench *b, int64_t tokens, icd_dptr *out)
{
    float *v = malloc((size_t)tokens * sizeof *v);
    if (!v) return ICD_ENOMEM;
    for (int64_t i = 0; i < tokens; i++) v[i] = 1;
    icd_status status = icd_i_gpu_put(b->ctx, &b->gpu, v, tokens * 4, "scales", out);
    free(v);
    return status;
}

static void release_set(bench *b, set *one)
{
    const icd_dptr at[] = {
        one->x,      one->y,      one->w,          one->scale,         one->l.w,
        one->l.live, one->l.item, one->l.item_ptr, one->l.d_block_ptr, one->l.w_scale};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        icd_device_release(b->ctx, b->gpu.device, at[i]);
    icd_i_plan_free(b->ctx, one->l.plan);
    icd_i_free(b->ctx, one->l.block_ptr);
}

static icd_status make_set(bench *b, const shape *s, const icd_layout_entry *e,
                           const icd_linear *info, int32_t vector, int32_t type,
                           const weights *w, set *one)
{
    icd_status status = ICD_OK;
    icd_gpu_weights from = {w->w, type == ICD_GPU_BF16 ? NULL : w->scale, NULL};
    one->l.info = info;
    one->l.type = type;
    ICD_TRY(icd_i_gpu_linear_put(b->ctx, &b->gpu, e, vector, &from, &one->l));
    ICD_TRY(icd_i_gpu_prepare(b->ctx, &b->gpu, &one->l, 1, s->tokens));
    ICD_TRY(put_random(b, type, s->tokens * one->l.slots, &one->x));
    ICD_TRY(put_ones(b, s->tokens, &one->scale));
    ICD_TRY(
        icd_device_alloc(b->ctx, b->gpu.device, s->tokens * s->rows * 2, "y", &one->y));
done:
    return status;
}

/* Sets enough to push each other out of the L2 twice over. */
static int64_t sets_for(const bench *b, const shape *s, int32_t type, double live)
{
    double values = (double)(s->rows * s->cols) * live + (double)(s->tokens * s->cols);
    int64_t bytes = (int64_t)(values * icd_i_gpu_size(type)) + s->tokens * s->rows * 2,
            count = 2 * b->gpu.info.l2 / bytes + 2;
    return count < MOST_SETS ? count : MOST_SETS;
}

static icd_status run_case(bench *b, const shape *s, int32_t kernel, double live,
                           int32_t vector, int32_t type, const weights *w)
{
    icd_status status = ICD_OK;
    set sets[MOST_SETS] = {0};
    icd_linear info = {.name = s->name, .rows = s->rows, .cols = s->cols};
    icd_layout_entry e = {.linear = (char *)(uintptr_t)s->name,
                          .rows = s->rows,
                          .cols = s->cols,
                          .kernel = kernel,
                          .granule = icd_i_gpu_channels(type)};
    double ms = 0;
    int64_t count = sets_for(b, s, type, live);
    ICD_TRY(random_mask(b, s, vector, kernel == ICD_KERNEL_GATHER ? 1 : e.granule, live,
                        &e.mask));
    for (int64_t i = 0; i < count; i++)
        ICD_TRY(make_set(b, s, &e, &info, vector, type, w, &sets[i]));
    ICD_TRY(time_sets(b, s, sets, count, launch_tile, &ms));
    printf("%s\t%s\t%s\t%d\t%.2f\t%lld\t%.5f\t%lld\n", s->name, TYPE_NAME[type],
           kernel == ICD_KERNEL_GATHER ? "gather" : "tile", vector, live,
           (long long)icd_i_gpu_bytes(&sets[0].l), ms, (long long)count);
done:
    for (int64_t i = 0; i < MOST_SETS; i++) release_set(b, &sets[i]);
    icd_i_mask_free(b->ctx, e.mask);
    return status;
}

static icd_status run_dense(bench *b, const shape *s, int32_t type)
{
    icd_status status = ICD_OK;
    set sets[MOST_SETS] = {0};
    int64_t count = sets_for(b, s, type, 1);
    int32_t tried = 0;
    double ms = 0;
    for (int64_t i = 0; i < count; i++) {
        sets[i].l.type = type;
        ICD_TRY(put_random(b, type, s->rows * s->cols, &sets[i].w));
        ICD_TRY(put_random(b, type, s->tokens * s->cols, &sets[i].x));
        ICD_TRY(icd_device_alloc(b->ctx, b->gpu.device, s->tokens * s->rows * 4, "y",
                                 &sets[i].y));
    }
    icd_lt_product p = lt_product(s, &sets[0]);
    ICD_TRY(icd_i_lt_tune(b->ctx, b->lt, &p, &tried));
    ICD_TRY(time_sets(b, s, sets, count, launch_lt, &ms));
    printf("%s\t%s\tcublaslt (%d tried)\t-\t1.00\t%lld\t%.5f\t%lld\n", s->name,
           TYPE_NAME[type], tried, (long long)(s->rows * s->cols * icd_i_gpu_size(type)),
           ms, (long long)count);
done:
    for (int64_t i = 0; i < MOST_SETS; i++) release_set(b, &sets[i]);
    return status;
}

/* A type that the library has no algorithm for is said, and is no error. */
static icd_status run_baseline(bench *b, const shape *s, int32_t type)
{
    icd_status status = b->lt ? run_dense(b, s, type) : ICD_OK;
    if (status != ICD_EUNSUPPORTED) return status;
    printf("# %s, %s: %s\n", s->name, TYPE_NAME[type], icd_ctx_message(b->ctx));
    return ICD_OK;
}

static icd_status run_shape(bench *b, const shape *s, int32_t type)
{
    icd_status status = ICD_OK;
    weights w = {NULL, NULL};
    ICD_TRY(random_weights(b, s, type, &w));
    ICD_TRY(run_baseline(b, s, type));
    for (int32_t vector = 64; vector <= 128; vector *= 2) {
        ICD_TRY(run_case(b, s, ICD_KERNEL_TILE, 1, vector, type, &w));
        ICD_TRY(run_case(b, s, ICD_KERNEL_TILE, .35, vector, type, &w));
        ICD_TRY(run_case(b, s, ICD_KERNEL_GATHER, .35, vector, type, &w));
    }
done:
    free(w.w);
    free(w.scale);
    return status;
}

int main(int argc, char **argv)
{
    icd_status status = ICD_OK;
    bench b = {.ctx = icd_ctx_new(NULL)};
    icd_runner_opts opts = {
        .driver = argc > 1 ? argv[1] : NULL, .cublaslt = "none", .cusparselt = "none"};
    icd_i_rng_init(&b.rng, 1, 0);
    if (icd_i_gpu_open(b.ctx, &opts, 1024, &b.gpu) != ICD_OK) {
        fprintf(stderr, "skipped: %s\n", icd_ctx_message(b.ctx));
        icd_ctx_free(b.ctx);
        return 77;
    }
    printf("# %s, %d multiprocessors, L2 %.1f MB, driver %d\n", b.gpu.info.name,
           b.gpu.info.multiprocessors, (double)b.gpu.info.l2 / 1e6, b.gpu.info.driver);
    printf("shape\ttype\tkernel\tV\tlive\tbytes\tms\tsets\n");
    ICD_TRY(icd_timer_new(b.ctx, b.gpu.device, &b.timer));
    if (icd_i_lt_open(b.ctx, &b.gpu, NULL, &b.lt) != ICD_OK)
        fprintf(stderr, "no dense baseline: %s\n", icd_ctx_message(b.ctx));
    for (size_t i = 0; i < sizeof SHAPE / sizeof *SHAPE; i++)
        for (int32_t type = 0; type < ICD_GPU_TYPES; type++)
            ICD_TRY(run_shape(&b, &SHAPE[i], type));
done:
    if (status != ICD_OK) fprintf(stderr, "%s\n", icd_ctx_message(b.ctx));
    icd_i_lt_close(b.ctx, b.lt);
    icd_timer_free(b.ctx, b.timer);
    icd_i_gpu_close(b.ctx, &b.gpu);
    icd_ctx_free(b.ctx);
    return icd_status_exit_code(status);
}
