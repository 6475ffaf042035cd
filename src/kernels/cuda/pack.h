/**
 * @file pack.h
 * A plan in the form that the device multiplies (params.h): lists of live granules and
 * packed weights. Memory is the caller's.
 */
#ifndef ICD_KERNELS_CUDA_PACK_H
#define ICD_KERNELS_CUDA_PACK_H

#include "core/plan.h"
#include "kernels/cuda/params.h"

/** Channels of a staged row: the plan's slots in whole granules. */
int64_t icd_i_gpu_slots(const icd_plan *plan, int32_t type);

/** Granules of all row blocks together; block_ptr [blocks + 1] is filled. A plan granule
 * that is no whole number of the device's makes more of them live. */
int64_t icd_i_gpu_count(const icd_plan *plan, int32_t type, int64_t *block_ptr);

/** Entries of the list: granules, or (gather) channels. */
int64_t icd_i_gpu_live_entries(const icd_plan *plan, int32_t type, int64_t granules);

/**
 * The list of icd_gpu_product.live.
 * @param live [out] icd_i_gpu_live_entries
 */
void icd_i_gpu_list(const icd_plan *plan, int32_t type, const int64_t *block_ptr,
                    int32_t *live);

/**
 * Packs one row block.
 * @param w   [in]  [rows x cols] row-major in the order of the model: f32 (BF16: rounded,
 *                  ties to even), int8 or the bits of e4m3
 * @param out [out] granules of the block x vector x 32 bytes
 */
void icd_i_gpu_pack(const icd_plan *plan, int32_t type, const int64_t *block_ptr,
                    const int32_t *live, const void *w, int64_t block,
                    unsigned char *out);

#endif
