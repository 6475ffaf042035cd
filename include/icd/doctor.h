/**
 * @file doctor.h
 * What this machine and this build can do, what they cannot, why, and how to enable it.
 */
#ifndef ICD_DOCTOR_H
#define ICD_DOCTOR_H

#include <icd/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Texts are owned by the report. */
typedef struct icd_capability {
    const char *area; /**< "cpu", "solver", "counters", "energy", "gpu", "build" */
    const char *name; /**< "AVX2" */
    bool available;
    const char *found; /**< what was looked at and what was there */
    const char
        *enable; /**< how to get it, a command where there is one; NULL when available */
} icd_capability;

typedef struct icd_doctor_report icd_doctor_report;

/** Looks at the machine; reads only, changes nothing. */
icd_status icd_doctor(icd_ctx *ctx, icd_doctor_report **out);
void icd_doctor_free(icd_ctx *ctx, icd_doctor_report *report);

int64_t icd_doctor_count(const icd_doctor_report *report);
const icd_capability *icd_doctor_get(const icd_doctor_report *report, int64_t i);

#ifdef __cplusplus
}
#endif
#endif
