#include "solver/split.h"

#include "base/mem.h"
#include "base/threads.h"
#include <string.h>

/* Nodes begin..end-1 of a forest, to be divided at the boundaries first..last of `fine`.
 */
typedef struct part {
    int32_t first, last;
    int32_t begin, end;
} part;

/* The subgraphs of all parts, one behind the other: part p owns nodes begin..end-1, named
 * from 0 inside the part, the row pointers from begin + p on and the edges from the same
 * place on whichever level it is. Two copies: the parts of a level and their halves. */
typedef struct forest {
    int64_t *ptr;
    icd_edge *edge;
    int64_t *base;  /* of each part: where its edges begin */
    int32_t *order; /* the node of the given graph */
    int32_t *size;
    part *part;
    int32_t parts;
} forest;

typedef struct splitter {
    icd_ctx *ctx;
    const icd_bounds *fine;
    const icd_bisect_params *params;
    uint64_t seed;
    forest now, next;
    icd_work *lane;
    int32_t lanes;
    int32_t *child; /* of each part: number of its first child in `next` */
} splitter;

static icd_wgraph part_graph(const forest *f, int32_t p)
{
    const part *range = &f->part[p];
    return (icd_wgraph){range->end - range->begin, f->ptr + range->begin + p,
                        f->edge + f->base[p], f->size + range->begin};
}

static void forest_release(icd_ctx *ctx, forest *f)
{
    icd_i_free(ctx, f->ptr);
    icd_i_free(ctx, f->edge);
    icd_i_free(ctx, f->base);
    icd_i_free(ctx, f->order);
    icd_i_free(ctx, f->size);
    icd_i_free(ctx, f->part);
}

static icd_status forest_alloc(icd_ctx *ctx, int64_t n, int64_t nnz, int64_t parts,
                               forest *f)
{
    icd_status status;
    ICD_TRY(ICD_ALLOC(ctx, n + parts + 1, &f->ptr));
    ICD_TRY(ICD_ALLOC_UNSET(ctx, nnz, &f->edge));
    ICD_TRY(ICD_ALLOC(ctx, parts, &f->base));
    ICD_TRY(ICD_ALLOC(ctx, n, &f->order));
    ICD_TRY(ICD_ALLOC(ctx, n, &f->size));
    ICD_TRY(ICD_ALLOC(ctx, parts, &f->part));
done:
    return status;
}

static void list_parts(splitter *s, const icd_parts *start)
{
    for (int32_t p = 0; p < start->count; ++p)
        s->now.part[p] = (part){start->first[p], start->first[p + 1], start->begin[p],
                                start->begin[p + 1]};
    s->now.parts = start->count;
}

/* The given graph, and where its nodes stand. */
typedef struct filling {
    splitter *s;
    const icd_wgraph *g;
    int32_t *place_of;
} filling;

/* Every edge is written; the next one takes its place unless it belongs there. */
static void fill_part(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    const filling *from = arg;
    const icd_wgraph *g = from->g;
    forest *f = &from->s->now;
    int32_t p = (int32_t)chunk, begin = f->part[p].begin, n = f->part[p].end - begin;
    int64_t *ptr = f->ptr + begin + p;
    icd_edge *edge = f->edge + f->base[p];
    int64_t count = 0;
    (void)chunks;
    (void)worker;
    ptr[0] = 0;
    if (icd_i_cancelled(from->s->ctx)) return;
    for (int32_t i = 0; i < n; ++i) {
        int32_t v = f->order[begin + i];
        f->size[begin + i] = g->size[v];
        for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) {
            int32_t to = from->place_of[g->edge[k].to] - begin;
            edge[count] = (icd_edge){to, g->edge[k].w};
            count += (uint32_t)to < (uint32_t)n;
        }
        ptr[i + 1] = count;
    }
}

/* Every part has room for all edges of its nodes. */
static void find_bases(const filling *from)
{
    forest *f = &from->s->now;
    int64_t at = 0;
    for (int32_t p = 0; p < f->parts; ++p) {
        f->base[p] = at;
        for (int32_t i = f->part[p].begin; i < f->part[p].end; ++i)
            at += from->g->ptr[f->order[i] + 1] - from->g->ptr[f->order[i]];
    }
}

static icd_status fill_forest(splitter *s, const icd_wgraph *g, const int32_t *order)
{
    icd_status status;
    filling from = {.s = s, .g = g};
    ICD_TRY(ICD_ALLOC(s->ctx, g->n, &from.place_of));
    memcpy(s->now.order, order, (size_t)g->n * sizeof *order);
    for (int32_t k = 0; k < g->n; ++k) from.place_of[order[k]] = k;
    find_bases(&from);
    icd_i_parallel(s->ctx, s->now.parts, fill_part, &from);
    ICD_TRY(icd_i_check_cancel(s->ctx));
done:
    icd_i_free(s->ctx, from.place_of);
    return status;
}

