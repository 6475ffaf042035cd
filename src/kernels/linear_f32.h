/**
 * @file linear_f32.h
 * y = x w^T + bias of one planned matrix in f32 arithmetic, weights in f32 or bf16: the
 * loop over row blocks around the kernels. Memory is the caller's.
 */
#ifndef ICD_KERNELS_LINEAR_F32_H
#define ICD_KERNELS_LINEAR_F32_H

#include "core/plan.h"
#include "kernels/kernels.h"

/** Tokens that share the weights of a pass: a multiple of ICD_PANEL. */
enum { ICD_F32_CHUNK = 192 };

/** A packed matrix; every pointer is borrowed. */
typedef struct icd_f32_linear {
    const icd_plan *plan;
    const float *w;         /**< icd_i_plan_groups * 4 * vector weights; or else */
    const uint16_t *half;   /**< the same in bf16 */
    const int32_t *channel; /**< [4 * icd_i_plan_groups] live slots, block behind block */
    const float *bias;      /**< [rows]; NULL: none */
    bool add;               /**< y += instead of y =; without a bias */
} icd_f32_linear;

/** Writes the live slots of all blocks. @param channel [out] 4 * icd_i_plan_groups */
void icd_i_f32_channels(const icd_plan *plan, int32_t *channel);

/**
 * Packs a matrix, in the order of the model; what a mask removes must be zero in `w`.
 * @param column [out] scratch of 4 * icd_i_plan_widest(plan) entries
 * @param out    [out] icd_i_plan_groups * 4 * vector weights
 */
void icd_i_f32_pack(const icd_plan *plan, const float *w, int32_t *column, float *out);
void icd_i_bf16_pack(const icd_plan *plan, const uint16_t *w, int32_t *column,
                     uint16_t *out);

/** Bytes of scratch that icd_i_f32_run needs; one scratch for each thread. */
int64_t icd_i_f32_scratch(const icd_plan *plan);

/**
 * Computes the output rows of blocks first..last-1 for all tokens; blocks are
 * independent, so any split among threads gives the same bits. Channels in which all of a
 * few tokens are exactly zero are skipped: their weights are not read.
 * @param a       [in] `tokens` rows of plan->slots in panels (pack_panel)
 * @param y       [out] [tokens x ldy]; columns of the blocks' rows are written
 * @param scratch [in] icd_i_f32_scratch(plan) bytes, aligned to 4
 */
void icd_i_f32_run(const icd_kernels *k, const icd_f32_linear *l, const float *a,
                   int64_t tokens, int64_t first, int64_t last, float *y, int64_t ldy,
                   void *scratch);

#endif
