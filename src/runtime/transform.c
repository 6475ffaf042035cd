/* icd transform: S and Q alone. */
#include "runtime/smooth.h"
#include "runtime/subject.h"
#include "runtime/variant.h"

#include "base/file.h"

#include <icd/packed.h>
#include <icd/transform.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static icd_status check_asked(icd_ctx *ctx, const icd_config *c)
{
    if (c->sparsity.type != ICD_S_NONE || c->quant.dtype != ICD_Q_NONE)
        return icd_sparsity_check(ctx, &c->sparsity);
    return icd_i_fail(ctx, ICD_EINVAL, "transform",
                      "for example --s hds:rate=.5 --q int8",
                      "found neither a sparsity type nor a dtype");
}

static icd_status calibrate(icd_job *job, icd_config *config)
{
    icd_status status = ICD_OK;
    if (config->model.input || !strcmp(icd_model_arch(job->checkpoint), "ffn")) {
        ICD_TRY(icd_i_input_read(job));
        ICD_TRY(icd_i_calibrate(job));
    } else if (config->sparsity.saliency == ICD_SALIENCY_ACTIVATION) {
        if (config->sparsity.type != ICD_S_NONE)
            icd_i_warn(job->ctx, "no calibration input: saliency is the magnitude alone");
        config->sparsity.saliency = ICD_SALIENCY_MAGNITUDE;
    }
done:
    return status;
}

static icd_status open_job(icd_job *job, icd_config *config, const char *model,
                           const char *input)
{
    icd_status status = ICD_OK;
    config->model.path = model;
    config->model.fallback = NULL;
    config->model.input = input;
    job->config = config;
    ICD_TRY(icd_i_job_open_weights(job));
    ICD_TRY(calibrate(job, config));
    ICD_TRY(icd_i_smooth(job));
    /* nothing is permuted here */
    ICD_TRY(icd_model_replace(job->ctx, job->checkpoint, NULL, 0, &job->permuted));
done:
    return status;
}

/* Survivors in their type, their scales, and the mask. */
static int64_t stored_bytes(const icd_layout_entry *e, const icd_quantized *q)
{
    double kept = e->mask ? icd_i_mask_density(e->mask) : 1;
    double regular = (double)(e->rows * (e->cols - (q ? q->outliers : 0)));
    double bits = kept * regular * icd_weight_dtype_bits(q ? q->dtype : ICD_WEIGHT_F32);
    int64_t bytes = (int64_t)ceil(bits / 8);
    if (q) bytes += q->outliers * (2 * q->rows + (int64_t)sizeof *q->outlier);
    if (e->mask) bytes += e->mask->blocks * ((e->cols + 7) / 8);
    if (q && q->dtype != ICD_WEIGHT_BF16)
        bytes += q->rows * icd_quantized_groups(q) * (int64_t)sizeof *q->scale;
    return bytes;
}

/* The layout brings outliers together wherever no scale belongs to neighbours. */
static icd_status set_outliers_last(icd_job *job, icd_variant *v)
{
    icd_status status = ICD_OK;
    for (int64_t i = 0, end; status == ICD_OK && i < job->linears; i = end) {
        const icd_layout_entry *e = &v->layout->entry[i];
        const icd_quantized *q = v->quant[i];
        icd_perm *order = NULL;
        end = icd_i_group_end(job, i);
        if (!q || !q->outliers || q->group || q->m) continue;
        status = icd_i_order_outliers_last(job->ctx, e->order,
                                           icd_i_input_frame(job, job->linear[i].linear),
                                           q, e->granule, &order);
        if (status == ICD_OK)
            status = icd_i_layout_set_order(job->ctx, v->layout, e->group, order);
        icd_perm_free(job->ctx, order);
    }
    return status;
}

static double least(double a, double b)
{
    return isnan(a) || b < a ? b : a;
}

