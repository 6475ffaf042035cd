#include <icd/matrix.h>

#include "base/mem.h"
#include "core/layout.h"
#include "core/small_float.h"

#include <math.h>

static const struct {
    const char *name;
    int32_t bits;
    float largest;
} TYPE[ICD_WEIGHT_DTYPES] = {
    {"f32", 32, 0}, {"bf16", 16, 0},      {"int8", 8, 127},
    {"int4", 4, 7}, {"fp8_e4m3", 8, 448}, {"fp8_e5m2", 8, 57344},
};

const char *icd_weight_dtype_name(int32_t dtype)
{
    return dtype >= 0 && dtype < ICD_WEIGHT_DTYPES ? TYPE[dtype].name : "unknown";
}

int32_t icd_weight_dtype_bits(int32_t dtype)
{
    return dtype >= 0 && dtype < ICD_WEIGHT_DTYPES ? TYPE[dtype].bits : 0;
}

int64_t icd_quantized_groups(const icd_quantized *q)
{
    return q->group > 0 ? (q->cols + q->group - 1) / q->group : 1;
}

static icd_status check_new(icd_ctx *ctx, int64_t rows, int64_t cols, int32_t dtype,
                            int32_t group)
{
    if (rows < 0 || cols < 0 || (cols > 0 && rows > INT64_MAX / cols))
        return icd_i_fail(ctx, ICD_EINVAL, "matrix", NULL,
                          "found %lld x %lld, expected sizes >= 0 whose product fits",
                          (long long)rows, (long long)cols);
    if (dtype <= ICD_WEIGHT_F32 || dtype >= ICD_WEIGHT_DTYPES || group < 0)
        return icd_i_fail(
            ctx, ICD_EINVAL, "matrix", NULL,
            "found type %d in groups of %d, expected a type smaller than f32 and "
            "groups of at least 0",
            dtype, group);
    return ICD_OK;
}

icd_status icd_quantized_new_as(icd_ctx *ctx, int64_t rows, int64_t cols, int32_t dtype,
                                int32_t group, icd_quantized **out)
{
    icd_status status = ICD_OK;
    icd_quantized *q = NULL;
    *out = NULL;
    ICD_TRY(check_new(ctx, rows, cols, dtype, group));
    ICD_TRY(ICD_ALLOC(ctx, 1, &q));
    q->rows = rows;
    q->cols = cols;
    q->dtype = dtype;
    q->group = group;
    if (dtype == ICD_WEIGHT_BF16)
        ICD_TRY(ICD_ALLOC(ctx, rows * cols, &q->bits));
    else
        ICD_TRY(ICD_ALLOC(ctx, rows * cols, &q->q));
    ICD_TRY(ICD_ALLOC(ctx, rows * icd_quantized_groups(q), &q->scale));
    *out = q;
    q = NULL;
done:
    icd_quantized_free(ctx, q);
    return status;
}

icd_status icd_quantized_new(icd_ctx *ctx, int64_t rows, int64_t cols,
                             icd_quantized **out)
{
    return icd_quantized_new_as(ctx, rows, cols, ICD_WEIGHT_INT8, 0, out);
}

void icd_quantized_free(icd_ctx *ctx, icd_quantized *q)
{
    if (!q) return;
    icd_i_free(ctx, q->q);
    icd_i_free(ctx, q->scale);
    icd_i_free(ctx, q->bits);
    icd_i_free(ctx, q->order);
    icd_i_free(ctx, q->outlier);
    icd_i_free(ctx, q->wide);
    icd_i_free(ctx, q);
}

/* Largest magnitude; NaN when any of them is not finite. */
static float top_of(const float *w, int64_t n)
{
    float top = 0;
    for (int64_t c = 0; c < n; c++) {
        if (!isfinite(w[c])) return NAN;
        top = fmaxf(top, fabsf(w[c]));
    }
    return top;
}

/* 1 / scale; the reciprocal overflows for rows of denormals, which count as zero. */
static float inverse_of(float top, float largest)
{
    return top > 1e-36f ? largest / top : 0;
}

bool icd_quantize_weights(const float *w, int64_t cols, int8_t *q, float *scale)
{
    float top = top_of(w, cols), inverse = inverse_of(top, 127);
    if (isnan(top)) return false;
    *scale = inverse > 0 ? top / 127 : 0;
    for (int64_t c = 0; c < cols; c++) q[c] = (int8_t)lrintf(w[c] * inverse);
    return true;
}

static int8_t encode(int32_t dtype, float x)
{
    if (dtype < ICD_WEIGHT_FP8_E4M3) return (int8_t)lrintf(x);
    return (int8_t)icd_i_fp8_of(x, dtype == ICD_WEIGHT_FP8_E4M3 ? 3 : 2);
}

static float decode(int32_t dtype, int8_t q)
{
    if (dtype < ICD_WEIGHT_FP8_E4M3) return q;
    return icd_i_fp8_value((uint8_t)q, dtype == ICD_WEIGHT_FP8_E4M3 ? 3 : 2);
}

