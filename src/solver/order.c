#include "solver/arrange.h"

#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

enum { SWEEPS = 4, REACH = 2 };

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
