/* sweep.json as a CSV for programs, Markdown for a pull request, and a page. */
#include "report/html.h"

#include "base/file.h"
#include "base/json.h"

#include <icd/report.h>

#include <math.h>
#include <string.h>

static void each_arm(icd_page *page,
                     void (*line)(icd_page *page, const json_t *point, const json_t *arm))
{
    size_t i, k;
    json_t *point, *arm;
    json_array_foreach(icd_i_page_get(page, "points"), i, point)
    {
        const json_t *arms = json_object_get(point, "arms");
        json_array_foreach(arms, k, arm) line(page, point, arm);
        if (!json_array_size(arms)) line(page, point, NULL);
    }
}

static double live_share(const json_t *arm)
{
    double all = icd_i_get_real(arm, "all");
    return all > 0 ? icd_i_get_real(arm, "live") / all : NAN;
}

/* The inside of a quoted field. */
static void escaped(icd_page *page, const char *text)
{
    for (const char *at = text; *at; at++) {
        const char one[2] = {*at, 0};
        icd_i_page_raw(page, *at == '"' ? "\"\"" : one);
    }
}

static void field(icd_page *page, const char *text)
{
    const char *quote = strpbrk(text, ",\"\n\r") ? "\"" : "";
    icd_i_page_raw(page, quote);
    escaped(page, text);
    icd_i_page_raw(page, quote);
}

static void value(icd_page *page, double number)
{
    icd_i_page_raw(page, ",");
    if (isfinite(number)) icd_i_page_put(page, "%.9g", number);
}

static void csv_line(icd_page *page, const json_t *point, const json_t *arm)
{
    static const char *const NUMBER[] = {"lat_ms",          "lat_low",    "lat_high",
                                         "change",          "change_low", "change_high",
                                         "bytes_per_token", "quality"};
    static const char *const TEXT[] = {"run", "outcome", "error"};
    icd_i_page_raw(page, "\"");
    escaped(page, icd_i_get_string(point, "config"));
    icd_i_page_raw(page, arm ? " / " : "");
    escaped(page, icd_i_get_string(arm, "arm"));
    icd_i_page_raw(page, "\"");
    for (size_t i = 0; i < sizeof TEXT / sizeof *TEXT; i++) {
        icd_i_page_raw(page, ",");
        field(page, icd_i_get_string(point, TEXT[i]));
    }
    icd_i_page_raw(page, ",");
    field(page, icd_i_get_string(arm, "arm"));
    icd_i_page_raw(page, ",");
    field(page, icd_i_get_string(arm, "verdict"));
    for (size_t i = 0; i < sizeof NUMBER / sizeof *NUMBER; i++)
        value(page, icd_i_get_real(arm, NUMBER[i]));
    value(page, live_share(arm));
    value(page, icd_i_get_real(point, "retained"));
    value(page, icd_i_get_real(point, "cosine"));
    icd_i_page_raw(page, "\n");
}

static void csv(icd_page *page)
{
    icd_i_page_raw(page, "config,run,outcome,error,arm,verdict,lat_ms,lat_low,lat_high,"
                         "change,change_low,change_high,bytes_per_token,quality,"
                         "live_share,retained,cosine\n");
    each_arm(page, csv_line);
}

static void md_number(icd_page *page, double number, int decimals, double times)
{
    icd_i_page_raw(page, " ");
    if (isfinite(number))
        icd_i_page_put(page, "%.*f", decimals, times * number);
    else
        icd_i_page_raw(page, "-");
    icd_i_page_raw(page, " |");
}

static void md_interval(icd_page *page, const json_t *arm, const char *keys[3],
                        int decimals, double times)
{
    double middle = icd_i_get_real(arm, keys[0]), low = icd_i_get_real(arm, keys[1]),
           high = icd_i_get_real(arm, keys[2]);
    icd_i_page_raw(page, " ");
    if (isfinite(middle))
        icd_i_page_put(page, "%.*f", decimals, times * middle);
    else
        icd_i_page_raw(page, "-");
    if (isfinite(low) && isfinite(high))
        icd_i_page_put(page, " [%.*f, %.*f]", decimals, times * low, decimals,
                       times * high);
    icd_i_page_raw(page, " |");
}

static void md_line(icd_page *page, const json_t *point, const json_t *arm)
{
    const char *error = icd_i_get_string(point, "error");
    icd_i_page_raw(page, "| ");
    icd_i_page_markdown(page, icd_i_get_string(point, "config"));
    icd_i_page_raw(page, " | ");
    icd_i_page_markdown(page, arm ? icd_i_get_string(arm, "arm") : error);
    icd_i_page_raw(page, " |");
    md_number(page, live_share(arm), 1, 100);
    md_number(page, icd_i_get_real(arm, "bytes_per_token"), 0, 1);
    md_interval(page, arm, (const char *[]){"lat_ms", "lat_low", "lat_high"}, 3, 1);
    md_interval(page, arm, (const char *[]){"change", "change_low", "change_high"}, 1,
                100);
    md_number(page, icd_i_get_real(arm, "quality"), 4, 1);
    icd_i_page_raw(page, "\n");
}

