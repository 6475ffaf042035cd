#include "model/model_private.h"

#include <inttypes.h>
#include <stdio.h>

/* "[384, 1536]" */
static void print_shape(int32_t dims, const int64_t *shape, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "[");
    for (int32_t d = 0; d < dims && used + 24 < size; ++d)
        used += (size_t)snprintf(out + used, size - used, "%s%" PRId64, d ? ", " : "",
                                 shape[d]);
    snprintf(out + used, size - used, "]");
}

static bool same_shape(const icd_tensor *t, int32_t dims, const int64_t *shape)
{
    if (t->dims != dims) return false;
    for (int32_t d = 0; d < dims; ++d)
        if (t->shape[d] != shape[d]) return false;
    return true;
}

icd_status icd_i_model_check(icd_ctx *ctx, const icd_model *model, const char *name,
                             int32_t dims, const int64_t *shape)
{
    char where[1024], found[256], expected[256];
    const icd_tensor *t = icd_model_tensor(model, name);
    snprintf(where, sizeof where, "%.700s: tensor '%.200s'", model->path, name);
    print_shape(dims, shape, expected, sizeof expected);
    if (!t)
        return icd_i_fail(ctx, ICD_EDATA, where, NULL, "found none, expected %s",
                          expected);
    print_shape(t->dims, t->shape, found, sizeof found);
    if (!same_shape(t, dims, shape))
        return icd_i_fail(ctx, ICD_EDATA, where, NULL, "found %s, expected %s", found,
                          expected);
    if (t->dtype > ICD_BF16)
        return icd_i_fail(ctx, ICD_EDATA, where, NULL,
                          "found dtype %s, expected floating point",
                          icd_dtype_name(t->dtype));
    return ICD_OK;
}

void icd_i_model_warn_unknown(icd_ctx *ctx, const icd_model *model, const char *name)
{
    icd_i_warn(ctx,
               "%s: tensor '%.200s' is not one that this version knows, so the axis "
               "'residual' is not offered",
               model->path, name);
}

bool icd_i_model_knows_all(icd_ctx *ctx, const icd_model *model,
                           bool (*is_known)(const icd_model *model, const char *name))
{
    bool all = true;
    for (int64_t i = 0; i < model->slots; ++i) {
        const char *name = model->slot[i].tensor.name;
        if (is_known(model, name)) continue;
        icd_i_model_warn_unknown(ctx, model, name);
        all = false;
    }
    return all;
}

icd_status icd_i_transformer_sizes(icd_ctx *ctx, const char *place, const json_t *root,
                                   icd_model_config *c)
{
    const struct {
        const char *key;
        int64_t most, *out;
    } size[] = {
        {"num_hidden_layers", ICD_MOST_LAYERS, &c->layers},
        {"hidden_size", ICD_MOST_SIZE, &c->hidden},
        {"intermediate_size", ICD_MOST_SIZE, &c->inner},
        {"num_attention_heads", ICD_MOST_SIZE, &c->heads},
        {"vocab_size", INT32_MAX, &c->vocab},
        {"max_position_embeddings", INT32_MAX, &c->positions},
    };
    icd_status status = ICD_OK;
    for (size_t i = 0; status == ICD_OK && i < sizeof size / sizeof *size; ++i)
        status =
            icd_i_json_int(ctx, root, size[i].key, place, 1, size[i].most, size[i].out);
    return status;
}

icd_status icd_i_model_unsupported(icd_ctx *ctx, const char *place, const char *key,
                                   const char *found, const char *expected)
{
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, place, NULL,
                      "%s: found '%.100s', this version knows %s", key, found, expected);
}

bool icd_i_config_given(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);
    return value && !json_is_null(value);
}
