#include "solver/refine.h"

#include "base/mem.h"
#include "solver/anneal.h"
#include "solver/pulls.h"
#include <assert.h>
#include <string.h>

enum {
    TARGETS = 3, /* blocks that a node offers itself to, strongest pull first */
    CHECK_EVERY = 16,
};

/* What a pass keeps about the block whose members it offers, and about the member. */
typedef struct search {
    icd_blocks *b;
    int32_t *home;       /* node -> weight of its edges into the block on offer */
    int32_t *home_nodes; /* nodes where home != 0, with repeats */
    int64_t homes;
    int32_t *pull;        /* block -> weight of the member's edges into it */
    int32_t *pull_blocks; /* blocks where pull != 0 */
    int32_t pulls;
    int32_t *link;          /* node -> weight of its edge to the member */
    uint8_t *active, *wake; /* block: look at it in this pass, in the next one */
    int64_t swaps;
} search;

static icd_status search_init(icd_ctx *ctx, search *s)
{
    icd_status status;
    int64_t n = s->b->g.n, blocks = s->b->bounds->count;
    ICD_TRY(ICD_ALLOC(ctx, n, &s->home));
    ICD_TRY(ICD_ALLOC(ctx, n, &s->home_nodes));
    ICD_TRY(ICD_ALLOC(ctx, n, &s->link));
    ICD_TRY(ICD_ALLOC(ctx, blocks, &s->pull));
    ICD_TRY(ICD_ALLOC(ctx, blocks, &s->pull_blocks));
    ICD_TRY(ICD_ALLOC(ctx, blocks, &s->active));
    ICD_TRY(ICD_ALLOC(ctx, blocks, &s->wake));
    memset(s->active, 1, (size_t)blocks);
done:
    return status;
}

static void search_release(icd_ctx *ctx, search *s)
{
    icd_i_free(ctx, s->home);
    icd_i_free(ctx, s->home_nodes);
    icd_i_free(ctx, s->link);
    icd_i_free(ctx, s->pull);
    icd_i_free(ctx, s->pull_blocks);
    icd_i_free(ctx, s->active);
    icd_i_free(ctx, s->wake);
}

static void add_home(search *s, int32_t v, int32_t sign)
{
    const icd_wgraph *g = &s->b->g;
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) {
        icd_edge e = g->edge[k];
        if (s->home[e.to] == 0 && sign > 0 && s->homes < g->n)
            s->home_nodes[s->homes++] = e.to;
        s->home[e.to] += sign * e.w;
    }
}

/* The list may miss nodes whose weight fell to zero and rose again once it was full; then
 * all are cleared. */
static void clear_home(search *s)
{
    if (s->homes >= s->b->g.n)
        memset(s->home, 0, (size_t)s->b->g.n * sizeof *s->home);
    else
        for (int64_t i = 0; i < s->homes; ++i) s->home[s->home_nodes[i]] = 0;
    s->homes = 0;
}

static void add_pulls(search *s, int32_t v)
{
    const icd_wgraph *g = &s->b->g;
    s->pulls = 0;
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) {
        int32_t block = s->b->block_of[g->edge[k].to];
        if (s->pull[block] == 0) s->pull_blocks[s->pulls++] = block;
        s->pull[block] += g->edge[k].w;
        s->link[g->edge[k].to] = g->edge[k].w;
    }
}

static void clear_pulls(search *s, int32_t v)
{
    const icd_wgraph *g = &s->b->g;
    for (int32_t i = 0; i < s->pulls; ++i) s->pull[s->pull_blocks[i]] = 0;
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) s->link[g->edge[k].to] = 0;
}

/* The next strongest block that pulls more than the own one does; -1: none is left. */
static int32_t take_target(search *s, int32_t v)
{
    int32_t best = -1, most = s->b->own[v];
    for (int32_t i = 0; i < s->pulls; ++i) {
        int32_t block = s->pull_blocks[i];
        if (block == s->b->block_of[v] || s->pull[block] <= most) continue;
        best = block;
        most = s->pull[block];
    }
    return best;
}

/* gain(v <-> u) = what v gains in u's block + what u gains in v's, less their own edge
 * twice. */
static int32_t best_partner(const search *s, int32_t v, int32_t block, int32_t *gain)
{
    const icd_blocks *b = s->b;
    int32_t best = -1, moved = s->pull[block] - b->own[v];
    for (int32_t slot = b->bounds->at[block]; slot < b->bounds->at[block + 1]; ++slot) {
        int32_t u = b->at[slot];
        int32_t sum = moved + s->home[u] - b->own[u] - 2 * s->link[u];
        if (sum <= *gain || !icd_i_blocks_free(b, u)) continue;
        *gain = sum;
        best = u;
    }
    return best;
}

