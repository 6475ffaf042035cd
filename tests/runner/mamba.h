/**
 * @file mamba.h
 * Small random Mamba models, and what they compute, in double precision and token by
 * token, straight from the definition.
 */
#ifndef ICD_TEST_MAMBA_H
#define ICD_TEST_MAMBA_H

#include "small.h"

typedef struct mamba_shape {
    int64_t layers, hidden, inner, state, conv, rank, vocab;
    bool bias, conv_bias, tied;
} mamba_shape;

/** No size is a multiple of a vector, a row block or a block of the scan. */
static const mamba_shape MAMBA = {2, 20, 70, 5, 4, 3, 29, false, true, true};
/** Whole blocks, the smallest state, all that config.json can turn. */
static const mamba_shape TURNED = {3, 18, 128, 1, 2, 1, 17, true, false, false};
static const mamba_shape ONE_TAP = {1, 12, 65, 3, 1, 5, 11, false, false, true};

static inline void mamba_layer(small_tensors *s, const mamba_shape *z, int64_t n)
{
    const struct {
        const char *part;
        int64_t rows, cols;
        double mean, spread;
        bool present;
    } row[] = {
        {"norm.weight", z->hidden, 0, 1, .2, true},
        {"mixer.in_proj.weight", 2 * z->inner, z->hidden, 0, .3, true},
        {"mixer.in_proj.bias", 2 * z->inner, 0, 0, .2, z->bias},
        {"mixer.conv1d.weight", z->inner, z->conv, 0, .6, true},
        {"mixer.conv1d.bias", z->inner, 0, 0, .2, z->conv_bias},
        {"mixer.x_proj.weight", z->rank + 2 * z->state, z->inner, 0, .3, true},
        {"mixer.dt_proj.weight", z->inner, z->rank, 0, .5, true},
        {"mixer.dt_proj.bias", z->inner, 0, -2, 1, true},
        {"mixer.A_log", z->inner, z->state, .5, .8, true},
        {"mixer.D", z->inner, 0, 1, .3, true},
        {"mixer.out_proj.weight", z->hidden, z->inner, 0, .3, true},
        {"mixer.out_proj.bias", z->hidden, 0, 0, .2, z->bias},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char name[128];
        if (!row[i].present) continue;
        snprintf(name, sizeof name, "backbone.layers.%d.%s", (int)n, row[i].part);
        small_add(s, name, row[i].rows, row[i].cols, row[i].mean, row[i].spread);
        if (strcmp(row[i].part, "mixer.conv1d.weight") != 0) continue;
        icd_tensor *conv = &s->tensor[s->count - 1];
        conv->dims = 3;
        conv->shape[1] = 1;
        conv->shape[2] = z->conv;
    }
}

static inline const char *mamba_json(const mamba_shape *z, char out[768])
{
    snprintf(out, 768,
             "{\"model_type\": \"mamba\", \"num_hidden_layers\": %d, \"hidden_size\": %d,"
             " \"intermediate_size\": %d, \"state_size\": %d, \"conv_kernel\": %d,"
             " \"time_step_rank\": %d, \"vocab_size\": %d, \"layer_norm_epsilon\": 1e-5,"
             " \"use_bias\": %s, \"use_conv_bias\": %s, \"tie_word_embeddings\": %s}",
             (int)z->layers, (int)z->hidden, (int)z->inner, (int)z->state, (int)z->conv,
             (int)z->rank, (int)z->vocab, z->bias ? "true" : "false",
             z->conv_bias ? "true" : "false", z->tied ? "true" : "false");
    return out;
}

/** The folder of a random MambaForCausalLM of shape `z`. */
static inline const char *mamba_folder(icd_ctx *ctx, const mamba_shape *z, uint64_t seed)
{
    small_tensors s = {.ctx = ctx};
    char config[768], name[32];
    icd_i_rng_init(&s.rng, seed, 9);
    small_add(&s, "backbone.embeddings.weight", z->vocab, z->hidden, 0, 1);
    small_add(&s, "backbone.norm_f.weight", z->hidden, 0, 1, .2);
    if (!z->tied) small_add(&s, "lm_head.weight", z->vocab, z->hidden, 0, .3);
    for (int64_t n = 0; n < z->layers; n++) mamba_layer(&s, z, n);
    snprintf(name, sizeof name, "mamba-%llu", (unsigned long long)seed);
    small_write(&s, icd_test_path(name), mamba_json(z, config));
    small_release(&s);
    return icd_test_path(name);
}

static inline icd_model *small_mamba(icd_ctx *ctx, const mamba_shape *z, uint64_t seed)
{
    icd_model *model = NULL;
    assert_ok(ctx, icd_model_open(ctx, mamba_folder(ctx, z, seed), &model));
    return model;
}

static inline icd_batch mamba_batch(const mamba_shape *z, int64_t batch, int64_t seq,
                                    uint64_t seed)
{
    small_shape like = {.vocab = z->vocab};
    return small_batch(&like, batch, seq, seed);
}

static inline const float *mamba_tensor(const icd_model *m, int64_t layer,
                                        const char *part)
{
    char name[128];
    snprintf(name, sizeof name, "backbone.layers.%d.%s", (int)layer, part);
    const icd_tensor *t = icd_model_tensor(m, name);
    return t ? t->data : NULL;
}

/** out[rows] = w x + b. */
static inline void mamba_multiply(const float *w, const float *b, const double *x,
                                  int64_t cols, int64_t rows, double *out)
{
    for (int64_t r = 0; r < rows; r++) {
        out[r] = b ? (double)b[r] : 0;
        for (int64_t c = 0; c < cols; c++) out[r] += (double)w[r * cols + c] * x[c];
    }
}

