/**
 * @file lobpcg.h
 * The smallest eigenpair of a Laplacian pencil above the constant vector.
 * @source Knyazev (2001), 10.1137/S1064827500366124
 */
#ifndef ICD_SOLVER_LOBPCG_H
#define ICD_SOLVER_LOBPCG_H

#include "solver/laplacian.h"

/** z = T r, T symmetric, positive and near the inverse of L on what is not constant. */
typedef struct icd_precond {
    void (*apply)(void *of, const double *r, double *z);
    void *of;
} icd_precond;

typedef struct icd_lobpcg_params {
    int32_t steps;              /**< at most */
    double tolerance;           /**< it ends at this residual, over the largest degree
                                     over mass */
    const icd_precond *precond; /**< NULL: the inverse degrees */
} icd_lobpcg_params;

/**
 * Conjugate-gradient steps from a given vector.
 * @param x     [in/out] start; result M-orthogonal to 1 and of unit M-norm
 * @param value [out]    Rayleigh quotient of x
 * @cost a step: one product with L, T, and two passes over six vectors; memory 6 n
 * doubles
 * @det  any thread count
 */
icd_status icd_i_lobpcg(icd_ctx *ctx, const icd_laplacian *l,
                        const icd_lobpcg_params *params, double *x, double *value);

/** The same by LAPACK, exact: n of at most ICD_DENSE_MAX. `x` need not be set. */
icd_status icd_i_dense_fiedler(icd_ctx *ctx, const icd_laplacian *l, double *x,
                               double *value);

/** Small enough that no step of LAPACK is split over threads. */
enum { ICD_DENSE_MAX = 90 };

#endif
