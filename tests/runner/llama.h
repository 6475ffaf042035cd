/**
 * @file llama.h
 * Small random Llama models, and what they compute, in double precision and token by
 * token, straight from the definition.
 */
#ifndef ICD_TEST_LLAMA_H
#define ICD_TEST_LLAMA_H

#include "small.h"

typedef struct llama_shape {
    int64_t layers, hidden, inner, heads, kv_heads, head_dim, vocab, positions;
    const char *act;
    bool bias, tied;
} llama_shape;

static const llama_shape LLAMA = {2, 20, 35, 6, 2, 4, 29, 64, "silu", false, false};
/** Heads that are wider than hidden / heads, biases, a tied head. */
static const llama_shape WIDE = {3, 18, 21, 4, 1, 10, 17, 40, "relu", true, true};

static inline void llama_linear(small_tensors *s, const llama_shape *z, int64_t layer,
                                const char *part, int64_t rows, int64_t cols)
{
    char name[128];
    snprintf(name, sizeof name, "model.layers.%d.%s.weight", (int)layer, part);
    small_add(s, name, rows, cols, cols ? 0 : 1, cols ? 1.2 / sqrt((double)cols) : .2);
    if (!z->bias || !cols) return;
    snprintf(name, sizeof name, "model.layers.%d.%s.bias", (int)layer, part);
    small_add(s, name, rows, 0, 0, .2);
}

static inline void llama_layer(small_tensors *s, const llama_shape *z, int64_t n)
{
    int64_t q = z->heads * z->head_dim, kv = z->kv_heads * z->head_dim;
    llama_linear(s, z, n, "input_layernorm", z->hidden, 0);
    llama_linear(s, z, n, "post_attention_layernorm", z->hidden, 0);
    llama_linear(s, z, n, "self_attn.q_proj", q, z->hidden);
    llama_linear(s, z, n, "self_attn.k_proj", kv, z->hidden);
    llama_linear(s, z, n, "self_attn.v_proj", kv, z->hidden);
    llama_linear(s, z, n, "self_attn.o_proj", z->hidden, q);
    llama_linear(s, z, n, "mlp.gate_proj", z->inner, z->hidden);
    llama_linear(s, z, n, "mlp.up_proj", z->inner, z->hidden);
    llama_linear(s, z, n, "mlp.down_proj", z->hidden, z->inner);
}

/** A random LlamaForCausalLM of shape `z`, opened. */
static inline icd_model *small_llama(icd_ctx *ctx, const llama_shape *z, uint64_t seed)
{
    small_tensors s = {.ctx = ctx};
    char config[768], name[32];
    icd_model *model = NULL;
    icd_i_rng_init(&s.rng, seed, 8);
    small_add(&s, "model.embed_tokens.weight", z->vocab, z->hidden, 0, 1);
    small_add(&s, "model.norm.weight", z->hidden, 0, 1, .2);
    if (!z->tied) small_add(&s, "lm_head.weight", z->vocab, z->hidden, 0, .3);
    for (int64_t n = 0; n < z->layers; n++) llama_layer(&s, z, n);
    snprintf(config, sizeof config,
             "{\"model_type\": \"llama\", \"num_hidden_layers\": %d, \"hidden_size\": %d,"
             " \"intermediate_size\": %d, \"num_attention_heads\": %d,"
             " \"num_key_value_heads\": %d, \"head_dim\": %d, \"vocab_size\": %d,"
             " \"max_position_embeddings\": %d, \"rms_norm_eps\": 1e-5, \"rope_theta\": "
             "500.0, \"hidden_act\": \"%s\", \"attention_bias\": %s, \"mlp_bias\": %s,"
             " \"tie_word_embeddings\": %s, \"rope_scaling\": null}",
             (int)z->layers, (int)z->hidden, (int)z->inner, (int)z->heads,
             (int)z->kv_heads, (int)z->head_dim, (int)z->vocab, (int)z->positions, z->act,
             z->bias ? "true" : "false", z->bias ? "true" : "false",
             z->tied ? "true" : "false");
    snprintf(name, sizeof name, "llama-%llu", (unsigned long long)seed);
    small_write(&s, icd_test_path(name), config);
    small_release(&s);
    assert_ok(ctx, icd_model_open(ctx, icd_test_path(name), &model));
    return model;
}

