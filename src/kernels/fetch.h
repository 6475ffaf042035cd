/**
 * @file fetch.h
 * Asking for memory before it is written.
 */
#ifndef ICD_KERNELS_FETCH_H
#define ICD_KERNELS_FETCH_H

#include <stdint.h>

/** Asks for the lines that a block will write, which no cache may hold: else its stores,
 * one row behind the other, wait for them. */
static inline void icd_i_fetch_rows(const float *y, int64_t ldy, int64_t tokens,
                                    int64_t rows)
{
    enum { LINE = 64 / sizeof(float) };
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t r = 0; r < rows; r += LINE) __builtin_prefetch(y + t * ldy + r, 1);
}

#endif
