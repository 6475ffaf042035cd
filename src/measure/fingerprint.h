/**
 * @file fingerprint.h
 * What a measurement depends on beside its configuration: processor, GPU, driver,
 * libraries, clocks, container, state of the sources. No host or user name, no serial
 * number.
 */
#ifndef ICD_MEASURE_FINGERPRINT_H
#define ICD_MEASURE_FINGERPRINT_H

#include "base/json.h"

/** Zeroed: this machine, no sources. */
typedef struct icd_fingerprint_opts {
    const char *root; /**< folder in which sys, proc, etc, run are looked up; NULL: "" */
    const char *git;  /**< folder whose commit is told; NULL: none */
    const char *nvml; /**< library; NULL: "libnvidia-ml.so.1" */
    const char *config_hash; /**< in hexadecimal; NULL: none */
} icd_fingerprint_opts;

/**
 * One flat object of strings, numbers and booleans; null where the machine does not tell.
 * "machine" is a hash of what stays the same between two runs that may be compared:
 * everything but core_mhz, config_hash, git and dirty.
 * @param out [out] new reference (json_decref); NULL on error
 */
icd_status icd_i_fingerprint(icd_ctx *ctx, const icd_fingerprint_opts *opts,
                             json_t **out);

#endif
