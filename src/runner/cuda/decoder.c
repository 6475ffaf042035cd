/* Llama-style decoders on a GPU. Decoding one token is one graph. */
#include "runner/cuda/decoder.h"
#include "runner/generate.h"

#include <stdio.h>
#include <string.h>

static icd_status put_tensor(icd_ctx *ctx, icd_runner *r, const char *name, icd_dptr *out)
{
    icd_gpu_decoder *d = r->state;
    const float *host = NULL;
    icd_status status = icd_i_runner_tensor(ctx, r, name, &host);
    if (status != ICD_OK) return status;
    return ICD_GPU_PUT(ctx, &d->gpu, host, icd_model_tensor(r->model, name)->count, name,
                       out);
}

static icd_status load_layer(icd_ctx *ctx, icd_runner *r, int64_t n,
                             icd_gpu_decoder_layer *out)
{
    char name[96];
    snprintf(name, sizeof name, "model.layers.%d.input_layernorm.weight", (int)n);
    icd_status status = put_tensor(ctx, r, name, &out->attention);
    snprintf(name, sizeof name, "model.layers.%d.post_attention_layernorm.weight",
             (int)n);
    return status == ICD_OK ? put_tensor(ctx, r, name, &out->mlp) : status;
}

static icd_status load_tensors(icd_ctx *ctx, icd_runner *r, icd_gpu_decoder *d)
{
    icd_status status = ICD_OK;
    const char *embedding = "model.embed_tokens.weight";
    d->order = icd_i_residual_order(r);
    ICD_TRY(put_tensor(ctx, r, embedding, &d->embedding));
    ICD_TRY(put_tensor(ctx, r, "model.norm.weight", &d->norm));
    ICD_TRY(icd_i_runner_tensor(ctx, r, d->config->tied ? embedding : "lm_head.weight",
                                &d->head));
    for (int64_t n = 0; n < d->config->layers; n++)
        ICD_TRY(load_layer(ctx, r, n, &d->layer[n]));
done:
    return status;
}

static icd_status put_angles(icd_ctx *ctx, icd_gpu_decoder *d, int64_t positions)
{
    icd_status status = ICD_OK;
    float *cosine = NULL, *sine = NULL;
    int64_t count = positions * d->config->head_dim / 2;
    ICD_TRY(icd_i_decoder_angles(ctx, d->config, positions, &cosine, &sine));
    ICD_TRY(ICD_GPU_PUT(ctx, &d->gpu, cosine, count, "angles", &d->cosine));
    ICD_TRY(ICD_GPU_PUT(ctx, &d->gpu, sine, count, "angles", &d->sine));
done:
    icd_i_free(ctx, cosine);
    icd_i_free(ctx, sine);
    return status;
}

static icd_status make_caches(icd_ctx *ctx, icd_runner *r, icd_gpu_decoder *d)
{
    icd_kv_shape shape = {.heads = d->config->kv_heads,
                          .dim = d->config->head_dim,
                          .page = r->opts.page,
                          .sequences = r->capacity.batch,
                          .tokens = r->capacity.seq};
    return icd_i_gpu_caches_new(ctx, &d->gpu, &shape, d->config->layers, &d->caches);
}

static icd_status allocate_device(icd_ctx *ctx, icd_runner *r, icd_gpu_decoder *d)
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
                  {&d->paged, c->layers * icd_i_gpu_decoder_paged(r, d) * 4},
                  {&d->x, tokens * c->hidden * 4},
                  {&d->n, tokens * c->hidden * 4},
                  {&d->y, tokens * c->hidden * 2},
                  {&d->q, tokens * icd_i_gpu_heads_width(c) * 2},
                  {&d->context, tokens * icd_i_gpu_heads_width(c) * 2},
                  {&d->k, tokens * icd_i_gpu_kv_width(c) * 2},
                  {&d->v, tokens * icd_i_gpu_kv_width(c) * 2},
                  {&d->gate, tokens * c->inner * 2},
                  {&d->up, tokens * c->inner * 2}};
    for (size_t i = 0; i < sizeof buffer / sizeof buffer[0]; i++)
        ICD_TRY(icd_device_alloc(ctx, d->gpu.device, buffer[i].bytes, "activations",
                                 buffer[i].at));
    ICD_TRY(make_caches(ctx, r, d));
    ICD_TRY(icd_i_gpu_stage_new(ctx, &d->gpu, d->linear, r->linears, tokens, &d->stage));
done:
    return status;
}

static icd_status allocate_host(icd_ctx *ctx, icd_runner *r, icd_gpu_decoder *d)
{
    icd_status status = ICD_OK;
    int64_t batch = r->capacity.batch, tokens = batch * r->capacity.seq,
            paged = d->config->layers * icd_i_gpu_decoder_paged(r, d);
    ICD_TRY(ICD_ALLOC(ctx, paged > 2 * tokens ? paged : 2 * tokens, &d->host));
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
    if (!c->gated || !c->rotary || c->layer_norm)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, icd_model_name(r->model),
                          "run it with runner.device: cpu",
                          "a GPU runs decoders of Llama's kind, not of GPT-2's");
    if (c->head_dim > ICD_GPU_HEAD)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, icd_model_name(r->model), NULL,
                          "found heads of %lld values, a GPU takes at most %d",
                          (long long)c->head_dim, ICD_GPU_HEAD);
    return icd_i_check_positions(ctx, r);
}

