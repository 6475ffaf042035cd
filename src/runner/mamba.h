/**
 * @file mamba.h
 * What the files of the Mamba engine share: gated selective state-space layers, and the
 * state that they carry from one token to the next.
 */
#ifndef ICD_RUNNER_MAMBA_H
#define ICD_RUNNER_MAMBA_H

#include "runner/linear.h"

enum { ICD_MAMBA_LINEARS = 4 };

/** Weights of a layer that are no linears, as the kernels read them. */
typedef struct icd_mamba_layer {
    const float *norm;      /**< [hidden] */
    const float *conv_bias; /**< [inner]; NULL: none */
    const float *d;         /**< [inner] */
    float *conv;            /**< [taps][inner] */
    float *a;               /**< [blocks][states][ICD_SCAN], -e^A_log; 0 beyond inner */
} icd_mamba_layer;

/** What every layer remembers of every sequence. */
typedef struct icd_mamba_state {
    float *conv; /**< [layers][batch][taps - 1][inner], oldest first */
    float *scan; /**< [layers][batch][blocks][states][ICD_SCAN] */
} icd_mamba_state;

/** The tokens that one pass through the layers computes: `seq` of each sequence. */
typedef struct icd_mamba_pass {
    const int32_t *ids;     /**< [batch x seq] */
    const int32_t *lengths; /**< tokens that change the state; NULL: seq */
    int64_t batch, seq;
    bool empty; /**< starts from an empty state */
    const icd_mamba_state *from;
    icd_mamba_state *to; /**< the state after the pass; not `from` */
} icd_mamba_pass;

typedef struct icd_mamba {
    const icd_model_config *config;
    int64_t blocks; /**< of ICD_SCAN channels */
    const float *embedding, *norm, *head;
    const int32_t *order; /**< residual: today's slot -> checkpoint; NULL: same */
    icd_mamba_layer *layer;
    icd_mamba_state state[2];
    int32_t held; /**< which of the two holds the tokens seen so far */

    float *x;   /**< residual stream [tokens x hidden] */
    float *n;   /**< the stream after a norm */
    float *y;   /**< what a layer adds to it */
    float *xz;  /**< [tokens x 2 inner] what in_proj gives: input and gate */
    float *u;   /**< [tokens x inner] after the convolution; then after the scan */
    float *p;   /**< [tokens x (rank + 2 states)] what x_proj gives: dt, B, C */
    float *low; /**< [tokens x rank] dt before dt_proj */
    float *dt;  /**< [tokens x inner] */
    float *hidden;
    float *zero;       /**< [inner] zeros: what stands before the first token */
    int32_t *last;     /**< [batch] decode phase: the ids of the last tokens */
    int32_t *lengths;  /**< [batch] tokens of the prompts before them */
    int64_t batch;     /**< sequences of the last step */
    uint64_t prepared; /**< hash of the batch whose state is held; 0: none */
} icd_mamba;

/** Floats of the two parts of a state. */
int64_t icd_i_mamba_conv_floats(const icd_runner *r, const icd_mamba *m);
int64_t icd_i_mamba_scan_floats(const icd_runner *r, const icd_mamba *m);

/** u = silu(conv(x) + bias), staged for x_proj; and the inputs that the next tokens need.
 */
icd_status icd_i_mamba_convolve(icd_ctx *ctx, icd_runner *r, const icd_mamba_pass *pass,
                                int64_t layer, const icd_loaded *next);

/** u = the output of the recurrence over u, in place; rows behind a sequence's tokens
 * are 0. */
icd_status icd_i_mamba_scan(icd_ctx *ctx, icd_runner *r, const icd_mamba_pass *pass,
                            int64_t layer);

#endif
