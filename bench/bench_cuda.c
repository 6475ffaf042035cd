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

static float *random_floats(bench *b, int64_t n)
{
    float *v = malloc((size_t)n * sizeof *v);
    for (int64_t i = 0; v && i < n; i++) v[i] = (float)icd_i_rng_normal(&b->rng);
    return v;
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
    return icd_i_gpu_product(b->ctx, &b->gpu, &one->l, one->x, one->scale, ICD_GPU_NONE,
                             one->y, s->rows);
}

static icd_status launch_lt(bench *b, const shape *s, const set *one)
{
    icd_lt_product p = {ICD_LT_BF16, s->tokens, s->rows, s->cols, one->x, one->w, one->y};
    return icd_i_lt_run(b->ctx, b->lt, &p);
}

/* Random bits of small bf16 numbers: timings on zeros flatter. */
static icd_status put_random(bench *b, int64_t values, icd_dptr *out)
{
    uint16_t *v = malloc((size_t)values * sizeof *v);
    if (!v) return ICD_ENOMEM;
    for (int64_t i = 0; i < values; i++)
        v[i] = (uint16_t)(0x3c00 | (icd_i_rng_u32(&b->rng) & 0x83ff));
    icd_status status = icd_i_gpu_put(b->ctx, &b->gpu, v, values * 2, "operands", out);
    free(v);
    return status;
}

static void release_set(bench *b, set *one)
{
    const icd_dptr at[] = {one->x,      one->y,          one->w,
                           one->scale,  one->l.w,        one->l.live,
                           one->l.item, one->l.item_ptr, one->l.d_block_ptr};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        icd_device_release(b->ctx, b->gpu.device, at[i]);
    icd_i_plan_free(b->ctx, one->l.plan);
    icd_i_free(b->ctx, one->l.block_ptr);
}

static icd_status make_set(bench *b, const shape *s, const icd_layout_entry *e,
                           const icd_linear *info, int32_t vector, const float *w,
                           set *one)
{
    icd_status status = ICD_OK;
    icd_gpu_weights from = {w, NULL, NULL};
    one->l.info = info;
    one->l.type = ICD_GPU_BF16;
    ICD_TRY(icd_i_gpu_linear_put(b->ctx, &b->gpu, e, vector, &from, &one->l));
    ICD_TRY(icd_i_gpu_prepare(b->ctx, &b->gpu, &one->l, 1, s->tokens));
    ICD_TRY(put_random(b, s->tokens * one->l.slots, &one->x));
    ICD_TRY(
        icd_device_alloc(b->ctx, b->gpu.device, s->tokens * s->rows * 2, "y", &one->y));
done:
    return status;
}

/* Sets enough to push each other out of the L2 twice over. */
static int64_t sets_for(const bench *b, const shape *s, int64_t weight_bytes)
{
    int64_t bytes = weight_bytes + s->tokens * (s->cols + s->rows) * 2,
            count = 2 * b->gpu.info.l2 / bytes + 2;
    return count < MOST_SETS ? count : MOST_SETS;
}

static icd_status run_case(bench *b, const shape *s, int32_t kernel, double live,
                           int32_t vector, const float *w)
{
    icd_status status = ICD_OK;
    set sets[MOST_SETS] = {0};
    icd_linear info = {.name = s->name, .rows = s->rows, .cols = s->cols};
    icd_layout_entry e = {.linear = (char *)(uintptr_t)s->name,
                          .rows = s->rows,
                          .cols = s->cols,
                          .kernel = kernel,
                          .granule = 16};
    double ms = 0;
    int64_t bytes = (int64_t)((double)(s->rows * s->cols) * live * 2), count;
    count = sets_for(b, s, bytes);
    ICD_TRY(
        random_mask(b, s, vector, kernel == ICD_KERNEL_GATHER ? 1 : 16, live, &e.mask));
    for (int64_t i = 0; i < count; i++)
        ICD_TRY(make_set(b, s, &e, &info, vector, w, &sets[i]));
    ICD_TRY(time_sets(b, s, sets, count, launch_tile, &ms));
    printf("%s\t%s\t%d\t%.2f\t%lld\t%.5f\t%lld\n", s->name,
           kernel == ICD_KERNEL_GATHER ? "gather" : "tile", vector, live,
           (long long)icd_i_gpu_bytes(&sets[0].l), ms, (long long)count);
done:
    for (int64_t i = 0; i < MOST_SETS; i++) release_set(b, &sets[i]);
    icd_i_mask_free(b->ctx, e.mask);
    return status;
}

