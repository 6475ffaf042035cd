/* What was timed: changes with their intervals, latencies, and both as tables. */
#include "report/html.h"

#include <math.h>
#include <string.h>

/* What a chart shows from edge to edge, with a tick every `step`. */
typedef struct scale {
    double low, high, step;
} scale;

/* 1, 2 or 5 times a power of ten, so that about five steps fit. */
static double round_step(double span)
{
    double raw = span / 5, power = pow(10, floor(log10(raw))), lead = raw / power;
    return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
}

static bool scale_fit(scale *s)
{
    double span = s->high - s->low;
    if (!(span > 0) || !isfinite(span)) return false;
    s->step = round_step(span);
    s->low = floor(s->low / s->step) * s->step;
    s->high = ceil(s->high / s->step) * s->step;
    return true;
}

static void scale_include(scale *s, double value)
{
    if (!isfinite(value)) return;
    s->low = fmin(s->low, value);
    s->high = fmax(s->high, value);
}

static double place(const scale *s, double value)
{
    double percent = 100 * (value - s->low) / (s->high - s->low);
    return isfinite(percent) ? fmin(100, fmax(0, percent)) : 0;
}

static void put_span(icd_page *page, const char *class, double from, double to)
{
    icd_i_page_put(page, "<i class=\"%s\" style=\"left:%.2f%%;width:%.2f%%\"></i>", class,
                   from, fmax(0, to - from));
}

static void axis(icd_page *page, const scale *s, double factor, const char *unit)
{
    int decimals = s->step * factor < 1 ? 1 : 0;
    icd_i_page_raw(page, "<div class=\"row axis\"><span></span><span class=track>");
    for (int i = 0; i <= 12 && s->low + i * s->step <= s->high + s->step / 2; i++) {
        double value = s->low + i * s->step;
        icd_i_page_put(page, "<b style=\"left:%.2f%%\">", place(s, value));
        icd_i_page_real(page, value * factor + 0.0, decimals);
        icd_i_page_put(page, "%s</b>", unit);
    }
    icd_i_page_raw(page, "</span><span></span></div>\n");
}

static void change_row(icd_page *page, const json_t *row, const scale *s)
{
    double delta = icd_i_get_real(row, "delta"), low = icd_i_get_real(row, "low"),
           high = icd_i_get_real(row, "high");
    const char *verdict = icd_i_page_verdict(page, row),
               *class = icd_i_verdict_class(verdict);
    icd_i_page_raw(page, "<div class=row><span class=name>");
    icd_i_page_text(page, icd_i_get_string(row, "b"));
    icd_i_page_raw(page, " <small>against ");
    icd_i_page_text(page, icd_i_get_string(row, "a"));
    icd_i_page_raw(page, "</small></span><span class=track>");
    put_span(page, "band", place(s, -.01), place(s, .01));
    icd_i_page_put(page, "<i class=zero style=\"left:%.2f%%\"></i>", place(s, 0));
    if (isfinite(low) && isfinite(high)) {
        icd_i_page_put(page, "<i class=\"ci %s\" ", class);
        icd_i_page_put(page, "style=\"left:%.2f%%;width:%.2f%%\"></i>", place(s, low),
                       fmax(0, place(s, high) - place(s, low)));
    }
    if (isfinite(delta))
        icd_i_page_put(page, "<i class=\"dot %s\" style=\"left:%.2f%%\"></i>", class,
                       place(s, delta));
    icd_i_page_raw(page, delta > 0 && isfinite(100 * delta)
                             ? "</span><span class=value>+"
                             : "</span><span class=value>");
    icd_i_page_real(page, 100 * delta, 1);
    icd_i_page_put(page, "&nbsp;%% <small class=\"%s\">", class);
    icd_i_page_text(page, verdict);
    icd_i_page_raw(page, "</small></span></div>\n");
}

/* A forest plot: left of zero is faster. */
static void changes_chart(icd_page *page, const json_t *rows)
{
    const json_t *row = NULL;
    size_t i = 0;
    scale s = {-.02, .02, 0};
    json_array_foreach(rows, i, row)
    {
        scale_include(&s, icd_i_get_real(row, "delta"));
        scale_include(&s, icd_i_get_real(row, "low"));
        scale_include(&s, icd_i_get_real(row, "high"));
    }
    if (json_array_size(rows) == 0 || !scale_fit(&s)) return;
    icd_i_page_raw(page,
                   "<h3>Change of the time a step takes</h3><p class=note>Dot: paired "
                   "change; bar: its 95&nbsp;% interval; left of the line is faster. "
                   "Inside the shaded &plusmn;1&nbsp;% two arms count as the same.</p>\n"
                   "<div class=chart role=img aria-label=\"Change of latency of every "
                   "pair of arms with its 95 percent interval; the table of paired "
                   "comparisons has the same numbers\">\n");
    json_array_foreach(rows, i, row) change_row(page, row, &s);
    axis(page, &s, 100, "&nbsp;%");
    icd_i_page_raw(page, "</div>\n");
}

