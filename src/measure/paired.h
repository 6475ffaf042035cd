/**
 * @file paired.h
 * Tests on paired differences, and what several of them at once may claim.
 */
#ifndef ICD_MEASURE_PAIRED_H
#define ICD_MEASURE_PAIRED_H

#include "base/mem.h"
#include "measure/stats.h"

/**
 * Two-sided p-value of mean(d) = 0 by random sign flips of the paired differences; all
 * 2^n flips when n <= 14.
 */
double icd_i_sign_flip_p(const double *d, int64_t n, int64_t flips, uint64_t seed);

/** Wilcoxon's signed-rank test of paired differences. */
typedef struct icd_wilcoxon {
    double statistic; /**< the smaller of the two rank sums; ties have mid-ranks */
    double p;         /**< two-sided; NaN where every difference is zero */
    int64_t ranked;   /**< differences that are not zero: the others are left out */
    bool exact;       /**< the whole distribution, not its normal approximation */
} icd_wilcoxon;

/**
 * Exact for up to 50 differences without ties and zeros, else the normal approximation
 * with the variance corrected for ties (and without a continuity correction).
 * @return ICD_OK | ICD_ENOMEM
 * @cost   O(n log n), exact O(n^3)
 * @source Wilcoxon (1945), 10.2307/3001968; zeros as he treats them
 */
icd_status icd_i_wilcoxon(icd_ctx *ctx, const double *d, int64_t n, icd_wilcoxon *out);

/**
 * 95 % score interval of (gains - losses) / n, the difference of two paired proportions.
 * Of n pairs that all agree it is +-z^2 / (n + z^2), not a point: a difference that was
 * not seen may still be there.
 * @param n [in] pairs, 1 or more; gains + losses of them differ
 * @source Tango (1998), 10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B
 */
icd_interval icd_i_paired_proportions(int64_t gains, int64_t losses, int64_t n);

#endif
