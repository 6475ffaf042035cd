/* How the run went, where, and how to do it again. */
#include "report/html.h"

#include "base/file.h"

#include <math.h>

static void states_line(icd_page *page, const json_t *states)
{
    const json_t *state = NULL;
    size_t i = 0;
    if (json_array_size(states) == 0) return;
    icd_i_page_raw(page, "<p>");
    json_array_foreach(states, i, state)
    {
        icd_i_page_raw(page, i ? " &rarr; " : "");
        icd_i_page_text(page, json_string_value(state));
    }
    icd_i_page_raw(page, "</p>\n");
}

static void stages_table(icd_page *page, const json_t *rows)
{
    const json_t *row = NULL;
    size_t i = 0;
    if (json_array_size(rows) == 0) return;
    icd_i_page_table(page, "Stages", "stage|#seconds|result|cache");
    json_array_foreach(rows, i, row)
    {
        icd_i_page_row(page, icd_i_get_string(row, "stage"));
        icd_i_page_number(page, icd_i_get_real(row, "seconds"), 2);
        icd_i_page_raw(page, icd_i_get_bool(row, "ok") ? "<td>ok</td>"
                                                       : "<td class=bad>failed</td>");
        icd_i_page_cell(page, icd_i_get_bool(row, "cached") ? "reused" : "");
        icd_i_page_row_end(page);
    }
    icd_i_page_table_end(page);
}

/* What observing cost, beside what it may. */
static void overhead_line(icd_page *page, const json_t *overhead)
{
    double events = 100 * icd_i_get_real(overhead, "event_share"),
           all = 100 * icd_i_get_real(overhead, "instrumentation_share"),
           clock = icd_i_metric_value(json_object_get(overhead, "clock_overhead"));
    if (!isfinite(events)) return;
    icd_i_page_raw(page, "<p class=note>Events cost ");
    icd_i_page_put(page, "%.2g&nbsp;%% of the run's time (", events);
    icd_i_page_real(page, icd_i_get_real(overhead, "events"), 0);
    icd_i_page_put(page, " of them; at most 1&nbsp;%%: %s)",
                   events < 1 ? "kept" : "missed");
    if (isfinite(clock))
        icd_i_page_put(page, ", readings of the clock %.2g&nbsp;%% of the measurement",
                       clock);
    if (isfinite(all))
        icd_i_page_put(page,
                       ", all observing together %.2g&nbsp;%% of the run (at most "
                       "5&nbsp;%%: %s)",
                       all, all < 5 ? "kept" : "missed");
    icd_i_page_raw(page, ".</p>\n");
}

static void environment_list(icd_page *page, const json_t *environment)
{
    const char *key = NULL;
    json_t *value = NULL;
    icd_i_page_raw(page, "<dl class=facts>");
    json_object_foreach((json_t *)environment, key, value)
    {
        icd_i_page_raw(page, "<dt>");
        icd_i_page_text(page, key);
        icd_i_page_raw(page, "</dt><dd>");
        if (json_is_string(value))
            icd_i_page_text(page, json_string_value(value));
        else if (json_is_number(value))
            icd_i_page_put(page, "%.10g", json_number_value(value));
        else
            icd_i_page_raw(page, json_is_true(value)    ? "yes"
                                 : json_is_false(value) ? "no"
                                                        : "&ndash;");
        icd_i_page_raw(page, "</dd>");
    }
    icd_i_page_raw(page, "</dl>\n");
}

static void reproduce(icd_page *page, const json_t *lines)
{
    const json_t *line = NULL;
    size_t i = 0;
    if (json_array_size(lines) == 0) return;
    icd_i_page_raw(page, "<h3>Reproduce</h3><pre>");
    json_array_foreach(lines, i, line)
    {
        icd_i_page_text(page, json_string_value(line));
        icd_i_page_raw(page, "\n");
    }
    icd_i_page_raw(page, "</pre>\n");
}

/* How the clocks stood; what the kernel does not tell is said to be so. */
static void clock_text(icd_page *page, const json_t *clock, const char *key,
                       const char *name)
{
    const char *value = icd_i_get_string(clock, key);
    icd_i_page_put(page, "<dt>%s</dt><dd>", name);
    icd_i_page_text(page, *value ? value : "not told by the kernel");
    icd_i_page_raw(page, "</dd>");
}

static void clock_speed(icd_page *page, const json_t *clock)
{
    const json_t *mhz = json_object_get(clock, "core_mhz");
    double low = json_number_value(json_array_get(mhz, 0)),
           mean = json_number_value(json_array_get(mhz, 1)),
           high = json_number_value(json_array_get(mhz, 2));
    if (!(mean > 0)) return;
    icd_i_page_put(page,
                   "<dt>core, before bursts</dt><dd>%.0f MHz on average (%.0f to "
                   "%.0f)</dd>",
                   mean, low, high);
}

