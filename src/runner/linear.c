/* Loading and applying one linear. */
#include "runner/linear.h"

#include "base/threads.h"
#include "kernels/linear_f32.h"
#include "kernels/linear_small.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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

static icd_status check_device(icd_ctx *ctx, const icd_runner *r, const icd_linear *info,
                               const icd_layout_entry *e)
{
    const icd_quantized *q = e->quant;
    if (r->opts.device != ICD_RUN_CUDA) return ICD_OK;
    if (!q || !q->outliers) return ICD_OK;
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, info->name,
                      "set runner.device to cpu, or quantise without them",
                      "found %lld outlier channels, expected none on a GPU",
                      (long long)q->outliers);
}

icd_status icd_i_linear_check(icd_ctx *ctx, const icd_runner *r, const icd_linear *info,
                              const icd_layout_entry *e)
{
    if (!e) return ICD_OK;
    icd_status status = check_shape(ctx, info, "a layout entry", e->rows, e->cols);
    if (status == ICD_OK && e->mask)
        status = check_shape(ctx, info, "a mask", e->mask->rows, e->mask->cols);
    if (status == ICD_OK && e->quant) {
        char what[32];
        snprintf(what, sizeof what, "%s weights", icd_weight_dtype_name(e->quant->dtype));
        status = check_shape(ctx, info, what, e->quant->rows, e->quant->cols);
    }
    if (status == ICD_OK) status = check_device(ctx, r, info, e);
    return status == ICD_OK ? check_frame(ctx, r, info, e->order) : status;
}

/* layer.N.x.weight -> layer.N.x.bias, or w1 -> b1; a linear may have none. */
icd_status icd_i_linear_bias(icd_ctx *ctx, icd_runner *r, const icd_linear *info,
                             const float **out)
{
    char name[256];
    size_t length = strlen(info->tensor);
    if (length >= sizeof name) return ICD_OK;
    memcpy(name, info->tensor, length + 1);
    if (length > 7 && !strcmp(name + length - 7, ".weight"))
        memcpy(name + length - 7, ".bias", 6);
    else if (length > 2 && name[length - 2] == 'w')
        name[length - 2] = 'b';
    if (!icd_model_tensor(r->model, name)) return ICD_OK;
    return icd_i_runner_tensor(ctx, r, name, out);
}

icd_status icd_i_linear_load(icd_ctx *ctx, icd_runner *r, icd_loaded *l,
                             const icd_layout_entry *entry)
{
    icd_status status = icd_i_linear_check(ctx, r, l->info, entry);
    if (status == ICD_OK) status = icd_i_linear_bias(ctx, r, l->info, &l->bias);
    if (status != ICD_OK) return status;
    return icd_i_linear_pack_as(ctx, r, l, entry);
}

void icd_i_linear_unload(icd_ctx *ctx, icd_loaded *l)
{
    icd_i_plan_free(ctx, l->plan);
    icd_i_free(ctx, l->packed);
    icd_i_free(ctx, l->comp);
    icd_i_free(ctx, l->list);
    icd_i_free(ctx, l->scale);
    icd_i_wide_free(ctx, l->wide);
}

