#include "solver/hyper.h"

#include <inttypes.h>
#include <string.h>

#define ROUNDS_MAX 8

/* A mask seen from one side: which granules of the other side each of its lines touches.
 */
typedef struct side {
    const icd_mask *mask;
    bool by_rows;         /* the lines to be ordered are rows */
    const int32_t *other; /* old_of_new of the other side */
    int64_t lines, other_lines;
    int32_t other_granule;
} side;

static bool survives(const side *s, int64_t line, int64_t other)
{
    return s->by_rows ? icd_i_mask_get(s->mask, line, other)
                      : icd_i_mask_get(s->mask, other, line);
}

/* Whether a line has a survivor in granule e of the other side. */
static bool touches(const side *s, int64_t line, int64_t e)
{
    int64_t begin = e * s->other_granule, end = begin + s->other_granule;
    if (end > s->other_lines) end = s->other_lines;
    for (int64_t k = begin; k < end; ++k)
        if (survives(s, line, s->other[k])) return true;
    return false;
}

/* Event = granule of the other side, indices = the lines that touch it. */
static icd_status sets_of_side(icd_ctx *ctx, const side *s, icd_access **out)
{
    icd_status status;
    icd_access *a = NULL;
    int64_t capacity = 0, count = 0;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, 1, &a));
    a->n = s->lines;
    a->events = (s->other_lines + s->other_granule - 1) / s->other_granule;
    ICD_TRY(ICD_ALLOC(ctx, a->events + 1, &a->event_ptr));
    for (int64_t e = 0; e < a->events; ++e) {
        ICD_TRY(icd_i_grow(ctx, (void **)&a->index, &capacity, count + s->lines,
                           sizeof *a->index));
        for (int64_t line = 0; line < s->lines; ++line)
            if (touches(s, line, e)) a->index[count++] = (int32_t)line;
        a->event_ptr[e + 1] = count;
    }
    *out = a;
    a = NULL;
done:
    icd_access_free(ctx, a);
    return status;
}

static icd_status refine_side(icd_ctx *ctx, const side *s, int32_t granule,
                              const icd_hyper_params *params, int32_t *order,
                              icd_hyper_stats *stats)
{
    icd_status status;
    icd_access *sets = NULL;
    icd_hyper_stats turn;
    icd_hyper_params own = *params;
    own.granule = granule;
    own.frozen = NULL;
    own.softness = 1;
    ICD_TRY(sets_of_side(ctx, s, &sets));
    ICD_TRY(icd_i_hyper_refine(ctx, sets, &own, order, &turn));
    stats->touched = turn.touched;
    stats->passes += turn.passes;
    stats->offered += turn.offered;
    stats->accepted += turn.accepted;
    stats->events = turn.events;
    stats->timed_out |= turn.timed_out;
done:
    icd_access_free(ctx, sets);
    return status;
}

/* Tiles live under the two orders. */
static icd_status count_tiles(icd_ctx *ctx, const side *by_cols, int32_t granule,
                              const int32_t *cols, double *out)
{
    icd_access *sets = NULL;
    icd_status status = sets_of_side(ctx, by_cols, &sets);
    if (status == ICD_OK) status = icd_i_hyper_touched(ctx, sets, granule, cols, out);
    icd_access_free(ctx, sets);
    return status;
}

/* The rows are first ordered by single columns: where every tile is live, tiles tell
 * nothing. */
static icd_status refine_both(icd_ctx *ctx, const icd_mask *mask, int32_t vector,
                              const icd_hyper_params *params, int32_t *rows,
                              int32_t *cols, icd_hyper_stats *found)
{
    icd_status status;
    side by_cols = {mask, false, rows, mask->cols, mask->rows, vector};
    side by_rows = {mask, true, cols, mask->rows, mask->cols, 1};
    ICD_TRY(count_tiles(ctx, &by_cols, params->granule, cols, &found->start));
    ICD_TRY(refine_side(ctx, &by_rows, vector, params, rows, found));
    by_rows.other_granule = params->granule;
    for (int round = 0; round < ROUNDS_MAX && !found->timed_out; ++round) {
        double before = found->touched;
        ICD_TRY(refine_side(ctx, &by_cols, params->granule, params, cols, found));
        ICD_TRY(refine_side(ctx, &by_rows, vector, params, rows, found));
        if (round && found->touched >= before) break;
    }
    ICD_TRY(count_tiles(ctx, &by_cols, params->granule, cols, &found->touched));
done:
    return status;
}

icd_status icd_i_hyper_cocluster(icd_ctx *ctx, const icd_mask *mask, int32_t vector,
                                 const icd_hyper_params *params, int32_t *rows,
                                 int32_t *cols, icd_hyper_stats *stats)
{
    icd_status status;
    icd_hyper_stats found = {0};
    int32_t *new_rows = NULL, *new_cols = NULL;
    size_t row_bytes = (size_t)mask->rows * sizeof *rows;
    size_t col_bytes = (size_t)mask->cols * sizeof *cols;
    if (mask->vector != 1 || vector < 1 || params->granule < 1)
        return icd_i_fail(ctx, ICD_EINVAL, "co-clustering", NULL,
                          "found V = %" PRId32 " in the mask and tiles of %" PRId32
                          " x %" PRId32 ", expected V = 1 and tiles of 1 x 1 or more",
                          mask->vector, vector, params->granule);
    ICD_TRY(ICD_ALLOC(ctx, mask->rows, &new_rows));
    ICD_TRY(ICD_ALLOC(ctx, mask->cols, &new_cols));
    if (row_bytes) memcpy(new_rows, rows, row_bytes);
    if (col_bytes) memcpy(new_cols, cols, col_bytes);
    ICD_TRY(refine_both(ctx, mask, vector, params, new_rows, new_cols, &found));
    if (found.touched < found.start) {
        memcpy(rows, new_rows, row_bytes);
        memcpy(cols, new_cols, col_bytes);
    }
    found.touched = found.touched < found.start ? found.touched : found.start;
    if (stats) *stats = found;
done:
    icd_i_free(ctx, new_rows);
    icd_i_free(ctx, new_cols);
    return status;
}
