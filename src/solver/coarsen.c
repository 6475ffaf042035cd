#include "solver/coarsen.h"

#include "base/mem.h"
#include "base/threads.h"

enum {
    BATCHES = 64, /* of nodes: what one did is known to the next */
    CHUNK = 256,  /* nodes that a thread takes at once */
};

/* A cluster bears the number of the node that it began with; at first, every node is one.
 */
typedef struct clusters {
    const icd_wgraph *g;
    const int32_t *zone;
    int32_t cap, count;
    int32_t *map;    /* node -> cluster */
    int32_t *size;   /* of clusters */
    uint8_t *placed; /* node: joined, was joined, or found nobody */
    int32_t lonely;  /* the cluster that takes nodes without neighbours, -1: none */
} clusters;

static void join(clusters *c, int32_t v, int32_t u)
{
    c->map[v] = c->map[u];
    c->size[c->map[u]] += c->g->size[v];
    c->placed[u] = 1;
    c->count--;
}

/* The heaviest edge for the size of the cluster that it leads to; ratios are compared
 * without division. */
static int32_t best_neighbour(const clusters *c, int32_t v)
{
    const icd_wgraph *g = c->g;
    int32_t best = -1, room = c->cap - g->size[v];
    int64_t best_weight = 0, best_size = 1;
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) {
        int32_t u = g->edge[k].to, size = c->size[c->map[u]];
        int64_t weight = g->edge[k].w;
        if (weight * best_size <= best_weight * size || size > room ||
            (c->zone && c->zone[u] != c->zone[v]))
            continue;
        best_weight = weight;
        best_size = size;
        best = u;
    }
    return best;
}

static void place_lonely(clusters *c, int32_t v)
{
    int32_t u = c->lonely;
    if (u >= 0 && c->size[u] + c->g->size[v] <= c->cap &&
        (!c->zone || c->zone[u] == c->zone[v]))
        join(c, v, u);
    else
        c->lonely = v;
}

static void place(clusters *c, int32_t v)
{
    c->placed[v] = 1;
    if (c->g->ptr[v] == c->g->ptr[v + 1]) {
        place_lonely(c, v);
        return;
    }
    int32_t u = best_neighbour(c, v);
    if (u >= 0) join(c, v, u);
}

/* Neighbours in the graph were numbered alike; clusters keep that nearness in memory. */
static void renumber(clusters *c, int32_t n, int32_t *fresh)
{
    int32_t next = 0;
    for (int32_t k = 0; k < n; ++k) fresh[k] = -1;
    for (int32_t v = 0; v < n; ++v) {
        int32_t *id = &fresh[c->map[v]];
        if (*id < 0) *id = next++;
        c->map[v] = *id;
    }
}

/* Arrays in the workspace, visit in a random order. @return false: there is no room */
static bool clusters_init(clusters *c, icd_rng *rng, icd_work *work, int32_t **visit)
{
    const icd_wgraph *g = c->g;
    *visit = icd_i_work_take(work, g->n, sizeof **visit);
    c->size = icd_i_work_take(work, g->n, sizeof *c->size);
    c->placed = icd_i_work_take(work, g->n, sizeof *c->placed);
    if (!*visit || !c->size || !c->placed) return false;
    c->count = g->n;
    c->lonely = -1;
    for (int32_t v = 0; v < g->n; ++v) {
        (*visit)[v] = c->map[v] = v;
        c->size[v] = g->size[v];
        c->placed[v] = 0;
    }
    icd_i_rng_shuffle(rng, *visit, g->n);
    return true;
}

int32_t icd_i_coarsen(const icd_wgraph *g, const int32_t *zone, int32_t cap, icd_rng *rng,
                      icd_work *work, int32_t *map)
{
    size_t before = work->used;
    int32_t *visit = NULL, count = 0;
    clusters c = {.g = g, .zone = zone, .cap = cap, .map = map};
    if (clusters_init(&c, rng, work, &visit)) {
        for (int32_t i = 0; i < g->n; ++i)
            if (!c.placed[visit[i]]) place(&c, visit[i]);
        renumber(&c, g->n, visit);
        count = c.count;
    }
    work->used = before;
    return count;
}

/* Nodes of one batch, looked at in parallel. */
typedef struct batch {
    const clusters *c;
    const int32_t *visit;
    int32_t *best; /* place in `visit` -> the neighbour to join, -1: none */
    int32_t *seen; /* and the size of its cluster then */
    int64_t begin, end;
} batch;

static void propose(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    batch *b = arg;
    int64_t begin, end;
    (void)worker;
    icd_i_chunk_range(b->end - b->begin, chunk, chunks, &begin, &end);
    for (int64_t i = b->begin + begin; i < b->begin + end; ++i) {
        int32_t v = b->visit[i], u = b->c->placed[v] ? -1 : best_neighbour(b->c, v);
        b->best[i] = u;
        b->seen[i] = u < 0 ? 0 : b->c->size[b->c->map[u]];
    }
}

/* Clusters only grow, and weigh the less for it: a neighbour that was the best, and whose
 * cluster is as it was, is still the best. Else the node looks again; so the clusters are
 * those of icd_i_coarsen. */
static void make_joins(clusters *c, const batch *b)
{
    for (int64_t i = b->begin; i < b->end; ++i) {
        int32_t v = b->visit[i], u = b->best[i];
        if (c->placed[v]) continue;
        if (u < 0 || c->size[c->map[u]] != b->seen[i]) {
            place(c, v);
        } else {
            c->placed[v] = 1;
            join(c, v, u);
        }
    }
}

static void join_all(icd_ctx *ctx, clusters *c, batch *b, icd_budget *budget)
{
    int64_t n = c->g->n;
    for (int64_t k = 0; k < BATCHES && !icd_i_budget_over(budget); ++k) {
        b->begin = n * k / BATCHES;
        b->end = n * (k + 1) / BATCHES;
        icd_i_parallel(ctx, (b->end - b->begin + CHUNK - 1) / CHUNK, propose, b);
        make_joins(c, b);
    }
}

icd_status icd_i_coarsen_wide(icd_ctx *ctx, const icd_wgraph *g, int32_t cap,
                              icd_rng *rng, icd_budget *budget, int32_t *map,
                              int32_t *count)
{
    icd_status status;
    icd_work work = {.size = (size_t)g->n * (2 * sizeof(int32_t) + 1) + 64};
    clusters c = {.g = g, .cap = cap, .map = map};
    int32_t *best = NULL, *seen = NULL, *visit = NULL;
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)work.size, &work.base));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &best));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &seen));
    clusters_init(&c, rng, &work, &visit);
    batch b = {.c = &c, .visit = visit, .best = best, .seen = seen};
    join_all(ctx, &c, &b, budget);
    renumber(&c, g->n, visit);
    *count = c.count;
done:
    icd_i_free(ctx, work.base);
    icd_i_free(ctx, best);
    icd_i_free(ctx, seen);
    return status;
}
