#include "runtime/variant.h"

#include "runtime/subject.h"

#include <string.h>

/* What is done to every linear, and where. */
typedef struct icd_transforms {
    const icd_sparsity_opts *s;
    const icd_quant_opts *q;
    const icd_places *places; /* NULL: each group finds its own */
} icd_transforms;

static icd_status sort_blocks(icd_job *job, const icd_subject *s, int64_t count,
                              const icd_sparsity_opts *opts, uint64_t frame,
                              icd_perm **out)
{
    icd_status status = ICD_OK;
    icd_matrix *w = NULL;
    icd_calibration *cal = NULL;
    ICD_TRY(ICD_ALLOC(job->ctx, count, &w));
    ICD_TRY(ICD_ALLOC(job->ctx, count, &cal));
    for (int64_t i = 0; i < count; i++) {
        w[i] = s[i].w;
        cal[i] = s[i].cal;
    }
    status = icd_sparsity_block_order(job->ctx, w, cal, count, opts, frame, out);
done:
    icd_i_free(job->ctx, w);
    icd_i_free(job->ctx, cal);
    return status;
}

/* The order of a group's input under which its masks are chosen; NULL: as it stands. */
static icd_status group_order(icd_job *job, int64_t first, int64_t end,
                              const icd_sparsity_opts *opts, icd_perm **out)
{
    icd_status status = ICD_OK;
    int32_t n = 0, m = 0;
    icd_subject *s = NULL;
    uint64_t frame = icd_i_input_frame(job, job->linear[first].linear);
    *out = NULL;
    bool nm = icd_sparsity_nm(opts, &n, &m);
    if ((!nm && opts->type != ICD_S_BLOCK) ||
        icd_sparsity_excludes(opts, job->linear[first].linear->name))
        return ICD_OK;
    ICD_TRY(icd_i_subjects_open(job, first, end, &s));
    status = nm ? icd_i_search_nm(job, s, end - first, opts, NULL, 0, frame, out)
                : sort_blocks(job, s, end - first, opts, frame, out);
    if (status == ICD_EDATA) status = ICD_OK; /* NaN: the adapter says so */
done:
    icd_i_subjects_free(job->ctx, s, end - first);
    return status;
}

/* Kernels that multiply small weights by groups need these to lie together; elsewhere a
   linear may be executed in another order than the one its scales were chosen in. */
static bool runs_by_groups(const icd_job *job, const icd_sparsity_opts *s,
                           const icd_quant_opts *q)
{
    return q->dtype != ICD_Q_NONE && q->group > 0 &&
           icd_i_runs_small(s, q, job->config->runner.device);
}

/* The order in which a group is transformed, when the caller gives it. */
static icd_status given_order(icd_job *job, const icd_places *places, int64_t first,
                              const icd_sparsity_opts *s, const icd_quant_opts *q,
                              icd_perm **out)
{
    int32_t n, m;
    const icd_perm *place = places->order[first];
    bool shown =
        icd_sparsity_nm(s, &n, &m) || s->type == ICD_S_BLOCK || runs_by_groups(job, s, q);
    *out = NULL;
    return place && shown ? icd_perm_copy(job->ctx, place, out) : ICD_OK;
}

static icd_status add_entries(icd_variant *v, icd_job *job, const icd_sparsity_opts *opts,
                              const icd_quant_opts *quant, const icd_places *places)
{
    icd_status status = ICD_OK;
    icd_perm *order = NULL;
    for (int64_t i = 0; i < job->linears; i++) {
        const icd_linear *l = job->linear[i].linear;
        ICD_TRY(icd_i_layout_add(v->ctx, v->layout, l->name, l->group, l->rows, l->cols));
    }
    for (int64_t i = 0, end; i < job->linears; i = end) {
        end = icd_i_group_end(job, i);
        icd_i_progress(job->ctx, "transform", i, 2 * job->linears);
        ICD_TRY(icd_i_check_cancel(job->ctx));
        ICD_TRY(places ? given_order(job, places, i, opts, quant, &order)
                       : group_order(job, i, end, opts, &order));
        if (order)
            ICD_TRY(icd_i_layout_set_order(v->ctx, v->layout,
                                           job->linear[i].linear->group, order));
        icd_perm_free(v->ctx, order);
        order = NULL;
    }
done:
    icd_perm_free(v->ctx, order);
    return status;
}

