#include "solver/sketch.h"

#include "base/mem.h"
#include "solver/coarsen.h"
#include "solver/repair.h"

enum { LEVELS = 8, STREAM = 77 };

/* Composes node -> cluster of `map` with the coarser step `next`. */
static void compose(int32_t *map, int32_t n, const int32_t *next)
{
    for (int32_t v = 0; v < n; ++v) map[v] = next[map[v]];
}

/* Clusters of clusters, at most `cluster` slots each; the coarse graph lies in `work`. */
static void coarsen_whole(const icd_wgraph *g, int32_t cluster, icd_rng *rng,
                          icd_work *work, int32_t *next, int32_t *map, icd_wgraph *coarse)
{
    *coarse = *g;
    for (int32_t v = 0; v < g->n; ++v) map[v] = v;
    for (int32_t level = 0, cap = 4; level < LEVELS; ++level, cap *= 4) {
        icd_wgraph fine = *coarse;
        int32_t limit = cap < cluster ? cap : cluster;
        int32_t n = icd_i_coarsen(&fine, NULL, limit, rng, work, next);
        if (n == 0 || !icd_i_wgraph_contract(&fine, next, n, work, coarse)) break;
        compose(map, g->n, next);
        if (limit == cluster) break;
    }
}

icd_status icd_i_sketch(icd_ctx *ctx, const icd_wgraph *g, const icd_bounds *blocks,
                        int32_t cluster, const icd_bisect_params *params, uint64_t seed,
                        int32_t *order)
{
    icd_status status;
    icd_rng rng;
    icd_wgraph coarse;
    icd_work work = {.size = 3 * icd_i_wgraph_bytes(g->n, g->ptr[g->n]) + 65536};
    int32_t *map = NULL, *next = NULL, *part = NULL, *coarse_order = NULL;
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)work.size, &work.base));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &map));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &next));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &part));
    icd_i_rng_init(&rng, seed, STREAM);
    coarsen_whole(g, cluster, &rng, &work, next, map, &coarse);
    ICD_TRY(ICD_ALLOC(ctx, coarse.n, &coarse_order));
    for (int32_t c = 0; c < coarse.n; ++c) coarse_order[c] = c;
    ICD_TRY(icd_i_split(ctx, &coarse, NULL, blocks, params, seed, coarse_order, part));
    compose(map, g->n, part);
    ICD_TRY(icd_i_repair(ctx, g, blocks, map, order));
done:
    icd_i_free(ctx, map);
    icd_i_free(ctx, next);
    icd_i_free(ctx, part);
    icd_i_free(ctx, coarse_order);
    icd_i_free(ctx, work.base);
    return status;
}
