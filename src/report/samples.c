/* How samples are distributed, and how they went over the time of the measurement. */
#include "report/html.h"

#include <math.h>
#include <string.h>

enum { BINS_MOST = 200, HEIGHT = 20 };

static const char *arm_class(icd_page *page, const char *name)
{
    const char *role = icd_i_get_string(icd_i_page_arm(page, name), "role");
    static const char *const KNOWN[] = {"baseline", "candidate", "alternative"};
    for (size_t i = 0; i < sizeof KNOWN / sizeof KNOWN[0]; i++)
        if (!strcmp(role, KNOWN[i])) return KNOWN[i];
    return "control";
}

static double tallest(const json_t *counts)
{
    const json_t *count = NULL;
    size_t i = 0;
    double top = 0;
    json_array_foreach(counts, i, count) top = fmax(top, json_number_value(count));
    return top;
}

/* A histogram as one outline, every arm as tall as its own tallest bin. */
static void outline(icd_page *page, const json_t *arm, const char *class)
{
    const json_t *counts = json_object_get(arm, "count"), *count = NULL;
    size_t i = 0, bins = json_array_size(counts);
    double top = tallest(counts);
    if (bins == 0 || bins > BINS_MOST || !(top > 0)) return;
    icd_i_page_put(page,
                   "<svg class=dist viewBox=\"0 0 %zu %d\" preserveAspectRatio=none "
                   "aria-hidden=true><path class=%s d=\"M0 %d",
                   bins, HEIGHT, class, HEIGHT);
    json_array_foreach(counts, i, count) icd_i_page_put(
        page, "V%.1fH%zu", HEIGHT * (1 - json_number_value(count) / top), i + 1);
    icd_i_page_put(page, "V%dz\"/></svg>", HEIGHT);
}

static void distribution_row(icd_page *page, const json_t *arm, double low, double high)
{
    const char *name = icd_i_get_string(arm, "name");
    double median = icd_i_get_real(arm, "p50"), at = 100 * (median - low) / (high - low);
    icd_i_page_raw(page, "<div class=row><span class=name>");
    icd_i_page_text(page, name);
    icd_i_page_raw(page, "</span><span class=\"track tall\">");
    outline(page, arm, arm_class(page, name));
    if (isfinite(at) && at >= 0 && at <= 100)
        icd_i_page_put(page, "<i class=zero style=\"left:%.2f%%\"></i>", at);
    icd_i_page_raw(page, "</span><span class=value>");
    icd_i_page_real(page, median, 3);
    icd_i_page_raw(page, "&nbsp;ms</span></div>\n");
}

static void distribution_axis(icd_page *page, double low, double high)
{
    icd_i_page_raw(page, "<div class=\"row axis\"><span></span><span class=track>");
    for (int i = 0; i <= 4; i++) {
        icd_i_page_put(page, "<b style=\"left:%d%%\">", 25 * i);
        icd_i_page_real(page, low + (high - low) * i / 4, 2);
        icd_i_page_raw(page, "&nbsp;ms</b>");
    }
    icd_i_page_raw(page, "</span><span></span></div>\n");
}

static void quantiles(icd_page *page, const json_t *arms)
{
    static const char *const KEY[] = {"min", "p5", "p25", "p50", "p75", "p95", "max"};
    const json_t *arm = NULL;
    size_t i = 0;
    icd_i_page_raw(page, "<details><summary>Table of quantiles</summary>\n");
    icd_i_page_table(page, "Samples in ms: no sample was dropped, sorted out or scaled",
                     "arm|#least|#5 %|#25 %|#median|#75 %|#95 %|#most|#outliers");
    json_array_foreach(arms, i, arm)
    {
        const char *name = icd_i_get_string(arm, "name");
        icd_i_page_row(page, name);
        for (size_t k = 0; k < sizeof KEY / sizeof KEY[0]; k++)
            icd_i_page_number(page, icd_i_get_real(arm, KEY[k]), 3);
        icd_i_page_count(page, icd_i_get_real(icd_i_page_arm(page, name), "outliers"));
        icd_i_page_row_end(page);
    }
    icd_i_page_table_end(page);
    icd_i_page_raw(page, "</details>\n");
}

