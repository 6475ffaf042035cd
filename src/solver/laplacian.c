#include "solver/laplacian.h"

#include "base/mem.h"
#include "base/threads.h"
#include <string.h>

enum {
    BLOCK = 1024,        /* terms of one partial sum */
    CHUNK_ROWS = 1 << 14 /* fewer rows than that are not worth waking a thread */
};

static double row_degree(const icd_laplacian *l, int32_t v)
{
    double sum = 0;
    if (l->w)
        for (int64_t k = l->w->row_ptr[v]; k < l->w->row_ptr[v + 1]; ++k)
            sum += (double)l->w->val[k];
    else
        for (int64_t k = l->g->ptr[v]; k < l->g->ptr[v + 1]; ++k) sum += l->g->edge[k].w;
    return sum;
}

icd_status icd_i_laplacian_init(icd_ctx *ctx, const icd_csr *w, const icd_wgraph *g,
                                bool normalized, const double *mass, icd_laplacian *l)
{
    icd_status status;
    *l = (icd_laplacian){.n = w ? (int32_t)w->n : g->n, .w = w, .g = g};
    ICD_TRY(ICD_ALLOC(ctx, l->n, &l->degree));
    ICD_TRY(ICD_ALLOC(ctx, l->n, &l->mass));
    for (int32_t v = 0; v < l->n; ++v) {
        l->degree[v] = row_degree(l, v);
        l->mass[v] = mass ? mass[v] : normalized && l->degree[v] > 0 ? l->degree[v] : 1;
    }
done:
    return status;
}

void icd_i_laplacian_release(icd_ctx *ctx, icd_laplacian *l)
{
    icd_i_free(ctx, l->degree);
    icd_i_free(ctx, l->mass);
    memset(l, 0, sizeof *l);
}

typedef struct product {
    const icd_laplacian *l;
    const double *x;
    double *y;
} product;

static void rows_of_csr(const product *p, int64_t begin, int64_t end)
{
    const icd_csr *w = p->l->w;
    for (int64_t v = begin; v < end; ++v) {
        double sum = p->l->degree[v] * p->x[v];
        for (int64_t k = w->row_ptr[v]; k < w->row_ptr[v + 1]; ++k)
            sum -= (double)w->val[k] * p->x[w->col[k]];
        p->y[v] = sum;
    }
}

static void rows_of_graph(const product *p, int64_t begin, int64_t end)
{
    const icd_wgraph *g = p->l->g;
    for (int64_t v = begin; v < end; ++v) {
        double sum = p->l->degree[v] * p->x[v];
        for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k)
            sum -= g->edge[k].w * p->x[g->edge[k].to];
        p->y[v] = sum;
    }
}

static void apply_chunk(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    const product *p = arg;
    int64_t begin, end;
    (void)worker;
    icd_i_chunk_range(p->l->n, chunk, chunks, &begin, &end);
    if (p->l->w)
        rows_of_csr(p, begin, end);
    else
        rows_of_graph(p, begin, end);
}

void icd_i_laplacian_apply(icd_ctx *ctx, const icd_laplacian *l, const double *x,
                           double *y)
{
    product p = {l, x, y};
    int64_t chunks = l->n / CHUNK_ROWS;
    if (chunks < 2)
        apply_chunk(&p, 0, 1, 0);
    else
        icd_i_parallel(ctx, chunks, apply_chunk, &p);
}

/* Four sums side by side: the order of the additions is written down, so that the
 * compiler need not keep to one chain. */
static double dot_block(int32_t n, const double *a, const double *b)
{
    double s[4] = {0};
    int32_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int32_t k = 0; k < 4; ++k) s[k] += a[i + k] * b[i + k];
    for (; i < n; ++i) s[0] += a[i] * b[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

static double weighted_block(int32_t n, const double *a, const double *m, const double *b)
{
    double s[4] = {0};
    int32_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int32_t k = 0; k < 4; ++k) s[k] += a[i + k] * m[i + k] * b[i + k];
    for (; i < n; ++i) s[0] += a[i] * m[i] * b[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

double icd_i_dot(int32_t n, const double *a, const double *m, const double *b)
{
    double total = 0;
    for (int32_t at = 0; at < n; at += BLOCK) {
        int32_t count = n - at < BLOCK ? n - at : BLOCK;
        total += m ? weighted_block(count, a + at, m + at, b + at)
                   : dot_block(count, a + at, b + at);
    }
    return total;
}

int32_t icd_i_components(const icd_wgraph *g, int32_t *component, int32_t *queue)
{
    int32_t count = 0;
    for (int32_t v = 0; v < g->n; ++v) component[v] = -1;
    for (int32_t v = 0; v < g->n; ++v) {
        if (component[v] >= 0) continue;
        int32_t end = 0;
        queue[end++] = v;
        component[v] = count;
        for (int32_t head = 0; head < end; ++head)
            for (int64_t k = g->ptr[queue[head]]; k < g->ptr[queue[head] + 1]; ++k) {
                int32_t u = g->edge[k].to;
                if (component[u] >= 0) continue;
                component[u] = count;
                queue[end++] = u;
            }
        count++;
    }
    return count;
}
