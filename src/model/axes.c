#include "model/model_private.h"

#include <stdio.h>
#include <string.h>

int64_t icd_model_axes(const icd_model *model)
{
    return model->axes;
}

const icd_axis *icd_model_axis_at(const icd_model *model, int64_t i)
{
    return &model->axis[i].axis;
}

int64_t icd_i_model_find_axis(const icd_model *model, const char *name)
{
    for (int64_t a = 0; a < model->axes; ++a)
        if (strcmp(model->axis[a].axis.name, name) == 0) return a;
    return -1;
}

const icd_axis *icd_model_axis(const icd_model *model, const char *name)
{
    int64_t a = icd_i_model_find_axis(model, name);
    return a < 0 ? NULL : &model->axis[a].axis;
}

const icd_perm *icd_model_order(const icd_model *model, const char *axis)
{
    int64_t a = icd_i_model_find_axis(model, axis);
    return a < 0 ? NULL : model->axis[a].order;
}

uint64_t icd_model_frame(const icd_model *model, const char *axis)
{
    const icd_perm *order = icd_model_order(model, axis);
    return order ? order->to : ICD_FRAME_CHECKPOINT;
}

icd_status icd_i_model_add_axis(icd_ctx *ctx, icd_model *model, const char *name,
                                int64_t n, const icd_binding *binding, int64_t bindings)
{
    icd_status status = icd_i_grow(ctx, (void **)&model->axis, &model->axes_capacity,
                                   model->axes + 1, sizeof *model->axis);
    if (status != ICD_OK) return status;
    icd_axis *axis = &model->axis[model->axes].axis;
    axis->name = icd_i_arena_strdup(ctx, model->arena, name);
    if (!axis->name) return ICD_ENOMEM;
    axis->n = n;
    axis->binding = binding;
    axis->bindings = bindings;
    model->axes++;
    return ICD_OK;
}

icd_status icd_i_model_bind(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                            int32_t dim, int64_t offset, int64_t block, const char *fmt,
                            ...)
{
    char name[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    icd_status status = icd_i_grow(ctx, (void **)&list->binding, &list->capacity,
                                   list->count + 1, sizeof *list->binding);
    if (status != ICD_OK) return status;
    const char *kept = icd_i_arena_strdup(ctx, model->arena, name);
    if (!kept) return ICD_ENOMEM;
    list->binding[list->count++] = (icd_binding){kept, dim, offset, block};
    return ICD_OK;
}

icd_status icd_i_model_take_axis(icd_ctx *ctx, icd_model *model, const char *name,
                                 int64_t n, icd_binding_list *list)
{
    size_t bytes = (size_t)list->count * sizeof *list->binding;
    icd_binding *binding = icd_i_arena_alloc(ctx, model->arena, bytes);
    if (!binding) return ICD_ENOMEM;
    memcpy(binding, list->binding, bytes);
    icd_status status = icd_i_model_add_axis(ctx, model, name, n, binding, list->count);
    list->count = 0;
    return status;
}

/* Size of the blocks that `axis` moves on one side of a tensor; 0: none. */
static int64_t block_of(const icd_axis *axis, const icd_binding *inside)
{
    for (int64_t b = 0; b < axis->bindings; ++b)
        if (axis->binding[b].dim == inside->dim &&
            strcmp(axis->binding[b].tensor, inside->tensor) == 0)
            return axis->binding[b].block;
    return 0;
}

/* What lies in a block goes where the block's index went. */
static icd_status move_member(icd_ctx *ctx, icd_model *model, icd_axis *member,
                              const icd_axis *axis, const int32_t *new_of_old)
{
    size_t bytes = (size_t)member->bindings * sizeof *member->binding;
    icd_binding *moved = icd_i_arena_alloc(ctx, model->arena, bytes);
    if (!moved) return ICD_ENOMEM;
    memcpy(moved, member->binding, bytes);
    for (int64_t b = 0; b < member->bindings; ++b) {
        int64_t width = block_of(axis, &moved[b]), at = moved[b].offset;
        if (width) moved[b].offset = new_of_old[at / width] * width + at % width;
    }
    member->binding = moved;
    return ICD_OK;
}

icd_status icd_i_axis_move_members(icd_ctx *ctx, icd_model *model,
                                   const icd_axis_slot *axis, const icd_perm *p)
{
    int32_t *new_of_old = NULL;
    icd_status status = ICD_ALLOC(ctx, p->n, &new_of_old);
    if (status != ICD_OK) return status;
    icd_perm_invert_into(p, new_of_old);
    for (int64_t i = 0; i < p->n * axis->members; ++i)
        ICD_TRY(move_member(ctx, model, &model->axis[axis->member + i].axis, &axis->axis,
                            new_of_old));
done:
    icd_i_free(ctx, new_of_old);
    return status;
}
