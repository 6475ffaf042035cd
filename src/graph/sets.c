#include "graph/sets.h"

/* 64 entries of a level share a bit of the next. */
static int64_t level_words(int64_t n, int level)
{
    return (n >> (6 * (level + 1))) + 1;
}

static icd_status touched_init(icd_ctx *ctx, int64_t n, icd_touched *t)
{
    icd_status status = ICD_OK;
    for (int level = 0; level < 3; level++)
        ICD_TRY(ICD_ALLOC(ctx, level_words(n, level), &t->level[level]));
done:
    return status;
}

static int64_t row_bound(const icd_block *b, int64_t i)
{
    int64_t bound = 0;
    for (int64_t o = b->row[i]; o < b->row[i + 1]; o++)
        bound += icd_i_event_size(&b->events, b->at[o].event) - b->at[o].at - 1;
    return bound < b->n - 1 - i ? bound : b->n - 1 - i;
}

icd_status icd_i_sets_init(icd_ctx *ctx, const icd_block *block, icd_sets *s)
{
    icd_status status = ICD_OK;
    *s = (icd_sets){.block = block, .workers = icd_ctx_threads(ctx)};
    ICD_TRY(ICD_ALLOC(ctx, block->n, &s->bound));
    ICD_TRY(ICD_ALLOC(ctx, block->n * s->workers, &s->sum));
    ICD_TRY(ICD_ALLOC(ctx, s->workers, &s->touched));
    for (int32_t k = 0; k < s->workers; k++)
        ICD_TRY(touched_init(ctx, block->n, &s->touched[k]));
    for (int64_t i = 0; i < block->n; i++) s->bound[i] = row_bound(block, i);
done:
    return status;
}

void icd_i_sets_release(icd_ctx *ctx, icd_sets *s)
{
    for (int32_t k = 0; s->touched && k < s->workers; k++)
        for (int level = 0; level < 3; level++)
            icd_i_free(ctx, s->touched[k].level[level]);
    icd_i_free(ctx, s->touched);
    icd_i_free(ctx, s->bound);
    icd_i_free(ctx, s->sum);
    *s = (icd_sets){0};
}

static void touch(const icd_touched *t, int32_t j)
{
    for (int level = 0; level < 3; level++, j >>= 6)
        t->level[level][j >> 6] |= UINT64_C(1) << (j & 63);
}

/* The lowest bit set, which is taken away. */
static int64_t take_bit(uint64_t *word)
{
    int64_t bit = __builtin_ctzll(*word);
    *word &= *word - 1;
    return bit;
}

/* Columns in ascending order; empties the set and zeroes the sums. */
static int64_t drain(const icd_touched *t, int64_t n, double *acc, double unit,
                     int32_t *col, double *sum)
{
    int64_t size = 0;
    for (int64_t top = 0; top < level_words(n, 2); top++)
        while (t->level[2][top]) {
            int64_t middle = top << 6 | take_bit(&t->level[2][top]);
            while (t->level[1][middle]) {
                int64_t word = middle << 6 | take_bit(&t->level[1][middle]);
                while (t->level[0][word]) {
                    int64_t j = word << 6 | take_bit(&t->level[0][word]);
                    col[size] = (int32_t)j;
                    sum[size++] = acc[j] * unit;
                    acc[j] = 0;
                }
            }
        }
    return size;
}

static int64_t emit_row(const void *self, int64_t row, int32_t worker, int32_t *col,
                        double *sum)
{
    const icd_sets *s = self;
    const icd_block *b = s->block;
    const icd_touched *t = &s->touched[worker];
    double *acc = s->sum + worker * b->n;
    for (int64_t o = b->row[row]; o < b->row[row + 1]; o++) {
        int64_t event = b->at[o].event, end = b->events.ptr[event + 1];
        double value = b->unit > 0 ? 1 : b->value[event];
        for (int64_t k = b->events.ptr[event] + b->at[o].at + 1; k < end; k++) {
            int32_t j = b->events.index[k];
            if (acc[j] <= 0) touch(t, j);
            acc[j] += value;
        }
    }
    return drain(t, b->n, acc, b->unit > 0 ? b->unit : 1, col, sum);
}

static int64_t stored_bound(const void *self, int64_t row)
{
    return ((const icd_sets *)self)->bound[row];
}

icd_rows icd_i_sets_rows(const icd_sets *s)
{
    return (icd_rows){
        .n = s->block->n, .self = s, .bound = stored_bound, .emit = emit_row};
}
