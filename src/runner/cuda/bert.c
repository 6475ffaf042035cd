/* BERT on a GPU: embeddings and encoder layers, one graph a shape of batch. The pooler
 * and heads run on the CPU, from the hidden states that come back. */
#include "runner/cuda/layer.h"

#include "runner/bert_head.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PER_LAYER = 6, Q = 0, K, V, OUT, UP, DOWN };

typedef struct norm {
    icd_dptr gain, bias;
} norm;

typedef struct layer {
    norm attention, output;
} layer;

typedef struct bert {
    const icd_model_config *config;
    icd_gpu gpu;
    icd_gpu_linear *linear;
    icd_gpu_stage stage;
    icd_dptr word, position, type;
    norm embedding;
    layer *layer;
    icd_dptr ids, lengths;               /* of the batch */
    icd_dptr x;                          /* f32 stream */
    icd_dptr q, k, v, context, y, inner; /* bf16 */
    icd_device_graph *graph;
    int64_t width;      /* of a row of `inner` */
    int64_t batch, seq; /* what the graph was recorded for; 0: nothing yet */
    icd_bert_end end;
    int32_t *host_lengths;
    float *rows; /* host: as computed */
} bert;

static icd_status put_tensor(icd_ctx *ctx, icd_runner *r, const char *name, icd_dptr *out)
{
    bert *b = r->state;
    const float *host = NULL;
    icd_status status = icd_i_runner_tensor(ctx, r, name, &host);
    if (status != ICD_OK) return status;
    const icd_tensor *t = icd_model_tensor(r->model, name);
    return ICD_GPU_PUT(ctx, &b->gpu, host, t->count, name, out);
}

static icd_status put_norm(icd_ctx *ctx, icd_runner *r, const char *prefix, norm *out)
{
    char name[160];
    snprintf(name, sizeof name, "%s.weight", prefix);
    icd_status status = put_tensor(ctx, r, name, &out->gain);
    snprintf(name, sizeof name, "%s.bias", prefix);
    return status == ICD_OK ? put_tensor(ctx, r, name, &out->bias) : status;
}

static icd_status put_layer(icd_ctx *ctx, icd_runner *r, int64_t n, layer *out)
{
    char prefix[96];
    snprintf(prefix, sizeof prefix, "encoder.layer.%d.attention.output.LayerNorm",
             (int)n);
    icd_status status = put_norm(ctx, r, prefix, &out->attention);
    snprintf(prefix, sizeof prefix, "encoder.layer.%d.output.LayerNorm", (int)n);
    return status == ICD_OK ? put_norm(ctx, r, prefix, &out->output) : status;
}

static icd_status load_tensors(icd_ctx *ctx, icd_runner *r, bert *b)
{
    icd_status status = ICD_OK;
    ICD_TRY(put_tensor(ctx, r, "embeddings.word_embeddings.weight", &b->word));
    ICD_TRY(put_tensor(ctx, r, "embeddings.position_embeddings.weight", &b->position));
    ICD_TRY(put_tensor(ctx, r, "embeddings.token_type_embeddings.weight", &b->type));
    ICD_TRY(put_norm(ctx, r, "embeddings.LayerNorm", &b->embedding));
    ICD_TRY(ICD_ALLOC(ctx, b->config->layers, &b->layer));
    for (int64_t n = 0; n < b->config->layers; n++)
        ICD_TRY(put_layer(ctx, r, n, &b->layer[n]));
    ICD_TRY(icd_i_bert_end_load(ctx, r, &b->end));
done:
    return status;
}

/* The activation function is applied where a product is stored, and there the rows are
 * put into the local order of the product that reads them. */
