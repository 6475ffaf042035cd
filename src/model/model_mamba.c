/* MambaForCausalLM: pre-norm layers of a gated selective state-space block. */
#include "model/model_private.h"

#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MOST_CONV = 16 };

static icd_status check_act(icd_ctx *ctx, const char *place, const json_t *root,
                            icd_model_config *c)
{
    const char *act = "silu";
    icd_status status = ICD_OK;
    if (icd_i_config_given(root, "hidden_act"))
        ICD_TRY(icd_i_json_string(ctx, root, "hidden_act", place, &act));
    if (strcmp(act, "silu"))
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, place, NULL,
                          "hidden_act: found '%.100s', this version knows silu", act);
    snprintf(c->act, sizeof c->act, "%s", act);
done:
    return status;
}

/* One size of config.json: under its name, else under an older one, else `otherwise` (0:
 * it must be there). */
typedef struct size_row {
    const char *key, *older;
    int64_t most, otherwise, *out;
} size_row;

static icd_status read_size(icd_ctx *ctx, const char *place, const json_t *root,
                            const size_row *row)
{
    const char *key = row->key;
    if (row->older && !icd_i_config_given(root, key) &&
        icd_i_config_given(root, row->older))
        key = row->older;
    *row->out = row->otherwise;
    if (row->otherwise && !icd_i_config_given(root, key)) return ICD_OK;
    return icd_i_json_int(ctx, root, key, place, 1, row->most, row->out);
}

/* "auto" is a sixteenth of the hidden size, rounded up. */
static icd_status read_rank(icd_ctx *ctx, const char *place, const json_t *root,
                            icd_model_config *c)
{
    static const char KEY[] = "time_step_rank";
    const json_t *value = json_object_get(root, KEY);
    c->dt_rank = (c->hidden + 15) / 16;
    if (!icd_i_config_given(root, KEY)) return ICD_OK;
    if (json_is_string(value) && strcmp(json_string_value(value), "auto") == 0)
        return ICD_OK;
    return icd_i_json_int(ctx, root, KEY, place, 1, ICD_MOST_SIZE, &c->dt_rank);
}

static icd_status read_sizes(icd_ctx *ctx, const char *place, const json_t *root,
                             icd_model_config *c)
{
    icd_status status = ICD_OK;
    int64_t expand = 0;
    const size_row size[] = {
        {"num_hidden_layers", "n_layer", ICD_MOST_LAYERS, 0, &c->layers},
        {"hidden_size", "d_model", ICD_MOST_SIZE, 0, &c->hidden},
        {"vocab_size", NULL, INT32_MAX, 0, &c->vocab},
        {"state_size", NULL, ICD_MOST_SIZE, 16, &c->state},
        {"conv_kernel", NULL, MOST_CONV, 4, &c->conv},
        {"expand", NULL, 1024, 2, &expand},
    };
    for (size_t i = 0; i < sizeof size / sizeof *size; ++i)
        ICD_TRY(read_size(ctx, place, root, &size[i]));
    const size_row inner = {"intermediate_size", NULL, ICD_MOST_SIZE, expand * c->hidden,
                            &c->inner};
    ICD_TRY(read_size(ctx, place, root, &inner));
    ICD_TRY(read_rank(ctx, place, root, c));
done:
    return status;
}

static bool flag(const json_t *root, const char *key, bool otherwise)
{
    return icd_i_config_given(root, key) ? json_is_true(json_object_get(root, key))
                                         : otherwise;
}

static icd_status check_flags(icd_ctx *ctx, const char *place, const json_t *root)
{
    static const char *const KEY[] = {"use_bias", "use_conv_bias", "tie_word_embeddings"};
    for (size_t i = 0; i < sizeof KEY / sizeof *KEY; ++i)
        if (icd_i_config_given(root, KEY[i]) &&
            !json_is_boolean(json_object_get(root, KEY[i])))
            return icd_i_fail(ctx, ICD_EDATA, place, NULL, "%s: expected true or false",
                              KEY[i]);
    return ICD_OK;
}

static icd_status read_config(icd_ctx *ctx, icd_model_config *c, const char *place,
                              const json_t *root)
{
    icd_status status;
    ICD_TRY(check_act(ctx, place, root, c));
    ICD_TRY(check_flags(ctx, place, root));
    ICD_TRY(read_sizes(ctx, place, root, c));
    c->norm_eps = 1e-5;
    if (icd_i_config_given(root, "layer_norm_epsilon"))
        ICD_TRY(icd_i_json_real(ctx, root, "layer_norm_epsilon", place, &c->norm_eps));
    if (!(c->norm_eps >= 0))
        status =
            icd_i_fail(ctx, ICD_EDATA, place, NULL,
                       "layer_norm_epsilon: found %g, expected at least 0", c->norm_eps);
    c->tied = flag(root, "tie_word_embeddings", true);
done:
    return status;
}

/* Tensors of a layer: sizes of their sides (letters: h residual, i inner, 2 twice the
 * inner, k taps, 1 one, r rank, s state, x what x_proj gives), and the flag of
 * config.json that says whether the tensor is there (NULL: always) with its default. */
