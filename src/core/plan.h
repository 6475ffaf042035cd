/**
 * @file plan.h
 * How one int8 matrix is executed: the order of its input buffer and, per row block, which groups of
 * four channels (tile, dense) or which single channels (gather) are multiplied.
 */
#ifndef ICD_CORE_PLAN_H
#define ICD_CORE_PLAN_H

#include "core/layout.h"

enum { ICD_GROUP = 4 }; /**< channels that one int8 dot product takes together */

typedef struct icd_plan {
    int32_t kernel;       /**< icd_kernel_kind: DENSE, GATHER or TILE */
    int64_t rows, cols;
    int32_t vector;       /**< rows of a row block */
    int32_t granule;      /**< g: a multiple of 4 (DENSE, TILE); 1 (GATHER) */
    int64_t slots;        /**< input slots: cols rounded up to g */
    int32_t *old_of_new;  /**< [slots] column at each slot; -1: padding */
    int64_t blocks;
    int64_t *block_ptr;   /**< [blocks + 1] into live, in groups of four */
    int32_t *live;        /**< DENSE, TILE: [block_ptr[blocks]] index of a live group of slots;
                               GATHER: [4 * block_ptr[blocks]] slots, -1: padding */
} icd_plan;

/**
 * Makes the plan of a layout entry.
 * @param vector [in] rows of a row block, a multiple of 16
 * @return ICD_OK | ICD_EINVAL granule not a multiple of 4 | ICD_ENOMEM
 */
icd_status icd_i_plan_new(icd_ctx *ctx, const icd_layout_entry *entry, int32_t vector,
                          icd_plan **out);
void icd_i_plan_free(icd_ctx *ctx, icd_plan *plan);

/** Bytes that a step reads: packed weights and the indices beside them. */
int64_t icd_i_plan_bytes(const icd_plan *plan);

/** Source columns of the groups of a block, as icd_i_pack_block wants them: [4 * groups]. */
void icd_i_plan_columns(const icd_plan *plan, int64_t block, int32_t *column);

#endif
