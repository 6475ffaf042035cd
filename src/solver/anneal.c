#include "solver/anneal.h"

#include "base/mem.h"
#include "solver/pulls.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    LOGS = 4096,     /* a table of log(r): a call of log() costs more than a proposal */
    BATCH = 1024,    /* proposals between two looks at the clock */
    STAGES = 64,     /* the best state is noticed that often */
    TABLE = 1 << 26, /* entries of the table of pulls that are worth their memory */
};

void icd_i_watch_tell(const icd_watch *watch, int64_t cut)
{
    char stage[32];
    double now = icd_i_now(), span = watch->end - watch->begin;
    if (!(span > 0)) return;
    snprintf(stage, sizeof stage, "anneal: cut %.4f",
             watch->total > 0 ? (double)cut / watch->total : 0);
    icd_i_progress(watch->ctx, stage, (int64_t)(1000 * (now - watch->begin)),
                   (int64_t)(1000 * span) + 1);
}

double icd_i_anneal_heat(double offers_per_node)
{
    return offers_per_node < 6400 ? 0.4 + offers_per_node / 4000 : 2;
}

typedef struct annealing {
    icd_blocks *b;
    icd_pulls pulls; /* pull NULL: gains are counted from the edges */
    const icd_anneal_params *params;
    icd_rng rng;
    double scale; /* mean edge weight */
    int64_t cut, best_cut;
    int32_t *best_at;
    double logs[LOGS];
} annealing;

static icd_status annealing_init(icd_ctx *ctx, annealing *a)
{
    icd_status status;
    icd_blocks *b = a->b;
    double total = 0;
    for (int64_t k = 0; k < b->g.ptr[b->g.n]; ++k) total += b->g.edge[k].w;
    a->scale = total / (double)b->g.ptr[b->g.n];
    for (int32_t i = 0; i < LOGS; ++i) a->logs[i] = log((i + 0.5) / LOGS);
    icd_i_rng_init(&a->rng, a->params->seed, 5);
    a->cut = a->best_cut = icd_i_blocks_cut(b);
    ICD_TRY(ICD_ALLOC(ctx, b->g.n, &a->best_at));
    memcpy(a->best_at, b->at, (size_t)b->g.n * sizeof *b->at);
    if ((int64_t)b->g.n * b->bounds->count <= TABLE)
        ICD_TRY(icd_i_pulls_init(ctx, b, &a->pulls));
done:
    return status;
}

static int32_t edge_between(const icd_wgraph *g, int32_t v, int32_t u)
{
    if (g->ptr[v + 1] - g->ptr[v] > g->ptr[u + 1] - g->ptr[u]) {
        int32_t swap = v;
        v = u;
        u = swap;
    }
    for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k)
        if (g->edge[k].to == u) return g->edge[k].w;
    return 0;
}

/* The gain, or any lower bound of `least` that shows that it is less. */
static int64_t gain_above(annealing *a, int32_t v, int32_t u, double least)
{
    if (!a->pulls.pull) return icd_i_blocks_gain(a->b, v, u);
    int64_t gain = icd_i_pulls_gain_apart(&a->pulls, v, u);
    if ((double)gain < least) return gain;
    return gain - 2 * (int64_t)edge_between(&a->b->g, v, u);
}

/* A node and a member of the block of one of its neighbours. */
static bool propose(annealing *a, int32_t *v, int32_t *u)
{
    icd_blocks *b = a->b;
    *v = (int32_t)icd_i_rng_below(&a->rng, b->g.n);
    int64_t degree = b->g.ptr[*v + 1] - b->g.ptr[*v];
    if (degree == 0) return false;
    int64_t k = b->g.ptr[*v] + icd_i_rng_below(&a->rng, degree);
    int32_t block = b->block_of[b->g.edge[k].to];
    if (block == b->block_of[*v]) return false;
    int32_t first = b->bounds->at[block], size = b->bounds->at[block + 1] - first;
    *u = b->at[first + icd_i_rng_below(&a->rng, size)];
    return icd_i_blocks_free(b, *v) && icd_i_blocks_free(b, *u);
}

static void step(annealing *a, double temperature)
{
    int32_t v, u;
    if (!propose(a, &v, &u)) return;
    double least = temperature * a->logs[icd_i_rng_u32(&a->rng) % LOGS];
    int64_t gain = gain_above(a, v, u, least);
    if ((double)gain < least) return;
    a->cut -= gain;
    if (a->pulls.pull)
        icd_i_pulls_swap(&a->pulls, v, u);
    else
        icd_i_blocks_swap(a->b, v, u);
}

static void remember(annealing *a)
{
    if (a->cut >= a->best_cut) return;
    a->best_cut = a->cut;
    memcpy(a->best_at, a->b->at, (size_t)a->b->g.n * sizeof *a->best_at);
}

/* Share of the plan that is behind us: of the offers, or of the time. */
static double progress(const annealing *a, int64_t done, double begin)
{
    const icd_anneal_params *p = a->params;
    if (p->offers) return (double)done / (double)p->offers;
    double span = p->until - begin;
    return span > 0 ? (icd_i_now() - begin) / span : 1;
}

static void run(annealing *a)
{
    const icd_anneal_params *p = a->params;
    double begin = icd_i_now(), share = 0;
    int64_t done = 0;
    for (int stage = 0; share < 1 && !icd_i_budget_over(p->budget);) {
        if (a->best_cut <= p->enough) break;
        double temperature = a->scale * p->hot * pow(p->cold / p->hot, share);
        int64_t batch = p->offers && p->offers - done < BATCH ? p->offers - done : BATCH;
        for (int64_t i = 0; i < batch; ++i) step(a, temperature);
        done += batch;
        share = progress(a, done, begin);
        for (; stage < STAGES * share; ++stage) {
            remember(a);
            if (p->watch) icd_i_watch_tell(p->watch, a->best_cut);
        }
    }
    remember(a);
}

/* The state of `at`, whatever it was made of. */
static void restore(icd_blocks *b, const int32_t *at)
{
    memcpy(b->at, at, (size_t)b->g.n * sizeof *at);
    for (int32_t k = 0; k < b->bounds->count; ++k)
        for (int32_t slot = b->bounds->at[k]; slot < b->bounds->at[k + 1]; ++slot) {
            b->slot_of[at[slot]] = slot;
            b->block_of[at[slot]] = k;
        }
    for (int32_t v = 0; v < b->g.n; ++v) {
        b->own[v] = 0;
        for (int64_t k = b->g.ptr[v]; k < b->g.ptr[v + 1]; ++k)
            if (b->block_of[b->g.edge[k].to] == b->block_of[v])
                b->own[v] += b->g.edge[k].w;
    }
}

icd_status icd_i_anneal(icd_ctx *ctx, icd_blocks *b, const icd_anneal_params *params,
                        bool *better)
{
    icd_status status;
    annealing a = {.b = b, .params = params};
    *better = false;
    if (b->g.ptr[b->g.n] == 0) return ICD_OK;
    ICD_TRY(annealing_init(ctx, &a));
    int64_t before = a.cut;
    run(&a);
    *better = a.best_cut < before;
done:
    icd_i_pulls_release(ctx, &a.pulls);
    if (a.best_at) restore(b, a.best_at);
    icd_i_free(ctx, a.best_at);
    return status;
}