/* All matrices at once: only scope global needs that. */
static icd_status find_floor(icd_variant *v, icd_job *job, const icd_sparsity_opts *opts,
                             double *floor)
{
    icd_status status = ICD_OK;
    icd_subject *s = NULL;
    icd_matrix *w = NULL;
    icd_calibration *cal = NULL;
    icd_sparsity_place *place = NULL;
    int64_t count = 0;
    *floor = 0;
    if (opts->scope != ICD_SCOPE_GLOBAL || opts->type == ICD_S_NONE) return ICD_OK;
    ICD_TRY(ICD_ALLOC(v->ctx, job->linears, &s));
    ICD_TRY(ICD_ALLOC(v->ctx, job->linears, &w));
    ICD_TRY(ICD_ALLOC(v->ctx, job->linears, &cal));
    ICD_TRY(ICD_ALLOC(v->ctx, job->linears, &place));
    for (int64_t i = 0; i < job->linears; i++) {
        if (icd_sparsity_excludes(opts, job->linear[i].linear->name)) continue;
        ICD_TRY(icd_i_subject_open(job, &job->linear[i], &s[count]));
        w[count] = s[count].w;
        cal[count] = s[count].cal;
        place[count++].order = v->layout->entry[i].order;
    }
    status = icd_sparsity_floor(v->ctx, w, cal, place, count, opts, floor);
done:
    for (int64_t i = 0; s && i < job->linears; i++) icd_i_subject_release(v->ctx, &s[i]);
    icd_i_free(v->ctx, s);
    icd_i_free(v->ctx, w);
    icd_i_free(v->ctx, cal);
    icd_i_free(v->ctx, place);
    return status;
}

int32_t icd_i_kernel_kind(const icd_kernel_opts *kernel)
{
    static const int32_t KIND[] = {ICD_KERNEL_TILE, ICD_KERNEL_GATHER, ICD_KERNEL_DENSE,
                                   ICD_KERNEL_AUTO};
    return KIND[kernel->kind];
}

void icd_i_promise_nm(const icd_sparsity_opts *sparsity, icd_quantized *q)
{
    int32_t n = 0, m = 0;
    if (!icd_sparsity_nm(sparsity, &n, &m)) return;
    q->n = n;
    q->m = m;
}

/* How a linear runs after the transform: N:M whole, in the order that its fours were
   chosen in; other masks by granules. */
static void choose_kernel(const icd_job *job, icd_layout_entry *e, bool nm)
{
    int32_t wanted = job->config->layout.granule;
    e->granule = wanted > 0 ? wanted : 4;
    e->kernel =
        e->mask && !nm ? icd_i_kernel_kind(&job->config->kernel) : ICD_KERNEL_DENSE;
}

static void put_values(const icd_quantized *q, float *weights)
{
    for (int64_t r = 0; r < q->rows; r++) icd_quantized_row(q, r, weights + r * q->cols);
}

/* Types without a kernel of their own are stored small and executed in f32 (on a GPU in
   bf16), with the values that the small type holds. */
static void settle_quant(icd_variant *v, const icd_job *job, int64_t i,
                         const icd_sparsity_opts *s, const icd_quant_opts *q,
                         float *weights)
{
    icd_layout_entry *e = &v->layout->entry[i];
    if (!v->quant[i]) return;
    if (icd_i_runs_small(s, q, job->config->runner.device)) {
        e->quant = v->quant[i];
        icd_i_promise_nm(s, v->quant[i]);
        return;
    }
    put_values(v->quant[i], weights);
}

/* Linears that Q leaves alone run in f32, and so does what reads the same input. */
static void settle_groups(icd_variant *v, const icd_job *job, const icd_sparsity_opts *s,
                          const icd_quant_opts *q, float **weights)
{
    if (!icd_i_runs_small(s, q, job->config->runner.device)) return;
    icd_i_layout_keep_whole(v->layout);
    for (int64_t i = 0; i < job->linears; i++)
        if (v->layout->entry[i].whole && v->quant[i]) put_values(v->quant[i], weights[i]);
}

/* One linear: mask, masked weights, int8 weights. */
static icd_status transform_one(icd_variant *v, icd_job *job, int64_t i,
                                const icd_transforms *t, double floor, float **masked)
{
    icd_status status = ICD_OK;
    icd_subject in = {0};
    const icd_sparsity_opts *s = t->s;
    const icd_quant_opts *q = t->q;
    icd_layout_entry *e = &v->layout->entry[i];
    icd_sparsity_place place = {e->order, floor};
    const icd_perm *scales = t->places ? t->places->order[i] : e->order;
    int32_t n = 0, m = 0;
    ICD_TRY(icd_i_subject_open(job, &job->linear[i], &in));
    ICD_TRY(icd_apply_sparsity_at(v->ctx, &in.w, &in.cal, s, &place, &e->mask, &v->s[i]));
    ICD_TRY(ICD_ALLOC(v->ctx, in.w.rows * in.w.cols, masked));
    if (e->mask)
        icd_mask_apply(e->mask, in.weights, *masked);
    else
        memcpy(*masked, in.weights, (size_t)(in.w.rows * in.w.cols) * sizeof **masked);
    in.w.w = *masked;
    ICD_TRY(
        icd_apply_quant_at(v->ctx, &in.w, &in.cal, q, scales, &v->quant[i], &v->q[i]));
    settle_quant(v, job, i, s, q, *masked);
    choose_kernel(job, e, icd_sparsity_nm(s, &n, &m));
done:
    icd_i_subject_release(v->ctx, &in);
    return status;
}

