/* The layers of a decoder on a GPU. */
#include "runner/cuda/decoder.h"

#include <math.h>
#include <string.h>

/* x += y, and the norm of it: staged for `next`, or as the result. */
static icd_status norm(icd_ctx *ctx, icd_gpu_decoder *d, const icd_gpu_pass *p,
                       icd_dptr y, icd_dptr gain, const icd_gpu_linear *next)
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
static icd_dptr paged_at(const icd_runner *r, const icd_gpu_decoder *d, int64_t n,
                         int64_t value)
{
    return icd_dptr_add(d->paged, (n * icd_i_gpu_decoder_paged(r, d) + value) * 4);
}

static icd_status turn(icd_ctx *ctx, icd_runner *r, const icd_gpu_pass *p, int64_t n)
{
    icd_gpu_decoder *d = r->state;
    const icd_model_config *c = d->config;
    icd_gpu_rope rope = {.q = d->q,
                         .k = d->k,
                         .v = d->v,
                         .cosine = d->cosine,
                         .sine = d->sine,
                         .position = d->position,
                         .slot = p->prefill ? d->slots : paged_at(r, d, n, 0),
                         .page_k = d->caches.layer[n].page_k,
                         .page_v = d->caches.layer[n].page_v,
                         .live = p->prefill ? (icd_dptr){0} : d->caches.layer[n].live,
                         .mass = d->caches.layer[n].mass,
                         .ldq = icd_i_gpu_heads_width(c),
                         .ldk = icd_i_gpu_kv_width(c),
                         .ldv = icd_i_gpu_kv_width(c),
                         .tokens = (int32_t)(p->batch * p->seq),
                         .heads = (int32_t)c->heads,
                         .kv_heads = (int32_t)c->kv_heads,
                         .dim = (int32_t)c->head_dim,
                         .size = (int32_t)r->opts.page};
    return icd_i_gpu_run(ctx, &d->gpu, ICD_RUN_ROPE, rope.tokens, ICD_GPU_ROWS, &rope);
}

static icd_status attend_sequences(icd_ctx *ctx, icd_gpu_decoder *d,
                                   const icd_gpu_pass *p)
{
    const icd_model_config *c = d->config;
    icd_gpu_attention a = {.q = d->q,
                           .k = d->k,
                           .v = d->v,
                           .y = d->context,
                           .lengths = d->lengths,
                           .peak = p->mass ? d->peak : (icd_dptr){0},
                           .ldq = icd_i_gpu_heads_width(c),
                           .ldk = icd_i_gpu_kv_width(c),
                           .ldv = icd_i_gpu_kv_width(c),
                           .ldy = icd_i_gpu_heads_width(c),
                           .batch = (int32_t)p->batch,
                           .seq = (int32_t)p->seq,
                           .heads = (int32_t)c->heads,
                           .kv_heads = (int32_t)c->kv_heads,
                           .dim = (int32_t)c->head_dim,
                           .causal = 1,
                           .scale = 1 / sqrtf((float)c->head_dim)};
    return icd_i_gpu_attend(ctx, &d->gpu, &a);
}

