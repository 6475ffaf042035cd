/* What matrices share: the order of their common input, and a common budget. */
#include "adapters/adapter.h"
#include "adapters/s/units.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Adds each column's share of the matrix's saliency. */
static icd_status add_shares(icd_ctx *ctx, const icd_matrix *w,
                             const icd_calibration *cal, const icd_sparsity_opts *opts,
                             double *share)
{
    icd_status status = ICD_OK;
    float *saliency = NULL;
    double *column = NULL, total = 0;
    ICD_TRY(ICD_ALLOC(ctx, w->rows * w->cols, &saliency));
    ICD_TRY(ICD_ALLOC(ctx, w->cols, &column));
    ICD_TRY(icd_sparsity_saliency(ctx, w, cal, opts, saliency));
    for (int64_t r = 0; r < w->rows; r++)
        for (int64_t c = 0; c < w->cols; c++)
            column[c] += (double)saliency[r * w->cols + c];
    for (int64_t c = 0; c < w->cols; c++) total += column[c];
    for (int64_t c = 0; c < w->cols; c++) share[c] += total > 0 ? column[c] / total : 0;
done:
    icd_i_free(ctx, saliency);
    icd_i_free(ctx, column);
    return status;
}

typedef struct ranked {
    double share;
    int32_t index;
} ranked;

static int by_falling_share(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->share != y->share) return x->share < y->share ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

static icd_status sorted(icd_ctx *ctx, const double *share, int64_t n, uint64_t from,
                         icd_perm **out)
{
    icd_status status = ICD_OK;
    ranked *rank = NULL;
    int32_t *order = NULL;
    ICD_TRY(ICD_ALLOC(ctx, n, &rank));
    ICD_TRY(ICD_ALLOC(ctx, n, &order));
    for (int64_t c = 0; c < n; c++) rank[c] = (ranked){share[c], (int32_t)c};
    if (n) qsort(rank, (size_t)n, sizeof *rank, by_falling_share);
    for (int64_t c = 0; c < n; c++) order[c] = rank[c].index;
    status = icd_perm_from_array(ctx, order, n, from, "block order", out);
done:
    icd_i_free(ctx, rank);
    icd_i_free(ctx, order);
    return status;
}

icd_status icd_sparsity_block_order(icd_ctx *ctx, const icd_matrix *w,
                                    const icd_calibration *cal, int64_t count,
                                    const icd_sparsity_opts *opts, uint64_t from,
                                    icd_perm **out)
{
    icd_status status = ICD_OK;
    double *share = NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, w[0].cols, &share));
    for (int64_t i = 0; i < count; i++)
        ICD_TRY(add_shares(ctx, &w[i], cal ? &cal[i] : NULL, opts, share));
    status = sorted(ctx, share, w[0].cols, from, out);
done:
    icd_i_free(ctx, share);
    return status;
}

/* A unit of some matrix. */
typedef struct unit {
    float worth; /* >= 0 */
    float size;  /* how many weights it has */
} unit;

typedef struct units {
    unit *item;
    int64_t count, capacity;
} units;

static icd_status append(icd_ctx *ctx, const icd_unit_shape *s, const float *worth,
                         units *all)
{
    icd_status status = icd_i_grow(ctx, (void **)&all->item, &all->capacity,
                                   all->count + s->down * s->across, sizeof *all->item);
    if (status != ICD_OK) return status;
    for (int64_t i = 0; i < s->down; i++)
        for (int64_t j = 0; j < s->across; j++)
            all->item[all->count++] =
                (unit){*worth++, (float)icd_i_unit_weights(s, i, j)};
    return ICD_OK;
}

/* What S cannot be applied to (NaN) takes no part; the adapter says why. */
static icd_status add_units(icd_ctx *ctx, const icd_matrix *w, const icd_calibration *cal,
                            const int32_t *order, const icd_sparsity_opts *opts,
                            units *all)
{
    icd_status status = ICD_OK;
    float *saliency = NULL, *worth = NULL;
    icd_unit_shape s = icd_i_unit_shape(opts, w->rows, w->cols);
    ICD_TRY(ICD_ALLOC(ctx, w->rows * w->cols, &saliency));
    ICD_TRY(ICD_ALLOC(ctx, s.down * s.across, &worth));
    status = icd_sparsity_saliency(ctx, w, cal, opts, saliency);
    if (status == ICD_EDATA) {
        icd_ctx_clear(ctx);
        status = ICD_OK;
        goto done;
    }
    ICD_TRY(status);
    ICD_TRY(icd_i_unit_sums(ctx, &s, saliency, order, worth));
    icd_i_unit_worths(&s, worth, worth);
    status = append(ctx, &s, worth, all);
done:
    icd_i_free(ctx, saliency);
    icd_i_free(ctx, worth);
    return status;
}

/* Bits of a float >= 0, which rise with it. */
static uint32_t bits_of(float worth)
{
    uint32_t bits;
    memcpy(&bits, &worth, sizeof bits);
    return bits;
}

enum { HALF = 16, BINS = 1 << HALF };

/* Sums the weights of units by 16 bits of their worth, of those whose bits above them are
   `above`, and walks down from the largest until `left` of them are kept. */
static uint32_t walk(const units *all, int shift, uint32_t above, double *bin,
                     double *left)
{
    uint32_t at = BINS - 1;
    memset(bin, 0, BINS * sizeof *bin);
    for (int64_t u = 0; u < all->count; u++) {
        uint32_t bits = bits_of(all->item[u].worth);
        if (shift || bits >> HALF == above)
            bin[bits >> shift & (BINS - 1)] += (double)all->item[u].size;
    }
    for (; at > 0 && bin[at] < *left; at--) *left -= bin[at];
    return at;
}

/* The worth of the last unit among the best ones that hold `keep` weights together. */
static icd_status find_cut(icd_ctx *ctx, const units *all, double keep, float *out)
{
    double *bin = NULL;
    icd_status status = ICD_ALLOC(ctx, BINS, &bin);
    if (status != ICD_OK) return status;
    uint32_t high = walk(all, HALF, 0, bin, &keep);
    uint32_t bits = high << HALF | walk(all, 0, high, bin, &keep);
    memcpy(out, &bits, sizeof bits);
    icd_i_free(ctx, bin);
    return ICD_OK;
}

icd_status icd_sparsity_floor(icd_ctx *ctx, const icd_matrix *w,
                              const icd_calibration *cal, const icd_sparsity_place *place,
                              int64_t count, const icd_sparsity_opts *opts, double *floor)
{
    icd_status status = ICD_OK;
    units all = {0};
    double weights = 0;
    float cut = 0;
    *floor = 0;
    for (int64_t i = 0; i < count; i++) {
        const icd_perm *order = place ? place[i].order : NULL;
        ICD_TRY(add_units(ctx, &w[i], cal ? &cal[i] : NULL,
                          order ? order->old_of_new : NULL, opts, &all));
    }
    for (int64_t u = 0; u < all.count; u++) weights += (double)all.item[u].size;
    /* to the nearest unit */
    double half = all.count ? weights / (double)all.count / 2 : 0;
    double keep = (1 - opts->rate) * weights - half;
    if (opts->rate <= 0 || keep <= 0) goto done;
    ICD_TRY(find_cut(ctx, &all, keep, &cut));
    *floor = fmax((double)cut, (double)FLT_MIN); /* what is zero already may always go */
done:
    icd_i_free(ctx, all.item);
    return status;
}
