/* BERT: embeddings, post-norm encoder layers, pooler. Shapes: x [tokens x hidden], one
 * row a token. */
#include "runner/bert_head.h"
#include "runner/linear.h"

#include "base/threads.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PER_LAYER = 6, Q = 0, K, V, OUT, UP, DOWN };

typedef struct norm {
    const float *gain, *bias;
} norm;

typedef struct layer {
    norm attention, output;
} layer;

typedef struct bert {
    const icd_model_config *config;
    const float *word, *position, *type;
    norm embedding;
    layer *layer;
    icd_bert_end end;
    float *x, *qkv, *context, *inner, *y;
    float *scores; /* workers x seq x seq */
} bert;

/* What a linear of a layer is called, here and in the checkpoint. */
static const struct {
    const char *name, *group, *tensor;
} LINEAR[PER_LAYER] = {
    {"attn.q", "attn.qkv", "attention.self.query"},
    {"attn.k", "attn.qkv", "attention.self.key"},
    {"attn.v", "attn.qkv", "attention.self.value"},
    {"attn.out", "attn.out", "attention.output.dense"},
    {"ffn.up", "ffn.up", "intermediate.dense"},
    {"ffn.down", "ffn.down", "output.dense"},
};

static void fill_linear(const icd_model_config *c, int64_t n, int which, char **text,
                        icd_linear *l)
{
    bool up = which == UP, down = which == DOWN, out = which == OUT;
    l->name = icd_i_linear_text(text, "layer.%d.%s", n, LINEAR[which].name);
    l->group = icd_i_linear_text(text, "layer.%d.%s", n, LINEAR[which].group);
    l->tensor =
        icd_i_linear_text(text, "encoder.layer.%d.%s.weight", n, LINEAR[which].tensor);
    l->in_axis = down  ? icd_i_linear_text(text, "layer.%d.%s", n, "ffn.inner")
                 : out ? ""
                       : "residual";
    l->out_axis = up            ? icd_i_linear_text(text, "layer.%d.%s", n, "ffn.inner")
                  : down || out ? "residual"
                                : "";
    l->rows = up ? c->inner : c->hidden;
    l->cols = down ? c->inner : c->hidden;
}

static icd_status bert_linears(icd_ctx *ctx, const icd_model *model, icd_linear **list,
                               int64_t *count)
{
    return icd_i_linear_list(ctx, model, PER_LAYER, fill_linear, list, count);
}

static icd_status load_norm(icd_ctx *ctx, icd_runner *r, const char *prefix, norm *out)
{
    char name[128];
    snprintf(name, sizeof name, "%s.weight", prefix);
    icd_status status = icd_i_runner_tensor(ctx, r, name, &out->gain);
    snprintf(name, sizeof name, "%s.bias", prefix);
    return status == ICD_OK ? icd_i_runner_tensor(ctx, r, name, &out->bias) : status;
}

static icd_status load_layer(icd_ctx *ctx, icd_runner *r, int64_t n, layer *out)
{
    char prefix[96];
    snprintf(prefix, sizeof prefix, "encoder.layer.%d.attention.output.LayerNorm",
             (int)n);
    icd_status status = load_norm(ctx, r, prefix, &out->attention);
    snprintf(prefix, sizeof prefix, "encoder.layer.%d.output.LayerNorm", (int)n);
    return status == ICD_OK ? load_norm(ctx, r, prefix, &out->output) : status;
}

static icd_status load_tensors(icd_ctx *ctx, icd_runner *r, bert *b)
{
    icd_status status = ICD_OK;
    ICD_TRY(icd_i_runner_tensor(ctx, r, "embeddings.word_embeddings.weight", &b->word));
    ICD_TRY(icd_i_runner_tensor(ctx, r, "embeddings.position_embeddings.weight",
                                &b->position));
    ICD_TRY(
        icd_i_runner_tensor(ctx, r, "embeddings.token_type_embeddings.weight", &b->type));
    ICD_TRY(load_norm(ctx, r, "embeddings.LayerNorm", &b->embedding));
    ICD_TRY(ICD_ALLOC(ctx, b->config->layers, &b->layer));
    for (int64_t n = 0; n < b->config->layers; n++)
        ICD_TRY(load_layer(ctx, r, n, &b->layer[n]));
    ICD_TRY(icd_i_bert_end_load(ctx, r, &b->end));
done:
    return status;
}

