/**
 * @file sweep.h
 * sweep.csv: one line per configuration of a sweep. Columns by the names of its first
 * line: `config`, `lat_ms`, `quality` (more is better); others are passed over.
 */
#ifndef ICD_REPORT_SWEEP_H
#define ICD_REPORT_SWEEP_H

#include "base/mem.h"

typedef struct icd_sweep_row {
    char config[96]; /**< cut where it is longer */
    double lat_ms, quality;
    bool front; /**< nothing else is both faster and better */
} icd_sweep_row;

typedef struct icd_sweep {
    icd_sweep_row *row;
    int64_t count, capacity;
} icd_sweep;

/**
 * RFC 4180. Lines without both numbers are left out.
 * @return ICD_OK | ICD_EDATA a column is missing, or a quote is not closed | ICD_ENOMEM
 */
icd_status icd_i_sweep_parse(icd_ctx *ctx, const char *text, int64_t size,
                             icd_sweep *out);
void icd_i_sweep_release(icd_ctx *ctx, icd_sweep *sweep);

#endif
