/* From raw samples to a delta with its interval and a verdict. */
#include <icd/measure.h>

#include "measure/paired.h"
#include "measure/robust.h"
#include "measure/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RESAMPLES = 10000, RESAMPLES_LEAST = 2000, DRAWS = 20000000, BATCHES = 30 };

static const double SAME_BAND = .01;

/* Many blocks need fewer resamples: their means are all but normal. */
static int64_t resamples(int64_t blocks)
{
    int64_t most = DRAWS / (blocks > 0 ? blocks : 1);
    return most > RESAMPLES ? RESAMPLES : most < RESAMPLES_LEAST ? RESAMPLES_LEAST : most;
}

const char *icd_verdict_name(icd_verdict v)
{
    static const char *const NAME[] = {"not evaluated", "SAME", "FASTER", "SLOWER",
                                       "UNDECIDED"};
    return NAME[v <= ICD_VERDICT_UNDECIDED ? v : 0];
}

int64_t icd_samples_find(const icd_samples *s, const char *arm)
{
    for (int64_t a = 0; a < s->arms; a++)
        if (!strcmp(s->name[a], arm)) return a;
    return -1;
}

double icd_samples_mean(const icd_samples *s, const char *arm)
{
    int64_t a = icd_samples_find(s, arm);
    double sum = 0;
    if (a < 0 || s->blocks == 0) return NAN;
    for (int64_t b = 0; b < s->blocks; b++) sum += s->lat_ms[b * s->arms + a];
    return sum / (double)s->blocks;
}

static icd_status find_arm(icd_ctx *ctx, const icd_samples *s, const char *name,
                           int64_t *out)
{
    *out = icd_samples_find(s, name);
    if (*out >= 0) return ICD_OK;
    return icd_i_fail(ctx, ICD_EINVAL, "samples", NULL, "found no arm '%s'", name);
}

static icd_verdict judge(const icd_comparison *c)
{
    if (c->low >= -SAME_BAND && c->high <= SAME_BAND) return ICD_VERDICT_SAME;
    if (c->high < 0) return ICD_VERDICT_FASTER;
    if (c->low > 0) return ICD_VERDICT_SLOWER;
    return ICD_VERDICT_UNDECIDED;
}

/* x: ln of a's samples, y: ln of b's, d: their differences; three arrays in one. */
static icd_status fill_logs(icd_ctx *ctx, const icd_samples *s, int64_t a, int64_t b,
                            double *x)
{
    double *y = x + s->blocks, *d = y + s->blocks;
    for (int64_t i = 0; i < s->blocks; i++) {
        double ta = s->lat_ms[i * s->arms + a], tb = s->lat_ms[i * s->arms + b];
        if (!(ta > 0) || !(tb > 0))
            return icd_i_fail(ctx, ICD_EMEASURE, "samples", NULL,
                              "block %lld holds a time that is not positive",
                              (long long)i);
        x[i] = log(ta);
        y[i] = log(tb);
        d[i] = y[i] - x[i];
    }
    return ICD_OK;
}

/* Delta of cycles instead of seconds: what is left when both arms had one clock. */
static double delta_cycles(const icd_samples *s, int64_t a, int64_t b, double mean_log)
{
    double sum = 0;
    for (int64_t i = 0; i < s->blocks; i++) {
        double fa = s->mhz ? s->mhz[i * s->arms + a] : 0,
               fb = s->mhz ? s->mhz[i * s->arms + b] : 0;
        if (!(fa > 0) || !(fb > 0)) return NAN;
        sum += log(fb / fa);
    }
    return expm1(mean_log + sum / (double)s->blocks);
}

/* 95 % interval and tests of `count` batches that no longer remember each other. */
static icd_status infer(icd_ctx *ctx, const double *batch, int64_t count, int64_t seed,
                        icd_comparison *out)
{
    icd_status status = ICD_OK;
    icd_wilcoxon ranks;
    icd_interval ci;
    int64_t draws = resamples(count);
    ICD_TRY(icd_i_bca_mean(ctx, batch, count, icd_i_expanded_level(.95, count), draws,
                           (uint64_t)seed, &ci));
    ICD_TRY(icd_i_wilcoxon(ctx, batch, count, &ranks));
    out->low = expm1(ci.low);
    out->high = expm1(ci.high);
    out->p_value = icd_i_sign_flip_p(batch, count, draws, (uint64_t)seed);
    out->p_wilcoxon = ranks.p;
    out->batches = count;
done:
    return status;
}

