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
    const float *pooler_w, *pooler_b; /* NULL: no pooler */
    icd_bert_head head;
    int64_t sequences;    /* of the last step */
    const int32_t *order; /* residual: today's slot -> checkpoint; NULL: identity */
    float *x, *qkv, *context, *inner, *y, *hidden, *pooled;
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
    const icd_perm *order = icd_model_order(r->model, "residual");
    b->order = order ? order->old_of_new : NULL;
    ICD_TRY(icd_i_runner_tensor(ctx, r, "embeddings.word_embeddings.weight", &b->word));
    ICD_TRY(icd_i_runner_tensor(ctx, r, "embeddings.position_embeddings.weight",
                                &b->position));
    ICD_TRY(
        icd_i_runner_tensor(ctx, r, "embeddings.token_type_embeddings.weight", &b->type));
    ICD_TRY(load_norm(ctx, r, "embeddings.LayerNorm", &b->embedding));
    ICD_TRY(ICD_ALLOC(ctx, b->config->layers, &b->layer));
    for (int64_t n = 0; n < b->config->layers; n++)
        ICD_TRY(load_layer(ctx, r, n, &b->layer[n]));
    ICD_TRY(icd_i_bert_head_load(ctx, r, &b->head));
    if (!icd_model_tensor(r->model, "pooler.dense.weight")) return ICD_OK;
    ICD_TRY(icd_i_runner_tensor(ctx, r, "pooler.dense.weight", &b->pooler_w));
    ICD_TRY(icd_i_runner_tensor(ctx, r, "pooler.dense.bias", &b->pooler_b));
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
    ICD_TRY(ICD_ALLOC(ctx, tokens * hidden, &b->hidden));
    ICD_TRY(ICD_ALLOC(ctx, r->capacity.batch * hidden, &b->pooled));
    ICD_TRY(ICD_ALLOC(ctx, r->workers * seq * seq, &b->scores));
done:
    return status;
}

static icd_status check_positions(icd_ctx *ctx, const icd_runner *r, int64_t seq)
{
    int64_t positions = icd_model_get_config(r->model)->positions;
    if (seq <= positions) return ICD_OK;
    return icd_i_fail(ctx, ICD_EINVAL, "input", "use shorter sequences",
                      "found %lld tokens a sequence, the model has %lld positions",
                      (long long)seq, (long long)positions);
}

static icd_status bert_start(icd_ctx *ctx, icd_runner *r)
{
    bert *b = NULL;
    icd_status status = check_positions(ctx, r, r->capacity.seq);
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
    float *const buffer[] = {b->x, b->qkv,    b->context, b->inner,
                             b->y, b->hidden, b->pooled,  b->scores};
    for (size_t i = 0; i < sizeof buffer / sizeof buffer[0]; i++)
        icd_i_free(ctx, buffer[i]);
    icd_i_bert_head_release(ctx, &b->head);
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

/* Undoes the order of the residual axis, so that outputs compare across layouts. */
static void write_hidden(const bert *b, int64_t tokens)
{
    int64_t h = b->config->hidden;
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t i = 0; i < h; i++)
            b->hidden[t * h + (b->order ? b->order[i] : i)] = b->x[t * h + i];
}

static void pool(const icd_runner *r, const bert *b, const icd_batch *batch)
{
    int64_t h = b->config->hidden;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)batch->batch, (int)h,
                (int)h, 1, b->x, (int)(batch->seq * h), b->pooler_w, (int)h, 0, b->pooled,
                (int)h);
    for (int64_t s = 0; s < batch->batch; s++) {
        r->k->add_bias(b->pooled + s * h, b->pooler_b, h);
        r->k->tanh_row(b->pooled + s * h, h);
    }
}

static icd_status bert_step(icd_ctx *ctx, icd_runner *r, const icd_batch *batch,
                            icd_output *out)
{
    bert *b = r->state;
    const icd_model_config *c = b->config;
    int64_t tokens = batch->batch * batch->seq;
    b->sequences = batch->batch;
    icd_row_pass first = norm_pass(b, b->x, NULL, &b->embedding, tokens);
    embed(b, batch);
    icd_status status = icd_i_rows(ctx, r, &first, c->layers ? r->linear : NULL);
    for (int64_t n = 0; status == ICD_OK && n < c->layers; n++) {
        const icd_loaded *next =
            n + 1 < c->layers ? r->linear + (n + 1) * PER_LAYER : NULL;
        status = run_layer(ctx, r, batch, n, next);
    }
    if (status != ICD_OK) return status;
    write_hidden(b, tokens);
    if (b->pooler_w) pool(r, b, batch);
    *out = (icd_output){b->hidden, tokens, c->hidden, b->pooler_w ? b->pooled : NULL,
                        batch->batch};
    return ICD_OK;
}

static int64_t bert_outputs(const icd_runner *r)
{
    return ((const bert *)r->state)->head.outputs;
}

static icd_status bert_logits(icd_ctx *ctx, icd_runner *r, int64_t first, int64_t count,
                              float *out)
{
    const bert *b = r->state;
    const float *x = b->head.of_sequences ? b->pooled : b->x;
    if (b->head.of_sequences && first + count > b->sequences)
        return icd_i_fail(ctx, ICD_EINVAL, "runner", NULL,
                          "found sequences %lld to %lld, the last step had %lld",
                          (long long)first, (long long)(first + count - 1),
                          (long long)b->sequences);
    icd_i_bert_head_run(r, &b->head, x + first * b->config->hidden, count, out);
    return ICD_OK;
}

const icd_engine icd_i_engine_bert = {.arch = "bert",
                                      .linears = bert_linears,
                                      .start = bert_start,
                                      .check = icd_i_check_tokens,
                                      .step = bert_step,
                                      .stop = bert_stop,
                                      .outputs = bert_outputs,
                                      .logits = bert_logits};
