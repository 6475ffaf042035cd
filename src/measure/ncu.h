/**
 * @file ncu.h
 * Nsight Compute as a child process. It is asked which metrics it knows, then runs the
 * arm's command once for each set of metrics; never a source of timings, and it changes
 * no clock.
 */
#ifndef ICD_MEASURE_NCU_H
#define ICD_MEASURE_NCU_H

#include "base/text.h"
#include "measure/ncu_sum.h"
#include <icd/meter.h>

typedef struct icd_ncu {
    icd_meter_opts opts; /**< its texts are borrowed */
    icd_ncu_names names;
    bool available;
    char version[48]; /**< "2025.3.1.0" */
    char found[320];
    const char *enable; /**< NULL when available */
    char *listed;       /**< what --query-metrics printed */
    icd_text raw;       /**< everything ncu printed so far: ncu.csv */
} icd_ncu;

/**
 * Runs `ncu --version` and `ncu --query-metrics`. Where that does not work the call
 * succeeds and `found` says why.
 * @param opts [in] resolved
 */
icd_status icd_i_ncu_open(icd_ctx *ctx, const icd_meter_opts *opts, icd_ncu *out);
void icd_i_ncu_close(icd_ctx *ctx, icd_ncu *ncu);

/** Whether ncu knows "dram__bytes_read.sum": it lists names without what is behind the
 * point. */
bool icd_i_ncu_knows(const icd_ncu *ncu, const char *metric);

/** What came of one arm; icd_i_ncu_result_release. */
typedef struct icd_ncu_result {
    char refused[400]; /**< why nothing was read, with the command that helps; "": read */
    icd_ncu_sum *sum;  /**< [runs] */
    int64_t runs;
    int64_t passes;  /**< of the program, for the set of caches and memory */
    bool whole;      /**< all kernels of the steps are in, not the first ones only */
    double seconds;  /**< that ncu took in all: no timing of the arm */
    json_t *kernels; /**< of the first run (icd_i_ncu_kernels) */
    json_t *extra;   /**< {name: {"mean", "sum", "kernels"}} of opts.ncu_metrics */
} icd_ncu_result;

/**
 * Profiles a command `runs` times.
 * @param command [in] "{steps}" in it becomes `steps`
 * @return ICD_OK, also when ncu was refused (`refused`) | ICD_EMEASURE the command
 * failed, took too long or ncu printed what cannot be read | ICD_EIO | ICD_ECANCELLED |
 * ICD_ENOMEM
 */
icd_status icd_i_ncu_measure(icd_ctx *ctx, icd_ncu *ncu, const char *arm,
                             const char *const *command, int64_t steps, int64_t runs,
                             icd_ncu_result *out);
void icd_i_ncu_result_release(icd_ctx *ctx, icd_ncu_result *result);

/** How it was run, as JSON: replay mode, cache and clock control, names, version. */
json_t *icd_i_ncu_settings(const icd_ncu *ncu, const icd_ncu_result *result);

/**
 * Whether the driver keeps counters to administrators and this process is none.
 * @param params [in] "/proc/driver/nvidia/params"
 * @param status [in] "/proc/self/status"
 */
bool icd_i_ncu_admin_only(const char *params, const char *status);

#endif
