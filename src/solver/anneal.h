/**
 * @file anneal.h
 * Simulated annealing on swaps of two nodes of different blocks.
 * @source Kirkpatrick, Gelatt, Vecchi (1983), 10.1126/science.220.4598.671
 */
#ifndef ICD_SOLVER_ANNEAL_H
#define ICD_SOLVER_ANNEAL_H

#include "solver/refine.h"

typedef struct icd_anneal_params {
    icd_budget *budget;
    int64_t offers;   /**< swaps to propose; 0: the temperature follows the clock until
                         `until` */
    double until;     /**< on the clock of icd_i_now() */
    double hot, cold; /**< first and last temperature, in mean edge weights */
    uint64_t seed;
} icd_anneal_params;

/**
 * Proposes swaps of a node with a member of a neighbour's block, and keeps the best state
 * met at the end of a stage.
 * @param better [out] whether the cut fell
 * @cost O(offers) gains, each O(1) where the table of pulls is kept, else O(degree)
 * @det  a function of blocks and params when `offers` is given
 */
icd_status icd_i_anneal(icd_ctx *ctx, icd_blocks *b, const icd_anneal_params *params,
                        bool *better);

#endif
