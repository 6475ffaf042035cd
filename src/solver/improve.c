#include "solver/improve.h"

#include "base/mem.h"
#include "solver/anneal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    WHOLE = 1 << 20, /* entries of the table of pulls that the caches mostly hold */
    WINDOW = 4096,   /* nodes of a window */
    MOST_BLOCKS = 1024,
    SWEEP_OFFERS = 300, /* to a node in one sweep over all windows */
    FIRST_OFFERS = 100, /* to a node in the first trial; in each next GROWTH times more */
    GROWTH = 3,
    ARMS = 3,
    TRIALS = 12, /* windows by which the next temperature is chosen */
};
static const double FIRST_RATE = 2e6; /* offers in a second, until one was measured */
static const double ARM[ARMS] = {1, 1 / 1.6, 1.6};
static const double WARMTH = 0.14; /* first temperature, by the root of the mean degree */
static const double COOLING = 6;   /* first by last temperature */
static const double LONGER = 1.3;  /* a longer search may start hotter than the trials */
static const double SHORTER = 0.35; /* a few offers must start colder */

/* A region of the graph that is annealed by itself. */
typedef struct window {
    int32_t *blocks; /* ascending */
    int32_t count;
    icd_wgraph g;
    int64_t edge_room;
    icd_bounds zones, bounds;
    int32_t *node;  /* place -> node of the whole graph */
    int32_t *order; /* place -> place before */
    int32_t *fresh;
    uint8_t *frozen;
} window;

typedef struct improving {
    icd_ctx *ctx;
    const icd_wgraph *g;
    const icd_improve_params *p;
    icd_rng rng;
    icd_watch watch;
    int32_t *order; /* node at slot */
    int64_t *passes;
    int64_t cut, enough;
    double rate; /* offers in a second */
    double hot;  /* the first temperature that did best so far, in mean edge weights */
    int32_t *slot_of;  /* node -> slot */
    int32_t *block_of; /* slot -> block */
    int32_t *zone_of;  /* block -> zone */
    int32_t *place;    /* slot -> place in the window, -1 */
    int64_t *bond;     /* block -> weight to the window; -1: inside */
    int32_t *touched;  /* blocks with a bond */
    int32_t touches;
    int32_t *visits, *turn; /* by block */
    int64_t gain[ARMS];     /* of the windows since the temperature was chosen */
    int32_t trial;          /* how many they are */
    window w;
} improving;

static bool is_over(const improving *m)
{
    return icd_i_now() >= m->p->until || icd_i_budget_over(m->p->budget) ||
           m->cut <= m->enough;
}

static int64_t total_weight(const icd_wgraph *g)
{
    int64_t total = 0;
    for (int64_t k = 0; k < g->ptr[g->n]; ++k) total += g->edge[k].w;
    return total / 2;
}

/* Weight between blocks of one zone. */
static int64_t count_cut(improving *m)
{
    const icd_wgraph *g = m->g;
    int64_t cut = 0;
    for (int32_t slot = 0; slot < g->n; ++slot) m->slot_of[m->order[slot]] = slot;
    for (int32_t v = 0; v < g->n; ++v) {
        int32_t a = m->block_of[m->slot_of[v]];
        for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) {
            int32_t b = m->block_of[m->slot_of[g->edge[k].to]];
            if (a != b && m->zone_of[a] == m->zone_of[b]) cut += g->edge[k].w;
        }
    }
    return cut / 2;
}

/* Offers to a node that the time allows for. */
static double offers_left(const improving *m)
{
    return m->rate * (m->p->until - icd_i_now()) / m->g->n;
}

static icd_anneal_params plan(improving *m, double hot, double offers, int64_t *reached)
{
    return (icd_anneal_params){.budget = m->p->budget,
                               .offers = offers < 9e18 ? (int64_t)offers + 1 : INT64_MAX,
                               .hot = hot,
                               .cold = hot / COOLING,
                               .reached = reached,
                               .seed = icd_i_rng_u64(&m->rng)};
}

