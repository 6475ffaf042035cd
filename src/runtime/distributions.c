/* Samples in small: histograms of every arm on one scale, and the course of the two that
   matter. */
#include "runtime/judgement.h"

#include "measure/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BINS = 48, BUCKETS = 60 };

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sorted_arm(const icd_samples *s, int64_t arm, double *x)
{
    for (int64_t b = 0; b < s->blocks; b++) x[b] = s->lat_ms[b * s->arms + arm];
    qsort(x, (size_t)s->blocks, sizeof *x, ascending);
}

/* From the lowest sample to the highest 99th percentile: rare hiccups do not squeeze the
 * rest; they are counted in `above`. */
static void find_scale(const icd_samples *s, double *x, double *low, double *high)
{
    *low = INFINITY;
    *high = 0;
    for (int64_t a = 0; a < s->arms; a++) {
        sorted_arm(s, a, x);
        *low = fmin(*low, x[0]);
        *high = fmax(*high, icd_i_quantile_sorted(x, s->blocks, .99));
    }
    if (!(*high > *low)) *high = *low * 1.01;
}

static json_t *histogram(const double *x, int64_t n, double low, double high,
                         int64_t *above)
{
    int64_t count[BINS] = {0};
    json_t *list = json_array();
    *above = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t bin = (int64_t)(BINS * (x[i] - low) / (high - low));
        if (x[i] > high)
            ++*above;
        else
            count[bin < BINS ? bin : BINS - 1]++;
    }
    for (int k = 0; k < BINS; k++) json_array_append_new(list, json_integer(count[k]));
    return list;
}

static json_t *arm_distribution(const icd_samples *s, int64_t arm, double *x, double low,
                                double high)
{
    static const struct {
        const char *key;
        double p;
    } QUANTILE[] = {{"min", 0},   {"p5", .05},  {"p25", .25}, {"p50", .5},
                    {"p75", .75}, {"p95", .95}, {"max", 1}};
    int64_t above = 0;
    sorted_arm(s, arm, x);
    json_t *count = histogram(x, s->blocks, low, high, &above);
    json_t *row = json_pack("{s:s,s:o,s:I}", "name", s->name[arm], "count", count,
                            "above", (json_int_t)above);
    for (size_t i = 0; i < sizeof QUANTILE / sizeof QUANTILE[0]; i++)
        json_object_set_new(
            row, QUANTILE[i].key,
            json_real(icd_i_quantile_sorted(x, s->blocks, QUANTILE[i].p)));
    return row;
}

/* Means of up to BUCKETS stretches of blocks, in the order taken. */
static json_t *course(const icd_samples *s, const char *name)
{
    int64_t arm = icd_samples_find(s, name);
    int64_t buckets = s->blocks < BUCKETS ? s->blocks : BUCKETS;
    json_t *list = json_array();
    for (int64_t k = 0; arm >= 0 && k < buckets; k++) {
        int64_t from = k * s->blocks / buckets, to = (k + 1) * s->blocks / buckets;
        double sum = 0;
        for (int64_t b = from; b < to; b++) sum += s->lat_ms[b * s->arms + arm];
        json_array_append_new(list, json_real(sum / (double)(to - from)));
    }
    return list;
}

icd_status icd_i_distributions(icd_job *job, json_t **out)
{
    icd_status status = ICD_OK;
    const icd_samples *s = job->samples;
    double *x = NULL, low = 0, high = 0;
    json_t *arms = json_array();
    ICD_TRY(ICD_ALLOC(job->ctx, s->blocks, &x));
    find_scale(s, x, &low, &high);
    for (int64_t a = 0; a < s->arms; a++)
        json_array_append_new(arms, arm_distribution(s, a, x, low, high));
    *out =
        json_pack("{s:f,s:f,s:I,s:f,s:O,s:{s:o,s:o}}", "low", low, "high", high, "blocks",
                  (json_int_t)s->blocks, "seconds", s->elapsed_s, "arms", arms, "course",
                  "linear", course(s, "linear"), "iterative", course(s, "iterative"));
done:
    json_decref(arms);
    icd_i_free(job->ctx, x);
    return status;
}
