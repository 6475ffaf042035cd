/**
 * @file solver_support.h
 * Small graphs and naive scores for the tests of the solver.
 */
#ifndef ICD_TEST_SOLVER_SUPPORT_H
#define ICD_TEST_SOLVER_SUPPORT_H

#include "support.h"

#include "base/mem.h"
#include "base/rng.h"
#include <icd/solver.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* W from a dense symmetric matrix; zeros are left out. */
static inline icd_csr *csr_of_dense(icd_ctx *ctx, const float *a, int64_t n)
{
    int64_t nnz = 0;
    icd_csr *w = NULL;
    for (int64_t k = 0; k < n * n; ++k) nnz += a[k] != 0;
    assert_ok(ctx, icd_csr_new(ctx, n, nnz, &w));
    nnz = 0;
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < n; ++j) {
            if (a[i * n + j] == 0) continue;
            w->col[nnz] = (int32_t)j;
            w->val[nnz++] = a[i * n + j];
        }
        w->row_ptr[i + 1] = nnz;
    }
    assert_ok(ctx, icd_csr_check(ctx, w, "test graph"));
    return w;
}

/* Each pair with chance `density`; weights 1..8, or all 1. */
static inline icd_csr *random_graph(icd_ctx *ctx, int64_t n, double density,
                                    bool weighted, icd_rng *rng)
{
    float *a = calloc((size_t)(n * n + 1), sizeof *a);
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = i + 1; j < n; ++j)
            if (icd_i_rng_unit(rng) < density)
                a[i * n + j] = a[j * n + i] =
                    weighted ? (float)(1 + icd_i_rng_below(rng, 8)) : 1.0f;
    icd_csr *w = csr_of_dense(ctx, a, n);
    free(a);
    return w;
}

/* `blocks` equal blocks hidden under a shuffle; hidden[i] = block of index i. */
static inline icd_csr *planted_graph(icd_ctx *ctx, int64_t n, int64_t blocks,
                                     double inside, double outside, uint64_t seed,
                                     int32_t *hidden)
{
    icd_rng rng;
    float *a = calloc((size_t)(n * n), sizeof *a);
    icd_i_rng_init(&rng, seed, 3);
    for (int64_t i = 0; i < n; ++i) hidden[i] = (int32_t)(i * blocks / n);
    icd_i_rng_shuffle(&rng, hidden, n);
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = i + 1; j < n; ++j)
            if (icd_i_rng_unit(&rng) < (hidden[i] == hidden[j] ? inside : outside))
                a[i * n + j] = a[j * n + i] = (float)(0.5 + icd_i_rng_unit(&rng));
    icd_csr *w = csr_of_dense(ctx, a, n);
    free(a);
    return w;
}

/* A path or, with `closed`, a cycle of unit weights. */
static inline icd_csr *path_graph(icd_ctx *ctx, int64_t n, bool closed)
{
    icd_csr *w = NULL;
    int64_t nnz = 0;
    assert_ok(ctx, icd_csr_new(ctx, n, 2 * (n - 1) + (closed ? 2 : 0), &w));
    for (int64_t i = 0; i < n; ++i) {
        if (closed && i == n - 1) w->col[nnz++] = 0;
        if (i > 0) w->col[nnz++] = (int32_t)(i - 1);
        if (i + 1 < n) w->col[nnz++] = (int32_t)(i + 1);
        if (closed && i == 0) w->col[nnz++] = (int32_t)(n - 1);
        w->row_ptr[i + 1] = nnz;
    }
    for (int64_t k = 0; k < nnz; ++k) w->val[k] = 1;
    assert_ok(ctx, icd_csr_check(ctx, w, "path"));
    return w;
}

/* Weight between blocks of `step` slots, pairs counted once. */
static inline double naive_cut(const icd_csr *w, const int32_t *old_of_new, int64_t step)
{
    double cut = 0;
    int32_t *pos = calloc((size_t)(w->n + 1), sizeof *pos);
    for (int64_t k = 0; k < w->n; ++k) pos[old_of_new[k]] = (int32_t)k;
    for (int64_t i = 0; i < w->n; ++i)
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; ++k)
            if (w->col[k] > i && pos[i] / step != pos[w->col[k]] / step)
                cut += (double)w->val[k];
    free(pos);
    return cut;
}

static inline icd_solver_opts solver_defaults(void)
{
    icd_solver_opts opts;
    icd_options_init(&icd_solver_table, &opts);
    return opts;
}

static inline void assert_bijection(const icd_perm *p)
{
    uint8_t *seen = calloc((size_t)(p->n + 1), 1);
    for (int64_t k = 0; k < p->n; ++k) {
        assert_in_range(p->old_of_new[k], 0, p->n - 1);
        assert_int_equal(seen[p->old_of_new[k]]++, 0);
    }
    free(seen);
}

static inline icd_ctx *ctx_of_threads(int32_t threads)
{
    icd_ctx_opts opts = {.size = sizeof opts, .threads = threads};
    icd_ctx *ctx = icd_ctx_new(&opts);
    assert_non_null(ctx);
    return ctx;
}

#endif
