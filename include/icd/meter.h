/**
 * @file meter.h
 * Reads what a clock cannot tell: cache hit rates, bytes from memory, energy.
 *
 * A meter either reads a counter around steps of an arm in this process (nvml, rapl,
 * perf), or runs a command that steps the arm (ncu, cachegrind), or simulates the arm's
 * addresses (cachesim). Use:
 *
 *     icd_meter *meter;
 *     icd_readings *readings[arms];
 *     icd_meter_open(ctx, "rapl", &opts, &meter);
 *     if (icd_meter_probe(meter)->available)
 *         icd_meter_measure(ctx, meter, subject, arms, 5, readings);
 *
 * A meter that is not available measures too: its readings are ABSENT with the reason.
 * No meter changes a setting of the machine, and none is a source of timings.
 */
#ifndef ICD_METER_H
#define ICD_METER_H

#include <icd/measure.h>
#include <icd/metric.h>
#include <icd/options.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum icd_ncu_mode {
    ICD_NCU_AUTO, /**< full where the command marks its steps (ncu_range), else sample */
    ICD_NCU_SAMPLE, /**< the first `ncu_kernels` kernels of the steady state */
    ICD_NCU_FULL    /**< every kernel of the steps */
} icd_ncu_mode;

/** Section `meter`, with measure.ncu_metrics, measure.power_sample_hz and the folder
 * handed in; all zero: defaults. Texts are borrowed until the meter is freed. */
typedef struct icd_meter_opts {
    size_t size;
    const char *dir;     /**< where raw files go (ncu.csv, power.csv); NULL: nowhere */
    const char *ncu;     /**< program, looked up in PATH */
    int32_t ncu_mode;    /**< icd_ncu_mode */
    int64_t ncu_kernels; /**< kernels of a sample */
    int64_t ncu_runs;    /**< an arm is profiled at most so often; 0: 5 */
    icd_strings arms;    /**< arms that a run reads; none: the usual ones */
    icd_strings ncu_metrics; /**< more names to collect; those that are not there: warned
                              */
    const char *nvtx;        /**< only kernels inside this NVTX range; NULL: all */
    bool ncu_range;          /**< the command begins and ends profiling around its steps
                                (icd_device_profile): only these are read */
    const char *valgrind;    /**< program, looked up in PATH */
    const char *nvml;        /**< library */
    int32_t device;          /**< GPU, as NVML counts */
    const char *powercap;    /**< folder of the RAPL domains */
    const char *pmu;         /**< folder of the kernel's performance counters */
    const char *caches; /**< folder in which the kernel describes the caches of a CPU */
    const char *cache;  /**< model of `cachesim`: icd_cache_model_name */
    double window_s;    /**< an energy window lasts at least this long */
    double idle_s;      /**< idle time before each window; 0: nothing is subtracted */
    double power_sample_hz; /**< rows of power.csv per second; 0: 10 */
    double timeout_s;       /**< of a child process, for one pass */
} icd_meter_opts;

extern const icd_option_table icd_meter_table;

/** An open meter. */
typedef struct icd_meter icd_meter;

/** Addresses that one inference touches (core/addrs.h). */
typedef struct icd_addrs icd_addrs;

/** Where an arm runs, and what a meter counts. */
typedef enum icd_meter_device {
    ICD_METER_ANYWHERE, /**< not known, or both */
    ICD_METER_CPU,
    ICD_METER_GPU
} icd_meter_device;

/** What is measured; a meter takes the form that it can use. */
typedef struct icd_meter_subject {
    const char *name;   /**< of the arm: "linear" */
    int32_t device;     /**< icd_meter_device: a meter of the other one reads nothing */
    double tokens;      /**< of one step; 0: no value per token */
    const icd_arm *arm; /**< stepped in this process; a step returns when its work is
                           done; NULL: cannot */
    const char *const *command; /**< ends by NULL; steps the arm in a process of its own,
                                   after a warm-up. An argument "{steps}" becomes the
                                   number of steps. NULL: cannot */
    int64_t steps;              /**< of a command; 0: as few as the meter needs */
    icd_addrs *addrs;           /**< one inference; NULL: cannot */
} icd_meter_subject;

/** Whether a meter works here. Texts live as long as the meter. */
typedef struct icd_meter_state {
    const char *name; /**< "rapl" */
    const char *area; /**< "counters" or "energy" */
    const char *help; /**< half a sentence */
    bool available;
    const char *found;  /**< what was looked at and what was there */
    const char *enable; /**< the command that enables it; NULL when available */
} icd_meter_state;

/** What one meter read of one arm. */
typedef struct icd_readings {
    const char *meter, *arm;
    const char *method; /**< one sentence: what was counted and how */
    icd_metric *metric; /**< [count] names and units as below */
    int64_t count;
    bool elsewhere;     /**< the meter reads another device than the arm's: all ABSENT */
    const char *detail; /**< a JSON object: windows, kernels, levels, settings */
    void *memory;       /**< owns all of it */
} icd_readings;

