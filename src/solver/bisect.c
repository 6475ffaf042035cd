#include "solver/bisect.h"

#include "solver/coarsen.h"
#include "solver/fm.h"
#include "solver/skeleton.h"
#include <string.h>

enum {
    COARSEST = 60, /* nodes at which coarsening ends */
    LEVELS = 40,
    REFINE_BYTES = 32, /* per node, of sides and a pass of moves */
    SKELETON_MIN = 24, /* a coarsest graph below that is searched well by growing alone */
    SKELETON_PART = 128, /* and so is a given graph below that */
    SHARE = 8,           /* of the nodes: more patience than that is wasted */
    LEAST_PATIENCE = 25,
};

typedef struct level {
    icd_wgraph graph;
    int32_t *map; /* node -> node of the next coarser level */
} level;

typedef struct multilevel {
    const icd_bisect_params *params;
    icd_rng *rng;
    icd_work *work;
    int32_t target;
    int32_t depth; /* levels above the given graph */
    level level[LEVELS];
} multilevel;

/* Edges hardly shrink on expanders: room for that many copies of the given graph. */
size_t icd_i_bisect_bytes(int64_t n, int64_t nnz)
{
    return 4 * icd_i_wgraph_bytes(n, nnz) + (size_t)n * (REFINE_BYTES + 8) + 65536;
}

static int64_t total_size(const icd_wgraph *g)
{
    int64_t total = 0;
    for (int32_t v = 0; v < g->n; ++v) total += g->size[v];
    return total;
}

/* Clusters double per level (triple where the graph is large and passes are dear), and
 * none may outgrow what the coarsest graph needs to be divided evenly. */
static int32_t cluster_cap(const icd_wgraph *g, int64_t total)
{
    int64_t largest = total * 3 / (2 * COARSEST), mean = total / g->n + 1;
    int64_t cap = mean * 4;
    if (cap > largest) cap = largest;
    return cap < 2 ? 2 : (int32_t)cap;
}

static bool coarsen_once(multilevel *m, int64_t total)
{
    level *fine = &m->level[m->depth], *coarse = &m->level[m->depth + 1];
    icd_work *work = m->work;
    size_t before = work->used;
    fine->map = icd_i_work_take(work, fine->graph.n, sizeof *fine->map);
    if (!fine->map) return false;
    int32_t n = icd_i_coarsen(&fine->graph, NULL, cluster_cap(&fine->graph, total),
                              m->rng, work, fine->map);
    if (n == 0 || n > fine->graph.n - fine->graph.n / 20 ||
        !icd_i_wgraph_contract(&fine->graph, fine->map, n, work, &coarse->graph)) {
        work->used = before;
        return false;
    }
    m->depth++;
    return true;
}

static bool sides_init(icd_sides *s, const icd_wgraph *g, int32_t target, icd_work *work)
{
    *s = (icd_sides){.g = g, .target = target};
    s->side = icd_i_work_take(work, g->n, sizeof *s->side);
    s->gain = icd_i_work_take(work, g->n, sizeof *s->gain);
    s->out = icd_i_work_take(work, g->n, sizeof *s->out);
    for (int32_t v = 0; v < g->n; ++v)
        if (g->size[v] > s->slack) s->slack = g->size[v];
    if (s->slack == 1) s->slack = 0;
    return s->side && s->gain && s->out;
}

/* What is left when there is neither time nor room: the nodes as they come. */
static void split_in_order(const icd_wgraph *g, int32_t target, uint8_t *side)
{
    int32_t left = 0;
    for (int32_t v = 0; v < g->n; ++v) {
        side[v] = left >= target;
        if (!side[v]) left += g->size[v];
    }
}

static void keep_better(const icd_sides *s, int64_t *best, uint8_t *best_side)
{
    int32_t off = s->left > s->target ? s->left - s->target : s->target - s->left;
    int64_t cost = off > s->slack ? INT64_MAX / 2 + off : s->cut;
    if (cost >= *best) return;
    *best = cost;
    memcpy(best_side, s->side, (size_t)s->g->n);
}

