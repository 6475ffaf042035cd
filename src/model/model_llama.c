/* LlamaForCausalLM: pre-norm decoder layers with grouped-query attention, rotary
 * positions and a gated MLP. */
#include "model/model_private.h"

#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static icd_status check_act(icd_ctx *ctx, const char *place, const json_t *root,
                            icd_model_config *c)
{
    const char *act = "silu";
    icd_status status = ICD_OK;
    if (icd_i_config_given(root, "hidden_act"))
        ICD_TRY(icd_i_json_string(ctx, root, "hidden_act", place, &act));
    if (strcmp(act, "silu") && strcmp(act, "gelu") && strcmp(act, "relu"))
        return icd_i_model_unsupported(ctx, place, "hidden_act", act,
                                       "silu, gelu and relu");
    snprintf(c->act, sizeof c->act, "%s", act);
done:
    return status;
}

/* The object that says how positions are stretched, and in newer files the base too. */
static const json_t *rope_object(const json_t *root, const char **key)
{
    *key =
        icd_i_config_given(root, "rope_parameters") ? "rope_parameters" : "rope_scaling";
    return json_object_get(root, *key);
}

/* Stretched positions are other positions, not a detail to leave out. */
static icd_status check_rope(icd_ctx *ctx, const char *place, const json_t *root)
{
    const char *key;
    const json_t *rope = rope_object(root, &key),
                 *type = json_object_get(rope, "rope_type");
    if (!type) type = json_object_get(rope, "type");
    if (icd_i_config_given(root, "partial_rotary_factor") ||
        icd_i_config_given(rope, "partial_rotary_factor"))
        return icd_i_model_unsupported(ctx, place, "partial_rotary_factor", "a number",
                                       "heads that are turned whole");
    if (!rope || json_is_null(rope)) return ICD_OK;
    if (type && json_is_string(type) && strcmp(json_string_value(type), "default") == 0)
        return ICD_OK;
    return icd_i_model_unsupported(ctx, place, key,
                                   type && json_is_string(type) ? json_string_value(type)
                                                                : "(an object)",
                                   "null and 'default'");
}

static icd_status optional_int(icd_ctx *ctx, const char *place, const json_t *root,
                               const char *key, int64_t otherwise, int64_t *out)
{
    *out = otherwise;
    if (!icd_i_config_given(root, key)) return ICD_OK;
    return icd_i_json_int(ctx, root, key, place, 1, ICD_MOST_SIZE, out);
}

static icd_status check_heads(icd_ctx *ctx, const char *place, const icd_model_config *c)
{
    if (c->heads % c->kv_heads)
        return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                          "num_attention_heads %" PRId64 " is no multiple of "
                          "num_key_value_heads %" PRId64,
                          c->heads, c->kv_heads);
    if (c->head_dim < 2 || c->head_dim % 2)
        return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                          "found heads of %" PRId64
                          " values, expected an even number, as pairs are rotated",
                          c->head_dim);
    return ICD_OK;
}

static icd_status read_sizes(icd_ctx *ctx, const char *place, const json_t *root,
                             icd_model_config *c)
{
    icd_status status;
    ICD_TRY(icd_i_transformer_sizes(ctx, place, root, c));
    ICD_TRY(
        optional_int(ctx, place, root, "num_key_value_heads", c->heads, &c->kv_heads));
    ICD_TRY(
        optional_int(ctx, place, root, "head_dim", c->hidden / c->heads, &c->head_dim));
    ICD_TRY(check_heads(ctx, place, c));
done:
    return status;
}

