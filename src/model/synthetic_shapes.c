/* Shapes of well-known models, and the tensors that they consist of. */
#include "model/synth.h"

#include <stdio.h>
#include <string.h>

#define BERT(NAME, LAYERS, HIDDEN, HEADS, VOCAB)                                         \
    {                                                                                    \
        NAME, "bert",                                                                    \
        {                                                                                \
            .layers = LAYERS, .hidden = HIDDEN, .inner = 4 * (HIDDEN), .heads = HEADS,   \
            .vocab = VOCAB, .positions = 512, .types = 2, .norm_eps = 1e-12              \
        }                                                                                \
    }
#define MAMBA(NAME, LAYERS, HIDDEN, VOCAB)                                               \
    {                                                                                    \
        NAME, "mamba",                                                                   \
        {                                                                                \
            .layers = LAYERS, .hidden = HIDDEN, .inner = 2 * (HIDDEN), .vocab = VOCAB,   \
            .state = 16, .conv = 4, .dt_rank = ((HIDDEN) + 15) / 16, .norm_eps = 1e-5    \
        }                                                                                \
    }
#define LLAMA(NAME, LAYERS, HIDDEN, INNER, HEADS, KV_HEADS, VOCAB, POSITIONS, THETA)     \
    {                                                                                    \
        NAME, "llama",                                                                   \
        {                                                                                \
            .layers = LAYERS, .hidden = HIDDEN, .inner = INNER, .heads = HEADS,          \
            .kv_heads = KV_HEADS, .head_dim = (HIDDEN) / (HEADS), .vocab = VOCAB,        \
            .positions = POSITIONS, .norm_eps = 1e-5, .rope_theta = THETA                \
        }                                                                                \
    }
#define GPT2(NAME, LAYERS, HIDDEN, HEADS, VOCAB, POSITIONS)                              \
    {                                                                                    \
        NAME, "gpt2",                                                                    \
        {                                                                                \
            .layers = LAYERS, .hidden = HIDDEN, .inner = 4 * (HIDDEN), .heads = HEADS,   \
            .kv_heads = HEADS, .head_dim = (HIDDEN) / (HEADS), .vocab = VOCAB,           \
            .positions = POSITIONS, .norm_eps = 1e-5                                     \
        }                                                                                \
    }

static const icd_synthetic_shape SHAPE[] = {
    BERT("bert-base", 12, 768, 12, 30522),
    BERT("bert-large", 24, 1024, 16, 30522),
    BERT("minilm", 6, 384, 12, 30522),
    BERT("bert-tiny", 2, 128, 2, 30522),
    MAMBA("mamba-130m", 24, 768, 50280),
    MAMBA("mamba-370m", 48, 1024, 50280),
    MAMBA("mamba-790m", 48, 1536, 50280),
    MAMBA("mamba-1.4b", 48, 2048, 50280),
    MAMBA("mamba-2.8b", 64, 2560, 50280),
    MAMBA("mamba-tiny", 2, 128, 256),
    LLAMA("smollm2-135m", 30, 576, 1536, 9, 3, 49152, 8192, 100000),
    LLAMA("smollm2-360m", 32, 960, 2560, 15, 5, 49152, 8192, 100000),
    LLAMA("smollm2-1.7b", 24, 2048, 8192, 32, 32, 49152, 8192, 130000),
    GPT2("gpt2", 12, 768, 12, 50257, 1024),
    GPT2("gpt2-medium", 24, 1024, 16, 50257, 1024),
    GPT2("gpt2-large", 36, 1280, 20, 50257, 1024),
    GPT2("gpt2-xl", 48, 1600, 25, 50257, 1024),
    GPT2("gpt2-tiny", 2, 128, 4, 256, 1024),
    LLAMA("llama-tiny", 2, 128, 384, 4, 2, 256, 2048, 10000),
};

const icd_synthetic_shape *icd_synthetic_shapes(int64_t *count)
{
    *count = sizeof SHAPE / sizeof *SHAPE;
    return SHAPE;
}

/* A tensor and its sides: h hidden, i inner, v vocabulary, p positions, t token types,
 * q query heads, k KV heads, 2 twice the inner, c taps, 1 one, r rank, s state, x what
 * x_proj gives, 3 three times the hidden. A '~' before them: it lies turned. */
