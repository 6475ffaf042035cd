/**
 * @file build.h
 * Collects access sets block by block and ends them in W; what icd_build_w and
 * icd_build_w_from_trace share. Tests set the tuning to compare the ways of counting.
 */
#ifndef ICD_GRAPH_BUILD_H
#define ICD_GRAPH_BUILD_H

#include "graph/sets.h"
#include "graph/triangle.h"

/** Decides speed and memory, not the result; zeroed = defaults. */
typedef struct icd_tuning {
    icd_path path;
    int64_t
        dense_below; /**< index spaces below this use a dense triangle; default 20000 */
    int64_t block_indices; /**< indices of a block of events; default 2^23 */
} icd_tuning;

typedef struct icd_builder {
    icd_graph_opts opts;
    icd_tuning tuning;
    int64_t n, events;
    bool dense;
    double *freq; /**< f_i */
    icd_triangle triangle;
    icd_block block;
} icd_builder;

/**
 * Starts an empty W.
 * @param tuning [in] NULL: defaults
 */
icd_status icd_i_builder_init(icd_ctx *ctx, int64_t n, const icd_graph_opts *opts,
                              const icd_tuning *tuning, icd_builder *b);
void icd_i_builder_release(icd_ctx *ctx, icd_builder *b);

/** Whether so many events with so many indices are one block; always where !b->dense. */
bool icd_i_builder_fits(const icd_builder *b, int64_t events, int64_t indices);

/** Adds a block of events. Where !b->dense it must be the only one and outlive the
 * builder. */
icd_status icd_i_builder_add(icd_ctx *ctx, icd_builder *b, const icd_events *events);

/** Weights, normalises, caps. */
icd_status icd_i_builder_finish(icd_ctx *ctx, icd_builder *b, uint64_t frame, icd_csr **w,
                                icd_csr_meta *meta);

/** nnz_cap with its default. */
int64_t icd_i_nnz_cap(const icd_graph_opts *opts, int64_t n);
const char *icd_i_normalize_name(int32_t normalize);

/** icd_build_w with a choice of how. */
icd_status icd_i_build_w(icd_ctx *ctx, const icd_access *sets, const icd_graph_opts *opts,
                         const icd_tuning *tuning, icd_csr **w, icd_csr_meta *meta);

#endif
