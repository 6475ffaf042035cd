#include "graph/rows.h"

#include "base/threads.h"
#include "core/spot.h"
#include "graph/pairs.h"

#include <inttypes.h>
#include <math.h>

enum {
    STAGE_ENTRIES = 1 << 20, /* 12 MB: enough rows for all threads */
    STAGE_ROWS = 1 << 15,
    STAGE_CHUNKS = 64
};

/* Consecutive rows, computed by the threads and then taken over in order by the caller.
 */
typedef struct stage {
    const icd_rows *rows;
    const icd_finish *how;
    const double *degree; /* d_i, for SYM its square root; NULL: not normalised */
    float floor;          /* weights up to this need not be staged */
    int64_t first, count; /* rows */
    int64_t capacity;     /* entries */
    int64_t *begin;       /* [STAGE_ROWS] first entry of a row */
    int64_t *size;        /* [STAGE_ROWS] entries staged */
    int64_t *found;       /* [STAGE_ROWS] entries with a weight > 0 */
    int32_t *col;
    double *val;
} stage;

static double weigh(const icd_finish *how, int64_t i, int64_t j, double sum)
{
    return how->freq ? sum / (how->freq[i] + how->freq[j] - sum) : sum;
}

/* Symmetric in i and j to the bit. For ROW, (w/d_i + w/d_j)/2 is the mean of D^-1 W and
 * its transpose. */
static double normalise(const stage *s, int64_t i, int64_t j, double weight)
{
    if (!s->degree) return weight;
    if (s->how->normalize == ICD_NORM_ROW)
        return 0.5 * (weight / s->degree[i] + weight / s->degree[j]);
    return weight / (s->degree[i] * s->degree[j]);
}

static void degree_row(stage *s, int64_t r, int32_t worker)
{
    int64_t i = s->first + r;
    int32_t *col = s->col + s->begin[r];
    double *val = s->val + s->begin[r];
    s->size[r] = s->rows->emit(s->rows->self, i, worker, col, val);
    for (int64_t k = 0; k < s->size[r]; k++) val[k] = weigh(s->how, i, col[k], val[k]);
}

static void final_row(stage *s, int64_t r, int32_t worker)
{
    int64_t i = s->first + r, found = 0, kept = 0;
    int32_t *col = s->col + s->begin[r];
    double *val = s->val + s->begin[r];
    int64_t size = s->rows->emit(s->rows->self, i, worker, col, val);
    for (int64_t k = 0; k < size; k++) {
        float w = (float)normalise(s, i, col[k], weigh(s->how, i, col[k], val[k]));
        found += w > 0;
        if (w <= s->floor) continue;
        col[kept] = col[k];
        val[kept++] = (double)w;
    }
    s->size[r] = kept;
    s->found[r] = found;
}

static void degree_chunk(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    stage *s = arg;
    for (int64_t r = chunk; r < s->count; r += chunks) degree_row(s, r, worker);
}

static void final_chunk(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    stage *s = arg;
    for (int64_t r = chunk; r < s->count; r += chunks) final_row(s, r, worker);
}

static icd_status stage_init(icd_ctx *ctx, const icd_rows *rows, const icd_finish *how,
                             stage *s)
{
    icd_status status = ICD_OK;
    int64_t all = 0, longest = 0;
    for (int64_t i = 0; i < rows->n; i++) {
        int64_t bound = rows->bound(rows->self, i);
        all += bound;
        if (bound > longest) longest = bound;
    }
    int64_t usual = all < STAGE_ENTRIES ? all : STAGE_ENTRIES;
    *s = (stage){.rows = rows, .how = how};
    s->capacity = longest > usual ? longest : usual;
    ICD_TRY(ICD_ALLOC(ctx, STAGE_ROWS, &s->begin));
    ICD_TRY(ICD_ALLOC(ctx, STAGE_ROWS, &s->size));
    ICD_TRY(ICD_ALLOC(ctx, STAGE_ROWS, &s->found));
    ICD_TRY(ICD_ALLOC(ctx, s->capacity, &s->col));
    ICD_TRY(ICD_ALLOC(ctx, s->capacity, &s->val));
done:
    return status;
}

static void stage_release(icd_ctx *ctx, stage *s)
{
    icd_i_free(ctx, s->begin);
    icd_i_free(ctx, s->size);
    icd_i_free(ctx, s->found);
    icd_i_free(ctx, s->col);
    icd_i_free(ctx, s->val);
}

