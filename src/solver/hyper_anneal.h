/**
 * @file hyper_anneal.h
 * A chain of annealed swaps on one window. Nothing here allocates after
 * icd_i_hyper_chain_init, so that chains may run on several threads.
 */
#ifndef ICD_SOLVER_HYPER_ANNEAL_H
#define ICD_SOLVER_HYPER_ANNEAL_H

#include "base/rng.h"
#include "solver/hyper_state.h"
#include "solver/hyper_votes.h"

/** One stage: a softness and a geometric schedule of temperatures in integer units. */
typedef struct icd_hyper_stage {
    double p;         /**< of phi */
    double hot, cold; /**< 0 < cold <= hot; 0: descend only */
    int64_t offers;   /**< swaps to look at while cooling */
    int64_t swaps; /**< swaps to make at most while cooling: many made cool it sooner */
    double cool_until; /**< > 0: cooling follows the clock up to here instead */
    double deadline;   /**< 0: none */
    bool vote; /**< descend from where the indices stood most often while cooling */
} icd_hyper_stage;

typedef struct icd_hyper_chain {
    icd_hyper h;
    icd_rng rng;
    int32_t *free_index; /**< the indices that may move, those with events first */
    int64_t free_count, busy_count;
    icd_hyper_votes votes; /**< only where the source asks for them */
    int32_t *best_slot;    /**< the best order seen in a stage */
    int64_t best_cost;
    double *threshold; /**< -ln u at even values of u */
    int64_t offered, accepted;
    bool stopped; /**< by the deadline or a cancellation */
} icd_hyper_chain;

/** What to build a chain from; `frozen` is per index of the whole order, or NULL. */
typedef struct icd_hyper_source {
    const icd_access *sets;
    const uint8_t *frozen;
    icd_hyper_window window;
    int32_t granule;
    int64_t stride;
    uint64_t seed;
    bool votes; /**< stages may vote */
} icd_hyper_source;

/** @param out [out] released with icd_i_hyper_chain_release, also after an error */
icd_status icd_i_hyper_chain_init(icd_ctx *ctx, const icd_hyper_source *source,
                                  uint64_t stream, icd_hyper_chain *out);
void icd_i_hyper_chain_release(icd_ctx *ctx, icd_hyper_chain *c);

/** Anneals, descends until no swap helps, and goes back to the best order seen. */
void icd_i_hyper_chain_run(const icd_ctx *ctx, icd_hyper_chain *c,
                           const icd_hyper_stage *stage);

#endif
