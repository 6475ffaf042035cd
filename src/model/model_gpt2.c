/* GPT2LMHeadModel: pre-norm layers with LayerNorm, learned positions, and matrices that
 * lie [in x out], queries, keys and values in one. They are taken apart when a model is
 * opened, get Llama's names, and are put together again when it is written. */
#include "model/decoder.h"
#include "model/fused.h"

#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What config.json calls an activation, and what it is. */
static const struct {
    const char *theirs, *ours;
} ACT[] = {
    {"gelu_new", "gelu_tanh"},  {"gelu_pytorch_tanh", "gelu_tanh"},
    {"gelu_fast", "gelu_tanh"}, {"gelu", "gelu"},
    {"relu", "relu"},           {"silu", "silu"},
    {"swish", "silu"},
};

static icd_status read_act(icd_ctx *ctx, const char *place, const json_t *root,
                           icd_model_config *c)
{
    const char *act = "gelu_new";
    icd_status status = ICD_OK;
    if (icd_i_config_given(root, "activation_function"))
        status = icd_i_json_string(ctx, root, "activation_function", place, &act);
    if (status != ICD_OK) return status;
    for (size_t i = 0; i < sizeof ACT / sizeof *ACT; ++i) {
        if (strcmp(ACT[i].theirs, act) != 0) continue;
        snprintf(c->act, sizeof c->act, "%s", ACT[i].ours);
        return ICD_OK;
    }
    return icd_i_model_unsupported(ctx, place, "activation_function", act,
                                   "gelu_new, gelu, relu and silu");
}

/* Options that change what is computed and that this version does not compute. */
static icd_status check_options(icd_ctx *ctx, const char *place, const json_t *root)
{
    static const struct {
        const char *key;
        bool value;
    } KNOWN[] = {{"scale_attn_weights", true},
                 {"scale_attn_by_inverse_layer_idx", false},
                 {"add_cross_attention", false}};
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; ++i) {
        const json_t *value = json_object_get(root, KNOWN[i].key);
        if (icd_i_config_given(root, KNOWN[i].key) &&
            (KNOWN[i].value ? !json_is_true(value) : !json_is_false(value)))
            return icd_i_model_unsupported(ctx, place, KNOWN[i].key,
                                           KNOWN[i].value ? "not true" : "not false",
                                           KNOWN[i].value ? "true" : "false");
    }
    return ICD_OK;
}

static icd_status read_sizes(icd_ctx *ctx, const char *place, const json_t *root,
                             icd_model_config *c)
{
    const struct {
        const char *key;
        int64_t most, *out;
    } size[] = {{"n_layer", ICD_MOST_LAYERS, &c->layers},
                {"n_embd", ICD_MOST_SIZE, &c->hidden},
                {"n_head", ICD_MOST_SIZE, &c->heads},
                {"vocab_size", INT32_MAX, &c->vocab},
                {"n_positions", INT32_MAX, &c->positions}};
    icd_status status = ICD_OK;
    for (size_t i = 0; i < sizeof size / sizeof *size; ++i)
        ICD_TRY(
            icd_i_json_int(ctx, root, size[i].key, place, 1, size[i].most, size[i].out));
    c->inner = 4 * c->hidden;
    if (icd_i_config_given(root, "n_inner"))
        ICD_TRY(icd_i_json_int(ctx, root, "n_inner", place, 1, ICD_MOST_SIZE, &c->inner));
    c->kv_heads = c->heads;
    c->head_dim = c->hidden / c->heads;
    if (c->hidden % c->heads)
        status = icd_i_fail(ctx, ICD_EDATA, place, NULL,
                            "n_embd %" PRId64 " is no multiple of n_head %" PRId64,
                            c->hidden, c->heads);
done:
    return status;
}

static icd_status read_config(icd_ctx *ctx, icd_model *model, const char *place,
                              const json_t *root)
{
    icd_status status;
    icd_model_config *c = &model->config;
    ICD_TRY(read_act(ctx, place, root, c));
    ICD_TRY(check_options(ctx, place, root));
    ICD_TRY(read_sizes(ctx, place, root, c));
    c->norm_eps = 1e-5;
    if (icd_i_config_given(root, "layer_norm_epsilon"))
        ICD_TRY(icd_i_json_real(ctx, root, "layer_norm_epsilon", place, &c->norm_eps));
    c->layer_norm = true;
    c->tied = !json_is_false(json_object_get(root, "tie_word_embeddings"));
done:
    return status;
}

/* Tensors that only have another name. */
static const struct {
    const char *theirs, *ours;
} TOP[] = {
    {"wte.weight", "model.embed_tokens.weight"},
    {"wpe.weight", "model.embed_positions.weight"},
    {"ln_f.weight", "model.norm.weight"},
    {"ln_f.bias", "model.norm.bias"},
};

