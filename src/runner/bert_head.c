#include "runner/bert_head.h"

#include <cblas.h>
#include <string.h>

#define MASKED "cls.predictions."

static icd_status load_pair(icd_ctx *ctx, icd_runner *r, const char *weight,
                            const char *bias, const float **w, const float **b)
{
    icd_status status = icd_i_runner_tensor(ctx, r, weight, w);
    if (status == ICD_OK && icd_model_tensor(r->model, bias))
        status = icd_i_runner_tensor(ctx, r, bias, b);
    return status;
}

/* The decoder of masked words is the word embedding unless the file has its own; its bias
 * has two names. */
static icd_status load_masked(icd_ctx *ctx, icd_runner *r, icd_bert_head *h)
{
    icd_status status = ICD_OK;
    bool own = icd_model_tensor(r->model, MASKED "decoder.weight") != NULL;
    bool old = icd_model_tensor(r->model, MASKED "bias") != NULL;
    ICD_TRY(load_pair(ctx, r, MASKED "transform.dense.weight",
                      MASKED "transform.dense.bias", &h->dense_w, &h->dense_b));
    ICD_TRY(load_pair(ctx, r, MASKED "transform.LayerNorm.weight",
                      MASKED "transform.LayerNorm.bias", &h->gain, &h->shift));
    ICD_TRY(load_pair(ctx, r,
                      own ? MASKED "decoder.weight" : "embeddings.word_embeddings.weight",
                      old ? MASKED "bias" : MASKED "decoder.bias", &h->w, &h->bias));
    h->outputs = icd_model_get_config(r->model)->vocab;
    ICD_TRY(ICD_ALLOC(ctx, icd_model_get_config(r->model)->hidden, &h->row));
done:
    return status;
}

static icd_status load_plain(icd_ctx *ctx, icd_runner *r, icd_bert_head *h,
                             const char *weight, const char *bias)
{
    h->outputs = icd_model_tensor(r->model, weight)->shape[0];
    return load_pair(ctx, r, weight, bias, &h->w, &h->bias);
}

icd_status icd_i_bert_head_load(icd_ctx *ctx, icd_runner *r, icd_bert_head *h)
{
    const icd_model *m = r->model;
    *h = (icd_bert_head){0};
    if (icd_model_tensor(m, MASKED "transform.dense.weight"))
        return load_masked(ctx, r, h);
    if (icd_model_tensor(m, "qa_outputs.weight"))
        return load_plain(ctx, r, h, "qa_outputs.weight", "qa_outputs.bias");
    if (!icd_model_tensor(m, "classifier.weight")) return ICD_OK;
    h->of_sequences = !icd_model_get_config(m)->labels_tokens;
    if (h->of_sequences && !icd_model_tensor(m, "pooler.dense.weight")) return ICD_OK;
    return load_plain(ctx, r, h, "classifier.weight", "classifier.bias");
}

void icd_i_bert_head_release(icd_ctx *ctx, icd_bert_head *h)
{
    icd_i_free(ctx, h->row);
    h->row = NULL;
}

static void product(const float *w, const float *bias, const float *x, int64_t rows,
                    int64_t cols, float *y)
{
    if (bias)
        memcpy(y, bias, (size_t)rows * sizeof *y);
    else
        memset(y, 0, (size_t)rows * sizeof *y);
    cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)rows, (int)cols, 1, w, (int)cols, x, 1,
                1, y, 1);
}

/* y = norm(act(W x + b)) */
static void transform(const icd_runner *r, const icd_bert_head *h, const float *x)
{
    const icd_model_config *c = icd_model_get_config(r->model);
    product(h->dense_w, h->dense_b, x, c->hidden, c->hidden, h->row);
    if (!strcmp(c->act, "relu"))
        r->k->relu(h->row, c->hidden);
    else
        r->k->gelu(h->row, c->hidden);
    r->k->layer_norm(h->row, NULL, h->gain, h->shift, c->hidden, (float)c->norm_eps,
                     h->row);
}

void icd_i_bert_head_run(const icd_runner *r, const icd_bert_head *h, const float *x,
                         int64_t count, float *out)
{
    int64_t hidden = icd_model_get_config(r->model)->hidden;
    for (int64_t i = 0; i < count; i++) {
        const float *row = x + i * hidden;
        if (h->dense_w) transform(r, h, row);
        product(h->w, h->bias, h->dense_w ? h->row : row, h->outputs, hidden,
                out + i * h->outputs);
    }
}

icd_status icd_i_bert_end_load(icd_ctx *ctx, icd_runner *r, icd_bert_end *end)
{
    icd_status status = ICD_OK;
    int64_t batch = r->capacity.batch, h = icd_model_get_config(r->model)->hidden;
    end->order = icd_i_residual_order(r);
    ICD_TRY(icd_i_bert_head_load(ctx, r, &end->head));
    ICD_TRY(ICD_ALLOC(ctx, batch * r->capacity.seq * h, &end->hidden));
    if (!icd_model_tensor(r->model, "pooler.dense.weight")) return ICD_OK;
    ICD_TRY(icd_i_runner_tensor(ctx, r, "pooler.dense.weight", &end->pooler_w));
    ICD_TRY(icd_i_runner_tensor(ctx, r, "pooler.dense.bias", &end->pooler_b));
    ICD_TRY(ICD_ALLOC(ctx, batch * h, &end->pooled));
done:
    return status;
}

void icd_i_bert_end_release(icd_ctx *ctx, icd_bert_end *end)
{
    icd_i_bert_head_release(ctx, &end->head);
    icd_i_free(ctx, end->hidden);
    icd_i_free(ctx, end->pooled);
}

/* tanh(W x + b) of the first token of every sequence. */
static void pool(const icd_runner *r, const icd_bert_end *e, const icd_batch *batch)
{
    int64_t h = icd_model_get_config(r->model)->hidden;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)batch->batch, (int)h,
                (int)h, 1, e->rows, (int)(batch->seq * h), e->pooler_w, (int)h, 0,
                e->pooled, (int)h);
    for (int64_t s = 0; s < batch->batch; s++) {
        r->k->add_bias(e->pooled + s * h, e->pooler_b, h);
        r->k->tanh_row(e->pooled + s * h, h);
    }
}

void icd_i_bert_end_write(const icd_runner *r, icd_bert_end *e, const float *rows,
                          const icd_batch *batch, icd_output *out)
{
    int64_t h = icd_model_get_config(r->model)->hidden,
            tokens = batch->batch * batch->seq;
    e->rows = rows;
    e->sequences = batch->batch;
    icd_i_undo_order(e->order, rows, tokens, h, e->hidden);
    if (e->pooler_w) pool(r, e, batch);
    *out = (icd_output){e->hidden, tokens, h, e->pooled, batch->batch};
}

icd_status icd_i_bert_end_logits(icd_ctx *ctx, const icd_runner *r, const icd_bert_end *e,
                                 int64_t first, int64_t count, float *out)
{
    const float *x = e->head.of_sequences ? e->pooled : e->rows;
    if (e->head.of_sequences && first + count > e->sequences)
        return icd_i_fail(ctx, ICD_EINVAL, "runner", NULL,
                          "found sequences %lld to %lld, the last step had %lld",
                          (long long)first, (long long)(first + count - 1),
                          (long long)e->sequences);
    icd_i_bert_head_run(r, &e->head, x + first * icd_model_get_config(r->model)->hidden,
                        count, out);
    return ICD_OK;
}