static icd_status read_reals(icd_ctx *ctx, const char *place, const json_t *root,
                             icd_model_config *c)
{
    icd_status status = ICD_OK;
    const char *key;
    const json_t *rope = rope_object(root, &key);
    c->norm_eps = 1e-6;
    c->rope_theta = 10000;
    if (icd_i_config_given(root, "rms_norm_eps"))
        ICD_TRY(icd_i_json_real(ctx, root, "rms_norm_eps", place, &c->norm_eps));
    if (icd_i_config_given(root, "rope_theta"))
        ICD_TRY(icd_i_json_real(ctx, root, "rope_theta", place, &c->rope_theta));
    else if (icd_i_config_given(rope, "rope_theta"))
        ICD_TRY(icd_i_json_real(ctx, rope, "rope_theta", place, &c->rope_theta));
    if (!(c->rope_theta > 0))
        status =
            icd_i_fail(ctx, ICD_EDATA, place, NULL,
                       "rope_theta: found %g, expected a number above 0", c->rope_theta);
done:
    return status;
}

static icd_status read_config(icd_ctx *ctx, icd_model *model, const char *place,
                              const json_t *root)
{
    icd_status status;
    ICD_TRY(check_act(ctx, place, root, &model->config));
    ICD_TRY(check_rope(ctx, place, root));
    ICD_TRY(read_sizes(ctx, place, root, &model->config));
    ICD_TRY(read_reals(ctx, place, root, &model->config));
    model->config.tied = json_is_true(json_object_get(root, "tie_word_embeddings"));
done:
    return status;
}

/* Which tensors of a layer there are, their sides on axes (letters: h residual, i inner,
 * q query heads, k KV heads), and the key of config.json that says whether there is a
 * bias. */
static const struct {
    const char *name, *side, *bias;
} LAYER[] = {
    {"input_layernorm", "h", NULL},
    {"self_attn.q_proj", "qh", "attention_bias"},
    {"self_attn.k_proj", "kh", "attention_bias"},
    {"self_attn.v_proj", "kh", "attention_bias"},
    {"self_attn.o_proj", "hq", "attention_bias"},
    {"post_attention_layernorm", "h", NULL},
    {"mlp.gate_proj", "ih", "mlp_bias"},
    {"mlp.up_proj", "ih", "mlp_bias"},
    {"mlp.down_proj", "hi", "mlp_bias"},
};
enum { PARTS = sizeof LAYER / sizeof *LAYER };

static const char EMBEDDING[] = "model.embed_tokens.weight", NORM[] = "model.norm.weight",
                  HEAD[] = "lm_head.weight";

static int64_t size_of(const icd_model_config *c, char letter)
{
    switch (letter) {
    case 'h':
        return c->hidden;
    case 'i':
        return c->inner;
    case 'q':
        return c->heads * c->head_dim;
    default:
        return c->kv_heads * c->head_dim;
    }
}

static void name_of(char *out, size_t size, int64_t layer, const char *part,
                    const char *what)
{
    snprintf(out, size, "model.layers.%" PRId64 ".%s.%s", layer, part, what);
}

/* A bias that the configuration does not announce would be added here and not there. */
static icd_status check_bias(icd_ctx *ctx, const icd_model *model, const char *place,
                             const json_t *root, int64_t layer, int part)
{
    char name[128];
    const char *key = LAYER[part].bias;
    int64_t rows = size_of(&model->config, LAYER[part].side[0]);
    name_of(name, sizeof name, layer, LAYER[part].name, "bias");
    if (key && json_is_true(json_object_get(root, key)))
        return icd_i_model_check(ctx, model, name, 1, &rows);
    if (!icd_model_tensor(model, name)) return ICD_OK;
    return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                      "found a tensor '%s', expected none, as '%s' is not true", name,
                      key ? key : "bias");
}

static icd_status check_layer(icd_ctx *ctx, const icd_model *model, const char *place,
                              const json_t *root, int64_t layer)
{
    icd_status status = ICD_OK;
    char name[128];
    for (int i = 0; i < PARTS; ++i) {
        const char *side = LAYER[i].side;
        int32_t dims = (int32_t)strlen(side);
        int64_t shape[2] = {size_of(&model->config, side[0]),
                            size_of(&model->config, side[dims - 1])};
        name_of(name, sizeof name, layer, LAYER[i].name, "weight");
        ICD_TRY(icd_i_model_check(ctx, model, name, dims, shape));
        ICD_TRY(check_bias(ctx, model, place, root, layer, i));
    }
done:
    return status;
}

