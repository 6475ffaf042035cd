/**
 * @file clock.h
 * The clocks behind a sample, how fast the core runs, and which CPUs may be used.
 */
#ifndef ICD_MEASURE_CLOCK_H
#define ICD_MEASURE_CLOCK_H

#include "base/error.h"
#include <icd/measure.h>

/** Seconds of CLOCK_MONOTONIC_RAW: no network time bends it. */
double icd_i_raw_now(void);

/** How often the kernel has taken a CPU from a thread of this process that wanted to go
 * on.
 */
int64_t icd_i_interruptions(void);

/** The time-stamp counter; 0 where the processor has none. */
uint64_t icd_i_ticks(void);

/** Whether the counter runs at one rate in every power state of the CPU. */
bool icd_i_ticks_invariant(void);

/**
 * MHz of this core at this moment: how fast it gets through a chain of multiplications,
 * each of which needs the one before (3 cycles on x86-64 since 2008). About 20 us; the
 * fastest of three pieces, so that an interrupt does not count.
 * @return 0 where the latency of a multiplication is not known
 */
double icd_i_core_mhz(void);

/**
 * What the kernel tells about the clocks of a CPU: governor, boost, throttling.
 * @param root [in] "/sys/devices/system/cpu"; tests bring their own
 */
void icd_i_clock_state(const char *root, int cpu, icd_clock *out);

/** Events of thermal throttling of a CPU so far; -1: the kernel does not tell. */
int64_t icd_i_throttle_count(const char *root, int cpu);

/** Which CPUs the threads of this process ran on before a pin. */
typedef struct icd_pin {
    unsigned char before[128]; /**< cpu_set_t of the calling thread */
    bool pinned;
} icd_pin;

/**
 * Binds every thread of this process to CPUs, and threads made later with them.
 * @param cpus    [in] "off", "auto" (as many as there are threads, from the last one this
 *                process may use: the first ones serve most interrupts) or "0,2-3"
 * @param chosen  [out] the CPUs as a list ("2,3"), "not pinned"; cut to its size
 * @return ICD_OK | ICD_EINVAL no such list | ICD_EUNSUPPORTED the kernel refuses
 */
icd_status icd_i_pin(icd_ctx *ctx, const char *cpus, int32_t threads, icd_pin *pin,
                     char *chosen, size_t size);
void icd_i_unpin(icd_pin *pin);

#endif
