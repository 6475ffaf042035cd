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
 * holds). The HTML needs no network and no scripts; pictures are inline SVG with their
 * tables below.
 * @return ICD_OK | ICD_EIO | ICD_EDATA metrics.json is missing or damaged | ICD_ENOMEM
 * @cost   under a second; W files are sampled down to a fixed grid
 */
icd_status icd_report_write(icd_ctx *ctx, const char *dir);

#ifdef __cplusplus
}
#endif
#endif