static icd_status check_tensors(icd_ctx *ctx, const icd_model *model, const char *place,
                                const json_t *root)
{
    icd_status status;
    const icd_model_config *c = &model->config;
    const int64_t shape[2] = {c->vocab, c->hidden};
    ICD_TRY(icd_i_model_check(ctx, model, EMBEDDING, 2, shape));
    ICD_TRY(icd_i_model_check(ctx, model, NORM, 1, shape + 1));
    if (!c->tied || icd_model_tensor(model, HEAD))
        ICD_TRY(icd_i_model_check(ctx, model, HEAD, 2, shape));
    for (int64_t l = 0; l < c->layers; ++l)
        ICD_TRY(check_layer(ctx, model, place, root, l));
done:
    return status;
}

/* Binds the weight of a part along `dim`, and with its rows the bias. */
static icd_status bind_part(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                            int64_t layer, const char *part, int32_t dim, int64_t offset,
                            int64_t block)
{
    icd_status status;
    char bias[128];
    name_of(bias, sizeof bias, layer, part, "bias");
    ICD_TRY(icd_i_model_bind(ctx, model, list, dim, offset, block,
                             "model.layers.%" PRId64 ".%s.weight", layer, part));
    if (dim == 0 && icd_model_tensor(model, bias))
        ICD_TRY(icd_i_model_bind(ctx, model, list, 0, offset, block, "%s", bias));
done:
    return status;
}

/* All sides of a layer that stand on the axis with this letter. */
static icd_status bind_letter(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                              int64_t layer, char letter)
{
    icd_status status = ICD_OK;
    for (int i = 0; i < PARTS; ++i)
        for (int32_t d = 0; LAYER[i].side[d]; ++d)
            if (LAYER[i].side[d] == letter)
                ICD_TRY(bind_part(ctx, model, list, layer, LAYER[i].name, d, 0, 1));
done:
    return status;
}

/* "model.layers.N.PART.weight" or ".bias" of a part that the table lists, or the rotary
 * frequencies that old checkpoints hold and nobody reads. */
static bool is_known(const icd_model *model, const char *name)
{
    int layer = -1, used = 0;
    if (!strcmp(name, EMBEDDING) || !strcmp(name, NORM) || !strcmp(name, HEAD))
        return true;
    if (sscanf(name, "model.layers.%d.%n", &layer, &used) != 1 || used == 0) return false;
    if (layer < 0 || layer >= model->config.layers) return false;
    name += used;
    for (int i = 0; i < PARTS; ++i) {
        size_t n = strlen(LAYER[i].name);
        if (strncmp(name, LAYER[i].name, n) == 0 &&
            (!strcmp(name + n, ".weight") || !strcmp(name + n, ".bias")))
            return true;
    }
    return strcmp(name, "self_attn.rotary_emb.inv_freq") == 0;
}

static icd_status add_residual(icd_ctx *ctx, icd_model *model, icd_binding_list *list)
{
    icd_status status = ICD_OK;
    if (!icd_i_model_knows_all(ctx, model, is_known)) return ICD_OK;
    ICD_TRY(icd_i_model_bind(ctx, model, list, 1, 0, 1, "%s", EMBEDDING));
    ICD_TRY(icd_i_model_bind(ctx, model, list, 0, 0, 1, "%s", NORM));
    if (icd_model_tensor(model, HEAD))
        ICD_TRY(icd_i_model_bind(ctx, model, list, 1, 0, 1, "%s", HEAD));
    for (int64_t l = 0; l < model->config.layers; ++l)
        ICD_TRY(bind_letter(ctx, model, list, l, 'h'));
    ICD_TRY(icd_i_model_take_axis(ctx, model, "residual", model->config.hidden, list));
    model->axis[model->axes - 1].axis.reaches_output = true;
done:
    return status;
}

