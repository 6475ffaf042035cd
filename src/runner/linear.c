/* Loading and applying one linear. */
#include "runner/linear.h"

#include "base/threads.h"
#include "kernels/linear.h"

#include <cblas.h>
#include <string.h>

enum {
    F32_TOKENS = 64
}; /* tokens of one BLAS call: fixed, so that threads never change a sum */

static icd_status check_shape(icd_ctx *ctx, const icd_linear *info, const char *what,
                              int64_t rows, int64_t cols)
{
    if (rows == info->rows && cols == info->cols) return ICD_OK;
    return icd_i_fail(ctx, ICD_EINVAL, info->name, NULL,
                      "found %s of %lld x %lld, expected %lld x %lld", what,
                      (long long)rows, (long long)cols, (long long)info->rows,
                      (long long)info->cols);
}

static icd_status check_frame(icd_ctx *ctx, const icd_runner *r, const icd_linear *info,
                              const icd_perm *order)
{
    const icd_axis *axis = icd_model_axis(r->model, info->in_axis);
    uint64_t frame =
        axis ? icd_model_frame(r->model, info->in_axis) : ICD_FRAME_CHECKPOINT;
    if (!order) return ICD_OK;
    if (order->n != info->cols)
        return icd_i_fail(ctx, ICD_EINVAL, info->name, NULL,
                          "found a local order of %lld indices, expected %lld",
                          (long long)order->n, (long long)info->cols);
    if (order->from != frame)
        return icd_i_fail(
            ctx, ICD_EINVAL, info->name, "solve it on the model as it is now",
            "the local order was solved in another frame than the input stands in");
    return ICD_OK;
}

static icd_status check_entry(icd_ctx *ctx, const icd_runner *r, const icd_linear *info,
                              const icd_layout_entry *e)
{
    if (!e) return ICD_OK;
    icd_status status = check_shape(ctx, info, "a layout entry", e->rows, e->cols);
    if (status == ICD_OK && e->mask)
        status = check_shape(ctx, info, "a mask", e->mask->rows, e->mask->cols);
    if (status == ICD_OK && e->quant)
        status = check_shape(ctx, info, "int8 weights", e->quant->rows, e->quant->cols);
    return status == ICD_OK ? check_frame(ctx, r, info, e->order) : status;
}

/* f32: a local order means reordered columns, so that the sum runs in that order. */
static icd_status load_f32(icd_ctx *ctx, icd_runner *r, icd_loaded *l,
                           const icd_perm *order)
{
    icd_status status = ICD_OK;
    int64_t rows = l->info->rows, cols = l->info->cols;
    ICD_TRY(icd_i_runner_tensor(ctx, r, l->info->tensor, &l->w));
    if (!order || order->to == order->from) return ICD_OK;
    ICD_TRY(ICD_ALLOC(ctx, cols, &l->order));
    memcpy(l->order, order->old_of_new, (size_t)cols * sizeof *l->order);
    ICD_TRY(ICD_ALLOC(ctx, rows * cols, &l->own_w));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t c = 0; c < cols; c++)
            l->own_w[i * cols + c] = l->w[i * cols + l->order[c]];
    l->w = l->own_w;
done:
    return status;
}

/* Weights without an adapter's int8 form are quantised here, by the same rule. */
static icd_status quantize_here(icd_ctx *ctx, icd_runner *r, const icd_linear *info,
                                icd_quantized **out)
{
    icd_status status = ICD_OK;
    const float *w = NULL;
    *out = NULL;
    ICD_TRY(icd_i_runner_tensor(ctx, r, info->tensor, &w));
    ICD_TRY(icd_quantized_new(ctx, info->rows, info->cols, out));
    for (int64_t i = 0; i < info->rows; i++)
        if (!icd_quantize_weights(w + i * info->cols, info->cols,
                                  (*out)->q + i * info->cols, &(*out)->scale[i])) {
            status = icd_i_fail(ctx, ICD_EDATA, info->tensor, NULL,
                                "row %lld holds NaN or infinity", (long long)i);
            goto done;
        }
done:
    return status;
}

static icd_status pack(icd_ctx *ctx, icd_loaded *l, const icd_quantized *q)
{
    icd_status status = ICD_OK;
    int32_t *column = NULL;
    ICD_TRY(ICD_ALLOC(ctx, ICD_GROUP * icd_i_plan_widest(l->plan), &column));
    ICD_TRY(ICD_ALLOC(ctx, icd_i_linear_bytes(l->plan), &l->packed));
    ICD_TRY(ICD_ALLOC(ctx, l->plan->blocks * l->plan->vector, &l->comp));
    ICD_TRY(ICD_ALLOC(ctx, l->info->rows, &l->scale));
    memcpy(l->scale, q->scale, (size_t)l->info->rows * sizeof *l->scale);
    icd_i_linear_pack(l->plan, q->q, column, l->packed, l->comp);
done:
    icd_i_free(ctx, column);
    return status;
}

