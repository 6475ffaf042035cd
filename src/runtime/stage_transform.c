/* transform: S and Q on every linear of the permuted model. A transform that cannot be
   applied is a no-op with its reason; the run goes on. */
#include "runtime/job.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* x_sq and x were taken in the checkpoint's order; the permuted model wants them in its
 * own. */
static icd_status permute_calibration(icd_job *job, const icd_job_linear *l, double *x_sq,
                                      float *x)
{
    const icd_perm *order = icd_model_order(job->permuted, l->linear->in_axis);
    int64_t n = l->linear->cols;
    bool moved = order && order->n == n;
    for (int64_t c = 0; c < n; c++) {
        int64_t from = moved ? order->old_of_new[c] : c;
        x_sq[c] = l->x_sq[from];
        for (int64_t r = 0; r < l->x_rows; r++) x[r * n + c] = l->x[r * n + from];
    }
    return ICD_OK;
}

/* One linear: mask, masked weights, int8 weights. */
static icd_status transform_one(icd_job *job, icd_job_linear *l, icd_layout_entry *entry,
                                const icd_calibration *cal, float *masked)
{
    icd_status status = ICD_OK;
    float *w = NULL;
    const icd_linear *linear = l->linear;
    ICD_TRY(icd_model_tensor_f32(job->ctx, job->permuted, linear->tensor, &w));
    icd_matrix matrix = {linear->name, w, linear->rows, linear->cols};
    ICD_TRY(icd_apply_sparsity(job->ctx, &matrix, cal, &job->config->sparsity,
                               &entry->mask, &l->s));
    if (entry->mask)
        icd_mask_apply(entry->mask, w, masked);
    else
        memcpy(masked, w, (size_t)(linear->rows * linear->cols) * sizeof *masked);
    matrix.w = masked;
    ICD_TRY(
        icd_apply_quant(job->ctx, &matrix, cal, &job->config->quant, &l->quant, &l->q));
    entry->quant = l->quant;
done:
    icd_mem_free(job->ctx, w);
    return status;
}

/* How the linears run after the transform: int8 skips granules of four channels; f32
 * skips none. */
static void choose_kernel(const icd_job *job, icd_layout_entry *entry)
{
    bool int8 = entry->quant != NULL;
    int32_t wanted = job->config->layout.granule;
    entry->kernel = ICD_KERNEL_DENSE;
    entry->granule = wanted > 0 ? wanted : 4;
    if (int8 && entry->mask) {
        static const int32_t KIND[] = {ICD_KERNEL_TILE, ICD_KERNEL_GATHER,
                                       ICD_KERNEL_DENSE};
        entry->kernel = KIND[job->config->kernel.kind];
    }
}

static json_t *meta_json(const icd_transform_meta *m)
{
    json_t *loss = json_object();
    const struct {
        const char *name;
        double value;
    } LOSS[] = {{"retained", m->retained},
                {"sqnr_db", m->sqnr_db},
                {"max_error", m->max_error},
                {"cosine", m->cosine}};
    for (size_t i = 0; i < sizeof LOSS / sizeof LOSS[0]; i++)
        json_object_set_new(loss, LOSS[i].name,
                            isfinite(LOSS[i].value) ? json_real(LOSS[i].value)
                                                    : json_null());
    return json_pack("{s:s,s:b,s:s,s:f,s:i,s:b,s:s,s:i,s:o}", "type", m->type, "applied",
                     (int)m->applied, "reason", m->reason, "rate", m->rate, "vector",
                     m->vector, "delta_layout", (int)m->delta_layout, "rule", m->rule,
                     "granule", m->granule, "loss", loss);
}

