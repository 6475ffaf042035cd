/**
 * @file gather.h
 * Byte gather for the levels without an instruction for it: four loads make one store.
 */
#ifndef ICD_KERNELS_GATHER_H
#define ICD_KERNELS_GATHER_H

#include <stdint.h>
#include <string.h>

static inline uint32_t gather_four(const uint8_t *a, const int32_t *index)
{
    return a[index[0]] | (uint32_t)a[index[1]] << 8 | (uint32_t)a[index[2]] << 16 |
           (uint32_t)a[index[3]] << 24;
}

/* Four rows at a time share the loads of the indices. */
static inline void gather_rows(const int8_t *a, int64_t lda, int64_t tokens,
                               const int32_t *index, int64_t count, int8_t *out)
{
    enum { ROWS = 4 };
    for (int64_t t = 0; t < tokens; t += ROWS) {
        int64_t rows = tokens - t < ROWS ? tokens - t : ROWS;
        for (int64_t k = 0; k < count; k += 4)
            for (int64_t i = t; i < t + rows; i++) {
                uint32_t four = gather_four((const uint8_t *)(a + i * lda), index + k);
                memcpy(out + i * count + k, &four, sizeof four);
            }
    }
}

#endif
