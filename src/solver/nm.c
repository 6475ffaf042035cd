#include <icd/nm.h>

#include "base/clock.h"
#include "solver/nm_search.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define M_MAX 32
/* Columns searched together: the tables need 8 window^2 bytes. */
#define WINDOW 2048
/* Annealing that makes fewer exchanges than one for so many columns only shuffles. */
#define COLUMNS_OF_A_SWAP 4
/* What writing an entry of the tables costs, in maxima. */
#define LINE_ENTRY 400
/* Rounds of annealing, and maxima of two numbers to spend on them, at most. */
typedef struct spending {
    int64_t rounds;
    double maxima;
} spending;

static const spending spend[] = {[ICD_EFFORT_LOW] = {7000, 1e10},
                                 [ICD_EFFORT_DEFAULT] = {20000, 1e11},
                                 [ICD_EFFORT_HIGH] = {400000, 4e12}};

/* A search over all columns, window by window. */
typedef struct job {
    const float *saliency;
    int64_t rows;
    int32_t cols, n, m;
    const icd_nm_opts *opts;
    double deadline;
    int32_t *order; /* old_of_new, bettered */
    icd_nm_stats *stats;
} job;

static icd_status check_input(icd_ctx *ctx, const float *saliency, int64_t rows,
                              int64_t cols, int32_t n, int32_t m)
{
    if (n < 1 || n >= m || m > M_MAX)
        return icd_i_fail(ctx, ICD_EINVAL, "N:M", NULL,
                          "found %" PRId32 ":%" PRId32 ", expected 1 <= N < M <= %d", n,
                          m, M_MAX);
    if (rows < 0 || cols < 0 || cols > INT32_MAX || cols % m)
        return icd_i_fail(ctx, ICD_EINVAL, "saliency", NULL,
                          "found %" PRId64 " x %" PRId64
                          ", expected columns in whole groups of %" PRId32,
                          rows, cols, m);
    for (int64_t k = 0; k < rows * cols; ++k)
        if (!(saliency[k] >= 0) || isinf(saliency[k]))
            return icd_i_fail(ctx, ICD_EINVAL, "saliency", NULL,
                              "row %" PRId64 ", column %" PRId64
                              " is %g, expected a finite value >= 0",
                              k / cols, k % cols, (double)saliency[k]);
    return ICD_OK;
}

static void swap_floats(float *a, float *b)
{
    float t = *a;
    *a = *b;
    *b = t;
}

/* Brings the `kept` largest to the front (Hoare's selection). */
static void select_largest(float *x, int64_t count, int64_t kept)
{
    int64_t left = 0, right = count - 1;
    while (left < right) {
        float pivot = x[(left + right) / 2];
        int64_t i = left, j = right;
        while (i <= j) {
            while (x[i] > pivot) ++i;
            while (x[j] < pivot) --j;
            if (i <= j) swap_floats(x + i++, x + j--);
        }
        if (kept <= j)
            right = j;
        else if (kept >= i)
            left = i;
        else
            break;
    }
}

static double sum_of_largest(float *x, int64_t count, int64_t kept)
{
    double sum = 0;
    if (kept < count) select_largest(x, count, kept);
    for (int64_t k = 0; k < kept; ++k) sum += (double)x[k];
    return sum;
}

/* What N:M retains of a row whose columns stand in the order given. */
static double retained_of_row(const job *j, const float *row, const int32_t *order)
{
    double sum = 0;
    for (int64_t first = 0; first < j->cols; first += j->m) {
        float group[M_MAX];
        for (int32_t k = 0; k < j->m; ++k) group[k] = row[order[first + k]];
        sum += sum_of_largest(group, j->m, j->n);
    }
    return sum;
}

/* before, bound and total, by definition. */
static icd_status judge_start(icd_ctx *ctx, const job *j)
{
    float *row = NULL;
    icd_status status = ICD_ALLOC(ctx, j->cols, &row);
    if (status != ICD_OK) return status;
    for (int64_t r = 0; r < j->rows && j->cols; ++r) {
        memcpy(row, j->saliency + r * j->cols, (size_t)j->cols * sizeof *row);
        j->stats->before += retained_of_row(j, row, j->order);
        j->stats->bound += sum_of_largest(row, j->cols, j->cols / j->m * j->n);
        for (int64_t c = 0; c < j->cols; ++c) j->stats->total += (double)row[c];
    }
    icd_i_free(ctx, row);
    return ICD_OK;
}

/* Never below the order as it was. */
static void judge_end(const job *j)
{
    double after = 0;
    for (int64_t r = 0; r < j->rows && j->cols; ++r)
        after += retained_of_row(j, j->saliency + r * j->cols, j->order);
    j->stats->after = after;
    if (after >= j->stats->before) return;
    for (int32_t c = 0; c < j->cols; ++c) j->order[c] = c;
    j->stats->after = j->stats->before;
}

