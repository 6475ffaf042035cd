/* Llama-style decoders on a GPU. Where a token lies is decided on the CPU, in the same
 * paged caches as the CPU engine's (core/kv.h); keys and values live on the GPU and come
 * back when somebody asks for a cache. Decoding one token is one graph. */
#include "runner/cuda/layer.h"
#include "runner/generate.h"

#include "base/hash.h"
#include "core/kv.h"
#include "core/small_float.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PER_LAYER = 7, Q = 0, K, V, OUT, GATE, UP, DOWN };

typedef struct layer {
    icd_dptr attention, mlp; /* gains */
    icd_dptr page_k, page_v; /* bf16 [pages][kv_heads][page][dim] */
    icd_dptr live;           /* [pages][page] */
    icd_kv *kv;              /* where tokens lie; data only while `shown` */
} layer;

/* The tokens that one pass through the layers computes. */
typedef struct pass {
    const icd_gpu_linear *linear;
    int64_t batch, seq;
    bool prefill;
} pass;

typedef struct decoder {
    const icd_model_config *config;
    icd_gpu gpu;
    icd_gpu_linear *linear, *single; /* schedules of a prefill; of one token */
    icd_gpu_stage stage;
    layer *layer;
    icd_dptr embedding, norm, cosine, sine;
    icd_dptr ids, position, lengths;
    icd_dptr slots; /* prefill: [tokens] of one layer */
    icd_dptr paged; /* decode: per layer slot [B], pages [B], table [B][width] */
    icd_dptr x, n;  /* f32 stream; its last norm */
    icd_dptr q, k, v, context, y, gate, up;
    icd_device_graph *graph;
    int64_t graph_batch;
    uint64_t graph_room; /* workspace that the graph knows */
    int64_t width;       /* pages of a sequence at most */
    int32_t *host;       /* what is uploaded for a step */
    float *zeros;
    icd_kv_slot *list;
    const float *head;
    const int32_t *order;
    float *rows, *hidden; /* host */
    int32_t *last, *next;
    int64_t batch;
    uint64_t prepared;
    bool shown;        /* somebody holds the caches: they may have changed */
    icd_status broken; /* why they could not be shown */
} decoder;

static int64_t heads_width(const icd_model_config *c)
{
    return c->heads * c->head_dim;
}

static int64_t kv_width(const icd_model_config *c)
{
    return c->kv_heads * c->head_dim;
}

static icd_status put_tensor(icd_ctx *ctx, icd_runner *r, const char *name, icd_dptr *out)
{
    decoder *d = r->state;
    const float *host = NULL;
    icd_status status = icd_i_runner_tensor(ctx, r, name, &host);
    if (status != ICD_OK) return status;
    return ICD_GPU_PUT(ctx, &d->gpu, host, icd_model_tensor(r->model, name)->count, name,
                       out);
}

static icd_status load_layer(icd_ctx *ctx, icd_runner *r, int64_t n, layer *out)
{
    char name[96];
    snprintf(name, sizeof name, "model.layers.%d.input_layernorm.weight", (int)n);
    icd_status status = put_tensor(ctx, r, name, &out->attention);
    snprintf(name, sizeof name, "model.layers.%d.post_attention_layernorm.weight",
             (int)n);
    return status == ICD_OK ? put_tensor(ctx, r, name, &out->mlp) : status;
}

static icd_status load_tensors(icd_ctx *ctx, icd_runner *r, decoder *d)
{
    icd_status status = ICD_OK;
    const char *embedding = "model.embed_tokens.weight";
    const icd_perm *order = icd_model_order(r->model, "residual");
    d->order = order ? order->old_of_new : NULL;
    ICD_TRY(put_tensor(ctx, r, embedding, &d->embedding));
    ICD_TRY(put_tensor(ctx, r, "model.norm.weight", &d->norm));
    ICD_TRY(icd_i_runner_tensor(ctx, r, d->config->tied ? embedding : "lm_head.weight",
                                &d->head));
    for (int64_t n = 0; n < d->config->layers; n++)
        ICD_TRY(load_layer(ctx, r, n, &d->layer[n]));
done:
    return status;
}

