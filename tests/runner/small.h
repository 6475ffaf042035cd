/**
 * @file small.h
 * Small random models, masks and layouts for the tests of the runner, and running them.
 */
#ifndef ICD_TEST_SMALL_H
#define ICD_TEST_SMALL_H

#include "support.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "core/layout.h"
#include <icd/matrix.h>
#include <icd/runner.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** No size is a multiple of a row block or of a granule. */
typedef struct small_shape {
    int64_t layers, hidden, inner, heads, vocab, positions;
    const char *act;
    bool pooler;
} small_shape;

static const small_shape SMALL = {2, 36, 70, 3, 23, 11, "gelu", true};

enum { MOST_TENSORS = 64 };

typedef struct small_tensors {
    icd_ctx *ctx;
    icd_rng rng;
    icd_tensor tensor[MOST_TENSORS];
    int64_t count;
} small_tensors;

static inline icd_ctx *small_ctx(int32_t threads)
{
    icd_ctx_opts opts = {.size = sizeof opts, .threads = threads};
    icd_ctx *ctx = icd_ctx_new(&opts);
    assert_non_null(ctx);
    return ctx;
}

/** A random tensor; cols = 0: a vector. */
static inline void small_add(small_tensors *s, const char *name, int64_t rows,
                             int64_t cols, double mean, double spread)
{
    char *copy = NULL;
    float *data = NULL;
    int64_t count = rows * (cols ? cols : 1);
    assert_true(s->count < MOST_TENSORS);
    assert_ok(s->ctx, icd_i_strdup(s->ctx, name, &copy));
    assert_ok(s->ctx, ICD_ALLOC(s->ctx, count, &data));
    for (int64_t i = 0; i < count; i++)
        data[i] = (float)(mean + spread * icd_i_rng_normal(&s->rng));
    s->tensor[s->count++] =
        (icd_tensor){copy, ICD_F32, cols ? 2 : 1, {rows, cols}, count, data};
}

static inline void small_release(small_tensors *s)
{
    for (int64_t i = 0; i < s->count; i++) {
        icd_i_free(s->ctx, (void *)(uintptr_t)s->tensor[i].name);
        icd_i_free(s->ctx, (void *)(uintptr_t)s->tensor[i].data);
    }
}

/** NAME.weight and NAME.bias of a linear or, with cols = 0, of a norm. */
static inline void small_pair(small_tensors *s, const char *name, int64_t rows,
                              int64_t cols)
{
    char full[160];
    snprintf(full, sizeof full, "%s.weight", name);
    small_add(s, full, rows, cols, cols ? 0 : 1, cols ? 1.5 / sqrt((double)cols) : .2);
    snprintf(full, sizeof full, "%s.bias", name);
    small_add(s, full, rows, 0, 0, .2);
}

static inline void small_layer(small_tensors *s, const small_shape *z, int64_t layer)
{
    const struct {
        const char *name;
        int64_t rows, cols;
    } part[] = {{"attention.self.query", z->hidden, z->hidden},
                {"attention.self.key", z->hidden, z->hidden},
                {"attention.self.value", z->hidden, z->hidden},
                {"attention.output.dense", z->hidden, z->hidden},
                {"attention.output.LayerNorm", z->hidden, 0},
                {"intermediate.dense", z->inner, z->hidden},
                {"output.dense", z->hidden, z->inner},
                {"output.LayerNorm", z->hidden, 0}};
    char name[128];
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        snprintf(name, sizeof name, "encoder.layer.%d.%s", (int)layer, part[i].name);
        small_pair(s, name, part[i].rows, part[i].cols);
    }
}

static inline void small_write(small_tensors *s, const char *dir, const char *config)
{
    char *path = NULL;
    assert_ok(s->ctx, icd_i_mkdirs(s->ctx, dir));
    assert_ok(s->ctx, icd_i_path_join(s->ctx, dir, "model.safetensors", &path));
    assert_ok(s->ctx, icd_safetensors_write(s->ctx, path, s->tensor, s->count, NULL));
    icd_i_free(s->ctx, path);
    assert_ok(s->ctx, icd_i_path_join(s->ctx, dir, "config.json", &path));
    assert_ok(s->ctx, icd_i_file_write(s->ctx, path, config, strlen(config)));
    icd_i_free(s->ctx, path);
}

