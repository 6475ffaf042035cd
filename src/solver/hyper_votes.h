/**
 * @file hyper_votes.h
 * Where indices stood while a chain cooled, and the order that agrees with it best.
 *
 * One order of a warm chain is a random draw; where it puts an index is partly noise. The
 * granule in which an index stood most of the time is not, and a descent from there ends
 * lower, on the events learned from and on events not seen, than one from the last order.
 *
 * @source Polyak, Juditsky (1992), Acceleration of stochastic approximation by averaging,
 * 10.1137/0330046 (the idea)
 */
#ifndef ICD_SOLVER_HYPER_VOTES_H
#define ICD_SOLVER_HYPER_VOTES_H

#include "solver/hyper_state.h"

/** Orders counted at most. */
#define ICD_HYPER_VOTES 256

typedef struct icd_hyper_votes {
    uint16_t *vote; /**< n x granules */
    int32_t *want;  /**< per index: its favourite granule among those with room */
    int32_t *next;  /**< per granule: its next slot */
    int32_t *slot;  /**< per index: the slot it is given, -1 none yet */
    uint8_t *taken; /**< per slot */
    int32_t counted;
} icd_hyper_votes;

/** @param out [out] released with icd_i_hyper_votes_release, also after an error */
icd_status icd_i_hyper_votes_init(icd_ctx *ctx, const icd_hyper *h, icd_hyper_votes *out);
void icd_i_hyper_votes_release(icd_ctx *ctx, icd_hyper_votes *v);

void icd_i_hyper_votes_clear(icd_hyper_votes *v, const icd_hyper *h);

/** Every index votes for the granule it stands in. ICD_HYPER_VOTES times at most. */
void icd_i_hyper_votes_count(icd_hyper_votes *v, const icd_hyper *h);

/**
 * Puts the indices where they stood most often, the surest first, as far as there is
 * room. Those not among `free_index` keep their slots. Without votes nothing moves.
 * @cost time O(n (granules + votes)) in all but contrived cases; no allocation
 */
void icd_i_hyper_votes_settle(icd_hyper_votes *v, icd_hyper *h, const int32_t *free_index,
                              int64_t free_count);

#endif
