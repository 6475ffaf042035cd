/**
 * @file decoder.h
 * A Llama-style decoder on a GPU: what its parts share.
 */
#ifndef ICD_RUNNER_CUDA_DECODER_H
#define ICD_RUNNER_CUDA_DECODER_H

#include "runner/cuda/cache.h"
#include "runner/cuda/layer.h"

/** Linears of a layer, in the order of the list. */
enum { PER_LAYER = 7, Q = 0, K, V, OUT, GATE, UP, DOWN };

typedef struct icd_gpu_decoder_layer {
    icd_dptr attention, mlp; /**< gains */
} icd_gpu_decoder_layer;

/** The tokens that one pass through the layers computes. */
typedef struct icd_gpu_pass {
    const icd_gpu_linear *linear;
    int64_t batch, seq;
    bool prefill;
    bool mass; /**< what every cached token draws of the attention is added up */
} icd_gpu_pass;

typedef struct icd_gpu_decoder {
    const icd_model_config *config;
    icd_gpu gpu;
    icd_gpu_linear *linear, *single; /**< schedules of a prefill; of one token */
    icd_gpu_stage stage;
    icd_gpu_decoder_layer *layer;
    icd_gpu_caches caches;
    icd_dptr embedding, norm, cosine, sine;
    icd_dptr ids, position, lengths;
    icd_dptr slots; /**< prefill: [tokens] of one layer */
    icd_dptr paged; /**< decode: per layer slot [B], pages [B], table [B][width] */
    icd_dptr x, n;  /**< f32 stream; its last norm */
    icd_dptr q, k, v, context, y, gate, up;
    icd_dptr peak, share; /**< masses: of a prefill's queries; of one token's. {0}: nobody
                             asked so far */
    icd_device_graph *graph;
    int64_t graph_batch;
    uint64_t graph_room; /**< workspace that the graph knows */
    int64_t width;       /**< pages of a sequence at most */
    int32_t *host;       /**< what is uploaded for a step */
    const float *head;
    const int32_t *order;
    float *rows, *hidden; /**< host */
    int32_t *last, *next;
    int64_t batch;
    uint64_t prepared;
} icd_gpu_decoder;

/** Values of a token's queries; of its keys. */
static inline int64_t icd_i_gpu_heads_width(const icd_model_config *c)
{
    return c->heads * c->head_dim;
}
static inline int64_t icd_i_gpu_kv_width(const icd_model_config *c)
{
    return c->kv_heads * c->head_dim;
}

/** int32 values of one layer in `paged`. */
static inline int64_t icd_i_gpu_decoder_paged(const icd_runner *r,
                                              const icd_gpu_decoder *d)
{
    return r->capacity.batch * (2 + d->width);
}

/** From token ids to the last norm. */
icd_status icd_i_gpu_decoder_layers(icd_ctx *ctx, icd_runner *r, const icd_gpu_pass *p);

#endif