typedef struct part {
    const char *name, *side;
    icd_synth_kind kind;
} part;

static const part BERT_TOP[] = {
    {"embeddings.word_embeddings.weight", "vh", ICD_SYNTH_EMBEDDING},
    {"embeddings.position_embeddings.weight", "ph", ICD_SYNTH_EMBEDDING},
    {"embeddings.token_type_embeddings.weight", "th", ICD_SYNTH_EMBEDDING},
    {"embeddings.LayerNorm.weight", "h", ICD_SYNTH_GAIN},
    {"embeddings.LayerNorm.bias", "h", ICD_SYNTH_BIAS},
    {"pooler.dense.weight", "hh", ICD_SYNTH_SQUARE},
    {"pooler.dense.bias", "h", ICD_SYNTH_BIAS},
    {NULL, NULL, 0}};

static const part BERT_LAYER[] = {
    {"attention.self.query.weight", "hh", ICD_SYNTH_QKV},
    {"attention.self.query.bias", "h", ICD_SYNTH_BIAS},
    {"attention.self.key.weight", "hh", ICD_SYNTH_QKV},
    {"attention.self.key.bias", "h", ICD_SYNTH_BIAS},
    {"attention.self.value.weight", "hh", ICD_SYNTH_QKV},
    {"attention.self.value.bias", "h", ICD_SYNTH_BIAS},
    {"attention.output.dense.weight", "hh", ICD_SYNTH_ATTENTION_OUT},
    {"attention.output.dense.bias", "h", ICD_SYNTH_BIAS},
    {"attention.output.LayerNorm.weight", "h", ICD_SYNTH_GAIN},
    {"attention.output.LayerNorm.bias", "h", ICD_SYNTH_BIAS},
    {"intermediate.dense.weight", "ih", ICD_SYNTH_UP},
    {"intermediate.dense.bias", "i", ICD_SYNTH_BIAS},
    {"output.dense.weight", "hi", ICD_SYNTH_DOWN},
    {"output.dense.bias", "h", ICD_SYNTH_BIAS},
    {"output.LayerNorm.weight", "h", ICD_SYNTH_GAIN},
    {"output.LayerNorm.bias", "h", ICD_SYNTH_BIAS},
    {NULL, NULL, 0}};

static const part LLAMA_TOP[] = {{"model.embed_tokens.weight", "vh", ICD_SYNTH_EMBEDDING},
                                 {"model.norm.weight", "h", ICD_SYNTH_GAIN},
                                 {NULL, NULL, 0}};

static const part LLAMA_LAYER[] = {
    {"input_layernorm.weight", "h", ICD_SYNTH_GAIN},
    {"self_attn.q_proj.weight", "qh", ICD_SYNTH_QKV},
    {"self_attn.k_proj.weight", "kh", ICD_SYNTH_QKV},
    {"self_attn.v_proj.weight", "kh", ICD_SYNTH_QKV},
    {"self_attn.o_proj.weight", "hq", ICD_SYNTH_ATTENTION_OUT},
    {"post_attention_layernorm.weight", "h", ICD_SYNTH_GAIN},
    {"mlp.gate_proj.weight", "ih", ICD_SYNTH_UP},
    {"mlp.up_proj.weight", "ih", ICD_SYNTH_UP},
    {"mlp.down_proj.weight", "hi", ICD_SYNTH_DOWN},
    {NULL, NULL, 0}};

static const part GPT2_TOP[] = {{"transformer.wte.weight", "vh", ICD_SYNTH_EMBEDDING},
                                {"transformer.wpe.weight", "ph", ICD_SYNTH_EMBEDDING},
                                {"transformer.ln_f.weight", "h", ICD_SYNTH_GAIN},
                                {"transformer.ln_f.bias", "h", ICD_SYNTH_BIAS},
                                {NULL, NULL, 0}};

