/**
 * @file addrs.h
 * An address stream: the memory that one inference touches, in order, as runs of bytes.
 * Cache models are fed with it.
 */
#ifndef ICD_CORE_ADDRS_H
#define ICD_CORE_ADDRS_H

#include "core/plan.h"

/** Neighbouring bytes touched by one agent (a core, a multiprocessor). */
typedef struct icd_addr_run {
    uint64_t address;
    uint32_t bytes;
    uint16_t agent;
    bool write;
} icd_addr_run;

/** A source of runs. Addresses are below 2^46 and need not be real ones. */
typedef struct icd_addrs {
    /** Up to `most` runs; fewer only at the end. @return how many; 0: the end */
    int64_t (*next)(void *self, icd_addr_run *run, int64_t most);
    void (*rewind)(void *self); /**< begins again: the next inference */
    void *self;
    int32_t agents; /**< runs name agents 0 to agents - 1; 0: 1 */
} icd_addrs;

/** One linear of the stream; buffers with the same number are the same memory. */
typedef struct icd_addrs_linear {
    const icd_plan *plan; /**< borrowed */
    int32_t input;        /**< buffer that is read: tokens x slots */
    int32_t output;       /**< buffer that is written: tokens x rows, f32 */
} icd_addrs_linear;

typedef struct icd_addrs_opts {
    int64_t tokens; /**< of one inference */
    int64_t chunk;  /**< tokens that share the weights of a row block; 0: 192 */
    int64_t pass; /**< groups of four channels that all tokens of a chunk take before the
                       next ones: with 64 rows in int8 they fill 16 KB of an L1; 0: 64 */
    int64_t tile; /**< tokens that share one reading of a weight; 0: 6. Within a pass the
                       L1 answers: what lies behind it sees no difference */
    int32_t agents;             /**< row blocks go round among these; 0: 1 */
    const int32_t *weight_bits; /**< [linears] of a packed weight, 1 to 32; NULL: 8 */
    const int32_t *input_bytes; /**< [linears] of an activation, 1 to 4; NULL: 1 */
} icd_addrs_opts;

/**
 * The stream of a list of planned linears, as the packed kernels run them: for every
 * linear and row block, for every chunk of tokens, for every pass over its channels, for
 * every tile of tokens, the live weights and indices of the pass and the tile's live
 * activations are read; then the sums are written.
 * Packed weights lie one behind the other from address 0, 64-byte aligned; buffers
 * behind them.
 * @param linear [in] copied, like the lists of opts; the plans must outlive the stream
 * @param out    [out] icd_i_addrs_free; NULL on error
 * @return ICD_OK | ICD_EINVAL no tokens, a negative buffer, bits out of range |
 * ICD_ENOMEM
 * @cost   memory O(linears); each run O(1)
 */
icd_status icd_i_addrs_plans(icd_ctx *ctx, const icd_addrs_linear *linear, int64_t count,
                             const icd_addrs_opts *opts, icd_addrs **out);
void icd_i_addrs_free(icd_ctx *ctx, icd_addrs *addrs);

#endif