static icd_status allocate(icd_ctx *ctx, icd_runner *r, bert *b)
{
    icd_status status = ICD_OK;
    int64_t seq = r->capacity.seq, tokens = r->capacity.batch * seq,
            hidden = b->config->hidden;
    ICD_TRY(ICD_ALLOC(ctx, tokens * hidden, &b->x));
    ICD_TRY(ICD_ALLOC(ctx, 3 * tokens * hidden, &b->qkv));
    ICD_TRY(ICD_ALLOC(ctx, tokens * hidden, &b->context));
    ICD_TRY(ICD_ALLOC(ctx, tokens * b->config->inner, &b->inner));
    ICD_TRY(ICD_ALLOC(ctx, tokens * hidden, &b->y));
    ICD_TRY(ICD_ALLOC(ctx, r->workers * seq * seq, &b->scores));
done:
    return status;
}

static icd_status bert_start(icd_ctx *ctx, icd_runner *r)
{
    bert *b = NULL;
    icd_status status = icd_i_check_positions(ctx, r);
    if (status == ICD_OK) status = ICD_ALLOC(ctx, 1, &b);
    if (status != ICD_OK) return status;
    r->state = b;
    b->config = icd_model_get_config(r->model);
    status = load_tensors(ctx, r, b);
    return status == ICD_OK ? allocate(ctx, r, b) : status;
}

static void bert_stop(icd_ctx *ctx, icd_runner *r)
{
    bert *b = r->state;
    float *const buffer[] = {b->x, b->qkv, b->context, b->inner, b->y, b->scores};
    for (size_t i = 0; i < sizeof buffer / sizeof buffer[0]; i++)
        icd_i_free(ctx, buffer[i]);
    icd_i_bert_end_release(ctx, &b->end);
    icd_i_free(ctx, b->layer);
    icd_i_free(ctx, b);
}

static void embed(const bert *b, const icd_batch *batch)
{
    int64_t h = b->config->hidden;
    for (int64_t t = 0; t < batch->batch * batch->seq; t++) {
        const float *word = b->word + batch->ids[t] * h;
        const float *position = b->position + t % batch->seq * h;
        for (int64_t i = 0; i < h; i++)
            b->x[t * h + i] = word[i] + b->type[i] + position[i];
    }
}

/* Attention of one sequence and one head: softmax(Q K^T / sqrt(d)) V over the tokens that
 * count. */
typedef struct attention_job {
    const bert *b;
    const icd_batch *batch;
    const icd_kernels *k;
    int64_t tokens;
} attention_job;

static void attend(void *arg, int64_t item, int64_t items, int32_t worker)
{
    const attention_job *job = arg;
    const bert *b = job->b;
    int64_t h = b->config->hidden, heads = b->config->heads, d = h / heads,
            seq = job->batch->seq;
    int64_t s = item / heads, at = s * seq * h + item % heads * d;
    const float *q = b->qkv + at, *k = q + job->tokens * h, *v = k + job->tokens * h;
    float *score = b->scores + worker * seq * seq, scale = 1 / sqrtf((float)d);
    int64_t live = job->batch->lengths ? job->batch->lengths[s] : seq;
    (void)items;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)seq, (int)seq, (int)d, 1, q,
                (int)h, k, (int)h, 0, score, (int)seq);
    for (int64_t t = 0; t < seq; t++) job->k->softmax(score + t * seq, seq, live, scale);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)seq, (int)d, (int)seq, 1,
                score, (int)seq, v, (int)h, 0, b->context + at, (int)h);
}

