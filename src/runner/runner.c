#include <icd/runner.h>

#include "base/blas.h"
#include "core/kv.h"
#include "kernels/linear_small.h"
#include "runner/linear.h"
#include "runner/runner_private.h"

#include <stdio.h>
#include <string.h>

static const icd_engine *const ENGINE[] = {
    &icd_i_engine_bert,      &icd_i_engine_ffn,       &icd_i_engine_decoder,
    &icd_i_engine_mamba,     &icd_i_engine_bert_cuda, &icd_i_engine_decoder_cuda,
    &icd_i_engine_mamba_cuda};

static icd_status find_engine(icd_ctx *ctx, const icd_model *model, int32_t device,
                              const icd_engine **out)
{
    for (size_t i = 0; i < sizeof ENGINE / sizeof ENGINE[0]; i++)
        if (ENGINE[i]->device == device &&
            !strcmp(ENGINE[i]->arch, icd_model_arch(model))) {
            *out = ENGINE[i];
            return ICD_OK;
        }
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, icd_model_name(model), NULL,
                      "no runner for the architecture '%s'%s", icd_model_arch(model),
                      device == ICD_RUN_CUDA ? " on a GPU" : "");
}

icd_status icd_i_linear_list_new(icd_ctx *ctx, int64_t count, icd_linear **list,
                                 char **text)
{
    size_t bytes = (size_t)count * (sizeof **list + ICD_LINEAR_TEXT);
    icd_status status = icd_i_alloc(ctx, (int64_t)bytes, 1, (void **)list);
    if (status == ICD_OK) *text = (char *)(*list + count);
    return status;
}

const char *icd_i_linear_text(char **text, const char *fmt, int64_t layer,
                              const char *what)
{
    char *at = *text;
    *text += snprintf(at, 96, fmt, (int)layer, what) + 1;
    return at;
}

icd_status icd_i_linear_list(icd_ctx *ctx, const icd_model *model, int64_t per_layer,
                             icd_fill_linear_fn *fill, icd_linear **list, int64_t *count)
{
    const icd_model_config *c = icd_model_get_config(model);
    char *text = NULL;
    icd_status status = icd_i_linear_list_new(ctx, c->layers * per_layer, list, &text);
    if (status != ICD_OK) return status;
    *count = c->layers * per_layer;
    for (int64_t i = 0; i < *count; i++)
        fill(c, i / per_layer, (int)(i % per_layer), &text, &(*list)[i]);
    return ICD_OK;
}

icd_status icd_runner_linears(icd_ctx *ctx, const icd_model *model,
                              const icd_linear **list, int64_t *count)
{
    const icd_engine *engine = NULL;
    icd_linear *own = NULL;
    *list = NULL;
    *count = 0;
    icd_status status = find_engine(ctx, model, ICD_RUN_CPU, &engine);
    if (status == ICD_OK) status = engine->linears(ctx, model, &own, count);
    *list = own;
    return status;
}

icd_status icd_i_runner_tensor(icd_ctx *ctx, icd_runner *r, const char *name,
                               const float **out)
{
    float *copy = NULL;
    const icd_tensor *tensor = icd_model_tensor(r->model, name);
    if (tensor && tensor->dtype == ICD_F32) {
        *out = tensor->data;
        return ICD_OK;
    }
    icd_status status = icd_i_grow(ctx, (void **)&r->owned, &r->owned_capacity,
                                   r->owned_count + 1, sizeof *r->owned);
    if (status == ICD_OK) status = icd_model_tensor_f32(ctx, r->model, name, &copy);
    if (status != ICD_OK) return status;
    r->owned[r->owned_count++] = copy;
    *out = copy;
    return ICD_OK;
}

static icd_status check_threshold(icd_ctx *ctx, const icd_runner *r)
{
    if (r->opts.threshold == 0 || r->engine->device == ICD_RUN_CPU) return ICD_OK;
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, "kernel.threshold", NULL,
                      "found %g, expected 0 on a GPU", r->opts.threshold);
}

static icd_status load_all(icd_ctx *ctx, icd_runner *r, const icd_layout *layout)
{
    icd_status status = ICD_OK;
    ICD_TRY(r->engine->linears(ctx, r->model, &r->list, &r->linears));
    if (r->engine->device != ICD_RUN_CPU) return ICD_OK;
    ICD_TRY(ICD_ALLOC(ctx, r->linears, &r->linear));
    for (int64_t i = 0; i < r->linears; i++) {
        r->linear[i].info = &r->list[i];
        ICD_TRY(
            icd_i_linear_load(ctx, r, &r->linear[i],
                              layout ? icd_i_layout_get(layout, r->list[i].name) : NULL));
    }
done:
    return status;
}

