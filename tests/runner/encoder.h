/**
 * @file encoder.h
 * The fixture of tests about linears: a small random encoder and a batch for it.
 */
#ifndef ICD_TEST_ENCODER_H
#define ICD_TEST_ENCODER_H

#include "small.h"

static icd_ctx *ctx;
static icd_model *source;
static icd_batch batch;

static inline int set_up(void **state)
{
    (void)state;
    ctx = small_ctx(2);
    source = small_bert(ctx, &SMALL, 2);
    batch = small_batch(&SMALL, 5, 9, 12);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    small_batch_release(&batch);
    icd_model_free(ctx, source);
    icd_ctx_free(ctx);
    return 0;
}

#endif
