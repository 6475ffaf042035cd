/* OMP_NUM_THREADS=1 bench_kernels [TOKENS]: one thread, every level of this CPU. CPU time
 * of our int8 kernels against the share of live granules, and beside OpenBLAS f32 and
 * oneDNN int8. Arms are interleaved; the fastest of many short bursts is printed,
 * relative to our dense kernel: it is what a machine shared with others still measures
 * well. */
#include "base/mem.h"
#include "base/rng.h"
#include "kernels/linear.h"

#include <cblas.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#if ICD_HAVE_DNNL
#include <oneapi/dnnl/dnnl.h>
#endif

void openblas_set_num_threads(int threads);

enum { BURSTS = 61, MAX_ARMS = 16, VECTOR = 64, GRANULE = 16 };
static const double BURST_S = 1.5e-3;

/* One matrix with its input, in every form that an arm reads. */
typedef struct data {
    int64_t rows, cols, tokens;
    float *wf, *xf, *y, *x_scale, *w_scale;
    float *tile_f32; /* row blocks of tile_block_f32 */
    int8_t *w, *x;
    int32_t *acc;
} data;

typedef struct arm {
    char name[32];
    void (*step)(const struct arm *arm);
    const data *d;
    const icd_kernels *kernels;
    icd_packed_linear linear;
    icd_plan *plan;
    int8_t *packed;
    int32_t *comp;
    void *scratch;
    int64_t steps;
    double seconds[BURSTS];
} arm;

static void *allocate(icd_ctx *ctx, int64_t count, size_t elem)
{
    void *p = NULL;
    if (icd_i_alloc(ctx, count, elem, &p) == ICD_OK) return p;
    fprintf(stderr, "%s\n", icd_ctx_message(ctx));
    exit(1);
}

static void step_linear(const arm *a)
{
    icd_i_linear_run(a->kernels, &a->linear, a->d->x, a->d->x_scale, a->d->tokens, 0,
                     a->plan->blocks, a->d->y, a->d->rows, a->scratch);
}

