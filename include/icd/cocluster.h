/**
 * @file cocluster.h
 * Orders of rows and columns together, where a mask leaves both free (unstructured,
 * block).
 */
#ifndef ICD_COCLUSTER_H
#define ICD_COCLUSTER_H

#include <icd/perm.h>
#include <icd/solver.h>

#ifdef __cplusplus
extern "C" {
#endif

struct icd_mask;

/** Zeroed = defaults. */
typedef struct icd_cocluster_opts {
    size_t size;
    int32_t vector;       /**< V, rows of a tile; 0: 16 */
    int32_t granule;      /**< g, columns of a tile; 0: 16 */
    int32_t effort;       /**< icd_effort */
    double time_budget_s; /**< 0: none; ends the search, the best so far is returned */
    int64_t seed;
} icd_cocluster_opts;

typedef struct icd_cocluster_stats {
    int64_t tiles;         /**< of the matrix */
    int64_t before, after; /**< tiles in which a weight survives */
    int64_t least;         /**< no orders leave fewer: survivors / (V g), rounded up */
    double elapsed_s;
    bool timed_out; /**< the clock ended it */
} icd_cocluster_stats;

/**
 * Finds orders of rows and columns under which few V x g tiles are live. Never more than
 * in the order given.
 * @param mask [in]  V = 1: each weight decided for itself
 * @param opts [in]  NULL: defaults
 * @param rows [out] from = the checkpoint's frame; owned by the caller; NULL on error
 * @param cols [out] the same
 * @param stats [out] may be NULL
 * @return ICD_OK | ICD_EINVAL | ICD_ENOMEM | ICD_ECANCELLED
 * @cost   a refinement of T per side and turn, a handful of turns; memory O(survivors +
 * tiles^2 of one side)
 * @det    same input and options: same bytes for any thread count, unless timed out
 */
icd_status icd_cocluster(icd_ctx *ctx, const struct icd_mask *mask,
                         const icd_cocluster_opts *opts, icd_perm **rows, icd_perm **cols,
                         icd_cocluster_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
