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
    const json_t
        *metrics;    /**< metrics.json: whatever it holds, nothing is taken on trust */
    const char *dir; /**< run directory */
} icd_page;

/** Markup and numbers of our own. Strings of the run go through icd_i_page_text. */
void icd_i_page_put(icd_page *page, const char *fmt, ...) ICD_PRINTF(2, 3);

/** Markup of any length, as it is. */
void icd_i_page_raw(icd_page *page, const char *markup);

/** Text with &, <, > and both quotes escaped, for content and quoted attributes alike.
 * Control characters become U+FFFD, text beyond 2000 bytes an ellipsis; NULL: nothing. */
void icd_i_page_text(icd_page *page, const char *text);

/** <h2> and the anchor of a section. */
void icd_i_page_section(icd_page *page, const char *id, const char *title);

/** <th scope=col> for every name in a "a|b|c" list; names that begin with # are numeric.
 */
void icd_i_page_table(icd_page *page, const char *caption, const char *columns);
void icd_i_page_table_end(icd_page *page);

/** A row and its first cell, which names it (<th scope=row>). */
void icd_i_page_row(icd_page *page, const char *name);
void icd_i_page_row_end(icd_page *page);

/** One <td>: text, a number with `decimals`, a share as a percentage, a count. */
void icd_i_page_cell(icd_page *page, const char *text);
void icd_i_page_number(icd_page *page, double value, int decimals);
void icd_i_page_percent(icd_page *page, double share, int decimals);
void icd_i_page_count(icd_page *page, double value);

/** The number itself, a dash where there is none; beyond 1e15 with an exponent. */
void icd_i_page_real(icd_page *page, double value, int decimals);

/** A {"value","low","high","provenance","reason"} as <td>: "1.20 [1.10, 1.30]", its
 * provenance unless MEASURED, or "absent" with the reason behind it. */
void icd_i_page_metric(icd_page *page, const json_t *metric, int decimals);

/** The value of a metric; NaN where it is missing or said to be ABSENT. */
double icd_i_metric_value(const json_t *metric);

/** Its interval; false where it has none, as what was computed without chance. */
bool icd_i_metric_interval(const json_t *metric, double *low, double *high);

/** The first words of why something is absent, up to its details; the whole reason stands
 * in the section on the environment. */
void icd_i_page_short_reason(icd_page *page, const char *reason);

/** Numbers and strings of JSON; NaN and "" where they are missing or of another type. */
double icd_i_get_real(const json_t *object, const char *key);
const char *icd_i_get_string(const json_t *object, const char *key);
bool icd_i_get_bool(const json_t *object, const char *key);

/** The member of metrics.json; NULL where it is missing. */
const json_t *icd_i_page_get(const icd_page *page, const char *key);

/** The row of "arms" with this name; NULL: none. */
const json_t *icd_i_page_arm(const icd_page *page, const char *name);

/** The row of "comparisons" that sets b against a; NULL: none. */
const json_t *icd_i_page_comparison(const icd_page *page, const char *a, const char *b);

/** The A/A control was timed and its interval leaves +-1 %: no time of the run decides.
 */
bool icd_i_page_control_failed(const icd_page *page);

/** The verdict of a row of "comparisons", "UNDECIDED" where the control failed. */
const char *icd_i_page_verdict(const icd_page *page, const json_t *row);

/** "good" for FASTER, "bad" for SLOWER, else "": a class that style.c knows. */
const char *icd_i_verdict_class(const char *verdict);

/** The style sheet, in pieces; the last is NULL. */
extern const char *const ICD_I_PAGE_STYLE[];

/** The sections, in the order of the page; each reads page->metrics. */
void icd_i_section_verdict(icd_page *page);
void icd_i_section_rounds(icd_page *page);
void icd_i_section_arms(icd_page *page);
void icd_i_section_samples(icd_page *page);
void icd_i_section_meters(icd_page *page);
void icd_i_section_cost(icd_page *page);
void icd_i_section_sweep(icd_page *page);
void icd_i_section_layers(icd_page *page);
void icd_i_section_orders(icd_page *page);
void icd_i_section_checks(icd_page *page);
void icd_i_section_environment(icd_page *page);

/**
 * W of an axis as two pictures on one colour scale: in the order it is stored in, and in
 * the order that was found. Where a file does not fit or is missing, a sentence says so.
 * @param local [in] W_after.csr.npz and pi1 of a consumer, else W.csr.npz and pi0
 */
void icd_i_heat_pair(icd_page *page, const char *axis, bool local);

/** Live granules of every linear as pictures, from masks.npz and arms.json; nothing where
 * they are not there or do not fit. */
void icd_i_tile_maps(icd_page *page);

/** Break-even shares and the kernels that were chosen; nothing where none were measured.
 */
void icd_i_kernel_tables(icd_page *page);

/** report.csv: one line per arm (docs/artifacts.md). */
void icd_i_csv(icd_page *page);

/** rounds.csv: one line per round (docs/artifacts.md). */
void icd_i_rounds_csv(icd_page *page);

/** The rounds inside report.md; nothing where there was one only. */
void icd_i_markdown_rounds(icd_page *page);

/** report.md: verdict, cause, gates, arms. */
void icd_i_markdown(icd_page *page);

/** junit.xml: one test per gate, control and exactness check. */
void icd_i_junit(icd_page *page);

/** Text of a run inside Markdown: what would be markup is escaped, a line end is a blank.
 */
void icd_i_page_markdown(icd_page *page, const char *text);

/** A file that is made of one JSON file of a folder. */
typedef struct icd_page_format {
    const char *name, *file;
    void (*fill)(icd_page *page);
    const char *needs; /**< written only where the source has this member; NULL: always */
} icd_page_format;

/** Everything up to <body>. */
void icd_i_page_head(icd_page *page, const char *title);

/**
 * Writes the files of `which` (bit i: format i) from dir/source, under the C locale:
 * style sheets and CSV know the decimal point only.
 * @return ICD_OK | ICD_EIO | ICD_EDATA the source is no JSON object | ICD_ENOMEM
 */
icd_status icd_i_pages_write(icd_ctx *ctx, const char *dir, const char *source,
                             const icd_page_format *format, int formats, uint32_t which);

#endif
