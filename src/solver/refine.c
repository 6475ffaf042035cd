#include "solver/refine.h"

#include "base/mem.h"
#include "base/threads.h"
#include "solver/anneal.h"
#include "solver/pulls.h"
#include <assert.h>
#include <string.h>

enum {
    TARGETS = 3,         /* blocks that a node offers itself to, strongest pull first */
    WINDOW_NODES = 8192, /* whose swaps among each other are searched by one thread */
    BATCHES = 8,       /* of a pass over all blocks: what one did is known to the next */
    CHUNK_BLOCKS = 32, /* that a thread takes at once */
    CHECK_EVERY = 16,  /* blocks between looks at the clock */
    ENOUGH = 2000,     /* a pass with less than one swap for so many nodes is the last */
};

/* What a thread keeps about the block whose members it offers, and about the member. */
typedef struct search {
    icd_blocks *b;
    icd_range range;     /* nodes that it may look at */
    uint8_t *awake;      /* node: something moved beside it; shared by all searches */
    int32_t *home;       /* node -> weight of its edges into the block on offer */
    int32_t *home_nodes; /* nodes where home != 0, with repeats */
    int64_t homes;
    int32_t *pull;        /* block -> weight of the member's edges into it */
    int32_t *pull_blocks; /* blocks where pull != 0 */
    int32_t pulls;
    int32_t *link; /* node -> weight of its edge to the member */
    int64_t swaps;
} search;

/* One search a thread, and what they propose. */
typedef struct team {
    icd_ctx *ctx;
    icd_blocks *b;
    icd_budget *budget;
    search *search; /* of each worker */
    int32_t workers;
    uint8_t *awake;
    int32_t *partner; /* node -> with whom it would change places, -1: none */
    int32_t *window;  /* first block of each window, and behind the last */
    int32_t windows;
    bool closed;            /* no edge leaves its window */
    int32_t first, last;    /* blocks of the batch */
    int64_t *passes, steps; /* done by each window; at most */
} team;

static icd_status search_init(icd_ctx *ctx, search *s)
{
    icd_status status;
    int64_t n = s->b->g.n, blocks = s->b->bounds->count;
    ICD_TRY(ICD_ALLOC(ctx, n, &s->home));
    ICD_TRY(ICD_ALLOC(ctx, n, &s->home_nodes));
    ICD_TRY(ICD_ALLOC(ctx, n, &s->link));
    ICD_TRY(ICD_ALLOC(ctx, blocks, &s->pull));
    ICD_TRY(ICD_ALLOC(ctx, blocks, &s->pull_blocks));
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
}

static inline bool is_mine(const search *s, int32_t v)
{
    return v >= s->range.begin && v < s->range.end;
}

static void add_home(search *s, int32_t v, int32_t sign)
{
    const icd_wgraph *g = &s->b->g;
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) {
        icd_edge e = g->edge[k];
        if (!is_mine(s, e.to)) continue;
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
        icd_edge e = g->edge[k];
        if (!is_mine(s, e.to)) continue;
        int32_t block = s->b->block_of[e.to];
        if (s->pull[block] == 0) s->pull_blocks[s->pulls++] = block;
        s->pull[block] += e.w;
        s->link[e.to] = e.w;
    }
}

static void clear_pulls(search *s, int32_t v)
{
    const icd_wgraph *g = &s->b->g;
    for (int32_t i = 0; i < s->pulls; ++i) s->pull[s->pull_blocks[i]] = 0;
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k)
        if (is_mine(s, g->edge[k].to)) s->link[g->edge[k].to] = 0;
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
    s->awake[v] = 1;
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k)
        if (is_mine(s, g->edge[k].to)) s->awake[g->edge[k].to] = 1;
}

