#include "adapters/adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Indexed by icd_sparsity_type. */
static const icd_sparsity_method *const METHOD[] = {
    [ICD_S_HDS] = &icd_i_sparsity_hds,
    [ICD_S_UNSTRUCTURED] = &icd_i_sparsity_unstructured,
};

static const double DELTA_RATE = .25; /* below it most granules stay live in any order */

void icd_mask_free(icd_ctx *ctx, icd_mask *mask)
{
    icd_i_mask_free(ctx, mask);
}

void icd_mask_apply(const icd_mask *mask, const float *w, float *out)
{
    for (int64_t r = 0; r < mask->rows; r++)
        for (int64_t c = 0; c < mask->cols; c++) {
            int64_t at = r * mask->cols + c;
            out[at] = icd_i_mask_get(mask, r / mask->vector, c) ? w[at] : 0;
        }
}

/* Squares, so that the sum over a vector is its energy. False if a weight is NaN or
 * infinite. */
static bool fill_saliency(const icd_matrix *w, const icd_calibration *cal,
                          bool activation, float *saliency)
{
    for (int64_t r = 0; r < w->rows; r++)
        for (int64_t c = 0; c < w->cols; c++) {
            double value = (double)w->w[r * w->cols + c];
            double square = value * value * (activation ? cal->x_sq[c] : 1);
            if (!isfinite(square)) return false;
            saliency[r * w->cols + c] = (float)square;
        }
    return true;
}

static double retained_share(const icd_mask *mask, const float *saliency)
{
    double kept = 0, all = 0;
    for (int64_t r = 0; r < mask->rows; r++)
        for (int64_t c = 0; c < mask->cols; c++) {
            double value = (double)saliency[r * mask->cols + c];
            all += value;
            if (icd_i_mask_get(mask, r / mask->vector, c)) kept += value;
        }
    return all > 0 ? kept / all : 1;
}

static void begin_meta(icd_transform_meta *meta, const icd_sparsity_opts *opts)
{
    *meta = (icd_transform_meta){
        .kind = "S",
        .type = opts->type ? METHOD[opts->type]->name : "none",
        .retained = NAN,
        .sqnr_db = NAN,
        .max_error = NAN,
        .cosine = NAN,
    };
    snprintf(meta->rule, sizeof meta->rule, "S: rate >= %.2f", DELTA_RATE);
}

static icd_status finish_meta(icd_ctx *ctx, const icd_matrix *w,
                              const icd_calibration *cal, const icd_mask *mask,
                              const float *saliency, icd_transform_meta *meta)
{
    float *changed = NULL;
    meta->applied = true;
    meta->vector = mask->vector;
    meta->rate = 1 - icd_i_mask_density(mask);
    meta->delta_layout = meta->rate >= DELTA_RATE;
    meta->retained = retained_share(mask, saliency);
    icd_status status = ICD_ALLOC(ctx, w->rows * w->cols, &changed);
    if (status != ICD_OK) return status;
    icd_mask_apply(mask, w->w, changed);
    status = icd_i_measure_loss(ctx, w, changed, cal, meta);
    icd_i_free(ctx, changed);
    return status;
}

static icd_status apply(icd_ctx *ctx, const icd_matrix *w, const icd_calibration *cal,
                        const icd_sparsity_opts *opts, float *saliency, icd_mask **mask,
                        icd_transform_meta *meta)
{
    const icd_sparsity_method *method = METHOD[opts->type];
    bool activation = opts->saliency == ICD_SALIENCY_ACTIVATION;
    if (activation && (!cal || !cal->x_sq)) {
        icd_i_no_op(ctx, meta, w->name, "saliency 'activation' needs calibration input");
        return ICD_OK;
    }
    if (!fill_saliency(w, cal, activation, saliency)) {
        icd_i_no_op(ctx, meta, w->name, "a weight or its saliency is NaN or infinite");
        return ICD_OK;
    }
    icd_status status = icd_i_mask_new(ctx, w->rows, w->cols, method->vector(opts), mask);
    if (status == ICD_OK) status = method->choose(ctx, saliency, opts, *mask);
    if (status == ICD_OK) status = finish_meta(ctx, w, cal, *mask, saliency, meta);
    return status;
}

icd_status icd_apply_sparsity(icd_ctx *ctx, const icd_matrix *w,
                              const icd_calibration *cal, const icd_sparsity_opts *in,
                              icd_mask **mask, icd_transform_meta *meta)
{
    icd_sparsity_opts opts;
    float *saliency = NULL;
    *mask = NULL;
    *meta = (icd_transform_meta){.kind = "S", .type = "none"};
    icd_status status = icd_options_resolve(ctx, &icd_sparsity_table, in, &opts);
    if (status != ICD_OK) return status;
    begin_meta(meta, &opts);
    if (opts.type == ICD_S_NONE) {
        snprintf(meta->reason, sizeof meta->reason, "transform.sparsity.type is none");
        return ICD_OK;
    }
    status = ICD_ALLOC(ctx, w->rows * w->cols, &saliency);
    if (status == ICD_OK) status = apply(ctx, w, cal, &opts, saliency, mask, meta);
    if (status != ICD_OK) {
        icd_i_mask_free(ctx, *mask);
        *mask = NULL;
    }
    icd_i_free(ctx, saliency);
    return status;
}
