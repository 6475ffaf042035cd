/* bench_fiedler [-n REPEATS] [-t THREADS] [-w FOLDER]
 *
 * lambda_2 and its vector on meshes and random regular graphs of 32,768 nodes, for the
 * plain and the normalised Laplacian: CPU seconds of icd_fiedler (fastest and median) and
 * the Rayleigh quotient of the vector, counted anew from W. -w writes every graph as
 * FOLDER/NAME.csr.npz and computes nothing; bench_fiedler.py puts SciPy's lambda_2
 * beside. */
#include <icd/solver.h>

#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_REPEATS = 99, NODES = 32768, STREAM = 5 };

/* rows x cols meshes, ring = neighbours to each side on a ring, or degree = that of a
 * random regular graph. */
static const struct {
    const char *name;
    int32_t rows, degree;
    uint64_t seed;
} GRAPH[] = {
    {"path", 1, 0, 0},          {"mesh-2x16384", 2, 0, 0},   {"mesh-8x4096", 8, 0, 0},
    {"mesh-32x1024", 32, 0, 0}, {"mesh-128x256", 128, 0, 0}, {"regular-4a", 0, 4, 1},
    {"regular-4b", 0, 4, 2},    {"regular-4c", 0, 4, 3},     {"regular-8", 0, 8, 4},
};

typedef struct bench {
    icd_ctx *ctx;
    int repeats;
    const char *folder; /* NULL: compute */
} bench;

static icd_status mesh(icd_ctx *ctx, int32_t rows, icd_csr **w)
{
    int32_t cols = NODES / rows;
    int64_t nnz = 0, edges = (int64_t)rows * (cols - 1) + (int64_t)cols * (rows - 1);
    icd_status status = icd_csr_new(ctx, NODES, 2 * edges, w);
    if (status != ICD_OK) return status;
    for (int32_t i = 0; i < NODES; ++i) {
        if (i >= cols) (*w)->col[nnz++] = i - cols;
        if (i % cols) (*w)->col[nnz++] = i - 1;
        if ((i + 1) % cols) (*w)->col[nnz++] = i + 1;
        if (i + cols < NODES) (*w)->col[nnz++] = i + cols;
        (*w)->row_ptr[i + 1] = nnz;
    }
    for (int64_t k = 0; k < nnz; ++k) (*w)->val[k] = 1;
    return ICD_OK;
}

static bool has(const int32_t *row, int32_t count, int32_t to)
{
    for (int32_t k = 0; k < count; ++k)
        if (row[k] == to) return true;
    return false;
}

/* One perfect matching more: a random pairing of all nodes; pairs that are there already,
 * and loops, exchange partners with a random pair. */
static void add_matching(int32_t *to, int32_t degree, int32_t at, icd_rng *rng)
{
    static int32_t node[NODES];
    for (int32_t i = 0; i < NODES; ++i) node[i] = i;
    icd_i_rng_shuffle(rng, node, NODES);
    for (int32_t i = 0; i < NODES; i += 2) {
        while (has(to + (int64_t)node[i] * degree, at, node[i + 1])) {
            int32_t j = (int32_t)icd_i_rng_below(rng, NODES), v = node[i + 1];
            if ((j | 1) <= (i | 1) && j / 2 != i / 2) continue;
            node[i + 1] = node[j];
            node[j] = v;
        }
        to[(int64_t)node[i] * degree + at] = node[i + 1];
        to[(int64_t)node[i + 1] * degree + at] = node[i];
    }
}

static int by_index(const void *a, const void *b)
{
    return (*(const int32_t *)a > *(const int32_t *)b) -
           (*(const int32_t *)a < *(const int32_t *)b);
}

