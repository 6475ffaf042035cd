#include "graph/block.h"

#include <inttypes.h>
#include <string.h>

void icd_i_block_release(icd_ctx *ctx, icd_block *block)
{
    icd_i_free(ctx, block->value);
    icd_i_free(ctx, block->row);
    icd_i_free(ctx, block->at);
    *block = (icd_block){0};
}

static void fill_values(icd_block *b, icd_weighting weighting)
{
    bool one = true;
    b->unit = 0;
    b->pairs = 0;
    for (int64_t e = 0; e < b->events.count; e++) {
        int64_t size = icd_i_event_size(&b->events, e);
        double value = b->events.weight ? (double)b->events.weight[e] : 1;
        if (size < 2) value = 0;
        if (weighting == ICD_WEIGHT_CLIQUE && size > 1) value /= (double)(size - 1);
        b->value[e] = value;
        if (value <= 0) continue;
        b->pairs += size * (size - 1) / 2;
        if (b->unit <= 0) b->unit = value;
        one = one && value == b->unit;
    }
    if (!one) b->unit = 0;
}

/* The last index of an event has nothing behind it and so no occurrence. */
static void count_occurrences(icd_block *b)
{
    memset(b->row, 0, (size_t)(b->n + 1) * sizeof *b->row);
    for (int64_t e = 0; e < b->events.count; e++) {
        if (b->value[e] <= 0) continue;
        for (int64_t k = b->events.ptr[e]; k < b->events.ptr[e + 1] - 1; k++)
            b->row[b->events.index[k] + 1]++;
    }
    for (int64_t i = 0; i < b->n; i++) b->row[i + 1] += b->row[i];
}

/* Counting sort; row[i] serves as the cursor of index i and is put back afterwards. */
static void fill_occurrences(icd_block *b)
{
    for (int64_t e = 0; e < b->events.count; e++) {
        if (b->value[e] <= 0) continue;
        const int32_t *index = b->events.index + b->events.ptr[e];
        int64_t last = icd_i_event_size(&b->events, e) - 1;
        for (int64_t k = 0; k < last; k++)
            b->at[b->row[index[k]]++] = (icd_occurrence){(int32_t)e, (int32_t)k};
    }
    for (int64_t i = b->n; i > 0; i--) b->row[i] = b->row[i - 1];
    b->row[0] = 0;
}

icd_status icd_i_block_fill(icd_ctx *ctx, int64_t n, const icd_events *events,
                            icd_weighting weighting, icd_block *block)
{
    icd_status status = ICD_OK;
    if (events->count > INT32_MAX)
        return icd_i_fail(ctx, ICD_EINVAL, "graph", "split the trace",
                          "found %" PRId64 " events at once, expected at most %" PRId32,
                          events->count, INT32_MAX);
    block->n = n;
    block->events = *events;
    ICD_TRY(icd_i_grow(ctx, (void **)&block->value, &block->value_capacity, events->count,
                       sizeof *block->value));
    ICD_TRY(icd_i_grow(ctx, (void **)&block->row, &block->row_capacity, n + 1,
                       sizeof *block->row));
    fill_values(block, weighting);
    count_occurrences(block);
    ICD_TRY(icd_i_grow(ctx, (void **)&block->at, &block->at_capacity, block->row[n],
                       sizeof *block->at));
    fill_occurrences(block);
done:
    return status;
}