static void swap(search *s, int32_t v, int32_t u, int32_t gain)
{
    assert(icd_i_blocks_gain(s->b, v, u) == gain);
    (void)gain;
    add_home(s, v, -1);
    icd_i_blocks_swap_inside(s->b, s->range, v, u);
    add_home(s, u, 1);
    wake_around(s, v);
    wake_around(s, u);
    s->swaps++;
}

static bool any_awake(const search *s, int32_t block)
{
    const icd_blocks *b = s->b;
    for (int32_t slot = b->bounds->at[block]; slot < b->bounds->at[block + 1]; ++slot)
        if (s->awake[b->at[slot]] && icd_i_blocks_free(b, b->at[slot])) return true;
    return false;
}

static void enter_block(search *s, int32_t block)
{
    const icd_blocks *b = s->b;
    for (int32_t slot = b->bounds->at[block]; slot < b->bounds->at[block + 1]; ++slot)
        add_home(s, b->at[slot], 1);
}

/* Members change while they are offered: slots are walked, not nodes. */
static void offer_block(search *s, int32_t block)
{
    const icd_blocks *b = s->b;
    if (!any_awake(s, block)) return;
    enter_block(s, block);
    for (int32_t slot = b->bounds->at[block]; slot < b->bounds->at[block + 1]; ++slot) {
        int32_t v = b->at[slot], gain = 0;
        if (!s->awake[v]) continue;
        s->awake[v] = 0;
        if (!icd_i_blocks_free(b, v)) continue;
        int32_t u = find_partner(s, v, &gain);
        if (u >= 0) swap(s, v, u, gain);
    }
    clear_home(s);
}

/* Swaps among the blocks of a window, one after the other. */
static void search_window(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    team *t = arg;
    search *s = &t->search[worker];
    const int32_t *at = t->b->bounds->at;
    (void)chunks;
    s->range = (icd_range){at[t->window[chunk]], at[t->window[chunk + 1]]};
    for (int64_t pass = 0; pass < t->steps; ++pass) {
        int64_t before = s->swaps;
        ++t->passes[chunk];
        for (int32_t k = t->window[chunk]; k < t->window[chunk + 1]; ++k) {
            if (k % CHECK_EVERY == 0 && icd_i_budget_over(t->budget)) return;
            offer_block(s, k);
        }
        if (s->swaps == before) break;
    }
}

/* The same, but nothing is moved: any thread may look at any block. */
static void propose(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    team *t = arg;
    search *s = &t->search[worker];
    const icd_blocks *b = t->b;
    int64_t begin, end;
    icd_i_chunk_range(t->last - t->first, chunk, chunks, &begin, &end);
    if (icd_i_budget_over(t->budget)) return;
    for (int64_t k = t->first + begin; k < t->first + end; ++k) {
        if (!any_awake(s, (int32_t)k)) continue;
        enter_block(s, (int32_t)k);
        for (int32_t slot = b->bounds->at[k]; slot < b->bounds->at[k + 1]; ++slot) {
            int32_t v = b->at[slot], gain = 0;
            if (!s->awake[v] || !icd_i_blocks_free(b, v)) continue;
            t->partner[v] = find_partner(s, v, &gain);
        }
        clear_home(s);
    }
}

/* What was proposed may no longer be true: then the node stays awake. */
static int64_t make_swaps(team *t)
{
    icd_blocks *b = t->b;
    search *s = &t->search[0];
    int64_t swaps = 0;
    for (int32_t slot = b->bounds->at[t->first]; slot < b->bounds->at[t->last]; ++slot) {
        int32_t v = b->at[slot], u = t->partner[v];
        t->partner[v] = -1;
        if (u < 0) {
            t->awake[v] = 0;
            continue;
        }
        if (b->block_of[u] == b->block_of[v] || icd_i_blocks_gain(b, v, u) <= 0) continue;
        icd_i_blocks_swap(b, v, u);
        wake_around(s, v);
        wake_around(s, u);
        swaps++;
    }
    return swaps;
}

