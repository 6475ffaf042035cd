/**
 * @file bits.h
 * The dense way to count pairs: one row of bits per index, one bit per event; n_ij is the
 * population count of row i AND row j.
 */
#ifndef ICD_GRAPH_BITS_H
#define ICD_GRAPH_BITS_H

#include "graph/triangle.h"

/**
 * What adding the block by bits costs, in units of adding one pair of one event by lists.
 * Infinite where the events have more than a few different values.
 */
double icd_i_bits_cost(const icd_block *block);

/**
 * Adds a block to the triangle, or adds nothing and fails.
 * @return ICD_OK | ICD_ENOMEM
 * @cost time O(n^2 events / 64), memory O(n events / 8)
 */
icd_status icd_i_bits_add(icd_ctx *ctx, icd_triangle *t, const icd_block *block);

/** Number of bits set in both a and b; `words` is a multiple of 4, at most
 * ICD_BITS_WORDS. */
typedef uint32_t icd_i_popcount_fn(const uint64_t *a, const uint64_t *b, int64_t words);
icd_i_popcount_fn icd_i_popcount_ref;
icd_i_popcount_fn icd_i_popcount_avx2; /**< only where icd_i_cpu_has(ICD_ISA_AVX2) */
icd_i_popcount_fn *icd_i_popcount_best(void);

/** Words of a row that are compared at a time: 64 rows of 1 KB lie in a level-2 cache. */
enum { ICD_BITS_WORDS = 128 };

#endif