static icd_status regular(icd_ctx *ctx, int32_t degree, uint64_t seed, icd_csr **w)
{
    icd_rng rng;
    int64_t nnz = (int64_t)NODES * degree;
    icd_status status = icd_csr_new(ctx, NODES, nnz, w);
    if (status != ICD_OK) return status;
    icd_i_rng_init(&rng, seed, STREAM);
    for (int32_t at = 0; at < degree; ++at) add_matching((*w)->col, degree, at, &rng);
    for (int32_t i = 0; i < NODES; ++i) {
        qsort((*w)->col + (int64_t)i * degree, (size_t)degree, sizeof(int32_t), by_index);
        (*w)->row_ptr[i + 1] = (int64_t)(i + 1) * degree;
    }
    for (int64_t k = 0; k < nnz; ++k) (*w)->val[k] = 1;
    return ICD_OK;
}

/* x'Lx / x'x, with x the vector of the plain or the normalised Laplacian. */
static double quotient(const icd_csr *w, bool normalized, const double *x)
{
    double above = 0, below = 0;
    for (int64_t i = 0; i < w->n; ++i) {
        double a = sqrt((double)(w->row_ptr[i + 1] - w->row_ptr[i]));
        below += x[i] * x[i];
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; ++k) {
            int32_t j = w->col[k];
            double b = sqrt((double)(w->row_ptr[j + 1] - w->row_ptr[j]));
            double d = normalized ? x[i] / a - x[j] / b : x[i] - x[j];
            above += d * d / 2;
        }
    }
    return above / below;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static icd_status run(bench *b, const char *name, const icd_csr *w, bool normalized)
{
    static double x[NODES];
    double seconds[MOST_REPEATS], value = 0;
    for (int r = 0; r < b->repeats; ++r) {
        clock_t begin = clock();
        icd_status status = icd_fiedler(b->ctx, w, normalized, x, &value);
        if (status != ICD_OK) return status;
        seconds[r] = (double)(clock() - begin) / CLOCKS_PER_SEC;
    }
    qsort(seconds, (size_t)b->repeats, sizeof *seconds, by_value);
    printf("%s\t%s\t%.4f\t%.4f\t%.10g\n", name, normalized ? "normalized" : "plain",
           seconds[0], seconds[b->repeats / 2], quotient(w, normalized, x));
    return ICD_OK;
}

static icd_status write_graph(bench *b, const char *name, const icd_csr *w)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.csr.npz", b->folder, name);
    return icd_csr_write(b->ctx, w, path);
}

static icd_status run_graph(bench *b, int i)
{
    icd_csr *w = NULL;
    icd_status status = GRAPH[i].degree
                            ? regular(b->ctx, GRAPH[i].degree, GRAPH[i].seed, &w)
                            : mesh(b->ctx, GRAPH[i].rows, &w);
    if (status == ICD_OK && b->folder) status = write_graph(b, GRAPH[i].name, w);
    for (int normalized = 0; status == ICD_OK && !b->folder && normalized < 2;
         ++normalized)
        status = run(b, GRAPH[i].name, w, normalized);
    icd_csr_free(b->ctx, w);
    return status;
}

int main(int argc, char **argv)
{
    bench b = {.repeats = 5};
    icd_ctx_opts opts = {.size = sizeof opts, .threads = 1};
    for (int at = 1; at + 1 < argc && argv[at][0] == '-'; at += 2) {
        if (argv[at][1] == 'n') b.repeats = atoi(argv[at + 1]);
        if (argv[at][1] == 't') opts.threads = atoi(argv[at + 1]);
        if (argv[at][1] == 'w') b.folder = argv[at + 1];
    }
    if (b.repeats < 1 || b.repeats > MOST_REPEATS) return 2;
    b.ctx = icd_ctx_new(&opts);
    icd_status status = ICD_OK;
    if (!b.folder) printf("graph\tlaplacian\tfastest\tmedian\tquotient\n");
    for (int i = 0; status == ICD_OK && i < (int)(sizeof GRAPH / sizeof *GRAPH); ++i)
        status = run_graph(&b, i);
    if (status != ICD_OK) fprintf(stderr, "bench_fiedler: %s\n", icd_ctx_message(b.ctx));
    icd_ctx_free(b.ctx);
    return status != ICD_OK;
}