/* Angles in f32, as the CPU engine has them. */
static icd_status make_angles(icd_ctx *ctx, decoder *d, int64_t positions)
{
    icd_status status = ICD_OK;
    float *cosine = NULL, *sine = NULL;
    int64_t half = d->config->head_dim / 2;
    ICD_TRY(ICD_ALLOC(ctx, positions * half, &cosine));
    ICD_TRY(ICD_ALLOC(ctx, positions * half, &sine));
    for (int64_t i = 0; i < half; i++) {
        double power = (double)((float)(2 * i) / (float)(2 * half));
        float frequency = 1 / (float)pow(d->config->rope_theta, power);
        for (int64_t p = 0; p < positions; p++) {
            cosine[p * half + i] = (float)cos((double)((float)p * frequency));
            sine[p * half + i] = (float)sin((double)((float)p * frequency));
        }
    }
    ICD_TRY(ICD_GPU_PUT(ctx, &d->gpu, cosine, positions * half, "angles", &d->cosine));
    ICD_TRY(ICD_GPU_PUT(ctx, &d->gpu, sine, positions * half, "angles", &d->sine));
done:
    icd_i_free(ctx, cosine);
    icd_i_free(ctx, sine);
    return status;
}

static int64_t pool_values(const icd_kv *kv)
{
    return kv->pages * kv->shape.page * kv->shape.heads * kv->shape.dim;
}

static icd_status make_cache(icd_ctx *ctx, icd_runner *r, decoder *d, layer *l)
{
    icd_status status = ICD_OK;
    icd_kv_shape shape = {.heads = d->config->kv_heads,
                          .dim = d->config->head_dim,
                          .page = r->opts.page,
                          .sequences = r->capacity.batch,
                          .tokens = r->capacity.seq};
    ICD_TRY(icd_i_kv_new(ctx, &shape, &l->kv));
    ICD_TRY(icd_device_alloc(ctx, d->gpu.device, pool_values(l->kv) * 2, "the KV cache",
                             &l->page_k));
    ICD_TRY(icd_device_alloc(ctx, d->gpu.device, pool_values(l->kv) * 2, "the KV cache",
                             &l->page_v));
    ICD_TRY(icd_device_alloc(ctx, d->gpu.device, l->kv->pages * shape.page,
                             "the KV cache", &l->live));
done:
    return status;
}

/* int32 values that a decode needs per layer. */
static int64_t paged_values(const icd_runner *r, const decoder *d)
{
    return r->capacity.batch * (2 + d->width);
}

static icd_status allocate_device(icd_ctx *ctx, icd_runner *r, decoder *d)
{
    icd_status status = ICD_OK;
    const icd_model_config *c = d->config;
    int64_t batch = r->capacity.batch, tokens = batch * r->capacity.seq;
    const struct {
        icd_dptr *at;
        int64_t bytes;
    } buffer[] = {{&d->ids, tokens * 4},
                  {&d->position, tokens * 4},
                  {&d->lengths, batch * 4},
                  {&d->slots, tokens * 4},
                  {&d->paged, c->layers * paged_values(r, d) * 4},
                  {&d->x, tokens * c->hidden * 4},
                  {&d->n, tokens * c->hidden * 4},
                  {&d->y, tokens * c->hidden * 2},
                  {&d->q, tokens * heads_width(c) * 2},
                  {&d->context, tokens * heads_width(c) * 2},
                  {&d->k, tokens * kv_width(c) * 2},
                  {&d->v, tokens * kv_width(c) * 2},
                  {&d->gate, tokens * c->inner * 2},
                  {&d->up, tokens * c->inner * 2}};
    for (size_t i = 0; i < sizeof buffer / sizeof buffer[0]; i++)
        ICD_TRY(icd_device_alloc(ctx, d->gpu.device, buffer[i].bytes, "activations",
                                 buffer[i].at));
    for (int64_t n = 0; n < c->layers; n++) ICD_TRY(make_cache(ctx, r, d, &d->layer[n]));
    ICD_TRY(icd_i_gpu_stage_new(ctx, &d->gpu, d->linear, r->linears, tokens, &d->stage));
done:
    return status;
}

