/* Tensors and axes of decoders: under Llama's names, whatever the checkpoint calls them.
 */
#include "model/decoder.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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
enum { PARTS = sizeof LAYER / sizeof *LAYER, GATE = 6 };

/* Whether a model has this part at all. */
static bool has_part(const icd_model_config *c, int part)
{
    return part != GATE || c->gated;
}

static const char EMBEDDING[] = "model.embed_tokens.weight", NORM[] = "model.norm.weight",
                  NORM_BIAS[] = "model.norm.bias",
                  POSITIONS[] = "model.embed_positions.weight", HEAD[] = "lm_head.weight";

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
    if (model->config.layer_norm || (key && json_is_true(json_object_get(root, key))))
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
        if (!has_part(&model->config, i)) continue;
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

icd_status icd_i_decoder_check(icd_ctx *ctx, const icd_model *model, const char *place,
                               const json_t *root)
{
    icd_status status;
    const icd_model_config *c = &model->config;
    const int64_t shape[2] = {c->vocab, c->hidden},
                  positions[2] = {c->positions, c->hidden};
    ICD_TRY(icd_i_model_check(ctx, model, EMBEDDING, 2, shape));
    ICD_TRY(icd_i_model_check(ctx, model, NORM, 1, shape + 1));
    if (c->layer_norm) ICD_TRY(icd_i_model_check(ctx, model, NORM_BIAS, 1, shape + 1));
    if (!c->rotary) ICD_TRY(icd_i_model_check(ctx, model, POSITIONS, 2, positions));
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
            if (LAYER[i].side[d] == letter && has_part(&model->config, i))
                ICD_TRY(bind_part(ctx, model, list, layer, LAYER[i].name, d, 0, 1));
done:
    return status;
}

/* "model.layers.N.PART.weight" or ".bias" of a part that the table lists, or the rotary
 * frequencies and causal masks that old checkpoints hold and nobody reads. */
static bool is_known(const icd_model *model, const char *name)
{
    int layer = -1, used = 0;
    const icd_model_config *c = &model->config;
    if (!strcmp(name, EMBEDDING) || !strcmp(name, NORM) || !strcmp(name, HEAD) ||
        (!c->rotary && !strcmp(name, POSITIONS)) ||
        (c->layer_norm && !strcmp(name, NORM_BIAS)))
        return true;
    if (sscanf(name, "model.layers.%d.%n", &layer, &used) != 1 || used == 0) return false;
    if (layer < 0 || layer >= c->layers) return false;
    name += used;
    for (int i = 0; i < PARTS; ++i) {
        size_t n = strlen(LAYER[i].name);
        if (has_part(c, i) && strncmp(name, LAYER[i].name, n) == 0 &&
            (!strcmp(name + n, ".weight") || !strcmp(name + n, ".bias")))
            return true;
    }
    if (c->rotary) return strcmp(name, "self_attn.rotary_emb.inv_freq") == 0;
    return !strcmp(name, "self_attn.mask") || !strcmp(name, "self_attn.masked_bias");
}

static icd_status add_residual(icd_ctx *ctx, icd_model *model, icd_binding_list *list)
{
    icd_status status = ICD_OK;
    if (!icd_i_model_knows_all(ctx, model, is_known)) return ICD_OK;
    ICD_TRY(icd_i_model_bind(ctx, model, list, 1, 0, 1, "%s", EMBEDDING));
    if (!model->config.rotary)
        ICD_TRY(icd_i_model_bind(ctx, model, list, 1, 0, 1, "%s", POSITIONS));
    ICD_TRY(icd_i_model_bind(ctx, model, list, 0, 0, 1, "%s", NORM));
    if (model->config.layer_norm)
        ICD_TRY(icd_i_model_bind(ctx, model, list, 0, 0, 1, "%s", NORM_BIAS));
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

/* Heads that are not turned and do not share keys, as in BERT. */
static icd_status add_heads(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                            int64_t layer)
{
    icd_status status;
    char name[64];
    int64_t d = model->config.head_dim;
    snprintf(name, sizeof name, "layer.%" PRId64 ".heads", layer);
    ICD_TRY(bind_part(ctx, model, list, layer, "self_attn.q_proj", 0, 0, d));
    ICD_TRY(bind_part(ctx, model, list, layer, "self_attn.k_proj", 0, 0, d));
    ICD_TRY(bind_part(ctx, model, list, layer, "self_attn.v_proj", 0, 0, d));
    ICD_TRY(bind_part(ctx, model, list, layer, "self_attn.o_proj", 1, 0, d));
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
    int64_t d = model->config.head_dim, at = head * d;
    snprintf(name, sizeof name, "layer.%" PRId64 ".head.%" PRId64 ".qk", layer, head);
    ICD_TRY(bind_part(ctx, model, list, layer, "self_attn.q_proj", 0, at, 1));
    ICD_TRY(bind_part(ctx, model, list, layer, "self_attn.k_proj", 0, at, 1));
    ICD_TRY(icd_i_model_take_axis(ctx, model, name, d, list));
    snprintf(name, sizeof name, "layer.%" PRId64 ".head.%" PRId64 ".v", layer, head);
    ICD_TRY(bind_part(ctx, model, list, layer, "self_attn.v_proj", 0, at, 1));
    ICD_TRY(bind_part(ctx, model, list, layer, "self_attn.o_proj", 1, at, 1));
    ICD_TRY(icd_i_model_take_axis(ctx, model, name, d, list));
done:
    return status;
}

static icd_status add_attention(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                                int64_t layer)
{
    icd_status status;
    ICD_TRY(add_heads(ctx, model, list, layer));
    for (int64_t h = 0; h < model->config.heads; ++h)
        ICD_TRY(add_head(ctx, model, list, layer, h));
done:
    return status;
}

static icd_status add_turned(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                             int64_t layer)
{
    icd_status status;
    ICD_TRY(add_groups(ctx, model, list, layer));
    for (int64_t g = 0; g < model->config.kv_heads; ++g) {
        ICD_TRY(add_queries(ctx, model, list, layer, g));
        ICD_TRY(add_values(ctx, model, list, layer, g));
    }
done:
    return status;
}

icd_status icd_i_decoder_axes(icd_ctx *ctx, icd_model *model)
{
    icd_status status;
    icd_binding_list list = {0};
    ICD_TRY(add_residual(ctx, model, &list));
    for (int64_t l = 0; l < model->config.layers; ++l) {
        ICD_TRY(add_inner(ctx, model, &list, l));
        ICD_TRY(model->config.rotary ? add_turned(ctx, model, &list, l)
                                     : add_attention(ctx, model, &list, l));
    }
done:
    icd_i_free(ctx, list.binding);
    return status;
}
