/**
 * @file html.h
 * A page under construction. The first failure sticks; later calls do nothing, so that
 * sections read as straight text and the status is asked once.
 */
#ifndef ICD_REPORT_HTML_H
#define ICD_REPORT_HTML_H

#include "base/text.h"
#include <jansson.h>

typedef struct icd_page {
    icd_ctx *ctx;
    icd_text text;
    icd_status status;
    const json_t *metrics; /**< metrics.json */
    const char *dir;       /**< run directory */
} icd_page;

/** Markup as it is. */
void icd_i_page_put(icd_page *page, const char *fmt, ...) ICD_PRINTF(2, 3);

/** Text with &, <, > and quotes escaped; NULL prints nothing. */
void icd_i_page_text(icd_page *page, const char *text);

/** <h2> and the anchor of a section. */
void icd_i_page_section(icd_page *page, const char *id, const char *title);

/** <th scope=col> for every name in a "a|b|c" list; names that begin with # are numeric.
 */
void icd_i_page_table(icd_page *page, const char *caption, const char *columns);
void icd_i_page_table_end(icd_page *page);

/** One <td>: text, a number with `decimals`, a percentage, a count; NaN prints a dash. */
void icd_i_page_cell(icd_page *page, const char *text);
void icd_i_page_number(icd_page *page, double value, int decimals);
void icd_i_page_percent(icd_page *page, double share, int decimals);
void icd_i_page_count(icd_page *page, double value);

/** Numbers and strings of JSON with a default where they are missing. */
double icd_i_get_real(const json_t *object, const char *key);
const char *icd_i_get_string(const json_t *object, const char *key);

/** The sections, in the order of the page; each reads page->metrics. */
void icd_i_section_verdict(icd_page *page);
void icd_i_section_arms(icd_page *page);
void icd_i_section_linears(icd_page *page);
void icd_i_section_orders(icd_page *page);
void icd_i_section_checks(icd_page *page);
void icd_i_section_environment(icd_page *page);

/** W under an order, sampled to a square picture; `label` is its text alternative. */
void icd_i_svg_heat(icd_page *page, const char *w_path, const char *perm_path,
                    const char *axis, const char *label);

#endif
