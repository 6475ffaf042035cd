#include "solver/arrange.h"

#include "base/mem.h"
#include "base/rng.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SWEEPS = 4,
    REACH = 2,
    NEAR = 4,           /* places beside a neighbour's that a block is offered */
    OFFERS = 100,       /* to a block, at most */
    CHECK_EVERY = 4096, /* offers between looks for a cancellation */
};
static const double WORK = 4;     /* edges looked at, by those of the graph of nodes */
static const double PATIENCE = 4; /* effort high: times as much */
static const double HOT = 0.08;   /* in mean weights of all edges of a block */
static const double COOLING = 50; /* first by last temperature */

/* Blocks as nodes of a graph, each at a place. */
typedef struct row {
    icd_wgraph g;
    const icd_solver_opts *o;
    const icd_bounds *blocks;
    int32_t *zone_of; /* block or place -> zone */
    int32_t *place;   /* block -> place */
    int32_t *at;      /* place -> block */
} row;

static int32_t length(const row *r, int32_t block)
{
    return r->blocks->at[block + 1] - r->blocks->at[block];
}

/* Cost of the edges of a block if it stood at `place`, leaving out those to `other`. */
static double cost_at(const row *r, int32_t block, int32_t place, int32_t other)
{
    double cost = 0;
    for (int64_t k = r->g.ptr[block]; k < r->g.ptr[block + 1]; ++k) {
        icd_edge e = r->g.edge[k];
        if (e.to != other) cost += e.w * icd_i_phi(r->o, abs(place - r->place[e.to]));
    }
    return cost;
}

static double swap_gain(const row *r, int32_t a, int32_t b)
{
    int32_t p = r->place[a], q = r->place[b];
    return cost_at(r, a, p, b) + cost_at(r, b, q, a) - cost_at(r, a, q, b) -
           cost_at(r, b, p, a);
}

static void swap(row *r, int32_t a, int32_t b)
{
    int32_t p = r->place[a], q = r->place[b];
    r->place[a] = q;
    r->place[b] = p;
    r->at[q] = a;
    r->at[p] = b;
}

static bool exchangeable(const row *r, int32_t p, int32_t q)
{
    return r->zone_of[p] == r->zone_of[q] && length(r, p) == length(r, q);
}

/* Exchanges of places that are at most REACH apart. */
static bool sweep(row *r)
{
    bool better = false;
    for (int32_t p = 0; p < r->g.n; ++p)
        for (int32_t q = p + 1; q <= p + REACH && q < r->g.n; ++q) {
            if (!exchangeable(r, p, q)) break;
            if (swap_gain(r, r->at[p], r->at[q]) <= 0) continue;
            swap(r, r->at[p], r->at[q]);
            better = true;
        }
    return better;
}

static double total_cost(const row *r)
{
    double cost = 0;
    for (int32_t p = 0; p < r->g.n; ++p) cost += cost_at(r, r->at[p], p, -1);
    return cost / 2;
}

/* A random block and a place near one of its neighbours; -1: none. */
static int32_t choose_place(const row *r, icd_rng *rng, int32_t block)
{
    int64_t first = r->g.ptr[block], degree = r->g.ptr[block + 1] - first;
    if (degree == 0) return -1;
    int32_t beside = r->place[r->g.edge[first + icd_i_rng_below(rng, degree)].to];
    int32_t step = 1 + (int32_t)icd_i_rng_below(rng, NEAR);
    int32_t place = icd_i_rng_below(rng, 2) ? beside + step : beside - step;
    return place >= 0 && place < r->g.n ? place : -1;
}

/* Exchanges over any distance, kept by chance where they cost more: a row that came from
 * the recursion has its long ties wrong. */
static void anneal(icd_ctx *ctx, row *r, int64_t offers)
{
    icd_rng rng;
    double scale = 0;
    int32_t n = r->g.n;
    for (int64_t k = 0; k < r->g.ptr[n]; ++k) scale += r->g.edge[k].w;
    scale *= HOT / n;
    icd_i_rng_init(&rng, (uint64_t)r->o->seed, 41);
    for (int64_t i = 0; i < offers; ++i) {
        if (i % CHECK_EVERY == 0 && icd_i_cancelled(ctx)) return;
        int32_t a = (int32_t)icd_i_rng_below(&rng, n), p = r->place[a];
        int32_t q = choose_place(r, &rng, a);
        if (q < 0 || q == p || !exchangeable(r, p, q)) continue;
        double gain = swap_gain(r, a, r->at[q]);
        double heat = scale * pow(COOLING, -(double)i / (double)offers);
        if (gain > 0 || exp(gain / heat) > icd_i_rng_unit(&rng)) swap(r, a, r->at[q]);
    }
}

