#include "measure/stats.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>

double icd_i_mean(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return n > 0 ? sum / (double)n : NAN;
}

double icd_i_sd(const double *x, int64_t n)
{
    double mean = icd_i_mean(x, n), sum = 0;
    if (n < 2) return 0;
    for (int64_t i = 0; i < n; i++) sum += (x[i] - mean) * (x[i] - mean);
    return sqrt(sum / (double)(n - 1));
}

double icd_i_quantile_sorted(const double *sorted, int64_t n, double p)
{
    if (n == 0) return NAN;
    double at = p * (double)(n - 1);
    int64_t i = (int64_t)floor(at);
    if (i >= n - 1) return sorted[n - 1];
    return sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]);
}

double icd_i_normal_cdf(double z)
{
    return .5 * erfc(-z / sqrt(2.));
}

static double polynomial(const double *c, int n, double x)
{
    double y = c[0];
    for (int i = 1; i < n; i++) y = y * x + c[i];
    return y;
}

double icd_i_normal_quantile(double p)
{
    static const double A[] = {-3.969683028665376e+01, 2.209460984245205e+02,
                               -2.759285104469687e+02, 1.383577518672690e+02,
                               -3.066479806614716e+01, 2.506628277459239e+00};
    static const double B[] = {-5.447609879822406e+01, 1.615858368580409e+02,
                               -1.556989798598866e+02, 6.680131188771972e+01,
                               -1.328068155288572e+01, 1};
    static const double C[] = {-7.784894002430293e-03, -3.223964580411365e-01,
                               -2.400758277161838e+00, -2.549732539343734e+00,
                               4.374664141464968e+00,  2.938163982698783e+00};
    static const double D[] = {7.784695709041462e-03, 3.224671290700398e-01,
                               2.445134137142996e+00, 3.754408661907416e+00, 1};
    double z;
    if (!(p > 0)) return -INFINITY;
    if (!(p < 1)) return INFINITY;
    if (p < .02425 || p > 1 - .02425) {
        double q = sqrt(-2 * log(p < .5 ? p : 1 - p));
        z = polynomial(C, 6, q) / polynomial(D, 5, q);
        if (p > .5) z = -z;
    } else {
        double q = p - .5, r = q * q;
        z = q * polynomial(A, 6, r) / polynomial(B, 6, r);
    }
    double e = icd_i_normal_cdf(z) - p;
    double u = e * sqrt(2 * M_PI) * exp(z * z / 2);
    return z - u / (1 + z * u / 2);
}

double icd_i_student_quantile(double p, double df)
{
    double z = icd_i_normal_quantile(p), y = z * z;
    if (df == 1) return tan(M_PI * (p - .5));
    if (df == 2) return (2 * p - 1) / sqrt(2 * p * (1 - p));
    const double G[] = {(y + 1) / 4, ((5 * y + 16) * y + 3) / 96,
                        (((3 * y + 19) * y + 17) * y - 15) / 384,
                        ((((79 * y + 776) * y + 1482) * y - 1920) * y - 945) / 92160};
    return z * (1 + (G[0] + (G[1] + (G[2] + G[3] / df) / df) / df) / df);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Acceleration: skewness of the jackknife values of the mean. */
static double acceleration(const double *x, int64_t n, double mean)
{
    double square = 0, cube = 0;
    for (int64_t i = 0; i < n; i++) {
        double u = (x[i] - mean) / (double)(n - 1);
        square += u * u;
        cube += u * u * u;
    }
    return square > 0 ? cube / (6 * pow(square, 1.5)) : 0;
}

static double adjusted_level(double z0, double a, double z)
{
    double shifted = z0 + z, below = 1 - a * shifted;
    if (below <= 0) return shifted > 0; /* skewed beyond what the expansion describes */
    return icd_i_normal_cdf(z0 + shifted / below);
}

static void resample_means(const double *x, int64_t n, icd_rng *rng, double *mean,
                           int64_t resamples)
{
    for (int64_t b = 0; b < resamples; b++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++) sum += x[icd_i_rng_below(rng, n)];
        mean[b] = sum / (double)n;
    }
}

/* Share of bootstrap means below the estimate, ties counted half, kept inside (0, 1). */
static double share_below(const double *sorted, int64_t n, double value)
{
    double below = 0;
    for (int64_t i = 0; i < n; i++)
        below += sorted[i] < value ? 1 : sorted[i] == value ? .5 : 0;
    double share = below / (double)n, edge = .5 / (double)n;
    return fmin(fmax(share, edge), 1 - edge);
}

icd_status icd_i_bca_mean(icd_ctx *ctx, const double *x, int64_t n, double level,
                          int64_t resamples, uint64_t seed, icd_interval *out)
{
    double *boot = NULL;
    icd_rng rng;
    if (n < 2)
        return icd_i_fail(ctx, ICD_EINVAL, "bootstrap", "take more samples",
                          "found %lld values, expected 2 or more", (long long)n);
    icd_status status = ICD_ALLOC(ctx, resamples, &boot);
    if (status != ICD_OK) return status;
    icd_i_rng_init(&rng, seed, 1);
    resample_means(x, n, &rng, boot, resamples);
    qsort(boot, (size_t)resamples, sizeof *boot, ascending);
    double mean = icd_i_mean(x, n), a = acceleration(x, n, mean);
    double z0 = icd_i_normal_quantile(share_below(boot, resamples, mean));
    double z = icd_i_normal_quantile(.5 + level / 2);
    out->low = icd_i_quantile_sorted(boot, resamples, adjusted_level(z0, a, -z));
    out->high = icd_i_quantile_sorted(boot, resamples, adjusted_level(z0, a, z));
    icd_i_free(ctx, boot);
    return ICD_OK;
}

double icd_i_expanded_level(double level, int64_t n)
{
    static const double MOST = 1 - 1e-12; /* of few values: from the least to the most */
    if (n < 2) return level;
    double t = icd_i_student_quantile(.5 + level / 2, (double)(n - 1));
    double wide = 2 * icd_i_normal_cdf(t * sqrt((double)n / (double)(n - 1))) - 1;
    return wide < MOST ? wide : MOST;
}

double icd_i_normal_half_width(const double *x, int64_t n)
{
    if (n < 2) return INFINITY;
    return icd_i_normal_quantile(.975) * icd_i_sd(x, n) / sqrt((double)n);
}

double icd_i_hedges_g(const double *a, const double *b, int64_t n)
{
    double sa = icd_i_sd(a, n), sb = icd_i_sd(b, n);
    double pooled = sqrt((sa * sa + sb * sb) / 2);
    double correction = 1 - 3 / (4 * (2 * (double)n - 2) - 1);
    if (n < 2 || pooled == 0) return 0;
    return (icd_i_mean(b, n) - icd_i_mean(a, n)) / pooled * correction;
}
