/**
 * @file vocabulary.h
 * The lines of vocab.txt, found by their bytes.
 */
#ifndef ICD_MODEL_VOCABULARY_H
#define ICD_MODEL_VOCABULARY_H

#include "base/mem.h"

/** A token; one that continues a word is kept without its "##". */
typedef struct icd_token {
    const char *text; /**< not terminated */
    int32_t size;
    int32_t id;
    bool inside; /**< continues a word */
} icd_token;

/** Open addressing over XXH64; zeroed = empty. */
typedef struct icd_vocabulary {
    char *lines;
    icd_token *slot; /**< text NULL: free */
    int64_t slots;   /**< a power of two, at most half of them taken */
    int32_t longest; /**< bytes of the longest token */
} icd_vocabulary;

/**
 * @param lines [in] from icd_i_alloc; taken over, on error too
 * @return ICD_OK | ICD_EDATA too many bytes | ICD_ENOMEM
 */
icd_status icd_i_vocabulary_take(icd_ctx *ctx, char *lines, size_t size,
                                 const char *place, icd_vocabulary *v);
void icd_i_vocabulary_release(icd_ctx *ctx, icd_vocabulary *v);

/** The id of a piece of a word, `inside` it or at its beginning; -1: not in the
 * vocabulary. The last of equal lines counts, as in Hugging Face's loader. */
int32_t icd_i_vocabulary_find(const icd_vocabulary *v, const char *text, int64_t size,
                              bool inside);

#endif
