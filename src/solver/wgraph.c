#include "solver/wgraph.h"

#include "base/mem.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Kept free above the sum of all weights, so that a gain (twice a row sum) fits int32. */
enum { TOTAL_BITS = 29 };

/* Pairwise by row, so that the scale does not depend on the number of threads. */
static double total_weight(const icd_csr *w)
{
    double total = 0;
    for (int64_t i = 0; i < w->n; ++i) {
        double row = 0;
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; ++k)
            row += (double)w->val[k];
        total += row;
    }
    return total / 2;
}

/* A power of two: weights that are small whole numbers stay exact. */
static double weight_scale(const icd_csr *w)
{
    int exponent = 0;
    double total = total_weight(w);
    if (!(total > 0)) return 1;
    frexp(total, &exponent);
    return ldexp(1, TOTAL_BITS - exponent);
}

static int32_t quantise(float value, double scale)
{
    double scaled = (double)value * scale + 0.5;
    return scaled < 1 ? 1 : (int32_t)scaled;
}

static icd_status graph_alloc(icd_ctx *ctx, int64_t n, int64_t nnz, icd_wgraph *g)
{
    icd_status status;
    memset(g, 0, sizeof *g);
    ICD_TRY(ICD_ALLOC(ctx, n + 1, &g->ptr));
    ICD_TRY(ICD_ALLOC(ctx, nnz, &g->edge));
    ICD_TRY(ICD_ALLOC(ctx, n, &g->size));
    g->n = (int32_t)n;
    for (int64_t v = 0; v < n; ++v) g->size[v] = 1;
done:
    return status;
}

static icd_status build_plain(icd_ctx *ctx, const icd_csr *w, icd_wgraph *g)
{
    icd_status status;
    double scale = weight_scale(w);
    ICD_TRY(graph_alloc(ctx, w->n, w->nnz, g));
    memcpy(g->ptr, w->row_ptr, (size_t)(w->n + 1) * sizeof *g->ptr);
    for (int64_t k = 0; k < w->nnz; ++k)
        g->edge[k] = (icd_edge){w->col[k], quantise(w->val[k], scale)};
done:
    return status;
}

size_t icd_i_wgraph_bytes(int64_t n, int64_t nnz)
{
    return (size_t)n * (sizeof(int64_t) + 4 * sizeof(int32_t)) +
           (size_t)nnz * sizeof(icd_edge) + 128;
}

static icd_status copy_out(icd_ctx *ctx, const icd_wgraph *from, icd_wgraph *g)
{
    icd_status status;
    int64_t nnz = from->ptr[from->n];
    ICD_TRY(graph_alloc(ctx, from->n, nnz, g));
    memcpy(g->ptr, from->ptr, (size_t)(from->n + 1) * sizeof *g->ptr);
    if (nnz) memcpy(g->edge, from->edge, (size_t)nnz * sizeof *g->edge);
done:
    return status;
}

static icd_status build_contracted(icd_ctx *ctx, const icd_csr *w, const int32_t *node_of,
                                   int32_t nodes, icd_wgraph *g)
{
    icd_status status;
    icd_wgraph plain = {0}, small = {0};
    icd_work work = {.size = icd_i_wgraph_bytes(w->n, w->nnz)};
    ICD_TRY(build_plain(ctx, w, &plain));
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)work.size, &work.base));
    if (!icd_i_wgraph_contract(&plain, node_of, nodes, &work, &small)) {
        status = icd_i_fail(ctx, ICD_EINTERNAL, "contraction", NULL,
                            "the workspace was counted too small");
        goto done;
    }
    ICD_TRY(copy_out(ctx, &small, g));
done:
    icd_i_free(ctx, work.base);
    icd_i_wgraph_release(ctx, &plain);
    return status;
}

