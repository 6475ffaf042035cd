#include "solver/coarsen.h"

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

int32_t icd_i_coarsen(const icd_wgraph *g, const int32_t *zone, int32_t cap, icd_rng *rng,
                      icd_work *work, int32_t *map)
{
    size_t before = work->used;
    int32_t *visit = icd_i_work_take(work, g->n, sizeof *visit);
    int32_t *size = icd_i_work_take(work, g->n, sizeof *size);
    uint8_t *placed = icd_i_work_take(work, g->n, sizeof *placed);
    clusters c = {g, zone, cap, g->n, map, size, placed, -1};
    if (!visit || !size || !placed) {
        work->used = before;
        return 0;
    }
    for (int32_t v = 0; v < g->n; ++v) {
        visit[v] = map[v] = v;
        size[v] = g->size[v];
        placed[v] = 0;
    }
    icd_i_rng_shuffle(rng, visit, g->n);
    for (int32_t i = 0; i < g->n; ++i)
        if (!placed[visit[i]]) place(&c, visit[i]);
    renumber(&c, g->n, visit);
    work->used = before;
    return c.count;
}
