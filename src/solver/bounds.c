#include "solver/split.h"

#include "base/mem.h"
#include <string.h>

static icd_status bounds_alloc(icd_ctx *ctx, int64_t most, icd_bounds *out)
{
    memset(out, 0, sizeof *out);
    return ICD_ALLOC(ctx, most + 1, &out->at);
}

/* Ignores boundaries that would close an empty block. */
static void push(icd_bounds *b, int64_t slot)
{
    if (slot > b->at[b->count]) b->at[++b->count] = (int32_t)slot;
}

icd_status icd_i_bounds_nest(icd_ctx *ctx, const icd_bounds *coarse, int32_t n,
                             int32_t step, icd_bounds *out)
{
    int32_t whole[2] = {0, n};
    icd_bounds one = {whole, 1};
    if (!coarse) coarse = &one;
    icd_status status = bounds_alloc(ctx, (int64_t)n / step + coarse->count + 1, out);
    if (status != ICD_OK) return status;
    for (int32_t b = 0; b < coarse->count; ++b)
        for (int64_t slot = coarse->at[b]; slot < coarse->at[b + 1];) {
            slot += step;
            push(out, slot < coarse->at[b + 1] ? slot : coarse->at[b + 1]);
        }
    return ICD_OK;
}

icd_status icd_i_bounds_slices(icd_ctx *ctx, int32_t n, int32_t k, icd_bounds *out)
{
    icd_status status = bounds_alloc(ctx, k < n ? k : n, out);
    if (status != ICD_OK) return status;
    for (int64_t b = 1; b <= k; ++b) push(out, b * n / k);
    return ICD_OK;
}

icd_status icd_i_bounds_cross(icd_ctx *ctx, const icd_bounds *coarse, int32_t step,
                              icd_bounds *out)
{
    int32_t n = coarse->at[coarse->count];
    icd_status status = bounds_alloc(ctx, (int64_t)n / step + coarse->count + 1, out);
    if (status != ICD_OK) return status;
    int64_t multiple = step;
    for (int32_t b = 1; b <= coarse->count; ++b) {
        for (; multiple < coarse->at[b]; multiple += step) push(out, multiple);
        push(out, coarse->at[b]);
    }
    return ICD_OK;
}

icd_status icd_i_bounds_group(icd_ctx *ctx, const icd_bounds *coarse,
                              const icd_bounds *fine, int32_t slots, icd_bounds *out)
{
    icd_status status;
    int32_t zone = 0;
    *out = (icd_bounds){0};
    ICD_TRY(ICD_ALLOC(ctx, fine->count + (int64_t)1, &out->at));
    for (int32_t b = 1; b <= fine->count; ++b) {
        bool edge = b == fine->count;
        if (coarse && fine->at[b] == coarse->at[zone + 1]) {
            edge = true;
            zone++;
        }
        if (edge || fine->at[b] - out->at[out->count] >= slots)
            out->at[++out->count] = fine->at[b];
    }
done:
    return status;
}

void icd_i_bounds_release(icd_ctx *ctx, icd_bounds *b)
{
    icd_i_free(ctx, b->at);
    memset(b, 0, sizeof *b);
}

void icd_i_bounds_spread(const icd_bounds *b, int32_t *block_of)
{
    for (int32_t k = 0; k < b->count; ++k)
        for (int32_t slot = b->at[k]; slot < b->at[k + 1]; ++slot) block_of[slot] = k;
}
