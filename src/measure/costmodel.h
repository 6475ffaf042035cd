/**
 * @file costmodel.h
 * How times of layouts follow from what is known before anything runs: a line through
 * bytes, and the weights of the solver's objective. Numbers only.
 */
#ifndef ICD_MEASURE_COSTMODEL_H
#define ICD_MEASURE_COSTMODEL_H

#include "base/json.h"
#include "base/mem.h"
#include <icd/csr.h>

/** A fit by least squares, judged by leaving one out at a time. */
typedef struct icd_fit {
    double coef[3];   /**< of the columns */
    double cov[3][3]; /**< of the coefficients */
    double sd;        /**< of the residuals, n - k degrees of freedom */
    double r2, r2_cv; /**< 1 - SS/SST; with the predictions of the fit without i */
    double spearman;  /**< rank correlation of the left-out predictions with y */
    int64_t n;
    int32_t k;
} icd_fit;

/**
 * y = X coef by least squares.
 * @param x [in] n x k, rows; a constant is a column of ones; k <= 3
 * @return ICD_OK | ICD_EINVAL n <= k + 1 | ICD_ENUMERIC the columns depend on each other
 * | ICD_ENOMEM
 */
icd_status icd_i_fit(icd_ctx *ctx, const double *x, const double *y, int64_t n, int32_t k,
                     icd_fit *out);

/** Spearman's rank correlation, mid-ranks for ties; NaN where a series is constant. */
icd_status icd_i_spearman(icd_ctx *ctx, const double *x, const double *y, int64_t n,
                          double *out);

/**
 * Weight of all pairs i < j by the distance of their granules under an order.
 * @param new_of_old [in]  slot of every index; NULL: identity
 * @param sum        [out] [ceil(n/g)]
 */
void icd_i_line_histogram(const icd_csr *w, const int32_t *new_of_old, int32_t granule,
                          double *sum);

/** Cn of SPEC section 4 from such a histogram of `lines` entries; 0 when undefined. */
double icd_i_cn(const double *sum, int64_t lines, double lambda, double tau);

/** What `icd calibrate` found; calibration.json. */
typedef struct icd_cost_model {
    double base_ms, ms_per_mb; /**< time of a step = base + slope x packed megabytes */
    double cov[3];             /**< var(base), cov, var(slope) */
    double sd_ms;              /**< of the residuals */
    double r2, r2_cv, spearman;
    double alpha, mu, lambda, tau; /**< of J; alpha + mu = 1 unless nothing fits */
    double j_r2_cv, j_spearman;
    int64_t layouts;
    char cpu[128];
    char setting[256]; /**< what was timed: model, task, device, threads, types; in words
                        */
} icd_cost_model;

/** @param points [in] what the fit is made of, for the report; NULL: none */
icd_status icd_i_cost_model_write(icd_ctx *ctx, const icd_cost_model *m,
                                  const json_t *points, const char *path);

/** @return ICD_OK | ICD_EIO | ICD_EDATA a member is missing or no number */
icd_status icd_i_cost_model_read(icd_ctx *ctx, const char *path, icd_cost_model *out);

/**
 * Why a fit predicts nothing: time must grow with bytes, and the line must predict times
 * that it has not seen (cross-validated R2 of .5).
 * @return half a sentence; NULL: it may be used
 */
const char *icd_i_cost_model_flaw(const icd_cost_model *m);

/** Time of `bytes` over time of `from` bytes, with its 95 % interval (error of the line
 * and scatter of layouts around it); NaN where the line is not positive there. */
void icd_i_cost_model_ratio(const icd_cost_model *m, double from, double bytes,
                            double *ratio, double *low, double *high);

#endif
