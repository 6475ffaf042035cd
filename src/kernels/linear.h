/**
 * @file linear.h
 * y = x w^T + bias of one planned int8 matrix: the loop over row blocks around the
 * kernels. Memory is the caller's.
 */
#ifndef ICD_KERNELS_LINEAR_H
#define ICD_KERNELS_LINEAR_H

#include "core/plan.h"
#include "kernels/kernels.h"

/** Tokens that share one reading of the weights: with V = 64 their sums take 48 KB. */
enum { ICD_TOKEN_CHUNK = 192 };

/** A packed matrix; every pointer is borrowed. */
typedef struct icd_packed_linear {
    const icd_plan *plan;
    const int8_t *w;     /**< icd_i_linear_bytes(plan), block behind block */
    const int32_t *comp; /**< [blocks * vector] */
    const float *scale;  /**< [rows] */
    const float *bias;   /**< [rows]; NULL: none */
} icd_packed_linear;

/** Bytes of a plan's packed weights. */
int64_t icd_i_linear_bytes(const icd_plan *plan);

/**
 * Packs a matrix. Weights are taken as they are: what a mask removes must be zero in `q`
 * unless it is meant to live on inside live granules (refill).
 * @param q      [in] [rows x cols], row-major, in the order of the model
 * @param column [out] scratch of 4 * icd_i_plan_widest(plan) entries
 * @param w      [out] icd_i_linear_bytes(plan)
 * @param comp   [out] blocks * vector
 */
void icd_i_linear_pack(const icd_plan *plan, const int8_t *q, int32_t *column, int8_t *w,
                       int32_t *comp);

/** Bytes of scratch that icd_i_linear_run needs; one scratch for each thread. */
int64_t icd_i_linear_scratch(const icd_plan *plan);

/**
 * Computes the output rows of blocks first..last-1 for all tokens; blocks are
 * independent, so any split among threads gives the same bits. Groups in which all of a
 * few tokens are exactly zero are skipped: their weights are not read.
 * @param a       [in] [tokens x plan->slots], from quantize_row with plan->old_of_new
 * @param a_scale [in] [tokens]
 * @param y       [out] [tokens x ldy]; columns of the blocks' rows are written
 * @param scratch [in] icd_i_linear_scratch(plan) bytes, aligned to 4
 */
void icd_i_linear_run(const icd_kernels *k, const icd_packed_linear *l, const int8_t *a,
                      const float *a_scale, int64_t tokens, int64_t first, int64_t last,
                      float *y, int64_t ldy, void *scratch);

#endif
