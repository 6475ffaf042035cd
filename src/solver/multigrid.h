/**
 * @file multigrid.h
 * A Laplacian pencil on a graph and on ever coarser graphs of clusters, and the
 * preconditioner that corrects an error on all of them at once.
 * @source Bramble, Pasciak, Xu (1990), 10.1090/S0025-5718-1990-1023042-6; Barnard, Simon
 *         (1994), 10.1002/cpe.4330060203
 */
#ifndef ICD_SOLVER_MULTIGRID_H
#define ICD_SOLVER_MULTIGRID_H

#include "solver/laplacian.h"

enum { ICD_MULTIGRID_LEVELS = 32 };

typedef struct icd_grid {
    icd_wgraph g;
    icd_laplacian l;
    int32_t *map;          /**< node -> node of the next coarser grid */
    double *residual, *up; /**< scratch of the preconditioner */
} icd_grid;

/** The finest grid is the given graph; weights and masses of a coarser one are sums over
 * clusters. */
typedef struct icd_multigrid {
    icd_ctx *ctx;
    icd_work work;
    icd_grid grid[ICD_MULTIGRID_LEVELS];
    int32_t depth; /**< grids above the finest */
} icd_multigrid;

/** Coarsens until some few nodes are left, or edges no longer merge (on an expander a
 * coarse graph tells nothing).
 * @param mass [in] of the nodes of g
 * @cost time and memory O(nnz + n) */
icd_status icd_i_multigrid_init(icd_ctx *ctx, const icd_wgraph *g, const double *mass,
                                icd_multigrid *m);
void icd_i_multigrid_release(icd_multigrid *m);

/** Values of a coarse grid's nodes to those of the next finer one, `level`. */
void icd_i_multigrid_interpolate(const icd_multigrid *m, int32_t level,
                                 const double *coarse, double *fine);

/**
 * z = (inverse degrees) r, summed over grid `level` and all above it.
 * @cost O(n)
 */
void icd_i_multigrid_precondition(icd_multigrid *m, int32_t level, const double *r,
                                  double *z);

#endif
