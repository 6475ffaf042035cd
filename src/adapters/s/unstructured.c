/* unstructured: the weights of highest saliency of the whole matrix survive one by one.
 */
#include "adapters/adapter.h"

#include <math.h>

static int32_t single_row(const icd_sparsity_opts *opts)
{
    (void)opts;
    return 1;
}

static icd_status unstructured_choose(icd_ctx *ctx, const float *saliency,
                                      const icd_sparsity_opts *opts, icd_mask *mask)
{
    icd_status status = ICD_OK;
    float *work = NULL;
    bool *kept = NULL;
    int64_t all = mask->rows * mask->cols;
    ICD_TRY(ICD_ALLOC(ctx, all, &work));
    ICD_TRY(ICD_ALLOC(ctx, all, &kept));
    icd_i_keep_largest(saliency, all, llround((1 - opts->rate) * (double)all), work,
                       kept);
    for (int64_t r = 0; r < mask->rows; r++)
        for (int64_t c = 0; c < mask->cols; c++)
            if (kept[r * mask->cols + c]) icd_i_mask_set(mask, r, c);
done:
    icd_i_free(ctx, kept);
    icd_i_free(ctx, work);
    return status;
}

const icd_sparsity_method icd_i_sparsity_unstructured = {"unstructured", single_row,
                                                         unstructured_choose};
