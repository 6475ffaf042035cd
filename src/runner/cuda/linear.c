/* Linears on a device: which type, packing, local orders, where the weights lie. */
#include "runner/cuda/dense.h"

#include "kernels/cuda/pack.h"

#include <string.h>

static icd_status check_vector(icd_ctx *ctx, const icd_linear *info, int32_t vector)
{
    if (vector == 64 || vector == 128) return ICD_OK;
    return icd_i_fail(ctx, ICD_EINVAL, info->name, "set kernel.vector",
                      "found row blocks of %d rows, a GPU takes 64 or 128", vector);
}

/* What a layout says, made whole: no entry is dense, AUTO is dense until it is measured.
 */
static icd_layout_entry entry_of(const icd_linear *info, const icd_layout_entry *given)
{
    icd_layout_entry e = {.linear = (char *)(uintptr_t)info->name,
                          .rows = info->rows,
                          .cols = info->cols,
                          .granule = ICD_GROUP};
    if (given) e = *given;
    if (e.kernel == ICD_KERNEL_AUTO) e.kernel = ICD_KERNEL_DENSE;
    return e;
}

/* Weights of a layout that are in the run's type, else rounded here. */
static icd_status find_small(icd_ctx *ctx, icd_runner *r, const icd_gpu_linear *l,
                             const icd_layout_entry *e, icd_quantized **own,
                             const icd_quantized **out)
{
    icd_matrix m = {l->info->tensor, NULL, l->info->rows, l->info->cols};
    icd_status status = ICD_OK;
    *out = e->quant;
    if (*out) return ICD_OK;
    if (l->type == ICD_GPU_INT8) {
        status = icd_i_linear_quantize(ctx, r, l->info, own);
    } else {
        status = icd_i_runner_tensor(ctx, r, l->info->tensor, &m.w);
        if (status == ICD_OK)
            status = icd_quantize_matrix(ctx, &m, ICD_WEIGHT_FP8_E4M3, 0, own);
    }
    *out = *own;
    return status;
}

static icd_status find_weights(icd_ctx *ctx, icd_runner *r, icd_gpu_linear *l,
                               const icd_layout_entry *e, icd_gpu_weights *out,
                               icd_quantized **own)
{
    const float *w = NULL;
    const icd_quantized *q = NULL;
    icd_status status = ICD_OK;
    if (l->type == ICD_GPU_BF16) {
        status = icd_i_runner_tensor(ctx, r, l->info->tensor, &w);
        out->w = w;
        return status;
    }
    status = find_small(ctx, r, l, e, own, &q);
    if (status != ICD_OK) return status;
    out->w = q->q;
    out->scale = q->scale;
    return ICD_OK;
}

/* Operands: int8 or e4m3 as the run says, bf16 where it says so or where a linear is to
 * keep what it has. Weights that a layout brings in
 * another type, or with a scale for part of a row, have no kernel here. */
static icd_status choose_type(icd_ctx *ctx, const icd_runner *r,
                              const icd_layout_entry *e, int32_t *out)
{
    const icd_quantized *q = e->quant;
    int32_t run = r->opts.dtype,
            wanted = run == ICD_RUN_FP8 ? ICD_WEIGHT_FP8_E4M3 : ICD_WEIGHT_INT8;
    *out = run == ICD_RUN_INT8  ? ICD_GPU_INT8
           : run == ICD_RUN_FP8 ? ICD_GPU_FP8
                                : ICD_GPU_BF16;
    if (e->whole) *out = ICD_GPU_BF16;
    if (!q || *out == ICD_GPU_BF16) return ICD_OK;
    if (q->dtype == wanted && q->group == 0) return ICD_OK;
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, e->linear, "set runner.device to cpu",
                      "found weights in %s with %s, a GPU runs %s with one scale a row",
                      icd_weight_dtype_name(q->dtype),
                      q->group ? "a scale a group" : "a scale a row",
                      icd_weight_dtype_name(wanted));
}

static icd_status upload_lists(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l,
                               const int32_t *live)
{
    icd_status status = ICD_OK;
    int64_t granules = l->block_ptr[l->plan->blocks];
    ICD_TRY(ICD_GPU_PUT(ctx, gpu, live,
                        icd_i_gpu_live_entries(l->plan, l->type, granules), l->info->name,
                        &l->live));
    ICD_TRY(ICD_GPU_PUT(ctx, gpu, l->block_ptr, l->plan->blocks + 1, l->info->name,
                        &l->d_block_ptr));
done:
    return status;
}

