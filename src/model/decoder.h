/**
 * @file decoder.h
 * What decoders of every kind share: tensors under Llama's names and their axes.
 */
#ifndef ICD_MODEL_DECODER_H
#define ICD_MODEL_DECODER_H

#include "model/model_private.h"

/**
 * Checks that every tensor which `config` calls for is there, with its shape.
 * @param root [in] config.json: says which linears have a bias; with layer_norm all have
 */
icd_status icd_i_decoder_check(icd_ctx *ctx, const icd_model *model, const char *place,
                               const json_t *root);

/** Adds the axes: with rotary positions groups of heads, else heads as in BERT. */
icd_status icd_i_decoder_axes(icd_ctx *ctx, icd_model *model);

#endif