/* The linears once more, for another number of tokens; weights are shared. */
static icd_status copy_linears(icd_ctx *ctx, const icd_runner *r, icd_gpu_decoder *d)
{
    icd_status status = ICD_ALLOC(ctx, r->linears, &d->single);
    for (int64_t i = 0; status == ICD_OK && i < r->linears; i++)
        d->single[i] = d->linear[i];
    return status;
}

static icd_status decoder_start(icd_ctx *ctx, icd_runner *r)
{
    icd_status status = ICD_OK;
    icd_gpu_decoder *d = NULL;
    const icd_model_config *c = icd_model_get_config(r->model);
    int64_t widest = c->inner > c->hidden ? c->inner : c->hidden;
    ICD_TRY(check_shape(ctx, r, c));
    ICD_TRY(ICD_ALLOC(ctx, 1, &d));
    r->state = d;
    d->config = c;
    d->width = (r->capacity.seq + r->opts.page - 1) / r->opts.page;
    ICD_TRY(ICD_ALLOC(ctx, c->layers, &d->layer));
    ICD_TRY(icd_i_gpu_open(
        ctx, &r->opts,
        widest > icd_i_gpu_heads_width(c) ? widest : icd_i_gpu_heads_width(c), &d->gpu));
    ICD_TRY(load_tensors(ctx, r, d));
    ICD_TRY(put_angles(ctx, d, r->capacity.seq));
    ICD_TRY(icd_i_gpu_linears_new(ctx, &d->gpu, r, r->layout, &d->linear));
    ICD_TRY(copy_linears(ctx, r, d));
    ICD_TRY(allocate_device(ctx, r, d));
    ICD_TRY(allocate_host(ctx, r, d));
done:
    return status;
}

static void decoder_stop(icd_ctx *ctx, icd_runner *r)
{
    icd_gpu_decoder *d = r->state;
    void *const buffer[] = {d->single, d->host, d->rows, d->hidden, d->last, d->next};
    icd_device_graph_free(ctx, d->graph);
    icd_i_gpu_linears_free(ctx, r, d->linear);
    icd_i_gpu_close(ctx, &d->gpu);
    icd_i_gpu_caches_release(ctx, &d->caches);
    for (size_t i = 0; i < sizeof buffer / sizeof buffer[0]; i++)
        icd_i_free(ctx, buffer[i]);
    icd_i_free(ctx, d->layer);
    icd_i_free(ctx, d);
}

static icd_status fetch(icd_ctx *ctx, icd_gpu_decoder *d, const icd_gpu_pass *p,
                        icd_output *out)
{
    int64_t h = d->config->hidden, tokens = p->batch * p->seq;
    icd_status status =
        icd_device_download(ctx, d->gpu.device, d->rows, d->n, tokens * h * 4);
    if (status != ICD_OK) return status;
    icd_i_undo_order(d->order, d->rows, tokens, h, d->hidden);
    *out = (icd_output){d->hidden, tokens, h, NULL, p->batch};
    return ICD_OK;
}

static int32_t length_of(const icd_batch *b, const int32_t *lengths, int64_t s)
{
    return lengths ? lengths[s] : (int32_t)b->seq;
}

/* The first pass that looks at attention makes room for what it leaves. */
static icd_status make_mass_buffers(icd_ctx *ctx, icd_runner *r, const icd_gpu_pass *p)
{
    icd_status status = ICD_OK;
    icd_gpu_decoder *d = r->state;
    int64_t rows = r->capacity.batch * d->config->heads;
    if (!p->mass || d->share.at) return ICD_OK;
    if (!d->peak.at)
        ICD_TRY(icd_device_alloc(ctx, d->gpu.device, rows * r->capacity.seq * 2 * 4,
                                 "masses of attention", &d->peak));
    ICD_TRY(icd_device_alloc(ctx, d->gpu.device, rows * d->width * r->opts.page * 4,
                             "masses of attention", &d->share));
done:
    return status;
}

static icd_status upload_prompt(icd_ctx *ctx, icd_gpu_decoder *d, const icd_batch *batch,
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
    icd_gpu_decoder *d = r->state;
    icd_gpu_pass p = {d->linear, batch->batch, batch->seq, true, r->mass != NULL};
    d->prepared = 0;
    d->batch = batch->batch;
    icd_i_gpu_caches_start(&d->caches, batch->batch, batch->seq, lengths);
    ICD_TRY(icd_i_gpu_prepare(ctx, &d->gpu, d->linear, r->linears, p.batch * p.seq));
    ICD_TRY(make_mass_buffers(ctx, r, &p));
    ICD_TRY(upload_prompt(ctx, d, batch, lengths));
    ICD_TRY(icd_i_gpu_decoder_layers(ctx, r, &p));
    ICD_TRY(fetch(ctx, d, &p, out));
done:
    return status;
}