/* The boundary nearest to the middle, so that both halves hold as many blocks as slots.
 */
static int32_t middle(const part *p)
{
    return p->first + (p->last - p->first) / 2;
}

/* The two halves keep the order of their nodes: the k-th of the left half is numbered k,
 * that of the right one ~k. */
static void number_halves(splitter *s, int32_t p, const uint8_t *side, int32_t *local)
{
    const part *range = &s->now.part[p];
    part *child = &s->next.part[s->child[p]];
    int32_t next[2] = {0, 0};
    for (int32_t i = 0; i < range->end - range->begin; ++i)
        local[i] = next[side[i]]++ ^ -side[i];
    child[0].begin = range->begin;
    child[0].end = child[1].begin = range->begin + next[0];
    child[1].end = range->end;
}

/* As above; there is room, for the halves had no fewer edges before than they have now.
 */
static void write_half(splitter *s, int32_t p, int half, const uint8_t *side,
                       const int32_t *local)
{
    int32_t flip = -half; /* turns the numbers of this half into k, the others into ~k */
    icd_wgraph g = part_graph(&s->now, p);
    int32_t child = s->child[p] + half, from = s->now.part[p].begin;
    forest *f = &s->next;
    int32_t place = f->part[child].begin;
    int64_t *ptr = f->ptr + place + child, count = 0;
    f->base[child] = half ? f->base[child - 1] + ptr[-1] : s->now.base[p];
    icd_edge *edge = f->edge + f->base[child];
    *ptr++ = 0;
    for (int32_t i = 0; i < g.n; ++i) {
        if (side[i] != half) continue;
        f->order[place] = s->now.order[from + i];
        f->size[place++] = g.size[i];
        for (int64_t k = g.ptr[i]; k < g.ptr[i + 1]; ++k) {
            int32_t to = local[g.edge[k].to] ^ flip;
            edge[count] = (icd_edge){to, g.edge[k].w};
            count += to >= 0;
        }
        *ptr++ = count;
    }
}

static void copy_part(splitter *s, int32_t p)
{
    const part *range = &s->now.part[p];
    s->next.part[s->child[p]] = *range;
    if (range->end > range->begin)
        memcpy(s->next.order + range->begin, s->now.order + range->begin,
               (size_t)(range->end - range->begin) * sizeof *s->now.order);
}

static size_t part_bytes(const splitter *s, int32_t p)
{
    const part *range = &s->now.part[p];
    if (range->last - range->first < 2) return 0;
    icd_wgraph g = part_graph(&s->now, p);
    return icd_i_bisect_bytes(g.n, g.ptr[g.n]) + (size_t)g.n * 8 + 64;
}

/* The share of the part's slots that lie before the middle boundary: exact where nodes
 * take one slot each, for then the part holds just the slots between its boundaries. */
static int32_t left_target(const splitter *s, const part *range, const icd_wgraph *g)
{
    const int32_t *at = s->fine->at;
    int64_t total = 0, slots = at[range->last] - at[range->first];
    for (int32_t v = 0; v < g->n; ++v) total += g->size[v];
    return (int32_t)(total * (at[middle(range)] - at[range->first]) / slots);
}

/* How far coarsening gets may not depend on the part's neighbours: it sees its own share.
 */
static void divide_part(splitter *s, int32_t p, char *memory)
{
    const part *range = &s->now.part[p];
    if (range->last - range->first < 2) {
        copy_part(s, p);
        return;
    }
    icd_rng rng;
    icd_work work = {memory, part_bytes(s, p), 0};
    icd_wgraph g = part_graph(&s->now, p);
    uint8_t *side = icd_i_work_take(&work, g.n, sizeof *side);
    int32_t *local = icd_i_work_take(&work, g.n, sizeof *local);
    icd_i_rng_init(&rng, s->seed, (uint64_t)range->first << 32 | (uint64_t)range->last);
    icd_i_bisect(&g, left_target(s, range, &g), s->params, &rng, &work, side);
    number_halves(s, p, side, local);
    write_half(s, p, 0, side, local);
    write_half(s, p, 1, side, local);
}

static void divide_chunk(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    splitter *s = arg;
    (void)chunks;
    divide_part(s, (int32_t)chunk, s->lane[worker].base);
}

/* Children are numbered before the parts are divided, so that any thread can write its
 * own. */
static bool plan_children(splitter *s)
{
    forest *f = &s->next;
    bool open = false;
    f->parts = 0;
    for (int32_t p = 0; p < s->now.parts; ++p) {
        const part *range = &s->now.part[p];
        s->child[p] = f->parts;
        if (range->last - range->first < 2) {
            f->part[f->parts++] = *range;
        } else {
            open = true;
            f->part[f->parts++] = (part){.first = range->first, .last = middle(range)};
            f->part[f->parts++] = (part){.first = middle(range), .last = range->last};
        }
    }
    return open;
}

