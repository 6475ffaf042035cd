/**
 * @file perf_pmu_meter.h
 * What lies behind the meter `perf`.
 */
#ifndef ICD_MEASURE_PERF_PMU_METER_H
#define ICD_MEASURE_PERF_PMU_METER_H

#include "measure/meter.h"
#include "measure/perf_pmu.h"

/** icd_meter.self of `perf`. */
typedef struct icd_perf_meter {
    const icd_perf_ops *ops;
    icd_perf_cache cache;
    double window_s; /**< a window lasts about this long */
} icd_perf_meter;

/** Says whether it works, by a try. */
icd_status icd_i_perf_look(icd_ctx *ctx, icd_meter *meter);

#endif
