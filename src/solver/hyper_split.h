/**
 * @file hyper_split.h
 * How soft the objective should be, decided on events that were held back.
 *
 * A trace is a sample: what it shows of two indices is partly chance, and an order that
 * fits it perfectly fits the chance as well. The softness p of phi (hyper_state.h) says
 * how much to trust a single event, and is the only choice that depends on the sample.
 */
#ifndef ICD_SOLVER_HYPER_SPLIT_H
#define ICD_SOLVER_HYPER_SPLIT_H

#include "solver/hyper.h"

/** Used where there is nothing to decide on. */
#define ICD_HYPER_SOFTNESS .8

/**
 * Learns quickly from the first three quarters of the events with each candidate p and
 * takes the one with the fewest granules touched by the last quarter.
 * @param params [in]  softness is ignored
 * @param out    [out] ICD_HYPER_SOFTNESS where events are few
 * @param stats  [in/out] offers, swaps and timed_out are added
 * @det   as icd_i_hyper_refine
 */
icd_status icd_i_hyper_choose_softness(icd_ctx *ctx, const icd_access *sets,
                                       const icd_hyper_params *params, double *out,
                                       icd_hyper_stats *stats);

#endif
