/* What is compared with is Hugging Face's `tokenizers` (tests/data/bpe_oracle.json). */
#include "model/bpe.h"

#include "base/hash.h"
#include "base/text.h"

#include <string.h>

static uint64_t pair_hash(int32_t left, int32_t right)
{
    const int32_t pair[] = {left, right};
    return icd_i_hash(0, pair, sizeof pair);
}

const icd_bpe_merge *icd_i_bpe_find(const icd_bpe *b, int32_t left, int32_t right)
{
    uint64_t mask = (uint64_t)b->slots - 1;
    for (uint64_t at = pair_hash(left, right);; at++) {
        const icd_bpe_merge *m = &b->merge[at & mask];
        if (m->left < 0) return NULL;
        if (m->left == left && m->right == right) return m;
    }
}

void icd_i_bpe_free(icd_ctx *ctx, icd_tokenizer *t)
{
    icd_bpe *b = (icd_bpe *)t;
    if (!b) return;
    json_decref(b->root);
    icd_i_free(ctx, b->merge);
    icd_i_free(ctx, b->added);
    icd_i_free(ctx, b);
}

int32_t icd_i_bpe_id(const icd_tokenizer *t, const char *token)
{
    const icd_bpe *b = (const icd_bpe *)t;
    for (int64_t i = 0; i < b->added_count; i++)
        if (strcmp(b->added[i].text, token) == 0) return b->added[i].id;
    const json_t *id = json_object_get(b->vocab, token);
    return id ? (int32_t)json_integer_value(id) : -1;
}

/* A symbol of a word that is being merged; id -1: swallowed by the one before it. */
typedef struct symbol {
    int32_t id;
    int64_t before, after; /* -1: none */
} symbol;

/* A merge that was possible when it was noted. */
typedef struct candidate {
    int32_t rank, left, right, id;
    int64_t at;
} candidate;

/* What one call of encode works with. */
typedef struct encoder {
    icd_ctx *ctx;
    const icd_bpe *bpe;
    symbol *symbol;
    int64_t symbol_capacity;
    candidate *heap;
    int64_t heap_size, heap_capacity;
    icd_text piece;
    int32_t *id;
    int64_t count, capacity;
} encoder;

