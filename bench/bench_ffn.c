/* OMP_NUM_THREADS=1 bench_ffn FILE.safetensors [LAYER]: the feed-forward matrices of a
 * real block, pruned to 64 x 1 vectors by |w| ||x||, int8, 96 tokens of its own input,
 * one thread. Time of a step (quantise the input in the local order, multiply,
 * dequantise) by kernel and order, relative to the tile kernel on the stale order
 * ("linear"). CPU time, the fastest of many interleaved bursts. */
#include "base/rng.h"
#include "core/mask.h"
#include "kernels/linear.h"
#include <icd/adapters.h>
#include <icd/model.h>
#include <icd/solver.h>

#include <cblas.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BURSTS = 61, VECTOR = 64, GRANULE = 4, TOKENS = 96, ARMS = 6 };
static const double BURST_S = 1.5e-3;

/* One matrix with its input, and the pruned int8 form. */
typedef struct matrix {
    char name[48];
    int64_t rows, cols, tokens;
    float *w, *pruned, *x, *y;
    double *x_sq;
    icd_mask *mask;
    icd_quantized *q;
    icd_transform_meta meta;
} matrix;

typedef struct arm {
    const char *name;
    const matrix *m;
    icd_plan *plan;
    icd_packed_linear linear;
    int8_t *w, *a;
    int32_t *comp;
    float *scale;
    void *scratch;
    int64_t steps;
    double best;
} arm;

static icd_ctx *ctx;

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

static float *load(const icd_safetensors *file, const char *name, int64_t *rows,
                   int64_t *cols)
{
    const icd_tensor *t = icd_safetensors_get(file, name);
    if (!t) {
        fprintf(stderr, "no tensor %s\n", name);
        exit(1);
    }
    float *data = allocate(t->count, sizeof *data);
    check(icd_tensor_to_f32(ctx, t, data));
    *rows = t->shape[0];
    *cols = t->dims > 1 ? t->shape[1] : 1;
    return data;
}

static void prune(matrix *m, double rate)
{
    icd_sparsity_opts s = {.size = sizeof s,
                           .type = ICD_S_HDS,
                           .rate = rate,
                           .vector = VECTOR,
                           .saliency = ICD_SALIENCY_ACTIVATION};
    icd_quant_opts q = {.size = sizeof q, .dtype = ICD_Q_INT8};
    icd_transform_meta meta;
    icd_calibration cal = {.x_sq = m->x_sq, .x = m->x, .tokens = m->tokens};
    icd_matrix w = {m->name, m->w, m->rows, m->cols};
    check(icd_apply_sparsity(ctx, &w, &cal, &s, &m->mask, &m->meta));
    icd_mask_apply(m->mask, m->w, m->pruned);
    w.w = m->pruned;
    check(icd_apply_quant(ctx, &w, &cal, &q, &m->q, &meta));
}

static icd_perm *solve(const matrix *m)
{
    const icd_mask *mask = m->mask;
    icd_access *sets = NULL;
    icd_perm *order = NULL;
    icd_solver_opts opts = {.size = sizeof opts, .granule = GRANULE};
    check(icd_i_mask_access(ctx, &mask, 1, 0, m->name, &sets));
    icd_problem problem = {.sets = sets};
    check(icd_fit_permutation(ctx, &problem, &opts, &order, NULL));
    icd_access_free(ctx, sets);
    return order;
}

static void make_arm(arm *a, const char *name, matrix *m, int32_t kernel, icd_perm *order)
{
    icd_layout_entry e = {.linear = m->name,
                          .rows = m->rows,
                          .cols = m->cols,
                          .mask = m->mask,
                          .order = order,
                          .kernel = kernel,
                          .granule = GRANULE};
    *a = (arm){.name = name, .m = m};
    check(icd_i_plan_new(ctx, &e, VECTOR, &a->plan));
    a->w = allocate(icd_i_linear_bytes(a->plan), 1);
    a->comp = allocate(a->plan->blocks * VECTOR, sizeof *a->comp);
    a->a = allocate(TOKENS * a->plan->slots, 1);
    a->scale = allocate(TOKENS, sizeof *a->scale);
    a->scratch = allocate(icd_i_linear_scratch(a->plan), 1);
    int32_t *column = allocate(4 * icd_i_plan_widest(a->plan), sizeof *column);
    icd_i_linear_pack(a->plan, m->q->q, column, a->w, a->comp);
    icd_i_free(ctx, column);
    a->linear = (icd_packed_linear){a->plan, a->w, a->comp, m->q->scale, NULL};
}

static void free_arm(arm *a)
{
    icd_i_plan_free(ctx, a->plan);
    icd_i_free(ctx, a->w);
    icd_i_free(ctx, a->comp);
    icd_i_free(ctx, a->a);
    icd_i_free(ctx, a->scale);
    icd_i_free(ctx, a->scratch);
}

static void step(const arm *a)
{
    const matrix *m = a->m;
    const icd_kernels *k = icd_i_kernels(icd_i_cpu_best());
    if (!a->plan) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, TOKENS, (int)m->rows,
                    (int)m->cols, 1, m->x, (int)m->cols, m->w, (int)m->cols, 0, m->y,
                    (int)m->rows);
        return;
    }
    for (int64_t t = 0; t < TOKENS; t++)
        k->quantize_row(m->x + t * m->cols, a->plan->old_of_new, m->cols, a->plan->slots,
                        a->a + t * a->plan->slots, a->scale + t);
    icd_i_linear_run(k, &a->linear, a->a, a->scale, TOKENS, 0, a->plan->blocks, m->y,
                     m->rows, a->scratch);
}

