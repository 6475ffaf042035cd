#include <icd/nm.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/rng.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define M_MAX     32
#define LANES     32
#define STRETCH   4096
#define LOG_STEPS 4096
#define PROBES    1024
/* Gains below this share of what a group keeps may be rounding: a swap and its reverse
 * could both seem to pay. */
#define ROUNDING 4e-6
/* Columns searched together: kept_with needs window^2 numbers. */
#define WINDOW 2048

/*
 * Without its member s, a group keeps in a row the N-1 largest of the other M-1 in any
 * case, and then the larger of their N-th and of whatever x takes the place of s:
 *
 *     kept_with[s][x] = base[s] + sum over rows of max(rest[s][row], x[row])
 *
 * With these in a table a swap is judged in O(1), for any N:M; making one renews 2 M
 * lines of it.
 */
typedef struct search {
    int64_t rows, cols;
    int64_t pitch; /* rows, rounded up to LANES; the padding is zero */
    int32_t n, m;
    float *column;     /* cols x pitch: the saliency, column-major */
    float *top;        /* n + 1 levels x pitch: of the slot at hand, and scratch */
    double *kept_with; /* cols slots x cols columns */
    double *kept;      /* per group */
    int32_t *at;       /* per slot: the column there */
    int32_t *best_at;
    double best;
    double *threshold; /* -ln u at even values of u */
    double (*sum_of_maxima)(const float *a, const float *b, int64_t count);
    void (*sort_rows)(float *restrict level, float *restrict carry, int64_t count);
    icd_rng rng;
    int64_t swaps, most_swaps;
    double deadline;
    bool stopped;
} search;

static void release(icd_ctx *ctx, search *s)
{
    icd_i_free(ctx, s->column);
    icd_i_free(ctx, s->top);
    icd_i_free(ctx, s->kept_with);
    icd_i_free(ctx, s->kept);
    icd_i_free(ctx, s->at);
    icd_i_free(ctx, s->best_at);
    icd_i_free(ctx, s->threshold);
}

static const float *column_at(const search *s, int64_t slot)
{
    return s->column + s->at[slot] * s->pitch;
}

/* Lanes and their order are fixed: the same bits however wide the machine is. */
static double fold_lanes(float *lane)
{
    for (int half = LANES / 2; half; half /= 2)
        for (int k = 0; k < half; ++k) lane[k] += lane[k + half];
    return (double)lane[0];
}

static double sum_of_maxima(const float *a, const float *b, int64_t count)
{
    float lane[LANES] = {0};
    for (int64_t r = 0; r < count; r += LANES)
        for (int k = 0; k < LANES; ++k)
            lane[k] += a[r + k] > b[r + k] ? a[r + k] : b[r + k];
    return fold_lanes(lane);
}

