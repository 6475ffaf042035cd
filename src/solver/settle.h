/**
 * @file settle.h
 * Parts of limited room: every node moves to the part that most of its edges lead to.
 * @source Karypis, Kumar (1998, k-way), 10.1006/jpdc.1997.1404
 */
#ifndef ICD_SOLVER_SETTLE_H
#define ICD_SOLVER_SETTLE_H

#include "solver/budget.h"
#include "solver/wgraph.h"

typedef struct icd_settle_params {
    icd_budget *budget;
    int32_t rounds; /**< over all nodes, at most */
    int32_t parts;
    const int64_t *room; /**< part -> slots it may take; where it has more, nodes leave
                              only of their own will */
} icd_settle_params;

/**
 * Moves that lower the cut, until a round finds next to none.
 * @param part [in/out] node -> part
 * @cost a round: O(nnz + n) shared among threads, and O(nnz of what moves); memory
 * O(n + threads parts)
 * @det  any thread count: moves are proposed in parallel from a state that does not
 * change, and made one by one
 */
icd_status icd_i_settle(icd_ctx *ctx, const icd_wgraph *g,
                        const icd_settle_params *params, int32_t *part);

#endif
