#include "model/fold.h"

#include <stdio.h>
#include <string.h>

/* HEAD N TAIL of a matrix, and what stands in the place of TAIL for its producer. */
static const struct {
    const char *arch, *tail, *weight, *bias;
    bool heads; /* channels are those of query heads, rows those of key-value heads */
    bool relu;  /* only where the activation is ReLU, or a gate has it */
} FOLD[] = {
    {"bert", "attention.output.dense.weight", "attention.self.value.weight",
     "attention.self.value.bias", false, false},
    {"decoder", "self_attn.q_proj.weight", "input_layernorm.weight",
     "input_layernorm.bias", false, false},
    {"decoder", "self_attn.k_proj.weight", "input_layernorm.weight",
     "input_layernorm.bias", false, false},
    {"decoder", "self_attn.v_proj.weight", "input_layernorm.weight",
     "input_layernorm.bias", false, false},
    {"decoder", "self_attn.o_proj.weight", "self_attn.v_proj.weight",
     "self_attn.v_proj.bias", true, false},
    {"decoder", "mlp.gate_proj.weight", "post_attention_layernorm.weight",
     "post_attention_layernorm.bias", false, false},
    {"decoder", "mlp.up_proj.weight", "post_attention_layernorm.weight",
     "post_attention_layernorm.bias", false, false},
    {"decoder", "mlp.down_proj.weight", "mlp.up_proj.weight", "mlp.up_proj.bias", false,
     true},
    {"mamba", "mixer.in_proj.weight", "norm.weight", "", false, false},
    {"ffn", "ffn.w2", "ffn.w1", "ffn.b1", false, true},
};

static bool ends_with(const char *name, const char *tail)
{
    size_t n = strlen(name), t = strlen(tail);
    return n > t && name[n - t - 1] == '.' && !strcmp(name + n - t, tail);
}

static void put_name(const icd_model *model, const char *matrix, const char *tail,
                     const char *with, char *out)
{
    int head = (int)(strlen(matrix) - strlen(tail));
    int n = snprintf(out, ICD_FOLD_NAME, "%.*s%s", head, matrix, with);
    if (!*with || n >= ICD_FOLD_NAME || !icd_model_tensor(model, out)) *out = 0;
}

bool icd_i_model_fold(const icd_model *model, const char *matrix, icd_fold *out)
{
    const icd_model_config *c = icd_model_get_config(model);
    *out = (icd_fold){.share = 1};
    for (size_t i = 0; i < sizeof FOLD / sizeof *FOLD; i++) {
        if (strcmp(FOLD[i].arch, icd_model_arch(model)) ||
            !ends_with(matrix, FOLD[i].tail) ||
            (FOLD[i].relu && !c->gated && strcmp(c->act, "relu")))
            continue;
        put_name(model, matrix, FOLD[i].tail, FOLD[i].weight, out->weight);
        put_name(model, matrix, FOLD[i].tail, FOLD[i].bias, out->bias);
        if (FOLD[i].heads) {
            out->share = c->heads / c->kv_heads;
            out->width = c->head_dim;
        }
        return *out->weight;
    }
    return false;
}

int64_t icd_i_fold_row(const icd_fold *fold, int64_t channel)
{
    if (!fold->width) return channel;
    return channel / fold->width / fold->share * fold->width + channel % fold->width;
}
