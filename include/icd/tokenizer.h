/**
 * @file tokenizer.h
 * BERT's tokenizer: basic splitting, then WordPiece with the model's own vocabulary.
 */
#ifndef ICD_TOKENIZER_H
#define ICD_TOKENIZER_H

#include <icd/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct icd_tokenizer icd_tokenizer;

/**
 * Reads vocab.txt of a model folder (and do_lower_case of tokenizer_config.json; default
 * true).
 * @return ICD_OK | ICD_EIO | ICD_EDATA a token is missing ([UNK], [CLS], [SEP]) |
 * ICD_ENOMEM
 */
icd_status icd_tokenizer_open(icd_ctx *ctx, const char *model_dir, icd_tokenizer **out);
void icd_tokenizer_free(icd_ctx *ctx, icd_tokenizer *tokenizer);

/** Id of a token of the vocabulary; -1 where it is missing. */
int32_t icd_tokenizer_id(const icd_tokenizer *tokenizer, const char *token);

/**
 * Ids of a text, without [CLS] and [SEP].
 * @param text  [in] UTF-8; broken sequences count as U+FFFD, as in Hugging Face's
 * tokenizer
 * @param ids   [out] owned by the caller (icd_mem_free)
 * @param count [out]
 */
icd_status icd_tokenizer_encode(icd_ctx *ctx, const icd_tokenizer *tokenizer,
                                const char *text, int64_t size, int32_t **ids,
                                int64_t *count);

#ifdef __cplusplus
}
#endif
#endif