static icd_status join_groups(icd_ctx *ctx, icd_runner *r)
{
    for (int64_t i = 0, end; i < r->linears; i = end) {
        for (end = i + 1; end < r->linears; end++)
            if (strcmp(r->list[i].group, r->list[end].group) != 0) break;
        icd_status status = icd_i_linear_join(ctx, &r->linear[i], end - i);
        if (status != ICD_OK) return status;
    }
    return ICD_OK;
}

/* Every entry of a layout must name a linear, or a typing error would silently run dense.
 */
static icd_status check_layout(icd_ctx *ctx, const icd_runner *r,
                               const icd_layout *layout)
{
    for (int64_t e = 0; layout && e < layout->count; e++) {
        bool known = false;
        for (int64_t i = 0; i < r->linears; i++)
            known |= !strcmp(r->list[i].name, layout->entry[e].linear);
        if (!known)
            return icd_i_fail(ctx, ICD_EINVAL, layout->entry[e].linear, NULL,
                              "the model has no such linear");
    }
    return ICD_OK;
}

static icd_status allocate(icd_ctx *ctx, icd_runner *r)
{
    icd_status status = ICD_OK;
    int64_t tokens = r->capacity.batch * r->capacity.seq, bytes = 0, floats = 0,
            scratch = 0;
    for (int64_t i = 0; i < r->linears; i++) {
        const icd_loaded *l = &r->linear[i];
        int64_t *slots = icd_i_linear_reads_f32(l) ? &floats : &bytes;
        if (l->plan->slots > *slots) *slots = l->plan->slots;
        if (l->wide && l->wide->plan->slots > floats) floats = l->wide->plan->slots;
        if (icd_i_linear_needs(l) > scratch) scratch = icd_i_linear_needs(l);
    }
    r->scratch_bytes = (scratch + 63) / 64 * 64;
    ICD_TRY(ICD_ALLOC(ctx, r->workers * r->scratch_bytes, &r->scratch));
    ICD_TRY(ICD_ALLOC(ctx, tokens, &r->q_scale));
    if (bytes) ICD_TRY(ICD_ALLOC(ctx, tokens * bytes, &r->q));
    if (floats) ICD_TRY(ICD_ALLOC(ctx, tokens * floats, &r->staged));
done:
    return status;
}

static icd_status check_dtype(icd_ctx *ctx, const icd_runner_opts *opts)
{
    bool gpu = opts->device == ICD_RUN_CUDA;
    if (opts->dtype == ICD_RUN_INT4 && gpu)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, "runner.dtype",
                          "set runner.device to cpu, or another type",
                          "found int4, which no kernel of a GPU multiplies");
    if (opts->dtype != ICD_RUN_FP8 || gpu) return ICD_OK;
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, "runner.dtype",
                      "set runner.device to cuda, or another type",
                      "found fp8, which no kernel of a CPU multiplies");
}

static icd_status check_capacity(icd_ctx *ctx, const icd_batch *b)
{
    if (b->batch < 1 || b->seq < 1 || b->batch > INT32_MAX / b->seq)
        return icd_i_fail(ctx, ICD_EINVAL, "runner", NULL,
                          "found a batch of %lld x %lld tokens, expected at least one",
                          (long long)b->batch, (long long)b->seq);
    return ICD_OK;
}

icd_status icd_runner_new(icd_ctx *ctx, const icd_model *model, const icd_layout *layout,
                          const icd_batch *capacity, const icd_runner_opts *opts,
                          icd_runner **out)
{
    icd_status status = ICD_OK;
    icd_runner *r = NULL;
    *out = NULL;
    ICD_TRY(check_capacity(ctx, capacity));
    ICD_TRY(ICD_ALLOC(ctx, 1, &r));
    icd_i_blas_alone();
    ICD_TRY(icd_options_resolve(ctx, &icd_runner_table, opts, &r->opts));
    if (r->opts.vector <= 0) r->opts.vector = 64;
    if (r->opts.dtype == ICD_RUN_F32) r->opts.device = ICD_RUN_CPU;
    ICD_TRY(check_dtype(ctx, &r->opts));
    ICD_TRY(find_engine(ctx, model, r->opts.device, &r->engine));
    r->model = model;
    r->ctx = ctx;
    r->capacity = *capacity;
    r->workers = icd_ctx_threads(ctx);
    r->k = icd_i_kernels(icd_i_cpu_best());
    ICD_TRY(check_threshold(ctx, r));
    ICD_TRY(load_all(ctx, r, layout));
    ICD_TRY(check_layout(ctx, r, layout));
    if (r->linear) ICD_TRY(join_groups(ctx, r));
    if (r->linear) ICD_TRY(allocate(ctx, r));
    r->layout = layout;
    ICD_TRY(r->engine->start(ctx, r));
    r->layout = NULL;
    *out = r;
    r = NULL;
done:
    icd_runner_free(ctx, r);
    return status;
}

