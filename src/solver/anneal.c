#include "solver/anneal.h"

#include "base/mem.h"
#include "base/rng.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    NOISE = 4096, /* a table of random terms: drawing one costs more than a gain */
    WIDTH = 64,   /* partners looked at in one offer */
    LANES = 8,
    GROUP = 16,
    BATCH = 1024,    /* offers between two looks at the clock, in whole groups */
    STAGES = 64,     /* the best state is noticed that often */
    TABLE = 1 << 26, /* entries of the table of pulls that are worth their memory */
    FAR = 1 << 29    /* more than any weight: sums of three stay within int32_t */
};

void icd_i_watch_tell(const icd_watch *watch, int64_t cut)
{
    char stage[32];
    double now = icd_i_now(), span = watch->end - watch->begin;
    if (!(span > 0)) return;
    snprintf(stage, sizeof stage, "anneal: cut %.4f",
             watch->total > 0 ? (double)cut / watch->total : 0);
    icd_i_progress(watch->ctx, stage, (int64_t)(1000 * (now - watch->begin)),
                   (int64_t)(1000 * span) + 1);
}

/* pull[block][slot]: weight from the node at slot into the block. By slot, so that the
 * members of a block stand side by side. */
typedef struct annealing {
    icd_blocks *b;
    const icd_anneal_params *params;
    icd_rng rng;
    int32_t *pull;
    int32_t *first, *last; /* block -> the blocks of its zone, last excluded */
    double scale;          /* mean edge weight */
    int64_t cut, best_cut;
    int32_t *best_at;
    float gumbel[NOISE + WIDTH];
    int32_t noise[NOISE + WIDTH]; /* gumbel times temperature */
} annealing;

static int32_t *row_of(const annealing *a, int32_t block)
{
    return a->pull + (int64_t)block * a->b->g.n;
}

static void fill_pulls(annealing *a)
{
    const icd_blocks *b = a->b;
    for (int32_t v = 0; v < b->g.n; ++v)
        for (int64_t k = b->g.ptr[v]; k < b->g.ptr[v + 1]; ++k)
            row_of(a, b->block_of[b->g.edge[k].to])[b->slot_of[v]] += b->g.edge[k].w;
    /* A node that may not move is no partner: its home seems to hold it. */
    for (int32_t v = 0; v < b->g.n; ++v)
        if (!icd_i_blocks_free(b, v)) row_of(a, b->block_of[v])[b->slot_of[v]] += FAR;
}

static void fill_zones(annealing *a)
{
    const icd_blocks *b = a->b;
    int32_t blocks = b->bounds->count;
    for (int32_t begin = 0, end = 0; begin < blocks; begin = end) {
        while (end < blocks && b->zone_of[end] == b->zone_of[begin]) end++;
        for (int32_t k = begin; k < end; ++k) {
            a->first[k] = begin;
            a->last[k] = end;
        }
    }
}

static icd_status annealing_init(icd_ctx *ctx, annealing *a)
{
    icd_status status;
    icd_blocks *b = a->b;
    double total = 0;
    for (int64_t k = 0; k < b->g.ptr[b->g.n]; ++k) total += b->g.edge[k].w;
    a->scale = total / (double)b->g.ptr[b->g.n];
    icd_i_rng_init(&a->rng, a->params->seed, 5);
    for (int32_t i = 0; i < NOISE + WIDTH; ++i)
        a->gumbel[i] = (float)-log(-log(1 - icd_i_rng_unit(&a->rng) * (1 - 1e-12)));
    a->cut = a->best_cut = icd_i_blocks_cut(b);
    ICD_TRY(ICD_ALLOC(ctx, b->g.n, &a->best_at));
    memcpy(a->best_at, b->at, (size_t)b->g.n * sizeof *b->at);
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)b->g.n * b->bounds->count, &a->pull));
    ICD_TRY(ICD_ALLOC(ctx, b->bounds->count, &a->first));
    ICD_TRY(ICD_ALLOC(ctx, b->bounds->count, &a->last));
    fill_pulls(a);
    fill_zones(a);
done:
    return status;
}

