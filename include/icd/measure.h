/**
 * @file measure.h
 * Times arms against each other so that the difference can be believed.
 *
 * A warm sample is a burst: one discarded step, then m timed steps of one arm (m is the
 * same for all arms); its value is their mean. Bursts of all arms interleave in whole
 * Williams designs; a block is one pass over all arms. delta = exp(mean over blocks of
 * ln(t_b / t_a)) - 1, with a BCa bootstrap interval over blocks (widened for small
 * numbers as Student's t is).
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
    int32_t mode;        /**< icd_measure_mode */
    int64_t repeats;     /**< samples per arm at most */
    int64_t warmup_iter; /**< steps of every arm before the first sample */
    int64_t min_blocks;  /**< blocks at least (>= 30) */
    double burst_ms;     /**< a burst of the quickest arm lasts about this long; sets m */
    double ci_half_width; /**< stop when every compared CI is narrower than this share */
    double timeout_s;     /**< stop then at the latest (once min_blocks are in) */
    int64_t seed;         /**< of the bootstrap */
    int32_t threads;      /**< of the measuring process; 0: one per CPU */
    const char *pin;      /**< "off", "auto" or CPUs ("0,2-3") its threads stay on */
    const char *cost_model;  /**< calibration.json of `icd calibrate`; NULL: predictions
                                stop at bytes */
    icd_strings meters;      /**< that read counters and energy after the times: names of
                                icd/meter.h */
    icd_strings ncu_metrics; /**< (seed) names of Nsight Compute metrics */
    double power_sample_hz;  /**< (seed) */
} icd_measure_opts;

extern const icd_option_table icd_measure_table;

/** Something that can be stepped and timed. */
typedef struct icd_arm {
    const char *name; /**< "linear" */
    icd_status (*step)(icd_ctx *ctx, void *self);
    void *self;
    /** Takes a whole sample by itself, as a program does that prints its latencies: their
     * mean and how many they were; NULL: bursts of `step` are timed. */
    icd_status (*burst)(icd_ctx *ctx, void *self, double *lat_ms, int64_t *steps);
    /** Cold mode, before a sample: empties the caches of the device that computes. NULL:
     * those of this CPU are emptied. */
    icd_status (*flush)(icd_ctx *ctx, void *self);
    bool elsewhere; /**< computes on a device of its own: this CPU's clock says nothing */
} icd_arm;

/** Which criterion ended a measurement. */
typedef enum icd_stop {
    ICD_STOP_UNKNOWN = 0,
    ICD_STOP_INTERVAL, /**< every compared interval is narrow enough */
    ICD_STOP_REPEATS,  /**< the largest number of samples */
    ICD_STOP_TIMEOUT
} icd_stop;
const char *icd_stop_name(icd_stop stop);

/** How the clocks stood while samples were taken. */
typedef struct icd_clock {
    char governor[24];   /**< of the CPU that measured; "": the kernel does not tell */
    char boost[8];       /**< "on", "off"; "": the kernel does not tell */
    char pinned[64];     /**< CPUs of the threads ("1"), or "not pinned" */
    int64_t throttled;   /**< thermal throttling events meanwhile; -1: not told */
    int64_t interrupted; /**< samples during which another program took a CPU away; -1:
                            not told */
    bool tsc_invariant;
    double tsc_mhz; /**< time-stamp counter over CLOCK_MONOTONIC_RAW; 0: there is none */
    double tsc_worst_ppm; /**< of any block from that rate: how far two clocks differ */
    double mhz_low, mhz_mean,
        mhz_high;       /**< speed of the core before bursts; 0: unknown */
    double observing_s; /**< in which that speed and interruptions were read, beside what
                           is timed */
} icd_clock;

/** Raw samples: lat_ms[block * arms + arm], in milliseconds per step, never sorted or
 * scaled. */