/* Fills the stage with the next rows that fit; false: there are none. */
static bool stage_next(icd_ctx *ctx, stage *s, icd_chunk_fn *fn)
{
    int64_t used = 0;
    s->first += s->count;
    s->count = 0;
    while (s->first + s->count < s->rows->n && s->count < STAGE_ROWS) {
        int64_t bound = s->rows->bound(s->rows->self, s->first + s->count);
        if (used + bound > s->capacity) break;
        s->begin[s->count++] = used;
        used += bound;
    }
    if (!s->count) return false;
    icd_i_parallel(ctx, s->count < STAGE_CHUNKS ? s->count : STAGE_CHUNKS, fn, s);
    return true;
}

/* Row sums of the weighted matrix, added up in the order of rows and columns whatever the
 * number of threads. */
static icd_status sum_degrees(icd_ctx *ctx, stage *s, double *degree)
{
    icd_status status = ICD_OK;
    s->first = s->count = 0;
    while (stage_next(ctx, s, degree_chunk)) {
        ICD_TRY(icd_i_check_cancel(ctx));
        for (int64_t r = 0; r < s->count; r++) {
            int64_t end = s->begin[r] + s->size[r];
            double own = 0;
            for (int64_t k = s->begin[r]; k < end; k++) {
                own += s->val[k];
                degree[s->col[k]] += s->val[k];
            }
            degree[s->first + r] += own;
        }
        icd_i_progress(ctx, "normalise", s->first + s->count, s->rows->n);
    }
done:
    return status;
}

static icd_status take_row(icd_ctx *ctx, const stage *s, int64_t r, icd_pairs *pairs)
{
    icd_status status = ICD_OK;
    int64_t i = s->first + r;
    for (int64_t k = s->begin[r]; k < s->begin[r] + s->size[r]; k++) {
        if (!isfinite(s->val[k]))
            return icd_i_fail(
                ctx, ICD_EDATA,
                icd_i_spot("W", "row %" PRId64 ", column %" PRId32, i, s->col[k]).text,
                "scale the weights of the trace down",
                "the weight is larger than float32 can hold");
        icd_pair pair = {(int32_t)i, s->col[k], (float)s->val[k]};
        ICD_TRY(icd_i_pairs_add(ctx, pairs, pair));
    }
    pairs->dropped += s->found[r] - s->size[r];
done:
    return status;
}

static icd_status keep_strongest(icd_ctx *ctx, stage *s, icd_pairs *pairs)
{
    icd_status status = ICD_OK;
    s->first = s->count = 0;
    while (stage_next(ctx, s, final_chunk)) {
        ICD_TRY(icd_i_check_cancel(ctx));
        for (int64_t r = 0; r < s->count; r++) ICD_TRY(take_row(ctx, s, r, pairs));
        s->floor = pairs->floor;
        icd_i_progress(ctx, "graph", s->first + s->count, s->rows->n);
    }
    ICD_TRY(icd_i_pairs_trim(ctx, pairs));
done:
    return status;
}

icd_status icd_i_rows_finish(icd_ctx *ctx, const icd_rows *rows, const icd_finish *how,
                             icd_csr **w, int64_t *dropped)
{
    icd_status status = ICD_OK;
    stage s = {0};
    icd_pairs pairs = {.keep = how->nnz_cap / 2};
    double *degree = NULL;
    *w = NULL;
    ICD_TRY(stage_init(ctx, rows, how, &s));
    if (how->normalize != ICD_NORM_NONE) {
        ICD_TRY(ICD_ALLOC(ctx, rows->n, &degree));
        ICD_TRY(sum_degrees(ctx, &s, degree));
        if (how->normalize == ICD_NORM_SYM)
            for (int64_t i = 0; i < rows->n; i++) degree[i] = sqrt(degree[i]);
        s.degree = degree;
    }
    ICD_TRY(keep_strongest(ctx, &s, &pairs));
    ICD_TRY(icd_i_pairs_csr(ctx, &pairs, rows->n, w));
    (*w)->frame = how->frame;
    *dropped = 2 * pairs.dropped;
done:
    icd_i_pairs_release(ctx, &pairs);
    icd_i_free(ctx, degree);
    stage_release(ctx, &s);
    return status;
}