bool icd_i_linear_reads_f32(const icd_loaded *l)
{
    return l->form == ICD_FORM_F32 || l->form == ICD_FORM_BF16;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t icd_i_linear_needs(const icd_loaded *l)
{
    int64_t row = l->plan->slots * (int64_t)sizeof(float);
    if (icd_i_linear_reads_f32(l)) return icd_i_f32_scratch(l->plan);
    int64_t most = icd_i_linear_scratch(l->plan);
    if (l->wide) most = larger(most, larger(row, icd_i_f32_scratch(l->wide->plan)));
    return most;
}

/* One buffer is staged for all of them: of one type, in one order. */
static icd_status check_same_input(icd_ctx *ctx, const icd_loaded *a, const icd_loaded *b)
{
    if (icd_i_linear_reads_f32(a) != icd_i_linear_reads_f32(b))
        return icd_i_fail(ctx, ICD_EINVAL, b->info->name, NULL,
                          "found activations of another type than those of %s, expected "
                          "the same, as both read one buffer",
                          a->info->name);
    if (a->input_scale != b->input_scale || !icd_i_wide_same(a->wide, b->wide))
        return icd_i_fail(ctx, ICD_EINVAL, b->info->name, NULL,
                          "found other outliers or another scale of the input than those "
                          "of %s, expected the same, as both read one buffer",
                          a->info->name);
    for (int64_t s = 0; s < a->info->cols; s++)
        if (a->plan->old_of_new[s] != b->plan->old_of_new[s])
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
    for (int64_t i = 1; i < count; i++) ICD_TRY(check_same_input(ctx, group, group + i));
    for (int64_t i = 0; i < count; i++)
        if (group[i].plan->slots > slots) slots = group[i].plan->slots;
    for (int64_t i = 0; i < count; i++) ICD_TRY(widen(ctx, group[i].plan, slots));
done:
    return status;
}

typedef struct apply_job {
    const icd_runner *r;
    const icd_loaded *l;
    int64_t tokens, token_chunks, ranges;
    float *y;
} apply_job;

static void run_f32(const apply_job *job, int64_t t, int64_t n, int64_t first,
                    int64_t last, void *scratch)
{
    const icd_loaded *l = job->l;
    bool half = l->form == ICD_FORM_BF16;
    icd_f32_linear f = {
        l->plan, half ? NULL : l->packed, half ? l->packed : NULL, l->list, l->bias,
        false};
    icd_i_f32_run(job->r->k, &f, job->r->staged + t * l->plan->slots, n, first, last,
                  job->y + t * l->info->rows, l->info->rows, scratch);
}

static void run_int8(const apply_job *job, int64_t t, int64_t n, int64_t first,
                     int64_t last, void *scratch)
{
    const icd_loaded *l = job->l;
    const int8_t *a = job->r->q + t * l->plan->slots;
    const float *scale = job->r->q_scale + t;
    float *y = job->y + t * l->info->rows;
    icd_packed_linear whole = {l->plan, l->packed, l->comp, l->scale, l->bias};
    icd_small_linear small = {l->plan, l->packed, l->list, l->per,
                              l->comp, l->scale,  l->bias};
    if (l->form == ICD_FORM_INT8)
        icd_i_linear_run(job->r->k, &whole, a, scale, n, first, last, y, l->info->rows,
                         scratch);
    else
        icd_i_small_run(job->r->k, &small, a, scale, n, first, last, y, l->info->rows,
                        scratch);
    if (l->wide)
        icd_i_wide_add(job->r->k, l->wide, job->r->staged + t * l->wide->plan->slots, n,
                       first, last, y, l->info->rows, scratch);
}

void icd_i_linear_once(const icd_runner *r, const icd_loaded *l, int64_t tokens, float *y)
{
    apply_job job = {.r = r, .l = l, .tokens = tokens, .y = y};
    for (int64_t t = 0; t < tokens; t += ICD_TOKEN_CHUNK) {
        int64_t n = tokens - t < ICD_TOKEN_CHUNK ? tokens - t : ICD_TOKEN_CHUNK;
        (icd_i_linear_reads_f32(l) ? run_f32 : run_int8)(&job, t, n, 0, l->plan->blocks,
                                                         r->scratch);
    }
}

/* One item: a range of row blocks for one chunk of tokens. Neighbouring items share their
 * weights. */
static void apply_range(void *arg, int64_t item, int64_t items, int32_t worker)
{
    const apply_job *job = arg;
    int64_t t = item % job->token_chunks * ICD_TOKEN_CHUNK, n = job->tokens - t;
    int64_t first, last;
    void *scratch = job->r->scratch + worker * job->r->scratch_bytes;
    (void)items;
    icd_i_chunk_range(job->l->plan->blocks, item / job->token_chunks, job->ranges, &first,
                      &last);
    if (n > ICD_TOKEN_CHUNK) n = ICD_TOKEN_CHUNK;
    if (icd_i_linear_reads_f32(job->l))
        run_f32(job, t, n, first, last, scratch);
    else
        run_int8(job, t, n, first, last, scratch);
}

/* Every range first prepares its input (looks for zeros, or stages rows): few ranges. */
static void apply(icd_ctx *ctx, icd_runner *r, const icd_loaded *l, int64_t tokens,
                  float *y)
{
    int64_t blocks = l->plan->blocks, few = 4 * (int64_t)r->workers;
    apply_job job = {r,
                     l,
                     tokens,
                     (tokens + ICD_TOKEN_CHUNK - 1) / ICD_TOKEN_CHUNK,
                     blocks > few ? few : blocks,
                     y};
    icd_i_parallel(ctx, job.ranges * job.token_chunks, apply_range, &job);
}

void icd_i_linear_apply(icd_ctx *ctx, icd_runner *r, const icd_loaded *l, const float *x,
                        int64_t tokens, float *y)
{
    (void)x;
    apply(ctx, r, l, tokens, y);
    if (r->observe_output && r->observed == ICD_OK)
        r->observed = r->observe_output(ctx, r->observe_output_user, l->info, y, tokens,
                                        l->info->rows);
}

/* A work item of a pass over rows: whole panels. */
enum { PASS_ROWS = 3 * ICD_PANEL };

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

/* One row in int8; outliers, whose weights here are 0, are 0 in it. */
static void stage_int8(icd_runner *r, const icd_loaded *next, const float *x, int64_t n,
                       int64_t t, float *scratch)
{
    const icd_plan *plan = next->plan;
    int8_t *q = r->q + t * plan->slots;
    if (next->wide) {
        memcpy(scratch, x, (size_t)n * sizeof *x);
        for (int64_t i = 0; i < next->wide->outliers; i++)
            scratch[next->wide->column[i]] = 0;
        x = scratch;
    }
    if (next->input_scale > 0)
        r->k->quantize_fixed(x, plan->old_of_new, plan->slots, next->input_scale, q,
                             &r->q_scale[t]);
    else
        r->k->quantize_row(x, plan->old_of_new, n, plan->slots, q, &r->q_scale[t]);
}

/* Contextual sparsity: what is too small to count is an exact zero for the kernels. Only
   the staged copy changes: a residual that x may be stays as it is. */
static void cut_f32(float *staged, int64_t count, float threshold)
{
    for (int64_t i = 0; i < count; i++)
        if (fabsf(staged[i]) < threshold) staged[i] = 0;
}

static void cut_int8(int8_t *q, int64_t count, float scale, float threshold)
{
    for (int64_t i = 0; i < count; i++)
        if (fabsf((float)q[i] * scale) < threshold) q[i] = 0;
}

static void stage_rows(icd_runner *r, const icd_loaded *next, const icd_row_pass *p,
                       int64_t first, int64_t count, void *scratch)
{
    const icd_plan *plan = next->plan;
    const float *x = p->x + first * p->n, threshold = (float)r->opts.threshold;
    if (icd_i_linear_reads_f32(next)) {
        float *staged = r->staged + first * plan->slots;
        r->k->pack_panel(x, p->n, count, next->ordered ? plan->old_of_new : NULL, p->n,
                         plan->slots, staged);
        if (threshold > 0) cut_f32(staged, count * plan->slots, threshold);
        return;
    }
    if (next->wide)
        icd_i_wide_stage(r->k, next->wide, x, p->n, count,
                         r->staged + first * next->wide->plan->slots);
    for (int64_t t = first; t < first + count; t++, x += p->n) {
        stage_int8(r, next, x, p->n, t, scratch);
        if (threshold > 0)
            cut_int8(r->q + t * plan->slots, plan->slots, r->q_scale[t], threshold);
    }
}

static void rows_chunk(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    const rows_job *job = arg;
    const icd_row_pass *p = job->pass;
    int64_t end =
        (chunk + 1) * PASS_ROWS < p->tokens ? (chunk + 1) * PASS_ROWS : p->tokens;
    void *scratch = job->r->scratch + worker * job->r->scratch_bytes;
    (void)chunks;
    for (int64_t first = chunk * PASS_ROWS; first < end; first += ICD_PANEL) {
        int64_t n = end - first < ICD_PANEL ? end - first : ICD_PANEL;
        for (int64_t t = first; p->fn && t < first + n; t++) p->fn(job->r->k, p, t);
        if (job->next) stage_rows(job->r, job->next, p, first, n, scratch);
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
