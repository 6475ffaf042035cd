/**
 * @file sweep.h
 * The loop over a grid of settings: one run for every combination, and one table.
 *
 *     const char *grid[] = {"sparsity.rate=.5,.75", "quant.dtype=none,int8"};
 *     icd_sweep_opts opts = {.dir = "runs/sweep", .grid = grid, .grids = 2};
 *     icd_sweep_run(ctx, config, &opts, &result);
 *
 * The folder holds runs/NAME, a run directory for each combination, and sweep.json,
 * sweep.csv, sweep.md and sweep.html, which are written anew after every run
 * (docs/artifacts.md).
 */
#ifndef ICD_SWEEP_H
#define ICD_SWEEP_H

#include <icd/config.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct icd_sweep_opts {
    const char *dir;
    const char *const *grid; /**< "KEY=VALUE,VALUE": the key as in the configuration, with
                                or without "transform."; a value that is a list has
                                brackets */
    int64_t grids;
    const char *const *worker; /**< as icd_run_opts */
    bool no_measure;           /**< live granules and quality only */
} icd_sweep_opts;

typedef struct icd_sweep_result {
    int64_t points; /**< combinations */
    int64_t reused; /**< finished before, with the same settings */
    int64_t failed; /**< ended with an error, which stands in the table */
} icd_sweep_result;

/**
 * Runs every combination, the last key fastest. A run that is finished with the same
 * settings is taken as it is, one that was interrupted goes on; an error ends that run
 * and not the sweep.
 * @return ICD_OK | ICD_EINVAL a grid that is none, an unknown key or value, more than
 * 10,000 combinations | ICD_EIO | ICD_ECANCELLED (the table holds what is finished)
 */
icd_status icd_sweep_run(icd_ctx *ctx, const icd_config *config,
                         const icd_sweep_opts *opts, icd_sweep_result *result);

#ifdef __cplusplus
}
#endif
#endif
