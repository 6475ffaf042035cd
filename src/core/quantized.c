#include <icd/matrix.h>

#include "base/mem.h"

#include <math.h>

icd_status icd_quantized_new(icd_ctx *ctx, int64_t rows, int64_t cols,
                             icd_quantized **out)
{
    icd_status status = ICD_OK;
    icd_quantized *q = NULL;
    *out = NULL;
    if (rows < 0 || cols < 0 || (cols > 0 && rows > INT64_MAX / cols))
        return icd_i_fail(ctx, ICD_EINVAL, "matrix", NULL,
                          "found %lld x %lld, expected sizes >= 0 whose product fits",
                          (long long)rows, (long long)cols);
    ICD_TRY(ICD_ALLOC(ctx, 1, &q));
    q->rows = rows;
    q->cols = cols;
    ICD_TRY(ICD_ALLOC(ctx, rows * cols, &q->q));
    ICD_TRY(ICD_ALLOC(ctx, rows, &q->scale));
    *out = q;
    q = NULL;
done:
    icd_quantized_free(ctx, q);
    return status;
}

void icd_quantized_free(icd_ctx *ctx, icd_quantized *q)
{
    if (!q) return;
    icd_i_free(ctx, q->q);
    icd_i_free(ctx, q->scale);
    icd_i_free(ctx, q);
}

bool icd_quantize_weights(const float *w, int64_t cols, int8_t *q, float *scale)
{
    float top = 0;
    for (int64_t c = 0; c < cols; c++) {
        if (!isfinite(w[c])) return false;
        top = fmaxf(top, fabsf(w[c]));
    }
    /* 127 / top overflows for rows of denormals; they count as zero. */
    float inverse = top > 1e-36f ? 127 / top : 0;
    *scale = inverse > 0 ? top / 127 : 0;
    for (int64_t c = 0; c < cols; c++) q[c] = (int8_t)lrintf(w[c] * inverse);
    return true;
}
