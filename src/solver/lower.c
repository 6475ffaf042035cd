#include "solver/lower.h"

#include "base/blas.h"
#include "base/mem.h"
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SWEEPS = 4,
    LANE = 1 << 20,        /* keys that are counted in 32 bits */
    HURRY_ABOVE = 1 << 16, /* entries */
    CHECK_EVERY = 1 << 16, /* indices between two looks at the clock */
    SPECTRAL_AUTO = 256,   /* indices up to which three dense spectra cost milliseconds */
    SPECTRAL_MOST = 4096   /* 128 MB */
};
static const double FLOPS = 2e9;     /* of a dense spectrum, a cautious guess */
static const double SHARE = 0.05;    /* of the time budget at effort high */
static const double GRID = 1e-7;     /* a bound is rounded down to a multiple of it, */
static const double ROUNDING = 1e-9; /* less what the arithmetic may have added */
static const double TILTS[] = {0, 0.5, 1};

typedef struct lower {
    icd_ctx *ctx;
    icd_budget *budget;
    const icd_csr *w;
    int32_t n, g;
    int32_t sweeps;  /* few, where a solve takes little longer than they do */
    int64_t longest; /* row */
    double total;    /* weight of all pairs */
    double *degree;  /* of an index */
    double *price;
    int32_t *scratch;
} lower;

static int64_t row_count(const icd_csr *w, int32_t v)
{
    return w->row_ptr[v + 1] - w->row_ptr[v];
}

/* The bits of a float that is not negative: they order as the values do. */
static int32_t key_of(float value)
{
    int32_t key;
    memcpy(&key, &value, sizeof key);
    return key;
}

static float value_of(int32_t key)
{
    float value;
    memcpy(&value, &key, sizeof value);
    return value;
}

static int64_t count_above(const int32_t *key, int64_t n, int32_t level)
{
    int64_t above = 0;
    for (int64_t begin = 0; begin < n; begin += LANE) {
        int64_t end = begin + LANE < n ? begin + LANE : n;
        int32_t count = 0;
        for (int64_t i = begin; i < end; ++i) count += key[i] > level;
        above += count;
    }
    return above;
}

/* The lowest level that at most k of n keys lie above, or any that just k do. By halving:
 * it needs no order among the keys, and no branch that depends on them. */
static int32_t level_above(const int32_t *key, int64_t n, int64_t k)
{
    int32_t low = key[0], high = key[0];
    for (int64_t i = 1; i < n; ++i) {
        low = key[i] < low ? key[i] : low;
        high = key[i] > high ? key[i] : high;
    }
    if (k >= n) return low;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        int64_t above = count_above(key, n, middle);
        if (above == k) return middle;
        if (above > k)
            low = middle + 1;
        else
            high = middle;
    }
    return high;
}

/* Degree bound. An index keeps at most g - 1 of its pairs inside its granule, so the kept
 * pairs are a feasible x of
 *     max sum w_e x_e,  sum_{e at v} x_e <= g - 1,  0 <= x_e <= 1,
 * and by weak duality every price y >= 0 bounds what is kept:
 *     kept <= (g - 1) sum_v y_v + sum_e max(0, w_e - y_u - y_v).
 * With the others fixed, y_v is best where g - 1 of the w_e - y_u lie above it, or at 0.
 */
static void set_price(lower *b, int32_t v)
{
    const icd_csr *w = b->w;
    int64_t count = 0;
    b->price[v] = 0;
    if (row_count(w, v) < b->g) return;
    for (int64_t k = w->row_ptr[v]; k < w->row_ptr[v + 1]; ++k) {
        double left = (double)w->val[k] - b->price[w->col[k]];
        if (left > 0) b->scratch[count++] = key_of((float)left);
    }
    if (count >= b->g) b->price[v] = value_of(level_above(b->scratch, count, b->g - 1));
}

/* sum_e max(0, w_e - y_u - y_v) is the total less sum_e min(w_e, y_u + y_v), to which
 * only pairs with a priced end add. */
