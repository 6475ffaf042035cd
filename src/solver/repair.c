#include "solver/repair.h"

#include "base/mem.h"
#include "solver/heap.h"
#include <string.h>

enum { CHECK_EVERY = 16 }; /* parts between looks for a cancellation */

typedef struct parts {
    const icd_wgraph *g;
    const icd_bounds *bounds;
    int32_t *part;
    int32_t *room;         /* part -> nodes it still takes; negative: too many */
    int32_t *begin, *list; /* nodes by the part they were in at first */
    int32_t *pull;         /* part -> weight of a node's edges into it */
    int32_t *gain;         /* node -> that of its best offer, when it was looked for */
    icd_heap heap;         /* members of the part that sheds, by gain */
    int32_t vacancy;       /* no part before this one has room */
} parts;

/* Nodes by part, ascending. */
static void list_members(parts *p)
{
    int32_t count = p->bounds->count;
    memset(p->begin, 0, (size_t)(count + 1) * sizeof *p->begin);
    for (int32_t v = 0; v < p->g->n; ++v) p->begin[p->part[v] + 1]++;
    for (int32_t b = 0; b < count; ++b) p->begin[b + 1] += p->begin[b];
    for (int32_t v = 0; v < p->g->n; ++v) p->list[p->begin[p->part[v]]++] = v;
    memmove(p->begin + 1, p->begin, (size_t)count * sizeof *p->begin);
    p->begin[0] = 0;
}

static icd_status parts_init(icd_ctx *ctx, parts *p)
{
    icd_status status;
    int32_t n = p->g->n, count = p->bounds->count;
    ICD_TRY(ICD_ALLOC(ctx, count, &p->room));
    ICD_TRY(ICD_ALLOC(ctx, count, &p->pull));
    ICD_TRY(ICD_ALLOC(ctx, count + (int64_t)1, &p->begin));
    ICD_TRY(ICD_ALLOC(ctx, n, &p->list));
    ICD_TRY(ICD_ALLOC(ctx, n, &p->gain));
    ICD_TRY(ICD_ALLOC(ctx, n, &p->heap.node));
    ICD_TRY(ICD_ALLOC(ctx, n, &p->heap.at));
    p->heap.key = p->gain;
    list_members(p);
    for (int32_t v = 0; v < n; ++v) p->heap.at[v] = ICD_HEAP_OUT;
    for (int32_t b = 0; b < count; ++b)
        p->room[b] =
            p->bounds->at[b + 1] - p->bounds->at[b] - (p->begin[b + 1] - p->begin[b]);
done:
    return status;
}

static void parts_release(icd_ctx *ctx, parts *p)
{
    icd_i_free(ctx, p->room);
    icd_i_free(ctx, p->pull);
    icd_i_free(ctx, p->begin);
    icd_i_free(ctx, p->list);
    icd_i_free(ctx, p->gain);
    icd_i_free(ctx, p->heap.node);
    icd_i_free(ctx, p->heap.at);
}

/* The part with room that pulls the node most; failing edges, the first with room. */
static int32_t best_offer(parts *p, int32_t v)
{
    const icd_wgraph *g = p->g;
    int32_t best = p->vacancy;
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k)
        p->pull[p->part[g->edge[k].to]] += g->edge[k].w;
    int32_t most = p->pull[best];
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) {
        int32_t to = p->part[g->edge[k].to];
        if (p->room[to] <= 0 || p->pull[to] <= most) continue;
        most = p->pull[to];
        best = to;
    }
    p->gain[v] = most - p->pull[p->part[v]];
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k)
        p->pull[p->part[g->edge[k].to]] = 0;
    return best;
}

static void find_vacancy(parts *p)
{
    while (p->vacancy + 1 < p->bounds->count && p->room[p->vacancy] <= 0) p->vacancy++;
}

/* Those who stay have less in common with the part they are in. */
static void move(parts *p, int32_t v, int32_t to)
{
    const icd_wgraph *g = p->g;
    p->room[p->part[v]]++;
    p->room[to]--;
    p->part[v] = to;
    if (p->room[to] == 0) find_vacancy(p);
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) {
        int32_t u = g->edge[k].to;
        if (p->heap.at[u] < 0) continue;
        best_offer(p, u);
        icd_i_heap_moved(&p->heap, u);
    }
}

/* An offer goes stale where the part it leads to is full by now; it never gets better
 * unseen. */
static void shed(parts *p, int32_t part)
{
    for (int32_t i = p->begin[part]; i < p->begin[part + 1]; ++i) {
        best_offer(p, p->list[i]);
        icd_i_heap_append(&p->heap, p->list[i]);
    }
    icd_i_heap_build(&p->heap);
    while (p->room[part] < 0) {
        int32_t v = icd_i_heap_pop(&p->heap), old = p->gain[v], to = best_offer(p, v);
        if (p->gain[v] < old && p->heap.count)
            icd_i_heap_push(&p->heap, v);
        else
            move(p, v, to);
    }
    while (p->heap.count) p->heap.at[p->heap.node[--p->heap.count]] = ICD_HEAP_OUT;
}

icd_status icd_i_repair(icd_ctx *ctx, const icd_wgraph *g, const icd_bounds *bounds,
                        int32_t *part, int32_t *order)
{
    icd_status status;
    parts p = {.g = g, .bounds = bounds, .part = part};
    ICD_TRY(parts_init(ctx, &p));
    if (g->n > 0) find_vacancy(&p);
    for (int32_t b = 0; b < bounds->count; ++b) {
        if (b % CHECK_EVERY == 0) ICD_TRY(icd_i_check_cancel(ctx));
        if (p.room[b] < 0) shed(&p, b);
    }
    list_members(&p);
    memcpy(order, p.list, (size_t)g->n * sizeof *order);
done:
    parts_release(ctx, &p);
    return status;
}
