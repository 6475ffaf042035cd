#include "solver/sketch.h"

#include "base/mem.h"
#include "solver/coarsen.h"
#include <string.h>

enum {
    LEVELS = 16,
    GROWTH = 4, /* a cluster takes that many clusters of the level below */
    COPIES = 6, /* of the graph that the levels together may fill */
    STREAM = 77,
};

typedef struct tower {
    icd_wgraph graph[LEVELS];
    int32_t *map[LEVELS]; /* node -> node of the level above */
    int32_t top;
} tower;

static bool climb(tower *t, int64_t cap, icd_rng *rng, icd_work *work)
{
    const icd_wgraph *g = &t->graph[t->top];
    int32_t *map = icd_i_work_take(work, g->n, sizeof *map);
    int32_t limit = cap < INT32_MAX ? (int32_t)cap : INT32_MAX;
    int32_t n = map ? icd_i_coarsen(g, NULL, limit, rng, work, map) : 0;
    if (n == 0 || n == g->n ||
        !icd_i_wgraph_contract(g, map, n, work, &t->graph[t->top + 1]))
        return false;
    t->map[t->top++] = map;
    return true;
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
    tower t = {.graph = {*g}};
    icd_work work = {.size = COPIES * icd_i_wgraph_bytes(g->n, g->ptr[g->n]) + 65536};
    int32_t *first = NULL, *scratch = NULL;
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)work.size, &work.base));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &first));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &scratch));
    icd_i_rng_init(&rng, seed, STREAM);
    for (int64_t cap = GROWTH; t.top + 1 < LEVELS; cap *= GROWTH)
        if (icd_i_budget_over(budget) || !climb(&t, cap, &rng, &work)) break;
    for (int32_t k = 0; k < t.graph[t.top].n; ++k) order[k] = k;
    for (int32_t level = t.top - 1; level >= 0; --level)
        descend(&t, level, first, order, scratch);
done:
    icd_i_free(ctx, first);
    icd_i_free(ctx, scratch);
    icd_i_free(ctx, work.base);
    return status;
}
