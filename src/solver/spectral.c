#include "solver/fiedler.h"

#include "base/mem.h"
#include "solver/solve.h"
#include <string.h>

/* Nodes of one component, taken out as a graph of their own. */
typedef struct piece {
    icd_ctx *ctx;
    const icd_wgraph *whole;
    icd_wgraph g;
    int32_t *local; /* node -> its number in its component */
    double *key;    /* minus the Fiedler value, for a sort by falling key */
    int32_t *rank;
} piece;

static icd_status piece_init(piece *p)
{
    icd_status status;
    int32_t n = p->whole->n;
    ICD_TRY(ICD_ALLOC(p->ctx, n + (int64_t)1, &p->g.ptr));
    ICD_TRY(ICD_ALLOC(p->ctx, p->whole->ptr[n], &p->g.edge));
    ICD_TRY(ICD_ALLOC(p->ctx, n, &p->g.size));
    ICD_TRY(ICD_ALLOC(p->ctx, n, &p->local));
    ICD_TRY(ICD_ALLOC(p->ctx, n, &p->key));
    ICD_TRY(ICD_ALLOC(p->ctx, n, &p->rank));
    for (int32_t v = 0; v < n; ++v) p->g.size[v] = 1;
done:
    return status;
}

static void piece_release(piece *p)
{
    icd_i_wgraph_release(p->ctx, &p->g);
    icd_i_free(p->ctx, p->local);
    icd_i_free(p->ctx, p->key);
    icd_i_free(p->ctx, p->rank);
}

static void take_out(piece *p, const int32_t *node, int32_t n)
{
    int64_t count = 0;
    p->g.n = n;
    for (int32_t i = 0; i < n; ++i) p->local[node[i]] = i;
    for (int32_t i = 0; i < n; ++i) {
        for (int64_t k = p->whole->ptr[node[i]]; k < p->whole->ptr[node[i] + 1]; ++k) {
            icd_edge e = p->whole->edge[k];
            p->g.edge[count++] = (icd_edge){p->local[e.to], e.w};
        }
        p->g.ptr[i + 1] = count;
    }
}

/* node[0..n) of one component into the order of its Fiedler vector. */
static icd_status sort_piece(piece *p, int32_t *node, int32_t n)
{
    icd_status status;
    icd_laplacian l = {0};
    double value = 0;
    if (n < 3) return ICD_OK;
    take_out(p, node, n);
    ICD_TRY(icd_i_laplacian_init(p->ctx, NULL, &p->g, true, NULL, &l));
    ICD_TRY(icd_i_fiedler(p->ctx, &l, &p->g, p->key, &value));
    ICD_TRY(icd_i_sort_falling(p->ctx, p->key, n, p->rank));
    for (int32_t i = 0; i < n; ++i) p->local[i] = node[p->rank[i]];
    memcpy(node, p->local, (size_t)n * sizeof *node);
done:
    icd_i_laplacian_release(p->ctx, &l);
    return status;
}

/* Nodes grouped by component, large components first. */
static icd_status group(icd_ctx *ctx, const icd_wgraph *g, int32_t *order,
                        int32_t **sizes, int32_t *count)
{
    icd_status status;
    int32_t *component = NULL, *rank = NULL, *start = NULL;
    double *size = NULL;
    ICD_TRY(ICD_ALLOC(ctx, g->n, &component));
    *count = icd_i_components(g, component, order);
    ICD_TRY(ICD_ALLOC(ctx, *count, &size));
    ICD_TRY(ICD_ALLOC(ctx, *count, &rank));
    ICD_TRY(ICD_ALLOC(ctx, *count, &start));
    ICD_TRY(ICD_ALLOC(ctx, *count, sizes));
    for (int32_t v = 0; v < g->n; ++v) size[component[v]]++;
    ICD_TRY(icd_i_sort_falling(ctx, size, *count, rank));
    for (int32_t c = 0, at = 0; c < *count; ++c) {
        start[rank[c]] = at;
        (*sizes)[c] = (int32_t)size[rank[c]];
        at += (*sizes)[c];
    }
    for (int32_t v = 0; v < g->n; ++v) order[start[component[v]]++] = v;
done:
    icd_i_free(ctx, component);
    icd_i_free(ctx, rank);
    icd_i_free(ctx, start);
    icd_i_free(ctx, size);
    return status;
}

icd_status icd_i_spectral_order(icd_ctx *ctx, const icd_wgraph *g, int32_t *order)
{
    icd_status status;
    int32_t *sizes = NULL, count = 0;
    piece p = {.ctx = ctx, .whole = g};
    ICD_TRY(group(ctx, g, order, &sizes, &count));
    ICD_TRY(piece_init(&p));
    for (int32_t c = 0, at = 0; c < count; at += sizes[c++])
        ICD_TRY(sort_piece(&p, order + at, sizes[c]));
done:
    piece_release(&p);
    icd_i_free(ctx, sizes);
    return status;
}