static void annealing_release(icd_ctx *ctx, annealing *a)
{
    icd_i_free(ctx, a->best_at);
    icd_i_free(ctx, a->pull);
    icd_i_free(ctx, a->first);
    icd_i_free(ctx, a->last);
}

static void set_temperature(annealing *a, double temperature)
{
    float t = (float)temperature;
    for (int32_t i = 0; i < NOISE + WIDTH; ++i) {
        float x = t * a->gumbel[i];
        a->noise[i] = x < (float)FAR ? (int32_t)x : FAR;
    }
}

static int32_t edge_between(const icd_wgraph *g, int32_t v, int32_t u)
{
    if (g->ptr[v + 1] - g->ptr[v] > g->ptr[u + 1] - g->ptr[u]) {
        int32_t swap = v;
        v = u;
        u = swap;
    }
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k)
        if (g->edge[k].to == u) return g->edge[k].w;
    return 0;
}

/* What stands in slots of two blocks changes places; rows outside the zone hold nothing.
 */
static void swap_columns(annealing *a, int32_t block, int32_t p, int32_t q)
{
    for (int32_t k = a->first[block]; k < a->last[block]; ++k) {
        int32_t *row = row_of(a, k), x = row[p];
        row[p] = row[q];
        row[q] = x;
    }
}

static void shift(annealing *a, int32_t v, int32_t from, int32_t to)
{
    const icd_wgraph *g = &a->b->g;
    const int32_t *slot_of = a->b->slot_of;
    int32_t *out = row_of(a, from), *in = row_of(a, to);
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) {
        int32_t slot = slot_of[g->edge[k].to];
        out[slot] -= g->edge[k].w;
        in[slot] += g->edge[k].w;
    }
}

static void exchange(annealing *a, int32_t p, int32_t q)
{
    icd_blocks *b = a->b;
    int32_t v = b->at[p], u = b->at[q], from = b->block_of[v], to = b->block_of[u];
    shift(a, v, from, to);
    shift(a, u, to, from);
    swap_columns(a, from, p, q);
    b->at[p] = u;
    b->at[q] = v;
    b->slot_of[v] = q;
    b->slot_of[u] = p;
    b->block_of[v] = to;
    b->block_of[u] = from;
}

/* Of exchanges with partners side by side: what each gains and its share of chance. In
 * lanes, which compilers turn into vectors. */
static int32_t highest(const int32_t *in, const int32_t *out, const int32_t *noise,
                       int32_t count)
{
    int32_t lane[LANES], i = 0;
    for (int32_t k = 0; k < LANES; ++k) lane[k] = INT32_MIN;
    for (; i + LANES <= count; i += LANES)
        for (int32_t k = 0; k < LANES; ++k) {
            int32_t x = in[i + k] - out[i + k] + noise[i + k];
            lane[k] = x > lane[k] ? x : lane[k];
        }
    for (; i < count; ++i) {
        int32_t x = in[i] - out[i] + noise[i];
        lane[0] = x > lane[0] ? x : lane[0];
    }
    for (int32_t k = 1; k < LANES; ++k) lane[0] = lane[k] > lane[0] ? lane[k] : lane[0];
    return lane[0];
}

/* Heat bath: with a Gumbel term each, the highest of all exchanges of v with a member of
 * block `to` and of staying is one of them with chance exp(gain / T) over the sum. An
 * edge between the two is charged afterwards. */
static void offer(annealing *a, int32_t v, int32_t to)
{
    icd_blocks *b = a->b;
    int32_t from = b->block_of[v], p = b->slot_of[v], q = b->bounds->at[to], i = 0;
    int32_t count = b->bounds->at[to + 1] - q;
    if (count > WIDTH) {
        q += (int32_t)icd_i_rng_below(&a->rng, count - WIDTH + 1);
        count = WIDTH;
    }
    const int32_t *noise = a->noise + icd_i_rng_u32(&a->rng) % NOISE;
    const int32_t *in = row_of(a, from) + q, *out = row_of(a, to) + q;
    int64_t pull = (int64_t)row_of(a, to)[p] - row_of(a, from)[p];
    int32_t best = highest(in, out, noise, count);
    if (pull + best <= noise[count]) return;
    while (in[i] - out[i] + noise[i] != best) i++;
    int32_t u = b->at[q + i], edge = edge_between(&b->g, v, u);
    if (edge > 0 && 2 * edge > a->noise[icd_i_rng_u32(&a->rng) % NOISE]) return;
    if (!icd_i_blocks_free(b, u)) return;
    a->cut -= pull + in[i] - out[i] - 2 * edge;
    exchange(a, p, q + i);
}