static void markdown(icd_page *page)
{
    icd_i_page_raw(page, "## ICD: sweep\n\n| config | arm | live tiles, % | bytes a "
                         "token | ms a step [95 % CI] | against linear, % | quality "
                         "|\n| --- | --- | ---: | ---: | ---: | ---: | ---: |\n");
    each_arm(page, md_line);
    const json_t *first = json_array_get(icd_i_page_get(page, "points"), 0);
    icd_i_page_raw(page, "\nQuality: ");
    icd_i_page_markdown(page, icd_i_get_string(first, "quality_name"));
    icd_i_page_raw(page, ", more is better.\n");
}

/* The change against linear with its interval, in its verdict's colour. */
static void change_cell(icd_page *page, const json_t *arm)
{
    double change = icd_i_get_real(arm, "change"),
           low = icd_i_get_real(arm, "change_low"),
           high = icd_i_get_real(arm, "change_high");
    icd_i_page_put(page, "<td class=\"n %s\">",
                   icd_i_verdict_class(icd_i_get_string(arm, "verdict")));
    if (isfinite(change))
        icd_i_page_put(page, "%+.1f&nbsp;%%", 100 * change);
    else
        icd_i_page_raw(page, "&ndash;");
    if (isfinite(low) && isfinite(high))
        icd_i_page_put(page, " <small>[%+.1f, %+.1f]</small>", 100 * low, 100 * high);
    icd_i_page_raw(page, "</td>");
}

static void html_line(icd_page *page, const json_t *point, const json_t *arm)
{
    icd_i_page_row(page, icd_i_get_string(point, "config"));
    icd_i_page_cell(page, arm ? icd_i_get_string(arm, "arm")
                              : icd_i_get_string(point, "error"));
    icd_i_page_percent(page, live_share(arm), 1);
    icd_i_page_count(page, icd_i_get_real(arm, "bytes_per_token"));
    icd_i_page_number(page, icd_i_get_real(arm, "lat_ms"), 3);
    change_cell(page, arm);
    icd_i_page_number(page, icd_i_get_real(arm, "quality"), 4);
    icd_i_page_row_end(page);
}

static void runs_line(icd_page *page)
{
    size_t i;
    json_t *point;
    icd_i_page_raw(page, "<p>Reports of the runs: ");
    json_array_foreach(icd_i_page_get(page, "points"), i, point)
    {
        if (*icd_i_get_string(point, "error")) continue;
        icd_i_page_raw(page, "<a href=\"");
        icd_i_page_text(page, icd_i_get_string(point, "run"));
        icd_i_page_raw(page, "/report.html\">");
        icd_i_page_text(page, icd_i_get_string(point, "config"));
        icd_i_page_raw(page, "</a> ");
    }
    icd_i_page_raw(page, "</p>\n");
}

static void html(icd_page *page)
{
    const json_t *points = icd_i_page_get(page, "points");
    icd_i_page_head(page, "ICD sweep");
    icd_i_page_raw(page, "<main>\n<h1>Sweep</h1>\n");
    icd_i_page_put(page, "<p>%zu of %.0f combinations are finished.</p>\n",
                   json_array_size(points),
                   json_number_value(icd_i_page_get(page, "combinations")));
    icd_i_section_sweep(page);
    icd_i_page_section(page, "all", "Every arm of every combination");
    icd_i_page_table(page, "Arms; changes are paired, against linear of the same run",
                     "config|arm|#live tiles|#bytes a token|#ms a step|#against "
                     "linear|#quality");
    each_arm(page, html_line);
    icd_i_page_table_end(page);
    icd_i_page_raw(page, "<p>Quality: ");
    icd_i_page_text(page, icd_i_get_string(json_array_get(points, 0), "quality_name"));
    icd_i_page_raw(page, ", more is better.</p>\n");
    runs_line(page);
    icd_i_page_raw(page, "</main></body></html>\n");
}

icd_status icd_report_sweep(icd_ctx *ctx, const char *dir)
{
    static const icd_page_format FORMAT[] = {{"csv", "sweep.csv", csv, NULL},
                                             {"md", "sweep.md", markdown, NULL},
                                             {"html", "sweep.html", html, NULL}};
    return icd_i_pages_write(ctx, dir, "sweep.json", FORMAT, 3, UINT32_MAX);
}
