/* A comparison of runs for people: a terminal, a pull request, a page. */
#include <icd/compare.h>

#include "base/json.h"
#include "report/html.h"

#include <locale.h>
#include <math.h>
#include <string.h>

enum { COLUMN = 24, CELL = 96 };

/* Escapes for the format. */
static void put_text(icd_page *p, icd_compare_format f, const char *text)
{
    if (f == ICD_COMPARE_HTML) {
        icd_i_page_text(p, text);
    } else if (f == ICD_COMPARE_MARKDOWN) {
        icd_i_page_markdown(p, text);
    } else {
        for (const char *at = text; *at; at++) {
            const char one[2] = {(unsigned char)*at < 0x20 ? ' ' : *at, 0};
            icd_i_page_raw(p, one);
        }
    }
}

/* Bytes that are not the middle of a UTF-8 character. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++) width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void cell(icd_page *p, icd_compare_format f, const char *text, bool head)
{
    if (f == ICD_COMPARE_HTML) icd_i_page_raw(p, head ? "<th scope=col>" : "<td>");
    if (f == ICD_COMPARE_MARKDOWN) icd_i_page_raw(p, " ");
    put_text(p, f, text);
    if (f == ICD_COMPARE_HTML) icd_i_page_raw(p, head ? "</th>" : "</td>");
    if (f == ICD_COMPARE_MARKDOWN) icd_i_page_raw(p, " |");
    if (f == ICD_COMPARE_TEXT)
        for (int w = width_of(text); w < COLUMN; w++) icd_i_page_raw(p, " ");
}

static void row(icd_page *p, icd_compare_format f, bool begin)
{
    static const char *const BEGIN[] = {"", "|", "<tr>"}, *const END[] = {"\n", "\n",
                                                                          "</tr>\n"};
    icd_i_page_raw(p, begin ? BEGIN[f] : END[f]);
}

static void table_begin(icd_page *p, icd_compare_format f, const char *caption)
{
    if (f == ICD_COMPARE_HTML) {
        icd_i_page_raw(p, "<div class=scroll tabindex=0><table><caption>");
        put_text(p, f, caption);
        icd_i_page_raw(p, "</caption><thead>");
    } else {
        icd_i_page_raw(p, f == ICD_COMPARE_MARKDOWN ? "\n**" : "\n");
        icd_i_page_raw(p, caption);
        icd_i_page_raw(p, f == ICD_COMPARE_MARKDOWN ? "**\n\n" : "\n");
    }
    row(p, f, true);
}

/* Behind the header cells. */
static void table_body(icd_page *p, icd_compare_format f, size_t columns)
{
    row(p, f, false);
    if (f == ICD_COMPARE_HTML) icd_i_page_raw(p, "</thead><tbody>\n");
    if (f != ICD_COMPARE_MARKDOWN) return;
    icd_i_page_raw(p, "|");
    for (size_t i = 0; i < columns; i++) icd_i_page_raw(p, " --- |");
    icd_i_page_raw(p, "\n");
}

static void table_end(icd_page *p, icd_compare_format f)
{
    if (f == ICD_COMPARE_HTML) icd_i_page_raw(p, "</tbody></table></div>\n");
}

/* "-31.0 % [-33.0, -29.0] FASTER" of {"delta", "low", "high", "verdict"}; "-" for null.
 */
static void change_words(const json_t *d, const char *tail, char out[CELL])
{
    double delta = icd_i_get_real(d, "delta");
    snprintf(out, CELL, "-");
    if (isfinite(delta))
        snprintf(out, CELL, "%+.1f %% [%+.1f, %+.1f] %.24s", 100 * delta,
                 100 * icd_i_get_real(d, "low"), 100 * icd_i_get_real(d, "high"),
                 icd_i_get_string(d, tail));
}

static void runs_table(icd_page *p, icd_compare_format f, const json_t *runs)
{
    const json_t *run = NULL;
    size_t i = 0;
    char text[CELL];
    static const char *const HEAD[] = {"run", "outcome", "iterative against linear"};
    table_begin(p, f, "Gain inside each run (paired, interleaved)");
    for (int k = 0; k < 3; k++) cell(p, f, HEAD[k], true);
    table_body(p, f, 3);
    json_array_foreach(runs, i, run)
    {
        row(p, f, true);
        cell(p, f, icd_i_get_string(run, "run"), false);
        cell(p, f, icd_i_get_string(run, "outcome"), false);
        change_words(json_object_get(run, "gain"), "verdict", text);
        cell(p, f, text, false);
        row(p, f, false);
    }
    table_end(p, f);
}

static void arm_cell(icd_page *p, icd_compare_format f, const json_t *here)
{
    char text[CELL], change[CELL];
    double ms = icd_i_get_real(here, "ms");
    const json_t *d = json_object_get(here, "against_first");
    snprintf(text, sizeof text, "-");
    change_words(d, "", change);
    if (isfinite(ms) && json_is_object(d))
        snprintf(text, sizeof text, "%.3f ms %.60s", ms, change);
    else if (isfinite(ms))
        snprintf(text, sizeof text, "%.3f ms", ms);
    cell(p, f, text, false);
}

