#include "core/kv.h"

#include "base/error.h"

#include <icd/perm.h>

#include <assert.h>
#include <math.h>
#include <string.h>

/* Bounds that keep every product of sizes inside an int64_t. */
enum { MOST_WIDTH = 1 << 24 };

static bool fits(int64_t a, int64_t b, int64_t most)
{
    return a >= 1 && b >= 1 && a <= most && b <= most / a;
}

static icd_status check_shape(icd_ctx *ctx, const icd_kv_shape *s)
{
    if (fits(s->heads, s->dim, MOST_WIDTH) && fits(s->page, s->sequences, INT32_MAX) &&
        fits(s->tokens, s->sequences, INT32_MAX - s->page * s->sequences))
        return ICD_OK;
    return icd_i_fail(
        ctx, ICD_EINVAL, "KV cache", NULL,
        "found %lld heads of %lld, pages of %lld tokens, %lld sequences of "
        "%lld tokens, expected at least 1 of each and fewer than 2^31 tokens",
        (long long)s->heads, (long long)s->dim, (long long)s->page,
        (long long)s->sequences, (long long)s->tokens);
}

static int64_t pages_of(const icd_kv_shape *s)
{
    return (s->tokens + s->page - 1) / s->page;
}

static icd_status allocate_values(icd_ctx *ctx, icd_kv *kv)
{
    icd_status status = ICD_OK;
    int64_t tokens = kv->pages * kv->shape.page * kv->shape.heads;
    int64_t values = tokens * kv->shape.dim;
    if (kv->shape.int8) {
        ICD_TRY(ICD_ALLOC(ctx, values, &kv->k8));
        ICD_TRY(ICD_ALLOC(ctx, values, &kv->v8));
        ICD_TRY(ICD_ALLOC(ctx, tokens, &kv->k_scale));
        ICD_TRY(ICD_ALLOC(ctx, tokens, &kv->v_scale));
    } else {
        ICD_TRY(ICD_ALLOC(ctx, values, &kv->k));
        ICD_TRY(ICD_ALLOC(ctx, values, &kv->v));
    }
done:
    return status;
}

static icd_status allocate(icd_ctx *ctx, icd_kv *kv)
{
    icd_status status = ICD_OK;
    int64_t slots = kv->pages * kv->shape.page;
    ICD_TRY(ICD_ALLOC(ctx, kv->pages, &kv->free_page));
    ICD_TRY(ICD_ALLOC(ctx, kv->shape.sequences, &kv->sequence));
    ICD_TRY(ICD_ALLOC(ctx, kv->pages, &kv->table));
    ICD_TRY(ICD_ALLOC(ctx, kv->pages, &kv->used));
    ICD_TRY(ICD_ALLOC(ctx, kv->pages, &kv->live));
    ICD_TRY(ICD_ALLOC(ctx, slots, &kv->position));
    ICD_TRY(ICD_ALLOC(ctx, slots, &kv->mass));
    ICD_TRY(ICD_ALLOC(ctx, slots, &kv->alive));
    ICD_TRY(allocate_values(ctx, kv));
done:
    return status;
}

icd_status icd_i_kv_new(icd_ctx *ctx, const icd_kv_shape *shape, icd_kv **out)
{
    icd_status status = ICD_OK;
    icd_kv *kv = NULL;
    *out = NULL;
    ICD_TRY(check_shape(ctx, shape));
    ICD_TRY(ICD_ALLOC(ctx, 1, &kv));
    kv->shape = *shape;
    kv->pages = pages_of(shape) * shape->sequences;
    ICD_TRY(allocate(ctx, kv));
    for (int64_t s = 0; s < shape->sequences; s++)
        kv->sequence[s].page = kv->table + s * pages_of(shape);
    for (int64_t p = kv->pages; p-- > 0;) kv->free_page[kv->free_pages++] = (int32_t)p;
    *out = kv;
    kv = NULL;
done:
    icd_i_kv_free(ctx, kv);
    return status;
}

void icd_i_kv_free(icd_ctx *ctx, icd_kv *kv)
{
    if (!kv) return;
    void *const block[] = {kv->free_page, kv->sequence, kv->table,   kv->used,   kv->live,
                           kv->position,  kv->mass,     kv->alive,   kv->k,      kv->v,
                           kv->k8,        kv->v8,       kv->k_scale, kv->v_scale};
    for (size_t i = 0; i < sizeof block / sizeof *block; i++) icd_i_free(ctx, block[i]);
    icd_i_free(ctx, kv);
}

