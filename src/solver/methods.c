#include "solver/solve.h"

#include "base/mem.h"
#include "base/rng.h"
#include "solver/fiedler.h"
#include <stdlib.h>
#include <string.h>

typedef struct keyed {
    double key;
    int32_t node;
} keyed;

static int falling(const void *a, const void *b)
{
    const keyed *x = a, *y = b;
    if (x->key != y->key) return x->key > y->key ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

icd_status icd_i_sort_falling(icd_ctx *ctx, const double *key, int32_t n, int32_t *order)
{
    keyed *list = NULL;
    icd_status status = ICD_ALLOC(ctx, n, &list);
    if (status != ICD_OK) return status;
    for (int32_t v = 0; v < n; ++v) list[v] = (keyed){key[v], v};
    qsort(list, (size_t)n, sizeof *list, falling);
    for (int32_t k = 0; k < n; ++k) order[k] = list[k].node;
    icd_i_free(ctx, list);
    return ICD_OK;
}

static icd_status run_identity(icd_solve *s, int32_t *order)
{
    for (int32_t v = 0; v < s->n; ++v) order[v] = v;
    return ICD_OK;
}

static icd_status run_random(icd_solve *s, int32_t *order)
{
    icd_rng rng;
    icd_i_rng_init(&rng, (uint64_t)s->o.seed, 1);
    for (int32_t v = 0; v < s->n; ++v) order[v] = v;
    icd_i_rng_shuffle(&rng, order, s->n);
    return ICD_OK;
}

static icd_status run_degree(icd_solve *s, int32_t *order)
{
    icd_status status;
    double *degree = NULL;
    ICD_TRY(ICD_ALLOC(s->ctx, s->n, &degree));
    for (int32_t v = 0; v < s->n; ++v)
        for (int64_t k = s->g.ptr[v]; k < s->g.ptr[v + 1]; ++k)
            degree[v] += s->g.edge[k].w;
    ICD_TRY(icd_i_sort_falling(s->ctx, degree, s->n, order));
done:
    icd_i_free(s->ctx, degree);
    return status;
}

static icd_status run_frequency(icd_solve *s, int32_t *order)
{
    icd_status status;
    double *frequency = NULL, *sum = NULL;
    ICD_TRY(ICD_ALLOC(s->ctx, s->space.n, &frequency));
    ICD_TRY(ICD_ALLOC(s->ctx, s->n, &sum));
    icd_access_frequency(s->problem->sets, frequency);
    for (int32_t i = 0; i < s->space.n; ++i)
        sum[s->space.body_of ? s->space.body_of[i] : i] += frequency[i];
    ICD_TRY(icd_i_sort_falling(s->ctx, sum, s->n, order));
done:
    icd_i_free(s->ctx, frequency);
    icd_i_free(s->ctx, sum);
    return status;
}

static icd_status run_rcm(icd_solve *s, int32_t *order)
{
    return icd_i_rcm(s->ctx, &s->g, order);
}

static icd_status run_spectral(icd_solve *s, int32_t *order)
{
    return icd_i_spectral_order(s->ctx, &s->g, order);
}

static const icd_method METHODS[] = {
    {"identity", "the order as it is", ICD_NEEDS_NOTHING, run_identity},
    {"random", "a seeded shuffle (a control)", ICD_NEEDS_NOTHING, run_random},
    {"degree", "heaviest rows of W first", ICD_NEEDS_W, run_degree},
    {"frequency", "most often accessed first", ICD_NEEDS_SETS, run_frequency},
    {"rcm", "reverse Cuthill-McKee: small bandwidth", ICD_NEEDS_W, run_rcm},
    {"spectral", "by the Fiedler vector of the normalised Laplacian", ICD_NEEDS_W,
     run_spectral},
    {"multilevel", "multilevel recursive bisection to exact granules, swaps, nesting",
     ICD_NEEDS_W, icd_i_multilevel},
    {"warm", "the previous order, refined: swaps only where W changed", ICD_NEEDS_PREV,
     NULL},
#ifdef ICD_HAVE_METIS
    {"metis", "METIS recursive, repaired to exact granules, nested (a peer)", ICD_NEEDS_W,
     icd_i_metis_recursive},
    {"metis-kway", "METIS k-way, repaired to exact granules, nested (a peer)",
     ICD_NEEDS_W, icd_i_metis_kway},
#endif
#ifdef ICD_HAVE_SCOTCH
    {"scotch", "SCOTCH, repaired to exact granules, nested (a peer)", ICD_NEEDS_W,
     icd_i_scotch},
#endif
};

enum { METHOD_COUNT = sizeof METHODS / sizeof METHODS[0] };

const icd_method *icd_i_method_find(const char *name)
{
    for (int32_t i = 0; i < METHOD_COUNT; ++i)
        if (!strcmp(METHODS[i].name, name)) return &METHODS[i];
    return NULL;
}

const char *icd_solver_method_name(int32_t i)
{
    if (i == 0) return "auto";
    return i > 0 && i <= METHOD_COUNT ? METHODS[i - 1].name : NULL;
}

const char *icd_solver_method_help(const char *name)
{
    if (!strcmp(name, "auto")) return "several of these, refined; the best is kept";
    const icd_method *method = icd_i_method_find(name);
    return method ? method->help : NULL;
}
