#include <icd/csr.h>

#include "base/hash.h"
#include "base/mem.h"
#include "core/csr_io.h"
#include "core/spot.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

icd_status icd_csr_new(icd_ctx *ctx, int64_t n, int64_t nnz, icd_csr **out)
{
    icd_status status;
    icd_csr *w = NULL;
    *out = NULL;
    if (n < 0 || n > INT32_MAX)
        return icd_i_fail(ctx, ICD_EINVAL, "W", NULL,
                          "found n = %" PRId64 ", expected 0 to %" PRId32, n, INT32_MAX);
    if (nnz < 0 || nnz > n * n)
        return icd_i_fail(ctx, ICD_EINVAL, "W", NULL,
                          "found %" PRId64 " entries, expected 0 to %" PRId64, nnz,
                          n * n);
    ICD_TRY(ICD_ALLOC(ctx, 1, &w));
    w->n = n;
    w->nnz = nnz;
    w->frame = ICD_FRAME_CHECKPOINT;
    ICD_TRY(ICD_ALLOC(ctx, n + 1, &w->row_ptr));
    ICD_TRY(ICD_ALLOC(ctx, nnz, &w->col));
    ICD_TRY(ICD_ALLOC(ctx, nnz, &w->val));
    *out = w;
    w = NULL;
done:
    icd_csr_free(ctx, w);
    return status;
}

void icd_csr_free(icd_ctx *ctx, icd_csr *w)
{
    if (!w) return;
    icd_i_free(ctx, w->row_ptr);
    icd_i_free(ctx, w->col);
    icd_i_free(ctx, w->val);
    icd_i_free(ctx, w);
}

static icd_status check_row_ptr(icd_ctx *ctx, const icd_csr *w, const char *place)
{
    if (w->n < 0 || w->n > INT32_MAX)
        return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                          "found n = %" PRId64 ", expected 0 to %" PRId32, w->n,
                          INT32_MAX);
    if (w->row_ptr[0] != 0)
        return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                          "row pointers begin with %" PRId64 ", expected 0",
                          w->row_ptr[0]);
    for (int64_t i = 0; i < w->n; ++i)
        if (w->row_ptr[i + 1] < w->row_ptr[i])
            return icd_i_fail(ctx, ICD_EDATA, icd_i_spot(place, "row %" PRId64, i).text,
                              NULL,
                              "row pointers fall from %" PRId64 " to %" PRId64
                              ", expected them never to fall",
                              w->row_ptr[i], w->row_ptr[i + 1]);
    if (w->row_ptr[w->n] != w->nnz)
        return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                          "row pointers end with %" PRId64 ", expected the %" PRId64
                          " stored entries",
                          w->row_ptr[w->n], w->nnz);
    return ICD_OK;
}

static const char *entry_fault(const icd_csr *w, int64_t row, int64_t k)
{
    int32_t col = w->col[k];
    float val = w->val[k];
    if (col < 0 || col >= w->n) return "the column is out of range";
    if (col == row) return "the diagonal holds an entry, expected none";
    if (k > w->row_ptr[row] && w->col[k - 1] >= col)
        return "the column does not ascend inside its row, or repeats";
    if (isnan(val)) return "found NaN, expected a finite value > 0";
    if (isinf(val)) return "found an infinite value, expected a finite one > 0";
    if (val < 0) return "found a negative value, expected one > 0";
    if (val == 0) return "found a stored zero, expected values > 0";
    return NULL;
}

static icd_status check_entries(icd_ctx *ctx, const icd_csr *w, const char *place,
                                int base)
{
    for (int64_t i = 0; i < w->n; ++i)
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; ++k) {
            const char *fault = entry_fault(w, i, k);
            if (fault)
                return icd_i_fail(ctx, ICD_EDATA,
                                  icd_i_spot(place, "row %" PRId64 ", column %" PRId64,
                                             i + base, (int64_t)w->col[k] + base)
                                      .text,
                                  NULL, "%s", fault);
        }
    return ICD_OK;
}

static icd_status fail_mirror(icd_ctx *ctx, const char *place, int64_t row, int64_t col,
                              const char *what)
{
    return icd_i_fail(
        ctx, ICD_EDATA,
        icd_i_spot(place, "row %" PRId64 ", column %" PRId64, row, col).text,
        "W must be symmetric to the bit; symmetrise it before saving", "%s", what);
}

/* Rows are visited in ascending order and columns ascend, so the mirror image of (i, j)
   must be the first entry of row j that no earlier row has claimed. */
static icd_status check_mirror(icd_ctx *ctx, const icd_csr *w, int64_t *next,
                               const char *place, int base)
{
    memcpy(next, w->row_ptr, (size_t)w->n * sizeof *next);
    for (int64_t i = 0; i < w->n; ++i)
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; ++k) {
            int32_t j = w->col[k];
            int64_t m = next[j]++;
            if (m < w->row_ptr[j + 1] && w->col[m] < i)
                return fail_mirror(ctx, place, j + base, w->col[m] + base,
                                   "has an entry whose mirror image is missing");
            if (m >= w->row_ptr[j + 1] || w->col[m] != i)
                return fail_mirror(ctx, place, i + base, j + base,
                                   "has an entry whose mirror image is missing");
            if (memcmp(&w->val[m], &w->val[k], sizeof *w->val) != 0)
                return fail_mirror(ctx, place, i + base, j + base,
                                   "differs from the value of its mirror image");
        }
    return ICD_OK;
}

icd_status icd_i_csr_check(icd_ctx *ctx, const icd_csr *w, const char *place, int base)
{
    icd_status status;
    int64_t *next = NULL;
    ICD_TRY(check_row_ptr(ctx, w, place));
    ICD_TRY(check_entries(ctx, w, place, base));
    ICD_TRY(ICD_ALLOC(ctx, w->n, &next));
    ICD_TRY(check_mirror(ctx, w, next, place, base));
done:
    icd_i_free(ctx, next);
    return status;
}

icd_status icd_csr_check(icd_ctx *ctx, const icd_csr *w, const char *place)
{
    return icd_i_csr_check(ctx, w, place, 0);
}

uint64_t icd_csr_hash(const icd_csr *w)
{
    uint64_t hash = icd_i_hash(0, &w->n, sizeof w->n);
    hash = icd_i_hash(hash, &w->frame, sizeof w->frame);
    hash = icd_i_hash(hash, w->row_ptr, (size_t)(w->n + 1) * sizeof *w->row_ptr);
    hash = icd_i_hash(hash, w->col, (size_t)w->nnz * sizeof *w->col);
    return icd_i_hash(hash, w->val, (size_t)w->nnz * sizeof *w->val);
}