icd_status icd_samples_compare(icd_ctx *ctx, const icd_samples *s, const char *a,
                               const char *b, int64_t seed, icd_comparison *out)
{
    icd_status status = ICD_OK;
    double *logs = NULL;
    int64_t ia = 0, ib = 0, n = s->blocks;
    *out = (icd_comparison){0};
    ICD_TRY(find_arm(ctx, s, a, &ia));
    ICD_TRY(find_arm(ctx, s, b, &ib));
    ICD_TRY(ICD_ALLOC(ctx, 4 * n, &logs));
    ICD_TRY(fill_logs(ctx, s, ia, ib, logs));
    double *d = logs + 2 * n, *batch = d + n;
    out->delta = expm1(icd_i_mean(d, n));
    out->hedges_g = icd_i_hedges_g(logs, logs + n, n);
    out->blocks = n;
    out->delta_cycles = delta_cycles(s, ia, ib, icd_i_mean(d, n));
    out->autocorrelation = icd_i_autocorrelation(d, n);
    ICD_TRY(icd_i_outliers(ctx, d, n, NULL, &out->outliers));
    ICD_TRY(infer(ctx, batch, icd_i_batch(d, n, BATCHES, batch), seed, out));
    out->verdict = judge(out);
done:
    icd_i_free(ctx, logs);
    return status;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

icd_status icd_samples_summary(icd_ctx *ctx, const icd_samples *s, const char *arm,
                               int64_t seed, icd_summary *out)
{
    icd_status status = ICD_OK;
    double *x = NULL;
    int64_t a = 0, n = s->blocks;
    icd_interval ci = {0, 0};
    *out = (icd_summary){0};
    ICD_TRY(find_arm(ctx, s, arm, &a));
    ICD_TRY(ICD_ALLOC(ctx, 2 * n, &x));
    for (int64_t i = 0; i < n; i++) x[i] = s->lat_ms[i * s->arms + a];
    int64_t batches = icd_i_batch(x, n, BATCHES, x + n);
    ICD_TRY(icd_i_bca_mean(ctx, x + n, batches, icd_i_expanded_level(.95, batches),
                           resamples(batches), (uint64_t)seed, &ci));
    *out = (icd_summary){.mean = icd_i_mean(x, n),
                         .low = ci.low,
                         .high = ci.high,
                         .sd = icd_i_sd(x, n),
                         .count = n};
    qsort(x, (size_t)n, sizeof *x, ascending); /* a copy: percentiles only */
    out->p50 = icd_i_quantile_sorted(x, n, .5);
    out->p95 = icd_i_quantile_sorted(x, n, .95);
    for (int64_t i = 0; i < n; i++) x[i] = log(x[i]);
    ICD_TRY(icd_i_outliers(ctx, x, n, NULL, &out->outliers));
done:
    icd_i_free(ctx, x);
    return status;
}

/* Block means of ln t and the times at which the blocks began. */
static void fill_means(const icd_samples *s, double *t, double *y)
{
    for (int64_t b = 0; b < s->blocks; b++) {
        double sum = 0, first = INFINITY;
        for (int64_t a = 0; a < s->arms; a++) {
            sum += log(s->lat_ms[b * s->arms + a]);
            first = fmin(first, s->t_start[b * s->arms + a]);
        }
        y[b] = sum / (double)s->arms;
        t[b] = first;
    }
}

icd_status icd_samples_drift(icd_ctx *ctx, const icd_samples *s, icd_drift *out)
{
    double *t = NULL;
    int64_t n = s->blocks;
    icd_status status = ICD_ALLOC(ctx, 2 * n, &t);
    *out = (icd_drift){NAN, NAN, NAN, false};
    if (status != ICD_OK) return status;
    double *y = t + n;
    fill_means(s, t, y);
    icd_trend line = icd_i_trend(t, y, n);
    double span = n ? t[n - 1] - t[0] : 0;
    *out = (icd_drift){expm1(line.slope * span), expm1(line.low * span),
                       expm1(line.high * span), false};
    out->drifting = (out->low > 0 || out->high < 0) && fabs(out->change) > SAME_BAND;
    icd_i_free(ctx, t);
    return ICD_OK;
}

icd_status icd_samples_log_mean(icd_ctx *ctx, const icd_samples *s, const char *arm,
                                const char *reference, icd_log_mean *out)
{
    icd_status status = ICD_OK;
    double *x = NULL;
    int64_t a = 0, r = -1, n = s->blocks;
    *out = (icd_log_mean){0};
    ICD_TRY(find_arm(ctx, s, arm, &a));
    if (reference) ICD_TRY(find_arm(ctx, s, reference, &r));
    ICD_TRY(ICD_ALLOC(ctx, 2 * n, &x));
    for (int64_t b = 0; b < n; b++) {
        double whole = r < 0 ? 1 : s->lat_ms[b * s->arms + r];
        x[b] = log(s->lat_ms[b * s->arms + a] / whole);
    }
    int64_t count = icd_i_batch(x, n, BATCHES, x + n);
    out->mean = icd_i_mean(x, n);
    out->se = icd_i_sd(x + n, count) / sqrt((double)count);
    out->count = count;
done:
    icd_i_free(ctx, x);
    return status;
}

/* Welch-Satterthwaite. */
static double welch_df(const icd_log_mean *a, const icd_log_mean *b)
{
    double va = a->se * a->se, vb = b->se * b->se;
    double below =
        va * va / fmax((double)a->count - 1, 1) + vb * vb / fmax((double)b->count - 1, 1);
    return below > 0 ? fmax((va + vb) * (va + vb) / below, 1) : 1;
}

void icd_log_mean_compare(const icd_log_mean *a, const icd_log_mean *b, double level,
                          icd_comparison *out)
{
    double change = b->mean - a->mean, se = hypot(a->se, b->se);
    double half = icd_i_student_quantile(.5 + level / 2, welch_df(a, b)) * se;
    *out = (icd_comparison){.delta = expm1(change),
                            .low = expm1(change - half),
                            .high = expm1(change + half),
                            .hedges_g = NAN,
                            .p_value = NAN,
                            .p_wilcoxon = NAN,
                            .delta_cycles = NAN,
                            .blocks = a->count < b->count ? a->count : b->count};
    out->verdict = judge(out);
}