static icd_status load_int8(icd_ctx *ctx, icd_runner *r, icd_loaded *l,
                            const icd_layout_entry *entry)
{
    icd_status status = ICD_OK;
    icd_quantized *own = NULL;
    icd_layout_entry plain = {.rows = l->info->rows,
                              .cols = l->info->cols,
                              .kernel = ICD_KERNEL_DENSE,
                              .granule = ICD_GROUP,
                              .linear = (char *)(uintptr_t)l->info->name};
    const icd_quantized *q = entry ? entry->quant : NULL;
    if (!q) {
        ICD_TRY(quantize_here(ctx, r, l->info, &own));
        q = own;
    }
    ICD_TRY(icd_i_plan_new(ctx, entry ? entry : &plain, r->opts.vector, &l->plan));
    ICD_TRY(pack(ctx, l, q));
done:
    icd_quantized_free(ctx, own);
    return status;
}

/* layer.N.x.weight -> layer.N.x.bias, or w1 -> b1; a linear may have none. */
static icd_status load_bias(icd_ctx *ctx, icd_runner *r, icd_loaded *l)
{
    char name[256];
    size_t length = strlen(l->info->tensor);
    if (length >= sizeof name) return ICD_OK;
    memcpy(name, l->info->tensor, length + 1);
    if (length > 7 && !strcmp(name + length - 7, ".weight"))
        memcpy(name + length - 7, ".bias", 6);
    else if (length > 2 && name[length - 2] == 'w')
        name[length - 2] = 'b';
    if (!icd_model_tensor(r->model, name)) return ICD_OK;
    return icd_i_runner_tensor(ctx, r, name, &l->bias);
}

icd_status icd_i_linear_load(icd_ctx *ctx, icd_runner *r, icd_loaded *l,
                             const icd_layout_entry *entry)
{
    icd_status status = check_entry(ctx, r, l->info, entry);
    if (status == ICD_OK) status = load_bias(ctx, r, l);
    if (status != ICD_OK) return status;
    return r->opts.dtype == ICD_RUN_INT8
               ? load_int8(ctx, r, l, entry)
               : load_f32(ctx, r, l, entry ? entry->order : NULL);
}

void icd_i_linear_unload(icd_ctx *ctx, icd_loaded *l)
{
    icd_i_free(ctx, l->order);
    icd_i_free(ctx, l->own_w);
    icd_i_plan_free(ctx, l->plan);
    icd_i_free(ctx, l->packed);
    icd_i_free(ctx, l->comp);
    icd_i_free(ctx, l->scale);
}

static int32_t column_at(const icd_loaded *l, int64_t slot)
{
    if (l->plan) return l->plan->old_of_new[slot];
    return l->order ? l->order[slot] : (int32_t)slot;
}

static icd_status check_same_order(icd_ctx *ctx, const icd_loaded *a, const icd_loaded *b)
{
    for (int64_t s = 0; s < a->info->cols; s++)
        if (column_at(a, s) != column_at(b, s))
            return icd_i_fail(ctx, ICD_EINVAL, b->info->name, NULL,
                              "found another local order than that of %s, expected the "
                              "same, as both read one buffer",
                              a->info->name);
    return ICD_OK;
}

/* More padding slots at the end of the input. */
static icd_status widen(icd_ctx *ctx, icd_plan *plan, int64_t slots)
{
    int32_t *wider = NULL;
    if (plan->slots == slots) return ICD_OK;
    icd_status status = ICD_ALLOC(ctx, slots, &wider);
    if (status != ICD_OK) return status;
    for (int64_t s = 0; s < slots; s++)
        wider[s] = s < plan->slots ? plan->old_of_new[s] : -1;
    icd_i_free(ctx, plan->old_of_new);
    plan->old_of_new = wider;
    plan->slots = slots;
    return ICD_OK;
}

icd_status icd_i_linear_join(icd_ctx *ctx, icd_loaded *group, int64_t count)
{
    icd_status status = ICD_OK;
    int64_t slots = 0;
    for (int64_t i = 1; i < count; i++) ICD_TRY(check_same_order(ctx, group, group + i));
    for (int64_t i = 0; i < count; i++)
        if (group[i].plan && group[i].plan->slots > slots) slots = group[i].plan->slots;
    for (int64_t i = 0; i < count; i++)
        if (group[i].plan) ICD_TRY(widen(ctx, group[i].plan, slots));
done:
    return status;
}

typedef struct apply_job {
    const icd_runner *r;
    const icd_loaded *l;
    const float *x;
    int64_t tokens, token_chunks;
    float *y;
} apply_job;

static void apply_f32(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    const apply_job *job = arg;
    int64_t rows = job->l->info->rows, cols = job->l->info->cols;
    int64_t first = chunk * F32_TOKENS, n = job->tokens - first;
    (void)chunks;
    (void)worker;
    if (n > F32_TOKENS) n = F32_TOKENS;
    float *y = job->y + first * rows;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)rows, (int)cols, 1,
                job->x + first * cols, (int)cols, job->l->w, (int)cols, 0, y, (int)rows);
    for (int64_t t = 0; job->l->bias && t < n; t++)
        job->r->k->add_bias(y + t * rows, job->l->bias, rows);
}

