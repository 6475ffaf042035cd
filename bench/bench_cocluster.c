/* bench_cocluster FILE.safetensors [-r RATE] [-v V] [-g G] [-e EFFORT] [-m BLOCKS]
 * TENSOR...
 *
 * Live V x G tiles of magnitude masks of single weights: in the order given, with columns
 * ordered alone, with rows and columns ordered together, and the fewest that any orders
 * could leave. -m BLOCKS: a mask of hidden diagonal blocks with .02 % strays in place of
 * magnitudes, with as many rows and columns. */
#include "base/clock.h"
#include "base/rng.h"
#include "core/mask.h"
#include "solver/hyper.h"

#include <icd/cocluster.h>
#include <icd/icd.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench {
    icd_ctx *ctx;
    icd_cocluster_opts opts;
    double rate;
    int64_t blocks;
} bench;

static int fail(const bench *b)
{
    fprintf(stderr, "bench_cocluster: %s\n", icd_ctx_message(b->ctx));
    return 1;
}

static int falling(const void *x, const void *y)
{
    float a = *(const float *)x, b = *(const float *)y;
    return (a < b) - (a > b);
}

/* The largest (1 - rate) of all weights survive. */
static int mask_by_magnitude(const bench *b, const icd_tensor *t, icd_mask *mask)
{
    size_t count = (size_t)t->count;
    float *w = malloc(2 * count * sizeof *w), *sorted = w + count;
    int failed = !w || icd_tensor_to_f32(b->ctx, t, w);
    for (size_t k = 0; k < count && !failed; ++k) sorted[k] = w[k] = fabsf(w[k]);
    if (!failed) {
        qsort(sorted, count, sizeof *sorted, falling);
        float least = sorted[(size_t)((1 - b->rate) * (double)count)];
        for (int64_t k = 0; k < t->count; ++k)
            if (w[k] > least) icd_i_mask_set(mask, k / mask->cols, k % mask->cols);
    }
    free(w);
    return failed;
}

static void shuffled(icd_rng *rng, int32_t *order, int64_t n)
{
    for (int64_t k = 0; k < n; ++k) order[k] = (int32_t)k;
    icd_i_rng_shuffle(rng, order, n);
}

/* Half of the weights of a block survive; elsewhere one in 5000. */
static int mask_of_blocks(const bench *b, icd_mask *mask)
{
    icd_rng rng;
    int32_t *row = malloc((size_t)(mask->rows + mask->cols) * sizeof *row);
    if (!row) return 1;
    int32_t *col = row + mask->rows;
    icd_i_rng_init(&rng, 1, 0);
    shuffled(&rng, row, mask->rows);
    shuffled(&rng, col, mask->cols);
    for (int64_t r = 0; r < mask->rows; ++r)
        for (int64_t c = 0; c < mask->cols; ++c) {
            bool inside = r * b->blocks / mask->rows == c * b->blocks / mask->cols;
            if (icd_i_rng_unit(&rng) < (inside ? .5 : .0002))
                icd_i_mask_set(mask, row[r], col[c]);
        }
    free(row);
    return 0;
}

/* Tiles with columns ordered for row groups as they stand. */
static int order_columns(const bench *b, const icd_mask *mask, double *live)
{
    icd_mask *coarse = NULL;
    icd_access *sets = NULL;
    icd_hyper_params params = {.granule = b->opts.granule,
                               .effort = b->opts.effort,
                               .refine_steps = 2000,
                               .softness = 1};
    int32_t *order = malloc((size_t)mask->cols * sizeof *order);
    const icd_mask *one = NULL;
    int failed = !order || icd_i_mask_coarsen(b->ctx, mask, b->opts.vector, &coarse);
    one = coarse;
    failed = failed || icd_i_mask_access(b->ctx, &one, 1, 0, "columns", &sets) ||
             icd_i_hyper_order(b->ctx, sets, &params, order) ||
             icd_i_hyper_refine(b->ctx, sets, &params, order, NULL) ||
             icd_i_hyper_touched(b->ctx, sets, params.granule, order, live);
    icd_access_free(b->ctx, sets);
    icd_i_mask_free(b->ctx, coarse);
    free(order);
    return failed;
}

static int run(const bench *b, const icd_tensor *t)
{
    icd_mask *mask = NULL;
    icd_perm *rows = NULL, *cols = NULL;
    icd_cocluster_stats s = {0};
    double columns = 0;
    int failed = icd_i_mask_new(b->ctx, t->shape[0], t->shape[1], 1, &mask) ||
                 (b->blocks ? mask_of_blocks(b, mask) : mask_by_magnitude(b, t, mask)) ||
                 order_columns(b, mask, &columns) ||
                 icd_cocluster(b->ctx, mask, &b->opts, &rows, &cols, &s);
    if (!failed) {
        double tiles = (double)s.tiles;
        printf("%s\t%lld\t%lld\t%.3f\t%d\t%d\t%.4f\t%.4f\t%.4f\t%.4f\t%.2f\n",
               b->blocks ? "blocks" : t->name, (long long)t->shape[0],
               (long long)t->shape[1], 1 - icd_i_mask_density(mask), b->opts.vector,
               b->opts.granule, (double)s.before / tiles, columns / tiles,
               (double)s.after / tiles, (double)s.least / tiles, s.elapsed_s);
        fflush(stdout);
    }
    icd_i_mask_free(b->ctx, mask);
    icd_perm_free(b->ctx, rows);
    icd_perm_free(b->ctx, cols);
    return failed ? fail(b) : 0;
}

static int read_options(bench *b, int argc, char **argv)
{
    int at = 2;
    for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
        if (argv[at][1] == 'r') b->rate = atof(argv[at + 1]);
        if (argv[at][1] == 'v') b->opts.vector = atoi(argv[at + 1]);
        if (argv[at][1] == 'g') b->opts.granule = atoi(argv[at + 1]);
        if (argv[at][1] == 'e') b->opts.effort = atoi(argv[at + 1]);
        if (argv[at][1] == 'm') b->blocks = atoll(argv[at + 1]);
    }
    return at;
}

int main(int argc, char **argv)
{
    bench b = {.opts = {.size = sizeof b.opts,
                        .vector = 16,
                        .granule = 16,
                        .effort = ICD_EFFORT_DEFAULT},
               .rate = .95};
    icd_safetensors *file = NULL;
    int failed = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: bench_cocluster FILE.safetensors [-r RATE] [-v V] [-g G] "
                        "[-e EFFORT] [-m BLOCKS] TENSOR...\n");
        return 2;
    }
    b.ctx = icd_ctx_new(NULL);
    if (!b.ctx) return 1;
    if (icd_safetensors_open(b.ctx, argv[1], &file)) return fail(&b);
    printf("mask\trows\tcols\trate\tV\tg\tgiven\tcolumns\tboth\tleast\ttotal_s\n");
    for (int at = read_options(&b, argc, argv); at < argc && !failed; ++at) {
        const icd_tensor *t = icd_safetensors_get(file, argv[at]);
        if (t && t->dims == 2) failed = run(&b, t);
    }
    icd_safetensors_close(b.ctx, file);
    icd_ctx_free(b.ctx);
    return failed;
}