static void measure_rate(improving *m, double offers, double begin)
{
    double seconds = icd_i_now() - begin;
    if (seconds > 0) m->rate = 0.5 * m->rate + 0.5 * offers / seconds;
}

/* Anneals the whole graph from the best order so far.
 * @param offers  to a node; 0: until the time is up
 * @param reached the cut when it was cold */
static icd_status anneal_whole(improving *m, double hot, double offers, int64_t *reached)
{
    icd_status status;
    double begin = icd_i_now(), all = offers * m->g->n;
    icd_anneal_params anneal = plan(m, hot, all, reached);
    if (offers == 0) anneal.offers = 0;
    anneal.until = m->p->until;
    anneal.enough = m->enough;
    anneal.watch = &m->watch;
    icd_refine_params refine = {.zones = m->p->zones,
                                .bounds = m->p->blocks,
                                .frozen = m->p->frozen,
                                .budget = m->p->budget,
                                .steps = INT32_MAX,
                                .anneal = &anneal};
    *reached = INT64_MAX;
    ICD_TRY(icd_i_refine(m->ctx, m->g, &refine, m->order, m->passes));
    m->cut = count_cut(m);
    if (offers > 0) measure_rate(m, all, begin);
done:
    return status;
}

/* Trials at three temperatures, each time longer and about the one that did best, until
 * no longer ones fit; what time is left goes to one. */
static icd_status run_whole(improving *m)
{
    icd_status status = ICD_OK;
    int64_t reached[ARMS];
    for (double offers = FIRST_OFFERS; !is_over(m); offers *= GROWTH) {
        int best = 0;
        if (offers_left(m) < ARMS * GROWTH * offers)
            return anneal_whole(m, m->hot * LONGER, 0, &reached[0]);
        for (int arm = 0; arm < ARMS && !is_over(m); ++arm) {
            ICD_TRY(anneal_whole(m, m->hot * ARM[arm], offers, &reached[arm]));
            if (reached[arm] < reached[best]) best = arm;
        }
        m->hot *= ARM[best];
    }
done:
    return status;
}

static int by_number(const void *a, const void *b)
{
    return *(const int32_t *)a - *(const int32_t *)b;
}

/* Takes a block into the window and counts what its nodes weigh to the blocks around. */
static void take_block(improving *m, int32_t block)
{
    const icd_wgraph *g = m->g;
    m->w.blocks[m->w.count++] = block;
    m->bond[block] = -1;
    m->visits[block]++;
    for (int32_t slot = m->p->blocks->at[block]; slot < m->p->blocks->at[block + 1];
         ++slot) {
        int32_t v = m->order[slot];
        for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) {
            int32_t other = m->block_of[m->slot_of[g->edge[k].to]];
            if (m->bond[other] < 0 || m->zone_of[other] != m->zone_of[block]) continue;
            if (m->bond[other] == 0) m->touched[m->touches++] = other;
            m->bond[other] += g->edge[k].w;
        }
    }
}

/* The block that hangs on the window most, blocks visited seldom before others; -1: none.
 */
static int32_t next_block(const improving *m)
{
    int32_t best = -1;
    for (int32_t i = 0; i < m->touches; ++i) {
        int32_t block = m->touched[i];
        if (m->bond[block] > 0 && (best < 0 || m->bond[block] > m->bond[best]))
            best = block;
    }
    return best;
}

/* Grows the window around a block, at least to WINDOW nodes where the zone has them.
 * Where a zone is smaller, the next ones follow: they are solved side by side. */
