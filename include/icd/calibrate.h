/**
 * @file calibrate.h
 * What the cost model is worth on this machine: about twenty layouts of one run, timed
 * against each other, and a line through what was known before.
 */
#ifndef ICD_CALIBRATE_H
#define ICD_CALIBRATE_H

#include <icd/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Zeroed = defaults. */
typedef struct icd_calibrate_opts {
    int64_t layouts;  /**< how many: linear, solved, random ones and partial ones (solved,
                         with a share of the slots shuffled); 0: 20; at least 8 */
    const char *out;  /**< file; NULL: calibration.json of the run directory */
    int64_t seed;     /**< of the shuffles */
    double timeout_s; /**< of the measurement; 0: as the run's */
} icd_calibrate_opts;

/** One layout, and what was expected of it. */
typedef struct icd_calibrate_row {
    char name[40];
    double bytes;   /**< packed weights that a step reads */
    double live;    /**< live granules, share of all */
    double cn, q;   /**< of J, under the fitted lambda and tau */
    double ms;      /**< measured, mean per step */
    double line_ms; /**< base + slope x bytes */
} icd_calibrate_row;

/** What was found; also in the file. */
typedef struct icd_calibrate_result {
    double base_ms, ms_per_mb; /**< time of a step = base + slope x packed megabytes */
    double r2, r2_cv;          /**< of that line; leaving one layout out at a time */
    double spearman;           /**< rank correlation of left-out predictions with times */
    double alpha, mu, lambda, tau; /**< of J; alpha + mu = 1 */
    double j_r2_cv, j_spearman;    /**< of c + s J as a predictor of the time */
    const char *flaw; /**< why the fit predicts nothing, half a sentence; NULL: it does */
    icd_calibrate_row *row;
    int64_t rows, blocks;
    char path[1024]; /**< the file */
} icd_calibrate_result;

/**
 * Times layouts of a run directory that was measured (it needs its model, masks and
 * orders) in this process, and fits.
 * @param out [out] owned by the caller (icd_calibrate_result_free); NULL on error
 * @return ICD_OK | ICD_EIO no such run | ICD_EDATA damaged | ICD_EINVAL nothing in it was
 * re-permuted | ICD_ENUMERIC all layouts cost the same | ICD_EMEASURE | ICD_ENOMEM |
 * ICD_ECANCELLED
 */
icd_status icd_calibrate(icd_ctx *ctx, const char *dir, const icd_calibrate_opts *opts,
                         icd_calibrate_result **out);
void icd_calibrate_result_free(icd_ctx *ctx, icd_calibrate_result *c);

#ifdef __cplusplus
}
#endif
#endif
