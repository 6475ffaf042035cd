/**
 * @file synthetic.h
 * Small models made up for the tests: every element of a tensor is told from the others.
 */
#ifndef ICD_TEST_SYNTHETIC_H
#define ICD_TEST_SYNTHETIC_H

#include "support.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include <icd/model.h>

enum {
    LAYERS = 2,
    HIDDEN = 12,
    INNER = 20,
    HEADS = 3,
    VOCAB = 11,
    POSITIONS = 7,
    TYPES = 2,
    MOST_TENSORS = 64
};

typedef struct synthetic {
    icd_ctx *ctx;
    icd_tensor tensor[MOST_TENSORS];
    int64_t count;
} synthetic;

static inline void synthetic_fill(icd_tensor *t, void *data, int64_t seed)
{
    for (int64_t i = 0; i < t->count; ++i) {
        int64_t value = seed * 1000 + i;
        if (t->dtype == ICD_F32) ((float *)data)[i] = (float)value;
        if (t->dtype == ICD_F16) ((uint16_t *)data)[i] = (uint16_t)value;
        if (t->dtype == ICD_I64) ((int64_t *)data)[i] = value;
    }
}

/** Adds a tensor; b = 0: a vector. */
static inline void synthetic_add(synthetic *s, const char *name, icd_dtype dtype,
                                 int64_t a, int64_t b)
{
    icd_tensor *t = &s->tensor[s->count];
    void *data = NULL;
    char *copy = NULL;
    assert_true(s->count < MOST_TENSORS);
    assert_ok(s->ctx, icd_i_strdup(s->ctx, name, &copy));
    *t = (icd_tensor){copy, dtype, b ? 2 : 1, {a, b}, a * (b ? b : 1), NULL};
    assert_ok(s->ctx,
              icd_i_alloc(s->ctx, t->count, (size_t)icd_dtype_size(dtype), &data));
    synthetic_fill(t, data, ++s->count);
    t->data = data;
}

static inline void synthetic_free(synthetic *s)
{
    for (int64_t i = 0; i < s->count; ++i) {
        icd_i_free(s->ctx, (void *)s->tensor[i].name);
        icd_i_free(s->ctx, (void *)s->tensor[i].data);
    }
}

static inline void synthetic_layer(synthetic *s, const char *prefix, int layer)
{
    static const struct {
        const char *name;
        int64_t rows, columns;
    } PART[] = {{"attention.self.query", HIDDEN, HIDDEN},
                {"attention.self.key", HIDDEN, HIDDEN},
                {"attention.self.value", HIDDEN, HIDDEN},
                {"attention.output.dense", HIDDEN, HIDDEN},
                {"attention.output.LayerNorm", HIDDEN, 0},
                {"intermediate.dense", INNER, HIDDEN},
                {"output.dense", HIDDEN, INNER},
                {"output.LayerNorm", HIDDEN, 0}};
    char name[160];
    for (size_t i = 0; i < sizeof PART / sizeof *PART; ++i) {
        snprintf(name, sizeof name, "%sencoder.layer.%d.%s.weight", prefix, layer,
                 PART[i].name);
        synthetic_add(s, name, ICD_F32, PART[i].rows, PART[i].columns);
        snprintf(name, sizeof name, "%sencoder.layer.%d.%s.bias", prefix, layer,
                 PART[i].name);
        synthetic_add(s, name, ICD_F32, PART[i].rows, 0);
    }
}

/** The tensors of a BertModel of the sizes above, and one that no architecture knows. */
static inline void synthetic_bert(synthetic *s, const char *prefix)
{
    static const struct {
        const char *name;
        int64_t rows, columns;
    } PART[] = {{"embeddings.word_embeddings.weight", VOCAB, HIDDEN},
                {"embeddings.position_embeddings.weight", POSITIONS, HIDDEN},
                {"embeddings.token_type_embeddings.weight", TYPES, HIDDEN},
                {"embeddings.LayerNorm.weight", HIDDEN, 0},
                {"embeddings.LayerNorm.bias", HIDDEN, 0},
                {"pooler.dense.weight", HIDDEN, HIDDEN},
                {"pooler.dense.bias", HIDDEN, 0}};
    char name[160];
    for (size_t i = 0; i < sizeof PART / sizeof *PART; ++i) {
        snprintf(name, sizeof name, "%s%s", prefix, PART[i].name);
        synthetic_add(s, name, ICD_F32, PART[i].rows, PART[i].columns);
    }
    for (int l = 0; l < LAYERS; ++l) synthetic_layer(s, prefix, l);
    synthetic_add(s, "embeddings.position_ids", ICD_I64, 1, POSITIONS);
}

static inline void synthetic_block(synthetic *s, int layer, icd_dtype dtype)
{
    static const struct {
        const char *name;
        int64_t rows, columns;
    } PART[] = {{"w1", INNER, HIDDEN},
                {"b1", INNER, 0},
                {"w2", HIDDEN, INNER},
                {"b2", HIDDEN, 0}};
    char name[64];
    for (size_t i = 0; i < sizeof PART / sizeof *PART; ++i) {
        snprintf(name, sizeof name, "layer.%d.ffn.%s", layer, PART[i].name);
        synthetic_add(s, name, dtype, PART[i].rows, PART[i].columns);
    }
}

static const char CONFIG[] =
    "{\"model_type\": \"bert\", \"num_hidden_layers\": 2, \"hidden_size\": 12,"
    " \"intermediate_size\": 20, \"num_attention_heads\": 3, \"vocab_size\": 11,"
    " \"max_position_embeddings\": 7, \"type_vocab_size\": 2,"
    " \"layer_norm_eps\": 1e-12, \"hidden_act\": \"gelu\"}";

/** Puts a text file into a folder of the test's. */
static inline void synthetic_text(icd_ctx *ctx, const char *dir, const char *name,
                                  const char *text)
{
    char *path = NULL;
    assert_ok(ctx, icd_i_path_join(ctx, dir, name, &path));
    assert_ok(ctx, icd_i_file_write(ctx, path, text, strlen(text)));
    icd_i_free(ctx, path);
}

/** Writes model.safetensors, and config.json unless `config` is NULL. */
static inline void synthetic_write(const synthetic *s, const char *dir,
                                   const char *config)
{
    char *path = NULL;
    assert_ok(s->ctx, icd_i_mkdirs(s->ctx, dir));
    assert_ok(s->ctx, icd_i_path_join(s->ctx, dir, "model.safetensors", &path));
    assert_ok(s->ctx, icd_safetensors_write(s->ctx, path, s->tensor, s->count, NULL));
    icd_i_free(s->ctx, path);
    if (config) synthetic_text(s->ctx, dir, "config.json", config);
}

/** A folder NAME with a small BertModel. */
static inline void synthetic_bert_folder(icd_ctx *ctx, const char *dir,
                                         const char *prefix)
{
    synthetic s = {.ctx = ctx};
    synthetic_bert(&s, prefix);
    synthetic_write(&s, dir, CONFIG);
    synthetic_free(&s);
}

/** The model of ICD_SOURCE_DIR/.cache, or NULL. */
static inline const char *real_model(void)
{
    static const char WEIGHTS[] =
        ICD_SOURCE_DIR "/.cache/models/all-MiniLM-L6-v2/model.safetensors";
    return icd_i_file_exists(WEIGHTS) ? ICD_SOURCE_DIR "/.cache/models/all-MiniLM-L6-v2"
                                      : NULL;
}

#define skip_real()                                                                      \
    do {                                                                                 \
        print_message("skipped: all-MiniLM-L6-v2 is not here (make model)\n");           \
        skip();                                                                          \
    } while (0)

#endif
