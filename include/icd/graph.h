/**
 * @file graph.h
 * From a trace, access sets or a mock to W.
 */
#ifndef ICD_GRAPH_H
#define ICD_GRAPH_H

#include <icd/access.h>
#include <icd/csr.h>
#include <icd/options.h>
#include <icd/perm.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum icd_graph_source { ICD_SOURCE_TRACE, ICD_SOURCE_MOCK } icd_graph_source;
typedef enum icd_weighting {
    ICD_WEIGHT_COUNT,
    ICD_WEIGHT_CLIQUE,
    ICD_WEIGHT_JACCARD
} icd_weighting;
typedef enum icd_normalize { ICD_NORM_NONE, ICD_NORM_ROW, ICD_NORM_SYM } icd_normalize;
typedef enum icd_on_bad_trace { ICD_BAD_ABORT, ICD_BAD_MOCK } icd_on_bad_trace;

/** Section `graph.mock`: `blocks` planted blocks of D nodes, hidden under a seeded
 * shuffle. */
typedef struct icd_mock_opts {
    size_t size;
    int64_t d;      /**< nodes */
    int32_t blocks; /**< equal blocks; the last takes the remainder */
    double noise;   /**< share of the edges between any two nodes */
    int64_t seed;
    double
        strength; /**< weight of an in-block edge relative to a noise edge's; default 2 */
} icd_mock_opts;

/** Section `graph`. */
typedef struct icd_graph_opts {
    size_t size;
    int32_t source;    /**< icd_graph_source */
    const char *trace; /**< path; NULL: the run traces its own model */
    const char *axis;
    int64_t d;         /**< size of the index space where the trace does not state it */
    int32_t weighting; /**< icd_weighting; default jaccard */
    int32_t normalize; /**< icd_normalize; default sym */
    int64_t nnz_cap; /**< stored entries at most; 0: .05 D^2 below D = 20k, else 256 D */
    double activity_mass; /**< share of activation mass an access set holds; default .9 */
    int32_t on_bad_trace; /**< icd_on_bad_trace; default abort */
} icd_graph_opts;

extern const icd_option_table icd_graph_table;
extern const icd_option_table icd_mock_table;

/**
 * W from access sets: weight, normalise, cap, in this order (SPEC section 3).
 * Sets of fewer than two indices give no pair but count in f_i.
 * @param w    [out] n x n, owned by the caller; frame of the access sets; NULL on error
 * @param meta [out] may be NULL
 * @return ICD_OK | ICD_EINVAL | ICD_ENOMEM | ICD_ECANCELLED
 * @cost   time O(sum |e|^2) or O(n^2 events / 64) by bit matrix, whichever is less;
 *         memory O(n^2) below n = 20k, else O(sum |e| + nnz_cap + n threads)
 * @det    same input: same bits, any thread count
 */
icd_status icd_build_w(icd_ctx *ctx, const icd_access *sets, const icd_graph_opts *opts,
                       icd_csr **w, icd_csr_meta *meta);

/**
 * W from a trace file of sets or of pairs (pairs are summed; `weighting` does not apply).
 * With on_bad_trace = mock an empty or damaged trace gives the mock of the trace's size,
 * with a warning.
 * @return as icd_build_w | ICD_EDATA | ICD_EIO
 * @cost   memory O(n^2) below n = 20k whatever the length of the trace, else
 *         O(sum |e| + nnz_cap); for pairs O(distinct pairs)
 */
icd_status icd_build_w_from_trace(icd_ctx *ctx, const char *path,
                                  const icd_graph_opts *opts, icd_csr **w,
                                  icd_csr_meta *meta);

/**
 * W of the hidden block mock: .05 D^2 / 2 distinct edges, a share `noise` of them between
 * any two nodes, the others inside one of `blocks` blocks; weight U(.5, 1.5), divided by
 * `strength` for noise. Blocks too many to hold so many pairs get all their pairs, and
 * noise in its share, with a warning.
 * @param planted [out] the planted order, owned by the caller; may be NULL
 * @return ICD_OK | ICD_EINVAL a block would have fewer than two nodes | ICD_ENOMEM |
 *         ICD_ECANCELLED
 * @det the same options give the same bytes on every machine
 */
icd_status icd_build_w_mock(icd_ctx *ctx, const icd_mock_opts *opts, icd_csr **w,
                            icd_perm **planted);

#ifdef __cplusplus
}
#endif
#endif
