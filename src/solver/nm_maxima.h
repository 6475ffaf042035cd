/**
 * @file nm_maxima.h
 * The arithmetic of the N:M search: maxima of int16 rows, in AVX2 where the CPU has it.
 * Integers: the same sums on every CPU.
 */
#ifndef ICD_SOLVER_NM_MAXIMA_H
#define ICD_SOLVER_NM_MAXIMA_H

#include <stdint.h>

/** Counts and pitches of rows are multiples of this; the padding is zero. */
#define ICD_NM_LANES 16

/** `count` columns, `pitch` apart, of `rows` rows. */
typedef struct icd_nm_columns {
    const int16_t *first;
    int64_t pitch, rows, count;
} icd_nm_columns;

typedef struct icd_nm_maxima {
    /** line[c] += base + sum over rows of max(rest, column c). */
    void (*add)(const int16_t *rest, icd_nm_columns column, int32_t base, int32_t *line);

    /** Moves the larger value of every row into `level`, the smaller into `carry`. */
    void (*sort)(int16_t *restrict level, int16_t *restrict carry, int64_t rows);

    /** The largest a[k] + b[k] + noise[k], count >= 1; where it is above zero, the
     * first k that has it. */
    int32_t (*best)(const int32_t *a, const int32_t *b, const int32_t *noise,
                    int64_t count, int64_t *at);
} icd_nm_maxima;

/** The fastest of this CPU. */
icd_nm_maxima icd_i_nm_maxima(void);

/** Plain C, for comparison. */
icd_nm_maxima icd_i_nm_maxima_plain(void);

#endif
