/* What matrices share: the order of their common input, and a common budget. */
#include "adapters/adapter.h"
#include "adapters/s/units.h"

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

/* Worth of every unit of a matrix, appended to a list that grows. */
typedef struct worths {
    float *value;
    int64_t count, capacity;
} worths;

static icd_status add_worths(icd_ctx *ctx, const icd_matrix *w,
                             const icd_calibration *cal, const int32_t *order,
                             const icd_sparsity_opts *opts, worths *all)
{
    icd_status status = ICD_OK;
    float *saliency = NULL;
    icd_unit_shape s = icd_i_unit_shape(opts, w->rows, w->cols);
    int64_t units = s.down * s.across;
    ICD_TRY(ICD_ALLOC(ctx, w->rows * w->cols, &saliency));
    ICD_TRY(icd_sparsity_saliency(ctx, w, cal, opts, saliency));
    ICD_TRY(icd_i_grow(ctx, (void **)&all->value, &all->capacity, all->count + units,
                       sizeof *all->value));
    float *worth = all->value + all->count;
    ICD_TRY(icd_i_unit_sums(ctx, &s, saliency, order, worth));
    icd_i_unit_worths(&s, worth, worth);
    all->count += units;
done:
    icd_i_free(ctx, saliency);
    return status;
}

icd_status icd_sparsity_floor(icd_ctx *ctx, const icd_matrix *w,
                              const icd_calibration *cal, const icd_sparsity_place *place,
                              int64_t count, const icd_sparsity_opts *opts, double *floor)
{
    icd_status status = ICD_OK;
    worths all = {0};
    *floor = 0;
    for (int64_t i = 0; i < count; i++) {
        const icd_perm *order = place ? place[i].order : NULL;
        ICD_TRY(add_worths(ctx, &w[i], cal ? &cal[i] : NULL,
                           order ? order->old_of_new : NULL, opts, &all));
    }
    int64_t keep = llround((1 - opts->rate) * (double)all.count);
    if (keep > 0 && keep < all.count)
        *floor = (double)icd_i_select_descending(all.value, all.count, keep - 1);
done:
    icd_i_free(ctx, all.value);
    return status;
}
