/* Q: weights in a smaller type, by scale of a row or of a group of neighbours. */
#include "adapters/adapter.h"
#include "adapters/q/clip.h"
#include <icd/perm.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Indexed by icd_quant_dtype. */
static const struct {
    int32_t stored;  /* icd_weight_dtype */
    int32_t levels;  /* values of one sign, for kld; 0: a floating type is not cut */
    int32_t granule; /* channels that the kernel takes together; 0: as before */
} TYPE[] = {
    [ICD_Q_NONE] = {ICD_WEIGHT_F32, 0, 0},
    [ICD_Q_INT8] = {ICD_WEIGHT_INT8, 127, 4},
    [ICD_Q_INT4] = {ICD_WEIGHT_INT4, 7, 0},
    [ICD_Q_FP8] = {ICD_WEIGHT_FP8_E4M3, 0, 0},
    [ICD_Q_FP8_E5M2] = {ICD_WEIGHT_FP8_E5M2, 0, 0},
    [ICD_Q_BF16] = {ICD_WEIGHT_BF16, 0, 0},
};

static double sqnr(const icd_matrix *w, const float *changed)
{
    double signal = 0, noise = 0;
    for (int64_t i = 0; i < w->rows * w->cols; i++) {
        double value = (double)w->w[i], error = value - (double)changed[i];
        signal += value * value;
        noise += error * error;
    }
    return noise > 0 ? 10 * log10(signal / noise) : INFINITY;
}

static icd_status measure(icd_ctx *ctx, const icd_matrix *w, const icd_quantized *q,
                          const icd_calibration *cal, icd_transform_meta *meta)
{
    float *changed = NULL;
    icd_status status = ICD_ALLOC(ctx, w->rows * w->cols, &changed);
    if (status != ICD_OK) return status;
    for (int64_t r = 0; r < w->rows; r++) icd_quantized_row(q, r, changed + r * w->cols);
    meta->sqnr_db = sqnr(w, changed);
    status = icd_i_measure_loss(ctx, w, changed, cal, meta);
    icd_i_free(ctx, changed);
    return status;
}

/* Groups are neighbours in this order. */
static void gather(const icd_matrix *w, const int32_t *order, float *out)
{
    for (int64_t r = 0; r < w->rows; r++)
        for (int64_t k = 0; k < w->cols; k++)
            out[r * w->cols + k] = w->w[r * w->cols + (order ? order[k] : k)];
}

/* Cuts every group at its own limit; the largest magnitude left then sets the scale. */
static icd_status clip(icd_ctx *ctx, float *w, int64_t rows, int64_t cols,
                       const icd_quant_opts *opts)
{
    float *work = NULL;
    int64_t step = opts->group ? opts->group : cols;
    if (opts->method == ICD_Q_PTQ_MINMAX || TYPE[opts->dtype].levels == 0) return ICD_OK;
    icd_status status = ICD_ALLOC(ctx, step, &work);
    if (status != ICD_OK) return status;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t g = 0; g < cols; g += step) {
            float *at = w + r * cols + g;
            int64_t n = cols - g < step ? cols - g : step;
            float limit = opts->method == ICD_Q_PTQ_KLD
                              ? icd_i_clip_kld(at, n, TYPE[opts->dtype].levels)
                              : icd_i_clip_percentile(at, n, opts->percentile, work);
            for (int64_t i = 0; limit > 0 && i < n; i++)
                at[i] = fmaxf(-limit, fminf(limit, at[i]));
        }
    icd_i_free(ctx, work);
    return ICD_OK;
}

/* From the order of the groups back to the columns of the model. */
static icd_status scatter(icd_ctx *ctx, icd_quantized *q, const int32_t *order)
{
    icd_status status = ICD_OK;
    int8_t *row = NULL;
    uint16_t *wide = NULL;
    if (!order) return ICD_OK;
    ICD_TRY(ICD_ALLOC(ctx, q->cols, &row));
    ICD_TRY(ICD_ALLOC(ctx, q->cols, &wide));
    ICD_TRY(ICD_ALLOC(ctx, q->cols, &q->order));
    memcpy(q->order, order, (size_t)q->cols * sizeof *order);
    for (int64_t r = 0; r < q->rows; r++) {
        if (q->q) memcpy(row, q->q + r * q->cols, (size_t)q->cols);
        if (q->bits) memcpy(wide, q->bits + r * q->cols, (size_t)q->cols * sizeof *wide);
        for (int64_t k = 0; k < q->cols; k++) {
            if (q->q) q->q[r * q->cols + order[k]] = row[k];
            if (q->bits) q->bits[r * q->cols + order[k]] = wide[k];
        }
    }
done:
    icd_i_free(ctx, row);
    icd_i_free(ctx, wide);
    return status;
}

