/**
 * @file wgraph.h
 * The solver's own graph: W in integers, so that every gain is exact and every sum the
 * same in whatever order it is taken.
 */
#ifndef ICD_SOLVER_WGRAPH_H
#define ICD_SOLVER_WGRAPH_H

#include "base/error.h"
#include "solver/work.h"
#include <icd/csr.h>

typedef struct icd_edge {
    int32_t to, w;
} icd_edge;

/**
 * A symmetric graph, both directions stored, no loops. The weights of all edges, counted
 * once, sum to less than 2^30 (as built), so gains and cuts fit int32.
 */
typedef struct icd_wgraph {
    int32_t n;
    int64_t *ptr;   /**< n + 1 */
    icd_edge *edge; /**< ptr[n] */
    int32_t *size;  /**< n; slots that a node takes, >= 1 */
} icd_wgraph;

/**
 * W scaled by a power of two and rounded; entries that would round to zero become 1.
 * Nodes with one number in `node_of` are contracted.
 * @param node_of [in] index -> node, NULL: itself
 * @param nodes   [in] number of nodes
 * @param g       [out] icd_i_wgraph_release; sizes are 1
 */
icd_status icd_i_wgraph_build(icd_ctx *ctx, const icd_csr *w, const int32_t *node_of,
                              int32_t nodes, icd_wgraph *g);
void icd_i_wgraph_release(icd_ctx *ctx, icd_wgraph *g);

/**
 * The graph between groups of nodes: parallel edges summed, loops dropped.
 * @param map  [in]  node -> group, every group non-empty
 * @param out  [out] arrays in `work`; `edge` is the last thing taken
 * @return false when the workspace is full (what was taken is given back)
 * @cost time O(nnz), scratch 3 n int32
 */
bool icd_i_wgraph_contract(const icd_wgraph *g, const int32_t *map, int32_t groups,
                           icd_work *work, icd_wgraph *out);

/**
 * The same as a graph of its own, rows in parallel.
 * @param out [out] icd_i_wgraph_release
 * @cost time O(nnz), memory O(nnz + n + threads groups)
 * @det  any thread count
 */
icd_status icd_i_wgraph_contract_new(icd_ctx *ctx, const icd_wgraph *g,
                                     const int32_t *map, int32_t groups, icd_wgraph *out);

/** The graph with node order[i] renamed i, so that what stands together is together in
 * memory. @param out [out] icd_i_wgraph_release */
icd_status icd_i_wgraph_rename(icd_ctx *ctx, const icd_wgraph *g, const int32_t *order,
                               icd_wgraph *out);

/** Whether nodes have few neighbours, as on a mesh. */
static inline bool icd_i_wgraph_is_mesh(const icd_wgraph *g)
{
    return g->ptr[g->n] <= (int64_t)8 * g->n;
}

/** Weight of edges, counted once, between nodes of different `part`. */
int64_t icd_i_wgraph_cut(const icd_wgraph *g, const int32_t *part);

/** Bytes a workspace needs for one icd_i_wgraph_contract of n nodes and nnz entries. */
size_t icd_i_wgraph_bytes(int64_t n, int64_t nnz);

#endif