static inline icd_batch llama_batch(const llama_shape *z, int64_t batch, int64_t seq,
                                    uint64_t seed)
{
    small_shape like = {.vocab = z->vocab};
    return small_batch(&like, batch, seq, seed);
}

static inline const float *llama_tensor(const icd_model *m, int64_t layer,
                                        const char *part, const char *what)
{
    char name[128];
    snprintf(name, sizeof name, "model.layers.%d.%s.%s", (int)layer, part, what);
    const icd_tensor *t = icd_model_tensor(m, name);
    return t ? t->data : NULL;
}

/** out[rows] = w x + b, added to what is there. */
static inline void llama_multiply(const icd_model *m, int64_t layer, const char *part,
                                  const double *x, int64_t cols, int64_t rows,
                                  double *out)
{
    const float *w = llama_tensor(m, layer, part, "weight"),
                *b = llama_tensor(m, layer, part, "bias");
    for (int64_t r = 0; r < rows; r++) {
        if (b) out[r] += (double)b[r];
        for (int64_t c = 0; c < cols; c++) out[r] += (double)w[r * cols + c] * x[c];
    }
}

static inline void llama_norm(const icd_model_config *c, const float *gain,
                              const double *x, double *out)
{
    double square = 0;
    for (int64_t i = 0; i < c->hidden; i++) square += x[i] * x[i] / (double)c->hidden;
    for (int64_t i = 0; i < c->hidden; i++)
        out[i] = x[i] / sqrt(square + c->norm_eps) * (double)gain[i];
}

static inline void llama_turn(const icd_model_config *c, double *x, int64_t heads,
                              int64_t position)
{
    int64_t half = c->head_dim / 2;
    for (int64_t h = 0; h < heads; h++, x += c->head_dim)
        for (int64_t i = 0; i < half; i++) {
            double angle = (double)position *
                           pow(c->rope_theta, -(double)(2 * i) / (double)c->head_dim);
            double a = x[i], b = x[half + i];
            x[i] = a * cos(angle) - b * sin(angle);
            x[half + i] = b * cos(angle) + a * sin(angle);
        }
}

static inline double llama_act(const char *act, double x)
{
    if (!strcmp(act, "relu")) return fmax(x, 0);
    if (!strcmp(act, "gelu")) return x * .5 * (1 + erf(x / sqrt(2)));
    return x / (1 + exp(-x));
}

/** One sequence: k and v of every layer are kept token after token. */
typedef struct llama_state {
    const icd_model *m;
    double *k, *v; /**< [layers x tokens x kv_heads * head_dim] */
    int64_t tokens;
} llama_state;

static inline void llama_attend(const llama_state *s, int64_t layer, int64_t t,
                                const double *q, double *context)
{
    const icd_model_config *c = icd_model_get_config(s->m);
    int64_t d = c->head_dim, group = c->heads / c->kv_heads, width = c->kv_heads * d;
    double *score = calloc((size_t)(t + 1), sizeof *score);
    for (int64_t h = 0; h < c->heads; h++) {
        double total = 0;
        for (int64_t u = 0; u <= t; u++) {
            int64_t at = (layer * s->tokens + u) * width + h / group * d;
            score[u] = 0;
            for (int64_t i = 0; i < d; i++) score[u] += q[h * d + i] * s->k[at + i];
            total += score[u] = exp(score[u] / sqrt((double)d));
        }
        for (int64_t u = 0; u <= t; u++) {
            int64_t at = (layer * s->tokens + u) * width + h / group * d;
            for (int64_t i = 0; i < d; i++)
                context[h * d + i] += score[u] / total * s->v[at + i];
        }
    }
    free(score);
}

