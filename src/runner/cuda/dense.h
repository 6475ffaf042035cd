/**
 * @file dense.h
 * Dense linears: beside our kernel stands the library's, and the faster of them runs.
 */
#ifndef ICD_RUNNER_CUDA_DENSE_H
#define ICD_RUNNER_CUDA_DENSE_H

#include "runner/cuda/gpu.h"

/**
 * Uploads a dense linear once more as the libraries read it, where there is a library and
 * memory for it; else leaves l->flat empty.
 * @return ICD_OK | ICD_ENOMEM of the host
 */
icd_status icd_i_gpu_flat_put(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l,
                              const icd_gpu_weights *from);

/**
 * Sets l->by: every way that can run this linear is timed in turns on random data, the
 * fastest is kept, ours unless another is faster. Sends an event "kernel" with the times.
 * A way that fails is passed over, so is all of it where memory is short.
 */
icd_status icd_i_gpu_fastest(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l);

/** Random numbers of a type, of like size: timings on zeros flatter. */
void icd_i_gpu_random(int32_t type, unsigned char *out, int64_t bytes);

/** A product by l->by, which is not ours; as icd_i_gpu_product. */
icd_status icd_i_gpu_foreign(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_linear *l,
                             icd_dptr staged, icd_dptr scale, icd_dptr y, int64_t ldy);

#endif