static bool quantize_group(icd_quantized *q, const float *w, int64_t at, int64_t n,
                           float *scale)
{
    float largest = TYPE[q->dtype].largest, top = top_of(w + at, n);
    float inverse = inverse_of(top, largest);
    if (isnan(top)) return false;
    *scale = inverse > 0 ? top / largest : 0;
    if (q->dtype == ICD_WEIGHT_BF16) *scale = 1;
    for (int64_t i = at; i < at + n; i++)
        if (q->dtype == ICD_WEIGHT_BF16)
            q->bits[i] = icd_i_bf16_of(w[i]);
        else
            q->q[i] = encode(q->dtype, w[i] * inverse);
    return true;
}

icd_status icd_quantize_matrix(icd_ctx *ctx, const icd_matrix *w, int32_t dtype,
                               int32_t group, icd_quantized **out)
{
    icd_quantized *q = NULL;
    *out = NULL;
    icd_status status = icd_quantized_new_as(ctx, w->rows, w->cols, dtype, group, &q);
    if (status != ICD_OK) return status;
    int64_t groups = icd_quantized_groups(q), step = group ? group : w->cols;
    for (int64_t i = 0; status == ICD_OK && i < w->rows * groups; i++) {
        int64_t first = i % groups * step, n = w->cols - first;
        if (!quantize_group(q, w->w, i / groups * w->cols + first, n < step ? n : step,
                            &q->scale[i]))
            status =
                icd_i_fail(ctx, ICD_EDATA, w->name, NULL,
                           "row %lld holds NaN or infinity", (long long)(i / groups));
    }
    if (status == ICD_OK)
        *out = q;
    else
        icd_quantized_free(ctx, q);
    return status;
}

bool icd_i_is_outlier(const icd_quantized *q, int64_t column)
{
    int64_t low = 0, high = q->outliers;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (q->outlier[middle] < column)
            low = middle + 1;
        else
            high = middle;
    }
    return low < q->outliers && q->outlier[low] == column;
}

static icd_status check_outliers(icd_ctx *ctx, const icd_quantized *q,
                                 const int32_t *outlier, int64_t count)
{
    if (q->dtype == ICD_WEIGHT_BF16)
        return icd_i_fail(ctx, ICD_EINVAL, "matrix", NULL,
                          "found weights in bf16, expected a smaller type: columns of "
                          "these are not widened");
    for (int64_t i = 0; i < count; i++)
        if (outlier[i] < 0 || outlier[i] >= q->cols ||
            (i > 0 && outlier[i] <= outlier[i - 1]))
            return icd_i_fail(ctx, ICD_EINVAL, "matrix", NULL,
                              "found outlier %d at place %lld, expected ascending "
                              "columns below %lld",
                              outlier[i], (long long)i, (long long)q->cols);
    return ICD_OK;
}

icd_status icd_quantized_widen(icd_ctx *ctx, icd_quantized *q, const float *w,
                               const int32_t *outlier, int64_t count)
{
    icd_status status = ICD_OK;
    int32_t *columns = NULL;
    uint16_t *wide = NULL;
    ICD_TRY(check_outliers(ctx, q, outlier, count));
    ICD_TRY(ICD_ALLOC(ctx, count, &columns));
    ICD_TRY(ICD_ALLOC(ctx, q->rows * count, &wide));
    for (int64_t i = 0; i < count; i++) {
        columns[i] = outlier[i];
        for (int64_t r = 0; r < q->rows; r++) {
            wide[r * count + i] = icd_i_bf16_of(w[r * q->cols + outlier[i]]);
            q->q[r * q->cols + outlier[i]] = 0;
        }
    }
    icd_i_free(ctx, q->outlier);
    icd_i_free(ctx, q->wide);
    q->outliers = count;
    q->outlier = columns;
    q->wide = wide;
    return ICD_OK;
done:
    icd_i_free(ctx, columns);
    icd_i_free(ctx, wide);
    return status;
}

void icd_quantized_row(const icd_quantized *q, int64_t row, float *out)
{
    int64_t step = q->group > 0 ? q->group : q->cols, base = row * q->cols;
    const float *scale = q->scale + row * icd_quantized_groups(q);
    for (int64_t k = 0; k < q->cols; k++) {
        int64_t column = q->order ? q->order[k] : k;
        float value = q->dtype == ICD_WEIGHT_BF16
                          ? icd_i_bf16_value(q->bits[base + column])
                          : decode(q->dtype, q->q[base + column]);
        out[column] = value * scale[k / step];
    }
    for (int64_t i = 0; i < q->outliers; i++)
        out[q->outlier[i]] = icd_i_bf16_value(q->wide[row * q->outliers + i]);
}

/* A bf16 or fp8 zero has a sign. */
static bool is_zero(const icd_quantized *q, int64_t at)
{
    if (q->dtype == ICD_WEIGHT_BF16) return (q->bits[at] & 0x7FFF) == 0;
    return decode(q->dtype, q->q[at]) == 0;
}

bool icd_quantized_set_nm(icd_quantized *q, int32_t n, int32_t m)
{
    for (int64_t r = 0; r < q->rows; r++)
        for (int64_t c = 0; c < q->cols; c += m) {
            int32_t found = 0;
            for (int64_t i = c; i < c + m && i < q->cols; i++)
                found += !is_zero(q, r * q->cols + i);
            if (found > n) return false;
        }
    q->n = n;
    q->m = m;
    return true;
}