/* Samples during which the kernel gave a CPU to somebody else. */
static void interruptions(icd_page *page, const json_t *clock)
{
    double count = icd_i_get_real(clock, "interrupted");
    if (count >= 0) /* an older file does not tell */
        icd_i_page_put(
            page, "<dt>interrupted by other programs</dt><dd>%.0f samples</dd>", count);
}

static void clock_list(icd_page *page, const json_t *clock)
{
    double throttled = icd_i_get_real(clock, "throttled"),
           tsc = icd_i_get_real(clock, "tsc_mhz");
    if (!json_is_object(clock)) return;
    icd_i_page_raw(page, "<h3>Clocks while samples were taken</h3><dl class=facts>");
    clock_text(page, clock, "mode", "mode");
    clock_text(page, clock, "criterion", "ended by");
    clock_text(page, clock, "pinned", "CPUs");
    clock_text(page, clock, "governor", "governor");
    clock_text(page, clock, "boost", "boost");
    icd_i_page_raw(page, "<dt>thermal throttling</dt><dd>");
    if (throttled >= 0)
        icd_i_page_put(page, "%.0f events", throttled);
    else
        icd_i_page_raw(page, "not told by the kernel");
    icd_i_page_raw(page, "</dd>");
    interruptions(page, clock);
    clock_speed(page, clock);
    if (tsc > 0) {
        icd_i_page_put(page,
                       "<dt>time-stamp counter</dt><dd>%.1f MHz%s, no block further "
                       "than ",
                       tsc, icd_i_get_bool(clock, "tsc_invariant") ? ", invariant" : "");
        icd_i_page_real(page, icd_i_get_real(clock, "tsc_worst_ppm"), 1);
        icd_i_page_raw(page, " ppm from CLOCK_MONOTONIC_RAW</dd>");
    }
    icd_i_page_raw(page, "</dl>\n");
}

static bool is_here(icd_page *page, const char *name)
{
    char *path = NULL;
    bool here = icd_i_path_join(page->ctx, page->dir, name, &path) == ICD_OK &&
                icd_i_file_exists(path);
    icd_i_free(page->ctx, path);
    return here;
}

/* Links to what is there; report.csv is written right behind this page. */
static void files_line(icd_page *page)
{
    static const char *const NAME[] = {
        "metrics.json",        "samples.csv",     "config.lock.json",
        "perm_before.json",    "perm_after.json", "perm_active.json",
        "transform_meta.json", "arms.json",       "meters.json",
        "power.csv",           "ncu.csv",         "quality.json",
        "calibration.json",    "sweep.csv",       "run.log"};
    icd_i_page_raw(page, "<p>Raw data beside this file: <a "
                         "href=report.csv>report.csv</a>");
    for (size_t i = 0; i < sizeof NAME / sizeof NAME[0]; i++)
        if (is_here(page, NAME[i]))
            icd_i_page_put(page, ", <a href=%s>%s</a>", NAME[i], NAME[i]);
    icd_i_page_raw(page, ".</p>\n");
}

/* Why readings are absent, and what would bring them, in full. */
static void absent_list(icd_page *page)
{
    static const char *const METRIC[][2] = {{"lat_ms", "Latency"},
                                            {"l2_hit_pct", "L2 hit rate"},
                                            {"dram_bytes", "DRAM bytes"},
                                            {"ept_j_per_tok", "Energy per token"}};
    const json_t *linear = icd_i_page_arm(page, "linear");
    bool any = false;
    for (size_t i = 0; i < sizeof METRIC / sizeof *METRIC; i++) {
        const json_t *metric = json_object_get(linear, METRIC[i][0]);
        const char *reason = icd_i_get_string(metric, "reason");
        if (!*reason || isfinite(icd_i_metric_value(metric))) continue;
        if (!any)
            icd_i_page_raw(page, "<details open><summary>What is absent, and "
                                 "how to get it</summary><dl class=facts>");
        any = true;
        icd_i_page_put(page, "<dt>%s</dt><dd>", METRIC[i][1]);
        icd_i_page_text(page, reason);
        icd_i_page_raw(page, "</dd>");
    }
    if (any) icd_i_page_raw(page, "</dl></details>\n");
}

void icd_i_section_environment(icd_page *page)
{
    icd_i_page_section(page, "environment", "Stages and environment");
    states_line(page, icd_i_page_get(page, "state"));
    stages_table(page, icd_i_page_get(page, "stages"));
    overhead_line(page, icd_i_page_get(page, "overhead"));
    environment_list(page, icd_i_page_get(page, "environment"));
    clock_list(page, icd_i_page_get(page, "clock"));
    absent_list(page);
    reproduce(page, icd_i_page_get(page, "reproduce"));
    files_line(page);
}