static icd_status attention(icd_ctx *ctx, icd_runner *r, const icd_batch *batch,
                            const icd_loaded *l)
{
    bert *b = r->state;
    int64_t tokens = batch->batch * batch->seq, size = tokens * b->config->hidden;
    attention_job job = {b, batch, r->k, tokens};
    icd_status status = icd_i_observe(ctx, r, l + Q, 3, b->x, tokens);
    for (int i = Q; status == ICD_OK && i <= V; i++)
        icd_i_linear_apply(ctx, r, &l[i], b->x, tokens, b->qkv + i * size);
    if (status == ICD_OK)
        icd_i_parallel(ctx, batch->batch * b->config->heads, attend, &job);
    return status;
}

/* x = norm(x + residual) */
static icd_row_pass norm_pass(const bert *b, float *x, const float *residual,
                              const norm *by, int64_t tokens)
{
    return (icd_row_pass){.fn = icd_i_row_layer_norm,
                          .x = x,
                          .tokens = tokens,
                          .n = b->config->hidden,
                          .residual = residual,
                          .gain = by->gain,
                          .bias = by->bias,
                          .eps = (float)b->config->norm_eps};
}

/* One encoder layer; x is staged for Q, K, V on entry and for `next` on return. */
static icd_status run_layer(icd_ctx *ctx, icd_runner *r, const icd_batch *batch,
                            int64_t n, const icd_loaded *next)
{
    icd_status status = ICD_OK;
    bert *b = r->state;
    const icd_model_config *c = b->config;
    const icd_loaded *l = r->linear + n * PER_LAYER;
    int64_t tokens = batch->batch * batch->seq;
    icd_row_pass context = {.x = b->context, .tokens = tokens, .n = c->hidden};
    icd_row_pass mid = norm_pass(b, b->y, b->x, &b->layer[n].attention, tokens);
    icd_row_pass act = {.fn = strcmp(c->act, "relu") ? icd_i_row_gelu : icd_i_row_relu,
                        .x = b->inner,
                        .tokens = tokens,
                        .n = c->inner};
    icd_row_pass end = norm_pass(b, b->x, b->y, &b->layer[n].output, tokens);
    ICD_TRY(attention(ctx, r, batch, l));
    ICD_TRY(icd_i_observe(ctx, r, l + OUT, 1, b->context, tokens));
    ICD_TRY(icd_i_rows(ctx, r, &context, l + OUT));
    icd_i_linear_apply(ctx, r, l + OUT, b->context, tokens, b->y);
    ICD_TRY(icd_i_rows(ctx, r, &mid, l + UP)); /* y = norm(y + x) */
    ICD_TRY(icd_i_observe(ctx, r, l + UP, 1, b->y, tokens));
    icd_i_linear_apply(ctx, r, l + UP, b->y, tokens, b->inner);
    ICD_TRY(icd_i_rows(ctx, r, &act, l + DOWN));
    ICD_TRY(icd_i_observe(ctx, r, l + DOWN, 1, b->inner, tokens));
    icd_i_linear_apply(ctx, r, l + DOWN, b->inner, tokens, b->x);
    ICD_TRY(icd_i_rows(ctx, r, &end, next)); /* x = norm(x + y) */
done:
    return status;
}

static icd_status bert_step(icd_ctx *ctx, icd_runner *r, const icd_batch *batch,
                            icd_output *out)
{
    bert *b = r->state;
    const icd_model_config *c = b->config;
    int64_t tokens = batch->batch * batch->seq;
    icd_row_pass first = norm_pass(b, b->x, NULL, &b->embedding, tokens);
    embed(b, batch);
    icd_status status = icd_i_rows(ctx, r, &first, c->layers ? r->linear : NULL);
    for (int64_t n = 0; status == ICD_OK && n < c->layers; n++) {
        const icd_loaded *next =
            n + 1 < c->layers ? r->linear + (n + 1) * PER_LAYER : NULL;
        status = run_layer(ctx, r, batch, n, next);
    }
    if (status != ICD_OK) return status;
    icd_i_bert_end_write(r, &b->end, b->x, batch, out);
    return ICD_OK;
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

const icd_engine icd_i_engine_bert = {.arch = "bert",
                                      .linears = bert_linears,
                                      .start = bert_start,
                                      .check = icd_i_check_tokens,
                                      .step = bert_step,
                                      .stop = bert_stop,
                                      .outputs = bert_outputs,
                                      .logits = bert_logits};
