/**
 * @file bpe.h
 * Byte-level BPE: a text is cut at special tokens, into pieces and words, and the bytes
 * of a word are merged pair by pair, the earliest merge of the list first.
 */
#ifndef ICD_MODEL_BPE_H
#define ICD_MODEL_BPE_H

#include "base/json.h"
#include "base/mem.h"
#include "model/tokenizer_private.h"

typedef enum icd_bpe_digits {
    ICD_DIGITS_NONE, /**< digits are cut as the words are */
    ICD_DIGITS_EACH, /**< every digit alone */
    ICD_DIGITS_RUN   /**< runs of digits alone */
} icd_bpe_digits;

/** How a text is cut before anything is merged. */
typedef struct icd_bpe_rules {
    icd_bpe_digits digits;
    bool words;        /**< GPT-2's expression; false: pieces are words */
    bool prefix_space; /**< every piece begins with a space */
} icd_bpe_rules;

/** Bytes of the first piece of a text that is not empty. */
int64_t icd_i_bpe_piece(const icd_bpe_rules *rules, const char *text, int64_t size);

/** Bytes of the first word of a piece that is not empty: GPT-2's expression
 * 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
int64_t icd_i_bpe_word(const char *text, int64_t size);

/** left, right -> id; the lowest rank goes first. Free slots have left -1. */
typedef struct icd_bpe_merge {
    int32_t left, right, rank, id;
} icd_bpe_merge;

/** A token that is found in the text as it stands. */
typedef struct icd_bpe_added {
    const char *text;
    int64_t size;
    int32_t id;
} icd_bpe_added;

typedef struct icd_bpe {
    icd_tokenizer base;
    json_t *root, *vocab; /**< vocab: token -> id, borrowed from root */
    icd_bpe_rules rules;
    int32_t byte_id[256]; /**< -1: no token; the byte is left out */
    icd_bpe_merge *merge; /**< open addressing */
    int64_t slots;        /**< a power of two */
    icd_bpe_added *added;
    int64_t added_count;
    bool begins[256]; /**< first bytes of added tokens */
} icd_bpe;

/** The merge of a pair; NULL: there is none. */
const icd_bpe_merge *icd_i_bpe_find(const icd_bpe *b, int32_t left, int32_t right);

void icd_i_bpe_free(icd_ctx *ctx, icd_tokenizer *t);
int32_t icd_i_bpe_id(const icd_tokenizer *t, const char *token);
icd_status icd_i_bpe_encode(icd_ctx *ctx, const icd_tokenizer *t, const char *text,
                            int64_t size, int32_t **ids, int64_t *count);

#endif