/*
 * Names of metrics (unit):
 *   l2_hit_pct (%)          hits of level 2; of sectors on a GPU
 *   llc_hit_pct (%)         hits of the last level
 *   dram_bytes (B)          read from and written to memory, per step
 *   dram_read_bytes, dram_write_bytes (B), l2_read_bytes (B)    per step
 *   cycles, instructions, llc_references, llc_misses,
 *   l2_references, l2_misses (count)                            per step
 *   ept_j_per_tok (J/token) energy, gross
 *   ept_net_j_per_tok       energy without what idling takes
 *   energy_j (J)            per step, gross; power_w, idle_w (W)
 */

/** Name of the i-th meter: "ncu", "nvml", "rapl", "perf", "cachegrind", "cachesim";
 * NULL past the end. Better provenance comes first. */
const char *icd_meter_name(int64_t i);

/** Name of the i-th built-in cache model: "cpu" (this one), "h100", "a100"; NULL past
 * the end. */
const char *icd_cache_model_name(int64_t i);

/**
 * Makes a meter and looks whether it works here.
 * @param opts [in] NULL: defaults
 * @return ICD_OK, available or not | ICD_EINVAL unknown name, options | ICD_ENOMEM
 */
icd_status icd_meter_open(icd_ctx *ctx, const char *name, const icd_meter_opts *opts,
                          icd_meter **out);
void icd_meter_free(icd_ctx *ctx, icd_meter *meter);

const icd_meter_state *icd_meter_probe(const icd_meter *meter);

/**
 * Measures arms. Where the meter, or the form of a subject, does not allow it, its
 * readings are ABSENT with the reason and the call succeeds. Meters that read counters in
 * this process let the arms take turns, so that drift falls on all of them.
 * @param subject [in]  [subjects]
 * @param windows [in]  repetitions behind each value (energy: windows of window_s); 0: 5
 * @param out     [out] [subjects] icd_readings_free; all NULL on error
 * @return ICD_OK | ICD_EINVAL no subject, or one without a name | ICD_EMEASURE the
 * command failed or a counter read nonsense | ICD_EIO | ICD_ECANCELLED | ICD_ENOMEM | the
 * error of a step
 */
icd_status icd_meter_measure(icd_ctx *ctx, icd_meter *meter,
                             const icd_meter_subject *subject, int64_t subjects,
                             int64_t windows, icd_readings **out);
void icd_readings_free(icd_ctx *ctx, icd_readings *readings);

/** Readings in which every metric of the meter is ABSENT with this reason, for a meter
 * that failed. @param out [out] [subjects], as icd_meter_measure */
icd_status icd_meter_absent(icd_ctx *ctx, const icd_meter *meter,
                            const icd_meter_subject *subject, int64_t subjects,
                            const char *reason, icd_readings **out);

/** The metric of a name; NULL where there is none. */
const icd_metric *icd_readings_find(const icd_readings *readings, const char *name);

/**
 * meters.json: {"version", "arms": {ARM: {METRIC: {"unit", "value", "low", "high",
 * "count", "provenance", "reason", "meter"}}}, "meters": [{"meter", "arm", "method",
 * "metrics", "detail"}]}. Where several meters read the same metric of an arm, MEASURED
 * goes before SIMULATED before MODELLED before ABSENT, then the first of the list; all of
 * them stay under "meters".
 * @return ICD_OK | ICD_EIO | ICD_ENOMEM
 */
icd_status icd_readings_write(icd_ctx *ctx, const icd_readings *const *readings,
                              int64_t count, const char *path);

/**
 * What a measurement depends on beside its configuration (processor, GPU, driver,
 * libraries, clocks, container, state of the sources), as a flat JSON object; null where
 * the machine does not tell. "machine" is a hash of what stays the same between two runs
 * that may be compared. No host or user name, no serial number.
 * @param sources [in] folder whose git commit is told; NULL: none
 * @param json    [out] icd_mem_free; NULL on error
 */
icd_status icd_fingerprint(icd_ctx *ctx, const char *sources, char **json);

/** What observing costs: number of times x unit cost measured on this machine. */
typedef struct icd_overhead {
    double event_s; /**< one event, delivered and logged */
    double clock_s; /**< one reading of the clock */
} icd_overhead;

/**
 * Measures the unit costs (a few milliseconds); events go to a scratch file in `dir`.
 * @param dir [in] a folder that can be written; NULL: they go to /dev/null
 */
icd_status icd_overhead_measure(icd_ctx *ctx, const char *dir, icd_overhead *out);

/** Share of `run_s` that went into events, or into the two clock readings of each of
 * `samples`; MODELLED, name "event_overhead" or "clock_overhead", unit "%". */
icd_metric icd_overhead_events(const icd_overhead *cost, int64_t events, double run_s);
icd_metric icd_overhead_clock(const icd_overhead *cost, int64_t samples,
                              double observing_s, double run_s);

/** Whether it is as small as promised: events below 1 %, clocks below 5 %. */
bool icd_overhead_fits(const icd_metric *overhead);

#ifdef __cplusplus
}
#endif
#endif
