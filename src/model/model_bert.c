#include "model/model_private.h"

#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *text_of(const json_t *root, const char *key, const char *otherwise)
{
    const json_t *value = json_object_get(root, key);
    if (!value || json_is_null(value)) return otherwise;
    return json_is_string(value) ? json_string_value(value) : "(no text)";
}

static icd_status check_kind(icd_ctx *ctx, const char *place, const json_t *root)
{
    const char *act = text_of(root, "hidden_act", "gelu");
    const char *position = text_of(root, "position_embedding_type", "absolute");
    if (strcmp(act, "gelu") && strcmp(act, "relu"))
        return icd_i_model_unsupported(ctx, place, "hidden_act", act, "gelu and relu");
    if (strcmp(position, "absolute"))
        return icd_i_model_unsupported(ctx, place, "position_embedding_type", position,
                                       "absolute");
    if (json_is_true(json_object_get(root, "is_decoder")))
        return icd_i_model_unsupported(ctx, place, "is_decoder", "true", "encoders");
    return ICD_OK;
}

static icd_status read_sizes(icd_ctx *ctx, const char *place, const json_t *root,
                             icd_model_config *c)
{
    icd_status status;
    ICD_TRY(icd_i_transformer_sizes(ctx, place, root, c));
    ICD_TRY(icd_i_json_int(ctx, root, "type_vocab_size", place, 1, INT32_MAX, &c->types));
    ICD_TRY(icd_i_json_real(ctx, root, "layer_norm_eps", place, &c->norm_eps));
    if (c->hidden % c->heads)
        status = icd_i_fail(ctx, ICD_EDATA, place, NULL,
                            "hidden_size %" PRId64 " is no multiple of "
                            "num_attention_heads %" PRId64,
                            c->hidden, c->heads);
done:
    return status;
}

/* Of the models with a `classifier`, this one applies it to every token. */
static bool labels_tokens(const json_t *root)
{
    const char *name =
        json_string_value(json_array_get(json_object_get(root, "architectures"), 0));
    return name && strcmp(name, "BertForTokenClassification") == 0;
}

static icd_status read_config(icd_ctx *ctx, icd_model *model, const char *place,
                              const json_t *root)
{
    icd_status status;
    ICD_TRY(check_kind(ctx, place, root));
    ICD_TRY(read_sizes(ctx, place, root, &model->config));
    model->config.labels_tokens = labels_tokens(root);
    snprintf(model->config.act, sizeof model->config.act, "%s",
             text_of(root, "hidden_act", "gelu"));
done:
    return status;
}

/* Shapes in letters: h hidden, i inner, v vocab, p positions, t types. */
typedef struct need {
    const char *name, *shape;
} need;

static const need OUTSIDE[] = {
    {"embeddings.word_embeddings.weight", "vh"},
    {"embeddings.position_embeddings.weight", "ph"},
    {"embeddings.token_type_embeddings.weight", "th"},
    {"embeddings.LayerNorm.weight", "h"},
    {"embeddings.LayerNorm.bias", "h"},
};

static const need POOLER[] = {{"pooler.dense.weight", "hh"}, {"pooler.dense.bias", "h"}};

static const need LAYER[] = {
    {"attention.self.query.weight", "hh"},
    {"attention.self.query.bias", "h"},
    {"attention.self.key.weight", "hh"},
    {"attention.self.key.bias", "h"},
    {"attention.self.value.weight", "hh"},
    {"attention.self.value.bias", "h"},
    {"attention.output.dense.weight", "hh"},
    {"attention.output.dense.bias", "h"},
    {"attention.output.LayerNorm.weight", "h"},
    {"attention.output.LayerNorm.bias", "h"},
    {"intermediate.dense.weight", "ih"},
    {"intermediate.dense.bias", "i"},
    {"output.dense.weight", "hi"},
    {"output.dense.bias", "h"},
    {"output.LayerNorm.weight", "h"},
    {"output.LayerNorm.bias", "h"},
};

static int64_t size_of(const icd_model_config *c, char letter)
{
    switch (letter) {
    case 'h':
        return c->hidden;
    case 'i':
        return c->inner;
    case 'v':
        return c->vocab;
    case 'p':
        return c->positions;
    default:
        return c->types;
    }
}

static icd_status check_all(icd_ctx *ctx, const icd_model *model, const char *prefix,
                            const need *want, size_t count)
{
    icd_status status = ICD_OK;
    char name[128];
    for (size_t i = 0; i < count; ++i) {
        int32_t dims = (int32_t)strlen(want[i].shape);
        int64_t shape[2] = {size_of(&model->config, want[i].shape[0]),
                            size_of(&model->config, want[i].shape[dims - 1])};
        snprintf(name, sizeof name, "%s%s", prefix, want[i].name);
        ICD_TRY(icd_i_model_check(ctx, model, name, dims, shape));
    }
done:
    return status;
}

static bool has_pooler(const icd_model *model)
{
    return icd_model_tensor(model, POOLER[0].name) != NULL;
}

