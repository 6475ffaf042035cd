#include "solver/solve.h"

#if defined(ICD_HAVE_METIS) || defined(ICD_HAVE_SCOTCH)

#include "base/mem.h"
#include "solver/repair.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#ifdef ICD_HAVE_METIS
#include <metis.h>
_Static_assert(sizeof(idx_t) == sizeof(int32_t), "METIS with 32-bit indices");
#endif
#ifdef ICD_HAVE_SCOTCH
#include <scotch.h>
_Static_assert(sizeof(SCOTCH_Num) == sizeof(int32_t), "SCOTCH with 32-bit indices");
#endif

enum { SEEDS = 1 << 30 };

/* A graph as both libraries want it. */
typedef struct peer_graph {
    int32_t n, seed;
    int32_t *ptr, *adj, *weight;
} peer_graph;

/* Divides a graph into `parts` parts of about the same size. */
typedef icd_status peer_fn(icd_ctx *ctx, peer_graph *g, int32_t parts, int32_t *part);

static void peer_release(icd_ctx *ctx, peer_graph *p)
{
    icd_i_free(ctx, p->ptr);
    icd_i_free(ctx, p->adj);
    icd_i_free(ctx, p->weight);
}

static icd_status peer_alloc(icd_ctx *ctx, int32_t n, int64_t nnz, peer_graph *p)
{
    icd_status status;
    *p = (peer_graph){.n = n};
    if (nnz > INT32_MAX)
        return icd_i_fail(ctx, ICD_EINVAL, "solver.method", "choose auto",
                          "W has %" PRId64 " entries, this library takes %" PRId32, nnz,
                          INT32_MAX);
    ICD_TRY(ICD_ALLOC(ctx, n + (int64_t)1, &p->ptr));
    ICD_TRY(ICD_ALLOC(ctx, nnz, &p->adj));
    ICD_TRY(ICD_ALLOC(ctx, nnz, &p->weight));
done:
    return status;
}

/* The subgraph of node[0..n); local[v] = place of v in that list, -1 outside. */
static void peer_fill(peer_graph *p, const icd_wgraph *g, const int32_t *node,
                      const int32_t *local)
{
    int32_t count = 0;
    for (int32_t i = 0; i < p->n; ++i) {
        for (int64_t k = g->ptr[node[i]]; k < g->ptr[node[i] + 1]; ++k) {
            if (local[g->edge[k].to] < 0) continue;
            p->adj[count] = local[g->edge[k].to];
            p->weight[count++] = g->edge[k].w;
        }
        p->ptr[i + 1] = count;
    }
}

static icd_wgraph view(const icd_wgraph *g, const peer_graph *p, int64_t *ptr,
                       icd_edge *edge)
{
    for (int32_t i = 0; i <= p->n; ++i) ptr[i] = p->ptr[i];
    for (int32_t k = 0; k < p->ptr[p->n]; ++k)
        edge[k] = (icd_edge){p->adj[k], p->weight[k]};
    return (icd_wgraph){p->n, ptr, edge, g->size};
}

/* One part of the order, slots begin..end-1, into the blocks of `bounds` that lie there.
 */
typedef struct nesting {
    icd_solve *s;
    peer_fn *fn;
    peer_graph peer;
    int64_t *ptr;
    icd_edge *edge;
    int32_t *local, *part, *node, *fresh;
} nesting;

static icd_status nesting_init(nesting *t)
{
    icd_status status;
    icd_ctx *ctx = t->s->ctx;
    int32_t n = t->s->g.n;
    int64_t nnz = t->s->g.ptr[n];
    ICD_TRY(peer_alloc(ctx, n, nnz, &t->peer));
    t->peer.seed = (int32_t)(t->s->o.seed % SEEDS);
    ICD_TRY(ICD_ALLOC(ctx, n + (int64_t)1, &t->ptr));
    ICD_TRY(ICD_ALLOC(ctx, nnz, &t->edge));
    ICD_TRY(ICD_ALLOC(ctx, n, &t->local));
    ICD_TRY(ICD_ALLOC(ctx, n, &t->part));
    ICD_TRY(ICD_ALLOC(ctx, n, &t->node));
    ICD_TRY(ICD_ALLOC(ctx, n, &t->fresh));
    for (int32_t v = 0; v < n; ++v) t->local[v] = -1;
done:
    return status;
}

static void nesting_release(nesting *t)
{
    icd_ctx *ctx = t->s->ctx;
    peer_release(ctx, &t->peer);
    icd_i_free(ctx, t->ptr);
    icd_i_free(ctx, t->edge);
    icd_i_free(ctx, t->local);
    icd_i_free(ctx, t->part);
    icd_i_free(ctx, t->node);
    icd_i_free(ctx, t->fresh);
}

