#include "graph/edges.h"

#include <string.h>

void icd_i_edges_release(icd_ctx *ctx, icd_edges *e)
{
    icd_i_free(ctx, e->edge);
    icd_i_free(ctx, e->spare);
    icd_i_free(ctx, e->row);
    *e = (icd_edges){0};
}

static int64_t key(const icd_edge *e)
{
    return (int64_t)e->i << 32 | e->j;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Stable: of equal keys those of the left run come first. */
static void merge_runs(const icd_edge *left, int64_t a, const icd_edge *right, int64_t b,
                       icd_edge *out)
{
    while (a && b)
        if (key(left) <= key(right)) {
            *out++ = *left++;
            a--;
        } else {
            *out++ = *right++;
            b--;
        }
    if (a) memcpy(out, left, (size_t)a * sizeof *out);
    if (b) memcpy(out, right, (size_t)b * sizeof *out);
}

/* Bottom-up merge sort, stable; `spare` holds as many. */
static void sort_edges(icd_edge *edge, icd_edge *spare, int64_t count)
{
    icd_edge *from = edge, *to = spare;
    for (int64_t run = 1; run < count; run *= 2) {
        for (int64_t k = 0; k < count; k += 2 * run) {
            int64_t middle = min64(k + run, count), end = min64(k + 2 * run, count);
            merge_runs(from + k, middle - k, from + middle, end - middle, to + k);
        }
        icd_edge *t = from;
        from = to;
        to = t;
    }
    if (from != edge) memcpy(edge, from, (size_t)count * sizeof *edge);
}

/* Adds up neighbours with the same key; @return how many are left. */
static int64_t unite(icd_edge *edge, int64_t count)
{
    int64_t kept = 0;
    for (int64_t k = 0; k < count; k++)
        if (kept && key(&edge[kept - 1]) == key(&edge[k]))
            edge[kept - 1].sum += edge[k].sum;
        else
            edge[kept++] = edge[k];
    return kept;
}

static icd_status settle(icd_ctx *ctx, icd_edges *e)
{
    icd_status status = icd_i_grow(ctx, (void **)&e->spare, &e->spare_capacity, e->count,
                                   sizeof *e->spare);
    if (status != ICD_OK) return status;
    int64_t fresh = e->count - e->sorted;
    sort_edges(e->edge + e->sorted, e->spare, fresh);
    merge_runs(e->edge, e->sorted, e->edge + e->sorted, fresh, e->spare);
    memcpy(e->edge, e->spare, (size_t)e->count * sizeof *e->edge);
    e->count = e->sorted = unite(e->edge, e->count);
    return ICD_OK;
}

/* Once as many pairs are new as are sorted, a merge costs O(1) per new pair. */
static icd_status make_room(icd_ctx *ctx, icd_edges *e)
{
    enum { SMALLEST = 1 << 16 };
    icd_status status = ICD_OK;
    if (e->capacity >= SMALLEST && e->count - e->sorted >= e->sorted)
        ICD_TRY(settle(ctx, e));
    if (e->count > e->capacity / 2 || !e->capacity)
        ICD_TRY(icd_i_grow(ctx, (void **)&e->edge, &e->capacity, e->capacity + 1,
                           sizeof *e->edge));
done:
    return status;
}

icd_status icd_i_edges_add(icd_ctx *ctx, icd_edges *e, int32_t a, int32_t b, double w)
{
    if (w <= 0) return ICD_OK;
    if (e->count == e->capacity) {
        icd_status status = make_room(ctx, e);
        if (status != ICD_OK) return status;
    }
    e->edge[e->count++] = a < b ? (icd_edge){a, b, w} : (icd_edge){b, a, w};
    return ICD_OK;
}

icd_status icd_i_edges_seal(icd_ctx *ctx, icd_edges *e)
{
    icd_status status = ICD_OK;
    if (e->count > e->sorted) ICD_TRY(settle(ctx, e));
    ICD_TRY(ICD_ALLOC(ctx, e->n + 1, &e->row));
    for (int64_t k = 0; k < e->count; k++) e->row[e->edge[k].i + 1]++;
    for (int64_t i = 0; i < e->n; i++) e->row[i + 1] += e->row[i];
done:
    return status;
}

static int64_t row_size(const void *self, int64_t row)
{
    const icd_edges *e = self;
    return e->row[row + 1] - e->row[row];
}

static int64_t emit_row(const void *self, int64_t row, int32_t worker, int32_t *col,
                        double *sum)
{
    const icd_edges *e = self;
    int64_t size = row_size(self, row);
    (void)worker;
    for (int64_t k = 0; k < size; k++) {
        col[k] = e->edge[e->row[row] + k].j;
        sum[k] = e->edge[e->row[row] + k].sum;
    }
    return size;
}

icd_rows icd_i_edges_rows(const icd_edges *e)
{
    return (icd_rows){.n = e->n, .self = e, .bound = row_size, .emit = emit_row};
}
