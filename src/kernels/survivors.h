/**
 * @file survivors.h
 * Contextual sparsity: when skipping what is exactly zero pays.
 */
#ifndef ICD_KERNELS_SURVIVORS_H
#define ICD_KERNELS_SURVIVORS_H

#include <stdint.h>

/** A list pays from a tenth of the entries skipped: looking entries up costs 5 %. */
static inline int64_t icd_i_worth_skipping(int64_t count)
{
    return count - count / 10;
}

#endif
