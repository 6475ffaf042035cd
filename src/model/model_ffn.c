#include "model/model_private.h"

#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* N of "layer.N.ffn.w1"; -1 for any other name. */
static int64_t layer_of(const char *name)
{
    static const char HEAD[] = "layer.", TAIL[] = ".ffn.w1";
    char digits[20];
    size_t n = strlen(name), around = sizeof HEAD - 1 + sizeof TAIL - 1;
    int64_t layer = -1;
    if (n <= around || n - around >= sizeof digits ||
        strncmp(name, HEAD, sizeof HEAD - 1) ||
        strcmp(name + n - (sizeof TAIL - 1), TAIL))
        return -1;
    memcpy(digits, name + sizeof HEAD - 1, n - around);
    digits[n - around] = 0;
    if (!icd_i_int_parse(digits, &layer) || layer < 0) return -1;
    return layer;
}

static int by_number(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static icd_status find_layers(icd_ctx *ctx, const icd_model *model, int64_t **out,
                              int64_t *count)
{
    icd_status status = ICD_ALLOC(ctx, model->slots, out);
    *count = 0;
    if (status != ICD_OK) return status;
    for (int64_t i = 0; i < model->slots; ++i) {
        int64_t layer = layer_of(model->slot[i].tensor.name);
        if (layer >= 0) (*out)[(*count)++] = layer;
    }
    if (*count) {
        qsort(*out, (size_t)*count, sizeof **out, by_number);
        return ICD_OK;
    }
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, model->path,
                      "open a folder with config.json, or a block file",
                      "no tensor 'layer.N.ffn.w1', and no config.json that says what "
                      "else this is");
}

static icd_status read_sizes(icd_ctx *ctx, icd_model *model, int64_t first)
{
    char name[64];
    snprintf(name, sizeof name, "layer.%" PRId64 ".ffn.w1", first);
    const icd_tensor *w1 = icd_model_tensor(model, name);
    if (!w1 || w1->dims != 2 || w1->shape[0] < 1 || w1->shape[1] < 1 ||
        w1->shape[0] > INT32_MAX || w1->shape[1] > INT32_MAX)
        return icd_i_fail(ctx, ICD_EDATA, model->path, NULL,
                          "'%s' is no matrix [inner, hidden] of sizes from 1 to %d", name,
                          INT32_MAX);
    model->config.inner = w1->shape[0];
    model->config.hidden = w1->shape[1];
    snprintf(model->config.act, sizeof model->config.act, "relu");
    return ICD_OK;
}

static icd_status check_layer(icd_ctx *ctx, const icd_model *model, int64_t layer)
{
    icd_status status = ICD_OK;
    int64_t h = model->config.hidden, i = model->config.inner;
    const struct {
        const char *part;
        int32_t dims;
        int64_t shape[2];
    } need[] = {{"w1", 2, {i, h}}, {"b1", 1, {i}}, {"w2", 2, {h, i}}, {"b2", 1, {h}}};
    for (size_t k = 0; k < sizeof need / sizeof *need; ++k) {
        char name[64];
        snprintf(name, sizeof name, "layer.%" PRId64 ".ffn.%s", layer, need[k].part);
        ICD_TRY(icd_i_model_check(ctx, model, name, need[k].dims, need[k].shape));
    }
done:
    return status;
}

static icd_status add_inner(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                            int64_t layer)
{
    icd_status status;
    char name[64];
    snprintf(name, sizeof name, "layer.%" PRId64 ".ffn.inner", layer);
    ICD_TRY(
        icd_i_model_bind(ctx, model, list, 0, 0, 1, "layer.%" PRId64 ".ffn.w1", layer));
    ICD_TRY(
        icd_i_model_bind(ctx, model, list, 0, 0, 1, "layer.%" PRId64 ".ffn.b1", layer));
    ICD_TRY(
        icd_i_model_bind(ctx, model, list, 1, 0, 1, "layer.%" PRId64 ".ffn.w2", layer));
    ICD_TRY(icd_i_model_take_axis(ctx, model, name, model->config.inner, list));
done:
    return status;
}

icd_status icd_i_ffn_open(icd_ctx *ctx, icd_model *model)
{
    icd_status status;
    int64_t *layer = NULL, count = 0;
    icd_binding_list list = {0};
    model->arch = "ffn";
    ICD_TRY(find_layers(ctx, model, &layer, &count));
    ICD_TRY(read_sizes(ctx, model, layer[0]));
    for (int64_t l = 0; l < count; ++l) {
        ICD_TRY(check_layer(ctx, model, layer[l]));
        ICD_TRY(add_inner(ctx, model, &list, layer[l]));
    }
    model->config.layers = count;
done:
    icd_i_free(ctx, list.binding);
    icd_i_free(ctx, layer);
    return status;
}
