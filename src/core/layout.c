#include "core/layout.h"

#include <string.h>

icd_status icd_i_layout_new(icd_ctx *ctx, icd_layout **out)
{
    *out = NULL;
    return ICD_ALLOC(ctx, 1, out);
}

static void release_entry(icd_ctx *ctx, icd_layout_entry *e)
{
    icd_i_free(ctx, e->linear);
    icd_i_free(ctx, e->group);
    icd_i_mask_free(ctx, e->mask);
    icd_perm_free(ctx, e->order);
}

void icd_i_layout_free(icd_ctx *ctx, icd_layout *layout)
{
    if (!layout) return;
    for (int64_t i = 0; i < layout->count; i++) release_entry(ctx, &layout->entry[i]);
    icd_i_free(ctx, layout->entry);
    icd_i_free(ctx, layout);
}

icd_status icd_i_layout_add(icd_ctx *ctx, icd_layout *layout, const char *linear,
                            const char *group, int64_t rows, int64_t cols)
{
    icd_status status = ICD_OK;
    icd_layout_entry entry = {.rows = rows, .cols = cols, .kernel = ICD_KERNEL_DENSE};
    ICD_TRY(icd_i_strdup(ctx, linear, &entry.linear));
    ICD_TRY(icd_i_strdup(ctx, group, &entry.group));
    ICD_TRY(icd_i_grow(ctx, (void **)&layout->entry, &layout->capacity, layout->count + 1,
                       sizeof entry));
    layout->entry[layout->count++] = entry;
    return ICD_OK;
done:
    release_entry(ctx, &entry);
    return status;
}

icd_layout_entry *icd_i_layout_get(const icd_layout *layout, const char *linear)
{
    for (int64_t i = 0; i < layout->count; i++)
        if (!strcmp(layout->entry[i].linear, linear)) return &layout->entry[i];
    return NULL;
}

static icd_status copy_mask(icd_ctx *ctx, const icd_mask *mask, icd_mask **out)
{
    icd_status status = icd_i_mask_new(ctx, mask->rows, mask->cols, mask->vector, out);
    if (status != ICD_OK) return status;
    memcpy((*out)->bits, mask->bits,
           (size_t)(mask->blocks * mask->words) * sizeof *mask->bits);
    return ICD_OK;
}

icd_status icd_i_layout_copy(icd_ctx *ctx, const icd_layout *layout, icd_layout **out)
{
    icd_status status = ICD_OK;
    icd_layout *copy = NULL;
    *out = NULL;
    ICD_TRY(icd_i_layout_new(ctx, &copy));
    for (int64_t i = 0; i < layout->count; i++) {
        const icd_layout_entry *from = &layout->entry[i];
        ICD_TRY(icd_i_layout_add(ctx, copy, from->linear, from->group, from->rows,
                                 from->cols));
        icd_layout_entry *to = &copy->entry[i];
        to->kernel = from->kernel;
        to->granule = from->granule;
        to->choice = from->choice;
        to->quant = from->quant;
        to->whole = from->whole;
        if (from->mask) ICD_TRY(copy_mask(ctx, from->mask, &to->mask));
        if (from->order) ICD_TRY(icd_perm_copy(ctx, from->order, &to->order));
    }
    *out = copy;
    copy = NULL;
done:
    icd_i_layout_free(ctx, copy);
    return status;
}

static bool has_plain(const icd_layout *layout, const char *group)
{
    for (int64_t i = 0; i < layout->count; i++)
        if (!strcmp(layout->entry[i].group, group) && !layout->entry[i].quant)
            return true;
    return false;
}

void icd_i_layout_keep_whole(icd_layout *layout)
{
    for (int64_t i = 0; i < layout->count; i++)
        layout->entry[i].whole = has_plain(layout, layout->entry[i].group);
    for (int64_t i = 0; i < layout->count; i++)
        if (layout->entry[i].whole) layout->entry[i].quant = NULL;
}

bool icd_i_two_of_four(const icd_layout_entry *e)
{
    enum { N = 2, M = 4 };
    const icd_quantized *q = e->quant;
    if (!q || !q->q || q->dtype != ICD_WEIGHT_INT8 || q->n != N || q->m != M ||
        e->kernel != ICD_KERNEL_DENSE)
        return false;
    for (int64_t r = 0; r < q->rows; r++)
        for (int64_t s = 0; s < q->cols; s += M) {
            int kept = 0;
            for (int64_t k = s; k < s + M && k < q->cols; k++)
                kept += q->q[r * q->cols + (e->order ? e->order->old_of_new[k] : k)] != 0;
            if (kept > N) return false;
        }
    return true;
}

icd_status icd_i_layout_set_order(icd_ctx *ctx, icd_layout *layout, const char *group,
                                  const icd_perm *order)
{
    for (int64_t i = 0; i < layout->count; i++) {
        icd_layout_entry *e = &layout->entry[i];
        icd_perm *copy = NULL;
        if (strcmp(e->group, group) != 0) continue;
        if (order->n != e->cols)
            return icd_i_fail(ctx, ICD_EINVAL, e->linear, NULL,
                              "found an order of %lld indices, expected %lld",
                              (long long)order->n, (long long)e->cols);
        icd_status status = icd_perm_copy(ctx, order, &copy);
        if (status != ICD_OK) return status;
        icd_perm_free(ctx, e->order);
        e->order = copy;
    }
    return ICD_OK;
}

