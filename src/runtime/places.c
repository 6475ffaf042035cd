#include "runtime/variant.h"

icd_status icd_i_places_new(icd_job *job, icd_places **out)
{
    icd_status status = ICD_OK;
    icd_places *p = NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(job->ctx, 1, &p));
    ICD_TRY(ICD_ALLOC(job->ctx, job->linears, &p->order));
    p->linears = job->linears;
    *out = p;
    p = NULL;
done:
    icd_i_places_free(job->ctx, p);
    return status;
}

void icd_i_places_free(icd_ctx *ctx, icd_places *p)
{
    if (!p) return;
    for (int64_t i = 0; i < p->linears; i++) icd_perm_free(ctx, p->order[i]);
    icd_i_free(ctx, p->order);
    icd_i_free(ctx, p);
}

icd_status icd_i_places_set(icd_ctx *ctx, icd_places *p, int64_t i, int64_t end,
                            const icd_perm *order)
{
    for (; i < end; i++) {
        icd_perm_free(ctx, p->order[i]);
        p->order[i] = NULL;
        icd_status status = order ? icd_perm_copy(ctx, order, &p->order[i]) : ICD_OK;
        if (status != ICD_OK) return status;
    }
    return ICD_OK;
}

icd_status icd_i_places_of(icd_job *job, const icd_layout *layout, icd_places **out)
{
    icd_places *p = NULL;
    *out = NULL;
    icd_status status = icd_i_places_new(job, &p);
    for (int64_t i = 0; status == ICD_OK && i < job->linears; i++)
        status = icd_i_places_set(job->ctx, p, i, i + 1, layout->entry[i].order);
    if (status == ICD_OK)
        *out = p;
    else
        icd_i_places_free(job->ctx, p);
    return status;
}
