/**
 * @file anneal.h
 * Simulated annealing on swaps of two nodes of different blocks.
 * @source Kirkpatrick, Gelatt, Vecchi (1983), 10.1126/science.220.4598.671
 */
#ifndef ICD_SOLVER_ANNEAL_H
#define ICD_SOLVER_ANNEAL_H

#include "solver/refine.h"

/** Whom to tell how far a plan of several searches is, and what the cut is now. */
typedef struct icd_watch {
    icd_ctx *ctx;
    double begin, end; /**< of the plan, on the clock of icd_i_now() */
    double total;      /**< weight of all edges */
} icd_watch;

/** Tells the share of the plan that is behind us, "anneal: cut 0.2832". */
void icd_i_watch_tell(const icd_watch *watch, int64_t cut);

typedef struct icd_anneal_params {
    icd_budget *budget;
    int64_t offers; /**< to make at least; 0: the temperature follows the clock */
    double until; /**< when it is cold, on the clock of icd_i_now(); where offers is 0 */
    double hot, cold;       /**< first and last temperature, in mean edge weights */
    int64_t enough;         /**< the cut cannot fall further: it ends there */
    const icd_watch *watch; /**< NULL: silent */
    int64_t *reached;       /**< [out] NULL, or the cut when it was cold */
    uint64_t seed;
} icd_anneal_params;

/**
 * Offers a node to a block that one of its neighbours is in: by a heat bath it stays, or
 * changes places with one of up to 64 members. Keeps the best state met at the end of a
 * stage. Does nothing where nodes x blocks is more than 2^26.
 * @param better [out] whether the cut fell
 * @cost O(offers) looks at 64 entries side by side; a swap O(degree + blocks of the
 *       zone); memory n x blocks int32
 * @det  a function of blocks and params when `offers` is given
 */
icd_status icd_i_anneal(icd_ctx *ctx, icd_blocks *b, const icd_anneal_params *params,
                        bool *better);

#endif