static double kept_at_most(const lower *b)
{
    double kept = b->total;
    for (int32_t v = 0; v < b->n; ++v) {
        double price = b->price[v];
        if (!(price > 0)) continue;
        kept += (b->g - 1) * price;
        for (int64_t k = b->w->row_ptr[v]; k < b->w->row_ptr[v + 1]; ++k) {
            int32_t u = b->w->col[k];
            double both = price + b->price[u], w = (double)b->w->val[k];
            if (u > v || !(b->price[u] > 0)) kept -= both < w ? both : w;
        }
    }
    return kept;
}

static void sweep_prices(lower *b)
{
    for (int32_t v = 0; v < b->n; ++v) {
        if (v % CHECK_EVERY == 0 && icd_i_budget_over(b->budget)) return;
        set_price(b, v);
    }
}

/* Half of what each would pay alone. */
static void start_at_half(lower *b)
{
    for (int32_t v = 0; v < b->n; ++v) {
        int64_t count = row_count(b->w, v);
        b->price[v] = 0;
        if (count < b->g) continue;
        memcpy(b->scratch, b->w->val + b->w->row_ptr[v], (size_t)count * sizeof(float));
        b->price[v] = value_of(level_above(b->scratch, count, b->g - 1)) / 2.0;
    }
}

/* From prices of zero, where the first ends of a pair pay for both, and from half the
 * price that an index would pay alone: either may end lower. */
static double degree_bound(lower *b)
{
    double least = b->total;
    for (int start = b->sweeps < SWEEPS; start < 2 && b->longest >= b->g; ++start) {
        for (int32_t v = 0; v < b->n; ++v) b->price[v] = 0;
        if (start == 1) start_at_half(b);
        for (int32_t sweep = 0; sweep < b->sweeps; ++sweep) sweep_prices(b);
        double kept = kept_at_most(b);
        if (kept < least) least = kept;
    }
    return b->total - least;
}

/* Marks the component of v. @return its size, or less where the time is over */
static int32_t component_of(const lower *b, int32_t v, int32_t *queue, uint8_t *seen)
{
    int32_t end = 0;
    seen[v] = 1;
    queue[end++] = v;
    for (int32_t head = 0; head < end; ++head) {
        if (head % CHECK_EVERY == CHECK_EVERY - 1 && icd_i_budget_over(b->budget)) break;
        for (int64_t k = b->w->row_ptr[queue[head]]; k < b->w->row_ptr[queue[head] + 1];
             ++k) {
            int32_t u = b->w->col[k];
            if (seen[u]) continue;
            seen[u] = 1;
            queue[end++] = u;
        }
    }
    return end;
}

/* Sum over components of ceil(size / g) - 1. */
static int64_t least_parted(const lower *b, int32_t *queue, uint8_t *seen)
{
    int64_t parted = 0;
    for (int32_t v = 0; v < b->n; ++v)
        if (!seen[v]) parted += (component_of(b, v, queue, seen) - 1) / b->g;
    return parted;
}

/* The lightest `parted` of all pairs weigh at least this: those below a level that no
 * more lie below, and the level for each of the others. */
static double lightest(const lower *b, int64_t parted, int32_t *light)
{
    int64_t count = 0, below = 0;
    double sum = 0;
    for (int32_t v = 0; v < b->n; ++v)
        for (int64_t k = b->w->row_ptr[v]; k < b->w->row_ptr[v + 1]; ++k)
            if (b->w->col[k] > v) light[count++] = INT32_MAX - key_of(b->w->val[k]);
    if (parted > count) parted = count;
    if (parted == 0) return 0;
    int32_t level = level_above(light, count, parted);
    for (int64_t k = 0; k < count; ++k) {
        below += light[k] > level;
        sum += light[k] > level ? (double)value_of(INT32_MAX - light[k]) : 0;
    }
    return sum + (double)(parted - below) * (double)value_of(INT32_MAX - level);
}

/* What the forest bound comes to at most: the lightest pairs weigh no more than as many
 * of mean weight. */
static double forest_most(const lower *b)
{
    return 2 * b->total / (double)b->w->nnz * (double)((b->n - 1) / b->g);
}

/* Forest bound. A component of c indices lies in ceil(c/g) granules or more, and the
 * pairs between these join them: at least that many less one are cut, whichever they are,
 * so the lightest of all pairs bound their weight. */