static void give_back(icd_kv *kv, int32_t page)
{
    kv->used[page] = kv->live[page] = 0;
    kv->free_page[kv->free_pages++] = page;
}

void icd_i_kv_clear(icd_kv *kv, int64_t sequence)
{
    icd_kv_sequence *s = &kv->sequence[sequence];
    while (s->pages > 0) give_back(kv, s->page[--s->pages]);
    s->next = s->live = 0;
}

/* Zeros meet the zero weights of slots that hold no token: 0 * NaN would not be 0. */
static void wipe_values(icd_kv *kv, int32_t page, int64_t slot, int64_t slots)
{
    size_t n = (size_t)(slots * kv->shape.dim);
    for (int64_t h = 0; h < kv->shape.heads; h++) {
        int64_t at = icd_i_kv_head(kv, page, h) + slot * kv->shape.dim;
        if (kv->v8)
            memset(kv->v8 + at, 0, n);
        else
            memset(kv->v + at, 0, n * sizeof *kv->v);
        if (kv->v8)
            memset(kv->v_scale + icd_i_kv_scale(kv, page, h) + slot, 0,
                   (size_t)slots * sizeof *kv->v_scale);
    }
}

static int32_t take_page(icd_kv *kv, icd_kv_sequence *s)
{
    assert(kv->free_pages > 0);
    int32_t page = kv->free_page[--kv->free_pages];
    memset(kv->alive + page * kv->shape.page, 0, (size_t)kv->shape.page);
    wipe_values(kv, page, 0, kv->shape.page);
    s->page[s->pages++] = page;
    return page;
}

/* The slot for one more token of a sequence. */
static icd_kv_slot take_slot(icd_kv *kv, icd_kv_sequence *s)
{
    int32_t page = s->pages ? s->page[s->pages - 1] : -1;
    if (page < 0 || kv->used[page] == kv->shape.page) page = take_page(kv, s);
    icd_kv_slot at = {page, kv->used[page]++};
    kv->live[page]++;
    kv->alive[icd_i_kv_at(kv, at)] = true;
    s->live++;
    return at;
}

/* One scale for the values of a head of a token: max|x| / 127, round to nearest; values
 * that are not finite make the scale NaN, so that they are seen and not swallowed. */
static float quantize(const float *x, int64_t n, int8_t *q, int64_t step)
{
    float top = 0;
    bool finite = true;
    for (int64_t i = 0; i < n; i++) {
        finite &= isfinite(x[i]) != 0;
        top = fmaxf(top, fabsf(x[i]));
    }
    float inverse = finite && top > 1e-36f ? 127 / top : 0;
    for (int64_t i = 0; i < n; i++)
        q[i * step] = inverse > 0 ? (int8_t)lrintf(x[i] * inverse) : 0;
    return !finite ? NAN : inverse > 0 ? top / 127 : 0;
}

static void put(icd_kv *kv, icd_kv_slot at, const float *k, const float *v)
{
    int64_t dim = kv->shape.dim, page = kv->shape.page;
    for (int64_t h = 0; h < kv->shape.heads; h++, k += dim, v += dim) {
        int64_t head = icd_i_kv_head(kv, at.page, h), key = head + at.slot,
                value = head + at.slot * dim;
        if (kv->k8) {
            int64_t scale = icd_i_kv_scale(kv, at.page, h) + at.slot;
            kv->k_scale[scale] = quantize(k, dim, kv->k8 + key, page);
            kv->v_scale[scale] = quantize(v, dim, kv->v8 + value, 1);
        } else {
            for (int64_t i = 0; i < dim; i++) kv->k[key + i * page] = k[i];
            memcpy(kv->v + value, v, (size_t)dim * sizeof *v);
        }
    }
}

void icd_i_kv_get(const icd_kv *kv, icd_kv_slot at, float *k, float *v)
{
    int64_t dim = kv->shape.dim, page = kv->shape.page;
    for (int64_t h = 0; h < kv->shape.heads; h++, k += dim, v += dim) {
        int64_t head = icd_i_kv_head(kv, at.page, h), key = head + at.slot,
                value = head + at.slot * dim,
                scale = icd_i_kv_scale(kv, at.page, h) + at.slot;
        for (int64_t i = 0; i < dim; i++) {
            k[i] = kv->k8 ? (float)kv->k8[key + i * page] * kv->k_scale[scale]
                          : kv->k[key + i * page];
            v[i] =
                kv->v8 ? (float)kv->v8[value + i] * kv->v_scale[scale] : kv->v[value + i];
        }
    }
}