static icd_status join_feed_forward(icd_ctx *ctx, bert *b)
{
    icd_status status = ICD_OK;
    int32_t act = strcmp(b->config->act, "relu") ? ICD_GPU_GELU : ICD_GPU_RELU;
    b->width = b->config->inner;
    for (int64_t n = 0; status == ICD_OK && n < b->config->layers; n++) {
        icd_gpu_linear *l = b->linear + n * PER_LAYER;
        l[UP].act = act;
        status = icd_i_gpu_chain(ctx, &b->gpu, l + UP, l + DOWN);
        if (l[UP].width > b->width) b->width = l[UP].width;
    }
    return status;
}

static icd_status allocate_device(icd_ctx *ctx, icd_runner *r, bert *b)
{
    icd_status status = ICD_OK;
    int64_t tokens = r->capacity.batch * r->capacity.seq, h = b->config->hidden;
    const struct {
        icd_dptr *at;
        int64_t bytes;
    } buffer[] = {{&b->ids, tokens * 4},
                  {&b->lengths, r->capacity.batch * 4},
                  {&b->x, tokens * h * 4},
                  {&b->q, tokens * h * 2},
                  {&b->k, tokens * h * 2},
                  {&b->v, tokens * h * 2},
                  {&b->y, tokens * h * 2},
                  {&b->context, tokens * h * 2},
                  {&b->inner, tokens * b->width * 2}};
    for (size_t i = 0; i < sizeof buffer / sizeof buffer[0]; i++)
        ICD_TRY(icd_device_alloc(ctx, b->gpu.device, buffer[i].bytes, "activations",
                                 buffer[i].at));
    ICD_TRY(icd_i_gpu_stage_new(ctx, &b->gpu, b->linear, r->linears, tokens, &b->stage));
    /* slots without a channel are never written, but read: 0 * NaN would not be 0 */
    ICD_TRY(icd_device_fill(ctx, b->gpu.device, b->inner, 0, tokens * b->width * 2));
done:
    return status;
}

static icd_status allocate_host(icd_ctx *ctx, icd_runner *r, bert *b)
{
    icd_status status = ICD_OK;
    int64_t tokens = r->capacity.batch * r->capacity.seq, h = b->config->hidden;
    ICD_TRY(ICD_ALLOC(ctx, r->capacity.batch, &b->host_lengths));
    ICD_TRY(ICD_ALLOC(ctx, tokens * h, &b->rows));
done:
    return status;
}

static icd_status check_shape(icd_ctx *ctx, const icd_runner *r,
                              const icd_model_config *c)
{
    if (c->hidden / c->heads > ICD_GPU_HEAD)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, icd_model_name(r->model), NULL,
                          "found heads of %lld values, a GPU takes at most %d",
                          (long long)(c->hidden / c->heads), ICD_GPU_HEAD);
    return icd_i_check_positions(ctx, r);
}

static icd_status bert_start(icd_ctx *ctx, icd_runner *r)
{
    icd_status status = ICD_OK;
    bert *b = NULL;
    const icd_model_config *c = icd_model_get_config(r->model);
    ICD_TRY(check_shape(ctx, r, c));
    ICD_TRY(ICD_ALLOC(ctx, 1, &b));
    r->state = b;
    b->config = c;
    ICD_TRY(icd_i_gpu_open(ctx, &r->opts, c->inner > c->hidden ? c->inner : c->hidden,
                           &b->gpu));
    ICD_TRY(load_tensors(ctx, r, b));
    ICD_TRY(icd_i_gpu_linears_new(ctx, &b->gpu, r, r->layout, &b->linear));
    ICD_TRY(join_feed_forward(ctx, b));
    ICD_TRY(allocate_device(ctx, r, b));
    ICD_TRY(allocate_host(ctx, r, b));
done:
    return status;
}

static void bert_stop(icd_ctx *ctx, icd_runner *r)
{
    bert *b = r->state;
    icd_device_graph_free(ctx, b->graph);
    icd_i_gpu_linears_free(ctx, r, b->linear);
    icd_i_gpu_close(ctx, &b->gpu);
    icd_i_bert_end_release(ctx, &b->end);
    icd_i_free(ctx, b->layer);
    icd_i_free(ctx, b->host_lengths);
    icd_i_free(ctx, b->rows);
    icd_i_free(ctx, b);
}

