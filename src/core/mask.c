#include "core/mask.h"

#include <string.h>

icd_status icd_i_mask_new(icd_ctx *ctx, int64_t rows, int64_t cols, int32_t vector,
                          icd_mask **out)
{
    icd_status status = ICD_OK;
    icd_mask *mask = NULL;
    *out = NULL;
    if (rows < 0 || cols < 0 || cols > INT32_MAX || vector < 1)
        return icd_i_fail(
            ctx, ICD_EINVAL, "mask", NULL,
            "found %lld x %lld with %d rows a block, expected sizes >= 0 and at "
            "least one row a block",
            (long long)rows, (long long)cols, vector);
    ICD_TRY(ICD_ALLOC(ctx, 1, &mask));
    mask->rows = rows;
    mask->cols = cols;
    mask->vector = vector;
    mask->blocks = (rows + vector - 1) / vector;
    mask->words = (cols + 63) / 64;
    if (mask->words && mask->blocks > INT64_MAX / mask->words) {
        status = icd_i_fail(ctx, ICD_ENOMEM, "mask", NULL, "the size overflows");
        goto done;
    }
    ICD_TRY(ICD_ALLOC(ctx, mask->blocks * mask->words, &mask->bits));
    *out = mask;
    mask = NULL;
done:
    icd_i_mask_free(ctx, mask);
    return status;
}

void icd_i_mask_free(icd_ctx *ctx, icd_mask *mask)
{
    if (!mask) return;
    icd_i_free(ctx, mask->bits);
    icd_i_free(ctx, mask);
}

static int64_t count_block(const icd_mask *m, int64_t block)
{
    int64_t count = 0;
    for (int64_t i = 0; i < m->words; i++)
        count += __builtin_popcountll(m->bits[block * m->words + i]);
    return count;
}

static int64_t block_rows(const icd_mask *m, int64_t block)
{
    int64_t left = m->rows - block * m->vector;
    return left < m->vector ? left : m->vector;
}

double icd_i_mask_density(const icd_mask *m)
{
    double alive = 0, all = (double)m->rows * (double)m->cols;
    for (int64_t b = 0; b < m->blocks; b++)
        alive += (double)count_block(m, b) * (double)block_rows(m, b);
    return all > 0 ? alive / all : 1;
}

icd_status icd_i_mask_coarsen(icd_ctx *ctx, const icd_mask *m, int32_t vector,
                              icd_mask **out)
{
    icd_status status = icd_i_mask_new(ctx, m->rows, m->cols, vector, out);
    if (status != ICD_OK) return status;
    icd_mask *coarse = *out;
    for (int64_t b = 0; b < m->blocks; b++) {
        /* A fine block may straddle two coarse ones when V does not divide the kernel's
         * V. */
        int64_t first = b * m->vector / vector;
        int64_t last = (b * m->vector + block_rows(m, b) - 1) / vector;
        for (int64_t c = first; c <= last; c++)
            for (int64_t i = 0; i < m->words; i++)
                coarse->bits[c * m->words + i] |= m->bits[b * m->words + i];
    }
    return ICD_OK;
}

static void write_block(const icd_mask *m, int64_t block, int32_t *index)
{
    for (int64_t i = 0; i < m->words; i++)
        for (uint64_t word = m->bits[block * m->words + i]; word; word &= word - 1)
            *index++ = (int32_t)(i * 64 + __builtin_ctzll(word));
}

static icd_status check_columns(icd_ctx *ctx, const icd_mask *const *mask, int64_t count)
{
    for (int64_t i = 1; i < count; i++)
        if (mask[i]->cols != mask[0]->cols)
            return icd_i_fail(
                ctx, ICD_EINVAL, "mask", NULL,
                "found %lld columns in one mask of a group and %lld in another, "
                "expected the same",
                (long long)mask[i]->cols, (long long)mask[0]->cols);
    return ICD_OK;
}

icd_status icd_i_mask_access(icd_ctx *ctx, const icd_mask *const *mask, int64_t count,
                             uint64_t frame, const char *axis, icd_access **out)
{
    icd_status status = ICD_OK;
    icd_access *a = NULL;
    int64_t total = 0, event = 0;
    *out = NULL;
    ICD_TRY(check_columns(ctx, mask, count));
    ICD_TRY(ICD_ALLOC(ctx, 1, &a));
    for (int64_t i = 0; i < count; i++) a->events += mask[i]->blocks;
    ICD_TRY(ICD_ALLOC(ctx, a->events + 1, &a->event_ptr));
    for (int64_t i = 0; i < count; i++)
        for (int64_t b = 0; b < mask[i]->blocks; b++) {
            total += count_block(mask[i], b);
            a->event_ptr[++event] = total;
        }
    ICD_TRY(ICD_ALLOC(ctx, total, &a->index));
    event = 0;
    for (int64_t i = 0; i < count; i++)
        for (int64_t b = 0; b < mask[i]->blocks; b++)
            write_block(mask[i], b, a->index + a->event_ptr[event++]);
    ICD_TRY(icd_i_strdup(ctx, axis ? axis : "", &a->axis));
    a->n = count ? mask[0]->cols : 0;
    a->frame = frame;
    *out = a;
    a = NULL;
done:
    icd_access_free(ctx, a);
    return status;
}