/* A group of random nodes, each with a random edge, to whose other end's block it is
 * offered. Edges lie far apart: all are fetched before the first is read. */
static void offer_group(annealing *a)
{
    const icd_blocks *b = a->b;
    int32_t node[GROUP];
    const icd_edge *edge[GROUP];
    for (int32_t i = 0; i < GROUP; ++i) {
        int32_t v = node[i] = (int32_t)icd_i_rng_below(&a->rng, b->g.n);
        int64_t degree = b->g.ptr[v + 1] - b->g.ptr[v];
        edge[i] = b->g.edge + b->g.ptr[v];
        if (degree == 0 || !icd_i_blocks_free(b, v))
            node[i] = -1;
        else
            __builtin_prefetch(edge[i] += icd_i_rng_below(&a->rng, degree));
    }
    for (int32_t i = 0; i < GROUP; ++i) {
        if (node[i] < 0) continue;
        int32_t to = b->block_of[edge[i]->to];
        if (to != b->block_of[node[i]]) offer(a, node[i], to);
    }
}

static void remember(annealing *a)
{
    if (a->cut >= a->best_cut) return;
    a->best_cut = a->cut;
    memcpy(a->best_at, a->b->at, (size_t)a->b->g.n * sizeof *a->best_at);
}

/* Share of the plan that is behind us: of the offers, or of the time. */
static double progress(const annealing *a, int64_t done, double begin)
{
    const icd_anneal_params *p = a->params;
    if (p->offers) return (double)done / (double)p->offers;
    double span = p->until - begin;
    return span > 0 ? (icd_i_now() - begin) / span : 1;
}

static void run(annealing *a)
{
    const icd_anneal_params *p = a->params;
    double begin = icd_i_now(), share = 0;
    int64_t done = 0;
    for (int stage = 0; share < 1 && !icd_i_budget_over(p->budget);) {
        if (a->best_cut <= p->enough) break;
        double temperature = a->scale * p->hot * pow(p->cold / p->hot, share);
        set_temperature(a, temperature);
        for (int64_t i = 0; i < BATCH; i += GROUP) offer_group(a);
        done += BATCH;
        share = progress(a, done, begin);
        for (; stage < STAGES * share; ++stage) {
            remember(a);
            if (p->watch) icd_i_watch_tell(p->watch, a->best_cut);
        }
    }
    remember(a);
}

/* The state of `at`, whatever it was made of. */
static void restore(icd_blocks *b, const int32_t *at)
{
    memcpy(b->at, at, (size_t)b->g.n * sizeof *at);
    for (int32_t k = 0; k < b->bounds->count; ++k)
        for (int32_t slot = b->bounds->at[k]; slot < b->bounds->at[k + 1]; ++slot) {
            b->slot_of[at[slot]] = slot;
            b->block_of[at[slot]] = k;
        }
    for (int32_t v = 0; v < b->g.n; ++v) {
        b->own[v] = 0;
        for (int64_t k = b->g.ptr[v]; k < b->g.ptr[v + 1]; ++k)
            if (b->block_of[b->g.edge[k].to] == b->block_of[v])
                b->own[v] += b->g.edge[k].w;
    }
}

icd_status icd_i_anneal(icd_ctx *ctx, icd_blocks *b, const icd_anneal_params *params,
                        bool *better)
{
    icd_status status;
    annealing a = {.b = b, .params = params};
    *better = false;
    if (b->g.ptr[b->g.n] == 0) return ICD_OK;
    if ((int64_t)b->g.n * b->bounds->count > TABLE) return ICD_OK;
    ICD_TRY(annealing_init(ctx, &a));
    int64_t before = a.cut;
    run(&a);
    *better = a.best_cut < before;
    if (params->reached) *params->reached = a.cut;
done:
    if (a.best_at) restore(b, a.best_at);
    annealing_release(ctx, &a);
    return status;
}
