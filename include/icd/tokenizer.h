/**
 * @file tokenizer.h
 * From text to token ids, with the model's own vocabulary: BERT's WordPiece, byte-level
 * BPE (GPT-2, SmolLM2), or plain bytes.
 */
#ifndef ICD_TOKENIZER_H
#define ICD_TOKENIZER_H

#include <icd/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct icd_tokenizer icd_tokenizer;

/**
 * Reads the tokenizer of a model folder: vocab.txt (WordPiece; do_lower_case of
 * tokenizer_config.json, default true), else tokenizer.json (byte-level BPE), else
 * vocab.json and merges.txt (GPT-2's BPE). Without any of them a model of 256 tokens
 * reads bytes.
 * @param vocab [in] tokens of the model; 0: not known
 * @return ICD_OK | ICD_EIO | ICD_EDATA a token is missing ([UNK], [CLS], [SEP]; what a
 * merge makes), an id twice or out of range | ICD_EUNSUPPORTED another kind of tokenizer,
 * named with the member of tokenizer.json that says so | ICD_ENOMEM
 */
icd_status icd_tokenizer_open(icd_ctx *ctx, const char *model_dir, int64_t vocab,
                              icd_tokenizer **out);
void icd_tokenizer_free(icd_ctx *ctx, icd_tokenizer *tokenizer);

/** Id of a token of the vocabulary; -1 where it is missing. */
int32_t icd_tokenizer_id(const icd_tokenizer *tokenizer, const char *token);

/**
 * Ids of a text, without tokens around it such as [CLS] and [SEP]; special tokens spelt
 * out in the text are themselves.
 * @param text  [in] UTF-8; WordPiece takes broken sequences as U+FFFD, as Hugging Face's
 * tokenizer does, the others keep their bytes
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
