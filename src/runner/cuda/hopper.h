/**
 * @file hopper.h
 * Whether a kernel written for Hopper may run: no kernel of hopper.cu multiplies before
 * it has been compared, on the device at hand, with the one that every device runs.
 */
#ifndef ICD_RUNNER_CUDA_HOPPER_H
#define ICD_RUNNER_CUDA_HOPPER_H

#include "runner/cuda/gpu.h"

/**
 * Both kernels multiply random activations by this linear. Sends an event "kernel" with
 * the times and the largest difference; a kernel that differs is refused with a warning,
 * a slower one, or one that cannot be tried, without.
 * @param l [in] a linear that tokens' tile kernels run; its schedule is not touched
 * @return  icd_gpu_trust, never UNTRIED
 */
int8_t icd_i_gpu_try_hopper(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_linear *l,
                            int64_t tokens);

/** Schedules a linear for a number of tokens, by the one or the other kernel. */
icd_status icd_i_gpu_prepare_as(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l,
                                int64_t tokens, bool hopper);

#endif
