#include "report/html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_MOST = 2000 };

void icd_i_page_put(icd_page *page, const char *fmt, ...)
{
    char buffer[1024];
    va_list args;
    if (page->status != ICD_OK) return;
    va_start(args, fmt);
    int length = vsnprintf(buffer, sizeof buffer, fmt, args);
    va_end(args);
    if (length < 0 || length >= (int)sizeof buffer)
        page->status = icd_i_fail(page->ctx, ICD_EINTERNAL, "report", NULL,
                                  "a piece of markup is too long");
    else
        page->status = icd_i_text_add(page->ctx, &page->text, buffer, length);
}

void icd_i_page_raw(icd_page *page, const char *markup)
{
    if (page->status == ICD_OK)
        page->status = icd_i_text_puts(page->ctx, &page->text, markup);
}

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case '\n':
    case '\t':
        return NULL;
    default:
        return (unsigned char)c < 0x20 || c == 0x7f ? "&#xfffd;" : NULL;
    }
}

/* Bytes to print: at most TEXT_MOST, never half a character. */
static size_t printed_length(const char *text)
{
    size_t length = strnlen(text, TEXT_MOST + 1);
    if (length <= TEXT_MOST) return length;
    for (length = TEXT_MOST; length && ((unsigned char)text[length] & 0xc0) == 0x80;)
        length--;
    return length;
}

void icd_i_page_text(icd_page *page, const char *text)
{
    if (!text) return;
    size_t length = printed_length(text);
    for (size_t i = 0, plain = 0; i < length; i++, plain = i) {
        while (i < length && !entity(text[i])) i++;
        if (page->status == ICD_OK)
            page->status = icd_i_text_add(page->ctx, &page->text, text + plain,
                                          (int64_t)(i - plain));
        if (i < length) icd_i_page_raw(page, entity(text[i]));
    }
    if (text[length]) icd_i_page_raw(page, "&hellip;");
}

void icd_i_page_section(icd_page *page, const char *id, const char *title)
{
    icd_i_page_put(page, "<h2 id=\"%s\">%s</h2>\n", id, title);
}

void icd_i_page_table(icd_page *page, const char *caption, const char *columns)
{
    icd_i_page_raw(page, "<div class=scroll tabindex=0><table><caption>");
    icd_i_page_text(page, caption);
    icd_i_page_raw(page, "</caption><thead><tr>");
    while (*columns) {
        size_t length = strcspn(columns, "|");
        bool numeric = *columns == '#';
        icd_i_page_put(page, "<th scope=col%s>%.*s</th>", numeric ? " class=n" : "",
                       (int)length - numeric, columns + numeric);
        columns += length + (columns[length] == '|');
    }
    icd_i_page_raw(page, "</tr></thead><tbody>\n");
}

void icd_i_page_table_end(icd_page *page)
{
    icd_i_page_raw(page, "</tbody></table></div>\n");
}

void icd_i_page_row(icd_page *page, const char *name)
{
    icd_i_page_raw(page, "<tr><th scope=row>");
    icd_i_page_text(page, name);
    icd_i_page_raw(page, "</th>");
}

void icd_i_page_row_end(icd_page *page)
{
    icd_i_page_raw(page, "</tr>\n");
}

void icd_i_page_cell(icd_page *page, const char *text)
{
    icd_i_page_raw(page, "<td>");
    icd_i_page_text(page, text);
    icd_i_page_raw(page, "</td>");
}

void icd_i_page_real(icd_page *page, double value, int decimals)
{
    if (!isfinite(value))
        icd_i_page_raw(page, "&ndash;");
    else if (fabs(value) >= 1e15)
        icd_i_page_put(page, "%.3g", value);
    else
        icd_i_page_put(page, "%.*f", decimals, value);
}

void icd_i_page_number(icd_page *page, double value, int decimals)
{
    icd_i_page_raw(page, "<td class=n>");
    icd_i_page_real(page, value, decimals);
    icd_i_page_raw(page, "</td>");
}

void icd_i_page_percent(icd_page *page, double share, int decimals)
{
    icd_i_page_raw(page, "<td class=n>");
    icd_i_page_real(page, 100 * share, decimals);
    icd_i_page_raw(page, isfinite(100 * share) ? "&nbsp;%</td>" : "</td>");
}