static void pop_all(icd_gpu_decoder *d, int64_t batch)
{
    for (int64_t n = 0; n < d->config->layers; n++)
        for (int64_t s = 0; s < batch; s++)
            if (d->caches.layer[n].kv->sequence[s].next > d->next[s])
                icd_i_kv_pop(d->caches.layer[n].kv, s);
}

/* Places for one token of every sequence, and the tables, for all layers. */
static icd_status append(icd_ctx *ctx, icd_runner *r, icd_gpu_decoder *d, int64_t batch)
{
    int64_t room = r->capacity.batch;
    for (int64_t n = 0; n < d->config->layers; n++) {
        icd_kv *kv = d->caches.layer[n].kv;
        int32_t *slot = d->host + n * icd_i_gpu_decoder_paged(r, d), *pages = slot + room,
                *table = pages + room;
        for (int64_t s = 0; s < batch; s++) {
            icd_i_gpu_caches_append(&d->caches, n, s);
            const icd_kv_sequence *q = &kv->sequence[s];
            int32_t page = q->page[q->pages - 1];
            slot[s] = (int32_t)(page * kv->shape.page) + kv->used[page] - 1;
            pages[s] = (int32_t)q->pages;
            for (int64_t i = 0; i < q->pages; i++) table[s * d->width + i] = q->page[i];
        }
    }
    return icd_device_upload(ctx, d->gpu.device, d->paged, d->host,
                             d->config->layers * icd_i_gpu_decoder_paged(r, d) * 4);
}

static icd_status record(icd_ctx *ctx, icd_runner *r, const icd_gpu_pass *p)
{
    icd_status status = ICD_OK, ended = ICD_OK;
    icd_gpu_decoder *d = r->state;
    if (d->single[0].tokens != p->batch)
        ICD_TRY(icd_i_gpu_prepare(ctx, &d->gpu, d->single, r->linears, p->batch));
    if (d->graph && d->graph_batch == p->batch &&
        d->graph_room == icd_i_gpu_room(&d->gpu))
        return ICD_OK;
    icd_device_graph_free(ctx, d->graph);
    d->graph = NULL;
    ICD_TRY(icd_device_record(ctx, d->gpu.device));
    status = icd_i_gpu_decoder_layers(ctx, r, p);
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
    icd_gpu_decoder *d = r->state;
    icd_gpu_pass p = {d->single, batch, 1, false, keep && r->mass};
    for (int64_t s = 0; s < batch; s++)
        d->next[s] = (int32_t)d->caches.layer[0].kv->sequence[s].next;
    if (keep) d->prepared = 0;
    ICD_TRY(icd_i_gpu_caches_take(ctx, &d->caches));
    ICD_TRY(make_mass_buffers(ctx, r, &p));
    ICD_TRY(record(ctx, r, &p));
    ICD_TRY(append(ctx, r, d, batch));
    ICD_TRY(icd_device_upload(ctx, d->gpu.device, d->ids, ids, batch * 4));
    ICD_TRY(icd_device_upload(ctx, d->gpu.device, d->position, d->next, batch * 4));
    ICD_TRY(p.mass ? icd_i_gpu_decoder_layers(ctx, r, &p)
                   : icd_device_replay(ctx, d->gpu.device, d->graph));
    ICD_TRY(fetch(ctx, d, &p, out));
done:
    if (status != ICD_OK || !keep) pop_all(d, batch);
    return status;
}

/* The state of all tokens but the last, and the last ones' ids. */
static icd_status prepare(icd_ctx *ctx, icd_runner *r, const icd_batch *batch)
{
    icd_gpu_decoder *d = r->state;
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
    icd_gpu_decoder *d = r->state;
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
    icd_gpu_decoder *d = r->state;
    icd_batch next = {.ids = ids, .batch = d->batch, .seq = 1};
    icd_status status = icd_i_check_tokens(ctx, r, &next);
    for (int64_t s = 0; status == ICD_OK && s < d->batch; s++)
        if (d->caches.layer[0].kv->sequence[s].next >= r->capacity.seq)
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
    const icd_gpu_decoder *d = r->state;
    return icd_i_vocabulary_logits(ctx, r, d->rows + first * d->config->hidden, d->head,
                                   count, out);
}

static icd_kv **decoder_kv(icd_runner *r, int64_t n)
{
    icd_gpu_decoder *d = r->state;
    return icd_i_gpu_caches_show(r->ctx, &d->caches, n, true);
}

static icd_kv **decoder_places(icd_runner *r, int64_t n)
{
    icd_gpu_decoder *d = r->state;
    return icd_i_gpu_caches_show(r->ctx, &d->caches, n, false);
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
                                              .kv = decoder_kv,
                                              .places = decoder_places};
