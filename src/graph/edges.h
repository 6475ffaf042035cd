/**
 * @file edges.h
 * Weighted pairs from a stream, summed; memory follows the distinct pairs, not the
 * stream.
 */
#ifndef ICD_GRAPH_EDGES_H
#define ICD_GRAPH_EDGES_H

#include "graph/rows.h"

typedef struct icd_edge {
    int32_t i, j; /**< i < j */
    double sum;
} icd_edge;

/** edge[0..sorted) ascend by (i, j) and are distinct; the rest is as it came. Zeroed =
 * empty. */
typedef struct icd_edges {
    int64_t n;
    icd_edge *edge, *spare;
    int64_t count, sorted, capacity, spare_capacity;
    int64_t *row; /**< n + 1, once sealed */
} icd_edges;

/** Adds weight w to the pair {a, b}, a != b, both in 0..n-1; sums follow the order of the
 * calls. */
icd_status icd_i_edges_add(icd_ctx *ctx, icd_edges *e, int32_t a, int32_t b, double w);

/** No further pair comes: sorts what is left. */
icd_status icd_i_edges_seal(icd_ctx *ctx, icd_edges *e);
void icd_i_edges_release(icd_ctx *ctx, icd_edges *e);

/** A view of sealed edges. */
icd_rows icd_i_edges_rows(const icd_edges *e);

#endif
