/* Packing one linear: which form its weights take, and the plan and operands of it. */
#include "runner/linear.h"

#include "kernels/linear_f32.h"
#include "kernels/linear_small.h"

#include <string.h>

enum { OWN_INT4_GROUP = 32 }; /* of weights that no adapter has made */

static int32_t own_dtype(const icd_runner *r)
{
    if (r->opts.dtype == ICD_RUN_BF16) return ICD_WEIGHT_BF16;
    if (r->opts.dtype == ICD_RUN_INT4) return ICD_WEIGHT_INT4;
    return ICD_WEIGHT_INT8;
}

static icd_status fill_int8(icd_ctx *ctx, const icd_linear *info, const float *w,
                            icd_quantized *q)
{
    for (int64_t i = 0; i < info->rows; i++)
        if (!icd_quantize_weights(w + i * info->cols, info->cols, q->q + i * info->cols,
                                  &q->scale[i]))
            return icd_i_fail(ctx, ICD_EDATA, info->tensor, NULL,
                              "row %lld holds NaN or infinity", (long long)i);
    return ICD_OK;
}

icd_status icd_i_linear_quantize(icd_ctx *ctx, icd_runner *r, const icd_linear *info,
                                 icd_quantized **out)
{
    icd_status status = ICD_OK;
    icd_quantized *q = NULL;
    const float *w = NULL;
    *out = NULL;
    ICD_TRY(icd_i_runner_tensor(ctx, r, info->tensor, &w));
    ICD_TRY(icd_quantized_new(ctx, info->rows, info->cols, &q));
    ICD_TRY(fill_int8(ctx, info, w, q));
    *out = q;
    q = NULL;
done:
    icd_quantized_free(ctx, q);
    return status;
}

/* Weights without an adapter's small form are rounded here, by the same rule. */
static icd_status round_here(icd_ctx *ctx, icd_runner *r, const icd_linear *info,
                             icd_quantized **out)
{
    icd_matrix w = {info->tensor, NULL, info->rows, info->cols};
    int32_t dtype = own_dtype(r);
    if (dtype == ICD_WEIGHT_INT8) return icd_i_linear_quantize(ctx, r, info, out);
    icd_status status = icd_i_runner_tensor(ctx, r, info->tensor, &w.w);
    if (status != ICD_OK) return status;
    return icd_quantize_matrix(ctx, &w, dtype,
                               dtype == ICD_WEIGHT_INT4 ? OWN_INT4_GROUP : 0, out);
}

/* What packing one linear needs at hand. */
typedef struct packing {
    icd_ctx *ctx;
    icd_runner *r;
    icd_loaded *l;
    const icd_layout_entry *entry;
    const icd_quantized *q; /* NULL: f32 */
    int32_t *column;
    icd_layout_entry regular; /* `entry` without outlier channels */
    icd_mask *mask;           /* of that */
    bool whole;               /* its kernel is dense */
} packing;

static icd_status make_plan(packing *p, const icd_layout_entry *entry)
{
    icd_status status = ICD_OK;
    icd_i_plan_free(p->ctx, p->l->plan);
    p->l->plan = NULL;
    icd_i_free(p->ctx, p->column);
    p->column = NULL;
    ICD_TRY(icd_i_plan_new(p->ctx, entry, p->r->opts.vector, &p->l->plan));
    ICD_TRY(ICD_ALLOC(p->ctx, ICD_GROUP * icd_i_plan_widest(p->l->plan), &p->column));
done:
    return status;
}

static icd_status pack_int8(packing *p)
{
    icd_status status = ICD_OK;
    icd_loaded *l = p->l;
    int64_t rows = l->info->rows;
    l->form = ICD_FORM_INT8;
    ICD_TRY(make_plan(p, p->entry));
    ICD_TRY(ICD_ALLOC(p->ctx, icd_i_linear_bytes(l->plan), (int8_t **)&l->packed));
    ICD_TRY(ICD_ALLOC(p->ctx, l->plan->blocks * l->plan->vector, &l->comp));
    ICD_TRY(ICD_ALLOC(p->ctx, rows, &l->scale));
    memcpy(l->scale, p->q->scale, (size_t)rows * sizeof *l->scale);
    icd_i_linear_pack(l->plan, p->q->q, p->column, l->packed, l->comp);
done:
    return status;
}

static icd_status pack_f32(packing *p)
{
    icd_status status = ICD_OK;
    icd_loaded *l = p->l;
    const float *w = NULL;
    icd_layout_entry e = *p->entry;
    bool half = p->q != NULL;
    l->form = half ? ICD_FORM_BF16 : ICD_FORM_F32;
    if (!half) ICD_TRY(icd_i_runner_tensor(p->ctx, p->r, l->info->tensor, &w));
    ICD_TRY(make_plan(p, &e));
    int64_t channels = ICD_GROUP * icd_i_plan_groups(l->plan);
    ICD_TRY(ICD_ALLOC(p->ctx, channels, &l->list));
    icd_i_f32_channels(l->plan, l->list);
    if (half) {
        ICD_TRY(ICD_ALLOC(p->ctx, channels * l->plan->vector, (uint16_t **)&l->packed));
        icd_i_bf16_pack(l->plan, p->q->bits, p->column, l->packed);
    } else {
        ICD_TRY(ICD_ALLOC(p->ctx, channels * l->plan->vector, (float **)&l->packed));
        icd_i_f32_pack(l->plan, w, p->column, l->packed);
    }
done:
    return status;
}