static icd_status forest_bound(const lower *b, double *bound)
{
    icd_status status;
    int32_t *queue = NULL;
    uint8_t *seen = NULL;
    int32_t *light = NULL;
    ICD_TRY(ICD_ALLOC(b->ctx, b->n, &queue));
    ICD_TRY(ICD_ALLOC(b->ctx, b->n, &seen));
    ICD_TRY(ICD_ALLOC_UNSET(b->ctx, b->w->nnz, &light));
    int64_t parted = least_parted(b, queue, seen);
    if (!icd_i_budget_over(b->budget)) *bound = lightest(b, parted, light);
done:
    icd_i_free(b->ctx, queue);
    icd_i_free(b->ctx, seen);
    icd_i_free(b->ctx, light);
    return status;
}

/* M_t = D - W + t (mean degree - D); lower triangle by columns. */
static void fill(const lower *b, double tilt, double *a)
{
    double mean = 2 * b->total / b->n;
    memset(a, 0, (size_t)b->n * (size_t)b->n * sizeof *a);
    for (int32_t v = 0; v < b->n; ++v) {
        double *column = a + (int64_t)v * b->n;
        for (int64_t k = b->w->row_ptr[v]; k < b->w->row_ptr[v + 1]; ++k)
            column[b->w->col[k]] = -(double)b->w->val[k];
        column[v] = (1 - tilt) * b->degree[v] + tilt * mean;
    }
}

/* Donath and Hoffman. With X the 0/1 columns of granules of m_1 >= m_2 >= ... indices,
 * cut = tr(X' (D - W) X) / 2, and tr(X' U X) = sum_v U_vv = 0 for the diagonal U of M_t,
 * so cut = tr(X' M_t X) / 2. The columns are orthogonal with squared lengths m_k, hence
 * the trace is at least sum m_k lambda_k over the smallest eigenvalues, ascending. */
static icd_status spectral_bound(lower *b, double *bound)
{
    icd_status status;
    double *a = NULL, *values = NULL;
    *bound = 0;
    ICD_TRY(ICD_ALLOC(b->ctx, (int64_t)b->n * b->n, &a));
    ICD_TRY(ICD_ALLOC(b->ctx, b->n, &values));
    for (size_t t = 0; t < sizeof TILTS / sizeof *TILTS; ++t) {
        double sum = 0;
        ICD_TRY(icd_i_check_cancel(b->ctx));
        fill(b, TILTS[t], a);
        icd_i_blas_alone();
        int failed = LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'N', 'L', b->n, a, b->n, values);
        icd_i_blas_shared();
        if (failed) {
            status =
                icd_i_fail(b->ctx, ICD_ENUMERIC, "lower bound", "choose bound degree",
                           "LAPACK found no eigenvalues of a matrix of %d rows", b->n);
            goto done;
        }
        for (int32_t k = 0, left = b->n; left > 0; ++k, left -= b->g)
            sum += values[k] * (left < b->g ? left : b->g);
        if (sum / 2 > *bound) *bound = sum / 2;
    }
done:
    icd_i_free(b->ctx, a);
    icd_i_free(b->ctx, values);
    return status;
}

static bool wants_spectral(const lower *b, const icd_solver_opts *o)
{
    double seconds = 4 * (double)b->n * b->n * b->n / FLOPS;
    if (o->bound != ICD_BOUND_AUTO || b->n > SPECTRAL_MOST)
        return o->bound == ICD_BOUND_SPECTRAL;
    return b->n <= SPECTRAL_AUTO ||
           (o->effort == ICD_EFFORT_HIGH && seconds < SHARE * o->time_budget_s);
}

static icd_status lower_init(lower *b)
{
    icd_status status;
    for (int32_t v = 0; v < b->n; ++v)
        if (row_count(b->w, v) > b->longest) b->longest = row_count(b->w, v);
    ICD_TRY(ICD_ALLOC(b->ctx, b->n, &b->degree));
    ICD_TRY(ICD_ALLOC(b->ctx, b->n, &b->price));
    ICD_TRY(ICD_ALLOC(b->ctx, b->longest, &b->scratch));
    for (int64_t k = 0; k < b->w->nnz; ++k) b->total += (double)b->w->val[k] / 2;
done:
    return status;
}