/** A random BertModel of shape `z`, opened. */
static inline icd_model *small_bert(icd_ctx *ctx, const small_shape *z, uint64_t seed)
{
    small_tensors s = {.ctx = ctx};
    char config[512], name[32];
    icd_model *model = NULL;
    icd_i_rng_init(&s.rng, seed, 7);
    small_add(&s, "embeddings.word_embeddings.weight", z->vocab, z->hidden, 0, 1);
    small_add(&s, "embeddings.position_embeddings.weight", z->positions, z->hidden, 0, 1);
    small_add(&s, "embeddings.token_type_embeddings.weight", 2, z->hidden, 0, 1);
    small_pair(&s, "embeddings.LayerNorm", z->hidden, 0);
    for (int64_t i = 0; i < z->layers; i++) small_layer(&s, z, i);
    if (z->pooler) small_pair(&s, "pooler.dense", z->hidden, z->hidden);
    snprintf(config, sizeof config,
             "{\"model_type\": \"bert\", \"num_hidden_layers\": %d, \"hidden_size\": %d,"
             " \"intermediate_size\": %d, \"num_attention_heads\": %d,"
             " \"vocab_size\": %d, \"max_position_embeddings\": %d,"
             " \"type_vocab_size\": 2, \"layer_norm_eps\": 1e-12, \"hidden_act\": "
             "\"%s\"}",
             (int)z->layers, (int)z->hidden, (int)z->inner, (int)z->heads, (int)z->vocab,
             (int)z->positions, z->act);
    snprintf(name, sizeof name, "bert-%llu", (unsigned long long)seed);
    small_write(&s, icd_test_path(name), config);
    small_release(&s);
    assert_ok(ctx, icd_model_open(ctx, icd_test_path(name), &model));
    return model;
}

/** Random ids with lengths that differ; free ids and lengths. */
static inline icd_batch small_batch(const small_shape *z, int64_t batch, int64_t seq,
                                    uint64_t seed)
{
    icd_rng rng;
    icd_i_rng_init(&rng, seed, 3);
    int32_t *ids = malloc((size_t)(batch * seq) * sizeof *ids),
            *lengths = malloc((size_t)batch * sizeof *lengths);
    assert_non_null(ids);
    assert_non_null(lengths);
    for (int64_t i = 0; i < batch * seq; i++)
        ids[i] = (int32_t)icd_i_rng_below(&rng, z->vocab);
    for (int64_t b = 0; b < batch; b++)
        lengths[b] = b ? 1 + (int32_t)icd_i_rng_below(&rng, seq) : (int32_t)seq;
    return (icd_batch){.ids = ids, .lengths = lengths, .batch = batch, .seq = seq};
}

static inline void small_batch_release(icd_batch *b)
{
    free((void *)(uintptr_t)b->ids);
    free((void *)(uintptr_t)b->lengths);
}

/** What a run computed, copied. */
typedef struct result {
    float *hidden, *pooled;
    int64_t tokens, width, batch;
} result;

static inline float *copy_f32(const float *from, int64_t n)
{
    if (!from) return NULL;
    float *copy = malloc((size_t)n * sizeof *copy);
    assert_non_null(copy);
    return memcpy(copy, from, (size_t)n * sizeof *copy);
}

static inline result keep_output(const icd_output *o)
{
    return (result){copy_f32(o->hidden, o->tokens * o->width),
                    copy_f32(o->pooled, o->batch * o->width), o->tokens, o->width,
                    o->batch};
}

static inline void result_release(result *r)
{
    free(r->hidden);
    free(r->pooled);
}

static inline icd_runner_opts small_opts(int32_t dtype)
{
    icd_runner_opts opts;
    icd_options_init(&icd_runner_table, &opts);
    opts.dtype = dtype;
    opts.vector = 16;
    return opts;
}

static inline result run_once(icd_ctx *ctx, const icd_model *model,
                              const icd_layout *layout, int32_t dtype,
                              const icd_batch *batch)
{
    icd_runner_opts opts = small_opts(dtype);
    icd_runner *runner = NULL;
    icd_output out;
    assert_ok(ctx, icd_runner_new(ctx, model, layout, batch, &opts, &runner));
    assert_ok(ctx, icd_runner_step(ctx, runner, batch, &out));
    result kept = keep_output(&out);
    icd_runner_free(ctx, runner);
    return kept;
}

static inline void assert_same_bits(const result *a, const result *b)
{
    assert_int_equal(a->tokens, b->tokens);
    assert_int_equal(a->width, b->width);
    assert_memory_equal(a->hidden, b->hidden,
                        (size_t)(a->tokens * a->width) * sizeof(float));
    assert_int_equal(!a->pooled, !b->pooled);
    if (a->pooled)
        assert_memory_equal(a->pooled, b->pooled,
                            (size_t)(a->batch * a->width) * sizeof(float));
}

/** max |a - b| / max |b|; NaN counts as infinity. */
static inline double relative_gap(const float *a, const float *b, int64_t n)
{
    double gap = 0, top = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= gap)) gap = isnan(d) ? INFINITY : d;
        top = fmax(top, fabs((double)b[i]));
    }
    return top > 0 ? gap / top : gap;
}

static inline double cosine(const float *a, const float *b, int64_t n)
{
    double dot = 0, x = 0, y = 0;
    for (int64_t i = 0; i < n; i++) {
        dot += (double)a[i] * (double)b[i];
        x += (double)a[i] * (double)a[i];
        y += (double)b[i] * (double)b[i];
    }
    return dot / sqrt(x * y);
}

/** A model whose linears are masked, its layout and its int8 weights. */
typedef struct sparse {
    icd_model *model;
    icd_layout *layout;
    icd_quantized **quant;
} sparse;