static void step_f32_tile(const arm *a)
{
    const data *d = a->d;
    for (int64_t r = 0; r + VECTOR <= d->rows; r += VECTOR)
        a->kernels->tile_block_f32(d->xf, d->cols, d->tokens, NULL, NULL, d->cols,
                                   d->tile_f32 + r * d->cols, d->cols, VECTOR,
                                   d->y + r * d->tokens);
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

static data make_data(icd_ctx *ctx, int64_t rows, int64_t cols, int64_t tokens)
{
    data d = {.rows = rows, .cols = cols, .tokens = tokens};
    icd_rng rng;
    icd_i_rng_init(&rng, 1, 0);
    d.wf = allocate(ctx, rows * cols, sizeof(float));
    d.xf = allocate(ctx, tokens * cols, sizeof(float));
    d.y = allocate(ctx, tokens * rows, sizeof(float));
    d.tile_f32 = allocate(ctx, rows * cols, sizeof(float));
    d.x_scale = allocate(ctx, tokens, sizeof(float));
    d.w_scale = allocate(ctx, rows, sizeof(float));
    d.w = allocate(ctx, rows * cols, 1);
    d.x = allocate(ctx, tokens * cols, 1);
    d.acc = allocate(ctx, tokens * rows, sizeof(int32_t));
    for (int64_t i = 0; i < rows * cols; i++)
        d.w[i] = (int8_t)(icd_i_rng_below(&rng, 255) - 127);
    for (int64_t i = 0; i < tokens * cols; i++)
        d.x[i] = (int8_t)(icd_i_rng_below(&rng, 255) - 127);
    for (int64_t i = 0; i < rows * cols; i++) d.wf[i] = d.tile_f32[i] = d.w[i];
    for (int64_t i = 0; i < tokens * cols; i++) d.xf[i] = d.x[i];
    for (int64_t i = 0; i < rows; i++) d.w_scale[i] = 1;
    for (int64_t i = 0; i < tokens; i++) d.x_scale[i] = 1;
    return d;
}

static void free_data(icd_ctx *ctx, data *d)
{
    icd_i_free(ctx, d->wf);
    icd_i_free(ctx, d->xf);
    icd_i_free(ctx, d->y);
    icd_i_free(ctx, d->tile_f32);
    icd_i_free(ctx, d->x_scale);
    icd_i_free(ctx, d->w_scale);
    icd_i_free(ctx, d->w);
    icd_i_free(ctx, d->x);
    icd_i_free(ctx, d->acc);
}

/* Whole granules survive, each with probability `live`. */
static icd_mask *random_mask(icd_ctx *ctx, const data *d, double live)
{
    icd_rng rng;
    icd_mask *m = NULL;
    icd_i_rng_init(&rng, 2, 0);
    if (icd_i_mask_new(ctx, d->rows, d->cols, VECTOR, &m) != ICD_OK) exit(1);
    for (int64_t b = 0; b < m->blocks; b++)
        for (int64_t c = 0; c < d->cols; c += GRANULE) {
            bool alive = icd_i_rng_unit(&rng) < live;
            for (int64_t i = c; i < c + GRANULE && alive; i++) icd_i_mask_set(m, b, i);
        }
    return m;
}

static void add_linear(icd_ctx *ctx, arm *a, const data *d, const icd_kernels *k,
                       int32_t kernel, double live)
{
    icd_mask *mask = random_mask(ctx, d, live);
    icd_layout_entry e = {.linear = a->name,
                          .rows = d->rows,
                          .cols = d->cols,
                          .kernel = kernel,
                          .granule = GRANULE,
                          .mask = mask};
    *a = (arm){.step = step_linear, .d = d, .kernels = k};
    if (icd_i_plan_new(ctx, &e, VECTOR, &a->plan) != ICD_OK) exit(1);
    a->packed = allocate(ctx, icd_i_linear_bytes(a->plan), 1);
    a->comp = allocate(ctx, a->plan->blocks * VECTOR, sizeof *a->comp);
    a->scratch = allocate(ctx, icd_i_linear_scratch(a->plan), 1);
    int32_t *column = allocate(ctx, 4 * icd_i_plan_widest(a->plan), sizeof *column);
    icd_i_linear_pack(a->plan, d->w, column, a->packed, a->comp);
    a->linear = (icd_packed_linear){a->plan, a->packed, a->comp, d->w_scale, NULL};
    double share = (double)icd_i_plan_groups(a->plan) * ICD_GROUP * VECTOR /
                   (double)(d->rows * d->cols);
    snprintf(a->name, sizeof a->name, "%s %.3f live",
             kernel == ICD_KERNEL_DENSE  ? "dense"
             : kernel == ICD_KERNEL_TILE ? "tile"
                                         : "gather",
             share);
    icd_i_free(ctx, column);
    icd_i_mask_free(ctx, mask);
}

static void free_arm(icd_ctx *ctx, arm *a)
{
    icd_i_plan_free(ctx, a->plan);
    icd_i_free(ctx, a->packed);
    icd_i_free(ctx, a->comp);
    icd_i_free(ctx, a->scratch);
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

static void measure(arm *a, int arms)
{
    for (int i = 0; i < arms; i++) {
        a[i].steps = 1;
        burst(&a[i]);
        a[i].steps = 1 + (int64_t)(BURST_S / burst(&a[i]));
    }
    for (int r = 0; r < BURSTS; r++)
        for (int i = 0; i < arms; i++) {
            a[i].step(&a[i]);
            a[i].seconds[r] = burst(&a[i]);
        }
    for (int i = 0; i < arms; i++) qsort(a[i].seconds, BURSTS, sizeof(double), by_value);
}

static void print_arms(const data *d, const arm *a, int arms)
{
    double dense = a[0].seconds[0];
    double macs = (double)(d->rows * d->cols * d->tokens);
    printf("\n%" PRId64 " x %" PRId64 ", %" PRId64 " tokens\n", d->rows, d->cols,
           d->tokens);
    for (int i = 0; i < arms; i++) {
        double s = a[i].seconds[0];
        printf("%-6s %-18s %9.1f us  %6.1f GMAC/s of the whole  x %.3f\n",
               a[i].kernels ? icd_i_isa_name(a[i].kernels->isa) : "peer", a[i].name,
               s * 1e6, macs / s * 1e-9, s / dense);
    }
    fflush(stdout);
}

static int make_arms(icd_ctx *ctx, arm *a, const data *d, const icd_kernels *k)
{
    static const double LIVE[] = {1, .875, .75, .5, .25, .125};
    static const double CHANNELS[] = {.5, .25};
    int n = 0;
    add_linear(ctx, &a[n++], d, k, ICD_KERNEL_DENSE, 1);
    for (int i = 0; i < 6; i++) add_linear(ctx, &a[n++], d, k, ICD_KERNEL_TILE, LIVE[i]);
    for (int i = 0; i < 2; i++)
        add_linear(ctx, &a[n++], d, k, ICD_KERNEL_GATHER, CHANNELS[i]);
    a[n++] = (arm){.name = "f32 tile, all", .step = step_f32_tile, .d = d, .kernels = k};
    a[n++] = (arm){.name = "OpenBLAS f32", .step = step_openblas, .d = d};
#if ICD_HAVE_DNNL
    a[n++] = (arm){.name = "oneDNN s8s8s32", .step = step_dnnl, .d = d};
#endif
    return n;
}

static void bench(icd_ctx *ctx, int64_t rows, int64_t cols, int64_t tokens, icd_isa isa)
{
    static arm a[MAX_ARMS];
    data d = make_data(ctx, rows, cols, tokens);
    int arms = make_arms(ctx, a, &d, icd_i_kernels(isa));
    measure(a, arms);
    print_arms(&d, a, arms);
    for (int i = 0; i < arms; i++) free_arm(ctx, &a[i]);
    free_data(ctx, &d);
}

int main(int argc, char **argv)
{
    static const int64_t SHAPE[][2] = {{1536, 384}, {384, 1536}, {1536, 512},
                                       {512, 1536}, {3072, 768}, {768, 3072}};
    char model[128];
    openblas_set_num_threads(1);
    icd_ctx *ctx = icd_ctx_new(NULL);
    icd_i_cpu_model(model, sizeof model);
    printf("%s, one thread, V = %d, live granules of %d\n", model, VECTOR, GRANULE);
    for (int isa = ICD_ISA_AVX2; isa < ICD_ISA_COUNT; isa++) {
        if (!icd_i_cpu_has((icd_isa)isa) || (int)icd_i_kernels((icd_isa)isa)->isa != isa)
            continue;
        for (size_t i = 0; i < sizeof SHAPE / sizeof *SHAPE; i++)
            bench(ctx, SHAPE[i][0], SHAPE[i][1], argc > 1 ? atoll(argv[1]) : 96,
                  (icd_isa)isa);
    }
    icd_ctx_free(ctx);
    return 0;
}