static json_t *linear_json(const icd_job_linear *l)
{
    json_t *triggers = json_array(), *constraints = json_array();
    if (l->s.delta_layout) json_array_append_new(triggers, json_string("S"));
    if (l->q.delta_layout) json_array_append_new(triggers, json_string("Q"));
    if (l->s.applied && l->s.vector > 1)
        json_array_append_new(constraints,
                              json_sprintf("rows stay in groups of %d", l->s.vector));
    return json_pack("{s:s,s:o,s:o,s:b,s:o,s:o,s:i}", "linear", l->linear->name,
                     "sparsity", meta_json(&l->s), "quant", meta_json(&l->q),
                     "delta_layout", (int)(l->s.delta_layout || l->q.delta_layout),
                     "triggers", triggers, "constraints", constraints, "granule",
                     l->q.granule);
}

static icd_status write_meta(icd_job *job)
{
    const char *path = icd_i_job_path(job, "transform_meta.json");
    json_t *list = json_array();
    if (!path || !list) return ICD_ENOMEM;
    for (int64_t i = 0; i < job->linears; i++)
        json_array_append_new(list, linear_json(&job->linear[i]));
    json_t *root = json_pack("{s:s,s:o}", "version", "icd/1", "linears", list);
    icd_status status = root ? icd_i_json_write(job->ctx, root, path) : ICD_ENOMEM;
    json_decref(root);
    return status;
}

static icd_status transform_all(icd_job *job, float **masked, icd_replacement *with)
{
    icd_status status = ICD_OK;
    double *x_sq = NULL;
    float *x = NULL;
    for (int64_t i = 0; i < job->linears; i++) {
        icd_job_linear *l = &job->linear[i];
        const icd_linear *linear = l->linear;
        icd_i_progress(job->ctx, "transform", i, job->linears);
        ICD_TRY(icd_i_check_cancel(job->ctx));
        ICD_TRY(icd_i_layout_add(job->ctx, job->layout, linear->name, linear->group,
                                 linear->rows, linear->cols));
        ICD_TRY(ICD_ALLOC(job->ctx, linear->rows * linear->cols, &masked[i]));
        ICD_TRY(ICD_ALLOC(job->ctx, linear->cols, &x_sq));
        ICD_TRY(ICD_ALLOC(job->ctx, l->x_rows * linear->cols, &x));
        ICD_TRY(permute_calibration(job, l, x_sq, x));
        icd_calibration cal = {x_sq, x, l->x_rows};
        icd_layout_entry *entry = &job->layout->entry[i];
        ICD_TRY(transform_one(job, l, entry, &cal, masked[i]));
        choose_kernel(job, entry);
        with[i] = (icd_replacement){linear->tensor, masked[i]};
        icd_i_free(job->ctx, x_sq);
        icd_i_free(job->ctx, x);
        x_sq = NULL;
        x = NULL;
    }
done:
    icd_i_free(job->ctx, x_sq);
    icd_i_free(job->ctx, x);
    return status;
}

icd_status icd_i_stage_transform(icd_job *job)
{
    icd_status status = ICD_OK;
    float **masked = NULL;
    icd_replacement *with = NULL;
    const char *path = icd_i_job_path(job, "model");
    if (!path) return ICD_ENOMEM;
    icd_i_out_sweep(path); /* what a killed run left half-written */
    ICD_TRY(ICD_ALLOC(job->ctx, job->linears, &masked));
    ICD_TRY(ICD_ALLOC(job->ctx, job->linears, &with));
    ICD_TRY(icd_i_layout_new(job->ctx, &job->layout));
    ICD_TRY(transform_all(job, masked, with));
    ICD_TRY(icd_model_replace(job->ctx, job->permuted, with, job->linears,
                              &job->transformed));
    ICD_TRY(write_meta(job));
    if (!job->opts.dry_run)
        ICD_TRY(icd_model_write(job->ctx, job->transformed,
                                icd_model_path(job->checkpoint), path));
done:
    for (int64_t i = 0; masked && i < job->linears; i++) icd_i_free(job->ctx, masked[i]);
    icd_i_free(job->ctx, masked);
    icd_i_free(job->ctx, with);
    return status;
}