static void arms_table(icd_page *p, icd_compare_format f, const json_t *runs,
                       const json_t *arms)
{
    const json_t *run = NULL, *arm = NULL, *here = NULL;
    size_t i = 0, k = 0;
    table_begin(p, f,
                "Time of a step, and its change against the first run (not interleaved: "
                "it holds whatever changed between the runs)");
    cell(p, f, "arm", true);
    json_array_foreach(runs, i, run) cell(p, f, icd_i_get_string(run, "run"), true);
    table_body(p, f, 1 + json_array_size(runs));
    json_array_foreach(arms, i, arm)
    {
        row(p, f, true);
        cell(p, f, icd_i_get_string(arm, "arm"), false);
        json_array_foreach(json_object_get(arm, "runs"), k, here) arm_cell(p, f, here);
        row(p, f, false);
    }
    table_end(p, f);
}

static void baseline_table(icd_page *p, icd_compare_format f, const json_t *baseline)
{
    const json_t *arm = NULL;
    size_t i = 0;
    char caption[CELL], text[CELL];
    bool relative = icd_i_get_bool(baseline, "relative");
    static const char *const HEAD[] = {"arm", "baseline", "now", "change", "result"};
    if (!baseline) return;
    snprintf(caption, sizeof caption, "Against the baseline: %+.2f %% allowed%s",
             100 * icd_i_get_real(baseline, "max_regression"),
             relative ? ", as multiples of linear" : "");
    table_begin(p, f, caption);
    for (int k = 0; k < 5; k++) cell(p, f, HEAD[k], true);
    table_body(p, f, 5);
    json_array_foreach(json_object_get(baseline, "arms"), i, arm)
    {
        row(p, f, true);
        cell(p, f, icd_i_get_string(arm, "arm"), false);
        for (int k = 0; k < 2; k++) {
            double value = icd_i_get_real(arm, k ? "now" : "then");
            snprintf(text, sizeof text, "%.3f%s", value, relative ? "" : " ms");
            cell(p, f, isfinite(value) ? text : "-", false);
        }
        change_words(arm, "", text);
        cell(p, f, text, false);
        cell(p, f, icd_i_get_string(arm, "result"), false);
        row(p, f, false);
    }
    table_end(p, f);
}

static void differences(icd_page *p, icd_compare_format f, const json_t *list)
{
    static const char *const KEY[] = {"what", "member", "a", "run_a", "b", "run_b"};
    static const char *const BETWEEN[] = {" ", ": '", "' in ", ", '", "' in ", "\n"};
    const json_t *d = NULL;
    size_t i = 0;
    if (json_array_size(list) == 0) return;
    icd_i_page_raw(p, f == ICD_COMPARE_HTML ? "<p class=cause>" : "\n");
    icd_i_page_raw(p, "Times are not compared, because the runs differ.");
    json_array_foreach(list, i, d)
    {
        icd_i_page_raw(p, f == ICD_COMPARE_HTML ? "<br>" : "\n- ");
        for (int k = 0; k < 6; k++) {
            put_text(p, f, icd_i_get_string(d, KEY[k]));
            icd_i_page_raw(p, k < 5 ? BETWEEN[k] : "");
        }
    }
    icd_i_page_raw(p, f == ICD_COMPARE_HTML ? "</p>\n" : "\n");
}

static void render(icd_page *p, icd_compare_format f)
{
    const json_t *runs = icd_i_page_get(p, "runs");
    bool html = f == ICD_COMPARE_HTML;
    if (html) {
        icd_i_page_raw(p,
                       "<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta "
                       "name=viewport content=\"width=device-width,initial-scale=1\">"
                       "<title>ICD comparison</title>\n<style>\n");
        for (int i = 0; ICD_I_PAGE_STYLE[i]; i++) icd_i_page_raw(p, ICD_I_PAGE_STYLE[i]);
        icd_i_page_raw(p, "</style></head><body><main>\n<h1>Runs compared</h1>\n");
    } else if (f == ICD_COMPARE_MARKDOWN) {
        icd_i_page_raw(p, "## ICD: runs compared\n");
    }
    differences(p, f, icd_i_page_get(p, "differences"));
    baseline_table(p, f, icd_i_page_get(p, "baseline"));
    if (json_array_size(runs)) runs_table(p, f, runs);
    arms_table(p, f, runs, icd_i_page_get(p, "arms"));
    if (html) icd_i_page_raw(p, "</main></body></html>\n");
}

static icd_status render_plain(icd_ctx *ctx, const json_t *root,
                               icd_compare_format format, char **text)
{
    icd_page page = {.ctx = ctx, .metrics = root};
    locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    if (!plain)
        return icd_i_fail(ctx, ICD_ENOMEM, "compare", NULL, "the C locale is not there");
    locale_t before = uselocale(plain);
    render(&page, format);
    uselocale(before);
    freelocale(plain);
    if (page.status != ICD_OK) {
        icd_i_text_release(ctx, &page.text);
        return page.status;
    }
    *text = page.text.data;
    return ICD_OK;
}

icd_status icd_compare_render(icd_ctx *ctx, const char *json, icd_compare_format format,
                              char **text)
{
    json_t *root = NULL;
    *text = NULL;
    icd_status status = icd_i_json_parse(ctx, json, strlen(json), "comparison", &root);
    if (status == ICD_OK) status = render_plain(ctx, root, format, text);
    json_decref(root);
    return status;
}