static int64_t outliers_in(const icd_quantized *q, const int32_t *index, int64_t n)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) count += icd_i_is_outlier(q, index[i]);
    return count;
}

/* Moves the `wanted` granules with most outliers behind the others; all are whole. */
static icd_status move_granules(icd_ctx *ctx, const icd_quantized *q, int32_t granule,
                                int64_t wanted, int32_t *index)
{
    icd_status status = ICD_OK;
    int64_t granules = q->cols / granule, at = 0;
    int32_t *moved = NULL;
    bool *last = NULL;
    ICD_TRY(ICD_ALLOC(ctx, q->cols, &moved));
    ICD_TRY(ICD_ALLOC(ctx, granules, &last));
    for (int64_t k = 0; k < wanted; k++) {
        int64_t best = -1, most = -1;
        for (int64_t g = 0; g < granules; g++) {
            int64_t count = outliers_in(q, index + g * granule, granule);
            if (!last[g] && count >= most) best = g, most = count;
        }
        last[best] = true;
    }
    for (int turn = 0; turn < 2; turn++)
        for (int64_t g = 0; g < granules; g++) {
            if (last[g] != turn) continue;
            memcpy(moved + at, index + g * granule, (size_t)granule * sizeof *moved);
            at += granule;
        }
    memcpy(index, moved, (size_t)q->cols * sizeof *index);
done:
    icd_i_free(ctx, moved);
    icd_i_free(ctx, last);
    return status;
}

/* Outliers that lie too far in front change places with what lies among the last. */
static void swap_strays(const icd_quantized *q, int32_t *index)
{
    int64_t regular = q->cols - q->outliers, at = regular;
    for (int64_t i = 0; i < regular; i++) {
        if (!icd_i_is_outlier(q, index[i])) continue;
        while (icd_i_is_outlier(q, index[at])) at++;
        int32_t stray = index[i];
        index[i] = index[at];
        index[at] = stray;
    }
    for (int64_t i = 0; i < q->outliers; i++) index[regular + i] = q->outlier[i];
}

icd_status icd_i_order_outliers_last(icd_ctx *ctx, const icd_perm *order, uint64_t frame,
                                     const icd_quantized *q, int32_t granule,
                                     icd_perm **out)
{
    icd_status status = ICD_OK;
    int32_t *index = NULL;
    int64_t wanted = (q->outliers + granule - 1) / granule;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, q->cols, &index));
    for (int64_t i = 0; i < q->cols; i++)
        index[i] = order ? order->old_of_new[i] : (int32_t)i;
    if (q->cols % granule == 0) ICD_TRY(move_granules(ctx, q, granule, wanted, index));
    swap_strays(q, index);
    status = icd_perm_from_array(ctx, index, q->cols, order ? order->from : frame,
                                 "outliers last", out);
done:
    icd_i_free(ctx, index);
    return status;
}

/* Live granules of one row block: `touched` is scratch of one flag per granule. */
static int64_t live_in_block(const icd_mask *m, int64_t block, const int32_t *pos,
                             int32_t granule, unsigned char *touched, int64_t granules)
{
    int64_t live = 0;
    memset(touched, 0, (size_t)granules);
    for (int64_t i = 0; i < m->words; i++)
        for (uint64_t word = m->bits[block * m->words + i]; word; word &= word - 1) {
            int64_t col = i * 64 + __builtin_ctzll(word);
            int64_t slot = pos ? pos[col] : col;
            live += !touched[slot / granule];
            touched[slot / granule] = 1;
        }
    return live;
}

icd_status icd_i_layout_live(icd_ctx *ctx, const icd_layout_entry *entry, int32_t vector,
                             int32_t granule, icd_live *out)
{
    icd_status status = ICD_OK;
    icd_mask *coarse = NULL;
    int32_t *pos = NULL;
    unsigned char *touched = NULL;
    int64_t blocks = (entry->rows + vector - 1) / vector;
    int64_t granules = (entry->cols + granule - 1) / granule;
    *out = (icd_live){blocks * granules, blocks * granules};
    if (!entry->mask) return ICD_OK;
    ICD_TRY(icd_i_mask_coarsen(ctx, entry->mask, vector, &coarse));
    ICD_TRY(ICD_ALLOC(ctx, granules, &touched));
    if (entry->order) {
        ICD_TRY(ICD_ALLOC(ctx, entry->cols, &pos));
        icd_perm_invert_into(entry->order, pos);
    }
    out->live = 0;
    for (int64_t b = 0; b < coarse->blocks; b++)
        out->live += live_in_block(coarse, b, pos, granule, touched, granules);
done:
    icd_i_free(ctx, touched);
    icd_i_free(ctx, pos);
    icd_i_mask_free(ctx, coarse);
    return status;
}