void icd_i_page_count(icd_page *page, double value)
{
    icd_i_page_number(page, value, 0);
}

static void absent_cell(icd_page *page, const char *reason)
{
    icd_i_page_raw(page, "<td class=\"n absent\" title=\"");
    icd_i_page_text(page, *reason ? reason : "no reason was recorded");
    icd_i_page_raw(page, "\">absent</td>");
}

void icd_i_page_metric(icd_page *page, const json_t *metric, int decimals)
{
    double value = icd_i_metric_value(metric), low, high;
    const char *provenance = icd_i_get_string(metric, "provenance");
    if (!isfinite(value)) {
        absent_cell(page, icd_i_get_string(metric, "reason"));
        return;
    }
    icd_i_page_raw(page, "<td class=n>");
    icd_i_page_real(page, value, decimals);
    if (icd_i_metric_interval(metric, &low, &high)) {
        icd_i_page_raw(page, " <small>[");
        icd_i_page_real(page, low, decimals);
        icd_i_page_raw(page, ", ");
        icd_i_page_real(page, high, decimals);
        icd_i_page_raw(page, "]</small>");
    }
    if (strcmp(provenance, "MEASURED") != 0) {
        icd_i_page_raw(page, " <small>");
        icd_i_page_text(page, *provenance ? provenance : "of unknown provenance");
        icd_i_page_raw(page, "</small>");
    }
    icd_i_page_raw(page, "</td>");
}

void icd_i_page_short_reason(icd_page *page, const char *reason)
{
    static const char *const DETAIL[] = {" (", ": ", "; "};
    char text[160];
    size_t length = strlen(reason);
    for (size_t i = 0; i < sizeof DETAIL / sizeof *DETAIL; i++) {
        const char *at = strstr(reason, DETAIL[i]);
        if (at && (size_t)(at - reason) < length) length = (size_t)(at - reason);
    }
    snprintf(text, sizeof text, "%.*s", (int)(length < 150 ? length : 150), reason);
    icd_i_page_text(page, text);
    if (reason[length]) icd_i_page_raw(page, " (<a href=\"#environment\">details</a>)");
}

bool icd_i_metric_interval(const json_t *metric, double *low, double *high)
{
    *low = icd_i_get_real(metric, "low");
    *high = icd_i_get_real(metric, "high");
    bool measured = !strcmp(icd_i_get_string(metric, "provenance"), "MEASURED");
    return isfinite(*low) && isfinite(*high) && (measured || *low < *high);
}

double icd_i_metric_value(const json_t *metric)
{
    bool absent = !strcmp(icd_i_get_string(metric, "provenance"), "ABSENT");
    return absent ? NAN : icd_i_get_real(metric, "value");
}

double icd_i_get_real(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *icd_i_get_string(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

bool icd_i_get_bool(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

const json_t *icd_i_page_get(const icd_page *page, const char *key)
{
    return json_object_get(page->metrics, key);
}

const json_t *icd_i_page_arm(const icd_page *page, const char *name)
{
    const json_t *arm = NULL;
    size_t i = 0;
    json_array_foreach(icd_i_page_get(page, "arms"), i, arm)
    {
        if (!strcmp(icd_i_get_string(arm, "name"), name)) return arm;
    }
    return NULL;
}

const json_t *icd_i_page_comparison(const icd_page *page, const char *a, const char *b)
{
    const json_t *row = NULL;
    size_t i = 0;
    json_array_foreach(icd_i_page_get(page, "comparisons"), i, row)
    {
        if (!strcmp(icd_i_get_string(row, "a"), a) &&
            !strcmp(icd_i_get_string(row, "b"), b))
            return row;
    }
    return NULL;
}

bool icd_i_page_control_failed(const icd_page *page)
{
    const json_t *row = icd_i_page_comparison(page, "linear", "linear A/A");
    return icd_i_get_real(row, "low") < -.01 || icd_i_get_real(row, "high") > .01;
}

const char *icd_i_page_verdict(const icd_page *page, const json_t *row)
{
    return icd_i_page_control_failed(page) ? "UNDECIDED"
                                           : icd_i_get_string(row, "verdict");
}

const char *icd_i_verdict_class(const char *verdict)
{
    if (!strcmp(verdict, "FASTER")) return "good";
    return !strcmp(verdict, "SLOWER") ? "bad" : "";
}