static icd_status replace(icd_variant *v, icd_job *job, float **masked)
{
    icd_status status = ICD_OK;
    icd_replacement *with = NULL;
    ICD_TRY(ICD_ALLOC(v->ctx, job->linears, &with));
    for (int64_t i = 0; i < job->linears; i++)
        with[i] = (icd_replacement){job->linear[i].linear->tensor, masked[i]};
    status = icd_model_replace(v->ctx, job->permuted, with, job->linears, &v->model);
done:
    icd_i_free(v->ctx, with);
    return status;
}

static icd_status transform_all(icd_variant *v, icd_job *job, const icd_transforms *t)
{
    icd_status status = ICD_OK;
    float **masked = NULL;
    double floor = 0;
    ICD_TRY(ICD_ALLOC(v->ctx, job->linears, &masked));
    ICD_TRY(add_entries(v, job, t->s, t->q, t->places));
    ICD_TRY(find_floor(v, job, t->s, &floor));
    for (int64_t i = 0; i < job->linears; i++) {
        icd_i_progress(v->ctx, "transform", job->linears + i, 2 * job->linears);
        ICD_TRY(icd_i_check_cancel(v->ctx));
        ICD_TRY(transform_one(v, job, i, t, floor, &masked[i]));
    }
    settle_groups(v, job, t->s, t->q, masked);
    status = replace(v, job, masked);
done:
    for (int64_t i = 0; masked && i < job->linears; i++) icd_i_free(v->ctx, masked[i]);
    icd_i_free(v->ctx, masked);
    return status;
}

icd_status icd_i_variant_new(icd_job *job, icd_variant **out)
{
    icd_status status = ICD_OK;
    icd_variant *v = NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(job->ctx, 1, &v));
    v->ctx = job->ctx;
    v->linears = job->linears;
    ICD_TRY(ICD_ALLOC(job->ctx, job->linears, &v->s));
    ICD_TRY(ICD_ALLOC(job->ctx, job->linears, &v->q));
    ICD_TRY(ICD_ALLOC(job->ctx, job->linears, &v->quant));
    *out = v;
    v = NULL;
done:
    icd_i_variant_free(v);
    return status;
}

icd_status icd_i_variant_make(icd_job *job, const icd_sparsity_opts *s,
                              const icd_quant_opts *q, icd_variant **out)
{
    return icd_i_variant_make_at(job, s, q, NULL, out);
}

icd_status icd_i_variant_make_at(icd_job *job, const icd_sparsity_opts *s,
                                 const icd_quant_opts *q, const icd_places *places,
                                 icd_variant **out)
{
    icd_variant *v = NULL;
    icd_transforms t = {s, q, places};
    *out = NULL;
    icd_status status = icd_i_variant_new(job, &v);
    if (status == ICD_OK) status = icd_i_layout_new(job->ctx, &v->layout);
    if (status == ICD_OK) status = transform_all(v, job, &t);
    if (status == ICD_OK) {
        *out = v;
        v = NULL;
    }
    icd_i_variant_free(v);
    return status;
}

icd_status icd_i_variant_anneal(icd_job *job, const icd_sparsity_opts *s)
{
    icd_sparsity_opts step = *s;
    icd_quant_opts none = job->config->quant;
    int32_t n = 0, m = 0;
    none.dtype = ICD_Q_NONE;
    if (s->type == ICD_S_NONE || icd_sparsity_nm(s, &n, &m) ||
        s->saliency != ICD_SALIENCY_ACTIVATION || !job->linears || !job->linear[0].x_sq)
        return ICD_OK;
    for (int32_t k = 1; k < s->anneal; k++) {
        icd_variant *v = NULL;
        double left = 1 - (double)k / s->anneal;
        step.rate = s->rate * (1 - left * left * left);
        icd_status status = icd_i_variant_make(job, &step, &none, &v);
        if (status == ICD_OK) status = icd_i_recalibrate(job, v->model, k, s->anneal);
        icd_i_variant_free(v);
        if (status != ICD_OK) return status;
    }
    return ICD_OK;
}

static icd_status dequantize(icd_ctx *ctx, const icd_quantized *q, float **out)
{
    icd_status status = ICD_ALLOC(ctx, q->rows * q->cols, out);
    for (int64_t r = 0; status == ICD_OK && r < q->rows; r++)
        icd_quantized_row(q, r, *out + r * q->cols);
    return status;
}

