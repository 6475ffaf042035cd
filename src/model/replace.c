#include "model/model_private.h"

#include <string.h>

static icd_status replace(icd_ctx *ctx, icd_model *model, const icd_replacement *with)
{
    float *copy = NULL;
    icd_slot *slot = icd_i_model_slot(model, with->name);
    if (!slot)
        return icd_i_fail(ctx, ICD_EINVAL, model->name, NULL, "no tensor '%.200s'",
                          with->name);
    icd_status status = ICD_ALLOC(ctx, slot->tensor.count, &copy);
    if (status != ICD_OK) return status;
    if (slot->tensor.count)
        memcpy(copy, with->data, (size_t)slot->tensor.count * sizeof *copy);
    icd_i_free(ctx, slot->owned);
    slot->owned = copy;
    slot->tensor.data = copy;
    slot->tensor.dtype = ICD_F32;
    return ICD_OK;
}

icd_status icd_model_replace(icd_ctx *ctx, const icd_model *model,
                             const icd_replacement *with, int64_t count, icd_model **out)
{
    icd_status status;
    icd_model *replaced = NULL;
    *out = NULL;
    ICD_TRY(icd_i_model_view(ctx, model, &replaced));
    for (int64_t i = 0; i < count; ++i) ICD_TRY(replace(ctx, replaced, &with[i]));
    *out = replaced;
    replaced = NULL;
done:
    icd_model_free(ctx, replaced);
    return status;
}
