/* layer: model */
/* tokenizer.json, a zero byte, a text. Ids must be those of the file, the same text must
 * give the same ids again, and no more of them than bytes and pieces. */
#include "fuzz.h"
#include "fuzz_ctx.h"

#include "base/mem.h"
#include "model/tokenizer_private.h"

#include <string.h>

enum { MOST_BYTES = 1 << 16 };

static void encode(icd_ctx *ctx, const icd_tokenizer *t, const char *text, size_t size)
{
    int32_t *ids = NULL, *again = NULL;
    int64_t count = 0, second = 0;
    icd_status status = icd_tokenizer_encode(ctx, t, text, (int64_t)size, &ids, &count);
    if (status != ICD_OK) {
        fuzz_check_error(ctx, status, ids);
        return;
    }
    if (count > 2 * (int64_t)size) abort();
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0) abort();
    status = icd_tokenizer_encode(ctx, t, text, (int64_t)size, &again, &second);
    if (status != ICD_OK || second != count) abort();
    if (count && memcmp(ids, again, (size_t)count * sizeof *ids) != 0) abort();
    icd_mem_free(ctx, ids);
    icd_mem_free(ctx, again);
}

static void run(icd_ctx *ctx, const char *data, size_t size)
{
    icd_tokenizer *t = NULL;
    const char *end = memchr(data, 0, size);
    size_t json = end ? (size_t)(end - data) : size;
    icd_status status = icd_i_bpe_parse(ctx, data, json, "tokenizer.json", &t);
    if (status == ICD_EUNSUPPORTED && !t && *icd_ctx_message(ctx)) return;
    if (status != ICD_OK)
        fuzz_check_error(ctx, status, t);
    else if (end)
        encode(ctx, t, end + 1, size - json - 1);
    icd_tokenizer_free(ctx, t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MOST_BYTES) return 0;
    icd_ctx *ctx = fuzz_ctx_new();
    run(ctx, (const char *)data, size);
    icd_ctx_free(ctx);
    return 0;
}
