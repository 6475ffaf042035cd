#include "solver/settle.h"

#include "base/mem.h"
#include "base/threads.h"
#include <string.h>

enum {
    BATCHES = 8,   /* of a round: what one batch did is known to the next */
    CHUNK = 2048,  /* nodes that a thread takes at once */
    ENOUGH = 1000, /* a round that moves less than one node in so many is the last */
};

typedef struct settler {
    const icd_wgraph *g;
    const icd_settle_params *p;
    int32_t *part;
    int64_t *taken;  /* part -> slots */
    int32_t *wanted; /* node -> part, -1: stays */
    uint8_t *awake;  /* node: something moved beside it */
    int32_t *pull;   /* worker x part -> weight of a node's edges into it; 0 between nodes
                      */
    int32_t begin, end; /* the batch */
    int64_t moves;
} settler;

/* The part with room that pulls a node most, if more than its own. */
static int32_t best_part(const settler *s, int32_t v, int32_t *pull)
{
    const icd_wgraph *g = s->g;
    int32_t own = s->part[v], best = -1;
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k)
        pull[s->part[g->edge[k].to]] += g->edge[k].w;
    int32_t most = pull[own];
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) {
        int32_t to = s->part[g->edge[k].to];
        if (pull[to] <= most || s->taken[to] + g->size[v] > s->p->room[to]) continue;
        most = pull[to];
        best = to;
    }
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) pull[s->part[g->edge[k].to]] = 0;
    return best;
}

static void propose(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    settler *s = arg;
    int32_t *pull = s->pull + (int64_t)worker * s->p->parts;
    int64_t begin, end;
    if (icd_i_budget_over(s->p->budget)) return;
    icd_i_chunk_range(s->end - s->begin, chunk, chunks, &begin, &end);
    for (int64_t v = s->begin + begin; v < s->begin + end; ++v)
        s->wanted[v] = s->awake[v] ? best_part(s, (int32_t)v, pull) : -1;
}

static void move(settler *s, int32_t v, int32_t to)
{
    const icd_wgraph *g = s->g;
    s->taken[s->part[v]] -= g->size[v];
    s->taken[to] += g->size[v];
    s->part[v] = to;
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) s->awake[g->edge[k].to] = 1;
    s->moves++;
}

/* What was proposed may no longer be true. */
static void make_moves(settler *s)
{
    for (int32_t v = s->begin; v < s->end; ++v) {
        if (v % CHUNK == 0 && icd_i_budget_over(s->p->budget)) return;
        s->awake[v] = 0;
        if (s->wanted[v] < 0) continue;
        int32_t to = best_part(s, v, s->pull);
        if (to >= 0) move(s, v, to);
    }
}

/* @return false: nothing more to be had, or no time */
static bool round_of_moves(icd_ctx *ctx, settler *s)
{
    s->moves = 0;
    for (int32_t b = 0; b < BATCHES; ++b) {
        if (icd_i_budget_over(s->p->budget)) return false;
        s->begin = (int32_t)((int64_t)s->g->n * b / BATCHES);
        s->end = (int32_t)((int64_t)s->g->n * (b + 1) / BATCHES);
        icd_i_parallel(ctx, (s->end - s->begin + CHUNK - 1) / CHUNK, propose, s);
        make_moves(s);
    }
    return s->moves * ENOUGH >= s->g->n;
}

icd_status icd_i_settle(icd_ctx *ctx, const icd_wgraph *g,
                        const icd_settle_params *params, int32_t *part)
{
    icd_status status;
    settler s = {.g = g, .p = params, .part = part};
    int64_t parts = params->parts;
    ICD_TRY(ICD_ALLOC(ctx, parts, &s.taken));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &s.wanted));
    memset(s.wanted, -1, (size_t)g->n * sizeof *s.wanted);
    ICD_TRY(ICD_ALLOC(ctx, g->n, &s.awake));
    ICD_TRY(ICD_ALLOC(ctx, parts * icd_ctx_threads(ctx), &s.pull));
    for (int32_t v = 0; v < g->n; ++v) s.taken[part[v]] += g->size[v];
    memset(s.awake, 1, (size_t)g->n);
    for (int32_t r = 0; r < params->rounds && round_of_moves(ctx, &s); ++r) {
    }
done:
    icd_i_free(ctx, s.taken);
    icd_i_free(ctx, s.wanted);
    icd_i_free(ctx, s.awake);
    icd_i_free(ctx, s.pull);
    return status;
}