/* As many offers as a small share of the whole solve pays for. */
static int64_t count_offers(const row *r, int64_t entries)
{
    double patience = r->o->effort == ICD_EFFORT_HIGH ? PATIENCE : 1;
    double degree = (double)r->g.ptr[r->g.n] / r->g.n + 1;
    double paid = WORK * (double)entries / (4 * degree), most = (double)OFFERS * r->g.n;
    return (int64_t)(patience * (paid < most ? paid : most));
}

/* What the chances made worse is undone. */
static icd_status anneal_or_leave(icd_ctx *ctx, row *r, int64_t entries)
{
    icd_status status;
    int32_t n = r->g.n, *before = NULL;
    double cost = total_cost(r);
    ICD_TRY(ICD_ALLOC(ctx, n, &before));
    memcpy(before, r->at, (size_t)n * sizeof *before);
    anneal(ctx, r, count_offers(r, entries));
    if (total_cost(r) <= cost) goto done;
    memcpy(r->at, before, (size_t)n * sizeof *before);
    for (int32_t p = 0; p < n; ++p) r->place[r->at[p]] = p;
done:
    icd_i_free(ctx, before);
    return status;
}

static void write_order(const row *r, const int32_t *from, int32_t *order)
{
    int32_t slot = 0;
    for (int32_t p = 0; p < r->g.n; ++p) {
        int32_t block = r->at[p];
        memcpy(order + slot, from + r->blocks->at[block],
               (size_t)length(r, block) * sizeof *order);
        slot += length(r, block);
    }
}

static icd_status row_init(icd_ctx *ctx, const icd_bounds *zones, row *r)
{
    icd_status status;
    int32_t blocks = r->blocks->count;
    ICD_TRY(ICD_ALLOC(ctx, blocks, &r->zone_of));
    ICD_TRY(ICD_ALLOC(ctx, blocks, &r->place));
    ICD_TRY(ICD_ALLOC(ctx, blocks, &r->at));
    for (int32_t b = 0, z = 0; b < blocks; ++b) {
        while (r->blocks->at[b] >= zones->at[z + 1]) z++;
        r->zone_of[b] = z;
        r->place[b] = r->at[b] = b;
    }
done:
    return status;
}

static icd_status block_graph(icd_ctx *ctx, const icd_wgraph *g, const icd_bounds *blocks,
                              const int32_t *order, icd_work *work, icd_wgraph *out)
{
    icd_status status;
    int32_t *block_of = NULL, *block_of_slot = NULL;
    work->size = icd_i_wgraph_bytes(g->n, g->ptr[g->n]);
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)work->size, &work->base));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &block_of));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &block_of_slot));
    icd_i_bounds_spread(blocks, block_of_slot);
    for (int32_t slot = 0; slot < g->n; ++slot)
        block_of[order[slot]] = block_of_slot[slot];
    if (!icd_i_wgraph_contract(g, block_of, blocks->count, work, out))
        status = icd_i_fail(ctx, ICD_EINTERNAL, "order of granules", NULL,
                            "the workspace was counted too small");
done:
    icd_i_free(ctx, block_of);
    icd_i_free(ctx, block_of_slot);
    return status;
}

icd_status icd_i_arrange(icd_ctx *ctx, const icd_wgraph *g, const icd_bounds *zones,
                         const icd_bounds *blocks, const icd_solver_opts *o,
                         int32_t *order)
{
    icd_status status;
    icd_work work = {0};
    int32_t *from = NULL;
    row r = {.o = o, .blocks = blocks};
    if (blocks->count < 3) return ICD_OK;
    ICD_TRY(row_init(ctx, zones, &r));
    ICD_TRY(block_graph(ctx, g, blocks, order, &work, &r.g));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &from));
    memcpy(from, order, (size_t)g->n * sizeof *from);
    if (o->effort > ICD_EFFORT_LOW) ICD_TRY(anneal_or_leave(ctx, &r, g->ptr[g->n]));
    for (int i = 0; i < SWEEPS && sweep(&r); ++i) {
    }
    write_order(&r, from, order);
done:
    icd_i_free(ctx, r.zone_of);
    icd_i_free(ctx, r.place);
    icd_i_free(ctx, r.at);
    icd_i_free(ctx, from);
    icd_i_free(ctx, work.base);
    return status;
}
