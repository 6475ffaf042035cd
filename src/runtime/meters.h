/**
 * @file meters.h
 * Reading counters and energy of the arms that the worker holds.
 */
#ifndef ICD_RUNTIME_METERS_H
#define ICD_RUNTIME_METERS_H

#include "runtime/worker.h"

/**
 * Lets every meter of measure.meters measure the arms that matter for a verdict, and
 * writes meters.json into the run directory. A meter that fails is a warning.
 * @param worker [in] argv that steps an arm of this directory in a process of its own
 *                    (icd_measure_run); NULL: meters that need one read nothing
 */
icd_status icd_i_meters_run(icd_worker *w, const json_t *arms, const char *const *worker);

#endif