static icd_status allocate_host(icd_ctx *ctx, icd_runner *r, decoder *d)
{
    icd_status status = ICD_OK;
    int64_t batch = r->capacity.batch, tokens = batch * r->capacity.seq,
            paged = d->config->layers * paged_values(r, d);
    ICD_TRY(ICD_ALLOC(ctx, paged > 2 * tokens ? paged : 2 * tokens, &d->host));
    ICD_TRY(ICD_ALLOC(ctx, kv_width(d->config), &d->zeros));
    ICD_TRY(ICD_ALLOC(ctx, r->capacity.seq, &d->list));
    ICD_TRY(ICD_ALLOC(ctx, tokens * d->config->hidden, &d->rows));
    ICD_TRY(ICD_ALLOC(ctx, tokens * d->config->hidden, &d->hidden));
    ICD_TRY(ICD_ALLOC(ctx, batch, &d->last));
    ICD_TRY(ICD_ALLOC(ctx, batch, &d->next));
done:
    return status;
}

static icd_status check_shape(icd_ctx *ctx, const icd_runner *r,
                              const icd_model_config *c)
{
    if (r->capacity.seq > c->positions)
        return icd_i_fail(ctx, ICD_EINVAL, "input", "use shorter sequences",
                          "found %lld tokens a sequence, the model has %lld positions",
                          (long long)r->capacity.seq, (long long)c->positions);
    if (c->head_dim > ICD_GPU_HEAD)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, icd_model_name(r->model), NULL,
                          "found heads of %lld values, a GPU takes at most %d",
                          (long long)c->head_dim, ICD_GPU_HEAD);
    return ICD_OK;
}

/* The linears once more, for another number of tokens; weights are shared. */
static icd_status copy_linears(icd_ctx *ctx, const icd_runner *r, decoder *d)
{
    icd_status status = ICD_ALLOC(ctx, r->linears, &d->single);
    for (int64_t i = 0; status == ICD_OK && i < r->linears; i++)
        d->single[i] = d->linear[i];
    return status;
}

static icd_status decoder_start(icd_ctx *ctx, icd_runner *r)
{
    icd_status status = ICD_OK;
    decoder *d = NULL;
    const icd_model_config *c = icd_model_get_config(r->model);
    int64_t widest = c->inner > c->hidden ? c->inner : c->hidden;
    ICD_TRY(check_shape(ctx, r, c));
    ICD_TRY(ICD_ALLOC(ctx, 1, &d));
    r->state = d;
    d->config = c;
    d->width = (r->capacity.seq + r->opts.page - 1) / r->opts.page;
    ICD_TRY(ICD_ALLOC(ctx, c->layers, &d->layer));
    ICD_TRY(icd_i_gpu_open(ctx, &r->opts,
                           widest > heads_width(c) ? widest : heads_width(c), &d->gpu));
    ICD_TRY(load_tensors(ctx, r, d));
    ICD_TRY(make_angles(ctx, d, r->capacity.seq));
    ICD_TRY(icd_i_gpu_linears_new(ctx, &d->gpu, r, r->layout, &d->linear));
    ICD_TRY(copy_linears(ctx, r, d));
    ICD_TRY(allocate_device(ctx, r, d));
    ICD_TRY(allocate_host(ctx, r, d));
done:
    return status;
}

static void decoder_stop(icd_ctx *ctx, icd_runner *r)
{
    decoder *d = r->state;
    void *const buffer[] = {d->single, d->host,   d->zeros, d->list,
                            d->rows,   d->hidden, d->last,  d->next};
    icd_device_graph_free(ctx, d->graph);
    icd_i_gpu_linears_free(ctx, r, d->linear);
    icd_i_gpu_close(ctx, &d->gpu);
    for (int64_t n = 0; d->layer && n < d->config->layers; n++)
        icd_i_kv_free(ctx, d->layer[n].kv);
    for (size_t i = 0; i < sizeof buffer / sizeof buffer[0]; i++)
        icd_i_free(ctx, buffer[i]);
    icd_i_free(ctx, d->layer);
    icd_i_free(ctx, d);
}

/* x += y, and the norm of it: staged for `next`, or as the result. */
static icd_status norm(icd_ctx *ctx, decoder *d, const pass *p, icd_dptr y, icd_dptr gain,
                       const icd_gpu_linear *next)
{
    icd_gpu_rows rows = {.y = y,
                         .x = d->x,
                         .gain = gain,
                         .out = next ? (icd_dptr){0} : d->n,
                         .ldy = d->config->hidden,
                         .tokens = (int32_t)(p->batch * p->seq),
                         .n = (int32_t)d->config->hidden,
                         .op = ICD_GPU_RMS_NORM,
                         .eps = (float)d->config->norm_eps};
    return icd_i_gpu_rows_to(ctx, &d->gpu, rows, next, &d->stage);
}

