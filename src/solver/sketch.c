#include "solver/sketch.h"

#include "base/mem.h"
#include "solver/coarsen.h"
#include <string.h>

enum {
    LEVELS = 16,
    GROWTH = 64, /* a cluster takes that many times the slots of one a level below */
    STREAM = 77,
};

typedef struct tower {
    icd_ctx *ctx;
    icd_wgraph graph[LEVELS];
    int32_t *map[LEVELS]; /* node -> node of the level above */
    int32_t top;
} tower;

/* @param good [out] false: there is no level above worth having */
static icd_status climb(tower *t, int64_t cap, icd_rng *rng, icd_budget *budget,
                        bool *good)
{
    icd_status status;
    const icd_wgraph *g = &t->graph[t->top];
    int32_t *map = NULL, n = 0, limit = cap < INT32_MAX ? (int32_t)cap : INT32_MAX;
    ICD_TRY(ICD_ALLOC(t->ctx, g->n, &map));
    ICD_TRY(icd_i_coarsen_wide(t->ctx, g, limit, rng, budget, map, &n));
    *good = n < g->n;
    if (!*good) goto done;
    ICD_TRY(icd_i_wgraph_contract_new(t->ctx, g, map, n, &t->graph[t->top + 1]));
    t->map[t->top++] = map;
    map = NULL;
done:
    icd_i_free(t->ctx, map);
    return status;
}

static void tower_release(tower *t)
{
    for (int32_t level = 0; level <= t->top; ++level) {
        if (level) icd_i_wgraph_release(t->ctx, &t->graph[level]);
        icd_i_free(t->ctx, t->map[level]);
    }
}

/* The order of a level's nodes from the order of the level above, by counting. */
static void descend(const tower *t, int32_t level, int32_t *first, int32_t *order,
                    int32_t *scratch)
{
    int32_t n = t->graph[level].n, above = t->graph[level + 1].n, at = 0;
    const int32_t *map = t->map[level];
    memset(first, 0, (size_t)above * sizeof *first);
    for (int32_t v = 0; v < n; ++v) first[map[v]]++;
    for (int32_t k = 0; k < above; ++k) {
        int32_t count = first[order[k]];
        first[order[k]] = at;
        at += count;
    }
    for (int32_t v = 0; v < n; ++v) scratch[first[map[v]]++] = v;
    memcpy(order, scratch, (size_t)n * sizeof *order);
}

icd_status icd_i_sketch(icd_ctx *ctx, const icd_wgraph *g, icd_budget *budget,
                        uint64_t seed, int32_t *order)
{
    icd_status status;
    icd_rng rng;
    bool good = true;
    tower t = {.ctx = ctx, .graph = {*g}};
    int32_t *first = NULL, *scratch = NULL;
    ICD_TRY(ICD_ALLOC(ctx, g->n, &first));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &scratch));
    icd_i_rng_init(&rng, seed, STREAM);
    for (int64_t cap = GROWTH; t.top + 1 < LEVELS;
         cap = cap < g->n ? cap * GROWTH : cap) {
        if (!icd_i_budget_over(budget)) ICD_TRY(climb(&t, cap, &rng, budget, &good));
        if (icd_i_budget_over(budget) || !good) break;
    }
    for (int32_t k = 0; k < t.graph[t.top].n; ++k) order[k] = k;
    for (int32_t level = t.top - 1; level >= 0; --level)
        descend(&t, level, first, order, scratch);
done:
    icd_i_free(ctx, first);
    icd_i_free(ctx, scratch);
    tower_release(&t);
    return status;
}
