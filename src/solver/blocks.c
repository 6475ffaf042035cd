#include "solver/refine.h"

#include "base/mem.h"
#include "base/threads.h"
#include <string.h>

enum { CHUNK = 4096 }; /* rows that a thread copies at once */

static icd_status blocks_alloc(icd_ctx *ctx, const icd_wgraph *g, icd_blocks *b)
{
    icd_status status;
    ICD_TRY(ICD_ALLOC(ctx, g->n + (int64_t)1, &b->g.ptr));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &b->block_of));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &b->slot_of));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &b->at));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &b->own));
    ICD_TRY(ICD_ALLOC(ctx, b->bounds->count, &b->zone_of));
    b->g.n = g->n;
done:
    return status;
}

static void find_zones(const icd_bounds *zones, icd_blocks *b)
{
    for (int32_t k = 0, z = 0; zones && k < b->bounds->count; ++k) {
        while (b->bounds->at[k] >= zones->at[z + 1]) z++;
        b->zone_of[k] = z;
    }
}

typedef struct copying {
    icd_ctx *ctx;
    icd_blocks *b;
    const icd_wgraph *g;
    const icd_bounds *zones; /* NULL: one */
    const int32_t *order;
} copying;

static icd_range slots_of(const icd_bounds *bounds, int32_t k)
{
    return (icd_range){bounds->at[k], bounds->at[k + 1]};
}

/* 1 inside, else 0: whether an edge stays is hard to guess, hence no branch. */
static int32_t holds(icd_range r, int32_t slot)
{
    return (uint32_t)slot - (uint32_t)r.begin < (uint32_t)(r.end - r.begin);
}

static icd_range zone_of_row(const copying *c, int32_t i)
{
    return slots_of(c->zones, c->b->zone_of[c->b->block_of[i]]);
}

static int64_t count_row(const copying *c, int32_t i)
{
    const icd_wgraph *g = c->g;
    const int32_t *slot_of = c->b->slot_of;
    int32_t v = c->order[i];
    icd_range zone = zone_of_row(c, i);
    int64_t count = 0;
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k)
        count += holds(zone, slot_of[g->edge[k].to]);
    return count;
}

/* Every edge is written; the next one takes its place unless it belongs there. */
static void copy_row(const copying *c, int32_t i)
{
    icd_blocks *b = c->b;
    const int32_t *slot_of = b->slot_of;
    const icd_edge *from = c->g->edge + c->g->ptr[c->order[i]];
    icd_edge *to = b->g.edge + b->g.ptr[i], *end = b->g.edge + b->g.ptr[i + 1];
    icd_range mine = slots_of(b->bounds, b->block_of[i]), zone = {0, c->g->n};
    int32_t own = 0;
    if (c->zones) zone = zone_of_row(c, i);
    for (; to < end; ++from) {
        int32_t slot = slot_of[from->to];
        *to = (icd_edge){slot, from->w};
        to += holds(zone, slot);
        own += from->w & -holds(mine, slot);
    }
    b->own[i] = own;
}

static void count_chunk(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    const copying *c = arg;
    int64_t begin, end;
    (void)worker;
    icd_i_chunk_range(c->g->n, chunk, chunks, &begin, &end);
    if (icd_i_cancelled(c->ctx)) return;
    for (int64_t i = begin; i < end; ++i) c->b->g.ptr[i + 1] = count_row(c, (int32_t)i);
}

static void copy_chunk(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    const copying *c = arg;
    int64_t begin, end;
    (void)worker;
    icd_i_chunk_range(c->g->n, chunk, chunks, &begin, &end);
    if (icd_i_cancelled(c->ctx)) return;
    for (int64_t i = begin; i < end; ++i) copy_row(c, (int32_t)i);
}

/* Rows in the order of the slots: members of a block are neighbours in memory. `slot_of`
 * serves as the map from original nodes while the rows are written. */