/* One item: one row block for one chunk of tokens. Neighbouring items share their
 * weights. */
static void apply_int8(void *arg, int64_t item, int64_t items, int32_t worker)
{
    const apply_job *job = arg;
    const icd_loaded *l = job->l;
    icd_packed_linear packed = {l->plan, l->packed, l->comp, l->scale, l->bias};
    int64_t block = item / job->token_chunks,
            t = item % job->token_chunks * ICD_TOKEN_CHUNK;
    int64_t n = job->tokens - t, rows = l->info->rows;
    (void)items;
    if (n > ICD_TOKEN_CHUNK) n = ICD_TOKEN_CHUNK;
    icd_i_linear_run(job->r->k, &packed, job->r->q + t * l->plan->slots,
                     job->r->q_scale + t, n, block, block + 1, job->y + t * rows, rows,
                     job->r->scratch + worker * job->r->scratch_bytes);
}

static void apply(icd_ctx *ctx, icd_runner *r, const icd_loaded *l, const float *x,
                  int64_t tokens, float *y)
{
    apply_job job = {r, l, l->order ? r->staged : x, tokens, 1, y};
    if (!l->plan) {
        icd_i_parallel(ctx, (tokens + F32_TOKENS - 1) / F32_TOKENS, apply_f32, &job);
        return;
    }
    job.token_chunks = (tokens + ICD_TOKEN_CHUNK - 1) / ICD_TOKEN_CHUNK;
    icd_i_parallel(ctx, l->plan->blocks * job.token_chunks, apply_int8, &job);
}

void icd_i_linear_apply(icd_ctx *ctx, icd_runner *r, const icd_loaded *l, const float *x,
                        int64_t tokens, float *y)
{
    apply(ctx, r, l, x, tokens, y);
    if (r->observe_output && r->observed == ICD_OK)
        r->observed = r->observe_output(ctx, r->observe_output_user, l->info, y, tokens,
                                        l->info->rows);
}

/* A work item of a pass over rows. */
enum { PASS_ROWS = 16 };

typedef struct rows_job {
    icd_runner *r;
    const icd_row_pass *pass;
    const icd_loaded *next;
} rows_job;

static const float *residual_row(const icd_row_pass *p, int64_t t)
{
    return p->residual ? p->residual + t * p->n : NULL;
}

void icd_i_row_layer_norm(const icd_kernels *k, const icd_row_pass *p, int64_t t)
{
    float *x = p->x + t * p->n;
    k->layer_norm(x, residual_row(p, t), p->gain, p->bias, p->n, p->eps, x);
}

void icd_i_row_rms_norm(const icd_kernels *k, const icd_row_pass *p, int64_t t)
{
    float *x = p->x + t * p->n;
    k->rms_norm(x, residual_row(p, t), p->gain, p->n, p->eps, x);
}

void icd_i_row_gelu(const icd_kernels *k, const icd_row_pass *p, int64_t t)
{
    k->gelu(p->x + t * p->n, p->n);
}

void icd_i_row_relu(const icd_kernels *k, const icd_row_pass *p, int64_t t)
{
    k->relu(p->x + t * p->n, p->n);
}

static void stage_row(icd_runner *r, const icd_loaded *next, const float *x, int64_t n,
                      int64_t t)
{
    if (next->plan)
        r->k->quantize_row(x, next->plan->old_of_new, n, next->plan->slots,
                           r->q + t * next->plan->slots, &r->q_scale[t]);
    else if (next->order)
        r->k->reorder_row(x, next->order, n, r->staged + t * n);
}

static void rows_chunk(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    const rows_job *job = arg;
    const icd_row_pass *p = job->pass;
    (void)chunks;
    (void)worker;
    for (int64_t t = chunk * PASS_ROWS; t < (chunk + 1) * PASS_ROWS && t < p->tokens;
         t++) {
        if (p->fn) p->fn(job->r->k, p, t);
        if (job->next) stage_row(job->r, job->next, p->x + t * p->n, p->n, t);
    }
}

icd_status icd_i_rows(icd_ctx *ctx, icd_runner *r, const icd_row_pass *pass,
                      const icd_loaded *next)
{
    rows_job job = {r, pass, next};
    icd_i_parallel(ctx, (pass->tokens + PASS_ROWS - 1) / PASS_ROWS, rows_chunk, &job);
    return icd_i_check_cancel(ctx);
}

icd_status icd_i_observe(icd_ctx *ctx, icd_runner *r, const icd_loaded *l, int64_t count,
                         const float *x, int64_t tokens)
{
    icd_status status = ICD_OK;
    for (int64_t i = 0; r->observe && status == ICD_OK && i < count; i++)
        status = r->observe(ctx, r->observe_user, l[i].info, x, tokens, l[i].info->cols);
    return status;
}
