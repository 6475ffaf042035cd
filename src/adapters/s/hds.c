/* hds: V output rows share one decision per input channel; every row block keeps its best
 * vectors. */
#include "adapters/adapter.h"

#include <math.h>
#include <string.h>

static int32_t hds_vector(const icd_sparsity_opts *opts)
{
    return opts->vector;
}

/* Saliency of a vector: the sum over its rows, accumulated in double in row order. */
static void sum_block(const float *saliency, const icd_mask *mask, int64_t block,
                      double *sum, float *out)
{
    int64_t first = block * mask->vector;
    int64_t last = first + mask->vector < mask->rows ? first + mask->vector : mask->rows;
    memset(sum, 0, (size_t)mask->cols * sizeof *sum);
    for (int64_t r = first; r < last; r++)
        for (int64_t c = 0; c < mask->cols; c++)
            sum[c] += (double)saliency[r * mask->cols + c];
    for (int64_t c = 0; c < mask->cols; c++) out[c] = (float)sum[c];
}

static icd_status hds_choose(icd_ctx *ctx, const float *saliency,
                             const icd_sparsity_opts *opts, icd_mask *mask)
{
    icd_status status = ICD_OK;
    double *sum = NULL;
    float *score = NULL, *work = NULL;
    bool *kept = NULL;
    int64_t keep = llround((1 - opts->rate) * (double)mask->cols);
    ICD_TRY(ICD_ALLOC(ctx, mask->cols, &sum));
    ICD_TRY(ICD_ALLOC(ctx, mask->cols, &score));
    ICD_TRY(ICD_ALLOC(ctx, mask->cols, &work));
    ICD_TRY(ICD_ALLOC(ctx, mask->cols, &kept));
    for (int64_t b = 0; b < mask->blocks; b++) {
        sum_block(saliency, mask, b, sum, score);
        icd_i_keep_largest(score, mask->cols, keep, work, kept);
        for (int64_t c = 0; c < mask->cols; c++)
            if (kept[c]) icd_i_mask_set(mask, b, c);
    }
done:
    icd_i_free(ctx, kept);
    icd_i_free(ctx, work);
    icd_i_free(ctx, score);
    icd_i_free(ctx, sum);
    return status;
}

const icd_sparsity_method icd_i_sparsity_hds = {"hds", hds_vector, hds_choose};
