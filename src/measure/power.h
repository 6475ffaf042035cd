/**
 * @file power.h
 * Energy in windows: a thread polls a counter of joules (or a sensor of watts) while arms
 * run in turn, idle time between them; what a window took is read off afterwards.
 *
 * A counter is renewed in ticks (NVML: every 20 to 100 ms) and read at any time. Only
 * readings where it moved count, and energy between ticks is interpolated: both ends of
 * a window are late alike. Steps before and behind the counted ones keep the load on
 * while the counter is late.
 */
#ifndef ICD_MEASURE_POWER_H
#define ICD_MEASURE_POWER_H

#include "base/text.h"
#include <icd/measure.h>

#include <math.h>

/** What a source told at one moment; NaN: not told. */
typedef struct icd_power_row {
    double t;      /**< icd_i_now */
    double joules; /**< since the source was opened; never goes back */
    double watts;
    double sm_mhz, mem_mhz, celsius, busy_pct;
    int64_t throttle; /**< bits of icd_power_reason_name; -1: not told */
} icd_power_row;

/** Where energy is read. */
typedef struct icd_power_source {
    /**
     * Reads everything once; called from one thread at a time, not that of the context.
     * @param row [in,out] t is now; a later one is taken as the time of the reading
     * @param why [out] a sentence, when it fails
     */
    bool (*read)(void *self, icd_power_row *row, char why[160]);
    void *self;
    bool counts;     /**< row.joules is told; else watts are integrated */
    double period_s; /**< of the ticks, or what a sensor averages over */
    double poll_s;   /**< how often it is read */
} icd_power_source;

/** A counter of joules that may begin again at 0. */
typedef struct icd_power_counter {
    double range; /**< largest value before it does; 0: it never does */
    double last, total, t;
    bool begun;
} icd_power_counter;

/**
 * Takes a reading; `total` grows by what was used since the one before.
 * @return false: nonsense, more than 20 kW or a counter that went back
 */
bool icd_i_power_count(icd_power_counter *counter, double t, double value);

/** Joules from `from` to `to`; NaN where the rows do not enclose both with ticks. */
double icd_i_power_joules(const icd_power_row *row, int64_t count, bool counts,
                          double from, double to);

typedef enum icd_power_phase {
    ICD_POWER_IDLE,
    ICD_POWER_LEAD,   /**< steps that are not counted, before the window */
    ICD_POWER_WINDOW, /**< whole steps, all counted */
    ICD_POWER_TAIL    /**< steps that are not counted, behind it */
} icd_power_phase;

/** A stretch of time in which one thing was done. */
typedef struct icd_power_span {
    double from, to;
    int32_t phase; /**< icd_power_phase */
    int32_t arm;   /**< -1: none */
    int64_t block; /**< which pass over the arms */
    int64_t steps;
    double joules; /**< NaN: the counter did not tell */
    double watts;  /**< mean; NaN likewise */
} icd_power_span;

typedef struct icd_power_plan {
    double window_s; /**< at least; raised to 10 periods of the source */
    double
        idle_s; /**< before, between and behind windows; raised to 6 periods; 0: none */
    int64_t windows; /**< of each arm, raised to whole Williams designs */
} icd_power_plan;

/** What was seen; icd_i_power_record_release. */
typedef struct icd_power_record {
    icd_power_row *row;
    int64_t rows;
    icd_power_span *span;
    int64_t spans;
    int64_t capacity[2]; /**< of row, of span */
    double reading_s;    /**< that the thread spent in reading the source */
    bool counts;
} icd_power_record;

/**
 * Runs every arm `windows` times, in whole Williams designs (two arms: ABBA),
 * and records the source meanwhile. A reading that fails is passed over; the third in a
 * row ends the run.
 * @return ICD_OK | ICD_EMEASURE the source failed | ICD_ECANCELLED | ICD_ENOMEM | the
 * error of a step
 */
icd_status icd_i_power_run(icd_ctx *ctx, const icd_power_source *source,
                           const icd_power_plan *plan, const icd_arm *const *arm,
                           int64_t arms, icd_power_record *out);
void icd_i_power_record_release(icd_ctx *ctx, icd_power_record *record);

/** Mean watts of the idle spans beside a span; NaN: none was told. */
double icd_i_power_idle(const icd_power_record *record, int64_t span);

/** "sw_power_cap"...: bit i of a throttle mask; NULL past the end. */
const char *icd_i_power_reason_name(int64_t i);

/**
 * Rows of power.csv behind `text`, at most `hz` per second; the first call adds the line
 * of names:
 * t_s,phase,arm,window,energy_j,power_w,sm_mhz,mem_mhz,temp_c,busy_pct,throttle.
 * @param began [in] icd_i_now that is written as 0
 */
icd_status icd_i_power_csv(icd_ctx *ctx, const icd_power_record *record,
                           const icd_arm *const *arm, double hz, double began,
                           icd_text *text);

#endif
