#include "runtime/subject.h"

#include <icd/nm.h>

#include <string.h>

void icd_i_subject_release(icd_ctx *ctx, icd_subject *s)
{
    icd_mem_free(ctx, s->weights);
    icd_i_free(ctx, s->x);
    icd_i_free(ctx, s->x_sq);
    icd_i_free(ctx, s->x_max);
    *s = (icd_subject){0};
}

/* x_sq, x_max and x were taken in the checkpoint's order. */
icd_status icd_i_subject_open(icd_job *job, const icd_job_linear *l, icd_subject *out)
{
    icd_status status = ICD_OK;
    const icd_perm *order = icd_model_order(job->permuted, l->linear->in_axis);
    int64_t n = l->linear->cols;
    bool moved = order && order->n == n;
    *out = (icd_subject){0};
    ICD_TRY(
        icd_model_tensor_f32(job->ctx, job->permuted, l->linear->tensor, &out->weights));
    out->w = (icd_matrix){l->linear->name, out->weights, l->linear->rows, n};
    if (!l->x_sq) return ICD_OK; /* no input: magnitudes alone */
    ICD_TRY(ICD_ALLOC(job->ctx, n, &out->x_sq));
    ICD_TRY(ICD_ALLOC(job->ctx, n, &out->x_max));
    ICD_TRY(ICD_ALLOC(job->ctx, l->x_rows * n, &out->x));
    for (int64_t c = 0; c < n; c++) {
        int64_t from = moved ? order->old_of_new[c] : c;
        out->x_sq[c] = l->x_sq[from];
        out->x_max[c] = l->x_max[from];
        for (int64_t r = 0; r < l->x_rows; r++) out->x[r * n + c] = l->x[r * n + from];
    }
    out->cal = (icd_calibration){out->x_sq, out->x, l->x_rows, out->x_max};
    return ICD_OK;
done:
    icd_i_subject_release(job->ctx, out);
    return status;
}

icd_status icd_i_subjects_open(icd_job *job, int64_t i, int64_t end, icd_subject **out)
{
    icd_subject *s = NULL;
    *out = NULL;
    icd_status status = ICD_ALLOC(job->ctx, end - i, &s);
    for (int64_t k = i; status == ICD_OK && k < end; k++)
        status = icd_i_subject_open(job, &job->linear[k], &s[k - i]);
    if (status == ICD_OK)
        *out = s;
    else
        icd_i_subjects_free(job->ctx, s, end - i);
    return status;
}

void icd_i_subjects_free(icd_ctx *ctx, icd_subject *s, int64_t count)
{
    for (int64_t i = 0; s && i < count; i++) icd_i_subject_release(ctx, &s[i]);
    icd_i_free(ctx, s);
}

uint64_t icd_i_input_frame(const icd_job *job, const icd_linear *linear)
{
    return icd_model_axis(job->permuted, linear->in_axis)
               ? icd_model_frame(job->permuted, linear->in_axis)
               : ICD_FRAME_CHECKPOINT;
}

int64_t icd_i_group_end(const icd_job *job, int64_t i)
{
    int64_t end = i + 1;
    while (end < job->linears &&
           !strcmp(job->linear[end].linear->group, job->linear[i].linear->group))
        end++;
    return end;
}

/* Saliency of all rows that read one input, one matrix below the other. */
static icd_status stack(icd_job *job, const icd_subject *s, int64_t count,
                        const icd_sparsity_opts *opts, float **out, int64_t *rows)
{
    icd_status status = ICD_OK;
    int64_t cols = s[0].w.cols;
    *rows = 0;
    for (int64_t i = 0; i < count; i++) *rows += s[i].w.rows;
    ICD_TRY(ICD_ALLOC(job->ctx, *rows * cols, out));
    for (int64_t i = 0, at = 0; i < count; at += s[i++].w.rows)
        ICD_TRY(
            icd_sparsity_saliency(job->ctx, &s[i].w, &s[i].cal, opts, *out + at * cols));
done:
    return status;
}

/* The columns of every row in another order. */
static icd_status move_columns(icd_ctx *ctx, const icd_perm *order, float *rows,
                               int64_t count)
{
    float *row = NULL;
    icd_status status = ICD_ALLOC(ctx, order->n, &row);
    for (int64_t r = 0; status == ICD_OK && r < count; r++) {
        float *at = rows + r * order->n;
        memcpy(row, at, (size_t)order->n * sizeof *row);
        for (int64_t c = 0; c < order->n; c++) at[c] = row[order->old_of_new[c]];
    }
    icd_i_free(ctx, row);
    return status;
}

icd_status icd_i_search_nm(icd_job *job, const icd_subject *s, int64_t count,
                           const icd_sparsity_opts *opts, const icd_perm *start,
                           int32_t turn, uint64_t frame, icd_perm **out)
{
    icd_status status = ICD_OK;
    float *saliency = NULL;
    icd_perm *found = NULL;
    int32_t n = 0, m = 0;
    int64_t rows = 0;
    icd_nm_opts search = {.effort = job->config->solver.effort,
                          .seed = job->config->solver.seed + turn,
                          .warm = start != NULL};
    icd_sparsity_nm(opts, &n, &m);
    *out = NULL;
    if (n >= m || s[0].w.cols % m) return ICD_OK; /* the adapter says why not */
    ICD_TRY(stack(job, s, count, opts, &saliency, &rows));
    if (start) ICD_TRY(move_columns(job->ctx, start, saliency, rows));
    ICD_TRY(icd_nm_permute(job->ctx, saliency, rows, s[0].w.cols, n, m, &search, &found,
                           NULL));
    for (int64_t k = 0; start && k < found->n; k++)
        found->old_of_new[k] = start->old_of_new[found->old_of_new[k]];
    ICD_TRY(
        icd_perm_from_array(job->ctx, found->old_of_new, found->n, frame, "N:M", out));
done:
    icd_i_free(job->ctx, saliency);
    icd_perm_free(job->ctx, found);
    return status;
}
