/* LlamaForCausalLM: pre-norm decoder layers with grouped-query attention, rotary
 * positions and a gated MLP. */
#include "model/decoder.h"

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

icd_status icd_i_llama_open(icd_ctx *ctx, icd_model *model, const char *place,
                            const json_t *root)
{
    icd_status status;
    model->arch = "decoder";
    ICD_TRY(read_config(ctx, model, place, root));
    model->config.rotary = model->config.gated = true;
    ICD_TRY(icd_i_decoder_check(ctx, model, place, root));
    ICD_TRY(icd_i_decoder_axes(ctx, model));
done:
    return status;
}
