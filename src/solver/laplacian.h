/**
 * @file laplacian.h
 * The Laplacian L = D - W of a graph as an operator, and sums whose bits never depend on
 * threads.
 */
#ifndef ICD_SOLVER_LAPLACIAN_H
#define ICD_SOLVER_LAPLACIAN_H

#include "solver/wgraph.h"

/**
 * The pencil (L, M), M diagonal and > 0: the identity, or D for the normalised Laplacian,
 * or the sums of either over the nodes of a cluster.
 */
typedef struct icd_laplacian {
    int32_t n;
    const icd_csr *w;    /**< borrowed; NULL: the graph is `g` */
    const icd_wgraph *g; /**< borrowed; NULL: the graph is `w` */
    double *degree;
    double *mass;
} icd_laplacian;

/** @param mass [in] copied; NULL: ones, or the degrees (1 where there are no edges) */
icd_status icd_i_laplacian_init(icd_ctx *ctx, const icd_csr *w, const icd_wgraph *g,
                                bool normalized, const double *mass, icd_laplacian *l);
void icd_i_laplacian_release(icd_ctx *ctx, icd_laplacian *l);

/** y = L x, rows in parallel. */
void icd_i_laplacian_apply(icd_ctx *ctx, const icd_laplacian *l, const double *x,
                           double *y);

/** Sum of a_i m_i b_i in blocks of fixed size; m NULL: ones. */
double icd_i_dot(int32_t n, const double *a, const double *m, const double *b);

/** component[v] = 0, 1, ... by lowest node. @return how many; `queue` is scratch of n
 * entries */
int32_t icd_i_components(const icd_wgraph *g, int32_t *component, int32_t *queue);

#endif