static void choose_window(improving *m, int32_t seed)
{
    int32_t nodes = 0;
    m->w.count = m->touches = 0;
    for (int32_t block = seed; block >= 0 && m->w.count < MOST_BLOCKS;) {
        take_block(m, block);
        nodes += m->p->blocks->at[block + 1] - m->p->blocks->at[block];
        if (nodes >= WINDOW) break;
        int32_t last = block;
        block = next_block(m);
        while (block < 0 && last + 1 < m->p->blocks->count)
            if (m->bond[++last] == 0) block = last;
    }
    for (int32_t i = 0; i < m->touches; ++i) m->bond[m->touched[i]] = 0;
    for (int32_t i = 0; i < m->w.count; ++i) m->bond[m->w.blocks[i]] = 0;
    qsort(m->w.blocks, (size_t)m->w.count, sizeof *m->w.blocks, by_number);
}

/* Bounds and zones of the window, and the nodes at its places. */
static int32_t lay_out(improving *m)
{
    window *w = &m->w;
    int32_t n = 0;
    w->zones.count = 0;
    w->bounds.count = w->count;
    for (int32_t i = 0; i < w->count; ++i) {
        int32_t block = w->blocks[i];
        if (i == 0 || m->zone_of[block] != m->zone_of[w->blocks[i - 1]])
            w->zones.at[w->zones.count++] = n;
        w->bounds.at[i] = n;
        for (int32_t slot = m->p->blocks->at[block]; slot < m->p->blocks->at[block + 1];
             ++slot) {
            m->place[slot] = n;
            w->order[n] = n;
            w->node[n++] = m->order[slot];
        }
    }
    w->bounds.at[w->count] = w->zones.at[w->zones.count] = n;
    return n;
}

/* The edges inside the window; those that leave it are cut whatever happens inside. */
static icd_status extract(improving *m)
{
    icd_status status = ICD_OK;
    window *w = &m->w;
    int64_t count = 0;
    w->g.n = lay_out(m);
    for (int32_t i = 0; i < w->g.n; ++i) {
        int32_t v = w->node[i];
        int64_t degree = m->g->ptr[v + 1] - m->g->ptr[v];
        ICD_TRY(icd_i_grow(m->ctx, (void **)&w->g.edge, &w->edge_room, count + degree,
                           sizeof *w->g.edge));
        for (int64_t k = m->g->ptr[v]; k < m->g->ptr[v + 1]; ++k) {
            int32_t to = m->place[m->slot_of[m->g->edge[k].to]];
            if (to >= 0) w->g.edge[count++] = (icd_edge){to, m->g->edge[k].w};
        }
        w->g.ptr[i + 1] = count;
        if (m->p->frozen) w->frozen[i] = m->p->frozen[v];
    }
done:
    for (int32_t i = 0; i < w->count; ++i)
        for (int32_t slot = m->p->blocks->at[w->blocks[i]];
             slot < m->p->blocks->at[w->blocks[i] + 1]; ++slot)
            m->place[slot] = -1;
    return status;
}

/* Weight that is cut inside a zone, with every node at its place of `order`. */
static int64_t window_cut(window *w)
{
    int64_t cut = 0;
    for (int32_t b = 0, z = 0; b < w->count; ++b) {
        while (w->bounds.at[b] >= w->zones.at[z + 1]) z++;
        for (int32_t i = w->bounds.at[b]; i < w->bounds.at[b + 1]; ++i)
            w->fresh[w->order[i]] = b;
    }
    for (int32_t i = 0; i < w->g.n; ++i)
        for (int64_t k = w->g.ptr[i]; k < w->g.ptr[i + 1]; ++k)
            if (w->fresh[i] != w->fresh[w->g.edge[k].to]) cut += w->g.edge[k].w;
    return cut / 2;
}

static void put_back(improving *m)
{
    window *w = &m->w;
    int32_t at = 0;
    for (int32_t i = 0; i < w->count; ++i)
        for (int32_t slot = m->p->blocks->at[w->blocks[i]];
             slot < m->p->blocks->at[w->blocks[i] + 1]; ++slot) {
            int32_t v = w->node[w->order[at++]];
            m->order[slot] = v;
            m->slot_of[v] = slot;
        }
}

