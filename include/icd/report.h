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

#ifdef __cplusplus
}
#endif
#endif
