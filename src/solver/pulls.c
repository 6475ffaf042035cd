#include "solver/pulls.h"

#include "base/mem.h"
#include <assert.h>

enum { ALWAYS = 1 << 16, TARGETS = 3, CHECK_EVERY = 256 };

bool icd_i_pulls_fit(const icd_blocks *b)
{
    int64_t entries = (int64_t)b->g.n * b->bounds->count;
    return entries <= ALWAYS || entries <= 4 * b->g.ptr[b->g.n];
}

static int32_t *row_of(const icd_pulls *p, int32_t v)
{
    return p->pull + (int64_t)v * p->b->bounds->count;
}

static void fill_rows(icd_pulls *p)
{
    const icd_blocks *b = p->b;
    for (int32_t v = 0; v < b->g.n; ++v) {
        int32_t *row = row_of(p, v);
        for (int64_t k = b->g.ptr[v]; k < b->g.ptr[v + 1]; ++k) {
            row[b->block_of[b->g.edge[k].to]] += b->g.edge[k].w;
        }
    }
}

static void fill_zones(icd_pulls *p)
{
    const int32_t *zone_of = p->b->zone_of;
    int32_t blocks = p->b->bounds->count;
    for (int32_t begin = 0, end = 0; begin < blocks; begin = end) {
        while (end < blocks && zone_of[end] == zone_of[begin]) end++;
        for (int32_t k = begin; k < end; ++k) {
            p->first[k] = begin;
            p->last[k] = end;
        }
    }
}

icd_status icd_i_pulls_init(icd_ctx *ctx, icd_blocks *b, icd_pulls *p)
{
    icd_status status;
    *p = (icd_pulls){.b = b, .linked = -1};
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)b->g.n * b->bounds->count, &p->pull));
    ICD_TRY(ICD_ALLOC(ctx, b->g.n, &p->link));
    ICD_TRY(ICD_ALLOC(ctx, b->bounds->count, &p->first));
    ICD_TRY(ICD_ALLOC(ctx, b->bounds->count, &p->last));
    fill_rows(p);
    fill_zones(p);
done:
    return status;
}

void icd_i_pulls_release(icd_ctx *ctx, icd_pulls *p)
{
    for (int32_t v = 0; p->pull && v < p->b->g.n; ++v)
        p->b->own[v] = row_of(p, v)[p->b->block_of[v]];
    icd_i_free(ctx, p->pull);
    icd_i_free(ctx, p->link);
    icd_i_free(ctx, p->first);
    icd_i_free(ctx, p->last);
    p->pull = NULL;
}

static void write_links(icd_pulls *p, int32_t v, bool set)
{
    const icd_wgraph *g = &p->b->g;
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k)
        p->link[g->edge[k].to] = set ? g->edge[k].w : 0;
}

/* The weight between v and u; many questions about one v cost one walk over its edges. */
static int32_t link_of(icd_pulls *p, int32_t v, int32_t u)
{
    if (p->linked != v) {
        if (p->linked >= 0) write_links(p, p->linked, false);
        write_links(p, v, true);
        p->linked = v;
    }
    return p->link[u];
}

int32_t icd_i_pulls_gain(icd_pulls *p, int32_t v, int32_t u)
{
    return icd_i_pulls_gain_apart(p, v, u) - 2 * link_of(p, v, u);
}

static void shift(icd_pulls *p, int32_t v, int32_t from, int32_t to)
{
    const icd_wgraph *g = &p->b->g;
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) {
        int32_t *row = row_of(p, g->edge[k].to);
        row[from] -= g->edge[k].w;
        row[to] += g->edge[k].w;
    }
}

void icd_i_pulls_swap(icd_pulls *p, int32_t v, int32_t u)
{
    icd_blocks *b = p->b;
    int32_t from = b->block_of[v], to = b->block_of[u], slot = b->slot_of[v];
    assert(icd_i_pulls_gain(p, v, u) == icd_i_blocks_gain(b, v, u));
    shift(p, v, from, to);
    shift(p, u, to, from);
    b->block_of[v] = to;
    b->block_of[u] = from;
    b->slot_of[v] = b->slot_of[u];
    b->slot_of[u] = slot;
    b->at[b->slot_of[v]] = v;
    b->at[b->slot_of[u]] = u;
}

/* The strongest pulls of a row, the home block's excepted, if they beat it. @return how
 * many */
static int32_t find_targets(const icd_pulls *p, int32_t v, int32_t *target)
{
    const int32_t *row = row_of(p, v);
    int32_t home = p->b->block_of[v], count = 0, least = row[home];
    for (int32_t k = p->first[home]; k < p->last[home]; ++k) {
        if (row[k] <= least) continue;
        int32_t at = count < TARGETS ? count++ : TARGETS - 1;
        for (; at > 0 && row[target[at - 1]] < row[k]; --at) target[at] = target[at - 1];
        target[at] = k;
        if (count == TARGETS) least = row[target[TARGETS - 1]];
    }
    return count;
}

static int32_t best_partner(icd_pulls *p, int32_t v, int32_t to, int32_t *gain)
{
    const icd_blocks *b = p->b;
    int32_t from = b->block_of[v], best = -1;
    int32_t moved = row_of(p, v)[to] - row_of(p, v)[from];
    for (int32_t slot = b->bounds->at[to]; slot < b->bounds->at[to + 1]; ++slot) {
        int32_t u = b->at[slot];
        const int32_t *row = row_of(p, u);
        int32_t sum = moved + row[from] - row[to];
        if (sum <= *gain || !icd_i_blocks_free(b, u)) continue;
        sum -= 2 * link_of(p, v, u);
        if (sum <= *gain) continue;
        *gain = sum;
        best = u;
    }
    return best;
}

static bool offer(icd_pulls *p, int32_t v)
{
    int32_t target[TARGETS], gain = 0, partner = -1;
    if (!icd_i_blocks_free(p->b, v)) return false;
    int32_t count = find_targets(p, v, target);
    for (int32_t t = 0; t < count; ++t) {
        int32_t u = best_partner(p, v, target[t], &gain);
        if (u >= 0) partner = u;
    }
    if (partner < 0) return false;
    icd_i_pulls_swap(p, v, partner);
    return true;
}

void icd_i_pulls_greedy(icd_pulls *p, icd_budget *budget, int64_t steps, int64_t *passes)
{
    bool better = true;
    for (int64_t pass = 0; better && pass < steps; ++pass) {
        better = false;
        ++*passes;
        for (int32_t v = 0; v < p->b->g.n; ++v) {
            if (v % CHECK_EVERY == 0 && icd_i_budget_over(budget)) return;
            better |= offer(p, v);
        }
    }
}
