/**
 * @file sets.h
 * Random access sets, and W by the definition of SPEC section 3, for the tests of graph.
 */
#ifndef ICD_TEST_GRAPH_SETS_H
#define ICD_TEST_GRAPH_SETS_H

#include "base/mem.h"
#include "base/rng.h"
#include "support.h"
#include <icd/graph.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/** Weights of the events: all 1 | quarters up to 2, some 0 | any. */
typedef enum test_weights { TEST_ONES, TEST_QUARTERS, TEST_ANY } test_weights;

static inline float test_weight(icd_rng *rng, test_weights kind)
{
    if (kind == TEST_QUARTERS) return .25f * (float)icd_i_rng_below(rng, 9);
    return (float)icd_i_rng_unit(rng) + .01f;
}

/* Every index is in an event with chance `density`; one event in eight is empty or
 * single. */
static inline icd_access *test_random_sets(icd_ctx *ctx, uint64_t seed, int64_t n,
                                           int64_t events, double density,
                                           test_weights kind)
{
    icd_access *a = NULL;
    icd_rng rng;
    icd_i_rng_init(&rng, seed, 1);
    assert_ok(ctx, ICD_ALLOC(ctx, 1, &a));
    assert_ok(ctx, ICD_ALLOC(ctx, events + 1, &a->event_ptr));
    assert_ok(ctx, ICD_ALLOC(ctx, n * events, &a->index));
    if (kind != TEST_ONES) assert_ok(ctx, ICD_ALLOC(ctx, events, &a->weight));
    a->n = n;
    a->events = events;
    for (int64_t e = 0, k = 0; e < events; e++) {
        int64_t limit = icd_i_rng_below(&rng, 8) ? n : icd_i_rng_below(&rng, 2);
        for (int32_t i = 0; i < n && k - a->event_ptr[e] < limit; i++)
            if (icd_i_rng_unit(&rng) < density) a->index[k++] = i;
        a->event_ptr[e + 1] = k;
        if (a->weight) a->weight[e] = test_weight(&rng, kind);
    }
    return a;
}

static inline double *test_sums(const icd_access *a, int32_t weighting)
{
    double *s = calloc((size_t)(a->n * a->n + 1), sizeof *s);
    assert_non_null(s);
    for (int64_t e = 0; e < a->events; e++) {
        const int32_t *index = a->index + a->event_ptr[e];
        int64_t size = a->event_ptr[e + 1] - a->event_ptr[e];
        double w = a->weight ? (double)a->weight[e] : 1;
        if (weighting == ICD_WEIGHT_CLIQUE && size > 1) w /= (double)(size - 1);
        for (int64_t x = 0; x < size; x++)
            for (int64_t y = 0; y < size; y++)
                if (x != y) s[index[x] * a->n + index[y]] += w;
    }
    return s;
}

static inline void test_jaccard(const icd_access *a, double *s)
{
    double *f = calloc((size_t)a->n + 1, sizeof *f);
    assert_non_null(f);
    icd_access_frequency(a, f);
    for (int64_t i = 0; i < a->n; i++)
        for (int64_t j = 0; j < a->n; j++) {
            double both = s[i * a->n + j];
            if (both > 0) s[i * a->n + j] = both / (f[i] + f[j] - both);
        }
    free(f);
}

static inline void test_normalise(int64_t n, int32_t normalize, double *s)
{
    double *d = calloc((size_t)n + 1, sizeof *d);
    assert_non_null(d);
    for (int64_t k = 0; k < n * n; k++) d[k / n] += s[k];
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double *w = &s[i * n + j];
            if (*w <= 0 || normalize == ICD_NORM_NONE) continue;
            *w = normalize == ICD_NORM_SYM ? *w / sqrt(d[i] * d[j])
                                           : (*w / d[i] + *w / d[j]) / 2;
        }
    free(d);
}

/** The uncapped W, dense n x n, from malloc. */
static inline double *test_definition(const icd_access *a, const icd_graph_opts *opts)
{
    double *s = test_sums(a, opts->weighting);
    if (opts->weighting == ICD_WEIGHT_JACCARD) test_jaccard(a, s);
    test_normalise(a->n, opts->normalize, s);
    return s;
}

static inline icd_graph_opts test_opts(int32_t weighting, int32_t normalize, int64_t cap)
{
    icd_graph_opts opts;
    icd_options_init(&icd_graph_table, &opts);
    opts.weighting = weighting;
    opts.normalize = normalize;
    opts.nnz_cap = cap;
    return opts;
}

static inline bool test_same(const icd_csr *a, const icd_csr *b)
{
    return a->n == b->n && a->nnz == b->nnz && icd_csr_hash(a) == icd_csr_hash(b);
}

#endif
