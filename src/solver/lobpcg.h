/**
 * @file lobpcg.h
 * The smallest eigenpair of a Laplacian pencil above the constant vector.
 * @source Knyazev (2001), 10.1137/S1064827500366124
 */
#ifndef ICD_SOLVER_LOBPCG_H
#define ICD_SOLVER_LOBPCG_H

#include "solver/laplacian.h"

/**
 * Conjugate-gradient steps with a diagonal preconditioner, from a given vector.
 * @param steps     [in]     at most
 * @param tolerance [in]     residual relative to the largest degree over mass at which it
 * ends
 * @param x         [in/out] start; result M-orthogonal to 1 and of unit M-norm
 * @param value     [out]    Rayleigh quotient of x
 * @cost one product with L and some ten vector operations a step; memory 7 n doubles
 * @det  any thread count
 */
icd_status icd_i_lobpcg(icd_ctx *ctx, const icd_laplacian *l, int32_t steps,
                        double tolerance, double *x, double *value);

/** The same by LAPACK, exact: n of at most ICD_DENSE_MAX. `x` need not be set. */
icd_status icd_i_dense_fiedler(icd_ctx *ctx, const icd_laplacian *l, double *x,
                               double *value);

/** Small enough that no step of LAPACK is split over threads. */
enum { ICD_DENSE_MAX = 90 };

#endif