/* Where this pass finds a layer's part of `paged`. */
static icd_dptr paged_at(const icd_runner *r, const decoder *d, int64_t n, int64_t value)
{
    return icd_dptr_add(d->paged, (n * paged_values(r, d) + value) * 4);
}

static icd_status turn(icd_ctx *ctx, icd_runner *r, const pass *p, int64_t n)
{
    decoder *d = r->state;
    const icd_model_config *c = d->config;
    icd_gpu_rope rope = {.q = d->q,
                         .k = d->k,
                         .v = d->v,
                         .cosine = d->cosine,
                         .sine = d->sine,
                         .position = d->position,
                         .slot = p->prefill ? d->slots : paged_at(r, d, n, 0),
                         .page_k = d->layer[n].page_k,
                         .page_v = d->layer[n].page_v,
                         .live = p->prefill ? (icd_dptr){0} : d->layer[n].live,
                         .ldq = heads_width(c),
                         .ldk = kv_width(c),
                         .ldv = kv_width(c),
                         .tokens = (int32_t)(p->batch * p->seq),
                         .heads = (int32_t)c->heads,
                         .kv_heads = (int32_t)c->kv_heads,
                         .dim = (int32_t)c->head_dim,
                         .size = (int32_t)r->opts.page};
    return icd_i_gpu_run(ctx, &d->gpu, ICD_RUN_ROPE, rope.tokens, ICD_GPU_ROWS, &rope);
}

static icd_status attend_sequences(icd_ctx *ctx, decoder *d, const pass *p)
{
    const icd_model_config *c = d->config;
    icd_gpu_attention a = {.q = d->q,
                           .k = d->k,
                           .v = d->v,
                           .y = d->context,
                           .lengths = d->lengths,
                           .ldq = heads_width(c),
                           .ldk = kv_width(c),
                           .ldv = kv_width(c),
                           .ldy = heads_width(c),
                           .batch = (int32_t)p->batch,
                           .seq = (int32_t)p->seq,
                           .heads = (int32_t)c->heads,
                           .kv_heads = (int32_t)c->kv_heads,
                           .dim = (int32_t)c->head_dim,
                           .causal = 1,
                           .scale = 1 / sqrtf((float)c->head_dim)};
    return icd_i_gpu_attend(ctx, &d->gpu, &a);
}

static icd_status attend_pages(icd_ctx *ctx, icd_runner *r, const pass *p, int64_t n)
{
    decoder *d = r->state;
    const icd_model_config *c = d->config;
    icd_gpu_paged a = {.q = d->q,
                       .y = d->context,
                       .page_k = d->layer[n].page_k,
                       .page_v = d->layer[n].page_v,
                       .table = paged_at(r, d, n, 2 * r->capacity.batch),
                       .pages = paged_at(r, d, n, r->capacity.batch),
                       .live = d->layer[n].live,
                       .ldq = heads_width(c),
                       .ldy = heads_width(c),
                       .batch = (int32_t)p->batch,
                       .heads = (int32_t)c->heads,
                       .kv_heads = (int32_t)c->kv_heads,
                       .dim = (int32_t)c->head_dim,
                       .size = (int32_t)r->opts.page,
                       .width = (int32_t)d->width,
                       .scale = 1 / sqrtf((float)c->head_dim)};
    return icd_i_gpu_run(ctx, &d->gpu, ICD_RUN_PAGED, p->batch * c->heads, ICD_GPU_PAGED,
                         &a);
}

static int32_t gate_op(const icd_model_config *c)
{
    if (!strcmp(c->act, "gelu")) return ICD_GPU_MUL_GELU;
    return strcmp(c->act, "relu") ? ICD_GPU_MUL_SILU : ICD_GPU_MUL_RELU;
}

