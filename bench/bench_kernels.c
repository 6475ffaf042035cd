/* OMP_NUM_THREADS=1 bench_kernels [gemm|sparse|decode|all] [SAMPLES.tsv]: one thread, the
 * best level of this CPU.
 *
 * gemm: our packed dense kernels at the layer shapes of BERT-base and Mamba-2.8B beside
 * OpenBLAS f32 and oneDNN int8. sparse: time against the share of live granules. decode:
 * one token, weights that no cache holds, against plain reading of memory.
 *
 * Arms take turns; each line tells the fastest and the median CPU time of its samples,
 * and the ratio to the arm it is compared with: of the fastest times, and the median of
 * the ratios of each turn. SAMPLES.tsv keeps every sample. */
#include "base/mem.h"
#include "base/rng.h"
#include "kernels/linear.h"
#include "kernels/linear_f32.h"
#include "kernels/linear_small.h"

#include <cblas.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if ICD_HAVE_DNNL
#include <oneapi/dnnl/dnnl.h>
#endif

void openblas_set_num_threads(int threads);

enum { MAX_SAMPLES = 41, MIN_SAMPLES = 7, MAX_ARMS = 16, VECTOR = 64, GRANULE = 16 };
enum { DECODE_BYTES = 192 << 20, SCRATCH_BYTES = 4 << 20 };
static const double BURST_S = 1.5e-3, ARM_S = .5;

static icd_ctx *ctx;
static const icd_kernels *kernels;
static FILE *samples;

static void check(icd_status status)
{
    if (status == ICD_OK) return;
    fprintf(stderr, "%s\n", icd_ctx_message(ctx));
    exit(1);
}

static void *allocate(int64_t count, size_t elem)
{
    void *p = NULL;
    check(icd_i_alloc(ctx, count, elem, &p));
    return p;
}

/* One matrix with its input, in every form that an arm reads. */
typedef struct data {
    int64_t rows, cols, tokens;
    float *wf, *xf, *y, *x_scale, *w_scale;
    int8_t *w, *x;
    int32_t *acc;
    uint16_t *half;
    float *panels;
    void *scratch;
} data;

typedef struct arm {
    char name[40];
    int peer; /* the arm it is compared with */
    void (*step)(const struct arm *arm);
    const data *d;
    icd_plan *plan;
    icd_packed_linear int8;
    icd_f32_linear f32;
    icd_small_linear small;
    void *packed, *second, *third;
    int64_t copies,
        bytes; /* decode: matrices that take turns, and what each step reads */
    int64_t steps;
    double seconds[MAX_SAMPLES];
    double paired; /* median over the turns of the time relative to its peer's */
} arm;

static void step_int8(const arm *a)
{
    const data *d = a->d;
    icd_i_linear_run(kernels, &a->int8, d->x, d->x_scale, d->tokens, 0, a->plan->blocks,
                     d->y, d->rows, d->scratch);
}

/* With the packing of the activations. */
static void step_f32(const arm *a)
{
    const data *d = a->d;
    for (int64_t t = 0; t < d->tokens; t += ICD_PANEL) {
        int64_t n = d->tokens - t < ICD_PANEL ? d->tokens - t : ICD_PANEL;
        kernels->pack_panel(d->xf + t * d->cols, d->cols, n, NULL, d->cols,
                            a->plan->slots, d->panels + t * a->plan->slots);
    }
    icd_i_f32_run(kernels, &a->f32, d->panels, d->tokens, 0, a->plan->blocks, d->y,
                  d->rows, d->scratch);
}

static int64_t scale_count(const icd_plan *plan, int64_t per)
{
    return icd_i_small_scales(plan, per, plan->blocks) * VECTOR;
}

