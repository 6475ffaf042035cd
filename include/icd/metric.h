/**
 * @file metric.h
 * One reported number with its unit, spread, count and provenance. All zero means ABSENT.
 */
#ifndef ICD_METRIC_H
#define ICD_METRIC_H

#include <icd/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum icd_provenance {
    ICD_ABSENT = 0, /**< nothing was read; `reason` says why */
    ICD_MEASURED,   /**< read from a clock or a counter */
    ICD_SIMULATED,  /**< from a simulator fed with the real address stream */
    ICD_MODELLED    /**< from a formula */
} icd_provenance;

typedef struct icd_metric {
    const char *name; /**< "lat_ms" */
    const char *unit; /**< "ms" */
    double value;
    double low,
        high;      /**< 95 % confidence interval; both NaN or both 0 with count 0: none */
    int64_t count; /**< samples behind the value */
    icd_provenance provenance;
    const char *reason; /**< ABSENT: why; else NULL */
} icd_metric;

/** "MEASURED", "SIMULATED", "MODELLED" or "ABSENT". */
const char *icd_provenance_name(icd_provenance p);

#ifdef __cplusplus
}
#endif
#endif