static const part GPT2_LAYER[] = {{"ln_1.weight", "h", ICD_SYNTH_GAIN},
                                  {"ln_1.bias", "h", ICD_SYNTH_BIAS},
                                  {"attn.c_attn.weight", "~h3", ICD_SYNTH_QKV},
                                  {"attn.c_attn.bias", "3", ICD_SYNTH_BIAS},
                                  {"attn.c_proj.weight", "~hh", ICD_SYNTH_ATTENTION_OUT},
                                  {"attn.c_proj.bias", "h", ICD_SYNTH_BIAS},
                                  {"ln_2.weight", "h", ICD_SYNTH_GAIN},
                                  {"ln_2.bias", "h", ICD_SYNTH_BIAS},
                                  {"mlp.c_fc.weight", "~hi", ICD_SYNTH_UP},
                                  {"mlp.c_fc.bias", "i", ICD_SYNTH_BIAS},
                                  {"mlp.c_proj.weight", "~ih", ICD_SYNTH_DOWN},
                                  {"mlp.c_proj.bias", "h", ICD_SYNTH_BIAS},
                                  {NULL, NULL, 0}};

static const part MAMBA_TOP[] = {
    {"backbone.embeddings.weight", "vh", ICD_SYNTH_EMBEDDING},
    {"backbone.norm_f.weight", "h", ICD_SYNTH_GAIN},
    {NULL, NULL, 0}};

static const part MAMBA_LAYER[] = {{"norm.weight", "h", ICD_SYNTH_GAIN},
                                   {"mixer.in_proj.weight", "2h", ICD_SYNTH_MAMBA_IN},
                                   {"mixer.conv1d.weight", "i1c", ICD_SYNTH_CONV},
                                   {"mixer.conv1d.bias", "i", ICD_SYNTH_BIAS},
                                   {"mixer.x_proj.weight", "xi", ICD_SYNTH_MAMBA_X},
                                   {"mixer.dt_proj.weight", "ir", ICD_SYNTH_MAMBA_DT},
                                   {"mixer.dt_proj.bias", "i", ICD_SYNTH_STEP},
                                   {"mixer.A_log", "is", ICD_SYNTH_DECAY},
                                   {"mixer.D", "i", ICD_SYNTH_GAIN},
                                   {"mixer.out_proj.weight", "hi", ICD_SYNTH_MAMBA_OUT},
                                   {NULL, NULL, 0}};

static const struct {
    const char *type, *prefix;
    const part *top, *layer;
} ARCH[] = {{"bert", "encoder.layer", BERT_TOP, BERT_LAYER},
            {"gpt2", "transformer.h", GPT2_TOP, GPT2_LAYER},
            {"llama", "model.layers", LLAMA_TOP, LLAMA_LAYER},
            {"mamba", "backbone.layers", MAMBA_TOP, MAMBA_LAYER}};

static int64_t side_of(const icd_model_config *c, char letter)
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
    case 't':
        return c->types;
    case 'q':
        return c->heads * c->head_dim;
    case 'k':
        return c->kv_heads * c->head_dim;
    case '2':
        return 2 * c->inner;
    case '3':
        return 3 * c->hidden;
    case 'c':
        return c->conv;
    case 'r':
        return c->dt_rank;
    case 's':
        return c->state;
    case 'x':
        return c->dt_rank + 2 * c->state;
    default:
        return 1;
    }
}

static icd_synth_tensor tensor_of(const icd_model_config *c, const part *p)
{
    icd_synth_tensor t = {.kind = p->kind, .cols = 1, .turned = p->side[0] == '~'};
    const char *side = p->side + t.turned;
    for (; side[t.dims]; t.dims++) {
        t.shape[t.dims] = side_of(c, side[t.dims]);
        if (t.dims) t.cols *= t.shape[t.dims];
    }
    t.rows = t.turned ? t.cols : t.shape[0];
    if (t.turned) t.cols = t.shape[0];
    return t;
}

static int64_t parts_of(const part *p)
{
    int64_t n = 0;
    while (p[n].name) n++;
    return n;
}

static size_t arch_of(const icd_synthetic_shape *shape)
{
    size_t a = 0;
    while (strcmp(ARCH[a].type, shape->type) != 0) a++;
    return a;
}

