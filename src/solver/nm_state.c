#include "solver/nm_state.h"

#include "base/clock.h"
#include "base/threads.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* A tile of columns that stays in the second-level cache while many slots read it. */
#define TILE_ROWS 256
#define TILE_COLS 512
/* Groups between two looks at the clock, in a tile: some tenths of a millisecond. */
#define LOOK 8
/* Twice this is the largest gain of an exchange. */
#define KEPT_MAX (1 << 28)
/* Maxima from which on threads pay. */
#define PARALLEL_WORK (INT64_C(1) << 23)

void icd_i_nm_state_release(icd_ctx *ctx, icd_nm_state *s)
{
    icd_i_free(ctx, s->value);
    icd_i_free(ctx, s->member);
    icd_i_free(ctx, s->slot_of);
    icd_i_free(ctx, s->change);
    icd_i_free(ctx, s->reverse);
    icd_i_free(ctx, s->kept);
    icd_i_free(ctx, s->stale);
    icd_i_free(ctx, s->scratch);
}

/* Units per saliency: the largest value fits, and so does what n columns hold. */
static double scale_of(const icd_nm_source *source)
{
    double largest = 0, column = 0;
    for (int64_t c = 0; c < source->cols; ++c) {
        const float *x = source->saliency + source->column[c];
        double sum = 0;
        for (int64_t r = 0; r < source->rows; ++r) {
            sum += (double)x[r * source->stride];
            largest = fmax(largest, (double)x[r * source->stride]);
        }
        column = fmax(column, sum);
    }
    if (largest <= 0) return 0;
    double rounding = .5 * (double)source->rows;
    return fmin(INT16_MAX / largest, (KEPT_MAX / source->n - rounding) / column);
}

static void scale_columns(const icd_nm_source *source, icd_nm_state *s)
{
    double scale = scale_of(source);
    for (int64_t r = 0; r < source->rows; ++r) {
        const float *row = source->saliency + r * source->stride;
        for (int64_t c = 0; c < s->cols; ++c)
            s->value[c * s->rows + r] =
                (int16_t)lrint((double)row[source->column[c]] * scale);
    }
}

icd_status icd_i_nm_state_init(icd_ctx *ctx, const icd_nm_source *source,
                               icd_nm_state *out)
{
    icd_status status;
    int64_t cols = source->cols;
    *out = (icd_nm_state){.cols = source->cols, .n = source->n, .m = source->m};
    out->groups = out->cols / out->m;
    out->rows = (source->rows + ICD_NM_LANES - 1) / ICD_NM_LANES * ICD_NM_LANES;
    out->maxima = icd_i_nm_maxima();
    out->workers = icd_ctx_threads(ctx);
    out->deadline = source->deadline;
    ICD_TRY(ICD_ALLOC(ctx, cols * out->rows, &out->value));
    ICD_TRY(ICD_ALLOC(ctx, cols, &out->member));
    ICD_TRY(ICD_ALLOC(ctx, cols, &out->slot_of));
    ICD_TRY(ICD_ALLOC(ctx, cols * cols, &out->change));
    ICD_TRY(ICD_ALLOC(ctx, cols * cols, &out->reverse));
    ICD_TRY(ICD_ALLOC(ctx, out->groups, &out->kept));
    ICD_TRY(ICD_ALLOC(ctx, out->groups, &out->stale));
    ICD_TRY(
        ICD_ALLOC(ctx, (int64_t)out->workers * (out->n + 1) * TILE_ROWS, &out->scratch));
    scale_columns(source, out);
    for (int32_t c = 0; c < out->cols; ++c) out->member[c] = out->slot_of[c] = c;
    memset(out->stale, 1, (size_t)out->groups);
done:
    return status;
}

void icd_i_nm_exchange(icd_nm_state *s, int32_t c, int32_t x)
{
    int32_t slot = s->slot_of[c];
    s->slot_of[c] = s->slot_of[x];
    s->slot_of[x] = slot;
    s->member[s->slot_of[c]] = c;
    s->member[s->slot_of[x]] = x;
    s->stale[icd_i_nm_group_of(s, c)] = s->stale[icd_i_nm_group_of(s, x)] = 1;
}

void icd_i_nm_regroup(icd_nm_state *s, const int32_t *order)
{
    memcpy(s->member, order, (size_t)s->cols * sizeof *order);
    for (int32_t k = 0; k < s->cols; ++k) s->slot_of[order[k]] = k;
    memset(s->stale, 1, (size_t)s->groups);
}

/* A tile of rows as one group sees it. */
typedef struct tile {
    int64_t first, rows;
    int16_t *top; /* n levels and a carry, TILE_ROWS apart */
} tile;

/* The n largest of the group without its member in `slot`, level by level.
 * @return what the first n - 1 levels hold */
