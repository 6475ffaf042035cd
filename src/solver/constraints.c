#include "solver/space.h"

#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

/* Union-find over units; the root is the lowest unit of its body. */
static int32_t root_of(int32_t *parent, int32_t u)
{
    while (parent[u] != u) {
        parent[u] = parent[parent[u]];
        u = parent[u];
    }
    return u;
}

static void tie_units(const icd_space *s, const icd_constraint *c, int32_t *parent)
{
    for (int64_t t = 0; c && t < c->ties; ++t) {
        int32_t a = root_of(parent, c->tie[t].a / s->unit);
        int32_t b = root_of(parent, c->tie[t].b / s->unit);
        if (a < b)
            parent[b] = a;
        else
            parent[a] = b;
    }
}

/* Bodies are numbered by their lowest unit; afterwards parent[unit] = body. */
static void number_bodies(icd_space *s, int32_t *parent)
{
    for (int32_t u = s->units - 1; u >= 0; --u) parent[u] = root_of(parent, u);
    for (int32_t u = 0; u < s->units; ++u)
        parent[u] = parent[u] == u ? s->bodies++ : parent[parent[u]];
}

static void list_members(icd_space *s, const int32_t *body_of_unit)
{
    memset(s->first, 0, (size_t)(s->bodies + 1) * sizeof *s->first);
    for (int32_t u = 0; u < s->units; ++u) s->first[body_of_unit[u] + 1]++;
    for (int32_t b = 0; b < s->bodies; ++b) s->first[b + 1] += s->first[b];
    for (int32_t u = 0; u < s->units; ++u) s->member[s->first[body_of_unit[u]]++] = u;
    memmove(s->first + 1, s->first, (size_t)s->bodies * sizeof *s->first);
    s->first[0] = 0;
}

static int32_t body_size(const icd_space *s, int32_t b)
{
    return s->first[b + 1] - s->first[b];
}

/* Shapes compare by size, then by the distances from the head. */
static int compare_shapes(const icd_space *s, int32_t a, int32_t b)
{
    int32_t size = body_size(s, a);
    if (size != body_size(s, b)) return size < body_size(s, b) ? -1 : 1;
    const int32_t *x = s->member + s->first[a], *y = s->member + s->first[b];
    for (int32_t i = 1; i < size; ++i)
        if (x[i] - x[0] != y[i] - y[0]) return x[i] - x[0] < y[i] - y[0] ? -1 : 1;
    return 0;
}

typedef struct shaped {
    const icd_space *s;
    int32_t body;
} shaped;

static int by_shape(const void *a, const void *b)
{
    const shaped *x = a, *y = b;
    int order = compare_shapes(x->s, x->body, y->body);
    return order ? order : (x->body > y->body) - (x->body < y->body);
}

static bool is_pinned(const icd_space *s, const uint8_t *pinned, int32_t b)
{
    for (int32_t i = s->first[b]; i < s->first[b + 1]; ++i)
        if (pinned[s->member[i]]) return true;
    return false;
}

static icd_status number_shapes(icd_ctx *ctx, icd_space *s, const uint8_t *pinned)
{
    icd_status status;
    shaped *list = NULL;
    int32_t shapes = 0, last = -1; /* last: a free body of the newest shared shape */
    ICD_TRY(ICD_ALLOC(ctx, s->bodies, &list));
    for (int32_t b = 0; b < s->bodies; ++b) list[b] = (shaped){s, b};
    qsort(list, (size_t)s->bodies, sizeof *list, by_shape);
    for (int32_t i = 0; i < s->bodies; ++i) {
        int32_t b = list[i].body;
        if (is_pinned(s, pinned, b)) {
            s->shape[b] = shapes++;
        } else if (last >= 0 && compare_shapes(s, last, b) == 0) {
            s->shape[b] = s->shape[last];
        } else {
            s->shape[b] = shapes++;
            last = b;
        }
    }
done:
    icd_i_free(ctx, list);
    return status;
}

static icd_status find_bodies(icd_ctx *ctx, const icd_constraint *c, icd_space *s)
{
    icd_status status;
    int32_t *body_of_unit = NULL;
    ICD_TRY(ICD_ALLOC(ctx, s->units, &body_of_unit));
    for (int32_t u = 0; u < s->units; ++u) body_of_unit[u] = u;
    tie_units(s, c, body_of_unit);
    number_bodies(s, body_of_unit);
    list_members(s, body_of_unit);
    ICD_TRY(ICD_ALLOC(ctx, s->n, &s->body_of));
    for (int32_t i = 0; i < s->n; ++i) s->body_of[i] = body_of_unit[i / s->unit];
done:
    icd_i_free(ctx, body_of_unit);
    return status;
}