static icd_status upload_weights(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l,
                                 const int32_t *live, const void *w)
{
    icd_status status = ICD_OK;
    unsigned char *block = NULL;
    int64_t bytes = (int64_t)l->plan->vector * ICD_GPU_GRANULE, widest = 0;
    for (int64_t b = 0; b < l->plan->blocks; b++)
        if (l->block_ptr[b + 1] - l->block_ptr[b] > widest)
            widest = l->block_ptr[b + 1] - l->block_ptr[b];
    ICD_TRY(ICD_ALLOC(ctx, widest * bytes, &block));
    ICD_TRY(icd_device_alloc(ctx, gpu->device, l->block_ptr[l->plan->blocks] * bytes,
                             l->info->name, &l->w));
    for (int64_t b = 0; b < l->plan->blocks; b++) {
        icd_i_gpu_pack(l->plan, l->type, l->block_ptr, live, w, b, block);
        ICD_TRY(icd_device_upload(ctx, gpu->device,
                                  icd_dptr_add(l->w, l->block_ptr[b] * bytes), block,
                                  (l->block_ptr[b + 1] - l->block_ptr[b]) * bytes));
    }
done:
    icd_i_free(ctx, block);
    return status;
}

static icd_status pack(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l,
                       const icd_gpu_weights *from)
{
    icd_status status = ICD_OK;
    int32_t *live = NULL;
    ICD_TRY(ICD_ALLOC(ctx, l->plan->blocks + 1, &l->block_ptr));
    int64_t granules = icd_i_gpu_count(l->plan, l->type, l->block_ptr);
    ICD_TRY(ICD_ALLOC(ctx, icd_i_gpu_live_entries(l->plan, l->type, granules), &live));
    icd_i_gpu_list(l->plan, l->type, l->block_ptr, live);
    ICD_TRY(upload_lists(ctx, gpu, l, live));
    ICD_TRY(upload_weights(ctx, gpu, l, live, from->w));
    if (from->scale)
        ICD_TRY(ICD_GPU_PUT(ctx, gpu, from->scale, l->info->rows, l->info->name,
                            &l->w_scale));
done:
    icd_i_free(ctx, live);
    return status;
}

icd_status icd_i_gpu_linear_put(icd_ctx *ctx, icd_gpu *gpu, const icd_layout_entry *e,
                                int32_t vector, const icd_gpu_weights *from,
                                icd_gpu_linear *l)
{
    icd_status status = ICD_OK;
    ICD_TRY(check_vector(ctx, l->info, vector));
    ICD_TRY(icd_i_plan_new(ctx, e, vector, &l->plan));
    l->slots = icd_i_gpu_slots(l->plan, l->type);
    l->width = l->info->rows;
    ICD_TRY(pack(ctx, gpu, l, from));
    if (from->bias)
        ICD_TRY(
            ICD_GPU_PUT(ctx, gpu, from->bias, l->info->rows, l->info->name, &l->bias));
    ICD_TRY(icd_i_gpu_flat_put(ctx, gpu, l, from));
done:
    return status;
}

static icd_status load(icd_ctx *ctx, icd_gpu *gpu, icd_runner *r,
                       const icd_layout_entry *given, icd_gpu_linear *l)
{
    icd_status status = ICD_OK;
    icd_quantized *own = NULL;
    icd_gpu_weights from = {NULL, NULL, NULL};
    icd_layout_entry e = entry_of(l->info, given);
    ICD_TRY(choose_type(ctx, r, &e, &l->type));
    ICD_TRY(icd_i_linear_check(ctx, r, l->info, given));
    ICD_TRY(find_weights(ctx, r, l, &e, &from, &own));
    l->step = l->type == ICD_GPU_INT8 && e.quant ? e.quant->input_scale : 0;
    ICD_TRY(icd_i_linear_bias(ctx, r, l->info, &from.bias));
    ICD_TRY(icd_i_gpu_linear_put(ctx, gpu, &e, r->opts.vector, &from, l));
done:
    icd_quantized_free(ctx, own);
    return status;
}

static int32_t column_at(const icd_gpu_linear *l, int64_t slot)
{
    return slot < l->plan->slots ? l->plan->old_of_new[slot] : -1;
}

static icd_status check_same_input(icd_ctx *ctx, const icd_gpu_linear *a,
                                   const icd_gpu_linear *b)
{
    if (a->type != b->type || a->step != b->step)
        return icd_i_fail(ctx, ICD_EINVAL, b->info->name, NULL,
                          "found activations of another type or scale than those of %s, "
                          "expected the same, as both read one buffer",
                          a->info->name);
    for (int64_t s = 0; s < a->info->cols; s++)
        if (a->info->cols != b->info->cols || column_at(a, s) != column_at(b, s))
            return icd_i_fail(ctx, ICD_EINVAL, b->info->name, NULL,
                              "found another local order than that of %s, expected the "
                              "same, as both read one buffer",
                              a->info->name);
    return ICD_OK;
}

