/**
 * @file reference.h
 * BertModel in double precision, straight from its definition: what the runner is
 * compared with where Hugging Face's is not at hand.
 */
#ifndef ICD_TEST_REFERENCE_H
#define ICD_TEST_REFERENCE_H

#include "small.h"

static inline const float *reference_weight(const icd_model *m, const char *prefix,
                                            const char *name)
{
    char full[192];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    const icd_tensor *t = icd_model_tensor(m, full);
    assert_non_null(t);
    return t->data;
}

static inline double *zeros(int64_t n)
{
    double *p = calloc((size_t)n, sizeof *p);
    assert_non_null(p);
    return p;
}

/** y[rows] = w x + b for every token. */
static inline double *reference_linear(const icd_model *m, const char *prefix,
                                       const double *x, int64_t tokens, int64_t cols,
                                       int64_t rows)
{
    const float *w = reference_weight(m, prefix, "weight"),
                *b = reference_weight(m, prefix, "bias");
    double *y = zeros(tokens * rows);
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t r = 0; r < rows; r++) {
            double sum = (double)b[r];
            for (int64_t c = 0; c < cols; c++)
                sum += (double)w[r * cols + c] * x[t * cols + c];
            y[t * rows + r] = sum;
        }
    return y;
}

/** x = norm(x + y); y may be NULL. */
static inline void reference_norm(const icd_model *m, const char *prefix, double *x,
                                  const double *y, int64_t tokens, int64_t n)
{
    const float *gain = reference_weight(m, prefix, "weight"),
                *bias = reference_weight(m, prefix, "bias");
    for (int64_t t = 0; t < tokens; t++, x += n) {
        double mean = 0, square = 0;
        for (int64_t i = 0; i < n; i++) x[i] += y ? y[t * n + i] : 0;
        for (int64_t i = 0; i < n; i++) mean += x[i] / (double)n;
        for (int64_t i = 0; i < n; i++)
            square += (x[i] - mean) * (x[i] - mean) / (double)n;
        for (int64_t i = 0; i < n; i++)
            x[i] =
                (x[i] - mean) / sqrt(square + 1e-12) * (double)gain[i] + (double)bias[i];
    }
}

/** One query of one head: out[d] = sum of softmax(q k / sqrt d) v over `live` tokens. */
static inline void reference_attend(const double *q, const double *k, const double *v,
                                    int64_t live, int64_t d, int64_t stride, double *out)
{
    double *share = zeros(live), total = 0;
    for (int64_t u = 0; u < live; u++) {
        for (int64_t i = 0; i < d; i++) share[u] += q[i] * k[u * stride + i];
        total += share[u] = exp(share[u] / sqrt((double)d));
    }
    for (int64_t u = 0; u < live; u++)
        for (int64_t i = 0; i < d; i++) out[i] += share[u] / total * v[u * stride + i];
    free(share);
}

static inline double *reference_attention(const icd_model *m, const char *layer,
                                          const double *x, const icd_batch *b)
{
    static const char *const NAME[] = {"query", "key", "value"};
    const icd_model_config *c = icd_model_get_config(m);
    int64_t h = c->hidden, d = h / c->heads, tokens = b->batch * b->seq;
    double *qkv[3], *context = zeros(tokens * h);
    char name[160];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s.attention.self.%s", layer, NAME[i]);
        qkv[i] = reference_linear(m, name, x, tokens, h, h);
    }
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t head = 0; head < c->heads; head++) {
            int64_t s = t / b->seq, first = s * b->seq * h + head * d,
                    at = t * h + head * d;
            reference_attend(qkv[0] + at, qkv[1] + first, qkv[2] + first,
                             b->lengths ? b->lengths[s] : b->seq, d, h, context + at);
        }
    for (int i = 0; i < 3; i++) free(qkv[i]);
    snprintf(name, sizeof name, "%s.attention.output.dense", layer);
    double *out = reference_linear(m, name, context, tokens, h, h);
    free(context);
    return out;
}

static inline void reference_act(const char *act, double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] =
            strcmp(act, "relu") ? x[i] * .5 * (1 + erf(x[i] / sqrt(2))) : fmax(x[i], 0);
}

static inline void reference_layer(const icd_model *m, int64_t n, double *x,
                                   const icd_batch *b)
{
    const icd_model_config *c = icd_model_get_config(m);
    int64_t tokens = b->batch * b->seq;
    char layer[64], name[128];
    snprintf(layer, sizeof layer, "encoder.layer.%d", (int)n);
    double *y = reference_attention(m, layer, x, b);
    snprintf(name, sizeof name, "%s.attention.output.LayerNorm", layer);
    reference_norm(m, name, x, y, tokens, c->hidden);
    free(y);
    snprintf(name, sizeof name, "%s.intermediate.dense", layer);
    double *inner = reference_linear(m, name, x, tokens, c->hidden, c->inner);
    reference_act(c->act, inner, tokens * c->inner);
    snprintf(name, sizeof name, "%s.output.dense", layer);
    y = reference_linear(m, name, inner, tokens, c->inner, c->hidden);
    snprintf(name, sizeof name, "%s.output.LayerNorm", layer);
    reference_norm(m, name, x, y, tokens, c->hidden);
    free(inner);
    free(y);
}

/** The last hidden state as f32 [tokens x hidden]; free it. */
static inline float *reference_bert(const icd_model *m, const icd_batch *b)
{
    const icd_model_config *c = icd_model_get_config(m);
    int64_t tokens = b->batch * b->seq, h = c->hidden;
    const float *word = reference_weight(m, "embeddings", "word_embeddings.weight");
    const float *place = reference_weight(m, "embeddings", "position_embeddings.weight");
    const float *type = reference_weight(m, "embeddings", "token_type_embeddings.weight");
    double *x = zeros(tokens * h);
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t i = 0; i < h; i++)
            x[t * h + i] = (double)word[b->ids[t] * h + i] +
                           (double)place[t % b->seq * h + i] + (double)type[i];
    reference_norm(m, "embeddings.LayerNorm", x, NULL, tokens, h);
    for (int64_t n = 0; n < c->layers; n++) reference_layer(m, n, x, b);
    float *out = malloc((size_t)(tokens * h) * sizeof *out);
    assert_non_null(out);
    for (int64_t i = 0; i < tokens * h; i++) out[i] = (float)x[i];
    free(x);
    return out;
}

/** tanh of the pooler on each sequence's first token; free it. */
static inline float *reference_pooled(const icd_model *m, const float *hidden,
                                      const icd_batch *b)
{
    int64_t h = icd_model_get_config(m)->hidden;
    float *out = malloc((size_t)(b->batch * h) * sizeof *out);
    double *first = zeros(h);
    assert_non_null(out);
    for (int64_t s = 0; s < b->batch; s++) {
        for (int64_t i = 0; i < h; i++) first[i] = (double)hidden[s * b->seq * h + i];
        double *y = reference_linear(m, "pooler.dense", first, 1, h, h);
        for (int64_t i = 0; i < h; i++) out[s * h + i] = (float)tanh(y[i]);
        free(y);
    }
    free(first);
    return out;
}

#endif
