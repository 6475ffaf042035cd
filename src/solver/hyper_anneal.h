/**
 * @file hyper_anneal.h
 * Annealed swaps on one window, and the descent that ends them.
 */
#ifndef ICD_SOLVER_HYPER_ANNEAL_H
#define ICD_SOLVER_HYPER_ANNEAL_H

#include "solver/hyper_state.h"

/** Temperatures are in integer weight; the schedule between them is geometric. */
typedef struct icd_hyper_plan {
    double hot, cold;
    int64_t offers; /**< swaps to look at */
    bool clocked; /**< the schedule follows the clock up to `deadline`, not the offers */
    double deadline; /**< 0: none */
    uint64_t seed, stream;
} icd_hyper_plan;

/**
 * The temperature at which a share `rate` of random swaps that worsen the order would be
 * accepted.
 * @return 0 where no swap worsens it
 */
double icd_i_hyper_temperature(icd_hyper *h, double rate, uint64_t seed);

/**
 * Anneals, descends, and leaves the best order seen in h->slot_of (cells and gains then
 * belong to the last one).
 * @param frozen [in]     per local index; NULL: all free
 * @param stats  [in/out] offered, accepted and timed_out are added to
 */
icd_status icd_i_hyper_anneal(icd_ctx *ctx, icd_hyper *h, const icd_hyper_plan *plan,
                              const uint8_t *frozen, icd_hyper_stats *stats);

#endif
