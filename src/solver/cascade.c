#include "solver/cascade.h"

#include "base/mem.h"
#include "solver/coarsen.h"
#include "solver/repair.h"
#include "solver/settle.h"
#include <string.h>

enum {
    RUNGS = 12,
    SHRINK = 6,         /* a rung holds a sixth of the nodes of the one below, or less */
    GROWTH = 8,         /* a cluster takes that many times the mean size */
    STEPS = 4,          /* of coarsening from rung to rung, at most */
    PART_NODES = 64,    /* a part that shows as so many nodes is not divided further */
    LEAST_NODES = 8192, /* graphs with no more have no rung above */
    ROUNDS = 3,
    STREAM = 21,
};
static const double ROOM = 1.2; /* of a part, over its blocks, until sizes are repaired */

typedef struct rung {
    icd_wgraph g;
    int32_t *map; /* node -> node of the rung above */
    int32_t step; /* blocks of `fine` that a part of this rung holds */
} rung;

typedef struct ladder {
    icd_ctx *ctx;
    const icd_split_params *params;
    rung rung[RUNGS];
    int32_t top;
    int32_t *part; /* node of the rung in work -> part */
} ladder;

/* One step of coarsening, into a graph of its own. @param good [out] false: it would not
 * shrink */
static icd_status coarsen_once(ladder *l, const icd_wgraph *g, icd_rng *rng, int32_t *map,
                               icd_wgraph *out, bool *good)
{
    icd_status status;
    int64_t total = 0;
    int32_t n = 0;
    for (int32_t v = 0; v < g->n; ++v) total += g->size[v];
    int32_t cap = (int32_t)(total / g->n + 1) * GROWTH;
    ICD_TRY(icd_i_coarsen_wide(l->ctx, g, cap, rng, l->params->bisect->budget, map, &n));
    *good = n > 1 && n < g->n - g->n / 20;
    if (*good) ICD_TRY(icd_i_wgraph_contract_new(l->ctx, g, map, n, out));
done:
    return status;
}

static icd_status climb(ladder *l, icd_rng *rng, bool *good)
{
    icd_status status = ICD_OK;
    rung *from = &l->rung[l->top];
    int32_t n = from->g.n, goal = n / SHRINK;
    int32_t *step = NULL;
    icd_wgraph g = from->g, next = {0};
    ICD_TRY(ICD_ALLOC(l->ctx, n, &from->map));
    ICD_TRY(ICD_ALLOC(l->ctx, n, &step));
    for (int32_t v = 0; v < n; ++v) from->map[v] = v;
    *good = true;
    for (int s = 0; *good && s < STEPS && g.n > goal; ++s) {
        if (icd_i_budget_over(l->params->bisect->budget)) *good = false;
        if (*good) ICD_TRY(coarsen_once(l, &g, rng, step, &next, good));
        if (!*good) break;
        for (int32_t v = 0; v < n; ++v) from->map[v] = step[from->map[v]];
        if (g.ptr != from->g.ptr) icd_i_wgraph_release(l->ctx, &g);
        g = next;
    }
    *good = g.n <= n / 2;
done:
    icd_i_free(l->ctx, step);
    if (status == ICD_OK && *good)
        l->rung[++l->top].g = g;
    else if (g.ptr != from->g.ptr)
        icd_i_wgraph_release(l->ctx, &g);
    return status;
}

/* How many blocks a part of this rung holds: as many as PART_NODES nodes fill. */
static int32_t blocks_of_part(const ladder *l, int32_t n)
{
    int64_t blocks = l->params->fine->count;
    return (int32_t)(blocks * PART_NODES / n);
}

static icd_status climb_all(ladder *l)
{
    icd_status status = ICD_OK;
    icd_rng rng;
    bool good = true;
    l->rung[0].step = 1;
    icd_i_rng_init(&rng, l->params->seed, STREAM);
    while (l->top + 1 < RUNGS && l->rung[l->top].g.n > LEAST_NODES) {
        ICD_TRY(climb(l, &rng, &good));
        if (!good) break;
        int32_t step = blocks_of_part(l, l->rung[l->top].g.n);
        l->rung[l->top].step = step > l->rung[l->top - 1].step ? step : 0;
        if (step >= l->params->fine->count / 2) break;
    }
done:
    return status;
}

/* Every step-th boundary of `fine`. */
static icd_status thin_out(icd_ctx *ctx, const icd_bounds *fine, int32_t step,
                           icd_bounds *out)
{
    icd_status status;
    out->count = (fine->count + step - 1) / step;
    ICD_TRY(ICD_ALLOC(ctx, out->count + (int64_t)1, &out->at));
    for (int32_t b = 0; b < out->count; ++b) out->at[b] = fine->at[b * step];
    out->at[out->count] = fine->at[fine->count];
done:
    return status;
}