static void sum_up(const icd_job *job, const icd_variant *v, icd_transform_result *r)
{
    double retained = 0, weighed = 0;
    *r = (icd_transform_result){
        .linears = job->linears, .retained = NAN, .sqnr_db = NAN, .cosine = NAN};
    for (int64_t i = 0; i < job->linears; i++) {
        const icd_layout_entry *e = &v->layout->entry[i];
        const icd_transform_meta *s = &v->s[i], *q = &v->q[i];
        int64_t size = e->rows * e->cols;
        r->weights += size;
        r->bytes_before += size * (int64_t)sizeof(float);
        r->bytes_after += stored_bytes(e, v->quant[i]);
        r->sparse += s->applied;
        r->quantized += q->applied;
        r->skipped += (!s->applied && job->config->sparsity.type != ICD_S_NONE) ||
                      (!q->applied && job->config->quant.dtype != ICD_Q_NONE);
        if (s->applied) r->zeros += (int64_t)llround(s->rate * (double)size);
        if (s->applied && isfinite(s->retained)) {
            retained += s->retained * (double)size;
            weighed += (double)size;
        }
        if (q->applied) r->sqnr_db = least(r->sqnr_db, q->sqnr_db);
        if (s->applied) r->cosine = least(r->cosine, s->cosine);
        if (q->applied) r->cosine = least(r->cosine, q->cosine);
    }
    if (weighed > 0) r->retained = retained / weighed;
}

static icd_status write_packed(icd_job *job, const icd_variant *v, const char *dir)
{
    icd_status status = ICD_OK;
    icd_packed *packed = NULL;
    int64_t count = 0;
    ICD_TRY(ICD_ALLOC(job->ctx, job->linears, &packed));
    for (int64_t i = 0; i < job->linears; i++) {
        const icd_layout_entry *e = &v->layout->entry[i];
        if (e->mask || v->quant[i])
            packed[count++] = (icd_packed){job->linear[i].linear->tensor, e->mask,
                                           v->quant[i], e->order};
    }
    status = icd_model_write_packed(job->ctx, v->model, packed, count,
                                    icd_model_path(job->checkpoint), dir);
done:
    icd_i_free(job->ctx, packed);
    return status;
}

static icd_status write_all(icd_job *job, icd_variant *v, int32_t format, const char *dir)
{
    icd_status status = ICD_OK;
    char *path = NULL;
    for (int64_t i = 0; i < job->linears; i++) {
        job->linear[i].s = v->s[i];
        job->linear[i].q = v->q[i];
    }
    ICD_TRY(
        format == ICD_TRANSFORM_PACKED
            ? write_packed(job, v, dir)
            : icd_model_write(job->ctx, v->model, icd_model_path(job->checkpoint), dir));
    ICD_TRY(icd_i_path_join(job->ctx, dir, "transform_meta.json", &path));
    ICD_TRY(icd_i_transform_meta_write(job, path));
done:
    icd_i_free(job->ctx, path);
    return status;
}

icd_status icd_transform_model(icd_ctx *ctx, const icd_config *config, const char *model,
                               const char *input, int32_t format, const char *dir,
                               icd_transform_result *result)
{
    icd_status status = ICD_OK;
    icd_config own = *config;
    icd_job job = {.ctx = ctx};
    icd_variant *v = NULL;
    ICD_TRY(check_asked(ctx, config));
    ICD_TRY(open_job(&job, &own, model, input));
    ICD_TRY(icd_i_variant_anneal(&job, &own.sparsity));
    ICD_TRY(icd_i_variant_make(&job, &own.sparsity, &own.quant, &v));
    ICD_TRY(set_outliers_last(&job, v));
    sum_up(&job, v, result);
    if (format == ICD_TRANSFORM_DENSE) ICD_TRY(icd_i_variant_dense(&job, v));
    ICD_TRY(write_all(&job, v, format, dir));
done:
    icd_i_variant_free(v);
    icd_i_job_free(&job);
    return status;
}
