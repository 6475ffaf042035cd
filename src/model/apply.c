#include "model/model_private.h"

#include "base/nearest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static icd_status copy_orders(icd_ctx *ctx, const icd_model *source, icd_model *model)
{
    icd_status status = ICD_OK;
    model->axes = model->axes_capacity = source->axes;
    ICD_TRY(ICD_ALLOC(ctx, source->axes, &model->axis));
    for (int64_t a = 0; a < source->axes; ++a) {
        model->axis[a] = source->axis[a];
        model->axis[a].order = NULL;
    }
    for (int64_t a = 0; a < source->axes; ++a)
        if (source->axis[a].order)
            ICD_TRY(icd_perm_copy(ctx, source->axis[a].order, &model->axis[a].order));
done:
    return status;
}

icd_status icd_i_model_view(icd_ctx *ctx, const icd_model *source, icd_model **out)
{
    icd_status status;
    icd_model *model = NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, 1, &model));
    ICD_TRY(icd_i_arena_new(ctx, &model->arena));
    model->arch = source->arch;
    model->name = source->name;
    model->path = "";
    model->synthetic = source->synthetic;
    model->map = source->map;
    model->config = source->config;
    ICD_TRY(ICD_ALLOC(ctx, source->slots, &model->slot));
    for (; model->slots < source->slots; ++model->slots) {
        model->slot[model->slots] = source->slot[model->slots];
        model->slot[model->slots].owned = NULL;
    }
    ICD_TRY(copy_orders(ctx, source, model));
    *out = model;
    model = NULL;
done:
    icd_model_free(ctx, model);
    return status;
}

icd_status icd_i_slot_own(icd_ctx *ctx, icd_slot *slot)
{
    if (slot->owned) return ICD_OK;
    int64_t bytes = slot->tensor.count * icd_dtype_size(slot->tensor.dtype);
    icd_status status = icd_i_alloc(ctx, bytes, 1, &slot->owned);
    if (status != ICD_OK) return status;
    memcpy(slot->owned, slot->tensor.data, (size_t)bytes);
    slot->tensor.data = slot->owned;
    return ICD_OK;
}

/* Pieces of `piece` bytes, `p->n` of them from `base` on: new[k] = old[p[k]]. */
static void gather(unsigned char *base, size_t piece, const icd_perm *p,
                   unsigned char *scratch)
{
    for (int64_t k = 0; k < p->n; ++k)
        memcpy(scratch + (size_t)k * piece, base + (size_t)p->old_of_new[k] * piece,
               piece);
    memcpy(base, scratch, (size_t)p->n * piece);
}

static icd_status gather_binding(icd_ctx *ctx, icd_model *model, const icd_binding *b,
                                 const icd_perm *p)
{
    icd_status status;
    void *scratch = NULL;
    icd_slot *slot = icd_i_model_slot(model, b->tensor);
    const icd_tensor *t = &slot->tensor;
    size_t inner = (size_t)icd_dtype_size(t->dtype);
    int64_t outer = 1;
    for (int32_t d = 0; d < b->dim; ++d) outer *= t->shape[d];
    for (int32_t d = b->dim + 1; d < t->dims; ++d) inner *= (size_t)t->shape[d];
    size_t piece = (size_t)b->block * inner, step = (size_t)t->shape[b->dim] * inner;
    ICD_TRY(icd_i_slot_own(ctx, slot));
    ICD_TRY(icd_i_alloc(ctx, p->n, piece, &scratch));
    unsigned char *base = (unsigned char *)slot->owned + (size_t)b->offset * inner;
    for (int64_t o = 0; o < outer; ++o)
        gather(base + (size_t)o * step, piece, p, scratch);
done:
    icd_i_free(ctx, scratch);
    return status;
}

/* An axis that is back in the checkpoint's frame has no order any more. */
static icd_status advance(icd_ctx *ctx, icd_axis_slot *axis, const icd_perm *p)
{
    icd_perm *order = NULL;
    icd_status status = axis->order ? icd_perm_compose(ctx, axis->order, p, &order)
                                    : icd_perm_copy(ctx, p, &order);
    if (status != ICD_OK) return status;
    icd_perm_free(ctx, axis->order);
    axis->order = order;
    if (order->to == ICD_FRAME_CHECKPOINT) {
        icd_perm_free(ctx, order);
        axis->order = NULL;
    }
    return ICD_OK;
}

static icd_status apply_axis(icd_ctx *ctx, icd_model *model, icd_axis_slot *axis,
                             const icd_perm *p)
{
    icd_status status = ICD_OK;
    for (int64_t b = 0; b < axis->axis.bindings; ++b)
        ICD_TRY(gather_binding(ctx, model, &axis->axis.binding[b], p));
    ICD_TRY(advance(ctx, axis, p));
    if (axis->members) ICD_TRY(icd_i_axis_move_members(ctx, model, axis, p));
done:
    return status;
}

static icd_status fail_unknown(icd_ctx *ctx, const icd_model *model, const char *name)
{
    const char **names = NULL;
    char hint[256] = "";
    icd_status status = ICD_ALLOC(ctx, model->axes, &names);
    if (status != ICD_OK) return status;
    for (int64_t a = 0; a < model->axes; ++a) names[a] = model->axis[a].axis.name;
    const char *near = icd_i_nearest(name, names, model->axes);
    if (near) snprintf(hint, sizeof hint, "did you mean '%s'?", near);
    icd_i_free(ctx, names);
    return icd_i_fail(ctx, ICD_EINVAL, model->name, near ? hint : NULL,
                      "the model has no axis '%.200s'", name);
}

static icd_status check_entry(icd_ctx *ctx, const icd_model *model,
                              const icd_perm_entry *entry)
{
    int64_t a = icd_i_model_find_axis(model, entry->axis);
    uint64_t frame = icd_model_frame(model, entry->axis);
    if (entry->local)
        return icd_i_fail(ctx, ICD_EINVAL, entry->axis,
                          "only its consumer can use it, through an index array",
                          "found a local order, expected an order of an axis");
    if (a < 0) return fail_unknown(ctx, model, entry->axis);
    if (entry->perm->n != model->axis[a].axis.n)
        return icd_i_fail(ctx, ICD_EINVAL, entry->axis, NULL,
                          "found a permutation of %" PRId64 ", the axis has %" PRId64,
                          entry->perm->n, model->axis[a].axis.n);
    if (entry->perm->from != frame)
        return icd_i_fail(ctx, ICD_EINVAL, entry->axis,
                          "it was solved for another order of the axis, or is applied "
                          "already",
                          "the permutation starts from frame %016" PRIx64
                          ", the axis stands in %016" PRIx64,
                          entry->perm->from, frame);
    return ICD_OK;
}

static icd_status apply_entry(icd_ctx *ctx, icd_model *model, const icd_perm_entry *entry)
{
    int64_t a = icd_i_model_find_axis(model, entry->axis);
    return apply_axis(ctx, model, &model->axis[a], entry->perm);
}

icd_status icd_model_apply(icd_ctx *ctx, const icd_model *model, const icd_perm_set *set,
                           icd_model **out)
{
    icd_status status = ICD_OK;
    icd_model *applied = NULL;
    *out = NULL;
    for (int64_t i = 0; i < set->count; ++i)
        ICD_TRY(check_entry(ctx, model, &set->entry[i]));
    ICD_TRY(icd_i_model_view(ctx, model, &applied));
    for (int64_t i = 0; i < set->count; ++i)
        ICD_TRY(apply_entry(ctx, applied, &set->entry[i]));
    *out = applied;
    applied = NULL;
done:
    icd_model_free(ctx, applied);
    return status;
}
