#include "runner/cuda/layer.h"

icd_status icd_i_gpu_stage_new(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_linear *linear,
                               int64_t count, int64_t tokens, icd_gpu_stage *out)
{
    icd_status status = ICD_OK;
    int64_t widest = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t bytes = linear[i].slots * icd_i_gpu_size(linear[i].type);
        widest = bytes > widest ? bytes : widest;
    }
    ICD_TRY(icd_device_alloc(ctx, gpu->device, tokens * widest, "staged activations",
                             &out->rows));
    ICD_TRY(icd_device_alloc(ctx, gpu->device, tokens * (int64_t)sizeof(float),
                             "scales of activations", &out->scale));
done:
    return status;
}

icd_status icd_i_gpu_rows_to(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_rows pass,
                             const icd_gpu_linear *next, const icd_gpu_stage *stage)
{
    if (next) {
        pass.order = next->order;
        pass.staged = stage->rows;
        pass.scale = stage->scale;
        pass.slots = next->slots;
        pass.type = next->type;
        pass.step = next->step;
    }
    return icd_i_gpu_run(ctx, gpu, ICD_RUN_ROWS, pass.tokens, ICD_GPU_ROWS, &pass);
}

icd_status icd_i_gpu_multiply(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_linear *l,
                              const icd_gpu_stage *stage, icd_dptr y)
{
    return icd_i_gpu_product(ctx, gpu, l, stage->rows, stage->scale, y, l->info->rows);
}

icd_status icd_i_gpu_apply(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_linear *l,
                           icd_dptr x, int64_t ldx, int32_t op,
                           const icd_gpu_stage *stage, icd_dptr y)
{
    const icd_dptr none = {0};
    bool wide = op == ICD_GPU_COPY_WIDE;
    icd_gpu_rows pass = {.y = wide ? none : x,
                         .x = wide ? x : none,
                         .ldy = ldx,
                         .tokens = (int32_t)l->tokens,
                         .n = (int32_t)l->info->cols,
                         .op = op};
    bool as_is = l->plain && op == ICD_GPU_COPY && l->slots == ldx;
    icd_status status = as_is ? ICD_OK : icd_i_gpu_rows_to(ctx, gpu, pass, l, stage);
    if (status != ICD_OK) return status;
    return icd_i_gpu_product(ctx, gpu, l, as_is ? x : stage->rows, stage->scale, y,
                             l->info->rows);
}

icd_status icd_i_gpu_attend(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_attention *p)
{
    int64_t tiles = (p->seq + ICD_GPU_QUERIES - 1) / ICD_GPU_QUERIES;
    if (p->dim > ICD_GPU_HEAD)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, "attention", NULL,
                          "found heads of %d values, a GPU takes at most %d", p->dim,
                          ICD_GPU_HEAD);
    return icd_i_gpu_run(ctx, gpu,
                         p->dim <= 64 ? ICD_RUN_ATTENTION_64 : ICD_RUN_ATTENTION_128,
                         tiles * p->heads * p->batch, 128, p);
}

icd_status icd_i_gpu_check_observers(icd_ctx *ctx, const icd_runner *r)
{
    if (!r->observe && !r->observe_output && !r->attention) return ICD_OK;
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, "runner", "set runner.device to cpu",
                      "tracing and calibration look inside a step, which a GPU runner "
                      "does not show");
}
