/**
 * @file threads.h
 * Fork-join over a fixed number of chunks: which thread runs a chunk never changes what
 * it computes.
 */
#ifndef ICD_BASE_THREADS_H
#define ICD_BASE_THREADS_H

#include "base/error.h"

/**
 * Work on chunk `chunk` of `chunks`; `worker` in 0..threads-1 picks scratch memory. Of
 * the context it may use icd_i_cancelled and nested icd_i_parallel only: errors and
 * memory are the caller's.
 */
typedef void icd_chunk_fn(void *arg, int64_t chunk, int64_t chunks, int32_t worker);

/**
 * Runs fn for chunk 0..chunks-1 on the context's threads (the caller is one of them) and
 * waits. Chunks are handed out dynamically; results must not depend on it: reduce per
 * chunk, then over chunks in order. Nested calls run on the calling thread.
 */
void icd_i_parallel(icd_ctx *ctx, int64_t chunks, icd_chunk_fn *fn, void *arg);

/** [begin, end) of a chunk of `n` items in equal parts. */
void icd_i_chunk_range(int64_t n, int64_t chunk, int64_t chunks, int64_t *begin,
                       int64_t *end);

#endif
