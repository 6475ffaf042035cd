/**
 * @file wordpiece.h
 * A tokenizer from memory: what icd_tokenizer_open does once it has vocab.txt.
 */
#ifndef ICD_MODEL_WORDPIECE_H
#define ICD_MODEL_WORDPIECE_H

#include "base/error.h"
#include <icd/tokenizer.h>

/**
 * @param lines [in] from icd_i_alloc; taken over, on error too
 * @param lower [in] do_lower_case
 * @param out   [out] owned by the caller (icd_tokenizer_free); NULL on error
 * @return ICD_OK | ICD_EDATA a token is missing ([UNK], [CLS], [SEP]) | ICD_ENOMEM
 */
icd_status icd_i_tokenizer_take(icd_ctx *ctx, char *lines, size_t size, bool lower,
                                const char *place, icd_tokenizer **out);

#endif
