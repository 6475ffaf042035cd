#include "solver/skeleton.h"

#include <math.h>
#include <stdlib.h>

enum { STEPS = 24 };

typedef struct ranked {
    double value;
    int32_t node;
} ranked;

static int by_value(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

/* One step of (1 + D^-1 W) / 2: its second eigenvector is the Fiedler vector of the
 * normalised Laplacian, and no eigenvalue is negative, so that steps converge to it. */
static void power_step(const icd_wgraph *g, const double *degree, const double *x,
                       double *y)
{
    for (int32_t v = 0; v < g->n; ++v) {
        double sum = 0;
        for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k)
            sum += g->edge[k].w * x[g->edge[k].to];
        y[v] = degree[v] > 0 ? x[v] + sum / degree[v] : 0;
    }
}

/* Removes the constant part (in the norm of the degrees) and rescales. */
static double deflate(int32_t n, const double *degree, double *x)
{
    double sum = 0, weight = 0, norm = 0;
    for (int32_t v = 0; v < n; ++v) {
        sum += degree[v] * x[v];
        weight += degree[v];
    }
    for (int32_t v = 0; v < n; ++v) {
        x[v] -= sum / weight;
        norm += degree[v] * x[v] * x[v];
    }
    norm = sqrt(norm);
    for (int32_t v = 0; norm > 0 && v < n; ++v) x[v] /= norm;
    return norm;
}

static void fill_sides(icd_sides *s, const double *x, ranked *rank)
{
    int32_t n = s->g->n, left = 0;
    for (int32_t v = 0; v < n; ++v) rank[v] = (ranked){x[v], v};
    qsort(rank, (size_t)n, sizeof *rank, by_value);
    for (int32_t i = 0; i < n; ++i) {
        int32_t v = rank[i].node;
        s->side[v] = left >= s->target;
        if (!s->side[v]) left += s->g->size[v];
    }
    icd_i_sides_count(s);
}

bool icd_i_skeleton(icd_sides *s, icd_rng *rng, icd_work *work)
{
    const icd_wgraph *g = s->g;
    size_t before = work->used;
    double *x = icd_i_work_take(work, g->n, sizeof *x);
    double *y = icd_i_work_take(work, g->n, sizeof *y);
    double *degree = icd_i_work_take(work, g->n, sizeof *degree);
    ranked *rank = icd_i_work_take(work, g->n, sizeof *rank);
    bool good = x && y && degree && rank && g->ptr[g->n] > 0;
    for (int32_t v = 0; good && v < g->n; ++v) {
        degree[v] = 0;
        for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) degree[v] += g->edge[k].w;
        x[v] = icd_i_rng_unit(rng);
    }
    for (int step = 0; good && step < STEPS; ++step) {
        good = deflate(g->n, degree, x) > 0;
        power_step(g, degree, x, y);
        double *swap = x;
        x = y;
        y = swap;
    }
    if (good) fill_sides(s, x, rank);
    work->used = before;
    return good;
}
