/**
 * @file robust.h
 * What is odd about a series of samples: drift, outliers, memory. It is told, never
 * removed.
 */
#ifndef ICD_MEASURE_ROBUST_H
#define ICD_MEASURE_ROBUST_H

#include "base/mem.h"
#include "measure/stats.h"

/** Median; x is left as it is. @return ICD_OK | ICD_ENOMEM */
icd_status icd_i_median(icd_ctx *ctx, const double *x, int64_t n, double *out);

/**
 * Values further than 3.5 robust standard deviations (1.4826 MAD) from the median; where
 * more than half of the values are equal, whatever differs from them.
 * @param flag [out] [n], may be NULL
 * @source Iglewicz & Hoaglin (1993), How to Detect and Handle Outliers
 */
icd_status icd_i_outliers(icd_ctx *ctx, const double *x, int64_t n, bool *flag,
                          int64_t *count);

/** A least-squares line through (t, y). */
typedef struct icd_trend {
    double slope, low, high; /**< per unit of t; 95 % interval by Student's t */
} icd_trend;

/**
 * All NaN for n < 3 or where every t is equal. The interval supposes independent
 * residuals: with memory in the series it is too narrow.
 */
icd_trend icd_i_trend(const double *t, const double *y, int64_t n);

/** Correlation of neighbours; 0 for n < 3 or equal values. Beyond 2 / sqrt(n) the samples
 * remember each other. */
double icd_i_autocorrelation(const double *x, int64_t n);

/**
 * Sums up neighbours while they remember each other: batches of 1, 2, 4... blocks until
 * the correlation of neighbouring batches is below 2 / sqrt(batches), as long as `least`
 * batches remain. The mean of the batches is the mean of x.
 * @param batch [out] [n] one value per batch
 * @return how many batches there are; n: the values are taken as independent
 * @source Schmeiser (1982), 10.1287/opre.30.3.556 (batch means)
 */
int64_t icd_i_batch(const double *x, int64_t n, int64_t least, double *batch);

#endif