/* @param gain by how much the cut fell */
static icd_status anneal_window(improving *m, double hot, double offers, int64_t *gain)
{
    icd_status status;
    window *w = &m->w;
    ICD_TRY(extract(m));
    double begin = icd_i_now(), all = offers * w->g.n;
    int64_t before = window_cut(w), reached;
    icd_anneal_params anneal = plan(m, hot, all, &reached);
    icd_refine_params refine = {.zones = &w->zones,
                                .bounds = &w->bounds,
                                .frozen = m->p->frozen ? w->frozen : NULL,
                                .budget = m->p->budget,
                                .steps = INT32_MAX,
                                .anneal = &anneal};
    ICD_TRY(icd_i_refine(m->ctx, &w->g, &refine, w->order, m->passes));
    put_back(m);
    *gain = before - window_cut(w);
    m->cut -= *gain;
    measure_rate(m, all, begin);
    icd_i_watch_tell(&m->watch, m->cut);
done:
    return status;
}

/* Windows take turns at three temperatures; the one that gained most is the next middle.
 */
static void choose_heat(improving *m, int64_t gain)
{
    int best = 0;
    m->gain[m->trial++ % ARMS] += gain;
    if (m->trial < TRIALS) return;
    for (int arm = 1; arm < ARMS; ++arm)
        if (m->gain[arm] > m->gain[best]) best = arm;
    m->hot *= ARM[best];
    m->trial = 0;
    memset(m->gain, 0, sizeof m->gain);
}

/* Every block was in a window once. */
static icd_status sweep(improving *m, int32_t number)
{
    icd_status status = ICD_OK;
    icd_i_rng_shuffle(&m->rng, m->turn, m->p->blocks->count);
    for (int32_t i = 0; i < m->p->blocks->count && !is_over(m); ++i) {
        int64_t gain = 0;
        if (m->visits[m->turn[i]] > number) continue;
        double share = 1 - (double)i / m->p->blocks->count;
        double offers = offers_left(m) / (share > 0.05 ? share : 0.05);
        choose_window(m, m->turn[i]);
        if (offers > SWEEP_OFFERS) offers = SWEEP_OFFERS;
        ICD_TRY(anneal_window(m, m->hot * ARM[m->trial % ARMS], offers, &gain));
        choose_heat(m, gain);
    }
done:
    return status;
}

static icd_status run_windows(improving *m)
{
    icd_status status = ICD_OK;
    for (int32_t round = 0; !is_over(m); ++round) ICD_TRY(sweep(m, round));
done:
    return status;
}

static icd_status window_init(improving *m, window *w)
{
    icd_status status;
    int32_t longest = 0;
    const icd_bounds *b = m->p->blocks;
    for (int32_t k = 0; k < b->count; ++k)
        if (b->at[k + 1] - b->at[k] > longest) longest = b->at[k + 1] - b->at[k];
    int64_t room = (int64_t)WINDOW + longest;
    ICD_TRY(ICD_ALLOC(m->ctx, MOST_BLOCKS, &w->blocks));
    ICD_TRY(ICD_ALLOC(m->ctx, MOST_BLOCKS + 1, &w->bounds.at));
    ICD_TRY(ICD_ALLOC(m->ctx, MOST_BLOCKS + 1, &w->zones.at));
    ICD_TRY(ICD_ALLOC(m->ctx, room + 1, &w->g.ptr));
    ICD_TRY(ICD_ALLOC(m->ctx, room, &w->g.size));
    ICD_TRY(ICD_ALLOC(m->ctx, room, &w->node));
    ICD_TRY(ICD_ALLOC(m->ctx, room, &w->order));
    ICD_TRY(ICD_ALLOC(m->ctx, room, &w->fresh));
    ICD_TRY(ICD_ALLOC(m->ctx, room, &w->frozen));
    for (int64_t i = 0; i < room; ++i) w->g.size[i] = 1;
done:
    return status;
}