/* Moves the larger value of every row into `level`, the smaller into `carry`. */
static void sort_rows(float *restrict level, float *restrict carry, int64_t count)
{
    for (int64_t r = 0; r < count; ++r) {
        float a = level[r], b = carry[r];
        level[r] = a > b ? a : b;
        carry[r] = a > b ? b : a;
    }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static double
sum_of_maxima_avx2(const float *a, const float *b, int64_t count)
{
    __m256 sum[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                     _mm256_setzero_ps()};
    float lane[LANES];
    for (int64_t r = 0; r < count; r += LANES)
        for (int k = 0; k < 4; ++k)
            sum[k] = _mm256_add_ps(sum[k], _mm256_max_ps(_mm256_loadu_ps(a + r + 8 * k),
                                                         _mm256_loadu_ps(b + r + 8 * k)));
    sum[0] = _mm256_add_ps(sum[0], sum[2]);
    sum[1] = _mm256_add_ps(sum[1], sum[3]);
    _mm256_storeu_ps(lane, _mm256_add_ps(sum[0], sum[1]));
    for (int half = 4; half; half /= 2)
        for (int k = 0; k < half; ++k) lane[k] += lane[k + half];
    return (double)lane[0];
}

__attribute__((target("avx2"))) static void
sort_rows_avx2(float *restrict level, float *restrict carry, int64_t count)
{
    for (int64_t r = 0; r < count; r += 8) {
        __m256 a = _mm256_loadu_ps(level + r), b = _mm256_loadu_ps(carry + r);
        _mm256_storeu_ps(level + r, _mm256_max_ps(a, b));
        _mm256_storeu_ps(carry + r, _mm256_min_ps(a, b));
    }
}
#endif

static void choose_kernels(search *s)
{
    s->sum_of_maxima = sum_of_maxima;
    s->sort_rows = sort_rows;
#if defined(__x86_64__)
    if (!icd_i_cpu_has(ICD_ISA_AVX2)) return;
    s->sum_of_maxima = sum_of_maxima_avx2;
    s->sort_rows = sort_rows_avx2;
#endif
}

/* From the other members of its group: rest of one slot, the last level of top. @return
 * base */
static double rest_of_slot(search *s, int64_t slot)
{
    int64_t first = slot / s->m * s->m, pitch = s->pitch;
    size_t column_bytes = (size_t)pitch * sizeof *s->top;
    float *carry = s->top + s->n * pitch;
    double base = 0;
    memset(s->top, 0, (size_t)s->n * column_bytes);
    for (int64_t k = first; k < first + s->m; ++k) {
        if (k == slot) continue;
        memcpy(carry, column_at(s, k), column_bytes);
        for (int32_t level = 0; level < s->n; ++level)
            s->sort_rows(s->top + level * pitch, carry, pitch);
    }
    for (int32_t k = 0; k + 1 < s->n; ++k) {
        const float *level = s->top + k * pitch;
        base += s->sum_of_maxima(level, level, pitch);
    }
    return base;
}

static void refresh_group(search *s, int64_t group)
{
    int64_t first = group * s->m;
    for (int64_t slot = first; slot < first + s->m; ++slot) {
        double base = rest_of_slot(s, slot);
        double *line = s->kept_with + slot * s->cols;
        const float *rest = s->top + (s->n - 1) * s->pitch;
        for (int64_t c = 0; c < s->cols; ++c)
            line[c] = base + s->sum_of_maxima(rest, s->column + c * s->pitch, s->pitch);
    }
    s->kept[group] = s->kept_with[first * s->cols + s->at[first]];
}

static double total_kept(const search *s)
{
    double sum = 0;
    for (int64_t g = 0; g < s->cols / s->m; ++g) sum += s->kept[g];
    return sum;
}

static double swap_gain(const search *s, int64_t a, int64_t b)
{
    return s->kept_with[a * s->cols + s->at[b]] + s->kept_with[b * s->cols + s->at[a]] -
           s->kept[a / s->m] - s->kept[b / s->m];
}

static void swap(search *s, int64_t a, int64_t b)
{
    int32_t column = s->at[a];
    s->at[a] = s->at[b];
    s->at[b] = column;
    refresh_group(s, a / s->m);
    refresh_group(s, b / s->m);
    s->swaps++;
}

static void keep_best(search *s)
{
    double kept = total_kept(s);
    if (kept <= s->best) return;
    s->best = kept;
    memcpy(s->best_at, s->at, (size_t)s->cols * sizeof *s->at);
}

static bool must_stop(const icd_ctx *ctx, search *s)
{
    if (s->deadline > 0 && icd_i_now() >= s->deadline) s->stopped = true;
    if (icd_i_cancelled(ctx)) s->stopped = true;
    return s->stopped;
}

static int64_t pick(search *s)
{
    return (int64_t)((uint64_t)icd_i_rng_u32(&s->rng) * (uint64_t)s->cols >> 32);
}

/* A share of the mean loss of a random swap that loses something. */
static double first_temperature(search *s)
{
    double loss = 0;
    int64_t count = 0;
    for (int k = 0; k < PROBES; ++k) {
        int64_t a = pick(s), b = pick(s);
        double gain = a / s->m == b / s->m ? 0 : swap_gain(s, a, b);
        if (gain >= 0) continue;
        loss -= gain;
        count++;
    }
    return count ? .2 * loss / (double)count : 0;
}

static void anneal(const icd_ctx *ctx, search *s, int64_t offers)
{
    double hot = first_temperature(s);
    for (int64_t done = 0; done < offers && hot > 0; done += STRETCH) {
        double heat = hot * pow(.15, (double)done / (double)offers);
        if (must_stop(ctx, s)) return;
        for (int k = 0; k < STRETCH; ++k) {
            int64_t a = pick(s), b = pick(s);
            uint32_t u = icd_i_rng_u32(&s->rng) / (UINT32_MAX / LOG_STEPS + 1);
            if (a / s->m != b / s->m && swap_gain(s, a, b) > -heat * s->threshold[u])
                swap(s, a, b);
        }
        keep_best(s);
    }
}

/* The best swap of all. @return its gain */
static double find_best_swap(const search *s, int64_t *best_a, int64_t *best_b)
{
    double best = 0;
    for (int64_t a = 0; a < s->cols; ++a)
        for (int64_t b = (a / s->m + 1) * s->m; b < s->cols; ++b) {
            double gain = swap_gain(s, a, b);
            if (gain <= best) continue;
            best = gain;
            *best_a = a;
            *best_b = b;
        }
    return best;
}

/* Steepest ascent; `least` keeps rounding from passing for a gain. */
static void ascend(const icd_ctx *ctx, search *s, double least)
{
    int64_t a = 0, b = 0, most = s->swaps + s->most_swaps;
    while (s->swaps < most && !must_stop(ctx, s)) {
        if (find_best_swap(s, &a, &b) <= least) break;
        swap(s, a, b);
    }
    keep_best(s);
}

/* `s` has its sizes; its columns are those of the saliency from `first` on. */
static icd_status prepare(icd_ctx *ctx, search *s, const float *saliency, int64_t stride,
                          int64_t first)
{
    icd_status status;
    s->pitch = (s->rows + LANES - 1) / LANES * LANES;
    ICD_TRY(ICD_ALLOC(ctx, s->cols * s->pitch, &s->column));
    ICD_TRY(ICD_ALLOC(ctx, (s->n + 1) * s->pitch, &s->top));
    ICD_TRY(ICD_ALLOC(ctx, s->cols * s->cols, &s->kept_with));
    ICD_TRY(ICD_ALLOC(ctx, s->cols / s->m, &s->kept));
    ICD_TRY(ICD_ALLOC(ctx, s->cols, &s->at));
    ICD_TRY(ICD_ALLOC(ctx, s->cols, &s->best_at));
    ICD_TRY(ICD_ALLOC(ctx, LOG_STEPS, &s->threshold));
    for (int64_t r = 0; r < s->rows; ++r)
        for (int64_t c = 0; c < s->cols; ++c)
            s->column[c * s->pitch + r] = saliency[r * stride + first + c];
    for (int64_t c = 0; c < s->cols; ++c) s->at[c] = s->best_at[c] = (int32_t)c;
    for (int k = 0; k < LOG_STEPS; ++k) s->threshold[k] = -log((k + .5) / LOG_STEPS);
    choose_kernels(s);
    for (int64_t g = 0; g < s->cols / s->m; ++g) refresh_group(s, g);
    s->best = total_kept(s);
done:
    return status;
}

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

static int by_value_falling(const void *x, const void *y)
{
    float a = *(const float *)x, b = *(const float *)y;
    return (a < b) - (a > b);
}

/* The sum of everything, and the best N/M of every row. */
static icd_status sum_bounds(icd_ctx *ctx, const float *saliency, const search *s,
                             icd_nm_stats *stats)
{
    float *row = NULL;
    icd_status status = ICD_ALLOC(ctx, s->cols, &row);
    if (status != ICD_OK) return status;
    int64_t kept = s->cols / s->m * s->n;
    for (int64_t r = 0; r < s->rows && s->cols; ++r) {
        memcpy(row, saliency + r * s->cols, (size_t)s->cols * sizeof *row);
        qsort(row, (size_t)s->cols, sizeof *row, by_value_falling);
        for (int64_t c = 0; c < s->cols; ++c) {
            stats->total += (double)row[c];
            if (c < kept) stats->bound += (double)row[c];
        }
    }
    icd_i_free(ctx, row);
    return ICD_OK;
}

/* What an effort spends on a window, in sums of rest and column over rows. */
typedef struct spending {
    int64_t passes; /* of annealing, over all pairs of columns */
    double anneal, ascend;
} spending;

static const spending spend[] = {[ICD_EFFORT_LOW] = {1500, 1e9, 2e10},
                                 [ICD_EFFORT_DEFAULT] = {4000, 1e10, 1e11},
                                 [ICD_EFFORT_HIGH] = {40000, 1e12, 1e13}};

/* About one offer in 200 becomes a swap. Annealing that is too short only shuffles: none
 * then. */
static int64_t offers_of(const search *s, const spending *e, double swap_work)
{
    double pairs = .5 * (double)s->cols * (double)(s->cols - 1);
    double most = 200 * e->anneal / swap_work;
    if (most < 50 * pairs) return 0;
    return (int64_t)fmin(most, (double)e->passes * pairs);
}

/* Orders the columns [first, first + s->cols) among themselves. */
static icd_status search_window(icd_ctx *ctx, search *s, const float *saliency,
                                int64_t stride, int64_t first, const icd_nm_opts *opts,
                                icd_nm_stats *stats, int32_t *order)
{
    icd_status status;
    const spending *e = spend + opts->effort;
    ICD_TRY(prepare(ctx, s, saliency, stride, first));
    double work =
        fmax(1, 2. * s->m * (double)s->cols * (double)s->pitch); /* no rows: no work */
    double least = ROUNDING * s->best / (double)(s->cols / s->m + 1);
    stats->before += s->best;
    icd_i_rng_init(&s->rng, (uint64_t)opts->seed, (uint64_t)first);
    s->most_swaps = 1 + (int64_t)(e->ascend / work);
    anneal(ctx, s, offers_of(s, e, work));
    ascend(ctx, s, least);
    ICD_TRY(icd_i_check_cancel(ctx));
    stats->after += s->best;
    stats->swaps += s->swaps;
    stats->timed_out |= s->stopped;
    for (int64_t k = 0; k < s->cols; ++k)
        order[first + k] = (int32_t)first + s->best_at[k];
done:
    release(ctx, s);
    return status;
}

static icd_status search_windows(icd_ctx *ctx, const search *whole, const float *saliency,
                                 const icd_nm_opts *opts, icd_nm_stats *stats,
                                 int32_t *order)
{
    icd_status status = ICD_OK;
    int64_t most = WINDOW / whole->m * whole->m;
    for (int64_t first = 0; first < whole->cols; first += most) {
        search s = *whole;
        s.cols = whole->cols - first < most ? whole->cols - first : most;
        ICD_TRY(search_window(ctx, &s, saliency, whole->cols, first, opts, stats, order));
    }
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
    int32_t *order = NULL;
    double begun = icd_i_now();
    *out = NULL;
    if (!opts) opts = &defaults;
    ICD_TRY(check_input(ctx, saliency, rows, cols, n, m));
    search whole = {.rows = rows, .cols = cols, .n = n, .m = m};
    if (opts->time_budget_s > 0) whole.deadline = begun + opts->time_budget_s;
    ICD_TRY(ICD_ALLOC(ctx, cols, &order));
    ICD_TRY(sum_bounds(ctx, saliency, &whole, &found));
    ICD_TRY(search_windows(ctx, &whole, saliency, opts, &found, order));
    ICD_TRY(icd_perm_from_array(ctx, order, cols, ICD_FRAME_CHECKPOINT, "N:M permutation",
                                out));
    if (found.bound > found.before)
        found.efficacy = (found.after - found.before) / (found.bound - found.before);
    found.elapsed_s = icd_i_now() - begun;
    if (stats) *stats = found;
done:
    icd_i_free(ctx, order);
    return status;
}
