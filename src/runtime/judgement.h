/**
 * @file judgement.h
 * What a run knows about its arms beside their times, and what follows from it.
 */
#ifndef ICD_RUNTIME_JUDGEMENT_H
#define ICD_RUNTIME_JUDGEMENT_H

#include "runtime/job.h"

/** Readings of the meters, from `meters.json` of the run directory: {"arms": {NAME:
 * {"l2_hit_pct": metric, "dram_bytes": metric, "ept_j_per_tok": metric}}} (metric as in
 * metrics.json). A file that is not there is no error: everything is absent then. */
icd_status icd_i_readings_read(icd_job *job);

/** One reading of an arm; ABSENT with its reason where there is none. Texts live as long
 * as the job. */
icd_metric icd_i_reading(icd_job *job, const char *arm, const char *key);

/** Costs of all linears of an arm. */
typedef struct icd_arm_cost {
    int64_t live, all; /**< granules */
    int64_t bytes;     /**< of packed weights */
} icd_arm_cost;
icd_status icd_i_arm_cost(icd_job *job, const icd_layout *layout, icd_arm_cost *out);

icd_job_arm *icd_i_arm_find(icd_job *job, const char *name);

/** What the cost model says about iterative against linear: shares of linear's. */
typedef struct icd_prediction {
    double live, bytes;     /**< ratios; NaN: no such arms */
    double time, low, high; /**< ratio of times with its 95 % interval; NaN: no model */
    const char *advice;     /**< "do not bother", "measure it", "worth it" */
} icd_prediction;

/** What a step of this run is, for a cost model: "tiny-bert, cpu, 1 threads, int8, 1 x 16
 * prefill". @param model [in] its name */
void icd_i_cost_setting(const icd_config *config, const char *model, char out[256]);

/** Says once, as a warning, why measure.cost_model tells nothing about this run. */
void icd_i_cost_model_check(icd_job *job);

/** Without a usable cost model of this machine (measure.cost_model) the time lies between
 * following the live granules wholly and not at all: that is then the interval. */
icd_status icd_i_predict(icd_job *job, icd_prediction *out);

/** The same of any two arms. */
icd_status icd_i_predict_between(icd_job *job, const icd_job_arm *a, const icd_job_arm *b,
                                 icd_prediction *out);

/**
 * Evidence of every metric of arm b against arm a, judged together.
 * @param trusted [in]  false: the control failed, no latency decides
 * @param out     [out] [ICD_EVIDENCE_MAX]
 */
icd_status icd_i_evidence_between(icd_job *job, const char *a, const char *b,
                                  const icd_comparison *latency, bool trusted,
                                  icd_evidence *out, int64_t *count);

/** Judges pi1 against pi0 by the samples at hand, as the verdict will.
 * @param trusted [out] the A/A control lies inside +-1 %
 * @param holds   [out] it would be kept; true where there is no pi1 */
icd_status icd_i_pi1_holds(icd_job *job, bool *trusted, bool *holds);

/** The lines of an ending without samples: what is expected, and whether to bother. */
icd_status icd_i_verdict_untimed(icd_job *job);

/** Fills job->evidence and job->gate from samples, readings and quality scores. */
icd_status icd_i_judge(icd_job *job, const icd_comparison *latency);

/** Histograms, quantiles and courses of the samples, for the report; new reference. */
icd_status icd_i_distributions(icd_job *job, json_t **out);

/** Why the run was rolled back, for people (job->cause) and machines (job->root_cause):
 * which metric, which layers, what the cost model predicted. */
icd_status icd_i_root_cause(icd_job *job, const icd_decision *decision);

/** ICD_EGATE naming the first required gate that is not met or not evaluated. */
icd_status icd_i_gates_check(icd_job *job);

#endif