static void count_degrees(lower *b)
{
    for (int32_t v = 0; v < b->n; ++v) {
        b->degree[v] = 0;
        for (int64_t k = b->w->row_ptr[v]; k < b->w->row_ptr[v + 1]; ++k)
            b->degree[v] += (double)b->w->val[k];
    }
}

static icd_status cut_bound(icd_ctx *ctx, const icd_csr *w, const icd_solver_opts *o,
                            icd_budget *budget, double *share)
{
    icd_status status = ICD_OK;
    double best = 0, other = 0;
    lower b = {ctx, budget, .w = w, .n = (int32_t)w->n, .g = o->granule};
    if (w->n <= o->granule) return ICD_OK;
    b.sweeps = SWEEPS;
    if (o->bound == ICD_BOUND_AUTO && o->effort < ICD_EFFORT_HIGH && w->nnz > HURRY_ABOVE)
        b.sweeps = o->effort == ICD_EFFORT_DEFAULT;
    ICD_TRY(lower_init(&b));
    if (!(b.total > 0)) goto done;
    best = degree_bound(&b);
    if (best < forest_most(&b) && !icd_i_budget_over(budget))
        ICD_TRY(forest_bound(&b, &other));
    if (other > best) best = other;
    if (wants_spectral(&b, o) && !icd_i_budget_over(budget)) {
        count_degrees(&b);
        ICD_TRY(spectral_bound(&b, &other));
        if (other > best) best = other;
    }
    *share = floor((best / b.total - ROUNDING) / GRID) * GRID;
    if (!(*share > 0)) *share = 0;
done:
    icd_i_free(ctx, b.degree);
    icd_i_free(ctx, b.price);
    icd_i_free(ctx, b.scratch);
    return status;
}

static int falling(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* A granule is touched by at least the events of its most frequent index. The sum of
 * these maxima over granules is least where indices stand by falling frequency: the k-th
 * largest maximum is never below the (k g)-th largest frequency, since k - 1 granules
 * hold (k - 1) g indices at most. And an event touches ceil(size / g) or more. */
static icd_status touched_bound(icd_ctx *ctx, const icd_access *a, int32_t g,
                                double *bound)
{
    icd_status status;
    double *weight = NULL, fewest = 0, leaders = 0;
    ICD_TRY(ICD_ALLOC(ctx, a->n, &weight));
    for (int64_t e = 0; e < a->events; ++e) {
        double w = a->weight ? (double)a->weight[e] : 1;
        fewest += w * (double)((a->event_ptr[e + 1] - a->event_ptr[e] + g - 1) / g);
        for (int64_t k = a->event_ptr[e]; k < a->event_ptr[e + 1]; ++k)
            weight[a->index[k]] += w;
    }
    qsort(weight, (size_t)a->n, sizeof *weight, falling);
    for (int64_t k = 0; k < a->n; k += g) leaders += weight[k];
    double share = fewest > 0 ? floor((leaders / fewest - ROUNDING) / GRID) * GRID : 1;
    if (share > 1) *bound = share;
done:
    icd_i_free(ctx, weight);
    return status;
}

icd_status icd_i_lower_bounds(icd_ctx *ctx, const icd_problem *problem,
                              const icd_solver_opts *opts, icd_budget *budget,
                              icd_score *score)
{
    icd_status status = ICD_OK;
    icd_budget unlimited = {.ctx = ctx};
    if (!budget) budget = &unlimited;
    score->cut_bound = 0;
    score->T_bound = 1;
    if (problem->w && opts->bound != ICD_BOUND_NONE)
        ICD_TRY(cut_bound(ctx, problem->w, opts, budget, &score->cut_bound));
    if (problem->sets && opts->bound != ICD_BOUND_NONE)
        ICD_TRY(touched_bound(ctx, problem->sets, opts->granule, &score->T_bound));
    status = icd_i_check_cancel(ctx);
done:
    return status;
}