static void free_lanes(splitter *s)
{
    for (int32_t i = 0; i < s->lanes; ++i) {
        icd_i_free(s->ctx, s->lane[i].base);
        s->lane[i] = (icd_work){0};
    }
    s->lanes = 0;
}

static icd_status make_lanes(splitter *s)
{
    icd_status status = ICD_OK;
    size_t most = 0;
    int32_t wanted = s->now.parts > 1 ? icd_ctx_threads(s->ctx) : 1;
    for (int32_t p = 0; p < s->now.parts; ++p)
        if (part_bytes(s, p) > most) most = part_bytes(s, p);
    if (s->lanes == wanted && s->lane[0].size >= most) return ICD_OK;
    free_lanes(s);
    for (; s->lanes < wanted; ++s->lanes) {
        icd_work *lane = &s->lane[s->lanes];
        ICD_TRY(ICD_ALLOC_UNSET(s->ctx, (int64_t)most, &lane->base));
        lane->size = most;
    }
done:
    return status;
}

static icd_status divide_level(splitter *s)
{
    icd_status status;
    ICD_TRY(make_lanes(s));
    icd_i_parallel(s->ctx, s->now.parts, divide_chunk, s);
    forest swap = s->now;
    s->now = s->next;
    s->next = swap;
done:
    return status;
}

static void splitter_release(splitter *s)
{
    free_lanes(s);
    icd_i_free(s->ctx, s->lane);
    icd_i_free(s->ctx, s->child);
    forest_release(s->ctx, &s->now);
    forest_release(s->ctx, &s->next);
}

static icd_status splitter_init(splitter *s, const icd_wgraph *g, const icd_parts *start,
                                const int32_t *order)
{
    icd_status status;
    int64_t nnz = g->ptr[g->n], most = s->fine->count;
    ICD_TRY(forest_alloc(s->ctx, g->n, nnz, most, &s->now));
    ICD_TRY(forest_alloc(s->ctx, g->n, nnz, most, &s->next));
    ICD_TRY(ICD_ALLOC(s->ctx, most, &s->child));
    ICD_TRY(ICD_ALLOC(s->ctx, icd_ctx_threads(s->ctx), &s->lane));
    list_parts(s, start);
    ICD_TRY(fill_forest(s, g, order));
done:
    return status;
}

icd_status icd_i_split_parts(icd_ctx *ctx, const icd_wgraph *g, const icd_parts *start,
                             const icd_split_params *params, int32_t *order,
                             int32_t *block_of)
{
    icd_status status;
    splitter s = {ctx, params->fine, params->bisect, params->seed, .lanes = 0};
    if (g->n == 0) return ICD_OK;
    ICD_TRY(splitter_init(&s, g, start, order));
    while (!icd_i_budget_over(s.params->budget) && plan_children(&s))
        ICD_TRY(divide_level(&s));
    memcpy(order, s.now.order, (size_t)g->n * sizeof *order);
    for (int32_t p = 0; block_of && p < s.now.parts; ++p)
        for (int32_t k = s.now.part[p].begin; k < s.now.part[p].end; ++k)
            block_of[order[k]] = s.now.part[p].first;
done:
    splitter_release(&s);
    return status;
}

icd_status icd_i_parts_init(icd_ctx *ctx, const icd_bounds *coarse,
                            const icd_bounds *fine, icd_parts *parts)
{
    icd_status status;
    int32_t whole[2] = {0, fine->at[fine->count]}, first = 0;
    icd_bounds one = {whole, 1};
    if (!coarse) coarse = &one;
    ICD_TRY(ICD_ALLOC(ctx, coarse->count + (int64_t)1, &parts->first));
    ICD_TRY(ICD_ALLOC(ctx, coarse->count + (int64_t)1, &parts->begin));
    parts->count = coarse->count;
    for (int32_t b = 0; b <= coarse->count; ++b) {
        while (fine->at[first] < coarse->at[b]) first++;
        parts->first[b] = first;
        parts->begin[b] = coarse->at[b];
    }
done:
    return status;
}

void icd_i_parts_release(icd_ctx *ctx, icd_parts *parts)
{
    icd_i_free(ctx, parts->first);
    icd_i_free(ctx, parts->begin);
    *parts = (icd_parts){0};
}

icd_status icd_i_split(icd_ctx *ctx, const icd_wgraph *g, const icd_bounds *coarse,
                       const icd_bounds *fine, const icd_bisect_params *params,
                       uint64_t seed, int32_t *order, int32_t *block_of)
{
    icd_status status;
    icd_parts start = {0};
    icd_split_params split = {fine, params, seed};
    ICD_TRY(icd_i_parts_init(ctx, coarse, fine, &start));
    if (!coarse) start.begin[1] = g->n;
    ICD_TRY(icd_i_split_parts(ctx, g, &start, &split, order, block_of));
done:
    icd_i_parts_release(ctx, &start);
    return status;
}
