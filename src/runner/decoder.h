/**
 * @file decoder.h
 * What the files of the decoder engine share: layers of Llama's and GPT-2's kind over a
 * paged KV cache.
 */
#ifndef ICD_RUNNER_DECODER_H
#define ICD_RUNNER_DECODER_H

#include "core/kv.h"
#include "runner/linear.h"

enum { ICD_DECODER_LINEARS = 7 };

/** A norm: of the root mean square, or with a bias LayerNorm. */
typedef struct icd_decoder_norm {
    const float *gain, *bias; /**< bias NULL: none */
} icd_decoder_norm;

typedef struct icd_decoder_layer {
    icd_decoder_norm attention, mlp;
} icd_decoder_layer;

/** The tokens that one pass through the layers computes: `seq` of each sequence. */
typedef struct icd_decoder_pass {
    const int32_t *ids;     /**< [batch x seq] */
    const int32_t *lengths; /**< prefill: tokens that count */
    int64_t batch, seq;
    bool prefill; /**< from an empty cache; else one token after those in the cache */
    bool keep;    /**< decode: the token stays in the cache */
} icd_decoder_pass;

typedef struct icd_decoder {
    const icd_model_config *config;
    const float *embedding, *head; /**< head NULL: none */
    const float *positions;        /**< a row is added to that of the id; NULL: none */
    icd_decoder_norm norm;
    const int32_t *order; /**< residual: today's slot -> checkpoint; NULL: same */
    icd_decoder_layer *layer;
    float *cosine, *sine; /**< [positions x head_dim / 2]; NULL: no rotation */
    icd_kv **kv;          /**< [layers] */

    float *x; /**< residual stream [tokens x hidden] */
    float *n; /**< the stream after a norm */
    float *y; /**< what a layer adds to it */
    float *q, *k, *v, *context;
    float *gate, *up;
    float *hidden;
    float *scores; /**< prefill: workers x block x seq; decode: batch x heads x slots */
    icd_kv_slot *slot; /**< [seq] scratch */
    int32_t *position; /**< [seq] scratch */
    int32_t *last;     /**< [batch] decode phase: the ids of the last tokens */
    int32_t *lengths;  /**< [batch] tokens of the cached prompts */
    int64_t batch;     /**< sequences of the last step */
    uint64_t prepared; /**< hash of the batch whose state is in the cache; 0: none */
} icd_decoder;

/** Where token `token` of a pass stands in its sequence, before `kv` has taken it. */
int64_t icd_i_decoder_position(const icd_kv *kv, const icd_decoder_pass *pass,
                               int64_t token);

/** Floats of the `scores` buffer. */
int64_t icd_i_decoder_scores(const icd_runner *r);

/**
 * Turns queries and keys by their positions (where there is a rotation), caches keys and
 * values of the tokens that count, and attends; leaves the result in `context`.
 */
icd_status icd_i_decoder_attend(icd_ctx *ctx, icd_runner *r, const icd_decoder_pass *pass,
                                int64_t layer);

#endif
