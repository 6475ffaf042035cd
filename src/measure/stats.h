/**
 * @file stats.h
 * The statistics behind a verdict: small, exact definitions, deterministic for a seed.
 */
#ifndef ICD_MEASURE_STATS_H
#define ICD_MEASURE_STATS_H

#include "base/mem.h"

/** Arithmetic mean; NaN for n = 0. */
double icd_i_mean(const double *x, int64_t n);

/** Standard deviation with n - 1; 0 for n < 2. */
double icd_i_sd(const double *x, int64_t n);

/** Quantile by linear interpolation between order statistics (type 7), of a sorted array.
 */
double icd_i_quantile_sorted(const double *sorted, int64_t n, double p);

/** Standard normal distribution function and its inverse. */
double icd_i_normal_cdf(double z);
/** @source Acklam's rational approximation with one Halley step: |error| < 1e-12 on (0,
 * 1) */
double icd_i_normal_quantile(double p);

/** Student's t: exact for 1 and 2 degrees of freedom, else Fisher's expansion to 1/df^4
 * (error below 1 % from 3, below 1e-5 from 10). @source Abramowitz & Stegun 26.7.5 */
double icd_i_student_quantile(double p, double df);

/** A two-sided interval. */
typedef struct icd_interval {
    double low, high;
} icd_interval;

/**
 * BCa bootstrap interval of the mean, resampling whole entries.
 * @param x     [in] one value per interleaving block
 * @param level [in] .95
 * @return ICD_OK | ICD_EINVAL n < 2 | ICD_ENOMEM. Equal values give an interval of width
 * zero.
 * @cost   O(resamples n)
 * @source Efron (1987), 10.1080/01621459.1987.10478410
 */
icd_status icd_i_bca_mean(icd_ctx *ctx, const double *x, int64_t n, double level,
                          int64_t resamples, uint64_t seed, icd_interval *out);

/**
 * The level at which to ask for a bootstrap interval of n values that is to cover
 * `level`: resampling sees a spread too small by (n-1)/n, and an unknown one. n < 2:
 * level.
 * @source Hesterberg (2015), 10.1080/00031305.2015.1089789 (expanded percentiles)
 */
double icd_i_expanded_level(double level, int64_t n);

/** Half the width of the t-free normal interval of the mean: for stopping rules only. */
double icd_i_normal_half_width(const double *x, int64_t n);

/** Standardised difference mean(b) - mean(a), pooled sd, with the small-sample
 * correction.
 *  @source Hedges (1981), 10.3102/10769986006002107 */
double icd_i_hedges_g(const double *a, const double *b, int64_t n);

#endif