static const struct {
    const char *theirs, *ours;
} SAME[] = {
    {"ln_1.weight", "input_layernorm.weight"},
    {"ln_1.bias", "input_layernorm.bias"},
    {"ln_2.weight", "post_attention_layernorm.weight"},
    {"ln_2.bias", "post_attention_layernorm.bias"},
    {"attn.bias", "self_attn.mask"},
    {"attn.masked_bias", "self_attn.masked_bias"},
};

/* Linears: weights lie turned, with their biases in so many parts. */
enum { MOST_PARTS = 3 };
static const struct {
    const char *theirs;
    int64_t parts;
    const char *ours[MOST_PARTS];
} LINEAR[] = {
    {"attn.c_attn", 3, {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}},
    {"attn.c_proj", 1, {"self_attn.o_proj"}},
    {"mlp.c_fc", 1, {"mlp.up_proj"}},
    {"mlp.c_proj", 1, {"mlp.down_proj"}},
};

static const char *layer_name(icd_ctx *ctx, icd_model *model, int layer, const char *part,
                              const char *what)
{
    char name[128];
    snprintf(name, sizeof name, "model.layers.%d.%s%s", layer, part, what);
    return icd_i_arena_strdup(ctx, model->arena, name);
}

static icd_status take_parts(icd_ctx *ctx, icd_model *model, const icd_slot *slot,
                             int layer, size_t linear, const char *what, icd_slot *out,
                             int64_t *count)
{
    icd_home home = {slot->file_name, 0, LINEAR[linear].parts};
    for (; home.part < home.parts; ++home.part) {
        const char *name =
            layer_name(ctx, model, layer, LINEAR[linear].ours[home.part], what);
        if (!name) return ICD_ENOMEM;
        icd_status status = icd_i_part_take(ctx, model, slot, &home, name, &out[*count]);
        if (status != ICD_OK) return status;
        ++*count;
    }
    return ICD_OK;
}

/* Appends the slots that a tensor h.LAYER.NAME becomes. */
static icd_status take_layer(icd_ctx *ctx, icd_model *model, const icd_slot *slot,
                             int layer, const char *name, icd_slot *out, int64_t *count)
{
    for (size_t i = 0; i < sizeof LINEAR / sizeof *LINEAR; ++i) {
        size_t n = strlen(LINEAR[i].theirs);
        if (!strncmp(name, LINEAR[i].theirs, n) &&
            (!strcmp(name + n, ".weight") || !strcmp(name + n, ".bias")))
            return take_parts(ctx, model, slot, layer, i, name + n, out, count);
    }
    icd_slot *taken = &out[(*count)++];
    *taken = *slot;
    for (size_t i = 0; i < sizeof SAME / sizeof *SAME; ++i)
        if (!strcmp(name, SAME[i].theirs)) {
            taken->tensor.name = layer_name(ctx, model, layer, SAME[i].ours, "");
            return taken->tensor.name ? ICD_OK : ICD_ENOMEM;
        }
    return ICD_OK;
}

static icd_status take_slot(icd_ctx *ctx, icd_model *model, const icd_slot *slot,
                            icd_slot *out, int64_t *count)
{
    static const char PREFIX[] = "transformer.";
    const char *name = slot->tensor.name;
    int layer = -1, used = 0;
    if (!strncmp(name, PREFIX, sizeof PREFIX - 1)) name += sizeof PREFIX - 1;
    if (sscanf(name, "h.%d.%n", &layer, &used) == 1 && used && layer >= 0 &&
        layer < model->config.layers)
        return take_layer(ctx, model, slot, layer, name + used, out, count);
    icd_slot *taken = &out[(*count)++];
    *taken = *slot;
    for (size_t i = 0; i < sizeof TOP / sizeof *TOP; ++i)
        if (!strcmp(name, TOP[i].theirs)) taken->tensor.name = TOP[i].ours;
    return ICD_OK;
}

static icd_status take_apart(icd_ctx *ctx, icd_model *model)
{
    icd_status status;
    icd_slot *slot = NULL;
    int64_t count = 0;
    ICD_TRY(ICD_ALLOC(ctx, MOST_PARTS * model->slots, &slot));
    for (int64_t i = 0; status == ICD_OK && i < model->slots; ++i)
        status = take_slot(ctx, model, &model->slot[i], slot, &count);
    icd_i_free(ctx, model->slot); /* as opened, it owns no data */
    model->slot = slot;
    model->slots = count;
    ICD_TRY(status);
    status = icd_i_model_sort(ctx, model);
done:
    return status;
}

icd_status icd_i_gpt2_open(icd_ctx *ctx, icd_model *model, const char *place,
                           const json_t *root)
{
    icd_status status;
    model->arch = "decoder";
    ICD_TRY(read_config(ctx, model, place, root));
    ICD_TRY(take_apart(ctx, model));
    ICD_TRY(icd_i_decoder_check(ctx, model, place, root));
    ICD_TRY(icd_i_decoder_axes(ctx, model));
done:
    return status;
}