static int32_t find_partner(search *s, int32_t v, int32_t *gain)
{
    int32_t partner = -1;
    add_pulls(s, v);
    for (int t = 0; t < TARGETS; ++t) {
        int32_t block = take_target(s, v);
        if (block < 0) break;
        int32_t u = best_partner(s, v, block, gain);
        if (u >= 0) partner = u;
        s->pull[block] = 0;
    }
    clear_pulls(s, v);
    return partner;
}

static void wake_around(search *s, int32_t v)
{
    const icd_wgraph *g = &s->b->g;
    s->wake[s->b->block_of[v]] = 1;
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k)
        s->wake[s->b->block_of[g->edge[k].to]] = 1;
}

static void swap(search *s, int32_t v, int32_t u, int32_t gain)
{
    assert(icd_i_blocks_gain(s->b, v, u) == gain);
    (void)gain;
    add_home(s, v, -1);
    icd_i_blocks_swap(s->b, v, u);
    add_home(s, u, 1);
    wake_around(s, v);
    wake_around(s, u);
    s->swaps++;
}

/* Members change while they are offered: slots are walked, not nodes. */
static void offer_block(search *s, int32_t block)
{
    const icd_blocks *b = s->b;
    for (int32_t slot = b->bounds->at[block]; slot < b->bounds->at[block + 1]; ++slot)
        add_home(s, b->at[slot], 1);
    for (int32_t slot = b->bounds->at[block]; slot < b->bounds->at[block + 1]; ++slot) {
        int32_t v = b->at[slot], gain = 0;
        if (!icd_i_blocks_free(b, v)) continue;
        int32_t u = find_partner(s, v, &gain);
        if (u >= 0) swap(s, v, u, gain);
    }
    clear_home(s);
}

static bool run_pass(search *s, icd_budget *budget)
{
    int64_t blocks = s->b->bounds->count;
    s->swaps = 0;
    for (int32_t block = 0; block < blocks; ++block) {
        if (block % CHECK_EVERY == 0 && icd_i_budget_over(budget)) return false;
        if (s->active[block]) offer_block(s, block);
    }
    memcpy(s->active, s->wake, (size_t)blocks);
    memset(s->wake, 0, (size_t)blocks);
    return s->swaps > 0;
}

icd_status icd_i_refine_greedy(icd_ctx *ctx, icd_blocks *b, icd_budget *budget,
                               int64_t steps, int64_t *passes)
{
    icd_status status;
    search s = {.b = b};
    ICD_TRY(search_init(ctx, &s));
    for (int64_t pass = 0; pass < steps; ++pass) {
        ++*passes;
        if (!run_pass(&s, budget)) break;
    }
done:
    search_release(ctx, &s);
    return status;
}

static void write_order(const icd_blocks *b, int32_t *fresh, int32_t *order)
{
    for (int32_t slot = 0; slot < b->g.n; ++slot) fresh[slot] = order[b->at[slot]];
    memcpy(order, fresh, (size_t)b->g.n * sizeof *order);
}

static icd_status greedy(icd_ctx *ctx, icd_blocks *b, const icd_refine_params *params,
                         int64_t *passes)
{
    icd_pulls pulls = {0};
    if (!icd_i_pulls_fit(b))
        return icd_i_refine_greedy(ctx, b, params->budget, params->steps, passes);
    icd_status status = icd_i_pulls_init(ctx, b, &pulls);
    if (status == ICD_OK)
        icd_i_pulls_greedy(&pulls, params->budget, params->steps, passes);
    icd_i_pulls_release(ctx, &pulls);
    return status;
}

/* Heat moves what no single swap betters; a last descent takes what the cold left. */
static icd_status search_swaps(icd_ctx *ctx, icd_blocks *b,
                               const icd_refine_params *params, int64_t *passes)
{
    icd_status status;
    bool better = false;
    ICD_TRY(greedy(ctx, b, params, passes));
    if (!params->anneal) return ICD_OK;
    ICD_TRY(icd_i_anneal(ctx, b, params->anneal, &better));
    if (better) ICD_TRY(greedy(ctx, b, params, passes));
done:
    return status;
}

icd_status icd_i_refine(icd_ctx *ctx, const icd_wgraph *g,
                        const icd_refine_params *params, int32_t *order, int64_t *passes)
{
    icd_status status = ICD_OK;
    icd_blocks b = {0};
    if (g->n < 2 || params->bounds->count < 2) return ICD_OK;
    ICD_TRY(icd_i_blocks_init(ctx, g, params, order, &b));
    ICD_TRY(search_swaps(ctx, &b, params, passes));
    write_order(&b, b.own, order);
done:
    icd_i_blocks_release(ctx, &b);
    return status;
}
