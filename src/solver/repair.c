#include "solver/repair.h"

#include "base/mem.h"

typedef struct parts {
    const icd_wgraph *g;
    const icd_bounds *bounds;
    int32_t *part;
    int32_t *room;   /* part -> nodes it still takes; negative: too many */
    int32_t *head;   /* part -> a member, -1: none */
    int32_t *next;   /* node -> next member of its part */
    int32_t *pull;   /* part -> weight of a node's edges into it */
    int32_t vacancy; /* no part before this one has room */
} parts;

typedef struct offer {
    int32_t node, before, to; /* before: the member in front of it, -1: none */
    int32_t gain;
} offer;

static icd_status parts_init(icd_ctx *ctx, parts *p)
{
    icd_status status;
    ICD_TRY(ICD_ALLOC(ctx, p->bounds->count, &p->room));
    ICD_TRY(ICD_ALLOC(ctx, p->bounds->count, &p->head));
    ICD_TRY(ICD_ALLOC(ctx, p->bounds->count, &p->pull));
    ICD_TRY(ICD_ALLOC(ctx, p->g->n, &p->next));
    for (int32_t b = 0; b < p->bounds->count; ++b) {
        p->room[b] = p->bounds->at[b + 1] - p->bounds->at[b];
        p->head[b] = -1;
    }
    for (int32_t v = p->g->n - 1; v >= 0; --v) {
        p->room[p->part[v]]--;
        p->next[v] = p->head[p->part[v]];
        p->head[p->part[v]] = v;
    }
done:
    return status;
}

/* The part with room that pulls the node most; failing edges, the first with room. */
static offer best_offer(parts *p, int32_t v)
{
    const icd_wgraph *g = p->g;
    offer best = {.node = v, .to = p->vacancy};
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k)
        p->pull[p->part[g->edge[k].to]] += g->edge[k].w;
    int32_t most = p->pull[best.to];
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) {
        int32_t to = p->part[g->edge[k].to];
        if (p->room[to] <= 0 || p->pull[to] <= most) continue;
        most = p->pull[to];
        best.to = to;
    }
    best.gain = most - p->pull[p->part[v]];
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k)
        p->pull[p->part[g->edge[k].to]] = 0;
    return best;
}

static void accept(parts *p, const offer *o)
{
    int32_t from = p->part[o->node];
    if (o->before < 0)
        p->head[from] = p->next[o->node];
    else
        p->next[o->before] = p->next[o->node];
    p->next[o->node] = p->head[o->to];
    p->head[o->to] = o->node;
    p->part[o->node] = o->to;
    p->room[from]++;
    p->room[o->to]--;
}

static void shed_one(parts *p, int32_t part)
{
    offer best = {.gain = INT32_MIN};
    while (p->room[p->vacancy] <= 0) p->vacancy++;
    for (int32_t v = p->head[part], before = -1; v >= 0; before = v, v = p->next[v]) {
        offer o = best_offer(p, v);
        o.before = before;
        if (o.gain > best.gain) best = o;
    }
    accept(p, &best);
}

icd_status icd_i_repair(icd_ctx *ctx, const icd_wgraph *g, const icd_bounds *bounds,
                        int32_t *part, int32_t *order)
{
    icd_status status;
    int32_t slot = 0;
    parts p = {.g = g, .bounds = bounds, .part = part};
    ICD_TRY(parts_init(ctx, &p));
    for (int32_t b = 0; b < bounds->count; ++b)
        while (p.room[b] < 0) shed_one(&p, b);
    for (int32_t b = 0; b < bounds->count; ++b)
        for (int32_t v = p.head[b]; v >= 0; v = p.next[v]) order[slot++] = v;
done:
    icd_i_free(ctx, p.room);
    icd_i_free(ctx, p.head);
    icd_i_free(ctx, p.pull);
    icd_i_free(ctx, p.next);
    return status;
}