/* One token, a matrix after the other, as the layers of a model. */
static void step_decode(const arm *a)
{
    static int64_t turn;
    const data *d = a->d;
    int64_t blocks = a->plan->blocks, at = turn++ % a->copies;
    icd_packed_linear int8 = a->int8;
    icd_f32_linear f32 = a->f32;
    icd_small_linear small = a->small;
    if (f32.w || f32.half) {
        if (f32.w) f32.w += at * d->rows * d->cols;
        if (f32.half) f32.half += at * d->rows * d->cols;
        icd_i_f32_run(kernels, &f32, d->xf, 1, 0, blocks, d->y, d->rows, d->scratch);
    } else if (small.w) {
        small.w += at * icd_i_small_bytes(a->plan, small.per);
        if (small.per) small.scale += at * scale_count(a->plan, small.per);
        icd_i_small_run(kernels, &small, d->x, d->x_scale, 1, 0, blocks, d->y, d->rows,
                        d->scratch);
    } else {
        int8.w += at * d->rows * d->cols;
        icd_i_linear_run(kernels, &int8, d->x, d->x_scale, 1, 0, blocks, d->y, d->rows,
                         d->scratch);
    }
}

/* Plain reading of as many bytes as no cache holds, as four streams of 32 bytes at a
 * time: twice as fast as one. */
typedef uint64_t wide __attribute__((vector_size(32)));

#if defined(__x86_64__)
__attribute__((target("avx2")))
#endif
static void
step_read(const arm *self)
{
    const wide *at = self->packed;
    wide a = {0}, b = a, c = a, d = a;
    int64_t n = self->bytes / (int64_t)sizeof *at / 4;
    for (int64_t i = 0; i < n; i++) {
        a ^= at[i], b ^= at[n + i];
        c ^= at[2 * n + i], d ^= at[3 * n + i];
    }
    a ^= b ^ c ^ d;
    self->d->acc[0] = (int32_t)(a[0] ^ a[1] ^ a[2] ^ a[3]);
}

static void step_openblas(const arm *a)
{
    const data *d = a->d;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)d->tokens, (int)d->rows,
                (int)d->cols, 1, d->xf, (int)d->cols, d->wf, (int)d->cols, 0, d->y,
                (int)d->rows);
}

#if ICD_HAVE_DNNL
/* Saturates on CPUs without VNNI: fast, but not exact. */
static void step_dnnl(const arm *a)
{
    const data *d = a->d;
    int32_t offset = 0;
    dnnl_gemm_s8s8s32('N', 'T', 'F', d->tokens, d->rows, d->cols, 1, d->x, d->cols, 0,
                      d->w, d->cols, 0, 0, d->acc, d->rows, &offset);
}
#endif

static void fill(data *d)
{
    icd_rng rng;
    icd_i_rng_init(&rng, 1, 0);
    for (int64_t i = 0; i < d->rows * d->cols; i++) {
        d->w[i] = (int8_t)(icd_i_rng_below(&rng, 255) - 127);
        d->wf[i] = d->w[i];
        d->half[i] = (uint16_t)(0x3F00 + icd_i_rng_below(&rng, 128));
    }
    for (int64_t i = 0; i < d->tokens * d->cols; i++) {
        int32_t value = (int32_t)icd_i_rng_below(&rng, 254) - 127;
        d->x[i] = (int8_t)(value < 0 ? value : value + 1);
        d->xf[i] = d->x[i];
    }
    for (int64_t i = 0; i < d->rows; i++) d->w_scale[i] = 1;
    for (int64_t i = 0; i < d->tokens; i++) d->x_scale[i] = 1;
}

static data make_data(int64_t rows, int64_t cols, int64_t tokens)
{
    data d = {.rows = rows, .cols = cols, .tokens = tokens};
    d.wf = allocate(rows * cols, sizeof(float));
    d.half = allocate(rows * cols, sizeof(uint16_t));
    d.w = allocate(rows * cols, 1);
    d.xf = allocate(tokens * cols, sizeof(float));
    d.panels = allocate(tokens * (cols + GRANULE), sizeof(float));
    d.x = allocate(tokens * cols, 1);
    d.y = allocate(tokens * rows, sizeof(float));
    d.acc = allocate(tokens * rows, sizeof(int32_t));
    d.x_scale = allocate(tokens, sizeof(float));
    d.w_scale = allocate(rows, sizeof(float));
    d.scratch = allocate(SCRATCH_BYTES, 1);
    fill(&d);
    return d;
}

static void free_data(data *d)
{
    void *all[] = {d->wf, d->half, d->w,       d->xf,      d->panels, d->x,
                   d->y,  d->acc,  d->x_scale, d->w_scale, d->scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) icd_i_free(ctx, all[i]);
}

