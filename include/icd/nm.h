/**
 * @file nm.h
 * N:M channel permutation: which input channels share a group of M so that keeping the N
 * largest of every group loses the least.
 */
#ifndef ICD_NM_H
#define ICD_NM_H

#include <icd/perm.h>
#include <icd/solver.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Zeroed = defaults. */
typedef struct icd_nm_opts {
    size_t size;
    int32_t effort;       /**< icd_effort; zero (low) takes 0.05 s for 128 x 64 */
    double time_budget_s; /**< 0: none; ends the search, the best so far is returned */
    int64_t seed;
    bool warm; /**< the columns stand in an order that an earlier search found: this one
                    begins as cool as that ended and goes on from there */
} icd_nm_opts;

typedef struct icd_nm_stats {
    double total;         /**< sum of the saliency */
    double before, after; /**< retained by N:M in the given order and in the new one */
    double bound;    /**< best N/M of every row, unstructured: no order retains more */
    double efficacy; /**< (after - before) / (bound - before); 0 when undefined */
    int64_t swaps;
    double elapsed_s;
    bool timed_out; /**< the clock ended or hastened it */
} icd_nm_stats;

/**
 * Finds an order of columns that maximises the saliency retained by N:M.
 * @param saliency [in]  rows x cols, row-major, finite and >= 0 (|w|, or |w| ||x||)
 * @param cols     [in]  a multiple of m
 * @param n, m     [in]  1 <= n < m <= 32
 * @param opts     [in]  NULL: defaults
 * @param out      [out] from = the checkpoint's frame; owned by the caller; NULL on error
 * @param stats    [out] may be NULL
 * @return ICD_OK | ICD_EINVAL | ICD_ENOMEM | ICD_ECANCELLED
 * @cost   time O(swaps m cols rows), bounded by effort; memory O(rows cols + cols^2),
 * windows of at most 2048 columns
 * @det    same input and options: same bytes for any thread count and CPU, unless timed
 * out; effort high with a time budget follows the clock
 * @source Pool, Yu (2021), Channel permutations for N:M sparsity, NeurIPS 34
 */
icd_status icd_nm_permute(icd_ctx *ctx, const float *saliency, int64_t rows, int64_t cols,
                          int32_t n, int32_t m, const icd_nm_opts *opts, icd_perm **out,
                          icd_nm_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