static icd_status attend_pages(icd_ctx *ctx, icd_runner *r, const icd_gpu_pass *p,
                               int64_t n)
{
    icd_gpu_decoder *d = r->state;
    const icd_model_config *c = d->config;
    icd_gpu_paged a = {.q = d->q,
                       .y = d->context,
                       .page_k = d->caches.layer[n].page_k,
                       .page_v = d->caches.layer[n].page_v,
                       .table = paged_at(r, d, n, 2 * r->capacity.batch),
                       .pages = paged_at(r, d, n, r->capacity.batch),
                       .live = d->caches.layer[n].live,
                       .share = p->mass ? d->share : (icd_dptr){0},
                       .ldq = icd_i_gpu_heads_width(c),
                       .ldy = icd_i_gpu_heads_width(c),
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

/* The masses of a prompt's tokens. */
static icd_status weigh_sequences(icd_ctx *ctx, icd_gpu_decoder *d, const icd_gpu_pass *p,
                                  int64_t n)
{
    const icd_model_config *c = d->config;
    icd_gpu_attention_mass m = {.q = d->q,
                                .k = d->k,
                                .peak = d->peak,
                                .lengths = d->lengths,
                                .slot = d->slots,
                                .mass = d->caches.layer[n].mass,
                                .ldq = icd_i_gpu_heads_width(c),
                                .ldk = icd_i_gpu_kv_width(c),
                                .batch = (int32_t)p->batch,
                                .seq = (int32_t)p->seq,
                                .heads = (int32_t)c->heads,
                                .kv_heads = (int32_t)c->kv_heads,
                                .dim = (int32_t)c->head_dim,
                                .scale = 1 / sqrtf((float)c->head_dim)};
    int64_t tiles = (p->seq + ICD_GPU_KEYS - 1) / ICD_GPU_KEYS;
    return icd_i_gpu_run(ctx, &d->gpu, ICD_RUN_ATTENTION_MASS, p->batch * tiles, 128, &m);
}

/* What one more token's query adds to them. */
static icd_status weigh_pages(icd_ctx *ctx, icd_runner *r, const icd_gpu_pass *p,
                              int64_t n)
{
    icd_gpu_decoder *d = r->state;
    icd_gpu_paged_mass m = {.share = d->share,
                            .table = paged_at(r, d, n, 2 * r->capacity.batch),
                            .pages = paged_at(r, d, n, r->capacity.batch),
                            .live = d->caches.layer[n].live,
                            .mass = d->caches.layer[n].mass,
                            .batch = (int32_t)p->batch,
                            .heads = (int32_t)d->config->heads,
                            .size = (int32_t)r->opts.page,
                            .width = (int32_t)d->width};
    return icd_i_gpu_run(ctx, &d->gpu, ICD_RUN_PAGED_MASS, p->batch, ICD_GPU_ROWS, &m);
}

static int32_t gate_op(const icd_model_config *c)
{
    if (!strcmp(c->act, "gelu")) return ICD_GPU_MUL_GELU;
    return strcmp(c->act, "relu") ? ICD_GPU_MUL_SILU : ICD_GPU_MUL_RELU;
}

static icd_status mlp(icd_ctx *ctx, icd_gpu_decoder *d, const icd_gpu_pass *p,
                      const icd_gpu_linear *l)
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
static icd_status place_tokens(icd_ctx *ctx, icd_runner *r, const icd_gpu_pass *p,
                               int64_t n)
{
    icd_status status = ICD_OK;
    icd_gpu_decoder *d = r->state;
    icd_kv *kv = d->caches.layer[n].kv;
    for (int64_t s = 0; s < p->batch; s++) {
        int64_t live = kv->sequence[s].live;
        icd_i_kv_list(kv, s, d->caches.list);
        for (int64_t t = 0; t < p->seq; t++)
            d->host[s * p->seq + t] =
                t < live ? (int32_t)icd_i_kv_at(kv, d->caches.list[t]) : -1;
    }
    ICD_TRY(
        icd_device_upload(ctx, d->gpu.device, d->slots, d->host, p->batch * p->seq * 4));
    ICD_TRY(icd_device_upload(ctx, d->gpu.device, d->caches.layer[n].live, kv->alive,
                              kv->pages * kv->shape.page));
done:
    return status;
}

static icd_status attention(icd_ctx *ctx, icd_runner *r, const icd_gpu_pass *p, int64_t n)
{
    icd_status status = ICD_OK;
    icd_gpu_decoder *d = r->state;
    const icd_gpu_linear *l = p->linear + n * PER_LAYER;
    ICD_TRY(icd_i_gpu_multiply(ctx, &d->gpu, l + Q, &d->stage, d->q));
    ICD_TRY(icd_i_gpu_multiply(ctx, &d->gpu, l + K, &d->stage, d->k));
    ICD_TRY(icd_i_gpu_multiply(ctx, &d->gpu, l + V, &d->stage, d->v));
    if (p->prefill) ICD_TRY(place_tokens(ctx, r, p, n));
    ICD_TRY(turn(ctx, r, p, n));
    ICD_TRY(p->prefill ? attend_sequences(ctx, d, p) : attend_pages(ctx, r, p, n));
    if (p->mass)
        ICD_TRY(p->prefill ? weigh_sequences(ctx, d, p, n) : weigh_pages(ctx, r, p, n));
    ICD_TRY(icd_i_gpu_apply(ctx, &d->gpu, l + OUT, d->context,
                            icd_i_gpu_heads_width(d->config), ICD_GPU_COPY, &d->stage,
                            d->y));
done:
    return status;
}

icd_status icd_i_gpu_decoder_layers(icd_ctx *ctx, icd_runner *r, const icd_gpu_pass *p)
{
    icd_status status = ICD_OK;
    icd_gpu_decoder *d = r->state;
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