void icd_i_kv_append(icd_kv *kv, int64_t sequence, const float *k, const float *v)
{
    icd_kv_sequence *s = &kv->sequence[sequence];
    assert(s->next < kv->shape.tokens);
    icd_kv_slot at = take_slot(kv, s);
    kv->position[icd_i_kv_at(kv, at)] = (int32_t)s->next++;
    kv->mass[icd_i_kv_at(kv, at)] = 0;
    put(kv, at, k, v);
}

static void kill(icd_kv *kv, icd_kv_sequence *s, icd_kv_slot at)
{
    kv->alive[icd_i_kv_at(kv, at)] = false;
    kv->live[at.page]--;
    s->live--;
    wipe_values(kv, at.page, at.slot, 1);
}

void icd_i_kv_pop(icd_kv *kv, int64_t sequence)
{
    icd_kv_sequence *s = &kv->sequence[sequence];
    assert(s->pages > 0);
    int32_t page = s->page[s->pages - 1];
    kill(kv, s, (icd_kv_slot){page, --kv->used[page]});
    s->next--;
    if (kv->used[page] > 0) return;
    s->pages--;
    give_back(kv, page);
}

void icd_i_kv_list(const icd_kv *kv, int64_t sequence, icd_kv_slot *out)
{
    const icd_kv_sequence *s = &kv->sequence[sequence];
    int64_t n = 0;
    for (int64_t i = 0; i < s->pages; i++)
        for (int32_t slot = 0; slot < kv->used[s->page[i]]; slot++) {
            icd_kv_slot at = {s->page[i], slot};
            if (kv->alive[icd_i_kv_at(kv, at)]) out[n++] = at;
        }
    assert(n == s->live);
}

static void release_dead(icd_kv *kv, icd_kv_sequence *s)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < s->pages; i++)
        if (kv->live[s->page[i]] > 0)
            s->page[kept++] = s->page[i];
        else
            give_back(kv, s->page[i]);
    s->pages = kept;
}

void icd_i_kv_drop(icd_kv *kv, int64_t sequence, const icd_kv_slot *token, int64_t count)
{
    icd_kv_sequence *s = &kv->sequence[sequence];
    for (int64_t i = 0; i < count; i++)
        if (kv->alive[icd_i_kv_at(kv, token[i])]) kill(kv, s, token[i]);
    release_dead(kv, s);
}

/* A token's bytes between two slots, so that int8 is not rounded a second time. */
static void copy_token(const icd_kv *from, icd_kv_slot a, icd_kv *to, icd_kv_slot b)
{
    int64_t dim = from->shape.dim, p = from->shape.page, q = to->shape.page;
    for (int64_t h = 0; h < from->shape.heads; h++) {
        int64_t x = icd_i_kv_head(from, a.page, h), y = icd_i_kv_head(to, b.page, h);
        if (from->k8) {
            int64_t xs = icd_i_kv_scale(from, a.page, h) + a.slot,
                    ys = icd_i_kv_scale(to, b.page, h) + b.slot;
            to->k_scale[ys] = from->k_scale[xs];
            to->v_scale[ys] = from->v_scale[xs];
        }
        for (int64_t i = 0; i < dim; i++)
            if (from->k8)
                to->k8[y + i * q + b.slot] = from->k8[x + i * p + a.slot];
            else
                to->k[y + i * q + b.slot] = from->k[x + i * p + a.slot];
        if (from->v8)
            memcpy(to->v8 + y + b.slot * dim, from->v8 + x + a.slot * dim, (size_t)dim);
        else
            memcpy(to->v + y + b.slot * dim, from->v + x + a.slot * dim,
                   (size_t)dim * sizeof *to->v);
    }
    to->position[icd_i_kv_at(to, b)] = from->position[icd_i_kv_at(from, a)];
    to->mass[icd_i_kv_at(to, b)] = from->mass[icd_i_kv_at(from, a)];
}

/* The tokens `at` in the order old_of_new (NULL: as listed), in a cache of their own. */
static icd_status gather(icd_ctx *ctx, const icd_kv *kv, const icd_kv_slot *at,
                         const icd_perm *order, int64_t live, icd_kv **out)
{
    icd_kv_shape shape = kv->shape;
    shape.sequences = 1;
    shape.tokens = live;
    icd_status status = icd_i_kv_new(ctx, &shape, out);
    for (int64_t i = 0; status == ICD_OK && i < live; i++)
        copy_token(kv, at[order ? order->old_of_new[i] : i], *out,
                   take_slot(*out, (*out)->sequence));
    return status;
}

