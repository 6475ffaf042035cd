/**
 * @file nvml.h
 * One NVIDIA GPU through the driver's management library, loaded at run time. Reads
 * only: nothing here can change a setting of the device.
 */
#ifndef ICD_MEASURE_NVML_H
#define ICD_MEASURE_NVML_H

#include "measure/power.h"

typedef struct icd_nvml icd_nvml;

/** Whether the device can be read. */
typedef struct icd_nvml_state {
    bool available;
    char found[256];    /**< "NVIDIA H100 80GB HBM3, driver 580.95.05, energy counter" */
    const char *enable; /**< NULL when available */
} icd_nvml_state;

/**
 * Loads the library and looks for the device. Where that is not possible the call
 * succeeds and `state` says why; sources are then not to be read.
 * @param library [in] "libnvidia-ml.so.1"
 * @param device  [in] as NVML counts
 */
icd_status icd_i_nvml_open(icd_ctx *ctx, const char *library, int32_t device,
                           icd_nvml **out);
void icd_i_nvml_close(icd_ctx *ctx, icd_nvml *nvml);

const icd_nvml_state *icd_i_nvml_state(const icd_nvml *nvml);

/** The total-energy counter, or, where the driver has none, samples of power. */
icd_power_source icd_i_nvml_source(icd_nvml *nvml);

/** How energy is read: half a sentence. */
const char *icd_i_nvml_method(const icd_nvml *nvml);

#endif
