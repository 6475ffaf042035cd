/**
 * @file linear_small.h
 * y = x w^T + bias of one planned matrix with weights of 4 bits in scaled groups, or with
 * two int8 weights in any four channels; activations in int8. Memory is the caller's.
 */
#ifndef ICD_KERNELS_LINEAR_SMALL_H
#define ICD_KERNELS_LINEAR_SMALL_H

#include "kernels/linear.h"

/** A packed matrix; every pointer is borrowed. Granules of the plan are multiples of
 * ICD_STEP, and with 4 bits of `per` steps. */
typedef struct icd_small_linear {
    const icd_plan *plan;
    const uint8_t *w;    /**< icd_i_small_bytes, block behind block */
    const int32_t *step; /**< [icd_i_small_steps] live steps, block behind block */
    int64_t per;         /**< 4 bits: steps of a scale; 0: two of four */
    const int32_t *comp; /**< two of four: [blocks * vector] */
    const float *scale;  /**< 4 bits: [scales of all blocks][vector]; else [rows] */
    const float *bias;   /**< [rows]; NULL: none */
} icd_small_linear;

/** Live steps of all blocks. */
int64_t icd_i_small_steps(const icd_plan *plan);

/** Bytes of the packed weights. */
int64_t icd_i_small_bytes(const icd_plan *plan, int64_t per);

/** Writes the live steps. @param step [out] icd_i_small_steps */
void icd_i_small_list(const icd_plan *plan, int32_t *step);

/** Scales of the blocks before `block`: what its first scale is behind. */
int64_t icd_i_small_scales(const icd_plan *plan, int64_t per, int64_t block);

/**
 * Packs a matrix, in the order of the model.
 * @param column [out] scratch of 4 * icd_i_plan_widest(plan) entries
 * @param comp   [out] two of four: [blocks * vector]; else NULL
 * @return false where four neighbouring slots hold a third weight
 */
bool icd_i_small_pack(const icd_plan *plan, int64_t per, const int8_t *q, int32_t *column,
                      uint8_t *w, int32_t *comp);

/** Like icd_i_linear_run, with the scratch that icd_i_linear_scratch tells. */
void icd_i_small_run(const icd_kernels *k, const icd_small_linear *l, const int8_t *a,
                     const float *a_scale, int64_t tokens, int64_t first, int64_t last,
                     float *y, int64_t ldy, void *scratch);

#endif
