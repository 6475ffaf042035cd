#include "adapters/s/units.h"

#include "adapters/adapter.h"

#include <math.h>
#include <string.h>

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static icd_unit_shape shape_of(int64_t rows, int64_t cols, int64_t vector,
                               int64_t granule)
{
    return (icd_unit_shape){.rows = rows,
                            .cols = cols,
                            .vector = vector,
                            .granule = granule,
                            .down = ceil_div(rows, vector),
                            .across = ceil_div(cols, granule),
                            .keep = -1};
}

icd_unit_shape icd_i_unit_shape(const icd_sparsity_opts *opts, int64_t rows, int64_t cols)
{
    int32_t n = 0, m = 0;
    icd_unit_shape shape = shape_of(rows, cols, 1, 1); /* unstructured, N:M */
    switch ((icd_sparsity_type)opts->type) {
    case ICD_S_HDS:
        shape = shape_of(rows, cols, opts->vector, 1);
        shape.group = cols;
        break;
    case ICD_S_BLOCK:
        shape = shape_of(rows, cols, opts->vector, opts->granule);
        break;
    case ICD_S_CHANNEL:
        shape = shape_of(rows, cols, rows > 0 ? rows : 1, 1);
        break;
    default:
        break;
    }
    if (icd_sparsity_nm(opts, &n, &m)) {
        shape.group = m;
        shape.keep = n;
    }
    return shape;
}

int64_t icd_i_unit_weights(const icd_unit_shape *s, int64_t i, int64_t j)
{
    int64_t rows = s->rows - i * s->vector, cols = s->cols - j * s->granule;
    return (rows < s->vector ? rows : s->vector) *
           (cols < s->granule ? cols : s->granule);
}

/* Adds the rows of one row of units, column by column, in row order. */
static void sum_rows(const icd_unit_shape *s, const float *saliency, int64_t i,
                     double *column)
{
    int64_t first = i * s->vector,
            last = first + s->vector < s->rows ? first + s->vector : s->rows;
    memset(column, 0, (size_t)s->cols * sizeof *column);
    for (int64_t r = first; r < last; r++)
        for (int64_t c = 0; c < s->cols; c++)
            column[c] += (double)saliency[r * s->cols + c];
}

icd_status icd_i_unit_sums(icd_ctx *ctx, const icd_unit_shape *s, const float *saliency,
                           const int32_t *order, float *sum)
{
    double *column = NULL;
    icd_status status = ICD_ALLOC(ctx, s->cols, &column);
    if (status != ICD_OK) return status;
    for (int64_t i = 0; i < s->down; i++) {
        sum_rows(s, saliency, i, column);
        for (int64_t j = 0; j < s->across; j++) {
            double unit = 0;
            for (int64_t k = j * s->granule; k < (j + 1) * s->granule && k < s->cols; k++)
                unit += column[order ? order[k] : k];
            sum[i * s->across + j] = (float)unit;
        }
    }
    icd_i_free(ctx, column);
    return ICD_OK;
}

void icd_i_unit_worths(const icd_unit_shape *s, const float *sum, float *worth)
{
    double total = 0, all = (double)s->rows * (double)s->cols;
    for (int64_t u = 0; u < s->down * s->across; u++) total += (double)sum[u];
    for (int64_t i = 0; i < s->down; i++)
        for (int64_t j = 0; j < s->across; j++) {
            int64_t u = i * s->across + j;
            double share = (double)icd_i_unit_weights(s, i, j) / all;
            worth[u] = total > 0 ? (float)((double)sum[u] / total / share) : 0;
        }
}

static icd_status choose_by_floor(icd_ctx *ctx, const icd_unit_shape *s, const float *sum,
                                  double floor, bool *kept)
{
    float *worth = NULL;
    icd_status status = ICD_ALLOC(ctx, s->down * s->across, &worth);
    if (status != ICD_OK) return status;
    icd_i_unit_worths(s, sum, worth);
    for (int64_t u = 0; u < s->down * s->across; u++) kept[u] = (double)worth[u] >= floor;
    icd_i_free(ctx, worth);
    return ICD_OK;
}

icd_status icd_i_unit_choose(icd_ctx *ctx, const icd_unit_shape *s, const float *sum,
                             double rate, double floor, bool *kept)
{
    float *work = NULL;
    int64_t units = s->down * s->across, group = s->group ? s->group : units;
    if (floor > 0 && s->keep < 0) return choose_by_floor(ctx, s, sum, floor, kept);
    icd_status status = ICD_ALLOC(ctx, group, &work);
    if (status != ICD_OK) return status;
    int64_t keep = s->keep >= 0 ? s->keep : llround((1 - rate) * (double)group);
    for (int64_t u = 0; u < units; u += group)
        icd_i_keep_largest(sum + u, group, keep, work, kept + u);
    icd_i_free(ctx, work);
    return ICD_OK;
}

static void set_unit(const icd_unit_shape *s, int64_t i, int64_t j, const int32_t *order,
                     icd_mask *mask)
{
    int64_t first = i * s->vector / mask->vector,
            last = ((i + 1) * s->vector < s->rows ? (i + 1) * s->vector : s->rows) - 1;
    for (int64_t b = first; b <= last / mask->vector; b++)
        for (int64_t k = j * s->granule; k < (j + 1) * s->granule && k < s->cols; k++)
            icd_i_mask_set(mask, b, order ? order[k] : k);
}

icd_status icd_i_unit_mask(icd_ctx *ctx, const icd_unit_shape *s, const bool *kept,
                           const int32_t *order, int32_t mask_vector, icd_mask **out)
{
    icd_status status = icd_i_mask_new(ctx, s->rows, s->cols, mask_vector, out);
    if (status != ICD_OK) return status;
    for (int64_t i = 0; i < s->down; i++)
        for (int64_t j = 0; j < s->across; j++)
            if (kept[i * s->across + j]) set_unit(s, i, j, order, *out);
    return ICD_OK;
}