static icd_status check_tensors(icd_ctx *ctx, const icd_model *model)
{
    icd_status status;
    ICD_TRY(check_all(ctx, model, "", OUTSIDE, sizeof OUTSIDE / sizeof *OUTSIDE));
    for (int64_t l = 0; l < model->config.layers; ++l) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "encoder.layer.%" PRId64 ".", l);
        ICD_TRY(check_all(ctx, model, prefix, LAYER, sizeof LAYER / sizeof *LAYER));
    }
    if (has_pooler(model))
        ICD_TRY(check_all(ctx, model, "", POOLER, sizeof POOLER / sizeof *POOLER));
done:
    return status;
}

/* What reads or writes the residual stream in a layer, and along which dimension. */
static const struct {
    const char *name;
    int32_t dim;
} RESIDUAL[] = {
    {"attention.self.query.weight", 1},
    {"attention.self.key.weight", 1},
    {"attention.self.value.weight", 1},
    {"attention.output.dense.weight", 0},
    {"attention.output.dense.bias", 0},
    {"attention.output.LayerNorm.weight", 0},
    {"attention.output.LayerNorm.bias", 0},
    {"intermediate.dense.weight", 1},
    {"output.dense.weight", 0},
    {"output.dense.bias", 0},
    {"output.LayerNorm.weight", 0},
    {"output.LayerNorm.bias", 0},
};

/* Heads that tasks put on the encoder. The masked-word head works in the space of the
 * word embeddings, which are its decoder, so all of it goes with the residual stream. */
static const struct {
    const char *name;
    int32_t dims;
    bool residual[2]; /* dimensions bound to the residual stream */
    bool either;      /* reads the residual stream or the pooled output */
} TASK[] = {
    {"cls.predictions.transform.dense.weight", 2, {true, true}, false},
    {"cls.predictions.transform.dense.bias", 1, {true}, false},
    {"cls.predictions.transform.LayerNorm.weight", 1, {true}, false},
    {"cls.predictions.transform.LayerNorm.bias", 1, {true}, false},
    {"cls.predictions.decoder.weight", 2, {false, true}, false},
    {"cls.predictions.decoder.bias", 1, {false}, false},
    {"cls.predictions.bias", 1, {false}, false},
    {"cls.seq_relationship.weight", 2, {false}, false},
    {"cls.seq_relationship.bias", 1, {false}, false},
    {"qa_outputs.weight", 2, {false, true}, false},
    {"qa_outputs.bias", 1, {false}, false},
    {"classifier.weight", 2, {false, true}, true},
    {"classifier.bias", 1, {false}, false},
};

static int find_task(const char *name)
{
    for (int i = 0; i < (int)(sizeof TASK / sizeof *TASK); ++i)
        if (strcmp(TASK[i].name, name) == 0) return i;
    return -1;
}

static icd_status bind_task(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                            const icd_tensor *t, int task)
{
    icd_status status = ICD_OK;
    if (TASK[task].either && !model->config.labels_tokens) return ICD_OK;
    for (int32_t d = 0; d < TASK[task].dims; ++d) {
        if (!TASK[task].residual[d]) continue;
        int64_t shape[2] = {t->shape[0], t->shape[1]};
        shape[d] = model->config.hidden;
        ICD_TRY(icd_i_model_check(ctx, model, t->name, TASK[task].dims, shape));
        ICD_TRY(icd_i_model_bind(ctx, model, list, d, 0, 1, "%s", t->name));
    }
done:
    return status;
}

static bool is_encoder(const char *name)
{
    return strncmp(name, "encoder.layer.", 14) == 0 ||
           strncmp(name, "embeddings.", 11) == 0 || strncmp(name, "pooler.", 7) == 0;
}

/* A tensor of unknown use may read the residual stream. */
static icd_status bind_tasks(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                             bool *known)
{
    icd_status status = ICD_OK;
    *known = true;
    for (int64_t i = 0; i < model->slots; ++i) {
        const icd_tensor *t = &model->slot[i].tensor;
        int task = find_task(t->name);
        if (task >= 0) ICD_TRY(bind_task(ctx, model, list, t, task));
        if (task >= 0 || is_encoder(t->name)) continue;
        icd_i_model_warn_unknown(ctx, model, t->name);
        *known = false;
    }
done:
    return status;
}

static icd_status bind_residual(icd_ctx *ctx, icd_model *model, icd_binding_list *list)
{
    icd_status status = ICD_OK;
    for (size_t i = 0; i < sizeof OUTSIDE / sizeof *OUTSIDE; ++i)
        ICD_TRY(icd_i_model_bind(ctx, model, list, OUTSIDE[i].shape[1] ? 1 : 0, 0, 1,
                                 "%s", OUTSIDE[i].name));
    for (int64_t l = 0; l < model->config.layers; ++l)
        for (size_t i = 0; i < sizeof RESIDUAL / sizeof *RESIDUAL; ++i)
            ICD_TRY(icd_i_model_bind(ctx, model, list, RESIDUAL[i].dim, 0, 1,
                                     "encoder.layer.%" PRId64 ".%s", l,
                                     RESIDUAL[i].name));
    if (has_pooler(model))
        ICD_TRY(icd_i_model_bind(ctx, model, list, 1, 0, 1, "pooler.dense.weight"));
done:
    return status;
}

