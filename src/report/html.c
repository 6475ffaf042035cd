#include "report/html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void icd_i_page_put(icd_page *page, const char *fmt, ...)
{
    char buffer[2048];
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
    default:
        return NULL;
    }
}

void icd_i_page_text(icd_page *page, const char *text)
{
    for (; text && *text && page->status == ICD_OK; text++) {
        const char *escaped = entity(*text);
        page->status = escaped ? icd_i_text_puts(page->ctx, &page->text, escaped)
                               : icd_i_text_add(page->ctx, &page->text, text, 1);
    }
}

void icd_i_page_section(icd_page *page, const char *id, const char *title)
{
    icd_i_page_put(page, "<h2 id=\"%s\">%s</h2>\n", id, title);
}

void icd_i_page_table(icd_page *page, const char *caption, const char *columns)
{
    icd_i_page_put(page, "<div class=scroll><table><caption>");
    icd_i_page_text(page, caption);
    icd_i_page_put(page, "</caption><thead><tr>");
    while (*columns) {
        size_t length = strcspn(columns, "|");
        bool numeric = *columns == '#';
        icd_i_page_put(page, "<th scope=col%s>%.*s</th>", numeric ? " class=n" : "",
                       (int)length - numeric, columns + numeric);
        columns += length + (columns[length] == '|');
    }
    icd_i_page_put(page, "</tr></thead><tbody>\n");
}

void icd_i_page_table_end(icd_page *page)
{
    icd_i_page_put(page, "</tbody></table></div>\n");
}

void icd_i_page_cell(icd_page *page, const char *text)
{
    icd_i_page_put(page, "<td>");
    icd_i_page_text(page, text);
    icd_i_page_put(page, "</td>");
}

void icd_i_page_number(icd_page *page, double value, int decimals)
{
    if (isfinite(value))
        icd_i_page_put(page, "<td class=n>%.*f</td>", decimals, value);
    else
        icd_i_page_put(page, "<td class=n>-</td>");
}

void icd_i_page_percent(icd_page *page, double share, int decimals)
{
    if (isfinite(share))
        icd_i_page_put(page, "<td class=n>%.*f&nbsp;%%</td>", decimals, 100 * share);
    else
        icd_i_page_put(page, "<td class=n>-</td>");
}

void icd_i_page_count(icd_page *page, double value)
{
    icd_i_page_number(page, value, 0);
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
