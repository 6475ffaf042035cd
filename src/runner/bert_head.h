/**
 * @file bert_head.h
 * What follows the last layer of a BERT encoder, on the CPU whatever ran the layers: the
 * pooler and the heads that tasks put on it, masked words, labels of tokens, spans, and
 * labels of sequences. They run in f32.
 */
#ifndef ICD_RUNNER_BERT_HEAD_H
#define ICD_RUNNER_BERT_HEAD_H

#include "runner/runner_private.h"

typedef struct icd_bert_head {
    const float *w, *bias; /**< [outputs x hidden], [outputs]; bias NULL: none */
    int64_t outputs;       /**< 0: the model has no head */
    bool of_sequences;     /**< reads the pooled output, one row a sequence */
    const float *dense_w, *dense_b, *gain, *shift; /**< masked words: transform first */
    float *row;                                    /**< [hidden] scratch, owned */
} icd_bert_head;

/** Finds the head of the model, if it has one. */
icd_status icd_i_bert_head_load(icd_ctx *ctx, icd_runner *r, icd_bert_head *head);
void icd_i_bert_head_release(icd_ctx *ctx, icd_bert_head *head);

/**
 * @param x   [in]  [count x hidden] rows in today's order of the residual axis; of
 * sequences: pooled rows
 * @param out [out] [count x head->outputs]
 */
void icd_i_bert_head_run(const icd_runner *r, const icd_bert_head *head, const float *x,
                         int64_t count, float *out);

/** All of it, and where its results are. */
typedef struct icd_bert_end {
    icd_bert_head head;
    const float *pooler_w, *pooler_b; /**< NULL: no pooler */
    const int32_t *order;             /**< residual: today's slot -> checkpoint */
    float *hidden, *pooled;           /**< owned */
    const float *rows;                /**< of the last step, in today's order */
    int64_t sequences;
} icd_bert_end;

icd_status icd_i_bert_end_load(icd_ctx *ctx, icd_runner *r, icd_bert_end *end);
void icd_i_bert_end_release(icd_ctx *ctx, icd_bert_end *end);

/** The output of a step whose last layer left `rows` [batch * seq x hidden]. */
void icd_i_bert_end_write(const icd_runner *r, icd_bert_end *end, const float *rows,
                          const icd_batch *batch, icd_output *out);

/** `logits` of an engine (runner_private.h). */
icd_status icd_i_bert_end_logits(icd_ctx *ctx, const icd_runner *r,
                                 const icd_bert_end *end, int64_t first, int64_t count,
                                 float *out);

#endif