static icd_status find_shapes(icd_ctx *ctx, const icd_constraint *c, icd_space *s)
{
    icd_status status;
    ICD_TRY(ICD_ALLOC(ctx, s->units, &s->frozen));
    for (int64_t f = 0; c && f < c->fixed_count; ++f)
        s->frozen[c->fixed[f] / s->unit] = 1;
    ICD_TRY(number_shapes(ctx, s, s->frozen));
    for (int32_t b = 0; b < s->bodies; ++b)
        for (int32_t i = s->first[b]; i < s->first[b + 1]; ++i)
            if (body_size(s, b) > 1) s->frozen[s->member[i]] = 1;
done:
    return status;
}

static bool ties_units(const icd_constraint *c, int32_t unit)
{
    for (int64_t t = 0; c && t < c->ties; ++t)
        if (c->tie[t].a / unit != c->tie[t].b / unit) return true;
    return false;
}

icd_status icd_i_space_init(icd_ctx *ctx, const icd_constraint *c, int64_t n,
                            icd_space *s)
{
    icd_status status = ICD_OK;
    memset(s, 0, sizeof *s);
    s->n = (int32_t)n;
    s->unit = c && c->unit > 1 ? c->unit : 1;
    s->units = s->n / s->unit;
    s->plain = !ties_units(c, s->unit) && !(c && c->fixed_count);
    if (s->plain && s->unit == 1) {
        s->bodies = s->units;
        return ICD_OK;
    }
    ICD_TRY(ICD_ALLOC(ctx, s->units + (int64_t)1, &s->first));
    ICD_TRY(ICD_ALLOC(ctx, s->units, &s->member));
    ICD_TRY(ICD_ALLOC(ctx, s->units, &s->shape));
    ICD_TRY(find_bodies(ctx, c, s));
    if (!s->plain) ICD_TRY(find_shapes(ctx, c, s));
done:
    return status;
}

void icd_i_space_release(icd_ctx *ctx, icd_space *s)
{
    icd_i_free(ctx, s->body_of);
    icd_i_free(ctx, s->first);
    icd_i_free(ctx, s->member);
    icd_i_free(ctx, s->shape);
    icd_i_free(ctx, s->frozen);
    memset(s, 0, sizeof *s);
}

/* Bodies are numbered by their lowest unit, so the places of a shape are its bodies in
 * order. */
static void deal_places(const icd_space *s, const int32_t *order, int32_t *next,
                        int32_t *sorted, int32_t *unit_at)
{
    for (int32_t b = 0; b < s->bodies; ++b) next[s->shape[b] + 1]++;
    for (int32_t k = 0; k < s->bodies; ++k) next[k + 1] += next[k];
    for (int32_t b = 0; b < s->bodies; ++b) sorted[next[s->shape[b]]++] = b;
    for (int32_t k = s->bodies; k > 0; --k) next[k] = next[k - 1];
    next[0] = 0;
    for (int32_t rank = 0; rank < s->bodies; ++rank) {
        int32_t body = order[rank], place = sorted[next[s->shape[body]]++];
        for (int32_t i = 0; i < body_size(s, body); ++i)
            unit_at[s->member[s->first[place] + i]] = s->member[s->first[body] + i];
    }
}

icd_status icd_i_space_place(icd_ctx *ctx, const icd_space *s, const int32_t *order,
                             int32_t *unit_at)
{
    icd_status status;
    int32_t *next = NULL, *sorted = NULL;
    if (s->plain) {
        memcpy(unit_at, order, (size_t)s->units * sizeof *order);
        return ICD_OK;
    }
    ICD_TRY(ICD_ALLOC(ctx, s->bodies + (int64_t)2, &next));
    ICD_TRY(ICD_ALLOC(ctx, s->bodies, &sorted));
    deal_places(s, order, next, sorted, unit_at);
done:
    icd_i_free(ctx, next);
    icd_i_free(ctx, sorted);
    return status;
}

void icd_i_space_expand(const icd_space *s, const int32_t *unit_at, int32_t *old_of_new)
{
    for (int32_t place = 0; place < s->units; ++place)
        for (int32_t r = 0; r < s->unit; ++r)
            old_of_new[place * s->unit + r] = unit_at[place] * s->unit + r;
}