/* The first row with NaN or infinity; -1: none. */
static int64_t broken_row(const icd_matrix *w)
{
    for (int64_t i = 0; i < w->rows * w->cols; i++)
        if (!isfinite(w->w[i])) return i / w->cols;
    return -1;
}

static icd_status quantize(icd_ctx *ctx, const icd_matrix *w, const icd_quant_opts *opts,
                           const int32_t *order, icd_quantized **out)
{
    icd_status status = ICD_OK;
    float *copy = NULL;
    ICD_TRY(ICD_ALLOC(ctx, w->rows * w->cols, &copy));
    gather(w, order, copy);
    ICD_TRY(clip(ctx, copy, w->rows, w->cols, opts));
    icd_matrix cut = {w->name, copy, w->rows, w->cols};
    ICD_TRY(icd_quantize_matrix(ctx, &cut, TYPE[opts->dtype].stored, opts->group, out));
    status = scatter(ctx, *out, order);
done:
    icd_i_free(ctx, copy);
    return status;
}

static void begin_meta(icd_transform_meta *meta, const icd_quant_opts *opts)
{
    *meta = (icd_transform_meta){.kind = "Q",
                                 .type = "none",
                                 .retained = NAN,
                                 .retained_in_place = NAN,
                                 .sqnr_db = NAN,
                                 .max_error = NAN,
                                 .cosine = NAN};
    if (opts->dtype == ICD_Q_NONE) {
        snprintf(meta->reason, sizeof meta->reason, "transform.quant.dtype is none");
        return;
    }
    meta->type = icd_weight_dtype_name(TYPE[opts->dtype].stored);
    meta->granule = opts->group > 1 ? opts->group : TYPE[opts->dtype].granule;
    meta->unit = opts->group;
    meta->delta_layout = opts->dtype != ICD_Q_BF16;
    snprintf(meta->rule, sizeof meta->rule,
             "Q: int8, int4 and fp8 change what a kernel takes together");
}

icd_status icd_apply_quant_at(icd_ctx *ctx, const icd_matrix *w,
                              const icd_calibration *cal, const icd_quant_opts *in,
                              const icd_perm *order, icd_quantized **out,
                              icd_transform_meta *meta)
{
    icd_quant_opts opts;
    *out = NULL;
    *meta = (icd_transform_meta){.kind = "Q", .type = "none"};
    icd_status status = icd_options_resolve(ctx, &icd_quant_table, in, &opts);
    if (status != ICD_OK) return status;
    begin_meta(meta, &opts);
    if (opts.dtype == ICD_Q_NONE) return ICD_OK;
    int64_t broken = broken_row(w);
    if (broken >= 0 || (order && order->n != w->cols)) {
        meta->delta_layout = false;
        if (broken >= 0)
            icd_i_no_op(ctx, meta, w->name, "row %lld holds NaN or infinity",
                        (long long)broken);
        else
            icd_i_no_op(ctx, meta, w->name, "its order has another number of columns");
        return ICD_OK;
    }
    status = quantize(ctx, w, &opts, order ? order->old_of_new : NULL, out);
    if (status == ICD_OK) {
        meta->applied = true;
        status = measure(ctx, w, *out, cal, meta);
    }
    if (status != ICD_OK) {
        icd_quantized_free(ctx, *out);
        *out = NULL;
    }
    return status;
}

icd_status icd_apply_quant(icd_ctx *ctx, const icd_matrix *w, const icd_calibration *cal,
                           const icd_quant_opts *opts, icd_quantized **out,
                           icd_transform_meta *meta)
{
    return icd_apply_quant_at(ctx, w, cal, opts, NULL, out, meta);
}