icd_status icd_i_variant_dense(icd_job *job, icd_variant *v)
{
    icd_status status = ICD_OK;
    icd_replacement *with = NULL;
    icd_model *dense = NULL;
    float **weights = NULL;
    int64_t count = 0;
    ICD_TRY(ICD_ALLOC(v->ctx, v->linears, &with));
    ICD_TRY(ICD_ALLOC(v->ctx, v->linears, &weights));
    for (int64_t i = 0; i < v->linears; i++) {
        if (!v->quant[i]) continue;
        ICD_TRY(dequantize(v->ctx, v->quant[i], &weights[i]));
        with[count++] = (icd_replacement){job->linear[i].linear->tensor, weights[i]};
    }
    ICD_TRY(icd_model_replace(v->ctx, v->model, with, count, &dense));
    v->source = v->model; /* what was not replaced stays a view of it */
    v->model = dense;
done:
    for (int64_t i = 0; weights && i < v->linears; i++) icd_i_free(v->ctx, weights[i]);
    icd_i_free(v->ctx, weights);
    icd_i_free(v->ctx, with);
    return status;
}

void icd_i_variant_free(icd_variant *v)
{
    if (!v) return;
    icd_i_layout_free(v->ctx, v->layout);
    icd_model_free(v->ctx, v->model);
    icd_model_free(v->ctx, v->source);
    for (int64_t i = 0; v->quant && i < v->linears; i++)
        icd_quantized_free(v->ctx, v->quant[i]);
    icd_i_free(v->ctx, v->quant);
    icd_i_free(v->ctx, v->s);
    icd_i_free(v->ctx, v->q);
    icd_i_free(v->ctx, v);
}

/* Every channel of a live granule of the entry's order lives, in all rows of the block.
 */
static icd_status widen_mask(icd_ctx *ctx, icd_layout_entry *e, int32_t vector)
{
    icd_status status = ICD_OK;
    icd_mask *coarse = NULL;
    const int32_t *order = e->order ? e->order->old_of_new : NULL;
    ICD_TRY(icd_i_mask_coarsen(ctx, e->mask, vector, &coarse));
    for (int64_t b = 0; b < coarse->blocks; b++)
        for (int64_t g = 0; g < e->cols; g += e->granule) {
            int64_t end = g + e->granule < e->cols ? g + e->granule : e->cols;
            bool live = false;
            for (int64_t k = g; k < end; k++)
                live |= icd_i_mask_get(coarse, b, order ? order[k] : k);
            for (int64_t k = g; live && k < end; k++)
                icd_i_mask_set(coarse, b, order ? order[k] : k);
        }
    icd_i_mask_free(ctx, e->mask);
    e->mask = coarse;
done:
    return status;
}

static icd_status refill_one(icd_variant *v, icd_job *job, int64_t i, float **weights)
{
    icd_status status = ICD_OK;
    icd_subject in = {0};
    icd_layout_entry *e = &v->layout->entry[i];
    ICD_TRY(icd_i_subject_open(job, &job->linear[i], &in));
    if (e->mask) ICD_TRY(widen_mask(v->ctx, e, job->config->kernel.vector));
    ICD_TRY(ICD_ALLOC(v->ctx, in.w.rows * in.w.cols, weights));
    if (e->mask)
        icd_mask_apply(e->mask, in.weights, *weights);
    else
        memcpy(*weights, in.weights, (size_t)(in.w.rows * in.w.cols) * sizeof **weights);
    in.w.w = *weights;
    v->s[i] = job->linear[i].s;
    ICD_TRY(icd_apply_quant(v->ctx, &in.w, &in.cal, &job->config->quant, &v->quant[i],
                            &v->q[i]));
    e->quant = NULL;
    settle_quant(v, job, i, &job->config->sparsity, &job->config->quant, *weights);
done:
    icd_i_subject_release(v->ctx, &in);
    return status;
}

icd_status icd_i_variant_refill(icd_job *job, const icd_layout *layout, icd_variant **out)
{
    icd_status status = ICD_OK;
    icd_variant *v = NULL;
    float **weights = NULL;
    *out = NULL;
    ICD_TRY(icd_i_variant_new(job, &v));
    ICD_TRY(icd_i_layout_copy(job->ctx, layout, &v->layout));
    ICD_TRY(ICD_ALLOC(job->ctx, job->linears, &weights));
    for (int64_t i = 0; i < job->linears; i++)
        ICD_TRY(refill_one(v, job, i, &weights[i]));
    settle_groups(v, job, &job->config->sparsity, &job->config->quant, weights);
    ICD_TRY(replace(v, job, weights));
    *out = v;
    v = NULL;
done:
    for (int64_t i = 0; weights && i < job->linears; i++)
        icd_i_free(job->ctx, weights[i]);
    icd_i_free(job->ctx, weights);
    icd_i_variant_free(v);
    return status;
}
