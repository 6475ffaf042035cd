/**
 * @file nvml.h
 * What a test tells the fake NVML library (nvml.c), through the function it exports.
 */
#ifndef ICD_FAKE_NVML_H
#define ICD_FAKE_NVML_H

#include <stdbool.h>

/** Codes are nvmlReturn_t: 0 works. Filled with a sound device by fake_nvml_reset. */
typedef struct fake_nvml {
    int init, handle, energy, power, instant, clock, temperature, reasons, busy;
    unsigned devices;
    double watts;    /**< what the board takes from now on (fake_nvml_load) */
    double tick_s;   /**< the counter is renewed this often; < 0: it stands still */
    double start_mj; /**< counter of the first reading */
    double wrap_mj;  /**< the counter begins again there; 0: never */
    int calls;       /**< of the energy counter so far */
    int fail_from;   /**< the call from which `fail_code` is told; 0: never */
    int fail_code;
    int back_at; /**< the call at which the counter is 0 again; 0: never */
    unsigned sm_mhz, mem_mhz, celsius, busy_pct;
    unsigned long long throttle;
} fake_nvml;

/** The device, to be looked at and changed between calls. */
typedef fake_nvml *fake_nvml_fn(void);
/** From now on the board takes this much. */
typedef void fake_nvml_load_fn(double watts);

#endif
