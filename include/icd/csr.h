/**
 * @file csr.h
 * W, the co-access matrix: square, symmetric, sparse (CSR), float32 >= 0, zero diagonal.
 */
#ifndef ICD_CSR_H
#define ICD_CSR_H

#include <icd/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The frame of indices as they stand in the checkpoint; other frames are ids of
 * permutations. */
#define ICD_FRAME_CHECKPOINT UINT64_C(0)

/** Both triangles are stored; columns ascend inside a row. */
typedef struct icd_csr {
    int64_t n;        /**< rows = columns, <= INT32_MAX */
    int64_t nnz;      /**< stored entries, both triangles */
    int64_t *row_ptr; /**< n + 1 */
    int32_t *col;     /**< nnz */
    float *val;       /**< nnz; co-access weight, > 0 */
    uint64_t frame;   /**< in which order the indices are counted (see perm.h) */
} icd_csr;

/** Where a W came from; written beside it as W.meta.json. */
typedef struct icd_csr_meta {
    const char *source;    /**< "trace" or "mock" */
    int64_t seed;          /**< of the mock; 0 for traces */
    const char *weighting; /**< "count", "clique", "jaccard", "edges" or "mock" */
    const char *normalize; /**< "none", "row" or "sym" */
    int64_t events;        /**< access sets or pairs read */
    int64_t dropped_nnz;   /**< entries removed by the cap */
} icd_csr_meta;

/**
 * An uninitialised matrix of the given size.
 * @return ICD_OK | ICD_EINVAL n or nnz out of range | ICD_ENOMEM
 */
icd_status icd_csr_new(icd_ctx *ctx, int64_t n, int64_t nnz, icd_csr **out);

/** Releases a matrix; NULL is legal. */
void icd_csr_free(icd_ctx *ctx, icd_csr *w);

/**
 * Full validity: monotone row_ptr, ascending columns in range, finite values > 0, empty
 * diagonal, symmetric to the bit.
 * @param place [in] how errors name the matrix, e.g. a file name
 * @return ICD_OK | ICD_EDATA naming the row and column
 * @cost time O(nnz), memory O(n)
 */
icd_status icd_csr_check(icd_ctx *ctx, const icd_csr *w, const char *place);

/**
 * Reads W from SciPy's `save_npz` format (CSR or COO-free; any float or integer dtype,
 * stored or deflated) or MatrixMarket (coordinate; real, integer or pattern; general or
 * symmetric). The format is told by the first bytes, not the name. Sorts rows, drops a
 * stored diagonal and zeros with a warning, then checks as icd_csr_check does.
 * @param out [out] owned by the caller (icd_csr_free); NULL on error
 * @return ICD_OK | ICD_EIO | ICD_EDATA naming file, member or line, what was found and
 * expected | ICD_ENOMEM
 */
icd_status icd_csr_read(icd_ctx *ctx, const char *path, icd_csr **out);

/**
 * Writes W so that `scipy.sparse.load_npz` opens it; atomic; same matrix, same bytes. A
 * frame other than the checkpoint's travels in an extra member `icd_frame.npy`, which
 * SciPy ignores.
 * @return ICD_OK | ICD_EIO | ICD_ENOMEM
 */
icd_status icd_csr_write(icd_ctx *ctx, const icd_csr *w, const char *path);

/** Writes the meta file `{"shape","format":"csr","nnz","source","seed",...}`; atomic. */
icd_status icd_csr_write_meta(icd_ctx *ctx, const icd_csr *w, const icd_csr_meta *meta,
                              const char *path);

/** Hash of everything that matters: n, structure, values, frame (XXH64). */
uint64_t icd_csr_hash(const icd_csr *w);

#ifdef __cplusplus
}
#endif
#endif