static icd_status mlp(icd_ctx *ctx, decoder *d, const pass *p, const icd_gpu_linear *l)
{
    icd_status status = ICD_OK;
    icd_gpu_rows gated = {.y = d->up,
                          .gate = d->gate,
                          .ldy = d->config->inner,
                          .ld_gate = d->config->inner,
                          .tokens = (int32_t)(p->batch * p->seq),
                          .n = (int32_t)d->config->inner,
                          .op = gate_op(d->config)};
    ICD_TRY(icd_i_gpu_multiply(ctx, &d->gpu, l + GATE, &d->stage, d->gate));
    ICD_TRY(icd_i_gpu_multiply(ctx, &d->gpu, l + UP, &d->stage, d->up));
    ICD_TRY(icd_i_gpu_rows_to(ctx, &d->gpu, gated, l + DOWN, &d->stage));
    ICD_TRY(icd_i_gpu_multiply(ctx, &d->gpu, l + DOWN, &d->stage, d->y));
done:
    return status;
}

/* Prefill: the slots of this layer's tokens, and which are live. */
static icd_status place_tokens(icd_ctx *ctx, icd_runner *r, const pass *p, int64_t n)
{
    icd_status status = ICD_OK;
    decoder *d = r->state;
    icd_kv *kv = d->layer[n].kv;
    for (int64_t s = 0; s < p->batch; s++) {
        int64_t live = kv->sequence[s].live;
        icd_i_kv_list(kv, s, d->list);
        for (int64_t t = 0; t < p->seq; t++)
            d->host[s * p->seq + t] =
                t < live ? (int32_t)icd_i_kv_at(kv, d->list[t]) : -1;
    }
    ICD_TRY(
        icd_device_upload(ctx, d->gpu.device, d->slots, d->host, p->batch * p->seq * 4));
    ICD_TRY(icd_device_upload(ctx, d->gpu.device, d->layer[n].live, kv->alive,
                              kv->pages * kv->shape.page));
done:
    return status;
}

static icd_status attention(icd_ctx *ctx, icd_runner *r, const pass *p, int64_t n)
{
    icd_status status = ICD_OK;
    decoder *d = r->state;
    const icd_gpu_linear *l = p->linear + n * PER_LAYER;
    ICD_TRY(icd_i_gpu_multiply(ctx, &d->gpu, l + Q, &d->stage, d->q));
    ICD_TRY(icd_i_gpu_multiply(ctx, &d->gpu, l + K, &d->stage, d->k));
    ICD_TRY(icd_i_gpu_multiply(ctx, &d->gpu, l + V, &d->stage, d->v));
    if (p->prefill) ICD_TRY(place_tokens(ctx, r, p, n));
    ICD_TRY(turn(ctx, r, p, n));
    ICD_TRY(p->prefill ? attend_sequences(ctx, d, p) : attend_pages(ctx, r, p, n));
    ICD_TRY(icd_i_gpu_apply(ctx, &d->gpu, l + OUT, d->context, heads_width(d->config),
                            ICD_GPU_COPY, &d->stage, d->y));
done:
    return status;
}

static icd_status run_layers(icd_ctx *ctx, icd_runner *r, const pass *p)
{
    icd_status status = ICD_OK;
    decoder *d = r->state;
    const icd_gpu_linear *l = p->linear;
    icd_gpu_embed embed = {.ids = d->ids,
                           .word = d->embedding,
                           .x = d->x,
                           .tokens = (int32_t)(p->batch * p->seq),
                           .seq = (int32_t)p->seq,
                           .n = (int32_t)d->config->hidden};
    ICD_TRY(
        icd_i_gpu_run(ctx, &d->gpu, ICD_RUN_EMBED, embed.tokens, ICD_GPU_ROWS, &embed));
    ICD_TRY(norm(ctx, d, p, (icd_dptr){0}, d->layer[0].attention, l));
    for (int64_t n = 0; n < d->config->layers; n++, l += PER_LAYER) {
        bool end = n + 1 == d->config->layers;
        ICD_TRY(attention(ctx, r, p, n));
        ICD_TRY(norm(ctx, d, p, d->y, d->layer[n].mlp, l + GATE));
        ICD_TRY(mlp(ctx, d, p, l));
        ICD_TRY(norm(ctx, d, p, d->y, end ? d->norm : d->layer[n + 1].attention,
                     end ? NULL : l + PER_LAYER));
    }
done:
    return status;
}

static icd_status fetch(icd_ctx *ctx, decoder *d, const pass *p, icd_output *out)
{
    int64_t h = d->config->hidden, tokens = p->batch * p->seq;
    icd_status status =
        icd_device_download(ctx, d->gpu.device, d->rows, d->n, tokens * h * 4);
    for (int64_t t = 0; status == ICD_OK && t < tokens; t++)
        for (int64_t i = 0; i < h; i++)
            d->hidden[t * h + (d->order ? d->order[i] : i)] = d->rows[t * h + i];
    if (status == ICD_OK) *out = (icd_output){d->hidden, tokens, h, NULL, p->batch};
    return status;
}

