/**
 * @file sets.h
 * Rows of pair sums straight from the access sets, for index spaces too large for a dense
 * triangle: row i gathers the events that touch i (Gustavson's product A^T A, row by
 * row).
 */
#ifndef ICD_GRAPH_SETS_H
#define ICD_GRAPH_SETS_H

#include "graph/block.h"
#include "graph/rows.h"

/** A set of columns that lists itself in ascending order; the levels mark words in use.
 */
typedef struct icd_touched {
    uint64_t *level[3];
} icd_touched;

typedef struct icd_sets {
    const icd_block *block;
    int64_t *bound;       /**< n */
    double *sum;          /**< workers x n, zero between rows */
    icd_touched *touched; /**< per worker, empty between rows */
    int32_t workers;
} icd_sets;

/** @cost memory O(n threads) beside the block, which must outlive the view */
icd_status icd_i_sets_init(icd_ctx *ctx, const icd_block *block, icd_sets *s);
void icd_i_sets_release(icd_ctx *ctx, icd_sets *s);

/** A view. */
icd_rows icd_i_sets_rows(const icd_sets *s);

#endif