/* Nodes by part, in the order they have in a part. */
static icd_status list_by_part(icd_ctx *ctx, const int32_t *part, int32_t n,
                               icd_parts *parts, int32_t *order)
{
    icd_status status;
    int32_t *at = NULL;
    ICD_TRY(ICD_ALLOC(ctx, parts->count + (int64_t)1, &at));
    for (int32_t v = 0; v < n; ++v) at[part[v] + 1]++;
    for (int32_t p = 0; p < parts->count; ++p) at[p + 1] += at[p];
    memcpy(parts->begin, at, (size_t)(parts->count + 1) * sizeof *at);
    for (int32_t v = 0; v < n; ++v) order[at[part[v]]++] = v;
done:
    icd_i_free(ctx, at);
    return status;
}

static icd_status settle(ladder *l, const icd_wgraph *g, const icd_bounds *blocks)
{
    icd_status status;
    int64_t *room = NULL;
    int32_t largest = 1;
    ICD_TRY(ICD_ALLOC(l->ctx, blocks->count, &room));
    for (int32_t v = 0; v < g->n; ++v)
        if (g->size[v] > largest) largest = g->size[v];
    for (int32_t b = 0; b < blocks->count; ++b)
        room[b] = (int64_t)(ROOM * (blocks->at[b + 1] - blocks->at[b])) + largest - 1;
    icd_settle_params params = {l->params->bisect->budget, ROUNDS, blocks->count, room};
    ICD_TRY(icd_i_settle(l->ctx, g, &params, l->part));
done:
    icd_i_free(l->ctx, room);
    return status;
}

/* Divides the parts, which hold blocks of `coarse`, into blocks of `fine`, on a rung;
 * l->part names the blocks of `coarse` before and of `fine` after. */
static icd_status divide(ladder *l, const icd_wgraph *g, const icd_bounds *coarse,
                         const icd_bounds *fine, int32_t *order)
{
    icd_status status;
    icd_parts parts = {0};
    icd_split_params split = {fine, l->params->bisect, l->params->seed};
    ICD_TRY(icd_i_parts_init(l->ctx, coarse, fine, &parts));
    ICD_TRY(list_by_part(l->ctx, l->part, g->n, &parts, order));
    ICD_TRY(icd_i_split_parts(l->ctx, g, &parts, &split, order, l->part));
done:
    icd_i_parts_release(l->ctx, &parts);
    return status;
}

static void project(const int32_t *map, int32_t n, const int32_t *coarse, int32_t *fine)
{
    for (int32_t v = 0; v < n; ++v) fine[v] = coarse[map[v]];
}

/* From the top rung to the one above the given graph. `order` is scratch. */
static icd_status descend(ladder *l, icd_bounds *reached, int32_t *order)
{
    icd_status status = ICD_OK;
    icd_bounds next = {0};
    for (int32_t r = l->top; r > 0; --r) {
        const icd_wgraph *g = &l->rung[r].g;
        if (l->rung[r].step > 0) {
            ICD_TRY(thin_out(l->ctx, l->params->fine, l->rung[r].step, &next));
            if (reached->at) ICD_TRY(settle(l, g, reached));
            ICD_TRY(divide(l, g, reached->at ? reached : NULL, &next, order));
            icd_i_bounds_release(l->ctx, reached);
            *reached = next;
            next = (icd_bounds){0};
        }
        memcpy(order, l->part, (size_t)g->n * sizeof *order);
        project(l->rung[r - 1].map, l->rung[r - 1].g.n, order, l->part);
    }
done:
    icd_i_bounds_release(l->ctx, &next);
    return status;
}

static void ladder_release(ladder *l)
{
    for (int32_t r = 0; r <= l->top; ++r) {
        if (r > 0) icd_i_wgraph_release(l->ctx, &l->rung[r].g);
        icd_i_free(l->ctx, l->rung[r].map);
    }
}

icd_status icd_i_cascade(icd_ctx *ctx, const icd_wgraph *g,
                         const icd_split_params *params, icd_bounds *reached,
                         int32_t *part, int32_t *order)
{
    icd_status status;
    icd_parts parts = {0};
    ladder l = {.ctx = ctx,
                .params = params,
                .rung[0].g = *g,

                .part = part};
    *reached = (icd_bounds){0};
    ICD_TRY(climb_all(&l));
    ICD_TRY(descend(&l, reached, order));
    if (!reached->at) goto done;
    ICD_TRY(icd_i_parts_init(ctx, reached, params->fine, &parts));
    ICD_TRY(list_by_part(ctx, part, g->n, &parts, order));
done:
    icd_i_parts_release(ctx, &parts);
    ladder_release(&l);
    if (status != ICD_OK) icd_i_bounds_release(ctx, reached);
    return status;
}

icd_status icd_i_cascade_end(icd_ctx *ctx, const icd_wgraph *g,
                             const icd_split_params *params, const icd_bounds *reached,
                             int32_t *part, int32_t *order)
{
    icd_status status;
    ladder l = {.ctx = ctx, .params = params, .part = part};
    ICD_TRY(settle(&l, g, reached));
    ICD_TRY(icd_i_repair(ctx, g, reached, part, order));
    ICD_TRY(icd_i_split(ctx, g, reached, params->fine, params->bisect, params->seed,
                        order, NULL));
done:
    return status;
}