static const struct {
    const char *name, *side, *flag;
    bool otherwise;
} LAYER[] = {
    {"norm.weight", "h", NULL, true},
    {"mixer.in_proj.weight", "2h", NULL, true},
    {"mixer.in_proj.bias", "2", "use_bias", false},
    {"mixer.conv1d.weight", "i1k", NULL, true},
    {"mixer.conv1d.bias", "i", "use_conv_bias", true},
    {"mixer.x_proj.weight", "xi", NULL, true},
    {"mixer.dt_proj.weight", "ir", NULL, true},
    {"mixer.dt_proj.bias", "i", NULL, true},
    {"mixer.A_log", "is", NULL, true},
    {"mixer.D", "i", NULL, true},
    {"mixer.out_proj.weight", "hi", NULL, true},
    {"mixer.out_proj.bias", "h", "use_bias", false},
};
enum { PARTS = sizeof LAYER / sizeof *LAYER };

static const char PREFIX[] = "backbone.layers.",
                  EMBEDDING[] = "backbone.embeddings.weight",
                  NORM[] = "backbone.norm_f.weight", HEAD[] = "lm_head.weight";

static int64_t size_of(const icd_model_config *c, char letter)
{
    switch (letter) {
    case 'h':
        return c->hidden;
    case 'i':
        return c->inner;
    case '2':
        return 2 * c->inner;
    case 'k':
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

static void name_of(char *out, size_t size, int64_t layer, int part)
{
    snprintf(out, size, "%s%" PRId64 ".%s", PREFIX, layer, LAYER[part].name);
}

static icd_status check_part(icd_ctx *ctx, const icd_model *model, const char *place,
                             const json_t *root, int64_t layer, int part)
{
    char name[128];
    int64_t shape[3] = {0};
    int32_t dims = 0;
    const char *key = LAYER[part].flag;
    name_of(name, sizeof name, layer, part);
    for (; LAYER[part].side[dims]; ++dims)
        shape[dims] = size_of(&model->config, LAYER[part].side[dims]);
    if (!key || flag(root, key, LAYER[part].otherwise))
        return icd_i_model_check(ctx, model, name, dims, shape);
    if (!icd_model_tensor(model, name)) return ICD_OK;
    return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                      "found a tensor '%s', expected none, as '%s' is not true", name,
                      key);
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
        for (int i = 0; i < PARTS; ++i)
            ICD_TRY(check_part(ctx, model, place, root, l, i));
done:
    return status;
}

/* Binds dimension `dim` of a part, if the model has it. */
static icd_status bind(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                       int64_t layer, int part, int32_t dim, int64_t offset)
{
    char name[128];
    name_of(name, sizeof name, layer, part);
    if (!icd_model_tensor(model, name)) return ICD_OK;
    return icd_i_model_bind(ctx, model, list, dim, offset, 1, "%s", name);
}

/* All sides of a layer that stand on the axis with this letter. Rows of in_proj are the
 * inner axis twice, those of x_proj the rank and the state twice (B and C). */
static icd_status bind_letter(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                              int64_t layer, char letter)
{
    icd_status status = ICD_OK;
    const icd_model_config *c = &model->config;
    for (int i = 0; i < PARTS; ++i)
        for (int32_t d = 0; LAYER[i].side[d]; ++d) {
            char side = LAYER[i].side[d];
            if (side == letter || (side == 'x' && letter == 'r') ||
                (side == '2' && letter == 'i'))
                ICD_TRY(bind(ctx, model, list, layer, i, d, 0));
            if (side == '2' && letter == 'i')
                ICD_TRY(bind(ctx, model, list, layer, i, d, c->inner));
            if (side == 'x' && letter == 's') {
                ICD_TRY(bind(ctx, model, list, layer, i, d, c->dt_rank));
                ICD_TRY(bind(ctx, model, list, layer, i, d, c->dt_rank + c->state));
            }
        }
done:
    return status;
}

static bool is_known(const icd_model *model, const char *name)
{
    int layer = -1, used = 0;
    if (!strcmp(name, EMBEDDING) || !strcmp(name, NORM) || !strcmp(name, HEAD))
        return true;
    if (sscanf(name, "backbone.layers.%d.%n", &layer, &used) != 1 || used == 0)
        return false;
    if (layer < 0 || layer >= model->config.layers) return false;
    for (int i = 0; i < PARTS; ++i)
        if (strcmp(name + used, LAYER[i].name) == 0) return true;
    return false;
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

static icd_status add_layer(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                            int64_t layer)
{
    static const struct {
        char letter;
        const char *name;
    } AXIS[] = {{'i', "d_inner"}, {'r', "dt_rank"}, {'s', "d_state"}};
    icd_status status = ICD_OK;
    for (size_t i = 0; i < sizeof AXIS / sizeof *AXIS; ++i) {
        char name[64];
        snprintf(name, sizeof name, "layer.%" PRId64 ".%s", layer, AXIS[i].name);
        ICD_TRY(bind_letter(ctx, model, list, layer, AXIS[i].letter));
        ICD_TRY(icd_i_model_take_axis(ctx, model, name,
                                      size_of(&model->config, AXIS[i].letter), list));
    }
done:
    return status;
}

icd_status icd_i_mamba_open(icd_ctx *ctx, icd_model *model, const char *place,
                            const json_t *root)
{
    icd_status status;
    icd_binding_list list = {0};
    model->arch = "mamba";
    ICD_TRY(read_config(ctx, &model->config, place, root));
    ICD_TRY(check_tensors(ctx, model, place, root));
    ICD_TRY(add_residual(ctx, model, &list));
    for (int64_t l = 0; l < model->config.layers; ++l)
        ICD_TRY(add_layer(ctx, model, &list, l));
done:
    icd_i_free(ctx, list.binding);
    return status;
}
