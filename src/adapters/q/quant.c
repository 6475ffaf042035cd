/* Q: weights in a smaller type, by scale of a row or of a group of neighbours. */
#include "adapters/adapter.h"
#include "adapters/q/activation.h"
#include "adapters/q/clip.h"
#include <icd/perm.h>

#include <fnmatch.h>
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
                          const icd_calibration *cal, bool rounds,
                          icd_transform_meta *meta)
{
    icd_status status = ICD_OK;
    float *changed = NULL, *x = NULL;
    ICD_TRY(ICD_ALLOC(ctx, w->rows * w->cols, &changed));
    for (int64_t r = 0; r < w->rows; r++) icd_quantized_row(q, r, changed + r * w->cols);
    meta->sqnr_db = sqnr(w, changed);
    if (rounds && cal && cal->x) {
        ICD_TRY(ICD_ALLOC(ctx, cal->tokens * w->cols, &x));
        icd_i_quant_inputs(q, cal->x, cal->tokens, x);
    }
    status = icd_i_measure_loss_with(ctx, w, changed, cal, x, meta);
done:
    icd_i_free(ctx, changed);
    icd_i_free(ctx, x);
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

/* Outliers take no part in the scales. */
static icd_status quantize(icd_ctx *ctx, const icd_matrix *w, const icd_quant_opts *opts,
                           const int32_t *order, const icd_quant_choice *choice,
                           icd_quantized **out)
{
    icd_status status = ICD_OK;
    float *regular = NULL, *copy = NULL;
    int64_t count = w->rows * w->cols;
    icd_matrix rest = *w;
    ICD_TRY(ICD_ALLOC(ctx, count, &copy));
    ICD_TRY(ICD_ALLOC(ctx, choice->outliers ? count : 0, &regular));
    if (choice->outliers) {
        memcpy(regular, w->w, (size_t)count * sizeof *regular);
        for (int64_t r = 0; r < w->rows; r++)
            for (int64_t i = 0; i < choice->outliers; i++)
                regular[r * w->cols + choice->outlier[i]] = 0;
        rest.w = regular;
    }
    gather(&rest, order, copy);
    ICD_TRY(clip(ctx, copy, w->rows, w->cols, opts));
    icd_matrix cut = {w->name, copy, w->rows, w->cols};
    ICD_TRY(icd_quantize_matrix(ctx, &cut, TYPE[opts->dtype].stored, opts->group, out));
    ICD_TRY(scatter(ctx, *out, order));
    (*out)->input_scale = choice->input_scale;
    if (choice->outliers)
        status = icd_quantized_widen(ctx, *out, w->w, choice->outlier, choice->outliers);
done:
    icd_i_free(ctx, copy);
    icd_i_free(ctx, regular);
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
                                 .cosine = NAN,
                                 .plain = {NAN, NAN, NAN}};
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

bool icd_quant_excludes(const icd_quant_opts *opts, const char *linear)
{
    for (int64_t i = 0; i < opts->exclude.count; i++)
        if (fnmatch(opts->exclude.item[i], linear, 0) == 0) return true;
    return false;
}

/* Why a matrix is left as it is; false: it is not. */
static bool stays(icd_ctx *ctx, const icd_matrix *w, const icd_quant_opts *opts,
                  const icd_perm *order, icd_transform_meta *meta)
{
    int64_t broken = broken_row(w);
    bool excluded = icd_quant_excludes(opts, w->name);
    if (excluded)
        snprintf(meta->reason, sizeof meta->reason, "transform.quant.exclude names it");
    else if (broken >= 0)
        icd_i_no_op(ctx, meta, w->name, "row %lld holds NaN or infinity",
                    (long long)broken);
    else if (order && order->n != w->cols)
        icd_i_no_op(ctx, meta, w->name, "its order has another number of columns");
    else
        return false;
    meta->delta_layout = false;
    return true;
}

static icd_status choose(icd_ctx *ctx, const icd_matrix *w, const icd_calibration *cal,
                         const icd_quant_opts *opts, const icd_quant_place *place,
                         icd_quant_choice *out)
{
    const char *lacks = NULL;
    *out = (icd_quant_choice){0};
    if (!place->given) {
        icd_status status = icd_i_quant_choose(ctx, cal, w->cols, opts, out, &lacks);
        if (lacks)
            icd_i_warn(ctx, "%s: no %s: these need calibration input", w->name, lacks);
        return status;
    }
    icd_status status = ICD_ALLOC(ctx, place->outliers, &out->outlier);
    if (status != ICD_OK) return status;
    for (int64_t i = 0; i < place->outliers; i++) {
        out->outlier[i] = place->outlier[i];
        if (out->outlier[i] < 0 || out->outlier[i] >= w->cols)
            return icd_i_fail(ctx, ICD_EINVAL, w->name, NULL,
                              "found outlier %d, expected one of %lld columns",
                              out->outlier[i], (long long)w->cols);
    }
    out->outliers = place->outliers;
    out->input_scale = place->input_scale;
    return ICD_OK;
}

/* What the same type would lose without outliers and static scales. */
static icd_status measure_plain(icd_ctx *ctx, const icd_matrix *w,
                                const icd_calibration *cal, const icd_quant_opts *opts,
                                const int32_t *order, icd_loss *out)
{
    icd_quantized *q = NULL;
    icd_transform_meta meta;
    const icd_quant_choice none = {0};
    icd_status status = quantize(ctx, w, opts, order, &none, &q);
    if (status == ICD_OK)
        status = measure(ctx, w, q, cal, icd_i_quant_runs_int8(opts), &meta);
    if (status == ICD_OK) *out = (icd_loss){meta.sqnr_db, meta.max_error, meta.cosine};
    icd_quantized_free(ctx, q);
    return status;
}

static icd_status apply(icd_ctx *ctx, const icd_matrix *w, const icd_calibration *cal,
                        const icd_quant_opts *opts, const icd_quant_place *place,
                        icd_quantized **out, icd_transform_meta *meta)
{
    icd_status status = ICD_OK;
    icd_quant_choice choice = {0};
    const int32_t *order = place->order ? place->order->old_of_new : NULL;
    ICD_TRY(choose(ctx, w, cal, opts, place, &choice));
    ICD_TRY(quantize(ctx, w, opts, order, &choice, out));
    meta->applied = true;
    meta->outliers = choice.outliers;
    meta->input_scale = (double)choice.input_scale;
    meta->refined = choice.outliers > 0 || choice.input_scale > 0;
    ICD_TRY(measure(ctx, w, *out, cal, icd_i_quant_runs_int8(opts), meta));
    if (meta->refined && !place->given)
        status = measure_plain(ctx, w, cal, opts, order, &meta->plain);
done:
    icd_i_quant_choice_release(ctx, &choice);
    return status;
}

icd_status icd_apply_quant_in(icd_ctx *ctx, const icd_matrix *w,
                              const icd_calibration *cal, const icd_quant_opts *in,
                              const icd_quant_place *place, icd_quantized **out,
                              icd_transform_meta *meta)
{
    icd_quant_opts opts;
    *out = NULL;
    *meta = (icd_transform_meta){.kind = "Q", .type = "none"};
    icd_status status = icd_options_resolve(ctx, &icd_quant_table, in, &opts);
    if (status != ICD_OK) return status;
    begin_meta(meta, &opts);
    if (opts.dtype == ICD_Q_NONE || stays(ctx, w, &opts, place->order, meta))
        return ICD_OK;
    status = apply(ctx, w, cal, &opts, place, out, meta);
    if (status != ICD_OK) {
        icd_quantized_free(ctx, *out);
        *out = NULL;
    }
    return status;
}

icd_status icd_apply_quant_at(icd_ctx *ctx, const icd_matrix *w,
                              const icd_calibration *cal, const icd_quant_opts *opts,
                              const icd_perm *order, icd_quantized **out,
                              icd_transform_meta *meta)
{
    const icd_quant_place place = {.order = order};
    return icd_apply_quant_in(ctx, w, cal, opts, &place, out, meta);
}

icd_status icd_apply_quant(icd_ctx *ctx, const icd_matrix *w, const icd_calibration *cal,
                           const icd_quant_opts *opts, icd_quantized **out,
                           icd_transform_meta *meta)
{
    return icd_apply_quant_at(ctx, w, cal, opts, NULL, out, meta);
}
