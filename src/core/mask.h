/**
 * @file mask.h
 * Which weights of a matrix survive: one bit per (row block, column). V rows share a
 * decision (hds); V = 1 is unstructured.
 */
#ifndef ICD_CORE_MASK_H
#define ICD_CORE_MASK_H

#include "base/mem.h"
#include <icd/access.h>

typedef struct icd_mask {
    int64_t rows, cols;
    int32_t vector; /**< V: output rows that share one decision per input channel */
    int64_t blocks; /**< ceil(rows / V) */
    int64_t words;  /**< 64-bit words per block */
    uint64_t *bits; /**< blocks x words; bit c of a block: column c survives */
} icd_mask;

/** A mask in which nothing survives. */
icd_status icd_i_mask_new(icd_ctx *ctx, int64_t rows, int64_t cols, int32_t vector,
                          icd_mask **out);
void icd_i_mask_free(icd_ctx *ctx, icd_mask *mask);

static inline bool icd_i_mask_get(const icd_mask *m, int64_t block, int64_t col)
{
    return m->bits[block * m->words + (col >> 6)] >> (col & 63) & 1;
}
static inline void icd_i_mask_set(icd_mask *m, int64_t block, int64_t col)
{
    m->bits[block * m->words + (col >> 6)] |= UINT64_C(1) << (col & 63);
}

/** Share of weights that survive (rows of a short last block counted as they are). */
double icd_i_mask_density(const icd_mask *m);

/** The mask as kernels with V rows see it: a coarser block survives where any of its rows
 * does. */
icd_status icd_i_mask_coarsen(icd_ctx *ctx, const icd_mask *m, int32_t vector,
                              icd_mask **out);

/**
 * Access sets of row blocks: event = row block, indices = surviving columns, weight 1.
 * Several masks over the same columns (Q, K, V) are appended one behind the other.
 */
icd_status icd_i_mask_access(icd_ctx *ctx, const icd_mask *const *mask, int64_t count,
                             uint64_t frame, const char *axis, icd_access **out);

#endif
