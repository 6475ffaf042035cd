/* How the run went, where, and how to do it again. */
#include "report/html.h"

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

static void overhead_line(icd_page *page, const json_t *overhead)
{
    double percent = 100 * icd_i_get_real(overhead, "event_share");
    if (!isfinite(percent)) return;
    icd_i_page_raw(page, "<p class=note>Events cost ");
    icd_i_page_put(page, "%.2g&nbsp;%% of the run's time (", percent);
    icd_i_page_real(page, icd_i_get_real(overhead, "events"), 0);
    icd_i_page_raw(page, " of them).</p>\n");
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

static void files_line(icd_page *page)
{
    static const char *const NAME[] = {
        "metrics.json",     "samples.csv",         "report.csv", "config.lock.json",
        "perm_active.json", "transform_meta.json", "run.log"};
    icd_i_page_raw(page, "<p>Raw data beside this file, as far as the run came: ");
    for (size_t i = 0; i < sizeof NAME / sizeof NAME[0]; i++)
        icd_i_page_put(page, "%s<a href=%s>%s</a>", i ? ", " : "", NAME[i], NAME[i]);
    icd_i_page_raw(page, ".</p>\n");
}

void icd_i_section_environment(icd_page *page)
{
    icd_i_page_section(page, "environment", "Stages and environment");
    states_line(page, icd_i_page_get(page, "state"));
    stages_table(page, icd_i_page_get(page, "stages"));
    overhead_line(page, icd_i_page_get(page, "overhead"));
    environment_list(page, icd_i_page_get(page, "environment"));
    reproduce(page, icd_i_page_get(page, "reproduce"));
    files_line(page);
}
