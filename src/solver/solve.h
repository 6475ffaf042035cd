/**
 * @file solve.h
 * One solve in progress, as the methods see it, and the table of methods.
 */
#ifndef ICD_SOLVER_SOLVE_H
#define ICD_SOLVER_SOLVE_H

#include "solver/budget.h"
#include "solver/problem.h"
#include "solver/space.h"
#include "solver/wgraph.h"

/** Everything a method may read. Nodes are bodies of `space`; all of them take one slot.
 */
typedef struct icd_solve {
    icd_ctx *ctx;
    const icd_problem *problem;
    icd_solver_opts o; /**< resolved */
    icd_space space;
    bool has_graph;  /**< the problem has a W */
    icd_wgraph g;    /**< between nodes; empty without W */
    int32_t n;       /**< nodes */
    int32_t granule; /**< in nodes, >= 1 */
    icd_budget budget;
    icd_solver_stats *stats; /**< never NULL */
} icd_solve;

typedef enum icd_needs {
    ICD_NEEDS_NOTHING,
    ICD_NEEDS_W,
    ICD_NEEDS_SETS,
    ICD_NEEDS_PREV /**< and W; the solve refines it itself */
} icd_needs;

typedef struct icd_method {
    const char *name, *help;
    icd_needs needs;
    /** Fills order[rank] = node, s->n entries; NULL for ICD_NEEDS_PREV. */
    icd_status (*run)(icd_solve *s, int32_t *order);
} icd_method;

/** NULL for an unknown name; "auto" is no method but the choice among them. */
const icd_method *icd_i_method_find(const char *name);

/** Blocks of k_blocks first, then granules, then granules of g/4, in an order with low C.
 */
icd_status icd_i_multilevel(icd_solve *s, int32_t *order);

/** Nodes by falling key; ties by the lower node. */
icd_status icd_i_sort_falling(icd_ctx *ctx, const double *key, int32_t n, int32_t *order);

/** Reverse Cuthill-McKee. @source Cuthill, McKee (1969), 10.1145/800195.805928 */
icd_status icd_i_rcm(icd_ctx *ctx, const icd_wgraph *g, int32_t *order);

/** Orders of the libraries, repaired to exact blocks and nested; compiled in when
 * present. */
icd_status icd_i_metis_recursive(icd_solve *s, int32_t *order);
icd_status icd_i_metis_kway(icd_solve *s, int32_t *order);
icd_status icd_i_scotch(icd_solve *s, int32_t *order);

#endif
