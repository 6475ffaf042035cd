#include "solver/wgraph.h"

#include "base/mem.h"
#include "base/threads.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Kept free above the sum of all weights, so that a gain (twice a row sum) fits int32. */
enum { TOTAL_BITS = 29, CHUNK_ENTRIES = 1 << 18 };

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
    ICD_TRY(ICD_ALLOC_UNSET(ctx, nnz, &g->edge));
    ICD_TRY(ICD_ALLOC(ctx, n, &g->size));
    g->n = (int32_t)n;
    for (int64_t v = 0; v < n; ++v) g->size[v] = 1;
done:
    return status;
}

typedef struct scaling {
    icd_ctx *ctx;
    const icd_csr *w;
    double scale;
    icd_edge *edge;
} scaling;

static void scale_entries(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    const scaling *s = arg;
    int64_t begin, end;
    (void)worker;
    icd_i_chunk_range(s->w->nnz, chunk, chunks, &begin, &end);
    if (icd_i_cancelled(s->ctx)) return;
    for (int64_t k = begin; k < end; ++k)
        s->edge[k] = (icd_edge){s->w->col[k], quantise(s->w->val[k], s->scale)};
}

static icd_status build_plain(icd_ctx *ctx, const icd_csr *w, icd_wgraph *g)
{
    icd_status status;
    ICD_TRY(graph_alloc(ctx, w->n, w->nnz, g));
    memcpy(g->ptr, w->row_ptr, (size_t)(w->n + 1) * sizeof *g->ptr);
    scaling s = {ctx, w, weight_scale(w), g->edge};
    icd_i_parallel(ctx, w->nnz / CHUNK_ENTRIES + 1, scale_entries, &s);
    status = icd_i_check_cancel(ctx);
done:
    return status;
}

size_t icd_i_wgraph_bytes(int64_t n, int64_t nnz)
{
    return (size_t)n * (sizeof(int64_t) + 5 * sizeof(int32_t)) +
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
    ICD_TRY(ICD_ALLOC_UNSET(ctx, (int64_t)work.size, &work.base));
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

/* Where the edge to a group stands in the row in work: at[d] - base, if that is not
 * negative. `base` rises from row to row, so that at[] need not be cleared; it begins
 * above the numbers of groups, for at[] also serves as a list of them. */
typedef struct places {
    int32_t *at;     /* group -> */
    int32_t *weight; /* place, or group -> of the edges found so far; 0 between rows */
    int32_t base, groups;
} places;

enum { SCAN = 2 }; /* groups that are looked at in the time of one edge */

/* @param memory [in] 2 groups int32 */
static void places_init(places *p, int32_t *memory, int32_t groups)
{
    *p = (places){memory, memory + groups, groups, groups};
    memset(memory, 0, 2 * (size_t)groups * sizeof *memory);
}

static int64_t row_limit(const icd_wgraph *g, const int32_t *member, int32_t count)
{
    int64_t limit = 0;
    for (int32_t m = 0; m < count; ++m)
        limit += g->ptr[member[m] + 1] - g->ptr[member[m]];
    return limit;
}

static void write_weights(places *p, icd_edge *row, int32_t length)
{
    for (int32_t i = 0; i < length; ++i) {
        row[i].w = p->weight[i];
        p->weight[i] = 0;
    }
}

/* A row with many edges for the number of groups: all groups are looked at afterwards,
 * and those that got weight are listed. */
static int32_t contract_dense(const icd_wgraph *g, const int32_t *map,
                              const int32_t *member, int32_t count, places *p,
                              icd_edge *row)
{
    int32_t *list = p->at, *weight = p->weight, length = 0;
    for (int32_t m = 0; m < count; ++m) {
        const icd_edge *end = g->edge + g->ptr[member[m] + 1];
        for (const icd_edge *e = g->edge + g->ptr[member[m]]; e < end; ++e)
            weight[map[e->to]] += e->w;
    }
    weight[map[member[0]]] = 0;
    for (int32_t d = 0; d < p->groups; ++d) {
        list[length] = d;
        length += weight[d] != 0;
    }
    for (int32_t i = 0; i < length; ++i) {
        row[i] = (icd_edge){list[i], weight[list[i]]};
        weight[list[i]] = 0;
    }
    return length;
}

/* Loops gather in the last place that a row can have: it is free, for they are edges,
 * too, and need a group. Whether an edge is the first of its kind is hard to guess; hence
 * no branch. */
static int32_t contract_sparse(const icd_wgraph *g, const int32_t *map,
                               const int32_t *member, int32_t count, int32_t limit,
                               places *p, icd_edge *row)
{
    int32_t length = 0, loops = (limit < p->groups ? limit : p->groups) - 1;
    if (p->base > INT32_MAX - p->groups) places_init(p, p->at, p->groups);
    int32_t *at = p->at, *weight = p->weight, base = p->base;
    at[map[member[0]]] = base + loops;
    for (int32_t m = 0; m < count; ++m) {
        int32_t v = member[m];
        for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) {
            int32_t d = map[g->edge[k].to], place = at[d] - base;
            int32_t first = -(place < 0); /* a mask */
            place ^= (place ^ length) & first;
            at[d] = base + place;
            row[place].to = d;
            weight[place] += g->edge[k].w;
            length -= first;
        }
    }
    weight[loops] = length > loops ? weight[loops] : 0;
    write_weights(p, row, length);
    p->base += length > loops ? length : loops + 1;
    return length;
}

