/**
 * @file power_readings.h
 * From windows to metrics: joules per step and token with their intervals, gross and
 * without what idling takes; arms against each other block by block.
 */
#ifndef ICD_MEASURE_POWER_READINGS_H
#define ICD_MEASURE_POWER_READINGS_H

#include "measure/power.h"

#include <jansson.h>

enum { ICD_POWER_METRICS = 5 };

/** What one arm took. */
typedef struct icd_power_summary {
    /** ept_j_per_tok, ept_net_j_per_tok, energy_j, power_w, idle_w: MEASURED with a 95 %
     * interval by Student's t over windows, or ABSENT with a reason. */
    icd_metric metric[ICD_POWER_METRICS];
    char reason[200]; /**< that metrics may point to */
    json_t *detail;   /**< see docs/energy-and-ncu.md; json_decref */
} icd_power_summary;

/**
 * @param arm    [in] index in the run
 * @param tokens [in] of one step; 0: nothing per token
 * @param out    [out] icd_i_power_summary_release; metrics point into it: it stays put
 */
icd_status icd_i_power_summary(icd_ctx *ctx, const icd_power_record *record, int32_t arm,
                               double tokens, icd_power_summary *out);
void icd_i_power_summary_release(icd_power_summary *summary);

/** Energy per step of one arm against another's. */
typedef struct icd_power_ratio {
    double delta, low, high; /**< share: -.1 = 10 % less; 95 % by Student's t on logs */
    int64_t blocks;          /**< passes in which both were told */
} icd_power_ratio;

/**
 * Pairs windows of the same pass: what drifts slowly falls on both.
 * @param net [in] without idling, where that was measured
 * @return false: fewer than two pairs
 */
bool icd_i_power_ratio(const icd_power_record *record, int32_t a, int32_t b, bool net,
                       icd_power_ratio *out);

#endif
