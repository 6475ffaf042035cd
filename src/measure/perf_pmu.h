/**
 * @file perf_pmu.h
 * The processor's own counters, through perf_event_open: of every thread of this process,
 * user code only, so that the kernel's default permissions suffice.
 */
#ifndef ICD_MEASURE_PERF_PMU_H
#define ICD_MEASURE_PERF_PMU_H

#include "base/mem.h"

typedef enum icd_perf_event {
    ICD_PERF_CYCLES,
    ICD_PERF_INSTRUCTIONS,
    ICD_PERF_REFERENCES,
    ICD_PERF_MISSES,
    ICD_PERF_EVENTS
} icd_perf_event;

/** Which cache the kernel's "cache references" and "cache misses" are about. */
typedef enum icd_perf_cache {
    ICD_PERF_NO_CACHE, /**< differs from model to model */
    ICD_PERF_L2,       /**< AMD, since Zen */
    ICD_PERF_LLC       /**< Intel */
} icd_perf_cache;

/** What one counter told: its count and for how long (ns) it was wanted and ran. */
typedef struct icd_perf_value {
    uint64_t count, enabled, running;
} icd_perf_value;

/** The system calls; tests put others in their place. */
typedef struct icd_perf_ops {
    /** @param tid [in] thread @return a descriptor, or -errno */
    int (*open)(void *self, icd_perf_event event, int32_t tid);
    bool (*read)(void *self, int fd, icd_perf_value *out);
    void (*close)(void *self, int fd);
    void *self;
} icd_perf_ops;

extern const icd_perf_ops icd_i_perf_system;

/** Of this processor. */
icd_perf_cache icd_i_perf_cache(void);

/** Tries one counter. @return 0, or errno */
int icd_i_perf_probe(const icd_perf_ops *ops);

/** Counters of all threads that there are when they are opened. */
typedef struct icd_perf {
    const icd_perf_ops *ops;
    int *fd; /**< [threads x ICD_PERF_EVENTS]; -1: not there */
    int64_t threads;
} icd_perf;

/**
 * @param cache [in] false: cycles and instructions only
 * @return ICD_OK | ICD_EMEASURE no counter can be opened | ICD_ENOMEM
 */
icd_status icd_i_perf_open(icd_ctx *ctx, const icd_perf_ops *ops, bool cache,
                           icd_perf *out);
void icd_i_perf_close(icd_ctx *ctx, icd_perf *perf);

/** Sums over threads. @return false: a counter cannot be read */
bool icd_i_perf_read(const icd_perf *perf, icd_perf_value out[ICD_PERF_EVENTS]);

/**
 * What was counted between two readings, scaled up for the time in which the counter had
 * to give way to others; NaN where it never ran.
 */
double icd_i_perf_between(const icd_perf_value *from, const icd_perf_value *to);

#endif