void icd_runner_free(icd_ctx *ctx, icd_runner *r)
{
    if (!r) return;
    if (r->state) r->engine->stop(ctx, r);
    for (int64_t i = 0; r->linear && i < r->linears; i++)
        icd_i_linear_unload(ctx, &r->linear[i]);
    for (int64_t i = 0; i < r->owned_count; i++) icd_mem_free(ctx, r->owned[i]);
    icd_i_free(ctx, r->owned);
    icd_i_free(ctx, r->linear);
    icd_i_free(ctx, r->choice);
    icd_i_free(ctx, r->list);
    icd_i_free(ctx, r->q);
    icd_i_free(ctx, r->q_scale);
    icd_i_free(ctx, r->staged);
    icd_i_free(ctx, r->scratch);
    icd_i_free(ctx, r->mass);
    icd_i_free(ctx, r);
    icd_i_blas_shared();
}

icd_status icd_runner_step(icd_ctx *ctx, icd_runner *r, const icd_batch *batch,
                           icd_output *out)
{
    *out = (icd_output){0};
    if (batch->batch < 1 || batch->seq < 1 || batch->batch > r->capacity.batch ||
        batch->seq > r->capacity.seq)
        return icd_i_fail(
            ctx, ICD_EINVAL, "runner", NULL,
            "found a batch of %lld x %lld tokens, expected at most %lld x %lld",
            (long long)batch->batch, (long long)batch->seq, (long long)r->capacity.batch,
            (long long)r->capacity.seq);
    if (icd_ctx_threads(ctx) > r->workers)
        return icd_i_fail(ctx, ICD_EINVAL, "runner",
                          "step with the context it was made with",
                          "found a context of %d threads, expected at most %d",
                          icd_ctx_threads(ctx), r->workers);
    icd_status status = r->engine->check(ctx, r, batch);
    r->rows_done = 0;
    r->observed = ICD_OK;
    if (status == ICD_OK) status = r->engine->step(ctx, r, batch, out);
    if (status == ICD_OK) status = r->observed;
    if (status == ICD_OK) r->rows_done = out->tokens;
    return status;
}

int64_t icd_runner_outputs(const icd_runner *r)
{
    return r->engine->outputs ? r->engine->outputs(r) : 0;
}

icd_status icd_runner_logits(icd_ctx *ctx, icd_runner *r, int64_t first, int64_t count,
                             float *out)
{
    if (icd_runner_outputs(r) == 0)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, icd_model_name(r->model), NULL,
                          "the model has no head");
    if (first < 0 || count < 0 || first > r->rows_done - count)
        return icd_i_fail(ctx, ICD_EINVAL, "runner", NULL,
                          "found rows %lld to %lld, the last step computed %lld",
                          (long long)first, (long long)(first + count - 1),
                          (long long)r->rows_done);
    return r->engine->logits(ctx, r, first, count, out);
}

icd_status icd_runner_decode(icd_ctx *ctx, icd_runner *r, const int32_t *ids, bool keep,
                             icd_output *out)
{
    *out = (icd_output){0};
    if (!r->engine->decode)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, icd_model_name(r->model), NULL,
                          "a model of architecture '%s' decodes no tokens",
                          r->engine->arch);
    if (r->rows_done == 0)
        return icd_i_fail(ctx, ICD_EINVAL, "runner", "step with the prompts first",
                          "there is no state to decode from");
    icd_status status = r->engine->decode(ctx, r, ids, keep, out);
    if (status == ICD_OK) r->rows_done = out->tokens;
    return status;
}

void icd_runner_observe(icd_runner *runner, icd_observe_fn *fn, void *user)
{
    runner->observe = fn;
    runner->observe_user = user;
}

void icd_runner_observe_outputs(icd_runner *runner, icd_observe_fn *fn, void *user)
{
    runner->observe_output = fn;
    runner->observe_output_user = user;
}

static icd_status check_kv(icd_ctx *ctx, const icd_runner *r)
{
    if (r->engine->kv) return ICD_OK;
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, icd_model_name(r->model), NULL,
                      "a model of architecture '%s' has no KV cache", r->engine->arch);
}

icd_kv *icd_runner_kv(icd_runner *r, int64_t layer)
{
    return r->engine->kv ? *r->engine->kv(r, layer) : NULL;
}

icd_kv *icd_runner_kv_places(icd_runner *r, int64_t layer)
{
    if (r->engine->places) return *r->engine->places(r, layer);
    return icd_runner_kv(r, layer);
}