static icd_status add_inner(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                            int64_t layer)
{
    icd_status status;
    char name[64];
    snprintf(name, sizeof name, "layer.%" PRId64 ".ffn.inner", layer);
    ICD_TRY(bind_letter(ctx, model, list, layer, 'i'));
    ICD_TRY(icd_i_model_take_axis(ctx, model, name, model->config.inner, list));
done:
    return status;
}

/* A KV head and the query heads that read it move together. */
static icd_status add_groups(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                             int64_t layer)
{
    icd_status status;
    char name[64];
    const icd_model_config *c = &model->config;
    int64_t kv = c->head_dim, queries = c->heads / c->kv_heads * c->head_dim;
    snprintf(name, sizeof name, "layer.%" PRId64 ".kv_groups", layer);
    ICD_TRY(bind_part(ctx, model, list, layer, "self_attn.q_proj", 0, 0, queries));
    ICD_TRY(bind_part(ctx, model, list, layer, "self_attn.k_proj", 0, 0, kv));
    ICD_TRY(bind_part(ctx, model, list, layer, "self_attn.v_proj", 0, 0, kv));
    ICD_TRY(bind_part(ctx, model, list, layer, "self_attn.o_proj", 1, 0, queries));
    ICD_TRY(icd_i_model_take_axis(ctx, model, name, c->kv_heads, list));
    model->axis[model->axes - 1].member = model->axes;
    model->axis[model->axes - 1].members = 2;
done:
    return status;
}

/* Query heads of a group may change places: they read the same keys and values. */
static icd_status add_queries(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                              int64_t layer, int64_t group)
{
    icd_status status;
    char name[64];
    const icd_model_config *c = &model->config;
    int64_t heads = c->heads / c->kv_heads, at = group * heads * c->head_dim;
    snprintf(name, sizeof name, "layer.%" PRId64 ".group.%" PRId64 ".q", layer, group);
    ICD_TRY(bind_part(ctx, model, list, layer, "self_attn.q_proj", 0, at, c->head_dim));
    ICD_TRY(bind_part(ctx, model, list, layer, "self_attn.o_proj", 1, at, c->head_dim));
    ICD_TRY(icd_i_model_take_axis(ctx, model, name, heads, list));
done:
    return status;
}

/* The values of a KV head reach the output through every query head of its group, in one
 * order. Those of queries and keys are rotated in pairs (i, i + d/2), each pair by its
 * own angle, so they stay where they are. */
static icd_status add_values(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                             int64_t layer, int64_t group)
{
    icd_status status;
    char name[64];
    const icd_model_config *c = &model->config;
    int64_t heads = c->heads / c->kv_heads, d = c->head_dim;
    snprintf(name, sizeof name, "layer.%" PRId64 ".group.%" PRId64 ".v", layer, group);
    ICD_TRY(bind_part(ctx, model, list, layer, "self_attn.v_proj", 0, group * d, 1));
    for (int64_t h = 0; h < heads; ++h)
        ICD_TRY(bind_part(ctx, model, list, layer, "self_attn.o_proj", 1,
                          (group * heads + h) * d, 1));
    ICD_TRY(icd_i_model_take_axis(ctx, model, name, d, list));
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
        ICD_TRY(add_groups(ctx, model, &list, l));
        for (int64_t g = 0; g < model->config.kv_heads; ++g) {
            ICD_TRY(add_queries(ctx, model, &list, l, g));
            ICD_TRY(add_values(ctx, model, &list, l, g));
        }
    }
done:
    icd_i_free(ctx, list.binding);
    return status;
}

icd_status icd_i_llama_open(icd_ctx *ctx, icd_model *model, const char *place,
                            const json_t *root)
{
    icd_status status;
    model->arch = "decoder";
    ICD_TRY(read_config(ctx, model, place, root));
    ICD_TRY(check_tensors(ctx, model, place, root));
    ICD_TRY(add_axes(ctx, model));
done:
    return status;
}