/* x = norm(x + y), staged for `next`. */
static icd_status add_norm(icd_ctx *ctx, bert *b, icd_dptr y, const norm *by,
                           const icd_gpu_linear *next)
{
    icd_gpu_rows pass = {.y = y,
                         .x = b->x,
                         .gain = by->gain,
                         .bias = by->bias,
                         .ldy = b->config->hidden,
                         .tokens = (int32_t)(b->batch * b->seq),
                         .n = (int32_t)b->config->hidden,
                         .op = ICD_GPU_LAYER_NORM,
                         .eps = (float)b->config->norm_eps};
    return icd_i_gpu_rows_to(ctx, &b->gpu, pass, next, &b->stage);
}

static icd_status embed(icd_ctx *ctx, bert *b, const icd_gpu_linear *next)
{
    icd_gpu_embed p = {.ids = b->ids,
                       .word = b->word,
                       .type = b->type,
                       .position = b->position,
                       .x = b->x,
                       .tokens = (int32_t)(b->batch * b->seq),
                       .seq = (int32_t)b->seq,
                       .n = (int32_t)b->config->hidden};
    icd_status status =
        icd_i_gpu_run(ctx, &b->gpu, ICD_RUN_EMBED, p.tokens, ICD_GPU_ROWS, &p);
    if (status != ICD_OK) return status;
    return add_norm(ctx, b, (icd_dptr){0}, &b->embedding, next);
}

static icd_status attention(icd_ctx *ctx, bert *b, const icd_gpu_linear *l)
{
    icd_status status = ICD_OK;
    int64_t h = b->config->hidden, heads = b->config->heads;
    icd_gpu_attention p = {.q = b->q,
                           .k = b->k,
                           .v = b->v,
                           .y = b->context,
                           .lengths = b->lengths,
                           .ldq = h,
                           .ldk = h,
                           .ldv = h,
                           .ldy = h,
                           .batch = (int32_t)b->batch,
                           .seq = (int32_t)b->seq,
                           .heads = (int32_t)heads,
                           .kv_heads = (int32_t)heads,
                           .dim = (int32_t)(h / heads),
                           .scale = 1 / sqrtf((float)(h / heads))};
    ICD_TRY(icd_i_gpu_multiply(ctx, &b->gpu, l + Q, &b->stage, b->q));
    ICD_TRY(icd_i_gpu_multiply(ctx, &b->gpu, l + K, &b->stage, b->k));
    ICD_TRY(icd_i_gpu_multiply(ctx, &b->gpu, l + V, &b->stage, b->v));
    ICD_TRY(icd_i_gpu_attend(ctx, &b->gpu, &p));
done:
    return status;
}

static icd_status run_layer(icd_ctx *ctx, bert *b, int64_t n, const icd_gpu_linear *next)
{
    icd_status status = ICD_OK;
    const icd_gpu_linear *l = b->linear + n * PER_LAYER;
    const icd_model_config *c = b->config;
    ICD_TRY(attention(ctx, b, l));
    ICD_TRY(icd_i_gpu_apply(ctx, &b->gpu, l + OUT, b->context, c->hidden, ICD_GPU_COPY,
                            &b->stage, b->y));
    ICD_TRY(add_norm(ctx, b, b->y, &b->layer[n].attention, l + UP));
    ICD_TRY(icd_i_gpu_product(ctx, &b->gpu, l + UP, b->stage.rows, b->stage.scale,
                              b->inner, l[UP].width));
    ICD_TRY(icd_i_gpu_apply(ctx, &b->gpu, l + DOWN, b->inner, l[UP].width, ICD_GPU_COPY,
                            &b->stage, b->y));
    ICD_TRY(add_norm(ctx, b, b->y, &b->layer[n].output, next));
done:
    return status;
}