static icd_nm_cooling cooling_of(const icd_nm_state *s, int32_t effort, int32_t searches)
{
    const spending *most = spend + effort;
    double swap = 2. * s->m * s->cols * (double)(s->rows + LINE_ENTRY);
    double look = (double)s->cols * s->cols, maxima = most->maxima / searches;
    icd_nm_cooling cooling = {.by_clock = effort == ICD_EFFORT_HIGH};
    cooling.swaps = (int64_t)(maxima / fmax(swap, 1));
    cooling.rounds = (int64_t)fmin(maxima / fmax(look, 1), (double)most->rounds);
    if (cooling.swaps < s->cols / COLUMNS_OF_A_SWAP) cooling.rounds = 0;
    return cooling;
}

/* One of the searches of a job. */
typedef struct stretch {
    int32_t number, count;
    double deadline;
} stretch;

/* Orders among themselves the columns that `column` lists. */
static icd_status search_window(icd_ctx *ctx, const job *j, const stretch *turn,
                                int32_t *column, int32_t cols)
{
    icd_status status;
    icd_nm_search s = {0};
    icd_rng rng;
    icd_nm_source source = {.saliency = j->saliency,
                            .rows = j->rows,
                            .stride = j->cols,
                            .column = column,
                            .cols = cols,
                            .n = j->n,
                            .m = j->m,
                            .deadline = turn->deadline};
    icd_i_rng_init(&rng, (uint64_t)j->opts->seed, (uint64_t)turn->number);
    ICD_TRY(icd_i_nm_search_init(ctx, &source, rng, &s));
    icd_nm_cooling cooling = cooling_of(&s.state, j->opts->effort, turn->count);
    cooling.warm = j->opts->warm;
    icd_i_nm_anneal(ctx, &s, &cooling);
    icd_i_nm_descend(ctx, &s);
    ICD_TRY(icd_i_check_cancel(ctx));
    for (int32_t k = 0; k < cols; ++k) s.best[k] = column[s.best[k]];
    memcpy(column, s.best, (size_t)cols * sizeof *column);
    j->stats->swaps += s.swaps;
    j->stats->timed_out |= s.stopped || s.clocked;
done:
    icd_i_nm_search_release(ctx, &s);
    return status;
}

/* Groups are dealt out to `windows` windows of nearly one size: neighbours to one window,
 * and in the second deal each to the next. */
static int32_t gather(const job *j, int32_t windows, int32_t window, bool second,
                      int32_t *slot)
{
    int32_t groups = j->cols / j->m, count = 0;
    for (int32_t g = 0; g < groups; ++g) {
        int64_t owner = second ? g % windows : (int64_t)g * windows / groups;
        for (int32_t k = 0; k < j->m && owner == window; ++k)
            slot[count++] = g * j->m + k;
    }
    return count;
}

static icd_status search_windows(icd_ctx *ctx, const job *j)
{
    icd_status status;
    int32_t *slot = NULL, *column = NULL;
    int32_t windows = (j->cols + WINDOW - 1) / WINDOW;
    stretch t = {.count = windows > 1 ? 2 * windows : windows};
    ICD_TRY(ICD_ALLOC(ctx, j->cols, &slot));
    ICD_TRY(ICD_ALLOC(ctx, j->cols, &column));
    for (; t.number < t.count; ++t.number) {
        double now = icd_i_now(), left = fmax(j->deadline - now, 0);
        t.deadline = j->deadline > 0 ? now + left / (t.count - t.number) : 0;
        int32_t count = gather(j, windows, t.number % windows, t.number >= windows, slot);
        for (int32_t k = 0; k < count; ++k) column[k] = j->order[slot[k]];
        ICD_TRY(search_window(ctx, j, &t, column, count));
        for (int32_t k = 0; k < count; ++k) j->order[slot[k]] = column[k];
    }
done:
    icd_i_free(ctx, slot);
    icd_i_free(ctx, column);
    return status;
}

static icd_status run(icd_ctx *ctx, job *j)
{
    icd_status status;
    ICD_TRY(ICD_ALLOC(ctx, j->cols, &j->order));
    for (int32_t c = 0; c < j->cols; ++c) j->order[c] = c;
    ICD_TRY(judge_start(ctx, j));
    ICD_TRY(search_windows(ctx, j));
    judge_end(j);
done:
    return status;
}

icd_status icd_nm_permute(icd_ctx *ctx, const float *saliency, int64_t rows, int64_t cols,
                          int32_t n, int32_t m, const icd_nm_opts *opts, icd_perm **out,
                          icd_nm_stats *stats)
{
    icd_status status;
    icd_nm_opts defaults = {0};
    icd_nm_stats found = {0};
    double begun = icd_i_now();
    job j = {.saliency = saliency, .rows = rows, .n = n, .m = m, .stats = &found};
    *out = NULL;
    j.opts = opts ? opts : &defaults;
    ICD_TRY(check_input(ctx, saliency, rows, cols, n, m));
    j.cols = (int32_t)cols;
    if (j.opts->time_budget_s > 0) j.deadline = begun + j.opts->time_budget_s;
    ICD_TRY(run(ctx, &j));
    ICD_TRY(icd_perm_from_array(ctx, j.order, cols, ICD_FRAME_CHECKPOINT,
                                "N:M permutation", out));
    if (found.bound > found.before)
        found.efficacy = (found.after - found.before) / (found.bound - found.before);
    found.elapsed_s = icd_i_now() - begun;
    if (stats) *stats = found;
done:
    icd_i_free(ctx, j.order);
    return status;
}