static icd_status divide(nesting *t, int32_t begin, const icd_bounds *bounds,
                         int32_t *order)
{
    icd_status status;
    int32_t n = bounds->at[bounds->count];
    memcpy(t->node, order + begin, (size_t)n * sizeof *order);
    for (int32_t i = 0; i < n; ++i) t->local[t->node[i]] = i;
    t->peer.n = n;
    peer_fill(&t->peer, &t->s->g, t->node, t->local);
    memset(t->part, 0, (size_t)n * sizeof *t->part);
    ICD_TRY(t->fn(t->s->ctx, &t->peer, bounds->count, t->part));
    icd_wgraph g = view(&t->s->g, &t->peer, t->ptr, t->edge);
    ICD_TRY(icd_i_repair(t->s->ctx, &g, bounds, t->part, t->fresh));
    for (int32_t i = 0; i < n; ++i) order[begin + i] = t->node[t->fresh[i]];
done:
    for (int32_t i = 0; i < n; ++i) t->local[t->node[i]] = -1;
    return status;
}

/* Every granule again, into granules of a quarter. */
static icd_status nest(nesting *t, const icd_bounds *granules, int32_t quarter,
                       int32_t *order)
{
    icd_status status = ICD_OK;
    icd_bounds inner = {0};
    for (int32_t b = 0; b < granules->count; ++b) {
        int32_t begin = granules->at[b], n = granules->at[b + 1] - begin;
        if (n <= quarter) continue;
        if (icd_i_budget_over(&t->s->budget)) break;
        ICD_TRY(icd_i_bounds_nest(t->s->ctx, NULL, n, quarter, &inner));
        ICD_TRY(divide(t, begin, &inner, order));
        icd_i_bounds_release(t->s->ctx, &inner);
    }
done:
    icd_i_bounds_release(t->s->ctx, &inner);
    return status;
}

static icd_status run_peer(icd_solve *s, peer_fn *whole, peer_fn *inside, int32_t *order)
{
    icd_status status;
    icd_bounds granules = {0};
    nesting t = {.s = s, .fn = whole};
    for (int32_t v = 0; v < s->n; ++v) order[v] = v;
    if (s->n <= s->granule) return ICD_OK;
    ICD_TRY(nesting_init(&t));
    ICD_TRY(icd_i_bounds_nest(s->ctx, NULL, s->n, s->granule, &granules));
    ICD_TRY(divide(&t, 0, &granules, order));
    t.fn = inside;
    if (s->granule >= 4) ICD_TRY(nest(&t, &granules, s->granule / 4, order));
done:
    icd_i_bounds_release(s->ctx, &granules);
    nesting_release(&t);
    return status;
}

#ifdef ICD_HAVE_METIS

enum { METIS_SEED = 42 };

static icd_status metis(icd_ctx *ctx, peer_graph *g, int32_t parts, int32_t *part,
                        bool kway)
{
    idx_t n = g->n, constraints = 1, cut = 0, options[METIS_NOPTIONS];
    METIS_SetDefaultOptions(options);
    options[METIS_OPTION_SEED] = METIS_SEED + g->seed;
    options[METIS_OPTION_UFACTOR] = kway ? 30 : 1;
    int rc = (kway ? METIS_PartGraphKway : METIS_PartGraphRecursive)(
        &n, &constraints, g->ptr, g->adj, NULL, NULL, g->weight, &parts, NULL, NULL,
        options, &cut, part);
    if (rc == METIS_OK) return ICD_OK;
    return icd_i_fail(ctx, rc == METIS_ERROR_MEMORY ? ICD_ENOMEM : ICD_ENUMERIC, "METIS",
                      "choose another solver.method", "partitioning failed with code %d",
                      rc);
}

static icd_status metis_recursive(icd_ctx *ctx, peer_graph *g, int32_t parts,
                                  int32_t *part)
{
    return metis(ctx, g, parts, part, false);
}

static icd_status metis_kway(icd_ctx *ctx, peer_graph *g, int32_t parts, int32_t *part)
{
    return metis(ctx, g, parts, part, true);
}

icd_status icd_i_metis_recursive(icd_solve *s, int32_t *order)
{
    return run_peer(s, metis_recursive, metis_recursive, order);
}

icd_status icd_i_metis_kway(icd_solve *s, int32_t *order)
{
    return run_peer(s, metis_kway, metis_recursive, order);
}

#endif
#ifdef ICD_HAVE_SCOTCH

static icd_status scotch(icd_ctx *ctx, peer_graph *g, int32_t parts, int32_t *part)
{
    SCOTCH_Graph graph;
    SCOTCH_Strat strategy;
    SCOTCH_randomSeed(g->seed + 1);
    SCOTCH_randomReset();
    int rc = SCOTCH_graphInit(&graph) || SCOTCH_stratInit(&strategy);
    rc = rc || SCOTCH_graphBuild(&graph, 0, g->n, g->ptr, NULL, NULL, NULL, g->ptr[g->n],
                                 g->adj, g->weight);
    rc = rc || SCOTCH_graphPart(&graph, parts, &strategy, part);
    SCOTCH_stratExit(&strategy);
    SCOTCH_graphExit(&graph);
    if (!rc) return ICD_OK;
    return icd_i_fail(ctx, ICD_ENUMERIC, "SCOTCH", "choose another solver.method",
                      "partitioning failed");
}

icd_status icd_i_scotch(icd_solve *s, int32_t *order)
{
    return run_peer(s, scotch, scotch, order);
}

#endif
#endif
