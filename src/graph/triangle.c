#include "graph/triangle.h"

#include "base/threads.h"
#include "graph/bits.h"

#include <math.h>
#include <string.h>

enum {
    CHUNKS = 256,
    PANEL_INDICES = 1 << 18 /* 1 MB of events: they stay in a level-2 or level-3 cache */
};

icd_status icd_i_triangle_init(icd_ctx *ctx, int64_t n, icd_triangle *t)
{
    *t = (icd_triangle){.n = n, .grain = INT32_MAX};
    return ICD_ALLOC(ctx, n * (n - 1) / 2, &t->count);
}

void icd_i_triangle_release(icd_ctx *ctx, icd_triangle *t)
{
    icd_i_free(ctx, t->count);
    icd_i_free(ctx, t->sum);
    *t = (icd_triangle){0};
}

/* The exponent of the lowest bit set in x > 0. */
static int lowest_bit(double x)
{
    int exponent = 0;
    int64_t mantissa = (int64_t)ldexp(frexp(x, &exponent), 53);
    return exponent - 53 + __builtin_ctzll((uint64_t)mantissa);
}

static void note_values(icd_triangle *t, const icd_block *b)
{
    for (int64_t e = 0; e < b->events.count; e++) {
        if (b->value[e] <= 0) continue;
        int low = lowest_bit(b->value[e]);
        if (low < t->grain) t->grain = low;
        t->total += b->value[e];
    }
    t->events += b->events.count;
}

/* Multiples of 2^grain add up without rounding, hence in any order, below 2^(53 + grain).
 */
static bool sums_are_exact(const icd_triangle *t)
{
    return t->total <= ldexp(1, t->grain < 900 ? 53 + t->grain : 1000);
}

static bool counts_suffice(const icd_triangle *t, const icd_block *b)
{
    return t->events <= UINT32_MAX && b->unit > 0 && b->unit == t->unit;
}

static icd_status promote(icd_ctx *ctx, icd_triangle *t)
{
    icd_status status = ICD_ALLOC(ctx, t->n * (t->n - 1) / 2, &t->sum);
    if (status != ICD_OK) return status;
    for (int64_t k = 0; k < t->n * (t->n - 1) / 2; k++)
        t->sum[k] = t->unit * (double)t->count[k];
    icd_i_free(ctx, t->count);
    t->count = NULL;
    return ICD_OK;
}

/* Lists are added by panels of events, because every row goes through all events: those
 * of a panel are read from the cache. next[i] is the occurrence at which row i goes on.
 */
typedef struct add_job {
    icd_triangle *t;
    const icd_block *b;
    int64_t *next;
    int64_t end; /* event behind the panel */
} add_job;

static void count_row(const add_job *job, int64_t i)
{
    const icd_block *b = job->b;
    uint32_t *count = job->t->count;
    int64_t shift = icd_i_triangle_shift(b->n, i), o = job->next[i];
    for (; o < b->row[i + 1] && b->at[o].event < job->end; o++) {
        int64_t event = b->at[o].event, end = b->events.ptr[event + 1];
        for (int64_t k = b->events.ptr[event] + b->at[o].at + 1; k < end; k++)
            count[shift + b->events.index[k]]++;
    }
    job->next[i] = o;
}

static void sum_row(const add_job *job, int64_t i)
{
    const icd_block *b = job->b;
    double *sum = job->t->sum;
    int64_t shift = icd_i_triangle_shift(b->n, i), o = job->next[i];
    for (; o < b->row[i + 1] && b->at[o].event < job->end; o++) {
        int64_t event = b->at[o].event, end = b->events.ptr[event + 1];
        for (int64_t k = b->events.ptr[event] + b->at[o].at + 1; k < end; k++)
            sum[shift + b->events.index[k]] += b->value[event];
    }
    job->next[i] = o;
}

/* Rows are dealt out like cards because low rows have the longest tails. */
static void add_rows(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    const add_job *job = arg;
    (void)worker;
    for (int64_t i = chunk; i < job->t->n; i += chunks)
        if (job->t->sum)
            sum_row(job, i);
        else
            count_row(job, i);
}

static int64_t panel_end(const icd_events *events, int64_t first)
{
    int64_t end = first + 1;
    while (end < events->count &&
           events->ptr[end + 1] - events->ptr[first] <= PANEL_INDICES)
        end++;
    return end;
}

static icd_status add_lists(icd_ctx *ctx, icd_triangle *t, const icd_block *b)
{
    add_job job = {.t = t, .b = b};
    icd_status status = ICD_ALLOC(ctx, t->n, &job.next);
    if (status != ICD_OK) return status;
    memcpy(job.next, b->row, (size_t)t->n * sizeof *job.next);
    while (job.end < b->events.count) {
        job.end = panel_end(&b->events, job.end);
        icd_i_parallel(ctx, t->n < CHUNKS ? t->n : CHUNKS, add_rows, &job);
    }
    icd_i_free(ctx, job.next);
    return ICD_OK;
}

icd_status icd_i_triangle_add(icd_ctx *ctx, icd_triangle *t, const icd_block *block,
                              icd_path path)
{
    icd_status status = ICD_OK;
    if (block->pairs == 0) return ICD_OK;
    note_values(t, block);
    if (!t->sum && t->unit <= 0 && block->unit > 0) t->unit = block->unit;
    if (!t->sum && !counts_suffice(t, block)) ICD_TRY(promote(ctx, t));
    bool exact = !t->sum || sums_are_exact(t);
    if (path == ICD_PATH_AUTO && exact && icd_i_bits_cost(block) < (double)block->pairs)
        path = ICD_PATH_BITS;
    if (path == ICD_PATH_BITS && exact) return icd_i_bits_add(ctx, t, block);
    return add_lists(ctx, t, block);
done:
    return status;
}

static int64_t row_bound(const void *self, int64_t row)
{
    return ((const icd_triangle *)self)->n - 1 - row;
}

static double sum_at(const icd_triangle *t, int64_t k)
{
    return t->sum ? t->sum[k] : t->unit * (double)t->count[k];
}

static int64_t emit_row(const void *self, int64_t row, int32_t worker, int32_t *col,
                        double *sum)
{
    const icd_triangle *t = self;
    int64_t shift = icd_i_triangle_shift(t->n, row), size = 0;
    (void)worker;
    for (int64_t j = row + 1; j < t->n; j++) {
        double s = sum_at(t, shift + j);
        col[size] = (int32_t)j;
        sum[size] = s;
        size += s > 0;
    }
    return size;
}

icd_rows icd_i_triangle_rows(const icd_triangle *t)
{
    return (icd_rows){.n = t->n, .self = t, .bound = row_bound, .emit = emit_row};
}