static bool wants_skeleton(const multilevel *m, const icd_sides *s)
{
    return s->g->n >= SKELETON_MIN && m->level[0].graph.n >= SKELETON_PART;
}

/* Where all levels are searched with much patience, the coarsest is but a start. */
static void cut_coarsest(multilevel *m, icd_sides *s, uint8_t *best_side)
{
    const icd_bisect_params *params = m->params;
    int64_t best = INT64_MAX;
    int32_t n = s->g->n, patience = params->patience < n ? n : n / 2;
    for (int32_t t = 0; t < params->tries; ++t) {
        if (t && icd_i_budget_over(params->budget)) break;
        int32_t seed = (int32_t)icd_i_rng_below(m->rng, s->g->n);
        if (t != 1 || !wants_skeleton(m, s) || !icd_i_skeleton(s, m->rng, m->work))
            icd_i_sides_grow(s, seed, m->work);
        icd_i_fm(s, params->passes, patience, m->work);
        keep_better(s, &best, best_side);
    }
}

static void solve_coarsest(multilevel *m, uint8_t *side)
{
    icd_sides s;
    const icd_wgraph *g = &m->level[m->depth].graph;
    size_t before = m->work->used;
    if (sides_init(&s, g, m->target, m->work))
        cut_coarsest(m, &s, side);
    else
        split_in_order(g, m->target, side);
    m->work->used = before;
}

static int32_t patience_on(const multilevel *m, int32_t n)
{
    int32_t most = n / SHARE > LEAST_PATIENCE ? n / SHARE : LEAST_PATIENCE;
    return m->params->patience < most ? m->params->patience : most;
}

static void refine_level(multilevel *m, const level *fine, const uint8_t *coarse_side,
                         uint8_t *side)
{
    icd_sides s;
    size_t before = m->work->used;
    for (int32_t v = 0; v < fine->graph.n; ++v) side[v] = coarse_side[fine->map[v]];
    if (!icd_i_budget_over(m->params->budget) &&
        sides_init(&s, &fine->graph, m->target, m->work)) {
        memcpy(s.side, side, (size_t)fine->graph.n);
        icd_i_sides_count(&s);
        icd_i_fm(&s, m->params->passes, patience_on(m, fine->graph.n), m->work);
        memcpy(side, s.side, (size_t)fine->graph.n);
    }
    m->work->used = before;
}

static void uncoarsen(multilevel *m, uint8_t *coarse_side, uint8_t *side)
{
    while (m->depth > 0) {
        m->depth--;
        memcpy(coarse_side, side, (size_t)m->level[m->depth + 1].graph.n);
        refine_level(m, &m->level[m->depth], coarse_side, side);
    }
}

/* Coarsening leaves what refinement needs. */
static void coarsen_all(multilevel *m)
{
    int64_t total = total_size(&m->level[0].graph);
    size_t reserve = (size_t)m->level[0].graph.n * REFINE_BYTES + 4096;
    m->work->size -= reserve;
    while (m->depth + 1 < LEVELS && m->level[m->depth].graph.n > COARSEST &&
           !icd_i_budget_over(m->params->budget) && coarsen_once(m, total)) {
    }
    m->work->size += reserve;
}

void icd_i_bisect(const icd_wgraph *g, int32_t target, const icd_bisect_params *params,
                  icd_rng *rng, icd_work *work, uint8_t *side)
{
    size_t before = work->used;
    multilevel m = {.params = params, .rng = rng, .work = work, .target = target};
    uint8_t *coarse_side = icd_i_work_take(work, g->n, 1);
    m.level[0].graph = *g;
    if (g->n < 2 || icd_i_budget_over(params->budget) || !coarse_side) {
        split_in_order(g, target, side);
    } else {
        coarsen_all(&m);
        solve_coarsest(&m, side);
        uncoarsen(&m, coarse_side, side);
    }
    work->used = before;
}