static icd_status replace_kv(icd_ctx *ctx, icd_kv **held, int64_t layer, const icd_kv *kv)
{
    icd_kv *copy = NULL;
    if (memcmp(&kv->shape, &(*held)->shape, offsetof(icd_kv_shape, int8)) != 0)
        return icd_i_fail(ctx, ICD_EINVAL, "KV cache", NULL,
                          "found another shape than that of layer %lld",
                          (long long)layer);
    icd_status status = icd_i_kv_copy(ctx, kv, kv->shape.int8, &copy);
    if (status != ICD_OK) return status;
    icd_i_kv_free(ctx, *held);
    *held = copy;
    return ICD_OK;
}

icd_status icd_runner_put_kv(icd_ctx *ctx, icd_runner *r, int64_t layer, const icd_kv *kv)
{
    icd_status status = check_kv(ctx, r);
    return status == ICD_OK ? replace_kv(ctx, r->engine->kv(r, layer), layer, kv)
                            : status;
}

icd_status icd_runner_move_kv(icd_ctx *ctx, icd_runner *r, int64_t layer,
                              const icd_kv *kv)
{
    icd_status status = check_kv(ctx, r);
    if (status != ICD_OK) return status;
    if (!r->engine->places) return icd_runner_put_kv(ctx, r, layer, kv);
    return replace_kv(ctx, r->engine->places(r, layer), layer, kv);
}

icd_status icd_runner_attention(icd_ctx *ctx, icd_runner *r, icd_attention_fn *fn,
                                void *user)
{
    icd_status status = check_kv(ctx, r);
    /* a GPU adds masses up where the cache lies, and only has to know that it should */
    int64_t values = r->engine->device == ICD_RUN_CPU
                         ? r->capacity.batch * r->capacity.seq * r->capacity.seq
                         : 1;
    if (status == ICD_OK && !r->mass) status = ICD_ALLOC(ctx, values, &r->mass);
    if (status != ICD_OK) return status;
    r->attention = fn;
    r->attention_user = user;
    return ICD_OK;
}

void icd_runner_attention_stop(icd_ctx *ctx, icd_runner *r)
{
    icd_i_free(ctx, r->mass);
    r->mass = NULL;
    r->attention = NULL;
}

/* Bytes of what a plan reads, its weights and their scales in the type of `q`. */
static int64_t bytes_of(const icd_plan *plan, const icd_quantized *q)
{
    int64_t weights = icd_i_plan_groups(plan) * plan->vector * ICD_GROUP;
    int64_t lists = icd_i_plan_bytes(plan) - weights;
    int32_t dtype = q ? q->dtype : ICD_WEIGHT_F32;
    int64_t scales = q && q->group > 0 ? weights / q->group * (int64_t)sizeof(float) : 0;
    return weights * icd_weight_dtype_bits(dtype) / 8 + scales + lists;
}

/* Two of four: steps of eight channels, four weights and a byte of places each, and the
   list of steps. */
static icd_status bytes_of_two_of_four(icd_ctx *ctx, const icd_layout_entry *entry,
                                       int32_t vector, int64_t *bytes)
{
    icd_plan *plan = NULL;
    icd_layout_entry e = *entry;
    e.kernel = ICD_KERNEL_TILE;
    e.granule = ICD_STEP;
    e.mask = NULL;
    icd_status status = icd_i_plan_new(ctx, &e, vector, &plan);
    if (status == ICD_OK)
        *bytes = icd_i_small_bytes(plan, 0) +
                 icd_i_small_steps(plan) * (int64_t)sizeof(int32_t);
    icd_i_plan_free(ctx, plan);
    return status;
}

icd_status icd_runner_linear_cost(icd_ctx *ctx, const icd_layout_entry *entry,
                                  int32_t vector, icd_linear_cost *out)
{
    icd_status status = ICD_OK;
    icd_live live = {0, 0};
    icd_plan *plan = NULL;
    icd_mask *regular = NULL;
    icd_layout_entry e;
    int32_t granule = entry->granule > 0 ? entry->granule : 1;
    *out = (icd_linear_cost){.granule = granule};
    ICD_TRY(icd_i_linear_regular(ctx, entry, &e, &regular));
    if (e.kernel == ICD_KERNEL_AUTO) e.kernel = ICD_KERNEL_DENSE;
    ICD_TRY(icd_i_layout_live(ctx, &e, vector, granule, &live));
    out->all = live.all;
    out->live = e.kernel == ICD_KERNEL_DENSE ? live.all : live.live;
    ICD_TRY(icd_i_plan_new(ctx, &e, vector, &plan));
    out->bytes = bytes_of(plan, e.quant);
    if (icd_i_two_of_four(&e))
        ICD_TRY(bytes_of_two_of_four(ctx, &e, vector, &out->bytes));
    if (e.quant && e.quant->outliers)
        out->bytes += icd_i_wide_bytes(e.rows, e.quant->outliers, vector);
done:
    icd_i_mask_free(ctx, regular);
    icd_i_plan_free(ctx, plan);
    return status;
}