typedef struct icd_samples {
    int64_t arms, blocks;
    char **name;       /**< [arms] */
    double *lat_ms;    /**< [blocks x arms] */
    int32_t *position; /**< [blocks x arms] place of the arm's burst inside its block */
    double *t_start;   /**< [blocks x arms] seconds since the first sample */
    int64_t *burst;    /**< [arms] m: steps per sample */
    char stopped[160]; /**< which criterion ended it */
    double elapsed_s;
    double *mhz; /**< [blocks x arms] speed of the core before the burst; NULL: unknown */
    int32_t stop; /**< icd_stop */
    int32_t mode; /**< icd_measure_mode */
    icd_clock clock;
} icd_samples;

/**
 * Measures. Steps that fail end the measurement with their error.
 * @return ICD_OK | ICD_EINVAL fewer than one arm | ICD_EMEASURE | ICD_ECANCELLED |
 * ICD_ENOMEM
 */
icd_status icd_measure_arms(icd_ctx *ctx, const icd_arm *arm, int64_t arms,
                            const icd_measure_opts *opts, icd_samples **out);
void icd_samples_free(icd_ctx *ctx, icd_samples *samples);

/** Mean milliseconds per step of an arm; NaN where there is none of that name. */
double icd_samples_mean(const icd_samples *samples, const char *arm);

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
    double p_wilcoxon;      /**< signed-rank test; NaN where nothing differs */
    int64_t outliers;       /**< blocks beyond 3.5 robust sd: counted, never removed */
    double autocorrelation; /**< of neighbouring blocks */
    int64_t batches; /**< what was resampled: blocks, or means of neighbouring blocks
                        where those remember each other (30 batches at least) */
    double
        delta_cycles; /**< delta after times are turned into core cycles; NaN: unknown */
} icd_comparison;

icd_status icd_samples_compare(icd_ctx *ctx, const icd_samples *samples, const char *a,
                               const char *b, int64_t seed, icd_comparison *out);

/** Mean, percentiles and BCa CI of the mean of one arm. */
typedef struct icd_summary {
    double mean, low, high, p50, p95, sd;
    int64_t count;
    int64_t outliers; /**< samples beyond 3.5 robust sd of ln t: counted, never removed */
} icd_summary;
icd_status icd_samples_summary(icd_ctx *ctx, const icd_samples *samples, const char *arm,
                               int64_t seed, icd_summary *out);

/** Mean of ln t, for comparisons across measurements that were not interleaved. */
typedef struct icd_log_mean {
    double mean, se; /**< of ln(ms), or of ln(ms / ms of the reference) block by block */
    int64_t count;   /**< blocks, or batches of blocks that remember each other */
} icd_log_mean;

/** @param reference [in] arm whose time each block is divided by; NULL: none */
icd_status icd_samples_log_mean(icd_ctx *ctx, const icd_samples *samples, const char *arm,
                                const char *reference, icd_log_mean *out);

/**
 * Measurement b against measurement a: a share like icd_comparison.delta with its
 * interval by Welch's t on ln t; the verdict's band is +-1 %.
 * @param level [in] of the interval: .95
 */
void icd_log_mean_compare(const icd_log_mean *a, const icd_log_mean *b, double level,
                          icd_comparison *out);

/** How all arms together changed while they were measured. */
typedef struct icd_drift {
    double change, low, high; /**< share over the whole measurement: .03 = 3 % slower */
    bool drifting;            /**< the interval excludes zero and change is beyond 1 % */
} icd_drift;

/** The trend of block means of ln t; NaN for fewer than 3 blocks. Pairs inside a block
 * share the drift, so it does not bias a comparison. */
icd_status icd_samples_drift(icd_ctx *ctx, const icd_samples *samples, icd_drift *out);

/**
 * Holm's step-down adjustment: rejecting where adjusted <= alpha keeps the chance of any
 * false rejection among all n at alpha. NaN stays NaN and counts for nothing.
 * @param adjusted [out] [n], not p itself
 * @source Holm (1979), https://www.jstor.org/stable/4615733
 */
void icd_holm(const double *p, int64_t n, double *adjusted);

#ifdef __cplusplus
}
#endif
#endif
