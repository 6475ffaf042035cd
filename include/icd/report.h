/**
 * @file report.h
 * From the artifacts of a run directory to one HTML file and a CSV.
 */
#ifndef ICD_REPORT_H
#define ICD_REPORT_H

#include <icd/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Writes report.html and report.csv beside metrics.json (docs/artifacts.md says what it
 * holds). The HTML needs no network and no scripts; charts have their numbers in tables.
 * W and the orders are read for the pictures. Whatever is missing, damaged or of a wrong
 * type is said to be absent; only metrics.json itself must be a JSON object. All text of
 * the run is escaped.
 * @param dir [in] run directory
 * @return ICD_OK | ICD_EIO | ICD_EDATA metrics.json is damaged | ICD_ENOMEM
 * @cost   under a second and under 400 kB for a model of 36 linears; two W files are read
 * @det    same directory: same bytes, whatever the locale
 */
icd_status icd_report_write(icd_ctx *ctx, const char *dir);

/** Bits of a set of formats. */
typedef enum icd_report_format {
    ICD_REPORT_HTML = 1,     /**< report.html */
    ICD_REPORT_CSV = 2,      /**< report.csv */
    ICD_REPORT_MARKDOWN = 4, /**< report.md: a summary for a pull request */
    ICD_REPORT_JUNIT = 8     /**< junit.xml: gates, controls, exactness as tests */
} icd_report_format;

/** Like icd_report_write, but only what is asked for. @param formats [in] sum of bits */
icd_status icd_report_write_as(icd_ctx *ctx, const char *dir, uint32_t formats);

/**
 * Writes sweep.csv, sweep.md and sweep.html beside sweep.json (docs/artifacts.md); the
 * page has a plot of time against quality. @return as icd_report_write
 */
icd_status icd_report_sweep(icd_ctx *ctx, const char *dir);

/** "html,csv,md,junit" as bits. @return ICD_OK | ICD_EINVAL another name in the list */
icd_status icd_report_formats(icd_ctx *ctx, const char *list, uint32_t *formats);

#ifdef __cplusplus
}
#endif
#endif
