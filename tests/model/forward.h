/**
 * @file forward.h
 * A plain BertModel in double precision, so that a permuted model can be compared with
 * its source as a function. It knows nothing of axes.
 */
#ifndef ICD_TEST_FORWARD_H
#define ICD_TEST_FORWARD_H

#include "synthetic.h"

#include <math.h>

enum { TOKENS = 5, WIDTH = HIDDEN / HEADS };

typedef double token_rows[TOKENS][HIDDEN];

static inline const float *weight(const icd_model *m, const char *name)
{
    const icd_tensor *t = icd_model_tensor(m, name);
    assert_non_null(t);
    assert_int_equal(t->dtype, ICD_F32);
    return t->data;
}

static inline const float *part(const icd_model *m, int layer, const char *name)
{
    char full[160];
    snprintf(full, sizeof full, "encoder.layer.%d.%s", layer, name);
    return weight(m, full);
}

/** out[rows] = w x + b for every token. */
static inline void linear(const icd_model *m, int layer, const char *name,
                          const double *x, int columns, double *out, int rows)
{
    char full[128];
    snprintf(full, sizeof full, "%s.weight", name);
    const float *w = part(m, layer, full);
    snprintf(full, sizeof full, "%s.bias", name);
    const float *b = part(m, layer, full);
    for (int t = 0; t < TOKENS; ++t)
        for (int r = 0; r < rows; ++r) {
            double sum = (double)b[r];
            for (int c = 0; c < columns; ++c)
                sum += (double)w[r * columns + c] * x[t * columns + c];
            out[t * rows + r] = sum;
        }
}

static inline void normalise(token_rows x, const float *scale, const float *shift)
{
    for (int t = 0; t < TOKENS; ++t) {
        double mean = 0, square = 0;
        for (int c = 0; c < HIDDEN; ++c) mean += x[t][c] / HIDDEN;
        for (int c = 0; c < HIDDEN; ++c)
            square += (x[t][c] - mean) * (x[t][c] - mean) / HIDDEN;
        for (int c = 0; c < HIDDEN; ++c)
            x[t][c] = (x[t][c] - mean) / sqrt(square + 1e-12) * (double)scale[c] +
                      (double)shift[c];
    }
}

static inline void attend(token_rows q, token_rows k, token_rows v, token_rows out)
{
    for (int h = 0; h < HEADS; ++h)
        for (int t = 0; t < TOKENS; ++t) {
            double share[TOKENS], total = 0;
            for (int u = 0; u < TOKENS; ++u) {
                double score = 0;
                for (int d = h * WIDTH; d < (h + 1) * WIDTH; ++d)
                    score += q[t][d] * k[u][d];
                total += share[u] = exp(score / sqrt((double)WIDTH));
            }
            for (int d = h * WIDTH; d < (h + 1) * WIDTH; ++d) {
                out[t][d] = 0;
                for (int u = 0; u < TOKENS; ++u) out[t][d] += share[u] / total * v[u][d];
            }
        }
}

static inline void add_rows(token_rows x, token_rows y)
{
    for (int t = 0; t < TOKENS; ++t)
        for (int c = 0; c < HIDDEN; ++c) x[t][c] += y[t][c];
}

static inline void run_layer(const icd_model *m, int layer, token_rows x)
{
    token_rows q, k, v, mixed, y;
    double inner[TOKENS][INNER];
    linear(m, layer, "attention.self.query", *x, HIDDEN, *q, HIDDEN);
    linear(m, layer, "attention.self.key", *x, HIDDEN, *k, HIDDEN);
    linear(m, layer, "attention.self.value", *x, HIDDEN, *v, HIDDEN);
    attend(q, k, v, mixed);
    linear(m, layer, "attention.output.dense", *mixed, HIDDEN, *y, HIDDEN);
    add_rows(x, y);
    normalise(x, part(m, layer, "attention.output.LayerNorm.weight"),
              part(m, layer, "attention.output.LayerNorm.bias"));
    linear(m, layer, "intermediate.dense", *x, HIDDEN, *inner, INNER);
    for (int t = 0; t < TOKENS; ++t)
        for (int i = 0; i < INNER; ++i)
            inner[t][i] *= 0.5 * (1 + erf(inner[t][i] / sqrt(2.0)));
    linear(m, layer, "output.dense", *inner, INNER, *y, HIDDEN);
    add_rows(x, y);
    normalise(x, part(m, layer, "output.LayerNorm.weight"),
              part(m, layer, "output.LayerNorm.bias"));
}

/** The last hidden state of tokens 1, 3, 5... and what the pooler makes of the first. */
static inline void forward(const icd_model *m, token_rows x, double pooled[HIDDEN])
{
    const float *word = weight(m, "embeddings.word_embeddings.weight");
    const float *position = weight(m, "embeddings.position_embeddings.weight");
    const float *type = weight(m, "embeddings.token_type_embeddings.weight");
    for (int t = 0; t < TOKENS; ++t)
        for (int c = 0; c < HIDDEN; ++c)
            x[t][c] = (double)word[(2 * t + 1) * HIDDEN + c] +
                      (double)position[t * HIDDEN + c] + (double)type[c];
    normalise(x, weight(m, "embeddings.LayerNorm.weight"),
              weight(m, "embeddings.LayerNorm.bias"));
    for (int l = 0; l < LAYERS; ++l) run_layer(m, l, x);
    const float *w = weight(m, "pooler.dense.weight"),
                *b = weight(m, "pooler.dense.bias");
    for (int r = 0; r < HIDDEN; ++r) {
        double sum = (double)b[r];
        for (int c = 0; c < HIDDEN; ++c) sum += (double)w[r * HIDDEN + c] * x[0][c];
        pooled[r] = tanh(sum);
    }
}

#endif