static icd_status copy_rows(icd_ctx *ctx, icd_blocks *b, const icd_wgraph *g,
                            const icd_bounds *zones, const int32_t *order)
{
    icd_status status;
    copying c = {ctx, b, g, zones, order};
    int64_t chunks = (g->n + CHUNK - 1) / CHUNK;
    for (int32_t i = 0; i < g->n; ++i) b->slot_of[order[i]] = i;
    if (!zones) {
        for (int32_t i = 0; i < g->n; ++i)
            b->g.ptr[i + 1] = g->ptr[order[i] + 1] - g->ptr[order[i]];
    } else {
        icd_i_parallel(ctx, chunks, count_chunk, &c);
    }
    for (int32_t i = 0; i < g->n; ++i) b->g.ptr[i + 1] += b->g.ptr[i];
    ICD_TRY(ICD_ALLOC_UNSET(ctx, b->g.ptr[g->n], &b->g.edge));
    icd_i_parallel(ctx, chunks, copy_chunk, &c);
    ICD_TRY(icd_i_check_cancel(ctx));
    for (int32_t i = 0; i < g->n; ++i) b->slot_of[i] = b->at[i] = i;
done:
    return status;
}

icd_status icd_i_blocks_init(icd_ctx *ctx, const icd_wgraph *g,
                             const icd_refine_params *p, const int32_t *order,
                             icd_blocks *b)
{
    icd_status status;
    memset(b, 0, sizeof *b);
    b->bounds = p->bounds;
    b->frozen = p->frozen;
    b->order = order;
    ICD_TRY(blocks_alloc(ctx, g, b));
    icd_i_bounds_spread(b->bounds, b->block_of);
    find_zones(p->zones, b);
    ICD_TRY(copy_rows(ctx, b, g, p->zones, order));
done:
    return status;
}

void icd_i_blocks_release(icd_ctx *ctx, icd_blocks *b)
{
    icd_i_free(ctx, b->g.ptr);
    icd_i_free(ctx, b->g.edge);
    icd_i_free(ctx, b->block_of);
    icd_i_free(ctx, b->slot_of);
    icd_i_free(ctx, b->at);
    icd_i_free(ctx, b->own);
    icd_i_free(ctx, b->zone_of);
    memset(b, 0, sizeof *b);
}

/* Moves a node to a block and settles `own` of itself and its neighbours. */
static void move(icd_blocks *b, icd_range range, int32_t v, int32_t to)
{
    int32_t from = b->block_of[v], own = 0;
    b->block_of[v] = to;
    for (int64_t k = b->g.ptr[v]; k < b->g.ptr[v + 1]; ++k) {
        icd_edge e = b->g.edge[k];
        if (e.to < range.begin || e.to >= range.end) continue;
        if (b->block_of[e.to] == from) b->own[e.to] -= e.w;
        if (b->block_of[e.to] != to) continue;
        b->own[e.to] += e.w;
        own += e.w;
    }
    b->own[v] = own;
}

void icd_i_blocks_swap_inside(icd_blocks *b, icd_range range, int32_t v, int32_t u)
{
    int32_t from = b->block_of[v], to = b->block_of[u], slot = b->slot_of[v];
    move(b, range, v, to);
    move(b, range, u, from);
    b->slot_of[v] = b->slot_of[u];
    b->slot_of[u] = slot;
    b->at[b->slot_of[v]] = v;
    b->at[b->slot_of[u]] = u;
}

void icd_i_blocks_swap(icd_blocks *b, int32_t v, int32_t u)
{
    icd_i_blocks_swap_inside(b, (icd_range){0, b->g.n}, v, u);
}

/* What v gains in `to`, an edge to `except` left out. */
static int64_t gain_of_move(const icd_blocks *b, int32_t v, int32_t to, int32_t except)
{
    int64_t gain = 0;
    for (int64_t k = b->g.ptr[v]; k < b->g.ptr[v + 1]; ++k) {
        icd_edge e = b->g.edge[k];
        if (e.to == except) continue;
        if (b->block_of[e.to] == to) gain += e.w;
        if (b->block_of[e.to] == b->block_of[v]) gain -= e.w;
    }
    return gain;
}

int64_t icd_i_blocks_gain(const icd_blocks *b, int32_t v, int32_t u)
{
    return gain_of_move(b, v, b->block_of[u], u) + gain_of_move(b, u, b->block_of[v], v);
}

int64_t icd_i_blocks_cut(const icd_blocks *b)
{
    return icd_i_wgraph_cut(&b->g, b->block_of);
}
