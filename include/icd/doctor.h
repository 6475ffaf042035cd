/**
 * @file doctor.h
 * What this machine and this build can do, what they cannot, why, and how to enable it.
 */
#ifndef ICD_DOCTOR_H
#define ICD_DOCTOR_H

#include <icd/ctx.h>
#include <icd/meter.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Texts are owned by the report. */
typedef struct icd_capability {
    const char *area; /**< "cpu", "clocks", "counters", "energy", "gpu", "solver",
                         "overhead" */
    const char *name; /**< "AVX2" */
    bool available;
    const char *found; /**< what was looked at and what was there */
    const char
        *enable; /**< how to get it, a command where there is one; NULL when available */
} icd_capability;

typedef struct icd_doctor_report icd_doctor_report;

/**
 * Looks at the machine: reads, asks programs for their versions, times the reading of a
 * clock. Changes nothing.
 * @param opts [in] where meters find their programs and files; NULL: defaults
 */
icd_status icd_doctor(icd_ctx *ctx, const icd_meter_opts *opts, icd_doctor_report **out);
void icd_doctor_free(icd_ctx *ctx, icd_doctor_report *report);

int64_t icd_doctor_count(const icd_doctor_report *report);
const icd_capability *icd_doctor_get(const icd_doctor_report *report, int64_t i);

#ifdef __cplusplus
}
#endif
#endif
