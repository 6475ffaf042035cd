#include "graph/triangle.h"

#include "base/threads.h"
#include "graph/bits.h"

#include <math.h>

enum { CHUNKS = 256 };

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

typedef struct add_job {
    icd_triangle *t;
    const icd_block *b;
} add_job;

static void count_row(icd_triangle *t, const icd_block *b, int64_t i)
{
    int64_t shift = icd_i_triangle_shift(t->n, i);
    for (int64_t o = b->row[i]; o < b->row[i + 1]; o++) {
        const icd_occurrence *at = &b->at[o];
        int64_t end = b->events.ptr[at->event + 1];
        for (int64_t k = b->events.ptr[at->event] + at->at + 1; k < end; k++)
            t->count[shift + b->events.index[k]]++;
    }
}

static void sum_row(icd_triangle *t, const icd_block *b, int64_t i)
{
    int64_t shift = icd_i_triangle_shift(t->n, i);
    for (int64_t o = b->row[i]; o < b->row[i + 1]; o++) {
        const icd_occurrence *at = &b->at[o];
        int64_t end = b->events.ptr[at->event + 1];
        double value = b->value[at->event];
        for (int64_t k = b->events.ptr[at->event] + at->at + 1; k < end; k++)
            t->sum[shift + b->events.index[k]] += value;
    }
}

/* Rows are dealt out like cards because low rows have the longest tails. */
static void add_lists(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    const add_job *job = arg;
    (void)worker;
    for (int64_t i = chunk; i < job->t->n; i += chunks)
        if (job->t->sum)
            sum_row(job->t, job->b, i);
        else
            count_row(job->t, job->b, i);
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
    add_job job = {t, block};
    icd_i_parallel(ctx, t->n < CHUNKS ? t->n : CHUNKS, add_lists, &job);
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
