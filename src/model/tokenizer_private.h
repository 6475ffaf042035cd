/**
 * @file tokenizer_private.h
 * The kinds of tokenizers behind the public one.
 */
#ifndef ICD_MODEL_TOKENIZER_PRIVATE_H
#define ICD_MODEL_TOKENIZER_PRIVATE_H

#include "base/error.h"
#include <icd/tokenizer.h>

/** What a kind does; contracts as in icd/tokenizer.h. */
typedef struct icd_tokenizer_kind {
    void (*free)(icd_ctx *ctx, icd_tokenizer *t);
    int32_t (*id)(const icd_tokenizer *t, const char *token);
    icd_status (*encode)(icd_ctx *ctx, const icd_tokenizer *t, const char *text,
                         int64_t size, int32_t **ids, int64_t *count);
} icd_tokenizer_kind;

/** The first member of every kind. */
struct icd_tokenizer {
    const icd_tokenizer_kind *kind;
};

/** vocab.txt of a folder, with tokenizer_config.json. */
icd_status icd_i_wordpiece_open(icd_ctx *ctx, const char *dir, const char *vocab,
                                icd_tokenizer **out);

/** tokenizer.json. */
icd_status icd_i_bpe_open(icd_ctx *ctx, const char *path, icd_tokenizer **out);

/** vocab.json, with merges.txt beside it, as GPT-2 has them. */
icd_status icd_i_bpe_open_pair(icd_ctx *ctx, const char *vocab, const char *merges,
                               icd_tokenizer **out);

/** The bytes of tokenizer.json. */
icd_status icd_i_bpe_parse(icd_ctx *ctx, const char *text, size_t size, const char *place,
                           icd_tokenizer **out);

#endif