static double burst(const arm *a)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (int64_t i = 0; i < a->steps; i++) step(a);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    return ((double)(end.tv_sec - begin.tv_sec) +
            1e-9 * (double)(end.tv_nsec - begin.tv_nsec)) /
           (double)a->steps;
}

static void measure(arm *a)
{
    for (int i = 0; i < ARMS; i++) {
        a[i].steps = 1;
        burst(&a[i]);
        a[i].best = burst(&a[i]);
        a[i].steps = 1 + (int64_t)(BURST_S / a[i].best);
    }
    for (int r = 0; r < BURSTS; r++)
        for (int i = 0; i < ARMS; i++) {
            step(&a[i]);
            double s = burst(&a[i]);
            a[i].best = s < a[i].best ? s : a[i].best;
        }
}

static double live_share(const arm *a)
{
    double all = (double)(a->plan->blocks * VECTOR * a->plan->slots);
    return (double)icd_i_plan_groups(a->plan) * ICD_GROUP * VECTOR / all;
}

static void bench(matrix *m, double rate)
{
    arm a[ARMS];
    prune(m, rate);
    icd_perm *order = solve(m);
    make_arm(&a[0], "dense", m, ICD_KERNEL_DENSE, NULL);
    make_arm(&a[1], "linear", m, ICD_KERNEL_TILE, NULL);
    make_arm(&a[2], "iterative", m, ICD_KERNEL_TILE, order);
    make_arm(&a[3], "gather", m, ICD_KERNEL_GATHER, NULL);
    make_arm(&a[4], "gather, iterative order", m, ICD_KERNEL_GATHER, order);
    a[5] = (arm){.name = "OpenBLAS f32", .m = m};
    measure(a);
    printf("| %s | %.2f | %.2f | %.2f -> %.2f |", m->name, rate, m->meta.retained,
           live_share(&a[1]), live_share(&a[2]));
    for (int i = 0; i < ARMS; i++) printf(" %.2f |", a[i].best / a[1].best);
    printf(" %.0f us |\n", a[1].best * 1e6);
    fflush(stdout);
    for (int i = 0; i < ARMS - 1; i++) free_arm(&a[i]);
    icd_perm_free(ctx, order);
    icd_mask_free(ctx, m->mask);
    icd_quantized_free(ctx, m->q);
}

/* The layer's matrix; `x` passes into it. */
static matrix make_matrix(const icd_safetensors *file, const char *name, float *x,
                          int64_t tokens)
{
    matrix m = {.x = x, .tokens = tokens};
    snprintf(m.name, sizeof m.name, "%s", name);
    m.w = load(file, name, &m.rows, &m.cols);
    m.pruned = allocate(m.rows * m.cols, sizeof *m.pruned);
    m.y = allocate(tokens * m.rows, sizeof *m.y);
    m.x_sq = allocate(m.cols, sizeof *m.x_sq);
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t c = 0; c < m.cols; c++) {
            double v = (double)x[t * m.cols + c];
            m.x_sq[c] += v * v;
        }
    return m;
}

static void free_matrix(matrix *m)
{
    icd_i_free(ctx, m->w);
    icd_i_free(ctx, m->pruned);
    icd_i_free(ctx, m->x);
    icd_i_free(ctx, m->y);
    icd_i_free(ctx, m->x_sq);
}

/* What `down` reads: relu(up x + b). */
static float *hidden(const matrix *up, const float *bias)
{
    const icd_kernels *k = icd_i_kernels(icd_i_cpu_best());
    float *h = allocate(up->tokens * up->rows, sizeof *h);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)up->tokens, (int)up->rows,
                (int)up->cols, 1, up->x, (int)up->cols, up->w, (int)up->cols, 0, h,
                (int)up->rows);
    for (int64_t t = 0; t < up->tokens; t++) {
        k->add_bias(h + t * up->rows, bias, up->rows);
        k->relu(h + t * up->rows, up->rows);
    }
    return h;
}

int main(int argc, char **argv)
{
    char name[4][48];
    int64_t tokens, width, rows, one;
    icd_safetensors *file = NULL;
    if (argc < 2) return 2;
    for (int i = 0; i < 4; i++)
        snprintf(name[i], sizeof name[i], "layer.%s.ffn.%s", argc > 2 ? argv[2] : "1",
                 (const char *const[]){"w1", "b1", "w2", "input"}[i]);
    ctx = icd_ctx_new(NULL);
    check(icd_safetensors_open(ctx, argv[1], &file));
    bool one_input = icd_safetensors_get(file, "input") != NULL;
    float *x = load(file, one_input ? "input" : name[3], &tokens, &width);
    float *bias = load(file, name[1], &rows, &one);
    matrix up = make_matrix(file, name[0], x, tokens);
    matrix down = make_matrix(file, name[2], hidden(&up, bias), tokens);
    char model[128];
    icd_i_cpu_model(model, sizeof model);
    printf("%s, %s, one thread, %d tokens, V = %d, g = %d\n\n", model,
           icd_i_isa_name(icd_i_kernels(icd_i_cpu_best())->isa), TOKENS, VECTOR, GRANULE);
    printf("| matrix | rate | kept | live: linear -> iterative | dense | linear | "
           "iterative | gather | gather, iterative order | OpenBLAS f32 | linear is |\n"
           "|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (double rate = .5; rate < .8; rate += .25) {
        bench(&up, rate);
        bench(&down, rate);
    }
    free_matrix(&down);
    free_matrix(&up);
    icd_i_free(ctx, bias);
    icd_safetensors_close(ctx, file);
    icd_ctx_free(ctx);
    return 0;
}
