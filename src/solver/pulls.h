/**
 * @file pulls.h
 * Local search on a table of every node's weight into every block: gains in O(1), swaps
 * in O(degree). For graphs in which the table is not much larger than the graph.
 */
#ifndef ICD_SOLVER_PULLS_H
#define ICD_SOLVER_PULLS_H

#include "base/rng.h"
#include "solver/refine.h"

typedef struct icd_pulls {
    icd_blocks *b; /**< borrowed; `own` is stale until icd_i_pulls_release */
    int32_t *pull; /**< n x blocks */
    int32_t *link; /**< node -> weight of its edge to the node that was linked last */
    int32_t *first, *last; /**< block -> the blocks of its zone, last excluded */
    int32_t linked;        /**< -1: none */
} icd_pulls;

/** Whether the table is small beside the graph. */
bool icd_i_pulls_fit(const icd_blocks *b);

icd_status icd_i_pulls_init(icd_ctx *ctx, icd_blocks *b, icd_pulls *p);
/** Also settles b->own. */
void icd_i_pulls_release(icd_ctx *ctx, icd_pulls *p);

/** The gain of an exchange if v and u had no edge: never less than the true one. */
static inline int32_t icd_i_pulls_gain_apart(const icd_pulls *p, int32_t v, int32_t u)
{
    int64_t blocks = p->b->bounds->count;
    int32_t from = p->b->block_of[v], to = p->b->block_of[u];
    const int32_t *x = p->pull + v * blocks, *y = p->pull + u * blocks;
    return x[to] - x[from] + y[from] - y[to];
}

/** By how much the cut falls when v and u of different blocks are exchanged. */
int32_t icd_i_pulls_gain(icd_pulls *p, int32_t v, int32_t u);

/** Exchanges them; O(degree). */
void icd_i_pulls_swap(icd_pulls *p, int32_t v, int32_t u);

/** Passes of best-improvement swaps, every node in turn, until one finds none. */
void icd_i_pulls_greedy(icd_pulls *p, icd_budget *budget, int64_t steps, int64_t *passes);

#endif