icd_status icd_i_synth_list(icd_ctx *ctx, const icd_synthetic_shape *shape,
                            icd_synth_tensor **list, int64_t *count)
{
    size_t a = arch_of(shape);
    const icd_model_config *c = &shape->config;
    const part *top = ARCH[a].top, *layer = ARCH[a].layer;
    int64_t tops = parts_of(top), parts = parts_of(layer);
    *count = tops + c->layers * parts;
    icd_status status = ICD_ALLOC(ctx, *count, list);
    for (int64_t i = 0; status == ICD_OK && i < *count; i++) {
        icd_synth_tensor *t = &(*list)[i];
        const part *p = i < tops ? &top[i] : &layer[(i - tops) % parts];
        *t = tensor_of(c, p);
        if (i < tops)
            snprintf(t->name, sizeof t->name, "%s", p->name);
        else
            snprintf(t->name, sizeof t->name, "%s.%d.%s", ARCH[a].prefix,
                     (int)((i - tops) / parts), p->name);
    }
    return status;
}

static json_t *bert_config(const icd_model_config *c)
{
    return json_pack(
        "{s:[s],s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:s}", "architectures", "BertModel",
        "model_type", "bert", "num_hidden_layers", (json_int_t)c->layers, "hidden_size",
        (json_int_t)c->hidden, "intermediate_size", (json_int_t)c->inner,
        "num_attention_heads", (json_int_t)c->heads, "vocab_size", (json_int_t)c->vocab,
        "max_position_embeddings", (json_int_t)c->positions, "type_vocab_size",
        (json_int_t)c->types, "layer_norm_eps", c->norm_eps, "hidden_act", "gelu");
}

static json_t *gpt2_config(const icd_model_config *c)
{
    return json_pack("{s:[s],s:s,s:I,s:I,s:I,s:n,s:I,s:I,s:f,s:s,s:b}", "architectures",
                     "GPT2LMHeadModel", "model_type", "gpt2", "n_layer",
                     (json_int_t)c->layers, "n_embd", (json_int_t)c->hidden, "n_head",
                     (json_int_t)c->heads, "n_inner", "vocab_size", (json_int_t)c->vocab,
                     "n_positions", (json_int_t)c->positions, "layer_norm_epsilon",
                     c->norm_eps, "activation_function", "gelu_new",
                     "tie_word_embeddings", 1);
}

static json_t *llama_config(const icd_model_config *c)
{
    return json_pack("{s:[s],s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:s,s:b}",
                     "architectures", "LlamaForCausalLM", "model_type", "llama",
                     "num_hidden_layers", (json_int_t)c->layers, "hidden_size",
                     (json_int_t)c->hidden, "intermediate_size", (json_int_t)c->inner,
                     "num_attention_heads", (json_int_t)c->heads, "num_key_value_heads",
                     (json_int_t)c->kv_heads, "head_dim", (json_int_t)c->head_dim,
                     "vocab_size", (json_int_t)c->vocab, "max_position_embeddings",
                     (json_int_t)c->positions, "rms_norm_eps", c->norm_eps, "rope_theta",
                     c->rope_theta, "hidden_act", "silu", "tie_word_embeddings", 1);
}

static json_t *mamba_config(const icd_model_config *c)
{
    return json_pack(
        "{s:[s],s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:s,s:b,s:b,s:b}",
        "architectures", "MambaForCausalLM", "model_type", "mamba", "num_hidden_layers",
        (json_int_t)c->layers, "hidden_size", (json_int_t)c->hidden, "intermediate_size",
        (json_int_t)c->inner, "vocab_size", (json_int_t)c->vocab, "state_size",
        (json_int_t)c->state, "conv_kernel", (json_int_t)c->conv, "time_step_rank",
        (json_int_t)c->dt_rank, "expand", (json_int_t)(c->inner / c->hidden),
        "layer_norm_epsilon", c->norm_eps, "hidden_act", "silu", "use_bias", 0,
        "use_conv_bias", 1, "tie_word_embeddings", 1);
}

icd_status icd_i_synth_config(icd_ctx *ctx, const icd_synthetic_shape *shape,
                              json_t **out)
{
    static json_t *(*const MAKE[])(const icd_model_config *) = {
        bert_config, gpt2_config, llama_config, mamba_config};
    *out = MAKE[arch_of(shape)](&shape->config);
    if (*out) return ICD_OK;
    return icd_i_fail(ctx, ICD_ENOMEM, "config.json", NULL, "memory is short");
}