static int32_t rest_of_slot(const icd_nm_state *s, int64_t slot, const tile *t)
{
    int64_t first = slot / s->m * s->m;
    int16_t *carry = t->top + s->n * TILE_ROWS;
    int32_t base = 0;
    memset(t->top, 0, (size_t)s->n * TILE_ROWS * sizeof *t->top);
    for (int64_t k = first; k < first + s->m; ++k) {
        if (k == slot) continue;
        memcpy(carry, s->value + s->member[k] * s->rows + t->first,
               (size_t)t->rows * sizeof *carry);
        for (int32_t level = 0; level < s->n; ++level)
            s->maxima.sort(t->top + level * TILE_ROWS, carry, t->rows);
    }
    for (int32_t level = 0; level + 1 < s->n; ++level) {
        const int16_t *x = t->top + level * TILE_ROWS;
        s->maxima.add(x, (icd_nm_columns){x, 0, t->rows, 1}, 0, &base);
    }
    return base;
}

/* Adds a tile of rows to the lines of a group, for the columns [begin, end). */
static void add_tile(icd_nm_state *s, int64_t group, const tile *t, int64_t begin,
                     int64_t end)
{
    icd_nm_columns column = {s->value + begin * s->rows + t->first, s->rows, t->rows,
                             end - begin};
    for (int64_t slot = group * s->m; slot < (group + 1) * s->m; ++slot) {
        int32_t *line = s->change + (int64_t)s->member[slot] * s->cols;
        int32_t base = rest_of_slot(s, slot, t);
        s->maxima.add(t->top + (s->n - 1) * TILE_ROWS, column, base, line + begin);
    }
}

static void clear_lines(icd_nm_state *s, int64_t group)
{
    for (int64_t slot = group * s->m; slot < (group + 1) * s->m; ++slot)
        memset(s->change + (int64_t)s->member[slot] * s->cols, 0,
               (size_t)s->cols * sizeof *s->change);
}

/* From kept(c -> x) to changes, and into the transpose. */
static void finish_lines(icd_nm_state *s, int64_t group)
{
    const int32_t *member = s->member + group * s->m;
    int32_t kept = s->change[(int64_t)member[0] * s->cols + member[0]];
    for (int32_t k = 0; k < s->m; ++k) {
        int32_t c = member[k], *line = s->change + (int64_t)c * s->cols;
        int32_t *reverse = s->reverse + c;
        for (int32_t other = 0; other < s->m; ++other)
            line[member[other]] = ICD_NM_NEVER + kept;
        for (int64_t x = 0; x < s->cols; ++x, reverse += s->cols)
            *reverse = line[x] -= kept;
    }
    s->kept[group] = kept;
}

static bool out_of_time(const icd_ctx *ctx, const icd_nm_state *s)
{
    return icd_i_cancelled(ctx) || (s->deadline > 0 && icd_i_now() >= s->deadline);
}

/* The stale groups of [begin, end) as far as one tile of columns shows them. */
static bool add_column_tile(const icd_ctx *ctx, icd_nm_state *s, int64_t begin,
                            int64_t end, const tile *t, int64_t column)
{
    int64_t last = column + TILE_COLS < s->cols ? column + TILE_COLS : s->cols;
    for (int64_t g = begin; g < end; ++g) {
        if (!s->stale[g]) continue;
        if (g % LOOK == 0 && out_of_time(ctx, s)) return false;
        add_tile(s, g, t, column, last);
    }
    return true;
}

static bool refresh_range(const icd_ctx *ctx, icd_nm_state *s, int64_t begin, int64_t end,
                          int16_t *top)
{
    for (int64_t g = begin; g < end; ++g)
        if (s->stale[g]) clear_lines(s, g);
    for (int64_t c = 0; c < s->cols; c += TILE_COLS)
        for (int64_t r = 0; r < s->rows; r += TILE_ROWS) {
            tile t = {r, s->rows - r < TILE_ROWS ? s->rows - r : TILE_ROWS, top};
            if (!add_column_tile(ctx, s, begin, end, &t, c)) return false;
        }
    for (int64_t g = begin; g < end; ++g)
        if (s->stale[g]) finish_lines(s, g);
    return true;
}

typedef struct refresh {
    const icd_ctx *ctx;
    icd_nm_state *state;
    atomic_bool stopped;
} refresh;

static void refresh_chunk(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    refresh *job = arg;
    icd_nm_state *s = job->state;
    int64_t begin, end;
    icd_i_chunk_range(s->groups, chunk, chunks, &begin, &end);
    int16_t *top = s->scratch + (int64_t)worker * (s->n + 1) * TILE_ROWS;
    if (!refresh_range(job->ctx, s, begin, end, top)) atomic_store(&job->stopped, true);
}

bool icd_i_nm_refresh(icd_ctx *ctx, icd_nm_state *s)
{
    int64_t stale = 0;
    refresh job = {.ctx = ctx, .state = s};
    for (int32_t g = 0; g < s->groups; ++g) stale += s->stale[g];
    if (stale * s->m * s->cols * s->rows < PARALLEL_WORK)
        refresh_chunk(&job, 0, 1, 0);
    else
        icd_i_parallel(ctx, 4 * s->workers < s->groups ? 4 * s->workers : s->groups,
                       refresh_chunk, &job);
    if (job.stopped) return false;
    memset(s->stale, 0, (size_t)s->groups);
    return true;
}

int64_t icd_i_nm_kept(const icd_nm_state *s)
{
    int64_t sum = 0;
    for (int32_t g = 0; g < s->groups; ++g) sum += s->kept[g];
    return sum;
}