static icd_status launch_all(icd_ctx *ctx, bert *b)
{
    int64_t layers = b->config->layers;
    icd_status status = embed(ctx, b, layers ? b->linear : NULL);
    for (int64_t n = 0; status == ICD_OK && n < layers; n++)
        status =
            run_layer(ctx, b, n, n + 1 < layers ? b->linear + (n + 1) * PER_LAYER : NULL);
    return status;
}

/* Schedules and a graph for this shape of batch, if the last one had another. */
static icd_status record(icd_ctx *ctx, icd_runner *r, bert *b, const icd_batch *batch)
{
    icd_status status = ICD_OK, ended = ICD_OK;
    if (b->batch == batch->batch && b->seq == batch->seq) return ICD_OK;
    b->batch = b->seq = 0;
    icd_device_graph_free(ctx, b->graph);
    b->graph = NULL;
    ICD_TRY(icd_i_gpu_prepare(ctx, &b->gpu, b->linear, r->linears,
                              batch->batch * batch->seq));
    ICD_TRY(icd_device_record(ctx, b->gpu.device));
    b->batch = batch->batch;
    b->seq = batch->seq;
    status = launch_all(ctx, b);
    ended =
        icd_device_record_end(ctx, b->gpu.device, status == ICD_OK ? &b->graph : NULL);
    if (status == ICD_OK) status = ended;
done:
    if (status != ICD_OK) b->batch = b->seq = 0;
    return status;
}

static icd_status upload_batch(icd_ctx *ctx, bert *b, const icd_batch *batch)
{
    icd_status status = ICD_OK;
    for (int64_t s = 0; s < batch->batch; s++)
        b->host_lengths[s] = batch->lengths ? batch->lengths[s] : (int32_t)batch->seq;
    ICD_TRY(icd_device_upload(ctx, b->gpu.device, b->lengths, b->host_lengths,
                              batch->batch * 4));
    ICD_TRY(icd_device_upload(ctx, b->gpu.device, b->ids, batch->ids,
                              batch->batch * batch->seq * 4));
done:
    return status;
}

static icd_status bert_step(icd_ctx *ctx, icd_runner *r, const icd_batch *batch,
                            icd_output *out)
{
    icd_status status = ICD_OK;
    bert *b = r->state;
    int64_t tokens = batch->batch * batch->seq, h = b->config->hidden;
    ICD_TRY(icd_i_gpu_check_observers(ctx, r));
    ICD_TRY(record(ctx, r, b, batch));
    ICD_TRY(upload_batch(ctx, b, batch));
    ICD_TRY(icd_device_replay(ctx, b->gpu.device, b->graph));
    ICD_TRY(icd_device_download(ctx, b->gpu.device, b->rows, b->x, tokens * h * 4));
    icd_i_bert_end_write(r, &b->end, b->rows, batch, out);
done:
    return status;
}

static int64_t bert_outputs(const icd_runner *r)
{
    return ((const bert *)r->state)->end.head.outputs;
}

static icd_status bert_logits(icd_ctx *ctx, icd_runner *r, int64_t first, int64_t count,
                              float *out)
{
    const bert *b = r->state;
    return icd_i_bert_end_logits(ctx, r, &b->end, first, count, out);
}

static icd_status bert_linears(icd_ctx *ctx, const icd_model *model, icd_linear **list,
                               int64_t *count)
{
    return icd_i_engine_bert.linears(ctx, model, list, count);
}

const icd_engine icd_i_engine_bert_cuda = {.arch = "bert",
                                           .device = ICD_RUN_CUDA,
                                           .linears = bert_linears,
                                           .start = bert_start,
                                           .check = icd_i_check_tokens,
                                           .step = bert_step,
                                           .stop = bert_stop,
                                           .outputs = bert_outputs,
                                           .logits = bert_logits};
