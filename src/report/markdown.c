/* report.md: what a pull request should say about a run. */
#include "report/html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void icd_i_page_markdown(icd_page *page, const char *text)
{
    for (const char *at = text; at && *at; at++) {
        char one[8] = {*at, 0};
        if ((unsigned char)*at < 0x20) one[0] = ' ';
        if (strchr("|<>&`*_\\[]#~", *at)) {
            one[0] = '\\';
            one[1] = *at;
        }
        icd_i_page_raw(page, one);
    }
}

static const char *outcome_words(const char *outcome)
{
    static const char *const TABLE[][2] = {{"kept", "pi1 kept"},
                                           {"rolled_back", "rolled back"},
                                           {"not_measured", "not measured"},
                                           {"dry_run", "dry run"}};
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++)
        if (!strcmp(outcome, TABLE[i][0])) return TABLE[i][1];
    return "outcome unknown";
}

static void head(icd_page *page)
{
    const json_t *line = NULL;
    size_t i = 0;
    const char *cause = icd_i_get_string(page->metrics, "cause");
    icd_i_page_put(page, "## ICD: %s\n\n",
                   outcome_words(icd_i_get_string(page->metrics, "outcome")));
    json_array_foreach(icd_i_page_get(page, "verdict"), i, line)
    {
        if (!json_string_length(line)) continue;
        icd_i_page_raw(page, i ? "" : "**");
        icd_i_page_markdown(page, json_string_value(line));
        icd_i_page_raw(page, i ? "\n\n" : "**\n\n");
    }
    if (!*cause) return;
    icd_i_page_raw(page, "> Cause: ");
    icd_i_page_markdown(page, cause);
    icd_i_page_raw(page, "\n\n");
}

static void cell(icd_page *page, const char *text)
{
    icd_i_page_raw(page, " ");
    icd_i_page_markdown(page, *text ? text : "-");
    icd_i_page_raw(page, " |");
}

static void gates(icd_page *page)
{
    static const char *const KEY[] = {"name", "target", "found", "result", "reason"};
    const json_t *rows = icd_i_page_get(page, "gates"), *row = NULL;
    size_t i = 0;
    if (json_array_size(rows) == 0) return;
    icd_i_page_raw(page, "| gate | target | found | result | why |\n"
                         "| --- | --- | --- | --- | --- |\n");
    json_array_foreach(rows, i, row)
    {
        icd_i_page_raw(page, "|");
        for (size_t k = 0; k < sizeof KEY / sizeof KEY[0]; k++)
            cell(page, icd_i_get_string(row, KEY[k]));
        icd_i_page_raw(page, "\n");
    }
    icd_i_page_raw(page, "\n");
}

static void number(icd_page *page, double value, int decimals, const char *unit)
{
    if (isfinite(value))
        icd_i_page_put(page, " %.*f%s |", decimals, value, unit);
    else
        icd_i_page_raw(page, " - |");
}

static void arms(icd_page *page)
{
    const json_t *rows = icd_i_page_get(page, "arms"), *row = NULL;
    size_t i = 0;
    if (json_array_size(rows) == 0) return;
    icd_i_page_raw(page, "<details><summary>Arms</summary>\n\n| arm | role | ms a step | "
                         "against linear | 95 % CI | MB |\n| --- | --- | ---: | ---: | "
                         "---: | ---: |\n");
    json_array_foreach(rows, i, row)
    {
        const char *name = icd_i_get_string(row, "name");
        const json_t *c = icd_i_page_comparison(page, "linear", name);
        double low = 100 * icd_i_get_real(c, "low"),
               high = 100 * icd_i_get_real(c, "high");
        icd_i_page_raw(page, "|");
        cell(page, name);
        cell(page, icd_i_get_string(row, "role"));
        number(page, icd_i_metric_value(json_object_get(row, "lat_ms")), 3, "");
        number(page, 100 * icd_i_get_real(c, "delta"), 1, " %");
        if (isfinite(low) && isfinite(high))
            icd_i_page_put(page, " %+.1f to %+.1f %% |", low, high);
        else
            icd_i_page_raw(page, " - |");
        number(page, icd_i_get_real(row, "bytes") / 1e6, 2, "");
        icd_i_page_raw(page, "\n");
    }
    icd_i_page_raw(page, "\n</details>\n");
}

void icd_i_markdown(icd_page *page)
{
    const json_t *model = icd_i_page_get(page, "model"),
                 *environment = icd_i_page_get(page, "environment");
    head(page);
    gates(page);
    icd_i_markdown_rounds(page);
    arms(page);
    icd_i_page_raw(page, "\n");
    icd_i_page_markdown(page, icd_i_get_string(model, "name"));
    icd_i_page_raw(page, " on ");
    icd_i_page_markdown(page, icd_i_get_string(environment, "cpu"));
    icd_i_page_raw(page, ", configuration ");
    icd_i_page_markdown(page, icd_i_get_string(environment, "config_hash"));
    icd_i_page_raw(page, "\n");
}
