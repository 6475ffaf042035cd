/**
 * @file split.h
 * Recursive bisection of ranges of slots: first the order of the slots' blocks, down to
 * exact blocks.
 */
#ifndef ICD_SOLVER_SPLIT_H
#define ICD_SOLVER_SPLIT_H

#include "solver/bisect.h"

/** Slot boundaries of consecutive blocks: block b holds slots at[b]..at[b+1]-1. */
typedef struct icd_bounds {
    int32_t *at; /**< count + 1, at[0] = 0, strictly rising, at[count] = n */
    int32_t count;
} icd_bounds;

/**
 * Blocks of `step` slots that start anew at every boundary of `coarse` (NULL: one range
 * of n slots): refines blocks into smaller ones.
 */
icd_status icd_i_bounds_nest(icd_ctx *ctx, const icd_bounds *coarse, int32_t n,
                             int32_t step, icd_bounds *out);
/** k slices floor(bn/k)..floor((b+1)n/k)-1, empty ones left out. */
icd_status icd_i_bounds_slices(icd_ctx *ctx, int32_t n, int32_t k, icd_bounds *out);
/** All boundaries of `coarse` and all multiples of `step`. */
icd_status icd_i_bounds_cross(icd_ctx *ctx, const icd_bounds *coarse, int32_t step,
                              icd_bounds *out);
/** Groups of whole blocks of `fine` that take `slots` or a little more, none across a
 * boundary of `coarse` (NULL: no such boundaries). */
icd_status icd_i_bounds_group(icd_ctx *ctx, const icd_bounds *coarse,
                              const icd_bounds *fine, int32_t slots, icd_bounds *out);
void icd_i_bounds_release(icd_ctx *ctx, icd_bounds *b);

/** block_of[slot] = block. */
void icd_i_bounds_spread(const icd_bounds *b, int32_t *block_of);

/** Consecutive parts of an order that are to be divided: part p holds nodes
 * begin[p]..begin[p+1]-1 and shall fill blocks first[p]..first[p+1]-1. */
typedef struct icd_parts {
    int32_t *first, *begin; /**< count + 1 */
    int32_t count;
} icd_parts;

/** A part for each block of `coarse` (NULL: one); nodes that take one slot each. */
icd_status icd_i_parts_init(icd_ctx *ctx, const icd_bounds *coarse,
                            const icd_bounds *fine, icd_parts *parts);
void icd_i_parts_release(icd_ctx *ctx, icd_parts *parts);

typedef struct icd_split_params {
    const icd_bounds *fine;
    const icd_bisect_params *bisect;
    uint64_t seed;
} icd_split_params;

/** As icd_i_split, from parts that need not be full nor exact. */
icd_status icd_i_split_parts(icd_ctx *ctx, const icd_wgraph *g, const icd_parts *start,
                             const icd_split_params *params, int32_t *order,
                             int32_t *block_of);

/**
 * Reorders the slots of every block of `coarse` so that few edges run between blocks of
 * `fine`: halves of halves, each bisected at a block boundary. Edges between blocks of
 * `coarse` do not count: they are cut anyway.
 * @param coarse     [in]     NULL: all slots are one block
 * @param fine       [in]     refines `coarse`
 * @param order      [in/out] node at slot
 * @param block_of   [out]    node -> block of `fine`; NULL: not asked for. The only
 * answer, and not an exact one, for nodes that take several slots (`coarse` NULL then)
 * @return ICD_OK (also when the budget is over: legal, but not divided to the end; then
 * `block_of` names the first block of the part) | ICD_ENOMEM
 * @cost time O(nnz log(blocks)), memory O(nnz + n)
 * @det  any thread count: every part has its own random numbers
 */
icd_status icd_i_split(icd_ctx *ctx, const icd_wgraph *g, const icd_bounds *coarse,
                       const icd_bounds *fine, const icd_bisect_params *params,
                       uint64_t seed, int32_t *order, int32_t *block_of);

#endif