static void window_release(icd_ctx *ctx, window *w)
{
    icd_i_wgraph_release(ctx, &w->g);
    icd_i_bounds_release(ctx, &w->zones);
    icd_i_bounds_release(ctx, &w->bounds);
    icd_i_free(ctx, w->blocks);
    icd_i_free(ctx, w->node);
    icd_i_free(ctx, w->order);
    icd_i_free(ctx, w->fresh);
    icd_i_free(ctx, w->frozen);
}

static icd_status improving_init(improving *m)
{
    icd_status status;
    const icd_bounds *zones = m->p->zones, *b = m->p->blocks;
    ICD_TRY(ICD_ALLOC(m->ctx, m->g->n, &m->slot_of));
    ICD_TRY(ICD_ALLOC(m->ctx, m->g->n, &m->block_of));
    ICD_TRY(ICD_ALLOC(m->ctx, m->g->n, &m->place));
    ICD_TRY(ICD_ALLOC(m->ctx, b->count, &m->zone_of));
    ICD_TRY(ICD_ALLOC(m->ctx, b->count, &m->bond));
    ICD_TRY(ICD_ALLOC(m->ctx, b->count, &m->touched));
    ICD_TRY(ICD_ALLOC(m->ctx, b->count, &m->visits));
    ICD_TRY(ICD_ALLOC(m->ctx, b->count, &m->turn));
    ICD_TRY(window_init(m, &m->w));
    icd_i_bounds_spread(b, m->block_of);
    for (int32_t k = 0, z = 0; k < b->count; ++k) {
        while (zones && b->at[k] >= zones->at[z + 1]) z++;
        m->zone_of[k] = z;
        m->turn[k] = k;
    }
    for (int32_t v = 0; v < m->g->n; ++v) m->place[v] = -1;
    m->cut = count_cut(m);
done:
    return status;
}

static void improving_release(improving *m)
{
    icd_i_free(m->ctx, m->slot_of);
    icd_i_free(m->ctx, m->block_of);
    icd_i_free(m->ctx, m->place);
    icd_i_free(m->ctx, m->zone_of);
    icd_i_free(m->ctx, m->bond);
    icd_i_free(m->ctx, m->touched);
    icd_i_free(m->ctx, m->visits);
    icd_i_free(m->ctx, m->turn);
    window_release(m->ctx, &m->w);
}

icd_status icd_i_improve(icd_ctx *ctx, const icd_wgraph *g,
                         const icd_improve_params *params, int32_t *order,
                         int64_t *passes)
{
    icd_status status = ICD_OK;
    int64_t reached;
    improving m = {.ctx = ctx, .g = g, .p = params, .order = order, .passes = passes};
    if (g->n < 2 || params->blocks->count < 2 || g->ptr[g->n] == 0) return ICD_OK;
    if (icd_i_now() >= params->until || icd_i_budget_over(params->budget)) return ICD_OK;
    double total = (double)total_weight(g);
    m.watch = (icd_watch){ctx, params->begin, params->end, total};
    m.enough = (int64_t)(params->enough * total * (1 + 2e-6));
    m.rate = FIRST_RATE;
    m.hot = WARMTH * sqrt((double)g->ptr[g->n] / g->n);
    icd_i_rng_init(&m.rng, params->seed, 31);
    ICD_TRY(improving_init(&m));
    bool whole = (int64_t)g->n * params->blocks->count <= WHOLE;
    if (params->offers > 0)
        ICD_TRY(anneal_whole(&m, SHORTER * m.hot, params->offers, &reached));
    else
        ICD_TRY(whole ? run_whole(&m) : run_windows(&m));
    icd_i_watch_tell(&m.watch, m.cut);
done:
    improving_release(&m);
    return status;
}
