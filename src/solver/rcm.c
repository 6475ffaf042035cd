#include "solver/solve.h"

#include "base/mem.h"
#include <stdlib.h>

static int64_t degree(const icd_wgraph *g, int32_t v)
{
    return g->ptr[v + 1] - g->ptr[v];
}

typedef struct by_degree {
    int64_t degree;
    int32_t node;
} by_degree;

static int compare(const void *a, const void *b)
{
    const by_degree *x = a, *y = b;
    if (x->degree != y->degree) return x->degree < y->degree ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

static void sort_tail(const icd_wgraph *g, by_degree *scratch, int32_t *tail,
                      int32_t count)
{
    if (count < 2) return;
    for (int32_t i = 0; i < count; ++i)
        scratch[i] = (by_degree){degree(g, tail[i]), tail[i]};
    qsort(scratch, (size_t)count, sizeof *scratch, compare);
    for (int32_t i = 0; i < count; ++i) tail[i] = scratch[i].node;
}

/* Breadth first from `start`, neighbours by rising degree. @return end of the queue */
static int32_t visit(const icd_wgraph *g, int32_t start, int32_t *mark, int32_t stamp,
                     by_degree *scratch, int32_t *queue, int32_t begin)
{
    int32_t end = begin;
    queue[end++] = start;
    mark[start] = stamp;
    for (int32_t head = begin; head < end; ++head) {
        int32_t tail = end;
        for (int64_t k = g->ptr[queue[head]]; k < g->ptr[queue[head] + 1]; ++k) {
            int32_t u = g->edge[k].to;
            if (mark[u] == stamp || mark[u] == 2) continue;
            mark[u] = stamp;
            queue[end++] = u;
        }
        sort_tail(g, scratch, queue + tail, end - tail);
    }
    return end;
}

icd_status icd_i_rcm(icd_ctx *ctx, const icd_wgraph *g, int32_t *order)
{
    icd_status status;
    int32_t *mark = NULL,
            end = 0; /* mark 1: seen by the search for a far node; 2: placed */
    by_degree *scratch = NULL;
    ICD_TRY(ICD_ALLOC(ctx, g->n, &mark));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &scratch));
    for (int32_t v = 0; v < g->n; ++v) {
        if (mark[v]) continue;
        int32_t last = visit(g, v, mark, 1, scratch, order, end);
        end = visit(g, order[last - 1], mark, 2, scratch, order, end);
    }
    for (int32_t i = 0, j = g->n - 1; i < j; ++i, --j) {
        int32_t v = order[i];
        order[i] = order[j];
        order[j] = v;
    }
done:
    icd_i_free(ctx, mark);
    icd_i_free(ctx, scratch);
    return status;
}
