/**
 * @file meter.h
 * What a meter is made of, and how it hands its readings over.
 */
#ifndef ICD_MEASURE_METER_H
#define ICD_MEASURE_METER_H

#include "base/json.h"
#include "base/mem.h"
#include <icd/meter.h>

#include <math.h>

/** Forms of a subject: what a meter needs to do its work. */
enum { ICD_METER_ARM = 1, ICD_METER_COMMAND = 2, ICD_METER_ADDRS = 4 };

typedef struct icd_meter_metric {
    const char *name, *unit;
} icd_meter_metric;

/** One row of the table in meter.c. */
typedef struct icd_meter_kind {
    const char *name, *area, *help;
    int32_t needs;                  /**< one of the forms */
    int32_t device;                 /**< icd_meter_device: what it counts */
    const icd_meter_metric *metric; /**< what it can read; what it did not becomes ABSENT
                                     */
    int32_t metrics;

    /**
     * Looks whether it works here: sets meter->self, and calls icd_i_meter_found or
     * icd_i_meter_missing.
     * @return ICD_OK, available or not | ICD_ENOMEM
     */
    icd_status (*open)(icd_ctx *ctx, icd_meter *meter);

    /** Called only where the meter is available and each subject has the form it needs;
     * `into` has one entry for each. */
    icd_status (*measure)(icd_ctx *ctx, icd_meter *meter,
                          const icd_meter_subject *const *subject,
                          icd_readings *const *into, int64_t subjects, int64_t windows);

    /** Releases meter->self (not NULL); NULL: nothing to release. */
    void (*close)(icd_ctx *ctx, icd_meter *meter);
} icd_meter_kind;

/** Rows that files of their own define. */
extern const icd_meter_kind icd_i_meter_ncu, icd_i_meter_nvml, icd_i_meter_rapl,
    icd_i_meter_perf, icd_i_meter_cachegrind, icd_i_meter_cachesim;

struct icd_meter {
    const icd_meter_kind *kind;
    icd_meter_opts opts; /**< resolved */
    icd_meter_state state;
    icd_arena *arena;
    void *self;
};

/** It works; what was found, in half a sentence. */
icd_status icd_i_meter_found(icd_ctx *ctx, icd_meter *meter, const char *fmt, ...)
    ICD_PRINTF(3, 4);

/** It does not: why, and the command that enables it. */
icd_status icd_i_meter_missing(icd_ctx *ctx, icd_meter *meter, const char *enable,
                               const char *fmt, ...) ICD_PRINTF(4, 5);

/** One sentence on what was counted and how. */
icd_status icd_i_readings_method(icd_ctx *ctx, icd_readings *readings, const char *fmt,
                                 ...) ICD_PRINTF(3, 4);

/** Adds a metric; its texts are copied. A value that cannot be (not finite, negative, a
 * share beyond 100 %) becomes ABSENT and says so. */
icd_status icd_i_readings_add(icd_ctx *ctx, icd_readings *readings,
                              const icd_metric *metric);

/** Every metric of the meter that was not added yet: ABSENT with a reason. */
icd_status icd_i_readings_absent(icd_ctx *ctx, icd_readings *readings, const char *fmt,
                                 ...) ICD_PRINTF(3, 4);

/** A JSON object, whose reference is taken; NULL: memory was short. */
icd_status icd_i_readings_detail(icd_ctx *ctx, icd_readings *readings, json_t *detail);

/** The mean of repetitions with its 95 % interval by Student's t; no interval for one. */
icd_metric icd_i_meter_mean(const char *name, const char *unit, const double *x,
                            int64_t n, icd_provenance provenance);

/** A number, or null where there is none: JSON knows no NaN. */
json_t *icd_i_meter_real(double value);

#endif
