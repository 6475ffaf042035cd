/**
 * @file plan.h
 * How one int8 matrix is executed: the order of its input buffer and, per row block,
 * which groups of four channels (tile, dense) or which single channels (gather) are
 * multiplied.
 */
#ifndef ICD_CORE_PLAN_H
#define ICD_CORE_PLAN_H

#include "core/layout.h"

enum {
    ICD_GROUP = 4,              /**< channels that one int8 dot product takes together */
    ICD_PLAN_MAX_COLS = 131072, /**< 131072 * 127 * 127 < 2^31: sums fit into int32 */
    ICD_VECTOR_UNIT = 16        /**< rows of a 64-byte line of packed weights */
};

typedef struct icd_plan {
    int32_t kernel; /**< icd_kernel_kind: DENSE, GATHER or TILE */
    int64_t rows, cols;
    int32_t vector;      /**< rows of a row block */
    int32_t granule;     /**< g: a multiple of 4 (TILE); 4 (DENSE); 1 (GATHER) */
    int64_t slots;       /**< input slots: cols rounded up to a multiple of 4 and of g */
    int32_t *old_of_new; /**< [slots] column at each slot; -1: padding, input zero */
    int64_t blocks;
    int64_t *block_ptr; /**< [blocks + 1] into live, in groups of four */
    int32_t *live;      /**< DENSE, TILE: [block_ptr[blocks]] live groups of slots.
                             GATHER: [4 * block_ptr[blocks]] live slots; a block whose
                             count is no multiple of 4 repeats its last slot. Ascending. */
    int64_t live_capacity;
} icd_plan;

/**
 * Makes the plan of a layout entry: DENSE takes all groups, TILE the granules in which
 * any channel survives in any row of the block, GATHER the channels that do. The mask is
 * coarsened to `vector` rows; NULL: all survive.
 * @param entry  [in] a kernel other than AUTO, a granule where the kernel is TILE
 * @param vector [in] rows of a row block, a multiple of 16
 * @param out    [out] icd_i_plan_free; NULL on error
 * @return ICD_OK | ICD_EINVAL kernel, vector, granule, cols or sizes of mask and order |
 *         ICD_ENOMEM
 */
icd_status icd_i_plan_new(icd_ctx *ctx, const icd_layout_entry *entry, int32_t vector,
                          icd_plan **out);
void icd_i_plan_free(icd_ctx *ctx, icd_plan *plan);

/** Live groups of four, all blocks together. */
static inline int64_t icd_i_plan_groups(const icd_plan *plan)
{
    return plan->block_ptr[plan->blocks];
}

/** Live groups of the block that has most. */
int64_t icd_i_plan_widest(const icd_plan *plan);

/** Bytes that a step reads: packed weights and the indices beside them. */
int64_t icd_i_plan_bytes(const icd_plan *plan);

/**
 * Source columns of a block's weights, in the order in which they are packed.
 * @param column [out] 4 entries a group of the block; -1: zero weights
 */
void icd_i_plan_columns(const icd_plan *plan, int64_t block, int32_t *column);

#endif
