/**
 * @file pairs.h
 * The strongest pairs of a stream that may be far longer than what is kept.
 */
#ifndef ICD_GRAPH_PAIRS_H
#define ICD_GRAPH_PAIRS_H

#include "base/mem.h"
#include <icd/csr.h>

typedef struct icd_pair {
    int32_t i, j; /**< i < j */
    float weight; /**< > 0, finite */
} icd_pair;

typedef struct icd_pairs {
    icd_pair *item;
    int64_t count, capacity;
    int64_t keep;    /**< pairs kept at most */
    int64_t dropped; /**< pairs given up so far */
    float floor; /**< a later pair of this weight or less cannot be kept; 0: all can */
} icd_pairs;

void icd_i_pairs_release(icd_ctx *ctx, icd_pairs *p);

/**
 * Adds a pair. Pairs come in ascending order of (i, j); of equal weights the earlier is
 * kept.
 * @cost amortised O(1); memory at most 2.5 `keep` pairs
 */
icd_status icd_i_pairs_add(icd_ctx *ctx, icd_pairs *p, icd_pair pair);

/** Drops all but the `keep` strongest. */
icd_status icd_i_pairs_trim(icd_ctx *ctx, icd_pairs *p);

/** Both triangles of the pairs as a matrix. */
icd_status icd_i_pairs_csr(icd_ctx *ctx, const icd_pairs *p, int64_t n, icd_csr **out);

#endif