static int32_t contract_row(const icd_wgraph *g, const int32_t *map,
                            const int32_t *member, int32_t count, places *p,
                            icd_edge *row)
{
    int64_t limit = row_limit(g, member, count);
    if (limit == 0) return 0;
    if (limit * SCAN >= p->groups) return contract_dense(g, map, member, count, p, row);
    return contract_sparse(g, map, member, count, (int32_t)limit, p, row);
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
    int32_t *at = icd_i_work_take(work, 2 * (int64_t)groups, sizeof *at);
    if (!out->ptr || !out->size || !out->edge || !first || !member || !at) {
        work->used = before;
        return false;
    }
    list_members(g, map, groups, first, member);
    places where;
    places_init(&where, at, groups);
    out->ptr[0] = 0;
    for (int32_t c = 0; c < groups; ++c) {
        out->size[c] = 0;
        for (int32_t m = first[c]; m < first[c + 1]; ++m)
            out->size[c] += g->size[member[m]];
        out->ptr[c + 1] =
            out->ptr[c] + contract_row(g, map, member + first[c], first[c + 1] - first[c],
                                       &where, out->edge + out->ptr[c]);
    }
    size_t unused = (size_t)(nnz - out->ptr[groups]) * sizeof *out->edge;
    work->used = scratch - (unused & ~(size_t)15);
    return true;
}

/* A contraction whose rows are made in parallel, each where it would stand if no edges
 * merged. */
typedef struct contraction {
    icd_ctx *ctx;
    const icd_wgraph *g;
    const int32_t *map, *first, *member;
    const int64_t *begin; /* group -> where its row may begin */
    int32_t groups;
    places *places; /* of each worker */
    icd_edge *wide, *edge;
    int64_t *ptr;
    int32_t *size;
} contraction;

enum { CHUNK = 4096 }; /* rows that a thread makes at once */

static void make_rows(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    contraction *c = arg;
    int64_t begin, end;
    icd_i_chunk_range(c->groups, chunk, chunks, &begin, &end);
    for (int64_t k = begin; k < end && !icd_i_cancelled(c->ctx); ++k) {
        const int32_t *member = c->member + c->first[k];
        int32_t count = c->first[k + 1] - c->first[k];
        c->size[k] = 0;
        for (int32_t m = 0; m < count; ++m) c->size[k] += c->g->size[member[m]];
        c->ptr[k + 1] = contract_row(c->g, c->map, member, count, &c->places[worker],
                                     c->wide + c->begin[k]);
    }
}

static void copy_rows(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    contraction *c = arg;
    int64_t begin, end;
    (void)worker;
    icd_i_chunk_range(c->groups, chunk, chunks, &begin, &end);
    for (int64_t k = begin; k < end; ++k)
        memcpy(c->edge + c->ptr[k], c->wide + c->begin[k],
               (size_t)(c->ptr[k + 1] - c->ptr[k]) * sizeof *c->edge);
}

static void find_begins(const contraction *c, int64_t *begin)
{
    int64_t at = 0;
    for (int32_t k = 0; k < c->groups; ++k) {
        begin[k] = at;
        for (int32_t m = c->first[k]; m < c->first[k + 1]; ++m)
            at += c->g->ptr[c->member[m] + 1] - c->g->ptr[c->member[m]];
    }
}

static int64_t chunks_of(int32_t rows)
{
    return (rows + (int64_t)CHUNK - 1) / CHUNK;
}

