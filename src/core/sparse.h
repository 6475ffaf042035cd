/**
 * @file sparse.h
 * A sparse matrix as files hold it: any shape, checked values, rows sorted; W and traces
 * of rows are made of it.
 */
#ifndef ICD_CORE_SPARSE_H
#define ICD_CORE_SPARSE_H

#include "base/error.h"

/** CSR; columns ascend and are distinct inside a row; values are finite and >= 0. */
typedef struct icd_sparse {
    int64_t rows, cols, nnz;
    int64_t *row_ptr; /**< rows + 1 */
    int32_t *col;     /**< nnz */
    float *val;       /**< nnz */
    uint64_t frame;   /**< of the columns */
    int base;         /**< number of the first row and column in the file: 0 or 1 */
} icd_sparse;

void icd_i_sparse_release(icd_ctx *ctx, icd_sparse *m);

/** True where the bytes begin like a MatrixMarket file or a zip archive. */
bool icd_i_is_mtx(const void *bytes, size_t size);
bool icd_i_is_npz(const void *bytes, size_t size);

/**
 * MatrixMarket: coordinate; real, integer or pattern; general or symmetric (mirrored
 * here).
 * @return ICD_OK | ICD_EDATA "W.mtx: line 7: found ..., expected ..." | ICD_ENOMEM
 * @cost   time O(bytes + nnz), memory O(rows + nnz); never more than the bytes can state
 */
icd_status icd_i_sparse_decode_mtx(icd_ctx *ctx, const void *bytes, size_t size,
                                   const char *place, icd_sparse *out);

/** SciPy's save_npz (CSR, any real dtype). @return ICD_OK | ICD_EDATA naming the member |
 * ICD_ENOMEM */
icd_status icd_i_sparse_decode_npz(icd_ctx *ctx, const void *bytes, size_t size,
                                   const char *place, icd_sparse *out);

/** Sorts every row by column. @return ICD_OK | ICD_EDATA an entry is stored twice |
 * ICD_ENOMEM */
icd_status icd_i_sparse_sort(icd_ctx *ctx, icd_sparse *m, const char *place);

/** True if square and equal to its transpose, in pattern and values; memory O(rows). */
icd_status icd_i_sparse_symmetric(icd_ctx *ctx, const icd_sparse *m, bool *out);

/** Drops entries of value 0 and, if asked, the diagonal; says how many of each. */
void icd_i_sparse_drop(icd_sparse *m, bool diagonal, int64_t *zeros, int64_t *diagonals);

#endif