static int32_t length_of(const icd_batch *b, const int32_t *lengths, int64_t s)
{
    return lengths ? lengths[s] : (int32_t)b->seq;
}

/* The caches hold the places of the prompt's tokens and nothing else. */
static void start_caches(const icd_runner *r, decoder *d, const icd_batch *batch,
                         const int32_t *lengths)
{
    for (int64_t n = 0; n < d->config->layers; n++)
        for (int64_t s = 0; s < r->capacity.batch; s++) {
            icd_i_kv_clear(d->layer[n].kv, s);
            for (int32_t t = 0; s < batch->batch && t < length_of(batch, lengths, s); t++)
                icd_i_kv_append(d->layer[n].kv, s, d->zeros, d->zeros);
        }
    d->shown = false;
}

static icd_status upload_prompt(icd_ctx *ctx, decoder *d, const icd_batch *batch,
                                const int32_t *lengths)
{
    icd_status status = ICD_OK;
    int64_t tokens = batch->batch * batch->seq;
    int32_t *position = d->host, *length = d->host + tokens;
    for (int64_t s = 0; s < batch->batch; s++) {
        length[s] = length_of(batch, lengths, s);
        for (int64_t t = 0; t < batch->seq; t++)
            position[s * batch->seq + t] = t < length[s] ? (int32_t)t : -1;
    }
    ICD_TRY(icd_device_upload(ctx, d->gpu.device, d->position, position, tokens * 4));
    ICD_TRY(icd_device_upload(ctx, d->gpu.device, d->lengths, length, batch->batch * 4));
    ICD_TRY(icd_device_upload(ctx, d->gpu.device, d->ids, batch->ids, tokens * 4));
done:
    return status;
}

static icd_status prefill(icd_ctx *ctx, icd_runner *r, const icd_batch *batch,
                          const int32_t *lengths, icd_output *out)
{
    icd_status status = ICD_OK;
    decoder *d = r->state;
    pass p = {d->linear, batch->batch, batch->seq, true};
    d->prepared = 0;
    d->batch = batch->batch;
    start_caches(r, d, batch, lengths);
    ICD_TRY(icd_i_gpu_prepare(ctx, &d->gpu, d->linear, r->linears, p.batch * p.seq));
    ICD_TRY(upload_prompt(ctx, d, batch, lengths));
    ICD_TRY(run_layers(ctx, r, &p));
    ICD_TRY(fetch(ctx, d, &p, out));
done:
    return status;
}

/* Copies a cache's pages between its host form, keys [head][dim][page] and values
 * [head][page][dim] in f32, and the GPU's. */
static void convert_page(icd_kv *kv, int32_t page, uint16_t *k, uint16_t *v, bool to_host)
{
    int64_t size = kv->shape.page, dim = kv->shape.dim;
    for (int64_t h = 0; h < kv->shape.heads; h++) {
        float *hk = kv->k + icd_i_kv_head(kv, page, h),
              *hv = kv->v + icd_i_kv_head(kv, page, h);
        int64_t at = icd_i_kv_head(kv, page, h);
        for (int64_t t = 0; t < size; t++)
            for (int64_t i = 0; i < dim; i++) {
                bool live = kv->alive[page * size + t];
                if (to_host) {
                    hk[i * size + t] = live ? icd_i_bf16_value(k[at + t * dim + i]) : 0;
                    hv[t * dim + i] = live ? icd_i_bf16_value(v[at + t * dim + i]) : 0;
                } else {
                    k[at + t * dim + i] = icd_i_bf16_of(hk[i * size + t]);
                    v[at + t * dim + i] = icd_i_bf16_of(hv[t * dim + i]);
                }
            }
    }
}

static void convert_pages(icd_kv *kv, uint16_t *k, uint16_t *v, bool to_host)
{
    for (int64_t s = 0; s < kv->shape.sequences; s++)
        for (int64_t i = 0; i < kv->sequence[s].pages; i++)
            convert_page(kv, kv->sequence[s].page[i], k, v, to_host);
}