static int32_t common_divisor(int32_t a, int32_t b)
{
    while (b) {
        int32_t rest = a % b;
        a = b, b = rest;
    }
    return a;
}

/* Granules in which all channels have one scale and none is split between steps. */
static icd_status int4_granule(const packing *p, icd_layout_entry *e)
{
    int64_t group = p->q->group, cols = e->cols;
    bool tile = e->kernel == ICD_KERNEL_TILE;
    if (e->kernel == ICD_KERNEL_GATHER || (group && group < cols && group % ICD_STEP) ||
        (tile && e->granule % ICD_STEP))
        return icd_i_fail(p->ctx, ICD_EUNSUPPORTED, e->linear,
                          "take the dense kernel, or tiles and groups of 32",
                          "found kernel %d with granules of %d and groups of %lld, "
                          "expected dense or tiles, and multiples of %d",
                          e->kernel, e->granule, (long long)group, ICD_STEP);
    if (!tile) e->mask = NULL;
    if (!tile) e->granule = ICD_STEP;
    e->kernel = ICD_KERNEL_TILE;
    if (group && group < cols)
        e->granule = tile ? common_divisor(e->granule, (int32_t)group) : (int32_t)group;
    return ICD_OK;
}

/* The scale group of each column. */
static void list_groups(const icd_quantized *q, int32_t *group_of)
{
    int64_t step = q->group > 0 ? q->group : q->cols;
    for (int64_t k = 0; k < q->cols; k++)
        group_of[q->order ? q->order[k] : k] = (int32_t)(k / step);
}

/* The scales of `per` steps from group of four `at` of the plan, for one block. */
static bool copy_scales(const packing *p, int64_t block, int64_t at, int64_t end,
                        const int32_t *group_of, float *out)
{
    const icd_plan *plan = p->l->plan;
    int64_t groups = icd_quantized_groups(p->q), found = -1;
    for (int64_t i = at * ICD_GROUP; i < end * ICD_GROUP; i++) {
        int32_t c =
            plan->old_of_new[plan->live[i / ICD_GROUP] * ICD_GROUP + i % ICD_GROUP];
        if (c < 0) continue;
        if (found >= 0 && found != group_of[c]) return false;
        found = group_of[c];
    }
    for (int64_t r = 0; r < plan->vector; r++) {
        int64_t row = block * plan->vector + r;
        out[r] = found < 0 || row >= plan->rows ? 0 : p->q->scale[row * groups + found];
    }
    return true;
}

static icd_status set_scales(packing *p, const int32_t *group_of)
{
    const icd_plan *plan = p->l->plan;
    int64_t n = 0, step = p->l->per * ICD_STEP / ICD_GROUP;
    for (int64_t b = 0; b < plan->blocks; b++)
        for (int64_t at = plan->block_ptr[b]; at < plan->block_ptr[b + 1]; at += step) {
            int64_t end =
                at + step < plan->block_ptr[b + 1] ? at + step : plan->block_ptr[b + 1];
            if (!copy_scales(p, b, at, end, group_of, p->l->scale + n++ * plan->vector))
                return icd_i_fail(p->ctx, ICD_EINVAL, p->l->info->name,
                                  "solve it with units of the group",
                                  "the local order tears groups of %d channels, which "
                                  "share a scale, apart",
                                  p->q->group);
        }
    return ICD_OK;
}

static icd_status pack_int4(packing *p)
{
    icd_status status = ICD_OK;
    icd_loaded *l = p->l;
    int32_t *group_of = NULL;
    icd_layout_entry e = *p->entry;
    l->form = ICD_FORM_INT4;
    ICD_TRY(int4_granule(p, &e));
    ICD_TRY(make_plan(p, &e));
    bool one = icd_quantized_groups(p->q) == 1;
    l->per = (one ? l->plan->slots : e.granule) / ICD_STEP;
    if (!l->per) l->per = 1;
    ICD_TRY(ICD_ALLOC(p->ctx, icd_i_small_steps(l->plan), &l->list));
    icd_i_small_list(l->plan, l->list);
    ICD_TRY(ICD_ALLOC(p->ctx, l->info->cols, &group_of));
    list_groups(p->q, group_of);
    int64_t scales = icd_i_small_scales(l->plan, l->per, l->plan->blocks);
    ICD_TRY(ICD_ALLOC(p->ctx, scales * l->plan->vector, &l->scale));
    ICD_TRY(set_scales(p, group_of));
    ICD_TRY(
        ICD_ALLOC(p->ctx, icd_i_small_bytes(l->plan, l->per), (uint8_t **)&l->packed));
    (void)icd_i_small_pack(l->plan, l->per, p->q->q, p->column, l->packed, NULL);
done:
    icd_i_free(p->ctx, group_of);
    return status;
}

