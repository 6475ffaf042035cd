/* Which tokenizer a model folder holds. */
#include "model/tokenizer_private.h"

#include "base/file.h"
#include "base/mem.h"

#include <string.h>

enum { BYTES = 256 };

static void bytes_free(icd_ctx *ctx, icd_tokenizer *t)
{
    icd_i_free(ctx, t);
}

static int32_t bytes_id(const icd_tokenizer *t, const char *token)
{
    (void)t;
    return strlen(token) == 1 ? (unsigned char)token[0] : -1;
}

static icd_status bytes_encode(icd_ctx *ctx, const icd_tokenizer *t, const char *text,
                               int64_t size, int32_t **ids, int64_t *count)
{
    icd_status status = ICD_ALLOC(ctx, size, ids);
    (void)t;
    *count = 0;
    if (status != ICD_OK) return status;
    for (int64_t i = 0; i < size; i++) (*ids)[i] = (unsigned char)text[i];
    *count = size;
    return ICD_OK;
}

static const icd_tokenizer_kind BYTE_KIND = {bytes_free, bytes_id, bytes_encode};

static icd_status bytes_new(icd_ctx *ctx, icd_tokenizer **out)
{
    icd_status status = ICD_ALLOC(ctx, 1, out);
    if (status == ICD_OK) (*out)->kind = &BYTE_KIND;
    return status;
}

static icd_status none(icd_ctx *ctx, const char *dir)
{
    return icd_i_fail(ctx, ICD_EIO, dir, "give token ids as .npy, or add its tokenizer",
                      "found no vocab.txt, tokenizer.json, or vocab.json and merges.txt");
}

icd_status icd_tokenizer_open(icd_ctx *ctx, const char *model_dir, int64_t vocab,
                              icd_tokenizer **out)
{
    static const char *const NAME[] = {"vocab.txt", "tokenizer.json", "vocab.json",
                                       "merges.txt"};
    enum { WORDS, JSON, PAIRS, MERGES, FILES };
    char *path[FILES] = {NULL};
    bool have[FILES] = {false};
    icd_status status = ICD_OK;
    *out = NULL;
    for (int i = 0; i < FILES; i++) {
        ICD_TRY(icd_i_path_join(ctx, model_dir, NAME[i], &path[i]));
        have[i] = icd_i_file_exists(path[i]);
    }
    if (have[WORDS])
        status = icd_i_wordpiece_open(ctx, model_dir, path[WORDS], out);
    else if (have[JSON])
        status = icd_i_bpe_open(ctx, path[JSON], out);
    else if (have[PAIRS] && have[MERGES])
        status = icd_i_bpe_open_pair(ctx, path[PAIRS], path[MERGES], out);
    else
        status = vocab == BYTES ? bytes_new(ctx, out) : none(ctx, model_dir);
done:
    for (int i = 0; i < FILES; i++) icd_i_free(ctx, path[i]);
    return status;
}

void icd_tokenizer_free(icd_ctx *ctx, icd_tokenizer *t)
{
    if (t) t->kind->free(ctx, t);
}

int32_t icd_tokenizer_id(const icd_tokenizer *t, const char *token)
{
    return t->kind->id(t, token);
}

icd_status icd_tokenizer_encode(icd_ctx *ctx, const icd_tokenizer *t, const char *text,
                                int64_t size, int32_t **ids, int64_t *count)
{
    *ids = NULL;
    *count = 0;
    return t->kind->encode(ctx, t, text, size, ids, count);
}
