/**
 * @file measure.h
 * Times arms against each other so that the difference can be believed.
 *
 * A warm sample is a burst: one discarded step, then m timed steps of one arm; its value
 * is their mean. Bursts of all arms interleave in whole Williams designs; a block is one
 * pass over all arms. delta = exp(mean over blocks of ln(t_b / t_a)) - 1, with a BCa
 * bootstrap interval over blocks.
 */
#ifndef ICD_MEASURE_H
#define ICD_MEASURE_H

#include <icd/ctx.h>
#include <icd/metric.h>
#include <icd/options.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum icd_measure_mode { ICD_MEASURE_WARM, ICD_MEASURE_COLD } icd_measure_mode;

/** Section `measure`, with the seed's pipeline.repeats and pipeline.warmup_iter handed
 * in. */
typedef struct icd_measure_opts {
    size_t size;
    int32_t mode;         /**< icd_measure_mode */
    int64_t repeats;      /**< samples per arm at most */
    int64_t warmup_iter;  /**< steps of every arm before the first sample */
    int64_t min_blocks;   /**< blocks at least (>= 30) */
    double burst_ms;      /**< a burst lasts about this long; sets m */
    double ci_half_width; /**< stop when every compared CI is narrower than this share */
    double timeout_s;     /**< stop then at the latest (once min_blocks are in) */
    int64_t seed;         /**< of the bootstrap */
    int32_t threads;      /**< of the measuring process; 0: one per CPU */
    icd_strings ncu_metrics; /**< (seed) names of Nsight Compute metrics */
    double power_sample_hz;  /**< (seed) */
} icd_measure_opts;

extern const icd_option_table icd_measure_table;

/** Something that can be stepped and timed. */
typedef struct icd_arm {
    const char *name; /**< "linear" */
    icd_status (*step)(icd_ctx *ctx, void *self);
    void *self;
} icd_arm;

/** Raw samples: lat_ms[block * arms + arm], in milliseconds per step, never sorted or
 * scaled. */
typedef struct icd_samples {
    int64_t arms, blocks;
    char **name;       /**< [arms] */
    double *lat_ms;    /**< [blocks x arms] */
    int32_t *position; /**< [blocks x arms] place of the arm's burst inside its block */
    double *t_start;   /**< [blocks x arms] seconds since the first sample */
    int64_t *burst;    /**< [arms] m: steps per sample */
    char stopped[96];  /**< which criterion ended it */
    double elapsed_s;
} icd_samples;

/**
 * Measures. Steps that fail end the measurement with their error.
 * @return ICD_OK | ICD_EINVAL fewer than one arm | ICD_EMEASURE | ICD_ECANCELLED |
 * ICD_ENOMEM
 */
icd_status icd_measure_arms(icd_ctx *ctx, const icd_arm *arm, int64_t arms,
                            const icd_measure_opts *opts, icd_samples **out);
void icd_samples_free(icd_ctx *ctx, icd_samples *samples);

/** Index of an arm; -1 where there is none of that name. */
int64_t icd_samples_find(const icd_samples *samples, const char *arm);

/** samples.csv: block,arm,position,t_start_s,lat_ms,burst. */
icd_status icd_samples_write(icd_ctx *ctx, const icd_samples *samples, const char *path);
icd_status icd_samples_read(icd_ctx *ctx, const char *path, icd_samples **out);

typedef enum icd_verdict {
    ICD_VERDICT_NOT_EVALUATED = 0,
    ICD_VERDICT_SAME,   /**< the CI lies inside +-1 % */
    ICD_VERDICT_FASTER, /**< the CI excludes zero, below */
    ICD_VERDICT_SLOWER,
    ICD_VERDICT_UNDECIDED
} icd_verdict;
const char *icd_verdict_name(icd_verdict v);

/** Arm b against arm a. */
typedef struct icd_comparison {
    double delta, low, high; /**< share of a's time: -.2 = 20 % faster; 95 % BCa CI */
    double hedges_g;
    double p_value; /**< paired sign-flip permutation test */
    int64_t blocks;
    icd_verdict verdict;
} icd_comparison;

icd_status icd_samples_compare(icd_ctx *ctx, const icd_samples *samples, const char *a,
                               const char *b, int64_t seed, icd_comparison *out);

/** Mean, percentiles and BCa CI of the mean of one arm. */
typedef struct icd_summary {
    double mean, low, high, p50, p95, sd;
    int64_t count;
} icd_summary;
icd_status icd_samples_summary(icd_ctx *ctx, const icd_samples *samples, const char *arm,
                               int64_t seed, icd_summary *out);

/** Why energy and L2 hit rate cannot be read here (ABSENT with its reason), or their
 * values. */
icd_status icd_measure_l2(icd_ctx *ctx, icd_metric *out);
icd_status icd_measure_energy(icd_ctx *ctx, icd_metric *out);

#ifdef __cplusplus
}
#endif
#endif