static inline void llama_attention(const llama_state *s, int64_t n, int64_t t, double *x)
{
    const icd_model_config *c = icd_model_get_config(s->m);
    int64_t d = c->head_dim, width = c->kv_heads * d, at = (n * s->tokens + t) * width;
    double *y = calloc((size_t)(c->hidden + 2 * c->heads * d), sizeof *y);
    double *q = y + c->hidden, *context = q + c->heads * d;
    llama_norm(c, llama_tensor(s->m, n, "input_layernorm", "weight"), x, y);
    llama_multiply(s->m, n, "self_attn.q_proj", y, c->hidden, c->heads * d, q);
    llama_multiply(s->m, n, "self_attn.k_proj", y, c->hidden, width, s->k + at);
    llama_multiply(s->m, n, "self_attn.v_proj", y, c->hidden, width, s->v + at);
    llama_turn(c, q, c->heads, t);
    llama_turn(c, s->k + at, c->kv_heads, t);
    llama_attend(s, n, t, q, context);
    llama_multiply(s->m, n, "self_attn.o_proj", context, c->heads * d, c->hidden, x);
    free(y);
}

static inline void llama_mlp(const icd_model *m, int64_t n, double *x)
{
    const icd_model_config *c = icd_model_get_config(m);
    double *y = calloc((size_t)(c->hidden + 2 * c->inner), sizeof *y);
    double *gate = y + c->hidden, *up = gate + c->inner;
    llama_norm(c, llama_tensor(m, n, "post_attention_layernorm", "weight"), x, y);
    llama_multiply(m, n, "mlp.gate_proj", y, c->hidden, c->inner, gate);
    llama_multiply(m, n, "mlp.up_proj", y, c->hidden, c->inner, up);
    for (int64_t i = 0; i < c->inner; i++) up[i] *= llama_act(c->act, gate[i]);
    llama_multiply(m, n, "mlp.down_proj", up, c->inner, c->hidden, x);
    free(y);
}

static inline void llama_sequence(const icd_model *m, const int32_t *ids, int64_t tokens,
                                  float *out)
{
    const icd_model_config *c = icd_model_get_config(m);
    size_t cells = (size_t)(c->layers * tokens * c->kv_heads * c->head_dim);
    const float *word = icd_model_tensor(m, "model.embed_tokens.weight")->data;
    const float *gain = icd_model_tensor(m, "model.norm.weight")->data;
    llama_state s = {m, calloc(cells, sizeof(double)), calloc(cells, sizeof(double)),
                     tokens};
    double *x = calloc((size_t)c->hidden, sizeof *x);
    assert_true(x && s.k && s.v);
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t i = 0; i < c->hidden; i++)
            x[i] = (double)word[ids[t] * c->hidden + i];
        for (int64_t n = 0; n < c->layers; n++) {
            llama_attention(&s, n, t, x);
            llama_mlp(m, n, x);
        }
        llama_norm(c, gain, x, x);
        for (int64_t i = 0; i < c->hidden; i++) out[t * c->hidden + i] = (float)x[i];
    }
    free(x);
    free(s.k);
    free(s.v);
}

/** The state after the final norm [tokens x hidden]; zeros beyond a length; free it. */
static inline float *reference_llama(const icd_model *m, const icd_batch *b)
{
    int64_t h = icd_model_get_config(m)->hidden;
    float *out = calloc((size_t)(b->batch * b->seq * h), sizeof *out);
    assert_non_null(out);
    for (int64_t s = 0; s < b->batch; s++)
        llama_sequence(m, b->ids + s * b->seq, b->lengths ? b->lengths[s] : b->seq,
                       out + s * b->seq * h);
    return out;
}

/** Zeros the rows of a result that stand for padding. */
static inline void clear_padding(result *r, const icd_batch *b)
{
    for (int64_t t = 0; b->lengths && t < r->tokens; t++)
        if (t % b->seq >= b->lengths[t / b->seq])
            memset(r->hidden + t * r->width, 0, (size_t)r->width * sizeof(float));
}

#endif
