#include "solver/warm.h"

#include "base/mem.h"
#include <assert.h>
#include <string.h>

enum { TARGETS = 3, CHECK_EVERY = 16 };

typedef struct warm {
    icd_blocks b;
    int64_t price;
    int32_t *start; /* node -> the block it started in */
    int32_t *here;  /* node -> weight into the block in hand; zero between blocks */
    int32_t *link;  /* node -> weight of its edge to the node in hand */
    int32_t *pull;  /* block -> weight of the edges of the node in hand */
    uint8_t *active, *wake; /* block */
    int64_t swaps;
} warm;

static icd_status warm_init(icd_ctx *ctx, const icd_wgraph *g,
                            const icd_refine_params *params, const int32_t *order,
                            warm *x)
{
    icd_status status;
    ICD_TRY(icd_i_blocks_init(ctx, g, params, order, &x->b));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &x->start));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &x->here));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &x->link));
    ICD_TRY(ICD_ALLOC(ctx, params->bounds->count, &x->pull));
    ICD_TRY(ICD_ALLOC(ctx, params->bounds->count, &x->active));
    ICD_TRY(ICD_ALLOC(ctx, params->bounds->count, &x->wake));
    memcpy(x->start, x->b.block_of, (size_t)g->n * sizeof *x->start);
    memset(x->active, 1, (size_t)params->bounds->count);
done:
    return status;
}

static void warm_release(icd_ctx *ctx, warm *x)
{
    icd_i_blocks_release(ctx, &x->b);
    icd_i_free(ctx, x->start);
    icd_i_free(ctx, x->here);
    icd_i_free(ctx, x->link);
    icd_i_free(ctx, x->pull);
    icd_i_free(ctx, x->active);
    icd_i_free(ctx, x->wake);
}

static void add_edges(const icd_blocks *b, int32_t v, int32_t sign, int32_t *at)
{
    for (int64_t k = b->g.ptr[v]; k < b->g.ptr[v + 1]; ++k)
        at[b->g.edge[k].to] += sign * b->g.edge[k].w;
}

/* What the stay of v in `block` costs. */
static int64_t fare(const warm *x, int32_t v, int32_t block)
{
    return x->start[v] == block ? 0 : x->price;
}

/* The blocks that pull v most, net of the fare; @return how many pull at all. */
static int targets_of(warm *x, int32_t v, int32_t target[TARGETS])
{
    const icd_blocks *b = &x->b;
    int32_t home = b->block_of[v];
    int64_t best[TARGETS] = {0}, stay = b->own[v] - fare(x, v, home);
    int count = 0;
    for (int64_t k = b->g.ptr[v]; k < b->g.ptr[v + 1]; ++k)
        x->pull[b->block_of[b->g.edge[k].to]] += b->g.edge[k].w;
    for (int64_t k = b->g.ptr[v]; k < b->g.ptr[v + 1]; ++k) {
        int32_t block = b->block_of[b->g.edge[k].to];
        int64_t gain = x->pull[block] - fare(x, v, block) - stay;
        bool pulls = x->pull[block] > 0 && block != home && gain > 0;
        x->pull[block] = 0;
        if (!pulls || (count == TARGETS && gain <= best[TARGETS - 1])) continue;
        int at = count < TARGETS ? count++ : TARGETS - 1;
        for (; at > 0 && best[at - 1] < gain; --at) {
            best[at] = best[at - 1];
            target[at] = target[at - 1];
        }
        best[at] = gain;
        target[at] = block;
    }
    return count;
}

/* Gain of exchanging v, whose edges stand in `link`, with u. */
static int64_t gain_of(const warm *x, int32_t v, int32_t u, int64_t pull)
{
    const icd_blocks *b = &x->b;
    int32_t from = b->block_of[v], to = b->block_of[u];
    int64_t cut = pull - b->own[v] + x->here[u] - b->own[u] - 2 * (int64_t)x->link[u];
    return cut + fare(x, v, from) + fare(x, u, to) - fare(x, v, to) - fare(x, u, from);
}

static int32_t find_partner(warm *x, int32_t v)
{
    const icd_blocks *b = &x->b;
    int32_t target[TARGETS], partner = -1;
    int64_t best = 0;
    int count = targets_of(x, v, target);
    if (count == 0) return -1;
    add_edges(b, v, 1, x->link);
    for (int i = 0; i < count; ++i) {
        int64_t pull = 0;
        for (int64_t k = b->g.ptr[v]; k < b->g.ptr[v + 1]; ++k)
            if (b->block_of[b->g.edge[k].to] == target[i]) pull += b->g.edge[k].w;
        for (int32_t slot = b->bounds->at[target[i]]; slot < b->bounds->at[target[i] + 1];
             ++slot) {
            int32_t u = b->at[slot];
            int64_t gain = gain_of(x, v, u, pull);
            if (gain <= best || !icd_i_blocks_free(b, u)) continue;
            best = gain;
            partner = u;
        }
    }
    add_edges(b, v, -1, x->link);
    return partner;
}

static void wake_around(warm *x, int32_t v)
{
    const icd_blocks *b = &x->b;
    x->wake[b->block_of[v]] = 1;
    for (int64_t k = b->g.ptr[v]; k < b->g.ptr[v + 1]; ++k)
        x->wake[b->block_of[b->g.edge[k].to]] = 1;
}

/* Members change while they are looked at: slots are walked, not nodes. */
static void offer_block(warm *x, int32_t block)
{
    icd_blocks *b = &x->b;
    int32_t first = b->bounds->at[block], end = b->bounds->at[block + 1];
    for (int32_t slot = first; slot < end; ++slot) add_edges(b, b->at[slot], 1, x->here);
    for (int32_t slot = first; slot < end; ++slot) {
        int32_t v = b->at[slot], u = -1;
        if (icd_i_blocks_free(b, v)) u = find_partner(x, v);
        if (u < 0) continue;
        add_edges(b, v, -1, x->here);
        icd_i_blocks_swap(b, v, u);
        add_edges(b, u, 1, x->here);
        wake_around(x, v);
        wake_around(x, u);
        x->swaps++;
    }
    for (int32_t slot = first; slot < end; ++slot) add_edges(b, b->at[slot], -1, x->here);
}

/* @return false: nothing is left to do, or no time */
static bool run_pass(warm *x, icd_budget *budget)
{
    int64_t blocks = x->b.bounds->count;
    x->swaps = 0;
    for (int32_t block = 0; block < blocks; ++block) {
        if (block % CHECK_EVERY == 0 && icd_i_budget_over(budget)) return false;
        if (x->active[block]) offer_block(x, block);
    }
    memcpy(x->active, x->wake, (size_t)blocks);
    memset(x->wake, 0, (size_t)blocks);
    return x->swaps > 0;
}

icd_status icd_i_warm(icd_ctx *ctx, const icd_wgraph *g, const icd_refine_params *params,
                      int64_t price, int32_t *order, int64_t *passes)
{
    icd_status status = ICD_OK;
    warm x = {.price = price};
    bool more = true;
    if (g->n < 2 || params->bounds->count < 2) return ICD_OK;
    ICD_TRY(warm_init(ctx, g, params, order, &x));
    for (int64_t pass = 0; more && pass < params->steps; ++pass) {
        more = run_pass(&x, params->budget);
        ++*passes;
    }
    for (int32_t slot = 0; slot < g->n; ++slot) x.start[slot] = order[x.b.at[slot]];
    memcpy(order, x.start, (size_t)g->n * sizeof *order);
done:
    warm_release(ctx, &x);
    return status;
}
