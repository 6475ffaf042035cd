/* Outlier channels: a small matrix in bf16 beside the one in int8 or int4. */
#include "runner/linear.h"

#include "kernels/linear_f32.h"

#include <string.h>

static icd_status mark(icd_ctx *ctx, const icd_quantized *q, bool **out)
{
    icd_status status = ICD_ALLOC(ctx, q->cols, out);
    for (int64_t i = 0; status == ICD_OK && i < q->outliers; i++)
        (*out)[q->outlier[i]] = true;
    return status;
}

/* The granule in which channels may be left out where nothing else is masked. */
static int32_t granule_of(const icd_quantized *q)
{
    if (q->dtype != ICD_WEIGHT_INT4) return ICD_GROUP;
    return q->group > 0 && q->group < q->cols ? q->group : ICD_STEP;
}

static icd_status regular_mask(icd_ctx *ctx, const icd_layout_entry *e,
                               const bool *outlier, icd_mask **out)
{
    int32_t vector = e->mask ? e->mask->vector : 1 << 20;
    icd_status status = icd_i_mask_new(ctx, e->rows, e->cols, vector, out);
    for (int64_t b = 0; status == ICD_OK && b < (*out)->blocks; b++)
        for (int64_t c = 0; c < e->cols; c++)
            if (!outlier[c] && (!e->mask || icd_i_mask_get(e->mask, b, c)))
                icd_i_mask_set(*out, b, c);
    return status;
}

icd_status icd_i_linear_regular(icd_ctx *ctx, const icd_layout_entry *entry,
                                icd_layout_entry *out, icd_mask **mask)
{
    bool *outlier = NULL;
    *out = *entry;
    *mask = NULL;
    if (!entry->quant || !entry->quant->outliers) return ICD_OK;
    icd_status status = mark(ctx, entry->quant, &outlier);
    if (status == ICD_OK) status = regular_mask(ctx, entry, outlier, mask);
    out->mask = *mask;
    if (out->kernel == ICD_KERNEL_DENSE) {
        out->kernel = ICD_KERNEL_TILE;
        out->granule = granule_of(entry->quant);
        if (entry->mask) { /* dense multiplies what is masked, too */
            for (int64_t b = 0; *mask && b < (*mask)->blocks; b++)
                for (int64_t c = 0; c < entry->cols; c++)
                    if (!outlier[c]) icd_i_mask_set(*mask, b, c);
        }
    }
    icd_i_free(ctx, outlier);
    return status;
}

static bool are_neighbours(const icd_quantized *q)
{
    return q->outlier[q->outliers - 1] - q->outlier[0] == q->outliers - 1;
}

static icd_status pack(icd_ctx *ctx, const icd_quantized *q, icd_wide *w)
{
    icd_status status = ICD_OK;
    int32_t *column = NULL;
    int64_t channels = ICD_GROUP * icd_i_plan_groups(w->plan);
    ICD_TRY(ICD_ALLOC(ctx, w->plan->slots, &w->column));
    for (int64_t s = 0; s < w->plan->slots; s++)
        w->column[s] = s < q->outliers ? q->outlier[s] : -1;
    ICD_TRY(ICD_ALLOC(ctx, channels, &w->list));
    icd_i_f32_channels(w->plan, w->list);
    ICD_TRY(ICD_ALLOC(ctx, ICD_GROUP * icd_i_plan_widest(w->plan), &column));
    ICD_TRY(ICD_ALLOC(ctx, channels * w->plan->vector, &w->packed));
    icd_i_bf16_pack(w->plan, q->wide, column, w->packed);
done:
    icd_i_free(ctx, column);
    return status;
}

icd_status icd_i_wide_new(icd_ctx *ctx, const icd_linear *info, const icd_quantized *q,
                          int32_t vector, icd_wide **out)
{
    icd_status status = ICD_OK;
    icd_wide *w = NULL;
    icd_layout_entry e = {.linear = (char *)(uintptr_t)info->name,
                          .rows = info->rows,
                          .cols = q->outliers,
                          .kernel = ICD_KERNEL_DENSE,
                          .granule = ICD_GROUP};
    *out = NULL;
    if (!q->outliers) return ICD_OK;
    ICD_TRY(ICD_ALLOC(ctx, 1, &w));
    w->outliers = q->outliers;
    w->together = are_neighbours(q);
    ICD_TRY(icd_i_plan_new(ctx, &e, vector, &w->plan));
    ICD_TRY(pack(ctx, q, w));
    *out = w;
    w = NULL;
done:
    icd_i_wide_free(ctx, w);
    return status;
}

void icd_i_wide_free(icd_ctx *ctx, icd_wide *w)
{
    if (!w) return;
    icd_i_plan_free(ctx, w->plan);
    icd_i_free(ctx, w->column);
    icd_i_free(ctx, w->packed);
    icd_i_free(ctx, w->list);
    icd_i_free(ctx, w);
}

int64_t icd_i_wide_bytes(int64_t rows, int64_t outliers, int32_t vector)
{
    int64_t blocks = (rows + vector - 1) / vector;
    int64_t channels = (outliers + ICD_GROUP - 1) / ICD_GROUP * ICD_GROUP;
    return blocks * vector * channels * (int64_t)sizeof(uint16_t);
}

void icd_i_wide_stage(const icd_kernels *k, const icd_wide *w, const float *x, int64_t n,
                      int64_t count, float *staged)
{
    if (w->together)
        k->pack_panel(x + w->column[0], n, count, NULL, w->outliers, w->plan->slots,
                      staged);
    else
        k->pack_panel(x, n, count, w->column, n, w->plan->slots, staged);
}

void icd_i_wide_add(const icd_kernels *k, const icd_wide *w, const float *staged,
                    int64_t tokens, int64_t first, int64_t last, float *y, int64_t ldy,
                    void *scratch)
{
    icd_f32_linear f = {
        .plan = w->plan, .half = w->packed, .channel = w->list, .add = true};
    icd_i_f32_run(k, &f, staged, tokens, first, last, y, ldy, scratch);
}

bool icd_i_wide_same(const icd_wide *a, const icd_wide *b)
{
    if (!a || !b) return a == b;
    return a->outliers == b->outliers &&
           !memcmp(a->column, b->column, (size_t)a->outliers * sizeof *a->column);
}