icd_status icd_i_wgraph_build(icd_ctx *ctx, const icd_csr *w, const int32_t *node_of,
                              int32_t nodes, icd_wgraph *g)
{
    icd_status status =
        node_of ? build_contracted(ctx, w, node_of, nodes, g) : build_plain(ctx, w, g);
    if (status != ICD_OK) icd_i_wgraph_release(ctx, g);
    return status;
}

void icd_i_wgraph_release(icd_ctx *ctx, icd_wgraph *g)
{
    icd_i_free(ctx, g->ptr);
    icd_i_free(ctx, g->edge);
    icd_i_free(ctx, g->size);
    memset(g, 0, sizeof *g);
}

/* member[first[c]..first[c+1]) = the nodes of group c, ascending; first is shifted by one
 * while it is filled. */
static void list_members(const icd_wgraph *g, const int32_t *map, int32_t groups,
                         int32_t *first, int32_t *member)
{
    memset(first, 0, (size_t)(groups + 1) * sizeof *first);
    for (int32_t v = 0; v < g->n; ++v) first[map[v] + 1]++;
    for (int32_t c = 0; c < groups; ++c) first[c + 1] += first[c];
    for (int32_t v = 0; v < g->n; ++v) member[first[map[v]]++] = v;
    memmove(first + 1, first, (size_t)groups * sizeof *first);
    first[0] = 0;
}

/* at[d] remembers where group d stands in the row; it is stale, and harmless, unless the
 * edge found there leads to d. */
static int64_t contract_row(const icd_wgraph *g, const int32_t *map,
                            const int32_t *member, int32_t count, int32_t *at,
                            icd_edge *row)
{
    int32_t length = 0;
    for (int32_t m = 0; m < count; ++m) {
        int32_t v = member[m], self = map[v];
        for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) {
            int32_t d = map[g->edge[k].to];
            if (d == self) continue;
            if (at[d] < length && row[at[d]].to == d) {
                row[at[d]].w += g->edge[k].w;
            } else {
                at[d] = length;
                row[length++] = (icd_edge){d, g->edge[k].w};
            }
        }
    }
    return length;
}

bool icd_i_wgraph_contract(const icd_wgraph *g, const int32_t *map, int32_t groups,
                           icd_work *work, icd_wgraph *out)
{
    size_t before = work->used;
    int64_t nnz = g->ptr[g->n];
    *out = (icd_wgraph){.n = groups};
    out->ptr = icd_i_work_take(work, groups + 1, sizeof *out->ptr);
    out->size = icd_i_work_take(work, groups, sizeof *out->size);
    out->edge = icd_i_work_take(work, nnz, sizeof *out->edge);
    size_t scratch = work->used;
    int32_t *first = icd_i_work_take(work, groups + 1, sizeof *first);
    int32_t *member = icd_i_work_take(work, g->n, sizeof *member);
    int32_t *at = icd_i_work_take(work, groups, sizeof *at);
    if (!out->ptr || !out->size || !out->edge || !first || !member || !at) {
        work->used = before;
        return false;
    }
    list_members(g, map, groups, first, member);
    memset(at, 0, (size_t)groups * sizeof *at);
    out->ptr[0] = 0;
    for (int32_t c = 0; c < groups; ++c) {
        out->size[c] = 0;
        for (int32_t m = first[c]; m < first[c + 1]; ++m)
            out->size[c] += g->size[member[m]];
        out->ptr[c + 1] =
            out->ptr[c] + contract_row(g, map, member + first[c], first[c + 1] - first[c],
                                       at, out->edge + out->ptr[c]);
    }
    size_t unused = (size_t)(nnz - out->ptr[groups]) * sizeof *out->edge;
    work->used = scratch - (unused & ~(size_t)15);
    return true;
}

int64_t icd_i_wgraph_cut(const icd_wgraph *g, const int32_t *part)
{
    int64_t cut = 0;
    for (int32_t v = 0; v < g->n; ++v)
        for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k)
            if (part[v] != part[g->edge[k].to]) cut += g->edge[k].w;
    return cut / 2;
}
