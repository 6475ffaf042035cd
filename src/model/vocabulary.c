#include "model/vocabulary.h"

#include "base/hash.h"

#include <string.h>

/* The slot that holds a token, or the free one where it belongs. */
static icd_token *probe(const icd_vocabulary *v, const char *text, int64_t size,
                        bool inside)
{
    uint64_t mask = (uint64_t)v->slots - 1, at = icd_i_hash(inside, text, (size_t)size);
    for (;; ++at) {
        icd_token *t = &v->slot[at & mask];
        if (!t->text) return t;
        if (t->size == size && t->inside == inside &&
            !memcmp(t->text, text, (size_t)size))
            return t;
    }
}

static void add_line(icd_vocabulary *v, const char *text, int64_t size, int32_t id)
{
    bool inside = size > 2 && text[0] == '#' && text[1] == '#';
    if (inside) text += 2, size -= 2;
    if (size == 0) return;
    icd_token *t = probe(v, text, size, inside);
    *t = (icd_token){text, (int32_t)size, id, inside};
    if (t->size > v->longest) v->longest = t->size;
}

static void add_lines(icd_vocabulary *v, size_t size)
{
    const char *at = v->lines, *end = v->lines + size;
    for (int32_t id = 0; at < end; ++id) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        int64_t length = stop - at;
        if (length && at[length - 1] == '\r') --length;
        add_line(v, at, length, id);
        at = stop + 1;
    }
}

static int64_t count_lines(const char *text, size_t size)
{
    int64_t lines = 1;
    for (size_t i = 0; i < size; ++i) lines += text[i] == '\n';
    return lines;
}

icd_status icd_i_vocabulary_take(icd_ctx *ctx, char *lines, size_t size,
                                 const char *place, icd_vocabulary *v)
{
    icd_status status = ICD_OK;
    *v = (icd_vocabulary){.lines = lines};
    if (size > INT32_MAX / 4) {
        status = icd_i_fail(ctx, ICD_EDATA, place, NULL,
                            "found %zu bytes, expected a vocabulary of at most %d", size,
                            INT32_MAX / 4);
        goto done;
    }
    for (v->slots = 16; v->slots < 2 * count_lines(v->lines, size);) v->slots *= 2;
    ICD_TRY(ICD_ALLOC(ctx, v->slots, &v->slot));
    add_lines(v, size);
done:
    if (status != ICD_OK) icd_i_vocabulary_release(ctx, v);
    return status;
}

void icd_i_vocabulary_release(icd_ctx *ctx, icd_vocabulary *v)
{
    icd_i_free(ctx, v->lines);
    icd_i_free(ctx, v->slot);
    *v = (icd_vocabulary){0};
}

int32_t icd_i_vocabulary_find(const icd_vocabulary *v, const char *text, int64_t size,
                              bool inside)
{
    if (size == 0 || size > v->longest) return -1;
    const icd_token *t = probe(v, text, size, inside);
    return t->text ? t->id : -1;
}