static inline icd_mask *random_mask(icd_ctx *ctx, icd_rng *rng, const icd_linear *l,
                                    int32_t vector, double density)
{
    icd_mask *mask = NULL;
    assert_ok(ctx, icd_i_mask_new(ctx, l->rows, l->cols, vector, &mask));
    for (int64_t b = 0; b < mask->blocks; b++)
        for (int64_t c = 0; c < l->cols; c++)
            if (icd_i_rng_unit(rng) < density) icd_i_mask_set(mask, b, c);
    return mask;
}

static inline float *masked_weights(icd_ctx *ctx, const icd_model *model,
                                    const icd_linear *l, const icd_mask *mask)
{
    float *w = NULL;
    assert_ok(ctx, icd_model_tensor_f32(ctx, model, l->tensor, &w));
    for (int64_t r = 0; r < l->rows; r++)
        for (int64_t c = 0; c < l->cols; c++)
            if (!icd_i_mask_get(mask, r / mask->vector, c)) w[r * l->cols + c] = 0;
    return w;
}

static inline icd_quantized *quantized(icd_ctx *ctx, const icd_linear *l, const float *w)
{
    icd_quantized *q = NULL;
    assert_ok(ctx, icd_quantized_new(ctx, l->rows, l->cols, &q));
    for (int64_t r = 0; r < l->rows; r++)
        assert_true(icd_quantize_weights(w + r * l->cols, l->cols, q->q + r * l->cols,
                                         &q->scale[r]));
    return q;
}

static inline sparse sparse_new(icd_ctx *ctx, const icd_model *source, int32_t vector,
                                double density, uint64_t seed)
{
    sparse s = {0};
    const icd_linear *list = NULL;
    icd_replacement with[MOST_TENSORS];
    int64_t count = 0;
    icd_rng rng;
    icd_i_rng_init(&rng, seed, 11);
    assert_ok(ctx, icd_runner_linears(ctx, source, &list, &count));
    assert_true(count <= MOST_TENSORS);
    assert_ok(ctx, icd_i_layout_new(ctx, &s.layout));
    assert_ok(ctx, ICD_ALLOC(ctx, count, &s.quant));
    for (int64_t i = 0; i < count; i++) {
        const icd_linear *l = &list[i];
        icd_mask *mask = random_mask(ctx, &rng, l, vector, density);
        float *w = masked_weights(ctx, source, l, mask);
        assert_ok(ctx,
                  icd_i_layout_add(ctx, s.layout, l->name, l->group, l->rows, l->cols));
        s.quant[i] = quantized(ctx, l, w);
        s.layout->entry[i].mask = mask;
        s.layout->entry[i].quant = s.quant[i];
        s.layout->entry[i].kernel = ICD_KERNEL_DENSE;
        s.layout->entry[i].granule = 4;
        with[i] = (icd_replacement){l->tensor, w};
    }
    assert_ok(ctx, icd_model_replace(ctx, source, with, count, &s.model));
    for (int64_t i = 0; i < count; i++)
        icd_mem_free(ctx, (void *)(uintptr_t)with[i].data);
    icd_mem_free(ctx, (void *)(uintptr_t)list);
    return s;
}

static inline void sparse_free(icd_ctx *ctx, sparse *s)
{
    for (int64_t i = 0; i < s->layout->count; i++) icd_quantized_free(ctx, s->quant[i]);
    icd_i_free(ctx, s->quant);
    icd_i_layout_free(ctx, s->layout);
    icd_model_free(ctx, s->model);
}

static inline void set_kernels(icd_layout *layout, int32_t kernel, int32_t granule)
{
    for (int64_t i = 0; i < layout->count; i++) {
        layout->entry[i].kernel = kernel;
        layout->entry[i].granule = granule;
    }
}

static inline icd_perm *random_order(icd_ctx *ctx, icd_rng *rng, int64_t n,
                                     uint64_t frame)
{
    icd_perm *p = NULL, *order = NULL;
    assert_ok(ctx, icd_perm_identity(ctx, n, frame, &p));
    icd_i_rng_shuffle(rng, p->old_of_new, n);
    assert_ok(ctx, icd_perm_from_array(ctx, p->old_of_new, n, frame, "test", &order));
    icd_perm_free(ctx, p);
    return order;
}

/** A random local order for every group. */
static inline void set_orders(icd_ctx *ctx, const icd_model *model, icd_layout *layout,
                              uint64_t seed)
{
    const icd_linear *list = NULL;
    int64_t count = 0;
    icd_rng rng;
    icd_i_rng_init(&rng, seed, 13);
    assert_ok(ctx, icd_runner_linears(ctx, model, &list, &count));
    for (int64_t i = 0; i < count; i++) {
        bool axis = icd_model_axis(model, list[i].in_axis);
        icd_perm *order = random_order(
            ctx, &rng, list[i].cols, axis ? icd_model_frame(model, list[i].in_axis) : 0);
        assert_ok(ctx, icd_i_layout_set_order(ctx, layout, list[i].group, order));
        icd_perm_free(ctx, order);
    }
    icd_mem_free(ctx, (void *)(uintptr_t)list);
}

#endif
