/**
 * @file refine.h
 * Local search on blocks of slots: swaps of two nodes that lower the cut, with exact
 * gains.
 * @source Kernighan, Lin (1970), 10.1002/j.1538-7305.1970.tb01770.x
 */
#ifndef ICD_SOLVER_REFINE_H
#define ICD_SOLVER_REFINE_H

#include "solver/split.h"

/** Blocks and their members; node i stood in slot i when the table was made. */
typedef struct icd_blocks {
    icd_wgraph g; /**< in the order of the slots; edges between zones left out */
    const icd_bounds *bounds;
    int32_t *block_of;     /**< node -> block */
    int32_t *slot_of;      /**< node -> slot */
    int32_t *at;           /**< slot -> node */
    int32_t *own;          /**< node -> weight of its edges inside its block */
    int32_t *zone_of;      /**< block -> zone */
    const uint8_t *frozen; /**< by ORIGINAL node; NULL: none */
    const int32_t *order;  /**< node -> original node */
} icd_blocks;

typedef struct icd_refine_params {
    const icd_bounds
        *zones; /**< swaps stay inside a zone; refined by `bounds`; NULL: one */
    const icd_bounds *bounds;
    const uint8_t *frozen; /**< nodes that keep their slot; NULL: none */
    icd_budget *budget;
    int64_t steps;                          /**< passes over all nodes at most */
    const struct icd_anneal_params *anneal; /**< NULL: greedy swaps only */
} icd_refine_params;

icd_status icd_i_blocks_init(icd_ctx *ctx, const icd_wgraph *g,
                             const icd_refine_params *p, const int32_t *order,
                             icd_blocks *b);
void icd_i_blocks_release(icd_ctx *ctx, icd_blocks *b);

/** Nodes that threads leave to one of them. */
typedef struct icd_range {
    int32_t begin, end;
} icd_range;

/** icd_i_blocks_swap of two nodes in a range that holds all members of their blocks: no
 * other node's block is read. */
void icd_i_blocks_swap_inside(icd_blocks *b, icd_range range, int32_t v, int32_t u);

/** Exchanges two nodes of different blocks and updates `own`; O(degree). */
void icd_i_blocks_swap(icd_blocks *b, int32_t v, int32_t u);

/** By how much the cut falls when v and u are exchanged; from scratch, O(degree). */
int64_t icd_i_blocks_gain(const icd_blocks *b, int32_t v, int32_t u);

/** True where a node may move. */
static inline bool icd_i_blocks_free(const icd_blocks *b, int32_t v)
{
    return !b->frozen || !b->frozen[b->order[v]];
}

/** Weight between different blocks of one zone. */
int64_t icd_i_blocks_cut(const icd_blocks *b);

/**
 * Best-improvement swaps until a pass finds none: a node whose edges pull it to another
 * block changes places with whoever there loses least.
 * @param passes [out] done
 * @cost  per pass O(nnz + sum over pulled nodes of the block's size)
 */
icd_status icd_i_refine_greedy(icd_ctx *ctx, icd_blocks *b, icd_budget *budget,
                               int64_t steps, int64_t *passes);

/** Both of the above on an order: never raises the cut between blocks. */
icd_status icd_i_refine(icd_ctx *ctx, const icd_wgraph *g,
                        const icd_refine_params *params, int32_t *order, int64_t *passes);

#endif