static icd_status run_dense(bench *b, const shape *s)
{
    icd_status status = ICD_OK;
    set sets[MOST_SETS] = {0};
    int64_t bytes = s->rows * s->cols * 2, count = sets_for(b, s, bytes);
    int32_t tried = 0;
    double ms = 0;
    for (int64_t i = 0; i < count; i++) {
        ICD_TRY(put_random(b, s->rows * s->cols, &sets[i].w));
        ICD_TRY(put_random(b, s->tokens * s->cols, &sets[i].x));
        ICD_TRY(icd_device_alloc(b->ctx, b->gpu.device, s->tokens * s->rows * 2, "y",
                                 &sets[i].y));
    }
    icd_lt_product p = {ICD_LT_BF16, s->tokens, s->rows,  s->cols,
                        sets[0].x,   sets[0].w, sets[0].y};
    ICD_TRY(icd_i_lt_tune(b->ctx, b->lt, &p, &tried));
    ICD_TRY(time_sets(b, s, sets, count, launch_lt, &ms));
    printf("%s\tcublaslt (%d tried)\t-\t1.00\t%lld\t%.5f\t%lld\n", s->name, tried,
           (long long)bytes, ms, (long long)count);
done:
    for (int64_t i = 0; i < MOST_SETS; i++) release_set(b, &sets[i]);
    return status;
}

static icd_status run_shape(bench *b, const shape *s)
{
    icd_status status = ICD_OK;
    float *w = random_floats(b, s->rows * s->cols);
    if (!w) return ICD_ENOMEM;
    if (b->lt) ICD_TRY(run_dense(b, s));
    for (int32_t vector = 64; vector <= 128; vector *= 2) {
        ICD_TRY(run_case(b, s, ICD_KERNEL_TILE, 1, vector, w));
        ICD_TRY(run_case(b, s, ICD_KERNEL_TILE, .35, vector, w));
        ICD_TRY(run_case(b, s, ICD_KERNEL_GATHER, .35, vector, w));
    }
done:
    free(w);
    return status;
}

int main(int argc, char **argv)
{
    icd_status status = ICD_OK;
    bench b = {.ctx = icd_ctx_new(NULL)};
    icd_runner_opts opts = {.driver = argc > 1 ? argv[1] : NULL};
    icd_i_rng_init(&b.rng, 1, 0);
    if (icd_i_gpu_open(b.ctx, &opts, 1024, &b.gpu) != ICD_OK) {
        fprintf(stderr, "skipped: %s\n", icd_ctx_message(b.ctx));
        icd_ctx_free(b.ctx);
        return 77;
    }
    printf("# %s, %d multiprocessors, L2 %.1f MB, driver %d\n", b.gpu.info.name,
           b.gpu.info.multiprocessors, (double)b.gpu.info.l2 / 1e6, b.gpu.info.driver);
    printf("shape\tkernel\tV\tlive\tbytes\tms\tsets\n");
    ICD_TRY(icd_timer_new(b.ctx, b.gpu.device, &b.timer));
    if (icd_i_lt_open(b.ctx, &b.gpu, NULL, &b.lt) != ICD_OK)
        fprintf(stderr, "no dense baseline: %s\n", icd_ctx_message(b.ctx));
    for (size_t i = 0; i < sizeof SHAPE / sizeof *SHAPE; i++)
        ICD_TRY(run_shape(&b, &SHAPE[i]));
done:
    if (status != ICD_OK) fprintf(stderr, "%s\n", icd_ctx_message(b.ctx));
    icd_i_lt_close(b.ctx, b.lt);
    icd_timer_free(b.ctx, b.timer);
    icd_i_gpu_close(b.ctx, &b.gpu);
    icd_ctx_free(b.ctx);
    return icd_status_exit_code(status);
}