static inline void mamba_norm(const icd_model_config *c, const float *gain,
                              const double *x, double *out)
{
    double square = 0;
    for (int64_t i = 0; i < c->hidden; i++) square += x[i] * x[i] / (double)c->hidden;
    for (int64_t i = 0; i < c->hidden; i++)
        out[i] = x[i] / sqrt(square + c->norm_eps) * (double)gain[i];
}

static inline double mamba_silu(double x)
{
    return x / (1 + exp(-x));
}

static inline double *mamba_doubles(int64_t n)
{
    double *out = calloc((size_t)n, sizeof *out);
    assert_non_null(out);
    return out;
}

/** What one layer of one sequence adds to the stream. `past` [seq][inner]: inputs of the
 * convolution; h [inner][state]. */
static inline void mamba_mix(const icd_model *m, int64_t layer, const double *n,
                             int64_t t, double *past, double *h, double *out)
{
    const icd_model_config *c = icd_model_get_config(m);
    int64_t inner = c->inner, state = c->state, rank = c->dt_rank;
    const float *w = mamba_tensor(m, layer, "mixer.conv1d.weight"),
                *b = mamba_tensor(m, layer, "mixer.conv1d.bias"),
                *a = mamba_tensor(m, layer, "mixer.A_log"),
                *d = mamba_tensor(m, layer, "mixer.D");
    double *xz = mamba_doubles(2 * inner), *u = mamba_doubles(inner),
           *p = mamba_doubles(rank + 2 * state), *dt = mamba_doubles(inner);
    mamba_multiply(mamba_tensor(m, layer, "mixer.in_proj.weight"),
                   mamba_tensor(m, layer, "mixer.in_proj.bias"), n, c->hidden, 2 * inner,
                   xz);
    memcpy(past + t * inner, xz, (size_t)inner * sizeof *past);
    for (int64_t i = 0; i < inner; i++) {
        double sum = b ? (double)b[i] : 0;
        for (int64_t j = 0; j < c->conv; j++) {
            int64_t from = t - c->conv + 1 + j;
            if (from >= 0) sum += (double)w[i * c->conv + j] * past[from * inner + i];
        }
        u[i] = mamba_silu(sum);
    }
    mamba_multiply(mamba_tensor(m, layer, "mixer.x_proj.weight"), NULL, u, inner,
                   rank + 2 * state, p);
    mamba_multiply(mamba_tensor(m, layer, "mixer.dt_proj.weight"),
                   mamba_tensor(m, layer, "mixer.dt_proj.bias"), p, rank, inner, dt);
    for (int64_t i = 0; i < inner; i++) {
        double step = log1p(exp(dt[i])), y = (double)d[i] * u[i];
        for (int64_t j = 0; j < state; j++) {
            double *one = &h[i * state + j];
            *one = exp(-step * exp((double)a[i * state + j])) * *one +
                   step * p[rank + j] * u[i];
            y += *one * p[rank + state + j];
        }
        u[i] = y * mamba_silu(xz[inner + i]);
    }
    mamba_multiply(mamba_tensor(m, layer, "mixer.out_proj.weight"),
                   mamba_tensor(m, layer, "mixer.out_proj.bias"), u, inner, c->hidden,
                   out);
    free(xz);
    free(u);
    free(p);
    free(dt);
}

/** The last hidden state, after the final norm: [batch x seq x hidden]; free it. */
static inline float *reference_mamba(const icd_model *m, const icd_batch *b)
{
    const icd_model_config *c = icd_model_get_config(m);
    const float *table = icd_model_tensor(m, "backbone.embeddings.weight")->data,
                *gain = icd_model_tensor(m, "backbone.norm_f.weight")->data;
    int64_t tokens = b->batch * b->seq, hidden = c->hidden;
    float *out = malloc((size_t)(tokens * hidden) * sizeof *out);
    double *x = mamba_doubles(tokens * hidden), *n = mamba_doubles(hidden),
           *y = mamba_doubles(hidden);
    assert_non_null(out);
    for (int64_t i = 0; i < tokens * hidden; i++)
        x[i] = (double)table[b->ids[i / hidden] * hidden + i % hidden];
    for (int64_t l = 0; l < c->layers; l++)
        for (int64_t s = 0; s < b->batch; s++) {
            double *past = mamba_doubles(b->seq * c->inner),
                   *h = mamba_doubles(c->inner * c->state);
            for (int64_t t = 0; t < b->seq; t++) {
                double *row = x + (s * b->seq + t) * hidden;
                mamba_norm(c, mamba_tensor(m, l, "norm.weight"), row, n);
                mamba_mix(m, l, n, t, past, h, y);
                for (int64_t i = 0; i < hidden; i++) row[i] += y[i];
            }
            free(past);
            free(h);
        }
    for (int64_t t = 0; t < tokens; t++) {
        mamba_norm(c, gain, x + t * hidden, n);
        for (int64_t i = 0; i < hidden; i++) out[t * hidden + i] = (float)n[i];
    }
    free(x);
    free(n);
    free(y);
    return out;
}

/** What stands behind the last token of a sequence is nobody's business. */
static inline void clear_padding(float *hidden, int64_t width, const icd_batch *b)
{
    for (int64_t t = 0; b->lengths && t < b->batch * b->seq; t++)
        if (t % b->seq >= b->lengths[t / b->seq])
            memset(hidden + t * width, 0, (size_t)width * sizeof *hidden);
}

#endif