static icd_status exchange(icd_ctx *ctx, decoder *d, layer *l, bool to_host)
{
    icd_status status = ICD_OK;
    uint16_t *k = NULL, *v = NULL;
    int64_t count = pool_values(l->kv), bytes = count * 2;
    if (l->kv->shape.int8)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, "KV cache", "set runner.device to cpu",
                          "found a cache in int8, a GPU keeps bf16");
    ICD_TRY(ICD_ALLOC(ctx, count, &k));
    ICD_TRY(ICD_ALLOC(ctx, count, &v));
    if (to_host) {
        ICD_TRY(icd_device_download(ctx, d->gpu.device, k, l->page_k, bytes));
        ICD_TRY(icd_device_download(ctx, d->gpu.device, v, l->page_v, bytes));
    }
    convert_pages(l->kv, k, v, to_host);
    if (!to_host) {
        ICD_TRY(icd_device_upload(ctx, d->gpu.device, l->page_k, k, bytes));
        ICD_TRY(icd_device_upload(ctx, d->gpu.device, l->page_v, v, bytes));
        ICD_TRY(icd_device_upload(ctx, d->gpu.device, l->live, l->kv->alive,
                                  l->kv->pages * l->kv->shape.page));
    }
done:
    icd_i_free(ctx, k);
    icd_i_free(ctx, v);
    return status;
}

/* What was thinned or permuted outside goes back to the GPU. */
static icd_status take_caches(icd_ctx *ctx, decoder *d)
{
    icd_status status = d->broken;
    if (status != ICD_OK)
        return icd_i_fail(ctx, status, "KV cache", NULL, "it could not be read back");
    for (int64_t n = 0; d->shown && status == ICD_OK && n < d->config->layers; n++)
        status = exchange(ctx, d, &d->layer[n], false);
    if (status == ICD_OK) d->shown = false;
    return status;
}

static void pop_all(decoder *d, int64_t batch)
{
    for (int64_t n = 0; n < d->config->layers; n++)
        for (int64_t s = 0; s < batch; s++)
            if (d->layer[n].kv->sequence[s].next > d->next[s])
                icd_i_kv_pop(d->layer[n].kv, s);
}

/* Places for one token of every sequence, and the tables, for all layers. */
static icd_status append(icd_ctx *ctx, icd_runner *r, decoder *d, int64_t batch)
{
    int64_t room = r->capacity.batch;
    for (int64_t n = 0; n < d->config->layers; n++) {
        icd_kv *kv = d->layer[n].kv;
        int32_t *slot = d->host + n * paged_values(r, d), *pages = slot + room,
                *table = pages + room;
        for (int64_t s = 0; s < batch; s++) {
            icd_i_kv_append(kv, s, d->zeros, d->zeros);
            const icd_kv_sequence *q = &kv->sequence[s];
            int32_t page = q->page[q->pages - 1];
            slot[s] = (int32_t)(page * kv->shape.page) + kv->used[page] - 1;
            pages[s] = (int32_t)q->pages;
            for (int64_t i = 0; i < q->pages; i++) table[s * d->width + i] = q->page[i];
        }
    }
    return icd_device_upload(ctx, d->gpu.device, d->paged, d->host,
                             d->config->layers * paged_values(r, d) * 4);
}

static icd_status record(icd_ctx *ctx, icd_runner *r, const pass *p)
{
    icd_status status = ICD_OK, ended = ICD_OK;
    decoder *d = r->state;
    if (d->single[0].tokens != p->batch)
        ICD_TRY(icd_i_gpu_prepare(ctx, &d->gpu, d->single, r->linears, p->batch));
    if (d->graph && d->graph_batch == p->batch &&
        d->graph_room == icd_i_gpu_room(&d->gpu))
        return ICD_OK;
    icd_device_graph_free(ctx, d->graph);
    d->graph = NULL;
    ICD_TRY(icd_device_record(ctx, d->gpu.device));
    status = run_layers(ctx, r, p);
    ended =
        icd_device_record_end(ctx, d->gpu.device, status == ICD_OK ? &d->graph : NULL);
    if (status == ICD_OK) status = ended;
    d->graph_batch = p->batch;
    d->graph_room = icd_i_gpu_room(&d->gpu);
done:
    return status;
}