/* Rows of a projection and the bias that belongs to them. */
static icd_status bind_rows(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                            int64_t layer, const char *part, int64_t offset,
                            int64_t block)
{
    icd_status status;
    ICD_TRY(icd_i_model_bind(ctx, model, list, 0, offset, block,
                             "encoder.layer.%" PRId64 ".%s.weight", layer, part));
    ICD_TRY(icd_i_model_bind(ctx, model, list, 0, offset, block,
                             "encoder.layer.%" PRId64 ".%s.bias", layer, part));
done:
    return status;
}

static icd_status bind_columns(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                               int64_t layer, const char *part, int64_t offset,
                               int64_t block)
{
    return icd_i_model_bind(ctx, model, list, 1, offset, block,
                            "encoder.layer.%" PRId64 ".%s.weight", layer, part);
}

static icd_status add_inner(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                            int64_t layer)
{
    icd_status status;
    char name[64];
    snprintf(name, sizeof name, "layer.%" PRId64 ".ffn.inner", layer);
    ICD_TRY(bind_rows(ctx, model, list, layer, "intermediate.dense", 0, 1));
    ICD_TRY(bind_columns(ctx, model, list, layer, "output.dense", 0, 1));
    ICD_TRY(icd_i_model_take_axis(ctx, model, name, model->config.inner, list));
done:
    return status;
}

static icd_status add_heads(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                            int64_t layer)
{
    icd_status status;
    char name[64];
    int64_t width = model->config.hidden / model->config.heads;
    snprintf(name, sizeof name, "layer.%" PRId64 ".heads", layer);
    ICD_TRY(bind_rows(ctx, model, list, layer, "attention.self.query", 0, width));
    ICD_TRY(bind_rows(ctx, model, list, layer, "attention.self.key", 0, width));
    ICD_TRY(bind_rows(ctx, model, list, layer, "attention.self.value", 0, width));
    ICD_TRY(bind_columns(ctx, model, list, layer, "attention.output.dense", 0, width));
    ICD_TRY(icd_i_model_take_axis(ctx, model, name, model->config.heads, list));
    model->axis[model->axes - 1].member = model->axes;
    model->axis[model->axes - 1].members = 2;
done:
    return status;
}

/* Scores q . k and sums of v do not change when both sides are reordered alike. */
static icd_status add_head(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                           int64_t layer, int64_t head)
{
    icd_status status;
    char name[64];
    int64_t width = model->config.hidden / model->config.heads, at = head * width;
    snprintf(name, sizeof name, "layer.%" PRId64 ".head.%" PRId64 ".qk", layer, head);
    ICD_TRY(bind_rows(ctx, model, list, layer, "attention.self.query", at, 1));
    ICD_TRY(bind_rows(ctx, model, list, layer, "attention.self.key", at, 1));
    ICD_TRY(icd_i_model_take_axis(ctx, model, name, width, list));
    snprintf(name, sizeof name, "layer.%" PRId64 ".head.%" PRId64 ".v", layer, head);
    ICD_TRY(bind_rows(ctx, model, list, layer, "attention.self.value", at, 1));
    ICD_TRY(bind_columns(ctx, model, list, layer, "attention.output.dense", at, 1));
    ICD_TRY(icd_i_model_take_axis(ctx, model, name, width, list));
done:
    return status;
}

static icd_status add_residual(icd_ctx *ctx, icd_model *model, icd_binding_list *list)
{
    icd_status status;
    bool known = false;
    ICD_TRY(bind_residual(ctx, model, list));
    ICD_TRY(bind_tasks(ctx, model, list, &known));
    if (known) {
        ICD_TRY(
            icd_i_model_take_axis(ctx, model, "residual", model->config.hidden, list));
        model->axis[model->axes - 1].axis.reaches_output = true;
    }
    list->count = 0;
done:
    return status;
}

static icd_status add_axes(icd_ctx *ctx, icd_model *model)
{
    icd_status status;
    icd_binding_list list = {0};
    ICD_TRY(add_residual(ctx, model, &list));
    for (int64_t l = 0; l < model->config.layers; ++l) {
        ICD_TRY(add_inner(ctx, model, &list, l));
        ICD_TRY(add_heads(ctx, model, &list, l));
        for (int64_t h = 0; h < model->config.heads; ++h)
            ICD_TRY(add_head(ctx, model, &list, l, h));
    }
done:
    icd_i_free(ctx, list.binding);
    return status;
}

icd_status icd_i_bert_open(icd_ctx *ctx, icd_model *model, const char *place,
                           const json_t *root)
{
    icd_status status;
    model->arch = "bert";
    ICD_TRY(read_config(ctx, model, place, root));
    ICD_TRY(check_tensors(ctx, model));
    ICD_TRY(add_axes(ctx, model));
done:
    return status;
}