/* Whole granules survive, each with probability `live`. */
static icd_mask *random_mask(const data *d, double live)
{
    icd_rng rng;
    icd_mask *m = NULL;
    icd_i_rng_init(&rng, 2, 0);
    check(icd_i_mask_new(ctx, d->rows, d->cols, VECTOR, &m));
    for (int64_t b = 0; b < m->blocks; b++)
        for (int64_t c = 0; c < d->cols; c += GRANULE) {
            bool alive = icd_i_rng_unit(&rng) < live;
            for (int64_t i = c; i < c + GRANULE && i < d->cols && alive; i++)
                icd_i_mask_set(m, b, i);
        }
    return m;
}

static void plan_arm(arm *a, const data *d, int32_t kernel, double live)
{
    icd_mask *mask = live < 1 ? random_mask(d, live) : NULL;
    icd_layout_entry e = {.linear = a->name,
                          .rows = d->rows,
                          .cols = d->cols,
                          .kernel = kernel,
                          .granule = GRANULE,
                          .mask = mask};
    check(icd_i_plan_new(ctx, &e, VECTOR, &a->plan));
    icd_i_mask_free(ctx, mask);
}

static void name_arm(arm *a, const char *type, int32_t kernel)
{
    double share = (double)icd_i_plan_groups(a->plan) * ICD_GROUP * VECTOR /
                   (double)(a->plan->blocks * VECTOR * a->plan->slots);
    const char *kind = kernel == ICD_KERNEL_DENSE  ? "dense"
                       : kernel == ICD_KERNEL_TILE ? "tile"
                                                   : "gather";
    snprintf(a->name, sizeof a->name, "%s %s %.3f live", type, kind, share);
}

static void add_int8(arm *a, const data *d, int32_t kernel, double live, int peer)
{
    *a = (arm){.name = "int8", .step = step_int8, .d = d, .peer = peer};
    plan_arm(a, d, kernel, live);
    int32_t *column = allocate(4 * icd_i_plan_widest(a->plan), sizeof *column);
    a->packed = allocate(icd_i_linear_bytes(a->plan), 1);
    a->second = allocate(a->plan->blocks * VECTOR, sizeof(int32_t));
    icd_i_linear_pack(a->plan, d->w, column, a->packed, a->second);
    a->int8 = (icd_packed_linear){a->plan, a->packed, a->second, d->w_scale, NULL};
    name_arm(a, "int8", kernel);
    icd_i_free(ctx, column);
}

static void add_f32(arm *a, const data *d, bool half, int32_t kernel, double live,
                    int peer)
{
    *a = (arm){.name = "f32", .step = step_f32, .d = d, .peer = peer};
    plan_arm(a, d, kernel, live);
    int64_t channels = 4 * icd_i_plan_groups(a->plan);
    int32_t *column = allocate(4 * icd_i_plan_widest(a->plan), sizeof *column);
    a->packed = allocate(channels * VECTOR, half ? sizeof(uint16_t) : sizeof(float));
    a->second = allocate(channels, sizeof(int32_t));
    icd_i_f32_channels(a->plan, a->second);
    if (half)
        icd_i_bf16_pack(a->plan, d->half, column, a->packed);
    else
        icd_i_f32_pack(a->plan, d->wf, column, a->packed);
    a->f32 = (icd_f32_linear){
        a->plan, half ? NULL : a->packed, half ? a->packed : NULL, a->second, NULL,
        false};
    name_arm(a, half ? "bf16" : "f32", kernel);
    icd_i_free(ctx, column);
}

