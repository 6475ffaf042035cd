/**
 * @file schedule.h
 * Which block of a persistent grid multiplies what: tiles of tokens x row blocks cut into
 * runs of granules, so that every block has about the same number, however uneven the row
 * blocks are (after Osama et al. 2023, "Stream-K", arXiv:2301.03598).
 */
#ifndef ICD_KERNELS_CUDA_SCHEDULE_H
#define ICD_KERNELS_CUDA_SCHEDULE_H

#include "kernels/cuda/params.h"

typedef struct icd_gpu_work {
    const int64_t *block_ptr; /**< [blocks + 1] granules */
    int64_t blocks, tiles;    /**< row blocks; tiles of tokens */
    int32_t grid;             /**< blocks of the grid, >= 1 */
    int32_t least; /**< granules that a piece of a cut tile has at least, >= 1 */
} icd_gpu_work;

/** What a schedule needs besides the list. */
typedef struct icd_gpu_cuts {
    int64_t items;
    int64_t slots;   /**< pieces of cut tiles: places in the workspace */
    int64_t tallies; /**< cut tiles */
} icd_gpu_cuts;

/** Most items that a schedule has. */
static inline int64_t icd_i_gpu_items(const icd_gpu_work *work)
{
    return work->blocks * work->tiles + work->grid;
}

/**
 * Lists the items in the order of the grid's blocks. Each (row block, tile) is covered
 * exactly once, in order; one without granules has an empty item, which writes the bias.
 * @param item     [out] room for icd_i_gpu_items(work)
 * @param item_ptr [out] [grid + 1]
 * @cost  time O(items)
 */
void icd_i_gpu_schedule(const icd_gpu_work *work, icd_gpu_item *item, int32_t *item_ptr,
                        icd_gpu_cuts *out);

/** Granules (and the fixed cost of a piece, in granules) of the fullest block of the grid
 * over the mean: 1 is perfect. */
double icd_i_gpu_imbalance(const icd_gpu_item *item, const int32_t *item_ptr,
                           int32_t grid);

#endif