static void distributions(icd_page *page, const json_t *samples)
{
    const json_t *arms = json_object_get(samples, "arms"), *arm = NULL;
    double low = icd_i_get_real(samples, "low"), high = icd_i_get_real(samples, "high");
    size_t i = 0;
    if (json_array_size(arms) == 0 || !(high > low)) return;
    icd_i_page_raw(
        page, "<h3>Distribution of the samples</h3><p class=note>Every sample is the "
              "mean of a burst; the line marks the median. The scale ends at the "
              "highest 99th percentile, the table has what lies beyond.</p>\n<div "
              "class=\"chart short\" role=img aria-label=\"Histogram of the samples "
              "of every arm; the table of quantiles has the numbers\">\n");
    json_array_foreach(arms, i, arm) distribution_row(page, arm, low, high);
    distribution_axis(page, low, high);
    icd_i_page_raw(page, "</div>\n");
    quantiles(page, arms);
}

static void widen(const json_t *values, double *low, double *high)
{
    const json_t *value = NULL;
    size_t i = 0;
    json_array_foreach(values, i, value)
    {
        *low = fmin(*low, json_number_value(value));
        *high = fmax(*high, json_number_value(value));
    }
}

static void line(icd_page *page, const json_t *values, const char *class, double low,
                 double high)
{
    const json_t *value = NULL;
    size_t i = 0, n = json_array_size(values);
    if (n < 2 || n > BINS_MOST) return;
    icd_i_page_put(page, "<path class=%s d=\"", class);
    json_array_foreach(values, i, value) icd_i_page_put(
        page, "%s%.2f %.2f", i ? "L" : "M", 100 * (double)i / (double)(n - 1),
        40 * (high - json_number_value(value)) / (high - low));
    icd_i_page_raw(page, "\"/>");
}

static void drift_sentence(icd_page *page, const json_t *drift)
{
    double change = icd_i_get_real(drift, "change"), low = icd_i_get_real(drift, "low"),
           high = icd_i_get_real(drift, "high");
    if (!isfinite(change) || !isfinite(low) || !isfinite(high)) return;
    icd_i_page_put(page, "<p class=note>All arms together changed by %+.1f&nbsp;%% ",
                   100 * change);
    icd_i_page_put(page,
                   "(95&nbsp;%% CI %+.1f to %+.1f&nbsp;%%) from the first block to "
                   "the last",
                   100 * low, 100 * high);
    icd_i_page_raw(page, icd_i_get_bool(drift, "drifting")
                             ? ": the machine drifted. Arms of one block share that, so "
                               "paired changes do not.</p>\n"
                             : ".</p>\n");
}

/* Linear and iterative in the order taken: drift is what both do. */
static void courses(icd_page *page, const json_t *samples)
{
    const json_t *both = json_object_get(samples, "course"),
                 *linear = json_object_get(both, "linear"),
                 *iterative = json_object_get(both, "iterative");
    double low = INFINITY, high = -INFINITY;
    widen(linear, &low, &high);
    widen(iterative, &low, &high);
    if (json_array_size(linear) < 2 || !(high > low)) return;
    icd_i_page_raw(page,
                   "<h3>Course of the measurement</h3>\n<figure class=wide><svg "
                   "class=course viewBox=\"0 0 100 40\" preserveAspectRatio=none "
                   "role=img aria-label=\"Mean time of linear and of iterative over "
                   "the measurement, from ");
    icd_i_page_put(page, "%.3g to %.3g ms\">", low, high);
    line(page, linear, "baseline", low, high);
    line(page, iterative, "candidate", low, high);
    icd_i_page_put(page,
                   "</svg><figcaption><span class=legend><span><i class=\"key "
                   "linear\"></i>linear</span><span><i class=\"key "
                   "iterative\"></i>iterative</span></span> from %.3g",
                   low);
    icd_i_page_put(page, " to %.3g&nbsp;ms", high);
    if (isfinite(icd_i_get_real(samples, "seconds")))
        icd_i_page_put(page, " over %.0f&nbsp;s", icd_i_get_real(samples, "seconds"));
    icd_i_page_raw(page, "</figcaption></figure>\n");
    drift_sentence(page, json_object_get(icd_i_page_get(page, "clock"), "drift"));
}

void icd_i_section_samples(icd_page *page)
{
    const json_t *samples = icd_i_page_get(page, "samples");
    if (json_array_size(json_object_get(samples, "arms")) == 0) return;
    icd_i_page_section(page, "samples", "Samples");
    distributions(page, samples);
    courses(page, samples);
}