static void refill(icd_kv *kv, icd_kv_sequence *s, const icd_kv *from)
{
    int64_t page = kv->shape.page;
    while (s->pages > 0) give_back(kv, s->page[--s->pages]);
    s->live = 0;
    for (int64_t i = 0; i < from->sequence->live; i++) {
        icd_kv_slot at = {from->sequence->page[i / page], (int32_t)(i % page)};
        copy_token(from, at, kv, take_slot(kv, s));
    }
}

icd_status icd_i_kv_permute(icd_ctx *ctx, icd_kv *kv, int64_t sequence,
                            const int32_t *old_of_new)
{
    icd_status status = ICD_OK;
    icd_kv_sequence *s = &kv->sequence[sequence];
    icd_kv_slot *at = NULL;
    icd_perm *order = NULL;
    icd_kv *moved = NULL;
    if (s->live == 0) return ICD_OK;
    if (old_of_new)
        ICD_TRY(icd_perm_from_array(ctx, old_of_new, s->live, ICD_FRAME_CHECKPOINT,
                                    "KV cache", &order));
    ICD_TRY(ICD_ALLOC(ctx, s->live, &at));
    icd_i_kv_list(kv, sequence, at);
    ICD_TRY(gather(ctx, kv, at, order, s->live, &moved));
    refill(kv, s, moved);
done:
    icd_i_kv_free(ctx, moved);
    icd_perm_free(ctx, order);
    icd_i_free(ctx, at);
    return status;
}

static void copy_tables(const icd_kv *kv, icd_kv *to)
{
    size_t pages = (size_t)kv->pages, slots = pages * (size_t)kv->shape.page;
    to->free_pages = kv->free_pages;
    memcpy(to->free_page, kv->free_page, pages * sizeof *kv->free_page);
    memcpy(to->table, kv->table, pages * sizeof *kv->table);
    memcpy(to->used, kv->used, pages * sizeof *kv->used);
    memcpy(to->live, kv->live, pages * sizeof *kv->live);
    memcpy(to->position, kv->position, slots * sizeof *kv->position);
    memcpy(to->mass, kv->mass, slots * sizeof *kv->mass);
    memcpy(to->alive, kv->alive, slots * sizeof *kv->alive);
    for (int64_t i = 0; i < kv->shape.sequences; i++) {
        int32_t *page = to->sequence[i].page;
        to->sequence[i] = kv->sequence[i];
        to->sequence[i].page = page;
    }
}

static icd_status copy_tokens(icd_ctx *ctx, const icd_kv *kv, icd_kv *to)
{
    icd_status status = ICD_OK;
    int64_t width = kv->shape.heads * kv->shape.dim;
    bool same = kv->shape.int8 == to->shape.int8;
    float *k = NULL;
    ICD_TRY(ICD_ALLOC(ctx, 2 * width, &k));
    for (int32_t p = 0; p < kv->pages; p++)
        for (int32_t slot = 0; slot < kv->used[p]; slot++) {
            icd_kv_slot at = {p, slot};
            if (!kv->alive[icd_i_kv_at(kv, at)]) continue;
            if (same) {
                copy_token(kv, at, to, at);
            } else {
                icd_i_kv_get(kv, at, k, k + width);
                put(to, at, k, k + width);
            }
        }
done:
    icd_i_free(ctx, k);
    return status;
}

icd_status icd_i_kv_copy(icd_ctx *ctx, const icd_kv *kv, bool int8, icd_kv **out)
{
    icd_status status = ICD_OK;
    icd_kv *copy = NULL;
    icd_kv_shape shape = kv->shape;
    *out = NULL;
    shape.int8 = int8;
    ICD_TRY(icd_i_kv_new(ctx, &shape, &copy));
    copy_tables(kv, copy);
    ICD_TRY(copy_tokens(ctx, kv, copy));
    *out = copy;
    copy = NULL;
done:
    icd_i_kv_free(ctx, copy);
    return status;
}

icd_kv_use icd_i_kv_use(const icd_kv *kv)
{
    int64_t values = kv->shape.heads * kv->shape.page;
    icd_kv_use use = {.pages = kv->pages - kv->free_pages};
    for (int64_t i = 0; i < kv->shape.sequences; i++) use.tokens += kv->sequence[i].live;
    use.page_bytes = 2 * values *
                     (kv->k8 ? kv->shape.dim + (int64_t)sizeof(float)
                             : kv->shape.dim * (int64_t)sizeof(float));
    use.bytes = use.pages * use.page_bytes;
    return use;
}
