/**
 * @file trial.h
 * Whether axes may really be permuted: a numerical trial before anything relies on them.
 */
#ifndef ICD_TRIAL_H
#define ICD_TRIAL_H

#include <icd/model.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct icd_trial_opts {
    const char *command; /**< prints what {model} computes; NULL: the built-in runner */
    double timeout_s;    /**< of the command; 0: none */
    double bound;        /**< of max |a-b| / max |a|; 0: 1e-5 */
    int64_t seed;
} icd_trial_opts;

/** What the trial of an axis came to. */
typedef struct icd_trial_row {
    const char *axis; /**< borrowed from the model */
    double max_rel;   /**< largest difference of the outputs under a random order */
    bool ok;
} icd_trial_row;

/**
 * Permutes every axis at random and compares what the model computes. All axes are tried
 * at once; only where that fails, each by itself, to name the wrong ones.
 * @param rows [out] one row for each axis of the model, in its order; the caller's
 * (icd_mem_free); NULL on error
 * @param ok   [out] whether all are right
 * @return ICD_OK | ICD_EUNSUPPORTED no runner for the architecture, and no command |
 * ICD_EMEASURE the command failed or printed another number of values | ICD_EIO |
 * ICD_ENOMEM | ICD_ECANCELLED
 */
icd_status icd_axis_trial(icd_ctx *ctx, const icd_model *model,
                          const icd_trial_opts *opts, icd_trial_row **rows, bool *ok);

#ifdef __cplusplus
}
#endif
#endif