icd_status icd_i_wgraph_contract_new(icd_ctx *ctx, const icd_wgraph *g,
                                     const int32_t *map, int32_t groups, icd_wgraph *out)
{
    icd_status status;
    int32_t *first = NULL, *member = NULL, *at = NULL;
    int64_t *begin = NULL;
    contraction c = {.ctx = ctx, .g = g, .map = map, .groups = groups};
    *out = (icd_wgraph){.n = groups};
    ICD_TRY(ICD_ALLOC(ctx, groups + (int64_t)1, &first));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &member));
    ICD_TRY(ICD_ALLOC(ctx, groups, &begin));
    ICD_TRY(ICD_ALLOC_UNSET(ctx, (int64_t)groups * 2 * icd_ctx_threads(ctx), &at));
    ICD_TRY(ICD_ALLOC(ctx, icd_ctx_threads(ctx), &c.places));
    for (int32_t i = 0; i < icd_ctx_threads(ctx); ++i)
        places_init(&c.places[i], at + (int64_t)i * 2 * groups, groups);
    ICD_TRY(ICD_ALLOC_UNSET(ctx, g->ptr[g->n], &c.wide));
    ICD_TRY(ICD_ALLOC(ctx, groups + (int64_t)1, &out->ptr));
    ICD_TRY(ICD_ALLOC(ctx, groups, &out->size));
    list_members(g, map, groups, first, member);
    c.first = first;
    c.member = member;
    c.begin = begin;
    c.ptr = out->ptr;
    c.size = out->size;
    find_begins(&c, begin);
    icd_i_parallel(ctx, chunks_of(groups), make_rows, &c);
    ICD_TRY(icd_i_check_cancel(ctx));
    for (int32_t k = 0; k < groups; ++k) out->ptr[k + 1] += out->ptr[k];
    ICD_TRY(ICD_ALLOC_UNSET(ctx, out->ptr[groups], &out->edge));
    c.edge = out->edge;
    icd_i_parallel(ctx, chunks_of(groups), copy_rows, &c);
done:
    icd_i_free(ctx, first);
    icd_i_free(ctx, member);
    icd_i_free(ctx, begin);
    icd_i_free(ctx, at);
    icd_i_free(ctx, c.places);
    icd_i_free(ctx, c.wide);
    if (status != ICD_OK) icd_i_wgraph_release(ctx, out);
    return status;
}

typedef struct renaming {
    icd_ctx *ctx;
    const icd_wgraph *g;
    const int32_t *order;
    int32_t *slot_of;
    icd_wgraph *out;
} renaming;

static void rename_rows(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    const renaming *r = arg;
    const icd_wgraph *g = r->g;
    int64_t begin, end;
    (void)worker;
    icd_i_chunk_range(g->n, chunk, chunks, &begin, &end);
    if (icd_i_cancelled(r->ctx)) return;
    for (int64_t i = begin; i < end; ++i) {
        int32_t v = r->order[i];
        icd_edge *to = r->out->edge + r->out->ptr[i];
        r->out->size[i] = g->size[v];
        for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k)
            *to++ = (icd_edge){r->slot_of[g->edge[k].to], g->edge[k].w};
    }
}

icd_status icd_i_wgraph_rename(icd_ctx *ctx, const icd_wgraph *g, const int32_t *order,
                               icd_wgraph *out)
{
    icd_status status;
    renaming r = {.ctx = ctx, .g = g, .order = order, .out = out};
    ICD_TRY(graph_alloc(ctx, g->n, g->ptr[g->n], out));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &r.slot_of));
    for (int32_t i = 0; i < g->n; ++i) {
        r.slot_of[order[i]] = i;
        out->ptr[i + 1] = out->ptr[i] + g->ptr[order[i] + 1] - g->ptr[order[i]];
    }
    icd_i_parallel(ctx, chunks_of(g->n), rename_rows, &r);
    ICD_TRY(icd_i_check_cancel(ctx));
done:
    icd_i_free(ctx, r.slot_of);
    if (status != ICD_OK) icd_i_wgraph_release(ctx, out);
    return status;
}

int64_t icd_i_wgraph_cut(const icd_wgraph *g, const int32_t *part)
{
    int64_t cut = 0;
    for (int32_t v = 0; v < g->n; ++v)
        for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k)
            if (part[v] != part[g->edge[k].to]) cut += g->edge[k].w;
    return cut / 2;
}
