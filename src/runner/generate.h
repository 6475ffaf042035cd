/**
 * @file generate.h
 * What engines of generative models share, on every device: the prompt of the decode
 * phase, the angles of positions, and the head.
 */
#ifndef ICD_RUNNER_GENERATE_H
#define ICD_RUNNER_GENERATE_H

#include "runner/runner_private.h"

/** A hash of a batch's tokens and lengths, never 0: whose state an engine holds. */
uint64_t icd_i_prompt_hash(const icd_batch *batch);

/**
 * Cuts the last token off every sequence.
 * @param lengths [out] [batch] tokens before it
 * @param last    [out] [batch] its id
 */
void icd_i_prompt_cut(const icd_batch *batch, int32_t *lengths, int32_t *last);

/**
 * The angles by which positions turn pairs of values.
 * @param cosine [out] [positions x head_dim / 2]; both owned by the caller (icd_i_free),
 * who frees them after an error, too
 */
icd_status icd_i_decoder_angles(icd_ctx *ctx, const icd_model_config *config,
                                int64_t positions, float **cosine, float **sine);

/** Outputs of the head: the vocabulary. */
int64_t icd_i_vocabulary(const icd_runner *r);

/**
 * out = x head^T.
 * @param x    [in] [count x hidden]
 * @param head [in] [vocab x hidden]
 * @param out  [out] [count x vocab]
 * @return ICD_OK | ICD_ECANCELLED
 * @det    the same bits for any number of threads
 */
icd_status icd_i_vocabulary_logits(icd_ctx *ctx, const icd_runner *r, const float *x,
                                   const float *head, int64_t count, float *out);

#endif
