#include "measure/robust.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts `scratch`, which is its own. */
static double median_of(double *scratch, int64_t n)
{
    qsort(scratch, (size_t)n, sizeof *scratch, ascending);
    return icd_i_quantile_sorted(scratch, n, .5);
}

icd_status icd_i_median(icd_ctx *ctx, const double *x, int64_t n, double *out)
{
    double *copy = NULL;
    icd_status status = ICD_ALLOC(ctx, n, &copy);
    if (status != ICD_OK) return status;
    if (n) memcpy(copy, x, (size_t)n * sizeof *copy);
    *out = median_of(copy, n);
    icd_i_free(ctx, copy);
    return ICD_OK;
}

icd_status icd_i_outliers(icd_ctx *ctx, const double *x, int64_t n, bool *flag,
                          int64_t *count)
{
    double *scratch = NULL, median = 0;
    icd_status status = ICD_OK;
    *count = 0;
    ICD_TRY(icd_i_median(ctx, x, n, &median));
    ICD_TRY(ICD_ALLOC(ctx, n, &scratch));
    for (int64_t i = 0; i < n; i++) scratch[i] = fabs(x[i] - median);
    double far = 3.5 * 1.4826 * (n ? median_of(scratch, n) : 0);
    for (int64_t i = 0; i < n; i++) {
        bool odd = fabs(x[i] - median) > far;
        if (flag) flag[i] = odd;
        *count += odd;
    }
done:
    icd_i_free(ctx, scratch);
    return status;
}

icd_trend icd_i_trend(const double *t, const double *y, int64_t n)
{
    double mt = icd_i_mean(t, n), my = icd_i_mean(y, n), tt = 0, ty = 0, rest = 0;
    for (int64_t i = 0; i < n; i++) {
        tt += (t[i] - mt) * (t[i] - mt);
        ty += (t[i] - mt) * (y[i] - my);
    }
    if (n < 3 || !(tt > 0)) return (icd_trend){NAN, NAN, NAN};
    double slope = ty / tt;
    for (int64_t i = 0; i < n; i++) {
        double r = y[i] - my - slope * (t[i] - mt);
        rest += r * r;
    }
    double df = (double)(n - 2);
    double half = icd_i_student_quantile(.975, df) * sqrt(rest / df / tt);
    return (icd_trend){slope, slope - half, slope + half};
}

double icd_i_autocorrelation(const double *x, int64_t n)
{
    double mean = icd_i_mean(x, n), all = 0, next = 0;
    for (int64_t i = 0; i < n; i++) all += (x[i] - mean) * (x[i] - mean);
    for (int64_t i = 1; i < n; i++) next += (x[i] - mean) * (x[i - 1] - mean);
    return n >= 3 && all > 0 ? next / all : 0;
}

/* Around the mean, so that batches of unequal size stay comparable. */
static void batch_means(const double *x, int64_t n, int64_t count, double *batch)
{
    double mean = icd_i_mean(x, n), scale = (double)count / (double)n;
    for (int64_t b = 0, i = 0; b < count; b++) {
        double sum = 0;
        for (; i < (b + 1) * n / count; i++) sum += x[i] - mean;
        batch[b] = mean + scale * sum;
    }
}

int64_t icd_i_batch(const double *x, int64_t n, int64_t least, double *batch)
{
    int64_t count = n;
    batch_means(x, n, count, batch);
    while (count / 2 >= least &&
           icd_i_autocorrelation(batch, count) > 2 / sqrt((double)count)) {
        count /= 2;
        batch_means(x, n, count, batch);
    }
    return count;
}