static bool goes_first(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static icd_status heap_push(encoder *e, candidate c)
{
    icd_status status = icd_i_grow(e->ctx, (void **)&e->heap, &e->heap_capacity,
                                   e->heap_size + 1, sizeof *e->heap);
    if (status != ICD_OK) return status;
    int64_t i = e->heap_size++;
    for (; i > 0 && goes_first(&c, &e->heap[(i - 1) / 2]); i = (i - 1) / 2)
        e->heap[i] = e->heap[(i - 1) / 2];
    e->heap[i] = c;
    return ICD_OK;
}

static candidate heap_pop(encoder *e)
{
    candidate top = e->heap[0], last = e->heap[--e->heap_size];
    int64_t i = 0;
    for (;;) {
        int64_t child = 2 * i + 1;
        if (child >= e->heap_size) break;
        if (child + 1 < e->heap_size && goes_first(&e->heap[child + 1], &e->heap[child]))
            child++;
        if (!goes_first(&e->heap[child], &last)) break;
        e->heap[i] = e->heap[child];
        i = child;
    }
    if (e->heap_size > 0) e->heap[i] = last;
    return top;
}

/* Notes the merge of a symbol with the one behind it, if there is one. */
static icd_status note(encoder *e, int64_t at)
{
    int64_t next = at < 0 ? -1 : e->symbol[at].after;
    if (next < 0) return ICD_OK;
    int32_t left = e->symbol[at].id, right = e->symbol[next].id;
    const icd_bpe_merge *m = icd_i_bpe_find(e->bpe, left, right);
    if (!m) return ICD_OK;
    return heap_push(e, (candidate){m->rank, left, right, m->id, at});
}

static icd_status merge(encoder *e, const candidate *c)
{
    symbol *s = &e->symbol[c->at];
    int64_t next = s->after;
    if (s->id != c->left || next < 0 || e->symbol[next].id != c->right) return ICD_OK;
    s->id = c->id;
    s->after = e->symbol[next].after;
    e->symbol[next].id = -1;
    if (s->after >= 0) e->symbol[s->after].before = c->at;
    icd_status status = note(e, s->before);
    return status == ICD_OK ? note(e, c->at) : status;
}

/* One symbol a byte that has a token. */
static icd_status start_word(encoder *e, const char *text, int64_t size, int64_t *count)
{
    int64_t n = 0;
    icd_status status = icd_i_grow(e->ctx, (void **)&e->symbol, &e->symbol_capacity, size,
                                   sizeof *e->symbol);
    for (int64_t i = 0; status == ICD_OK && i < size; i++) {
        int32_t id = e->bpe->byte_id[(unsigned char)text[i]];
        if (id < 0) continue;
        e->symbol[n] = (symbol){id, n - 1, n + 1};
        n++;
    }
    if (n > 0) e->symbol[n - 1].after = -1;
    *count = n;
    return status;
}

static icd_status put_id(encoder *e, int32_t id)
{
    icd_status status =
        icd_i_grow(e->ctx, (void **)&e->id, &e->capacity, e->count + 1, sizeof *e->id);
    if (status == ICD_OK) e->id[e->count++] = id;
    return status;
}

static icd_status encode_word(encoder *e, const char *text, int64_t size)
{
    icd_status status = ICD_OK;
    int64_t count = 0;
    e->heap_size = 0;
    ICD_TRY(start_word(e, text, size, &count));
    for (int64_t i = 0; i < count; i++) ICD_TRY(note(e, i));
    while (e->heap_size > 0) {
        candidate c = heap_pop(e);
        ICD_TRY(merge(e, &c));
    }
    for (int64_t i = count ? 0 : -1; i >= 0; i = e->symbol[i].after)
        ICD_TRY(put_id(e, e->symbol[i].id));
done:
    return status;
}

static icd_status encode_piece(encoder *e, const char *text, int64_t size)
{
    icd_status status = ICD_OK;
    if (e->bpe->rules.prefix_space && text[0] != ' ') {
        e->piece.size = 0;
        ICD_TRY(icd_i_text_add(e->ctx, &e->piece, " ", 1));
        ICD_TRY(icd_i_text_add(e->ctx, &e->piece, text, size));
        text = e->piece.data;
        size = e->piece.size;
    }
    for (int64_t n; size > 0; text += n, size -= n) {
        n = e->bpe->rules.words ? icd_i_bpe_word(text, size) : size;
        ICD_TRY(encode_word(e, text, n));
    }
done:
    return status;
}

static icd_status encode_plain(encoder *e, const char *text, int64_t size)
{
    icd_status status = ICD_OK;
    for (int64_t n; size > 0; text += n, size -= n) {
        n = icd_i_bpe_piece(&e->bpe->rules, text, size);
        ICD_TRY(encode_piece(e, text, n));
    }
done:
    return status;
}

/* The longest added token that begins here; NULL: none. */
static const icd_bpe_added *added_at(const icd_bpe *b, const char *text, int64_t size)
{
    const icd_bpe_added *best = NULL;
    if (!b->begins[(unsigned char)text[0]]) return NULL;
    for (int64_t i = 0; i < b->added_count; i++) {
        const icd_bpe_added *a = &b->added[i];
        if (a->size > size || memcmp(text, a->text, (size_t)a->size) != 0) continue;
        if (!best || a->size > best->size) best = a;
    }
    return best;
}

static icd_status encode_all(encoder *e, const char *text, int64_t size)
{
    icd_status status = ICD_OK;
    int64_t begin = 0, at = 0;
    while (at < size) {
        const icd_bpe_added *a = added_at(e->bpe, text + at, size - at);
        if (a) {
            ICD_TRY(encode_plain(e, text + begin, at - begin));
            ICD_TRY(put_id(e, a->id));
            begin = at + a->size;
        }
        at += a ? a->size : 1;
    }
    ICD_TRY(encode_plain(e, text + begin, size - begin));
done:
    return status;
}

icd_status icd_i_bpe_encode(icd_ctx *ctx, const icd_tokenizer *t, const char *text,
                            int64_t size, int32_t **ids, int64_t *count)
{
    icd_status status;
    encoder e = {.ctx = ctx, .bpe = (const icd_bpe *)t};
    ICD_TRY(ICD_ALLOC(ctx, 16, &e.id));
    e.capacity = 16;
    ICD_TRY(encode_all(&e, text, size));
    *ids = e.id;
    *count = e.count;
    e.id = NULL;
done:
    icd_i_free(ctx, e.id);
    icd_i_free(ctx, e.symbol);
    icd_i_free(ctx, e.heap);
    icd_i_text_release(ctx, &e.piece);
    return status;
}
