#include "runtime/packed.h"
#include "runtime/variant.h"

#include <icd/packed.h>

#include <string.h>

/* The small type that a matrix is executed in; F32: none, with the values that it holds.
 */
static int32_t run_dtype(const icd_packed *p, int32_t device)
{
    const icd_quantized *q = p->quant;
    if (!q) return ICD_RUN_F32;
    bool gpu = device == ICD_RUN_CUDA;
    if (q->dtype == ICD_WEIGHT_BF16) return ICD_RUN_BF16;
    if (q->dtype == ICD_WEIGHT_INT8 && q->group == 0) return ICD_RUN_INT8;
    if (q->dtype == ICD_WEIGHT_FP8_E4M3 && q->group == 0 && gpu) return ICD_RUN_FP8;
    if (q->dtype == ICD_WEIGHT_INT4 && !p->mask && q->group % 32 == 0 && !gpu)
        return ICD_RUN_INT4;
    return ICD_RUN_F32;
}

static icd_status copy_mask(icd_ctx *ctx, const icd_mask *mask, icd_mask **out)
{
    return mask ? icd_i_mask_coarsen(ctx, mask, mask->vector, out) : ICD_OK;
}

/* One linear as it is stored; a small type without a kernel runs as f32. */
static icd_status take(icd_job *job, icd_layout_entry *e, const icd_packed *p)
{
    icd_status status = ICD_OK;
    const icd_kernel_opts *kernel = &job->config->kernel;
    int32_t granule = job->config->layout.granule;
    ICD_TRY(copy_mask(job->ctx, p->mask, &e->mask));
    if (p->order) ICD_TRY(icd_perm_copy(job->ctx, p->order, &e->order));
    if (run_dtype(p, job->config->runner.device) != ICD_RUN_F32) e->quant = p->quant;
    e->granule = granule > 0 ? granule : 4;
    bool nm = p->quant && p->quant->n > 0;
    e->kernel = e->mask && !nm ? icd_i_kernel_kind(kernel) : ICD_KERNEL_DENSE;
done:
    return status;
}

icd_status icd_i_packed_layout(icd_job *job, icd_layout **out, int32_t *dtype)
{
    icd_status status = ICD_OK;
    icd_layout *layout = NULL;
    int64_t found = 0;
    int32_t found_dtype = ICD_RUN_F32;
    *out = NULL;
    ICD_TRY(icd_i_layout_new(job->ctx, &layout));
    for (int64_t i = 0; i < job->linears; i++) {
        const icd_linear *l = job->linear[i].linear;
        const icd_packed *p = icd_model_packed(job->checkpoint, l->tensor);
        ICD_TRY(icd_i_layout_add(job->ctx, layout, l->name, l->group, l->rows, l->cols));
        if (!p) continue;
        found++;
        int32_t small = run_dtype(p, job->config->runner.device);
        if (small != ICD_RUN_F32) found_dtype = small;
        ICD_TRY(take(job, &layout->entry[layout->count - 1], p));
    }
    if (found_dtype != ICD_RUN_F32) icd_i_layout_keep_whole(layout);
    if (found) {
        *out = layout;
        layout = NULL;
        bool gpu = job->config->runner.device == ICD_RUN_CUDA;
        *dtype = found_dtype == ICD_RUN_F32 && gpu ? ICD_RUN_BF16 : found_dtype;
    }
done:
    icd_i_layout_free(job->ctx, layout);
    return status;
}
