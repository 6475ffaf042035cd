/* int8 weights, symmetric, one scale per output row: w ~ q * scale with q in -127..127.
 */
#include "adapters/adapter.h"

#include <math.h>
#include <stdio.h>

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
    for (int64_t r = 0; r < w->rows; r++)
        for (int64_t c = 0; c < w->cols; c++)
            changed[r * w->cols + c] = (float)q->q[r * w->cols + c] * q->scale[r];
    meta->sqnr_db = sqnr(w, changed);
    status = icd_i_measure_loss(ctx, w, changed, cal, meta);
    icd_i_free(ctx, changed);
    return status;
}

static icd_status apply(icd_ctx *ctx, const icd_matrix *w, const icd_calibration *cal,
                        icd_quantized **out, icd_transform_meta *meta)
{
    icd_status status = icd_quantized_new(ctx, w->rows, w->cols, out);
    if (status != ICD_OK) return status;
    for (int64_t r = 0; r < w->rows; r++)
        if (!icd_quantize_weights(w->w + r * w->cols, w->cols, (*out)->q + r * w->cols,
                                  &(*out)->scale[r])) {
            icd_i_no_op(ctx, meta, w->name, "row %lld holds NaN or infinity",
                        (long long)r);
            icd_quantized_free(ctx, *out);
            *out = NULL;
            return ICD_OK;
        }
    meta->applied = true;
    meta->delta_layout = true;
    return measure(ctx, w, *out, cal, meta);
}

icd_status icd_apply_quant(icd_ctx *ctx, const icd_matrix *w, const icd_calibration *cal,
                           const icd_quant_opts *in, icd_quantized **out,
                           icd_transform_meta *meta)
{
    icd_quant_opts opts;
    *out = NULL;
    *meta = (icd_transform_meta){.kind = "Q",
                                 .type = "none",
                                 .retained = NAN,
                                 .retained_in_place = NAN,
                                 .sqnr_db = NAN,
                                 .max_error = NAN,
                                 .cosine = NAN};
    icd_status status = icd_options_resolve(ctx, &icd_quant_table, in, &opts);
    if (status != ICD_OK) return status;
    if (opts.dtype == ICD_Q_NONE) {
        snprintf(meta->reason, sizeof meta->reason, "transform.quant.dtype is none");
        return ICD_OK;
    }
    meta->type = "int8";
    meta->granule = 4; /* int8 dot products take four neighbouring channels together */
    snprintf(meta->rule, sizeof meta->rule, "Q: int8 changes the granule to 4");
    status = apply(ctx, w, cal, out, meta);
    if (status != ICD_OK) {
        icd_quantized_free(ctx, *out);
        *out = NULL;
    }
    return status;
}