static bool run_pass(team *t)
{
    int64_t blocks = t->b->bounds->count, swaps = 0;
    for (int64_t batch = 0; batch < BATCHES; ++batch) {
        if (icd_i_budget_over(t->budget)) return false;
        t->first = (int32_t)(blocks * batch / BATCHES);
        t->last = (int32_t)(blocks * (batch + 1) / BATCHES);
        icd_i_parallel(t->ctx, (t->last - t->first + CHUNK_BLOCKS - 1) / CHUNK_BLOCKS,
                       propose, t);
        swaps += make_swaps(t);
    }
    return swaps * ENOUGH >= t->b->g.n;
}

static icd_status team_init(team *t)
{
    icd_status status;
    ICD_TRY(ICD_ALLOC(t->ctx, icd_ctx_threads(t->ctx), &t->search));
    ICD_TRY(ICD_ALLOC(t->ctx, t->b->g.n, &t->awake));
    memset(t->awake, 1, (size_t)t->b->g.n);
    for (; t->workers < icd_ctx_threads(t->ctx); ++t->workers) {
        search *s = &t->search[t->workers];
        s->b = t->b;
        s->awake = t->awake;
        ICD_TRY(search_init(t->ctx, s));
    }
done:
    return status;
}

static void team_release(team *t)
{
    for (int32_t i = 0; t->search && i < icd_ctx_threads(t->ctx); ++i)
        search_release(t->ctx, &t->search[i]);
    icd_i_free(t->ctx, t->search);
    icd_i_free(t->ctx, t->awake);
    icd_i_free(t->ctx, t->partner);
    icd_i_free(t->ctx, t->window);
    icd_i_free(t->ctx, t->passes);
}

/* Groups of whole blocks, and of whole zones where zones are small: then no edge leaves a
 * window. */
static icd_status find_windows(team *t)
{
    icd_status status;
    const icd_blocks *b = t->b;
    const int32_t *at = b->bounds->at;
    int32_t blocks = b->bounds->count, begin = 0;
    t->closed = true;
    ICD_TRY(ICD_ALLOC(t->ctx, blocks + (int64_t)1, &t->window));
    for (int32_t k = 1; k <= blocks; ++k) {
        bool edge = k == blocks || b->zone_of[k] != b->zone_of[k - 1];
        int32_t size = at[k] - at[begin];
        if (k < blocks && size < (edge ? WINDOW_NODES : 2 * WINDOW_NODES)) continue;
        t->window[++t->windows] = begin = k;
        t->closed = t->closed && edge;
    }
    ICD_TRY(ICD_ALLOC(t->ctx, t->windows, &t->passes));
done:
    return status;
}

static void search_windows(team *t, int64_t *passes)
{
    int64_t most = 0;
    icd_i_parallel(t->ctx, t->windows, search_window, t);
    for (int32_t w = 0; w < t->windows; ++w)
        if (t->passes[w] > most) most = t->passes[w];
    *passes += most;
    for (int32_t i = 0; i < t->workers; ++i)
        t->search[i].range = (icd_range){0, t->b->g.n};
    memset(t->awake, 1, (size_t)t->b->g.n);
}

icd_status icd_i_refine_greedy(icd_ctx *ctx, icd_blocks *b, icd_budget *budget,
                               int64_t steps, int64_t *passes)
{
    icd_status status;
    team t = {.ctx = ctx, .b = b, .budget = budget, .steps = steps};
    ICD_TRY(team_init(&t));
    ICD_TRY(find_windows(&t));
    search_windows(&t, passes);
    if (t.closed) goto done;
    ICD_TRY(ICD_ALLOC(ctx, b->g.n, &t.partner));
    for (int32_t v = 0; v < b->g.n; ++v) t.partner[v] = -1;
    for (int64_t pass = 1; pass < steps; ++pass) {
        ++*passes;
        if (!run_pass(&t)) break;
    }
done:
    team_release(&t);
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
