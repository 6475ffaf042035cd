/**
 * @file triangle.h
 * Sums of all pairs i < j in one dense upper triangle, for index spaces small enough;
 * block after block of events is added, so that a trace of any length needs O(n^2) memory
 * only.
 *
 * As long as all events add the same value the triangle counts in 32 bits; sums in double
 * come when they are needed.
 */
#ifndef ICD_GRAPH_TRIANGLE_H
#define ICD_GRAPH_TRIANGLE_H

#include "graph/block.h"
#include "graph/rows.h"

/** How a block is added; AUTO takes the cheaper by an estimate. */
typedef enum icd_path {
    ICD_PATH_AUTO,
    ICD_PATH_LISTS, /**< every pair of every event */
    ICD_PATH_BITS   /**< rows of bits and population counts */
} icd_path;

typedef struct icd_triangle {
    int64_t n;
    double unit;     /**< what one count stands for; 0: nothing was added */
    uint32_t *count; /**< n (n-1) / 2, by rows; NULL once `sum` is there */
    double *sum;     /**< NULL while the counts do */
    int64_t events;  /**< added so far: no count is larger */
    double total;    /**< sum of all values: no sum is larger */
    int grain;       /**< all values are multiples of 2^grain */
} icd_triangle;

icd_status icd_i_triangle_init(icd_ctx *ctx, int64_t n, icd_triangle *t);
void icd_i_triangle_release(icd_ctx *ctx, icd_triangle *t);

/**
 * Adds a block of events.
 * @param path [in] BITS asks for bits; it falls back to LISTS where sums of doubles would
 * depend on their order
 * @det    same bits for any thread count and either path
 */
icd_status icd_i_triangle_add(icd_ctx *ctx, icd_triangle *t, const icd_block *block,
                              icd_path path);

/** A view. */
icd_rows icd_i_triangle_rows(const icd_triangle *t);

/** triangle[shift + j] is the pair (i, j), j > i. */
static inline int64_t icd_i_triangle_shift(int64_t n, int64_t i)
{
    return i * (2 * n - i - 1) / 2 - i - 1;
}

#endif