/* A role as a class that style.c knows. */
static const char *role_class(const json_t *arm)
{
    static const char *const KNOWN[] = {"baseline", "candidate", "alternative"};
    const char *role = icd_i_get_string(arm, "role");
    for (size_t i = 0; i < sizeof KNOWN / sizeof KNOWN[0]; i++)
        if (!strcmp(role, KNOWN[i])) return KNOWN[i];
    return "control";
}

static void latency_row(icd_page *page, const json_t *arm, const scale *s)
{
    const json_t *lat = json_object_get(arm, "lat_ms");
    double value = icd_i_metric_value(lat), low = icd_i_get_real(lat, "low"),
           high = icd_i_get_real(lat, "high");
    icd_i_page_raw(page, "<div class=row><span class=name>");
    icd_i_page_text(page, icd_i_get_string(arm, "name"));
    icd_i_page_raw(page, "</span><span class=track>");
    if (isfinite(value))
        icd_i_page_put(page, "<i class=\"bar %s\" style=\"width:%.2f%%\"></i>",
                       role_class(arm), place(s, value));
    if (isfinite(value) && isfinite(low) && isfinite(high))
        put_span(page, "whisker", place(s, low), place(s, high));
    icd_i_page_raw(page, "</span><span class=value>");
    icd_i_page_real(page, value, 3);
    icd_i_page_raw(page, isfinite(value) ? "&nbsp;ms</span></div>\n"
                                         : " <small>absent</small></span></div>\n");
}

static void latency_chart(icd_page *page, const json_t *arms)
{
    const json_t *arm = NULL;
    size_t i = 0;
    scale s = {0, 0, 0};
    json_array_foreach(arms, i, arm)
    {
        const json_t *lat = json_object_get(arm, "lat_ms");
        if (!isfinite(icd_i_metric_value(lat))) continue;
        scale_include(&s, icd_i_metric_value(lat));
        scale_include(&s, icd_i_get_real(lat, "high"));
    }
    if (!scale_fit(&s)) return;
    icd_i_page_raw(page, "<h3>Time of a step</h3>\n<div class=\"chart short\" role=img "
                         "aria-label=\"Mean latency of every arm with its 95 percent "
                         "interval; the table of arms has the same numbers\">\n");
    json_array_foreach(arms, i, arm) latency_row(page, arm, &s);
    axis(page, &s, 1, "&nbsp;ms");
    icd_i_page_raw(page, "</div>\n");
}

static void arm_row(icd_page *page, const json_t *arm)
{
    double live = icd_i_get_real(arm, "live"), all = icd_i_get_real(arm, "all");
    icd_i_page_row(page, icd_i_get_string(arm, "name"));
    icd_i_page_cell(page, icd_i_get_string(arm, "role"));
    icd_i_page_cell(page, icd_i_get_string(arm, "kernel"));
    icd_i_page_metric(page, json_object_get(arm, "lat_ms"), 3);
    icd_i_page_number(page, icd_i_get_real(arm, "p50_ms"), 3);
    icd_i_page_number(page, icd_i_get_real(arm, "p95_ms"), 3);
    icd_i_page_count(page, icd_i_metric_value(json_object_get(arm, "toks_per_s")));
    icd_i_page_count(page, icd_i_get_real(arm, "repeats"));
    icd_i_page_percent(page, all > 0 ? live / all : NAN, 1);
    icd_i_page_number(page, icd_i_get_real(arm, "bytes") / 1e6, 2);
    icd_i_page_row_end(page);
}

static void arms_table(icd_page *page, const json_t *arms)
{
    const json_t *arm = NULL;
    size_t i = 0;
    icd_i_page_table(
        page,
        "Arms: mean per step with the 95 % interval of the mean; L2, DRAM and "
        "energy stand with the metrics below",
        "arm|role|kernel|#mean ms|#p50|#p95|#tokens/s|#samples|#live|#MB");
    json_array_foreach(arms, i, arm) arm_row(page, arm);
    icd_i_page_table_end(page);
}

static const char *absence(const icd_page *page, const json_t *arm, const char *key)
{
    const json_t *metric = json_object_get(arm, key);
    const char *reason = icd_i_get_string(metric, "reason"),
               *stopped = icd_i_get_string(page->metrics, "stopped");
    if (isfinite(icd_i_metric_value(metric))) return NULL;
    if (*reason) return reason;
    return *stopped ? stopped : "no reason was recorded";
}

