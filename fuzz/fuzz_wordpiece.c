/* layer: model */
/* A digit (odd: upper case is kept), vocab.txt, a zero byte, a text. Ids must be those of
 * lines, and the same text must give the same ids again. */
#include "fuzz.h"
#include "fuzz_ctx.h"

#include "base/mem.h"
#include "model/wordpiece.h"

#include <string.h>

enum { MOST_BYTES = 1 << 16 };

static int64_t count_lines(const uint8_t *text, size_t size)
{
    int64_t lines = 1;
    for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
    return lines;
}

static void encode(icd_ctx *ctx, const icd_tokenizer *t, const char *text, size_t size,
                   int64_t lines)
{
    int32_t *ids = NULL, *again = NULL;
    int64_t count = 0, second = 0;
    icd_status status = icd_tokenizer_encode(ctx, t, text, (int64_t)size, &ids, &count);
    if (status != ICD_OK) {
        fuzz_check_error(ctx, status, ids);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= lines) abort();
    status = icd_tokenizer_encode(ctx, t, text, (int64_t)size, &again, &second);
    if (status != ICD_OK || second != count) abort();
    if (count && memcmp(ids, again, (size_t)count * sizeof *ids) != 0) abort();
    icd_mem_free(ctx, ids);
    icd_mem_free(ctx, again);
}

static void run(icd_ctx *ctx, bool lower, const uint8_t *data, size_t size)
{
    icd_tokenizer *t = NULL;
    char *lines = NULL;
    const uint8_t *end = memchr(data, 0, size);
    size_t vocabulary = end ? (size_t)(end - data) : size;
    if (ICD_ALLOC(ctx, (int64_t)vocabulary + 1, &lines) != ICD_OK) return;
    memcpy(lines, data, vocabulary);
    icd_status status =
        icd_i_tokenizer_take(ctx, lines, vocabulary, lower, "vocab.txt", &t);
    if (status != ICD_OK)
        fuzz_check_error(ctx, status, t);
    else if (end)
        encode(ctx, t, (const char *)end + 1, size - vocabulary - 1,
               count_lines(data, vocabulary));
    icd_tokenizer_free(ctx, t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > MOST_BYTES) return 0;
    icd_ctx *ctx = fuzz_ctx_new();
    run(ctx, !(data[0] & 1), data + 1, size - 1);
    icd_ctx_free(ctx);
    return 0;
}
