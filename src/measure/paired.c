#include "measure/paired.h"

#include "base/rng.h"
#include "measure/stats.h"

#include <icd/measure.h>

#include <math.h>
#include <stdlib.h>

enum { EXACT_MOST = 50, FLIPS_ALL = 14 };

/* Sum of d with the signs given by the bits of `flips` (or drawn, when rng is given). */
static double flipped_sum(const double *d, int64_t n, uint64_t flips, icd_rng *rng)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        if (rng && i % 64 == 0) flips = icd_i_rng_u64(rng);
        sum += flips >> (i % 64) & 1 ? -d[i] : d[i];
    }
    return sum;
}

double icd_i_sign_flip_p(const double *d, int64_t n, int64_t flips, uint64_t seed)
{
    double observed = fabs(flipped_sum(d, n, 0, NULL));
    double slack = 1e-12 * observed;
    int64_t extreme = 0;
    if (n == 0) return NAN;
    if (n <= FLIPS_ALL) {
        int64_t all = INT64_C(1) << n;
        for (int64_t i = 0; i < all; i++)
            extreme += fabs(flipped_sum(d, n, (uint64_t)i, NULL)) >= observed - slack;
        return (double)extreme / (double)all;
    }
    icd_rng rng;
    icd_i_rng_init(&rng, seed, 2);
    for (int64_t i = 0; i < flips; i++)
        extreme += fabs(flipped_sum(d, n, 0, &rng)) >= observed - slack;
    /* The observed assignment is one of the flips: p is never 0. */
    return (double)(extreme + 1) / (double)(flips + 1);
}

static int by_magnitude(const void *a, const void *b)
{
    double x = fabs(*(const double *)a), y = fabs(*(const double *)b);
    return (x > y) - (x < y);
}

/* Copies what is not zero, smallest magnitude first. */
static int64_t sort_nonzero(const double *d, int64_t n, double *sorted)
{
    int64_t m = 0;
    for (int64_t i = 0; i < n; i++)
        if (d[i] != 0) sorted[m++] = d[i];
    qsort(sorted, (size_t)m, sizeof *sorted, by_magnitude);
    return m;
}

/* Rank sum of the positive differences; `ties` gets sum of t^3 - t over groups of t. */
static double positive_rank_sum(const double *sorted, int64_t m, double *ties)
{
    double sum = 0;
    *ties = 0;
    for (int64_t i = 0, j; i < m; i = j) {
        for (j = i + 1; j < m && fabs(sorted[j]) == fabs(sorted[i]);) j++;
        double rank = (double)(i + 1 + j) / 2, t = (double)(j - i);
        for (int64_t k = i; k < j; k++) sum += sorted[k] > 0 ? rank : 0;
        *ties += t * t * t - t;
    }
    return sum;
}

/* P(rank sum <= t) under all 2^m signs: the share of subsets of 1..m with such a sum.
 * Counts up to 2^50 are whole numbers of a double. */
static icd_status exact_tail(icd_ctx *ctx, int64_t m, int64_t t, double *share)
{
    double *ways = NULL, count = 0;
    icd_status status = ICD_ALLOC(ctx, t + 1, &ways);
    if (status != ICD_OK) return status;
    ways[0] = 1;
    for (int64_t rank = 1; rank <= m; rank++)
        for (int64_t s = t; s >= rank; s--) ways[s] += ways[s - rank];
    for (int64_t s = 0; s <= t; s++) count += ways[s];
    *share = ldexp(count, -(int)m);
    icd_i_free(ctx, ways);
    return ICD_OK;
}

static double normal_p(double statistic, int64_t m, double ties)
{
    double n = (double)m, mean = n * (n + 1) / 4;
    double variance = (n * (n + 1) * (2 * n + 1) - ties / 2) / 24;
    return variance > 0 ? 2 * icd_i_normal_cdf(-fabs((statistic - mean) / sqrt(variance)))
                        : 1;
}

icd_status icd_i_wilcoxon(icd_ctx *ctx, const double *d, int64_t n, icd_wilcoxon *out)
{
    double *sorted = NULL, ties = 0, tail = 0;
    icd_status status = ICD_ALLOC(ctx, n, &sorted);
    *out = (icd_wilcoxon){.p = NAN};
    if (status != ICD_OK) return status;
    int64_t m = out->ranked = sort_nonzero(d, n, sorted);
    double plus = positive_rank_sum(sorted, m, &ties);
    out->statistic = fmin(plus, (double)m * (double)(m + 1) / 2 - plus);
    out->exact = m > 0 && m == n && m <= EXACT_MOST && ties == 0;
    if (out->exact) {
        status = exact_tail(ctx, m, (int64_t)out->statistic, &tail);
        out->p = fmin(1, 2 * tail);
    } else if (m > 0) {
        out->p = normal_p(out->statistic, m, ties);
    }
    icd_i_free(ctx, sorted);
    return status;
}

/* The p-value after `last` in ascending order (ties by index); -1: none is left. */
static int64_t next_smallest(const double *p, int64_t n, int64_t last)
{
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++) {
        bool later =
            last < 0 || p[i] > p[last] || (p[i] == p[last] && i > last); /* NaN: false */
        if (!isnan(p[i]) && later && (best < 0 || p[i] < p[best])) best = i;
    }
    return best;
}

void icd_holm(const double *p, int64_t n, double *adjusted)
{
    double largest = 0;
    int64_t left = 0, i = -1;
    for (int64_t k = 0; k < n; k++) {
        left += !isnan(p[k]);
        adjusted[k] = NAN;
    }
    while ((i = next_smallest(p, n, i)) >= 0) {
        largest = fmax(largest, fmin(1, (double)left-- * p[i]));
        adjusted[i] = largest;
    }
}

/* Tango's statistic of the hypothesis that the true difference is `delta`; falls with it.
 */
static double score(double gains, double losses, double n, double delta)
{
    double a = 2 * n, b = (2 * n - gains + losses) * delta - gains - losses,
           c = -losses * delta * (1 - delta);
    double worse = (sqrt(fmax(b * b - 4 * a * c, 0)) - b) / (2 * a); /* its share */
    double variance = n * (2 * worse + delta * (1 - delta));
    double found = gains - losses - n * delta;
    if (variance > 0) return found / sqrt(variance);
    return found > 0 ? INFINITY : found < 0 ? -INFINITY : 0;
}

/* Where the statistic falls through `level`. */
static double crossing(double gains, double losses, double n, double level)
{
    double low = -1, high = 1;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        if (score(gains, losses, n, middle) > level)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

icd_interval icd_i_paired_proportions(int64_t gains, int64_t losses, int64_t n)
{
    double z = icd_i_normal_quantile(.975);
    double b = (double)gains, c = (double)losses, all = (double)n;
    return (icd_interval){crossing(b, c, all, z), crossing(b, c, all, -z)};
}