static icd_status decode(icd_ctx *ctx, icd_runner *r, const int32_t *ids, int64_t batch,
                         bool keep, icd_output *out)
{
    icd_status status = ICD_OK;
    decoder *d = r->state;
    pass p = {d->single, batch, 1, false};
    for (int64_t s = 0; s < batch; s++)
        d->next[s] = (int32_t)d->layer[0].kv->sequence[s].next;
    if (keep) d->prepared = 0;
    ICD_TRY(take_caches(ctx, d));
    ICD_TRY(record(ctx, r, &p));
    ICD_TRY(append(ctx, r, d, batch));
    ICD_TRY(icd_device_upload(ctx, d->gpu.device, d->ids, ids, batch * 4));
    ICD_TRY(icd_device_upload(ctx, d->gpu.device, d->position, d->next, batch * 4));
    ICD_TRY(icd_device_replay(ctx, d->gpu.device, d->graph));
    ICD_TRY(fetch(ctx, d, &p, out));
done:
    if (status != ICD_OK || !keep) pop_all(d, batch);
    return status;
}

/* The state of all tokens but the last, and the last ones' ids. */
static icd_status prepare(icd_ctx *ctx, icd_runner *r, const icd_batch *batch)
{
    decoder *d = r->state;
    icd_output out;
    uint64_t hash = icd_i_prompt_hash(batch);
    if (hash == d->prepared) return ICD_OK;
    icd_i_prompt_cut(batch, d->next, d->last);
    icd_status status = prefill(ctx, r, batch, d->next, &out);
    if (status == ICD_OK) d->prepared = hash;
    return status;
}

static icd_status decoder_step(icd_ctx *ctx, icd_runner *r, const icd_batch *batch,
                               icd_output *out)
{
    decoder *d = r->state;
    icd_status status = icd_i_gpu_check_observers(ctx, r);
    if (status != ICD_OK) return status;
    if (r->opts.phase == ICD_PHASE_PREFILL)
        return prefill(ctx, r, batch, batch->lengths, out);
    status = prepare(ctx, r, batch);
    if (status != ICD_OK) return status;
    return decode(ctx, r, d->last, batch->batch, false, out);
}

static icd_status decoder_decode(icd_ctx *ctx, icd_runner *r, const int32_t *ids,
                                 bool keep, icd_output *out)
{
    decoder *d = r->state;
    icd_batch next = {.ids = ids, .batch = d->batch, .seq = 1};
    icd_status status = icd_i_check_tokens(ctx, r, &next);
    for (int64_t s = 0; status == ICD_OK && s < d->batch; s++)
        if (d->layer[0].kv->sequence[s].next >= r->capacity.seq)
            status = icd_i_fail(ctx, ICD_EINVAL, "input",
                                "make the runner for longer sequences",
                                "sequence %lld has %lld tokens, the runner holds no more",
                                (long long)s, (long long)r->capacity.seq);
    return status == ICD_OK ? decode(ctx, r, ids, d->batch, keep, out) : status;
}

/* On the CPU, from the rows that came back. */
static icd_status decoder_logits(icd_ctx *ctx, icd_runner *r, int64_t first,
                                 int64_t count, float *out)
{
    const decoder *d = r->state;
    return icd_i_vocabulary_logits(ctx, r, d->rows + first * d->config->hidden, d->head,
                                   count, out);
}

/* The first time after a step all caches come back from the GPU. */
static icd_kv **decoder_kv(icd_runner *r, int64_t n)
{
    decoder *d = r->state;
    if (!d->shown) d->broken = ICD_OK;
    for (int64_t i = 0; !d->shown && d->broken == ICD_OK && i < d->config->layers; i++)
        d->broken = exchange(r->ctx, d, &d->layer[i], true);
    d->shown = true;
    return &d->layer[n].kv;
}

static icd_status decoder_linears(icd_ctx *ctx, const icd_model *model, icd_linear **list,
                                  int64_t *count)
{
    return icd_i_engine_decoder.linears(ctx, model, list, count);
}

const icd_engine icd_i_engine_decoder_cuda = {.arch = "decoder",
                                              .device = ICD_RUN_CUDA,
                                              .linears = decoder_linears,
                                              .start = decoder_start,
                                              .check = icd_i_check_tokens,
                                              .step = decoder_step,
                                              .stop = decoder_stop,
                                              .outputs = icd_i_vocabulary,
                                              .logits = decoder_logits,
                                              .decode = decoder_decode,
                                              .kv = decoder_kv};