/* One order, as long as the widest row, for all linears of a group. */
static icd_status join(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *group, int64_t count)
{
    icd_status status = ICD_OK;
    int32_t *order = NULL;
    int64_t slots = 0;
    bool plain = true;
    icd_dptr place = {0};
    for (int64_t i = 0; i < count; i++) {
        ICD_TRY(check_same_input(ctx, group, group + i));
        if (group[i].slots > slots) slots = group[i].slots;
    }
    ICD_TRY(ICD_ALLOC(ctx, slots, &order));
    for (int64_t s = 0; s < slots; s++) {
        order[s] = column_at(group, s);
        plain &= order[s] == s;
    }
    ICD_TRY(ICD_GPU_PUT(ctx, gpu, order, slots, group->info->name, &place));
    for (int64_t i = 0; i < count; i++) {
        group[i].slots = slots;
        group[i].order = place;
        group[i].plain = plain && group[i].type == ICD_GPU_BF16;
    }
done:
    icd_i_free(ctx, order);
    return status;
}

static icd_status join_groups(icd_ctx *ctx, icd_gpu *gpu, const icd_runner *r,
                              icd_gpu_linear *l)
{
    icd_status status = ICD_OK;
    for (int64_t i = 0, end; status == ICD_OK && i < r->linears; i = end) {
        for (end = i + 1; end < r->linears; end++)
            if (strcmp(r->list[i].group, r->list[end].group) != 0) break;
        status = join(ctx, gpu, l + i, end - i);
    }
    return status;
}

static int64_t weight_bytes(const icd_gpu_linear *l)
{
    return l->block_ptr[l->plan->blocks] * l->plan->vector * ICD_GPU_GRANULE;
}

/* All weights in one run of memory, in the order of execution: what can be set aside of
 * the L2 then holds a prefix of them. */
static icd_status gather_weights(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l,
                                 int64_t count, icd_dptr *out, int64_t *bytes)
{
    icd_status status = ICD_OK;
    int64_t at = 0;
    *bytes = 0;
    for (int64_t i = 0; i < count; i++) *bytes += weight_bytes(&l[i]);
    ICD_TRY(icd_device_alloc(ctx, gpu->device, *bytes, "pinned weights", out));
    for (int64_t i = 0; i < count; i++) {
        icd_dptr to = icd_dptr_add(*out, at);
        ICD_TRY(icd_device_copy(ctx, gpu->device, to, l[i].w, weight_bytes(&l[i])));
        ICD_TRY(icd_device_sync(ctx, gpu->device));
        icd_device_release(ctx, gpu->device, l[i].w);
        l[i].w = to;
        at += weight_bytes(&l[i]);
    }
done:
    return status;
}

static icd_status pin_weights(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l,
                              int64_t count)
{
    icd_dptr all = {0};
    int64_t bytes = 0, room = gpu->info.l2_pinnable;
    icd_status status = gather_weights(ctx, gpu, l, count, &all, &bytes);
    if (status != ICD_OK || bytes == 0) return status;
    return icd_device_pin(ctx, gpu->device, all,
                          bytes < room || room == 0 ? bytes : room);
}

icd_status icd_i_gpu_linears_new(icd_ctx *ctx, icd_gpu *gpu, icd_runner *r,
                                 const icd_layout *layout, icd_gpu_linear **out)
{
    icd_status status = ICD_ALLOC(ctx, r->linears, out);
    for (int64_t i = 0; status == ICD_OK && i < r->linears; i++) {
        (*out)[i].info = &r->list[i];
        status =
            load(ctx, gpu, r, layout ? icd_i_layout_get(layout, r->list[i].name) : NULL,
                 &(*out)[i]);
    }
    if (status == ICD_OK) status = join_groups(ctx, gpu, r, *out);
    if (status == ICD_OK && r->opts.l2_pin)
        status = pin_weights(ctx, gpu, *out, r->linears);
    return status;
}

void icd_i_gpu_linears_free(icd_ctx *ctx, const icd_runner *r, icd_gpu_linear *linear)
{
    for (int64_t i = 0; linear && i < r->linears; i++) {
        icd_i_plan_free(ctx, linear[i].plan);
        icd_i_free(ctx, linear[i].block_ptr);
    }
    icd_i_free(ctx, linear); /* device memory goes with the device */
}

/* Slots of `second` by its columns; -1: none. */
static icd_status slots_of(icd_ctx *ctx, const icd_gpu_linear *second, int32_t **out)
{
    int64_t cols = second->info->cols;
    icd_status status = ICD_ALLOC(ctx, cols, out);
    for (int64_t c = 0; status == ICD_OK && c < cols; c++) (*out)[c] = -1;
    for (int64_t s = 0; status == ICD_OK && s < second->slots; s++)
        if (column_at(second, s) >= 0) (*out)[column_at(second, s)] = (int32_t)s;
    return status;
}

icd_status icd_i_gpu_chain(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *first,
                           icd_gpu_linear *second)
{
    icd_status status = ICD_OK;
    int32_t *place = NULL;
    if (second->type != ICD_GPU_BF16 || first->info->rows != second->info->cols)
        return ICD_OK;
    if (!second->plain) {
        ICD_TRY(slots_of(ctx, second, &place));
        ICD_TRY(ICD_GPU_PUT(ctx, gpu, place, first->info->rows, first->info->name,
                            &first->place));
    }
    first->width = second->slots;
    second->plain = true;
done:
    icd_i_free(ctx, place);
    return status;
}