/* Two weights of any four neighbours: half the bytes, where the local order keeps the
   fours. */
static icd_status pack_two_of_four(packing *p, bool *done)
{
    icd_status status = ICD_OK;
    icd_loaded *l = p->l;
    int64_t rows = l->info->rows;
    icd_layout_entry e = *p->entry;
    *done = false;
    e.kernel = ICD_KERNEL_TILE;
    e.granule = ICD_STEP;
    e.mask = NULL;
    l->form = ICD_FORM_TWO_OF_FOUR;
    ICD_TRY(make_plan(p, &e));
    ICD_TRY(ICD_ALLOC(p->ctx, icd_i_small_bytes(l->plan, 0), (uint8_t **)&l->packed));
    ICD_TRY(ICD_ALLOC(p->ctx, l->plan->blocks * l->plan->vector, &l->comp));
    *done = icd_i_small_pack(l->plan, 0, p->q->q, p->column, l->packed, l->comp);
    if (*done) {
        ICD_TRY(ICD_ALLOC(p->ctx, icd_i_small_steps(l->plan), &l->list));
        icd_i_small_list(l->plan, l->list);
        ICD_TRY(ICD_ALLOC(p->ctx, rows, &l->scale));
        memcpy(l->scale, p->q->scale, (size_t)rows * sizeof *l->scale);
        return ICD_OK;
    }
    icd_i_free(p->ctx, l->packed);
    icd_i_free(p->ctx, l->comp);
    l->packed = NULL;
    l->comp = NULL;
done:
    return status;
}

static icd_status pack_int8_best(packing *p)
{
    bool done = false;
    if (p->q->n == 2 && p->q->m == 4 && p->whole) {
        icd_status status = pack_two_of_four(p, &done);
        if (status != ICD_OK || done) return status;
    }
    return pack_int8(p);
}

static icd_status pack_by_type(packing *p)
{
    if (!p->q) return pack_f32(p);
    if (p->q->dtype == ICD_WEIGHT_BF16) return pack_f32(p);
    if (p->q->dtype == ICD_WEIGHT_INT4) return pack_int4(p);
    if (p->q->dtype == ICD_WEIGHT_INT8 && icd_quantized_groups(p->q) == 1)
        return pack_int8_best(p);
    return icd_i_fail(p->ctx, ICD_EUNSUPPORTED, p->l->info->name,
                      "run it in f32 with the values that these weights hold",
                      "found weights in %s with %lld scales a row, for which there is no "
                      "kernel",
                      icd_weight_dtype_name(p->q->dtype),
                      (long long)icd_quantized_groups(p->q));
}

/* Outliers are multiplied apart; what is left runs in int8 or int4. */
static icd_status set_outliers_apart(packing *p)
{
    icd_status status = ICD_OK;
    p->l->input_scale = p->q ? p->q->input_scale : 0;
    if (!p->q || !p->q->outliers) return ICD_OK;
    ICD_TRY(icd_i_linear_regular(p->ctx, p->entry, &p->regular, &p->mask));
    p->entry = &p->regular;
    status = icd_i_wide_new(p->ctx, p->l->info, p->q, p->r->opts.vector, &p->l->wide);
done:
    return status;
}

static bool reorders(const icd_plan *plan)
{
    for (int64_t s = 0; s < plan->cols; s++)
        if (plan->old_of_new[s] != s) return true;
    return false;
}

icd_status icd_i_linear_pack_as(icd_ctx *ctx, icd_runner *r, icd_loaded *l,
                                const icd_layout_entry *entry)
{
    icd_status status = ICD_OK;
    icd_quantized *own = NULL;
    if (entry && entry->kernel == ICD_KERNEL_AUTO)
        return icd_i_linear_pack_fastest(ctx, r, l, entry);
    icd_layout_entry plain = {.rows = l->info->rows,
                              .cols = l->info->cols,
                              .kernel = ICD_KERNEL_DENSE,
                              .granule = ICD_GROUP,
                              .linear = (char *)(uintptr_t)l->info->name};
    packing p = {.ctx = ctx, .r = r, .l = l, .entry = entry ? entry : &plain};
    p.whole = p.entry->kernel == ICD_KERNEL_DENSE;
    bool f32 = r->opts.dtype == ICD_RUN_F32 || p.entry->whole;
    p.q = entry && !f32 ? entry->quant : NULL;
    if (!p.q && !f32) {
        ICD_TRY(round_here(ctx, r, l->info, &own));
        p.q = own;
    }
    ICD_TRY(set_outliers_apart(&p));
    ICD_TRY(pack_by_type(&p));
    l->ordered = reorders(l->plan);
done:
    icd_i_free(ctx, p.column);
    icd_i_mask_free(ctx, p.mask);
    icd_quantized_free(ctx, own);
    return status;
}