static void free_arm(arm *a)
{
    icd_i_plan_free(ctx, a->plan);
    icd_i_free(ctx, a->packed);
    icd_i_free(ctx, a->second);
    icd_i_free(ctx, a->third);
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double burst(const arm *a)
{
    double begin = cpu_seconds();
    for (int64_t i = 0; i < a->steps; i++) a->step(a);
    return (cpu_seconds() - begin) / (double)a->steps;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* As many turns as the slowest arm has time for. */
static int measure(arm *a, int arms)
{
    double slowest = 0;
    for (int i = 0; i < arms; i++) {
        a[i].steps = 1;
        double once = burst(&a[i]);
        slowest = once > slowest ? once : slowest;
        a[i].steps = 1 + (int64_t)(BURST_S / once);
    }
    int turns = (int)(ARM_S / (slowest + BURST_S));
    turns = turns < MIN_SAMPLES ? MIN_SAMPLES : turns > MAX_SAMPLES ? MAX_SAMPLES : turns;
    for (int r = 0; r < turns; r++)
        for (int i = 0; i < arms; i++) a[i].seconds[r] = burst(&a[i]);
    return turns;
}

static void keep_samples(const data *d, const arm *a, int turns)
{
    for (int r = 0; samples && r < turns; r++)
        fprintf(samples,
                "%" PRId64 "\t%" PRId64 "\t%" PRId64 "\t%s\t%" PRId64 "\t%d\t%.9f\n",
                d->rows, d->cols, d->tokens, a->name, a->steps, r, a->seconds[r]);
}

/* Before the samples are sorted: what both arms of a turn have suffered cancels. */
static void pair(arm *a, int arms, int turns)
{
    double ratio[MAX_SAMPLES];
    for (int i = 0; i < arms; i++) {
        for (int r = 0; r < turns; r++)
            ratio[r] = a[i].seconds[r] / a[a[i].peer].seconds[r];
        qsort(ratio, (size_t)turns, sizeof(double), by_value);
        a[i].paired = ratio[turns / 2];
    }
}

static void print_arms(const data *d, arm *a, int arms, int turns)
{
    double macs = (double)(d->rows * d->cols * d->tokens);
    printf("\n%" PRId64 " x %" PRId64 ", %" PRId64 " tokens, %d samples\n", d->rows,
           d->cols, d->tokens, turns);
    pair(a, arms, turns);
    for (int i = 0; i < arms; i++) {
        keep_samples(d, &a[i], turns);
        qsort(a[i].seconds, (size_t)turns, sizeof(double), by_value);
    }
    for (int i = 0; i < arms; i++) {
        double s = a[i].seconds[0];
        printf("%-22s %9.1f us (median %9.1f) %6.1f GMAC/s of the whole", a[i].name,
               s * 1e6, a[i].seconds[turns / 2] * 1e6, macs / s * 1e-9);
        if (a[i].peer != i)
            printf("  time x %.3f (turn by turn %.3f) of %s", s / a[a[i].peer].seconds[0],
                   a[i].paired, a[a[i].peer].name);
        printf("\n");
    }
    fflush(stdout);
}

/* Bytes a second, of the weights alone, against plain reading. */
static void print_bandwidth(const data *d, arm *a, int arms, int turns)
{
    double best = 0;
    printf("\n%" PRId64 " x %" PRId64 ", 1 token, %d samples\n", d->rows, d->cols, turns);
    for (int i = 0; i < arms; i++) {
        keep_samples(d, &a[i], turns);
        qsort(a[i].seconds, (size_t)turns, sizeof(double), by_value);
        double s = a[i].seconds[turns / 2], rate = (double)a[i].bytes / s;
        if (i == 0) best = rate;
        printf("%-22s %9.1f us (median)  %6.2f GB/s  %3.0f %% of plain reading\n",
               a[i].name, s * 1e6, rate * 1e-9, 100 * rate / best);
    }
    fflush(stdout);
}

static void finish(data *d, arm *a, int arms)
{
    print_arms(d, a, arms, measure(a, arms));
    for (int i = 0; i < arms; i++) free_arm(&a[i]);
    free_data(d);
}

static void bench_gemm(int64_t rows, int64_t cols, int64_t tokens)
{
    static arm a[MAX_ARMS];
    data d = make_data(rows, cols, tokens);
    int n = 0, blas = n++;
    a[blas] = (arm){.name = "OpenBLAS f32", .step = step_openblas, .d = &d, .peer = blas};
    add_f32(&a[n++], &d, false, ICD_KERNEL_DENSE, 1, blas);
    add_f32(&a[n++], &d, true, ICD_KERNEL_DENSE, 1, blas);
    int peer = n;
#if ICD_HAVE_DNNL
    a[n++] = (arm){.name = "oneDNN s8s8s32", .step = step_dnnl, .d = &d, .peer = peer};
#endif
    add_int8(&a[n++], &d, ICD_KERNEL_DENSE, 1, peer);
    finish(&d, a, n);
}

static void bench_sparse(int64_t rows, int64_t cols, int64_t tokens)
{
    static const double LIVE[] = {1, .75, .5, .25}, CHANNELS[] = {.5, .25};
    static arm a[MAX_ARMS];
    data d = make_data(rows, cols, tokens);
    int n = 0;
    add_int8(&a[n++], &d, ICD_KERNEL_DENSE, 1, 0);
    for (int i = 0; i < 4; i++) add_int8(&a[n++], &d, ICD_KERNEL_TILE, LIVE[i], 0);
    for (int i = 0; i < 2; i++) add_int8(&a[n++], &d, ICD_KERNEL_GATHER, CHANNELS[i], 0);
    int dense = n;
    add_f32(&a[n++], &d, false, ICD_KERNEL_DENSE, 1, dense);
    for (int i = 0; i < 4; i++)
        add_f32(&a[n++], &d, false, ICD_KERNEL_TILE, LIVE[i], dense);
    for (int i = 0; i < 2; i++)
        add_f32(&a[n++], &d, false, ICD_KERNEL_GATHER, CHANNELS[i], dense);
    finish(&d, a, n);
}

/* The scales of 4-bit weights are read as the weights are: one copy with each. */
static void copy_scales(arm *a)
{
    int64_t n = scale_count(a->plan, a->small.per);
    float *one = a->third, *all = allocate(a->copies * n, sizeof *all);
    for (int64_t i = 0; i < a->copies; i++)
        memcpy(all + i * n, one, (size_t)n * sizeof *all);
    icd_i_free(ctx, one);
    a->third = all;
    a->small.scale = all;
    a->bytes += n * (int64_t)sizeof *all;
}

/* As many copies of an arm's weights as fill DECODE_BYTES. */
static void add_copies(arm *a, const char *name, int64_t bytes)
{
    void *one = a->packed;
    a->bytes = bytes;
    a->copies = 1 + DECODE_BYTES / bytes;
    a->packed = allocate(a->copies * bytes, 1);
    for (int64_t i = 0; i < a->copies; i++)
        memcpy((char *)a->packed + i * bytes, one, (size_t)bytes);
    icd_i_free(ctx, one);
    a->step = step_decode;
    if (a->f32.w) a->f32.w = a->packed;
    if (a->f32.half) a->f32.half = a->packed;
    if (a->int8.w) a->int8.w = a->packed;
    if (a->small.w) a->small.w = a->packed;
    if (a->small.w && a->small.per) copy_scales(a);
    snprintf(a->name, sizeof a->name, "%s", name);
}

/* 4 bits in groups of 64 (`per` 8), or two of four (`per` 0). */
static void add_small(arm *a, const data *d, int64_t per, int peer)
{
    *a = (arm){.name = "small", .step = step_decode, .d = d, .peer = peer};
    icd_layout_entry e = {.linear = a->name,
                          .rows = d->rows,
                          .cols = d->cols,
                          .kernel = ICD_KERNEL_TILE,
                          .granule = 64};
    check(icd_i_plan_new(ctx, &e, VECTOR, &a->plan));
    int8_t *q = allocate(d->rows * d->cols, 1);
    int32_t *column = allocate(4 * icd_i_plan_widest(a->plan), sizeof *column);
    int32_t *comp = allocate(a->plan->blocks * VECTOR, sizeof *comp);
    for (int64_t i = 0; i < d->rows * d->cols; i++)
        q[i] = per ? (int8_t)(d->w[i] / 17) : i % 4 < 2 ? 0 : d->w[i];
    a->packed = allocate(icd_i_small_bytes(a->plan, per), 1);
    a->second = allocate(icd_i_small_steps(a->plan), sizeof(int32_t));
    icd_i_small_list(a->plan, a->second);
    float *scale = d->w_scale;
    if (per) {
        int64_t n = scale_count(a->plan, per);
        a->third = scale = allocate(n, sizeof *scale);
        for (int64_t i = 0; i < n; i++) scale[i] = 1;
    } else {
        a->third = comp;
    }
    if (!icd_i_small_pack(a->plan, per, q, column, a->packed, comp)) exit(1);
    a->small = (icd_small_linear){a->plan, a->packed, a->second, per, comp, scale, NULL};
    if (per) a->small.comp = NULL;
    if (per) icd_i_free(ctx, comp);
    icd_i_free(ctx, column);
    icd_i_free(ctx, q);
}

static void bench_decode(int64_t rows, int64_t cols)
{
    static arm a[MAX_ARMS];
    int64_t weights = rows * cols;
    data d = make_data(rows, cols, 1);
    int n = 1;
    a[0] = (arm){.name = "plain reading", .step = step_read, .d = &d, .peer = 0};
    a[0].bytes = DECODE_BYTES;
    a[0].packed = allocate(DECODE_BYTES, 1);
    memset(a[0].packed, 1, DECODE_BYTES);
    add_f32(&a[n], &d, false, ICD_KERNEL_DENSE, 1, 0);
    add_copies(&a[n++], "f32", 4 * weights);
    add_f32(&a[n], &d, true, ICD_KERNEL_DENSE, 1, 0);
    add_copies(&a[n++], "bf16", 2 * weights);
    add_int8(&a[n], &d, ICD_KERNEL_DENSE, 1, 0);
    add_copies(&a[n++], "int8", weights);
    add_small(&a[n], &d, 8, 0);
    add_copies(&a[n], "int4, groups of 64", icd_i_small_bytes(a[n].plan, 8));
    n++;
    add_small(&a[n], &d, 0, 0);
    add_copies(&a[n], "int8, 2:4", icd_i_small_bytes(a[n].plan, 0));
    n++;
    int turns = measure(a, n);
    print_bandwidth(&d, a, n, turns);
    for (int i = 0; i < n; i++) free_arm(&a[i]);
    free_data(&d);
}

typedef struct shape {
    int64_t rows, cols;
} shape;

static bool wanted(int argc, char **argv, const char *family)
{
    return argc < 2 || !strcmp(argv[1], "all") || !strcmp(argv[1], family);
}

/* BERT-base; then Mamba-2.8B: in, out, x and dt projections. */
static const shape LAYERS[] = {{768, 768},   {3072, 768}, {768, 3072}, {10240, 2560},
                               {2560, 5120}, {192, 5120}, {5120, 160}};
static const shape SPARSE[] = {{1536, 384}, {512, 1536}, {3072, 768}, {768, 3072}};
static const shape DECODE[] = {{3072, 768}, {768, 3072}, {10240, 2560}, {2560, 5120}};
static const int64_t TOKENS[] = {32, 128, 512};

int main(int argc, char **argv)
{
    char model[128];
    openblas_set_num_threads(1);
    ctx = icd_ctx_new(NULL);
    kernels = icd_i_kernels(icd_i_cpu_best());
    samples = argc > 2 ? fopen(argv[2], "w") : NULL;
    if (samples) fprintf(samples, "rows\tcols\ttokens\tarm\tsteps\tsample\tseconds\n");
    icd_i_cpu_model(model, sizeof model);
    printf("%s, %s, one thread, V = %d, live granules of %d\n", model,
           icd_i_isa_name(kernels->isa), VECTOR, GRANULE);
    for (size_t i = 0; wanted(argc, argv, "gemm") && i < sizeof LAYERS / sizeof *LAYERS;
         i++)
        for (size_t t = 0; t < sizeof TOKENS / sizeof *TOKENS; t++)
            bench_gemm(LAYERS[i].rows, LAYERS[i].cols, TOKENS[t]);
    for (size_t i = 0; wanted(argc, argv, "sparse") && i < sizeof SPARSE / sizeof *SPARSE;
         i++)
        bench_sparse(SPARSE[i].rows, SPARSE[i].cols, 96);
    for (size_t i = 0; wanted(argc, argv, "decode") && i < sizeof DECODE / sizeof *DECODE;
         i++)
        bench_decode(DECODE[i].rows, DECODE[i].cols);
    if (samples) fclose(samples);
    icd_ctx_free(ctx);
    return 0;
}
