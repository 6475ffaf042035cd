/**
 * @file rows.h
 * What every way of counting pairs ends in: rows of the upper triangle, and the common
 * road from them to W: weight, normalise, cap.
 */
#ifndef ICD_GRAPH_ROWS_H
#define ICD_GRAPH_ROWS_H

#include "base/mem.h"
#include <icd/graph.h>

/** Sums s_ij > 0 for i < j, computed row by row, possibly more than once. */
typedef struct icd_rows {
    int64_t n;
    const void *self;
    /** At most so many entries has a row. */
    int64_t (*bound)(const void *self, int64_t row);
    /** Writes columns (ascending, > row) and sums of a row; `worker` picks scratch
     * memory. */
    int64_t (*emit)(const void *self, int64_t row, int32_t worker, int32_t *col,
                    double *sum);
} icd_rows;

/** From sums to W. */
typedef struct icd_finish {
    const double *freq; /**< f_i: weights are s / (f_i + f_j - s); NULL: weights are s */
    icd_normalize normalize;
    int64_t nnz_cap; /**< entries of W at most */
    uint64_t frame;
} icd_finish;

/**
 * W from rows. Every pair is computed once, in double, and rounded to float32 at the end.
 * @param dropped [out] entries that the cap removed
 * @return ICD_OK | ICD_EDATA a weight that float32 cannot hold | ICD_ENOMEM |
 * ICD_ECANCELLED
 * @cost   the rows once, twice where they are normalised; memory O(kept entries + n)
 */
icd_status icd_i_rows_finish(icd_ctx *ctx, const icd_rows *rows, const icd_finish *how,
                             icd_csr **w, int64_t *dropped);

#endif
