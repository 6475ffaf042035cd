#include "core/plan.h"

static int64_t round_up(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static icd_status check_shape(icd_ctx *ctx, const icd_layout_entry *e, int32_t vector)
{
    if (e->rows < 0 || e->cols < 0 || e->cols > ICD_PLAN_MAX_COLS)
        return icd_i_fail(ctx, ICD_EINVAL, e->linear, NULL,
                          "found %lld x %lld weights, expected at most %d columns",
                          (long long)e->rows, (long long)e->cols, ICD_PLAN_MAX_COLS);
    if (vector < ICD_VECTOR_UNIT || vector % ICD_VECTOR_UNIT)
        return icd_i_fail(ctx, ICD_EINVAL, e->linear, NULL,
                          "found row blocks of %d rows, expected a multiple of %d",
                          vector, ICD_VECTOR_UNIT);
    if (e->mask && (e->mask->rows != e->rows || e->mask->cols != e->cols))
        return icd_i_fail(ctx, ICD_EINVAL, e->linear, NULL,
                          "found a mask of %lld x %lld, expected %lld x %lld",
                          (long long)e->mask->rows, (long long)e->mask->cols,
                          (long long)e->rows, (long long)e->cols);
    if (e->order && e->order->n != e->cols)
        return icd_i_fail(ctx, ICD_EINVAL, e->linear, NULL,
                          "found an order of %lld channels, expected %lld",
                          (long long)e->order->n, (long long)e->cols);
    return ICD_OK;
}

static icd_status check_kernel(icd_ctx *ctx, const icd_layout_entry *e)
{
    if (e->kernel != ICD_KERNEL_DENSE && e->kernel != ICD_KERNEL_GATHER &&
        e->kernel != ICD_KERNEL_TILE)
        return icd_i_fail(ctx, ICD_EINVAL, e->linear, "measure first, then plan",
                          "found kernel %d, expected dense, gather or tile", e->kernel);
    if (e->kernel == ICD_KERNEL_TILE &&
        (e->granule < ICD_GROUP || e->granule % ICD_GROUP))
        return icd_i_fail(ctx, ICD_EINVAL, e->linear, NULL,
                          "found a granule of %d channels, expected a multiple of %d",
                          e->granule, ICD_GROUP);
    return ICD_OK;
}

static int32_t granule_of(const icd_layout_entry *e)
{
    if (e->kernel == ICD_KERNEL_TILE) return e->granule;
    return e->kernel == ICD_KERNEL_GATHER ? 1 : ICD_GROUP;
}

static icd_status set_order(icd_ctx *ctx, icd_plan *plan, const icd_perm *order)
{
    icd_status status = ICD_ALLOC(ctx, plan->slots, &plan->old_of_new);
    if (status != ICD_OK) return status;
    for (int64_t s = 0; s < plan->slots; s++) {
        int32_t column = s < plan->cols ? (int32_t)s : -1;
        plan->old_of_new[s] = order && column >= 0 ? order->old_of_new[s] : column;
    }
    return ICD_OK;
}

static bool survives(const icd_plan *plan, const icd_mask *mask, int64_t block, int64_t s)
{
    int32_t column = plan->old_of_new[s];
    return column >= 0 && (!mask || icd_i_mask_get(mask, block, column));
}

/* Appends the groups of every granule with a survivor; returns the new length. */
static int64_t list_granules(icd_plan *plan, const icd_mask *mask, int64_t block,
                             int64_t count)
{
    bool all = plan->kernel == ICD_KERNEL_DENSE;
    for (int64_t s = 0; s < plan->slots; s += plan->granule) {
        bool live = all;
        for (int64_t i = s; i < s + plan->granule && !live; i++)
            live = survives(plan, mask, block, i);
        for (int64_t i = s; i < s + plan->granule && live; i += ICD_GROUP)
            plan->live[count++] = (int32_t)(i / ICD_GROUP);
    }
    return count;
}

static int64_t list_channels(icd_plan *plan, const icd_mask *mask, int64_t block,
                             int64_t count)
{
    for (int64_t s = 0; s < plan->slots; s++)
        if (survives(plan, mask, block, s)) plan->live[count++] = (int32_t)s;
    for (; count % ICD_GROUP; count++) plan->live[count] = plan->live[count - 1];
    return count;
}

static icd_status list_live(icd_ctx *ctx, icd_plan *plan, const icd_mask *mask)
{
    bool gather = plan->kernel == ICD_KERNEL_GATHER;
    int64_t count = 0;
    for (int64_t b = 0; b < plan->blocks; b++) {
        icd_status status =
            icd_i_grow(ctx, (void **)&plan->live, &plan->live_capacity,
                       count + plan->slots + ICD_GROUP, sizeof *plan->live);
        if (status != ICD_OK) return status;
        count = gather ? list_channels(plan, mask, b, count)
                       : list_granules(plan, mask, b, count);
        plan->block_ptr[b + 1] = gather ? count / ICD_GROUP : count;
    }
    return ICD_OK;
}

icd_status icd_i_plan_new(icd_ctx *ctx, const icd_layout_entry *entry, int32_t vector,
                          icd_plan **out)
{
    icd_status status = ICD_OK;
    icd_plan *plan = NULL;
    icd_mask *mask = NULL;
    *out = NULL;
    ICD_TRY(check_shape(ctx, entry, vector));
    ICD_TRY(check_kernel(ctx, entry));
    if (entry->mask) ICD_TRY(icd_i_mask_coarsen(ctx, entry->mask, vector, &mask));
    ICD_TRY(ICD_ALLOC(ctx, 1, &plan));
    plan->kernel = entry->kernel;
    plan->rows = entry->rows;
    plan->cols = entry->cols;
    plan->vector = vector;
    plan->granule = granule_of(entry);
    plan->slots =
        round_up(entry->cols, plan->granule < ICD_GROUP ? ICD_GROUP : plan->granule);
    plan->blocks = round_up(entry->rows, vector) / vector;
    ICD_TRY(ICD_ALLOC(ctx, plan->blocks + 1, &plan->block_ptr));
    ICD_TRY(set_order(ctx, plan, entry->order));
    ICD_TRY(list_live(ctx, plan, mask));
    *out = plan;
    plan = NULL;
done:
    icd_i_mask_free(ctx, mask);
    icd_i_plan_free(ctx, plan);
    return status;
}

void icd_i_plan_free(icd_ctx *ctx, icd_plan *plan)
{
    if (!plan) return;
    icd_i_free(ctx, plan->old_of_new);
    icd_i_free(ctx, plan->block_ptr);
    icd_i_free(ctx, plan->live);
    icd_i_free(ctx, plan);
}

int64_t icd_i_plan_widest(const icd_plan *plan)
{
    int64_t widest = 0;
    for (int64_t b = 0; b < plan->blocks; b++) {
        int64_t groups = plan->block_ptr[b + 1] - plan->block_ptr[b];
        widest = groups > widest ? groups : widest;
    }
    return widest;
}

int64_t icd_i_plan_bytes(const icd_plan *plan)
{
    int64_t groups = icd_i_plan_groups(plan), indices = groups;
    if (plan->kernel == ICD_KERNEL_GATHER) indices *= ICD_GROUP;
    if (plan->kernel == ICD_KERNEL_DENSE) indices = 0;
    return groups * plan->vector * ICD_GROUP + indices * (int64_t)sizeof(int32_t);
}

void icd_i_plan_columns(const icd_plan *plan, int64_t block, int32_t *column)
{
    bool gather = plan->kernel == ICD_KERNEL_GATHER;
    int64_t first = plan->block_ptr[block], groups = plan->block_ptr[block + 1] - first;
    for (int64_t i = 0; i < groups * ICD_GROUP; i++) {
        int64_t at = first * ICD_GROUP + i;
        if (!gather)
            column[i] = plan->old_of_new[plan->live[first + i / ICD_GROUP] * ICD_GROUP +
                                         i % ICD_GROUP];
        else if (i > 0 && plan->live[at] == plan->live[at - 1])
            column[i] = -1; /* the repeated slot that fills the last group */
        else
            column[i] = plan->old_of_new[plan->live[at]];
    }
}