/* Whether an arm before `end` lacks the metric for the same reason. */
static bool said_before(const icd_page *page, const json_t *arms, size_t end,
                        const char *key, const char *reason)
{
    for (size_t i = 0; i < end; i++) {
        const char *other = absence(page, json_array_get(arms, i), key);
        if (other && !strcmp(other, reason)) return true;
    }
    return false;
}

/* "in every arm", or the names of those that lack the metric for this reason. */
static void name_arms(icd_page *page, const json_t *arms, const char *key,
                      const char *reason)
{
    const json_t *arm = NULL;
    size_t i = 0, count = 0, said = 0;
    json_array_foreach(arms, i, arm)
    {
        const char *other = absence(page, arm, key);
        count += other && !strcmp(other, reason);
    }
    if (count == json_array_size(arms)) {
        icd_i_page_raw(page, " in every arm");
        return;
    }
    json_array_foreach(arms, i, arm)
    {
        const char *other = absence(page, arm, key);
        if (!other || strcmp(other, reason) != 0) continue;
        icd_i_page_raw(page, said++ ? ", " : " in ");
        icd_i_page_text(page, icd_i_get_string(arm, "name"));
    }
}

/* One sentence per reason for which a metric is absent, with the arms it holds for. */
static void absent_note(icd_page *page, const json_t *arms, const char *key,
                        const char *name)
{
    const json_t *arm = NULL;
    size_t i = 0;
    json_array_foreach(arms, i, arm)
    {
        const char *reason = absence(page, arm, key);
        if (!reason || said_before(page, arms, i, key, reason)) continue;
        icd_i_page_put(page, "<p class=note>%s: absent", name);
        name_arms(page, arms, key, reason);
        icd_i_page_raw(page, ", ");
        icd_i_page_short_reason(page, reason);
        icd_i_page_raw(page, ".</p>\n");
    }
}

static void comparisons_table(icd_page *page, const json_t *rows)
{
    const json_t *row = NULL;
    size_t i = 0;
    if (json_array_size(rows) == 0) return;
    icd_i_page_table(page,
                     "Paired comparisons over interleaving blocks; delta is the change "
                     "of b against a, 95 % BCa bootstrap interval",
                     "b|against a|#delta|#low|#high|verdict|#p|#Hedges g|#blocks");
    json_array_foreach(rows, i, row)
    {
        icd_i_page_row(page, icd_i_get_string(row, "b"));
        icd_i_page_cell(page, icd_i_get_string(row, "a"));
        icd_i_page_percent(page, icd_i_get_real(row, "delta"), 2);
        icd_i_page_percent(page, icd_i_get_real(row, "low"), 2);
        icd_i_page_percent(page, icd_i_get_real(row, "high"), 2);
        icd_i_page_cell(page, icd_i_page_verdict(page, row));
        icd_i_page_number(page, icd_i_get_real(row, "p_value"), 4);
        icd_i_page_number(page, icd_i_get_real(row, "hedges_g"), 2);
        icd_i_page_count(page, icd_i_get_real(row, "blocks"));
        icd_i_page_row_end(page);
    }
    icd_i_page_table_end(page);
}

void icd_i_section_arms(icd_page *page)
{
    const json_t *arms = icd_i_page_get(page, "arms"),
                 *rows = icd_i_page_get(page, "comparisons");
    const char *stopped = icd_i_get_string(page->metrics, "stopped");
    icd_i_page_section(page, "arms", "Arms");
    if (json_array_size(arms) == 0) {
        icd_i_page_raw(page, "<p>No arm was built: nothing was measured.</p>\n");
        return;
    }
    icd_i_page_raw(
        page, "<p>Every arm computes the same numbers from the same masks; only the "
              "order of memory and the kernel differ. <em>dense pi1</em> and <em>dense "
              "random</em> are the negative control: both pay for writing through an "
              "order, and a dense kernel cannot tell which. <em>linear A/A</em> is a "
              "second copy of <em>linear</em>.</p>\n");
    changes_chart(page, rows);
    latency_chart(page, arms);
    arms_table(page, arms);
    absent_note(page, arms, "lat_ms", "Latency");
    absent_note(page, arms, "l2_hit_pct", "L2 hit rate");
    absent_note(page, arms, "ept_j_per_tok", "Energy per token");
    comparisons_table(page, rows);
    if (!*stopped) return;
    icd_i_page_raw(page, "<p class=note>End of the measurement: ");
    icd_i_page_text(page, stopped);
    icd_i_page_raw(page, ".</p>\n");
}
