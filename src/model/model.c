#include "model/packed.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char PREFIX[] = "bert.";

static int by_name(const void *a, const void *b)
{
    const icd_slot *x = a, *y = b;
    return strcmp(x->tensor.name, y->tensor.name);
}

icd_slot *icd_i_model_slot(const icd_model *model, const char *name)
{
    icd_slot key = {.tensor = {.name = name}};
    if (!model->slots) return NULL;
    return bsearch(&key, model->slot, (size_t)model->slots, sizeof key, by_name);
}

static bool ends_with(const char *name, const char *tail)
{
    size_t n = strlen(name), t = strlen(tail);
    return n >= t && strcmp(name + n - t, tail) == 0;
}

/* Checkpoints converted from TensorFlow call a norm's weight gamma and its bias beta. */
static const char *norm_part(const char *name)
{
    if (ends_with(name, "LayerNorm.gamma")) return "weight";
    if (ends_with(name, "LayerNorm.beta")) return "bias";
    return NULL;
}

static icd_status name_slot(icd_ctx *ctx, icd_model *model, icd_slot *slot)
{
    const char *name = slot->file_name;
    if (strncmp(name, PREFIX, sizeof PREFIX - 1) == 0) name += sizeof PREFIX - 1;
    slot->tensor.name = name;
    const char *part = norm_part(name);
    if (!part) return ICD_OK;
    size_t kept = (size_t)(strrchr(name, '.') + 1 - name);
    char *fresh = icd_i_arena_alloc(ctx, model->arena, kept + strlen(part) + 1);
    if (!fresh) return ICD_ENOMEM;
    memcpy(fresh, name, kept);
    strcpy(fresh + kept, part);
    slot->tensor.name = fresh;
    return ICD_OK;
}

/* "bert.x" and "x" in one file would be one tensor under two names. */
icd_status icd_i_model_sort(icd_ctx *ctx, icd_model *model)
{
    if (model->slots)
        qsort(model->slot, (size_t)model->slots, sizeof *model->slot, by_name);
    for (int64_t i = 1; i < model->slots; ++i)
        if (by_name(&model->slot[i - 1], &model->slot[i]) == 0)
            return icd_i_fail(ctx, ICD_EDATA, model->path, NULL,
                              "found tensor '%.200s' twice: with and without the prefix "
                              "'bert.' or 'transformer.', as gamma/beta and weight/bias, "
                              "or whole and in parts",
                              model->slot[i].tensor.name);
    return ICD_OK;
}

static icd_status add_slot(icd_ctx *ctx, icd_model *model, const icd_tensor *tensor)
{
    icd_slot *slot = &model->slot[model->slots++];
    slot->tensor = *tensor;
    slot->file_name = tensor->name;
    return name_slot(ctx, model, slot);
}

/* A packed matrix is one tensor of the model, its parts are none. */
static icd_tensor dense_tensor(const icd_packed_slot *p)
{
    return (icd_tensor){.name = p->packed.tensor,
                        .dtype = ICD_F32,
                        .dims = 2,
                        .shape = {p->rows, p->cols},
                        .count = p->rows * p->cols,
                        .data = p->dense};
}

static icd_status fill_slots(icd_ctx *ctx, icd_model *model)
{
    int64_t tensors = icd_safetensors_count(model->file);
    icd_status status;
    ICD_TRY(icd_i_packed_read(ctx, model));
    ICD_TRY(ICD_ALLOC(ctx, tensors + model->packs, &model->slot));
    for (int64_t i = 0; i < tensors; ++i) {
        const icd_tensor *t = icd_safetensors_at(model->file, i);
        if (!icd_i_packed_part(t->name)) ICD_TRY(add_slot(ctx, model, t));
    }
    for (int64_t i = 0; i < model->packs; ++i) {
        icd_tensor t = dense_tensor(&model->packed[i]);
        ICD_TRY(add_slot(ctx, model, &t));
        model->packed[i].packed.tensor = model->slot[model->slots - 1].tensor.name;
    }
    status = icd_i_model_sort(ctx, model);
done:
    return status;
}

static bool is_folder(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static icd_status open_in(icd_ctx *ctx, icd_model *model, const char *dir)
{
    icd_status status;
    char *single = NULL, *index = NULL;
    ICD_TRY(icd_i_path_join(ctx, dir, "model.safetensors", &single));
    ICD_TRY(icd_i_path_join(ctx, dir, "model.safetensors.index.json", &index));
    bool sharded = !icd_i_file_exists(single) && icd_i_file_exists(index);
    ICD_TRY(icd_safetensors_open(ctx, sharded ? index : single, &model->file));
done:
    icd_i_free(ctx, single);
    icd_i_free(ctx, index);
    return status;
}

/* config.json's model_type says which architecture a folder holds. */
static const struct {
    const char *type;
    icd_arch_open_fn *open;
} ARCH[] = {
    {"bert", icd_i_bert_open},
    {"gpt2", icd_i_gpt2_open},
    {"llama", icd_i_llama_open},
    {"mamba", icd_i_mamba_open},
};

static icd_status open_type(icd_ctx *ctx, icd_model *model, const char *place,
                            const json_t *root)
{
    const json_t *value = json_object_get(root, "model_type");
    const char *type = json_is_string(value) ? json_string_value(value) : "(none)";
    char known[256] = "";
    for (size_t i = 0; i < sizeof ARCH / sizeof *ARCH; ++i) {
        if (strcmp(ARCH[i].type, type) == 0) return ARCH[i].open(ctx, model, place, root);
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s, ",
                 ARCH[i].type);
    }
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, place,
                      "declare its axes yourself (--map axes.yaml)",
                      "model_type: found '%.100s', this version knows %sand .safetensors "
                      "files of layer.N.ffn blocks",
                      type, known);
}

static bool is_known(const json_t *root)
{
    const char *type = json_string_value(json_object_get(root, "model_type"));
    for (size_t i = 0; type && i < sizeof ARCH / sizeof *ARCH; ++i)
        if (strcmp(ARCH[i].type, type) == 0) return true;
    return false;
}

static icd_status open_config(icd_ctx *ctx, icd_model *model, const char *config)
{
    json_t *root = NULL;
    icd_status status = icd_i_json_read(ctx, config, &root);
    if (status == ICD_OK) status = open_type(ctx, model, config, root);
    json_decref(root);
    return status;
}

static icd_status open_arch(icd_ctx *ctx, icd_model *model, const char *dir)
{
    icd_status status;
    char *config = NULL;
    if (!dir) return icd_i_ffn_open(ctx, model);
    ICD_TRY(icd_i_path_join(ctx, dir, "config.json", &config));
    if (icd_i_file_exists(config))
        status = open_config(ctx, model, config);
    else
        status = icd_i_ffn_open(ctx, model);
done:
    icd_i_free(ctx, config);
    return status;
}

/* With an axis map a known architecture keeps its runner, and any other is "map". */
static icd_status open_mapped(icd_ctx *ctx, icd_model *model, const char *dir,
                              const char *map)
{
    icd_status status = ICD_OK;
    char *config = NULL;
    json_t *root = NULL;
    if (dir) ICD_TRY(icd_i_path_join(ctx, dir, "config.json", &config));
    if (config && icd_i_file_exists(config)) ICD_TRY(icd_i_json_read(ctx, config, &root));
    model->arch = "map";
    if (is_known(root)) ICD_TRY(open_type(ctx, model, config, root));
    status = icd_i_axis_map_read(ctx, model, map);
done:
    json_decref(root);
    icd_i_free(ctx, config);
    return status;
}

/* A folder that was written with a map holds it. */
static icd_status open_axes(icd_ctx *ctx, icd_model *model, const char *dir,
                            const char *map)
{
    icd_status status = ICD_OK;
    char *own = NULL;
    if (dir && !map) ICD_TRY(icd_i_path_join(ctx, dir, ICD_MAP_FILE, &own));
    if (own && icd_i_file_exists(own)) map = own;
    status = map ? open_mapped(ctx, model, dir, map) : open_arch(ctx, model, dir);
done:
    icd_i_free(ctx, own);
    return status;
}

static icd_status restore_order(icd_ctx *ctx, icd_model *model, const char *place,
                                const icd_perm_entry *entry)
{
    icd_status status;
    int64_t a = icd_i_model_find_axis(model, entry->axis);
    if (a < 0 || entry->local || entry->perm->from != ICD_FRAME_CHECKPOINT ||
        entry->perm->n != model->axis[a].axis.n)
        return icd_i_fail(ctx, ICD_EDATA, place, "the file belongs to another model",
                          "'%.200s' of %" PRId64
                          " is no order of an axis from the checkpoint's frame",
                          entry->axis, entry->perm->n);
    icd_axis_slot *axis = &model->axis[a];
    ICD_TRY(icd_perm_copy(ctx, entry->perm, &axis->order));
    if (axis->members) ICD_TRY(icd_i_axis_move_members(ctx, model, axis, axis->order));
done:
    return status;
}

/* Weights and orders are two files: a kill between the two, or a change of one of them,
 * must not give a model that claims the wrong frames. */
static icd_status check_orders(icd_ctx *ctx, const icd_model *model, const char *path,
                               bool *present)
{
    static const char HINT[] = "write the model again from its checkpoint";
    const char *claimed = icd_safetensors_metadata(model->file, ICD_ORDERS_KEY);
    char found[17];
    *present = icd_i_file_exists(path);
    if (!*present && !claimed) return ICD_OK;
    if (!*present)
        return icd_i_fail(ctx, ICD_EDATA, path, HINT,
                          "the weights stand in orders that this file holds, and it is "
                          "missing");
    icd_status status = icd_i_orders_hash(ctx, path, found);
    if (status != ICD_OK) return status;
    if (claimed && strcmp(claimed, found) == 0) return ICD_OK;
    return icd_i_fail(ctx, ICD_EDATA, path, HINT,
                      "its hash is %s, the weights beside it were written with %.32s",
                      found, claimed ? claimed : "none");
}

static icd_status restore_orders(icd_ctx *ctx, icd_model *model, const char *dir)
{
    icd_status status;
    char *path = NULL;
    bool present = false;
    icd_perm_set *set = NULL;
    ICD_TRY(icd_i_path_join(ctx, dir, ICD_ORDERS_FILE, &path));
    ICD_TRY(check_orders(ctx, model, path, &present));
    if (!present) goto done;
    ICD_TRY(icd_perm_set_read(ctx, path, &set));
    for (int64_t i = 0; i < set->count; ++i)
        ICD_TRY(restore_order(ctx, model, path, &set->entry[i]));
done:
    icd_perm_set_free(ctx, set);
    icd_i_free(ctx, path);
    return status;
}

/* A single file that was written with orders has them beside it; any other file has no
 * business with an icd.axes.json that happens to be there. */
static icd_status restore_beside(icd_ctx *ctx, icd_model *model, const char *path)
{
    char *dir = NULL;
    if (!icd_safetensors_metadata(model->file, ICD_ORDERS_KEY)) return ICD_OK;
    icd_status status = icd_i_strdup(ctx, path, &dir);
    if (status != ICD_OK) return status;
    char *slash = strrchr(dir, '/');
    if (slash) slash[slash == dir] = 0;
    status = restore_orders(ctx, model, slash ? dir : ".");
    icd_i_free(ctx, dir);
    return status;
}

/* The last part of a path, without slashes at its end and without ".safetensors". */
static icd_status name_model(icd_ctx *ctx, icd_model *model, const char *path)
{
    static const char SUFFIX[] = ".safetensors";
    model->path = icd_i_arena_strdup(ctx, model->arena, path);
    char *copy = icd_i_arena_strdup(ctx, model->arena, path);
    if (!model->path || !copy) return ICD_ENOMEM;
    size_t n = strlen(copy);
    while (n > 1 && copy[n - 1] == '/') copy[--n] = 0;
    size_t tail = sizeof SUFFIX - 1;
    if (n > tail && strcmp(copy + n - tail, SUFFIX) == 0) copy[n - tail] = 0;
    char *slash = strrchr(copy, '/');
    model->name = slash && slash[1] ? slash + 1 : copy;
    return ICD_OK;
}

icd_status icd_model_open(icd_ctx *ctx, const char *path, icd_model **out)
{
    return icd_model_open_mapped(ctx, path, NULL, out);
}

icd_status icd_model_open_mapped(icd_ctx *ctx, const char *path, const char *map,
                                 icd_model **out)
{
    icd_status status;
    icd_model *model = NULL;
    const char *dir = is_folder(path) ? path : NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, 1, &model));
    ICD_TRY(icd_i_arena_new(ctx, &model->arena));
    ICD_TRY(name_model(ctx, model, path));
    if (dir)
        ICD_TRY(open_in(ctx, model, dir));
    else
        ICD_TRY(icd_safetensors_open(ctx, path, &model->file));
    ICD_TRY(fill_slots(ctx, model));
    const char *synthetic = icd_safetensors_metadata(model->file, "icd.synthetic");
    model->synthetic = synthetic && strcmp(synthetic, "true") == 0;
    ICD_TRY(open_axes(ctx, model, dir, map));
    if (dir)
        ICD_TRY(restore_orders(ctx, model, dir));
    else
        ICD_TRY(restore_beside(ctx, model, path));
    *out = model;
    model = NULL;
done:
    icd_model_free(ctx, model);
    return status;
}

void icd_model_free(icd_ctx *ctx, icd_model *model)
{
    if (!model) return;
    for (int64_t i = 0; model->slot && i < model->slots; ++i)
        icd_i_free(ctx, model->slot[i].owned);
    for (int64_t a = 0; model->axis && a < model->axes; ++a)
        icd_perm_free(ctx, model->axis[a].order);
    icd_i_packed_release(ctx, model);
    icd_i_free(ctx, model->slot);
    icd_i_free(ctx, model->axis);
    icd_safetensors_close(ctx, model->file);
    icd_i_arena_free(ctx, model->arena);
    icd_i_free(ctx, model);
}

const char *icd_model_arch(const icd_model *model)
{
    return model->arch;
}

const char *icd_model_name(const icd_model *model)
{
    return model->name;
}

const char *icd_model_path(const icd_model *model)
{
    return model->path;
}

const icd_model_config *icd_model_get_config(const icd_model *model)
{
    return &model->config;
}

bool icd_model_synthetic(const icd_model *model)
{
    return model->synthetic;
}

/* A block file ships activations beside its weights, a BertModel its position numbers. */
static bool is_parameter(const icd_tensor *t)
{
    const char *dot = strrchr(t->name, '.'), *last = dot ? dot + 1 : t->name;
    return t->dtype <= ICD_BF16 && strcmp(last, "input") && strcmp(last, "output");
}

int64_t icd_model_parameters(const icd_model *model)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < model->slots; ++i)
        if (is_parameter(&model->slot[i].tensor)) sum += model->slot[i].tensor.count;
    return sum;
}

uint64_t icd_model_hash(const icd_model *model)
{
    uint64_t hash = 0;
    for (int64_t i = 0; i < model->slots; ++i) {
        const icd_tensor *t = &model->slot[i].tensor;
        int64_t head[2] = {t->dtype, t->dims};
        hash = icd_i_hash(hash, t->name, strlen(t->name));
        hash = icd_i_hash(hash, head, sizeof head);
        hash = icd_i_hash(hash, t->shape, (size_t)t->dims * sizeof *t->shape);
        hash = icd_i_hash(hash, t->data, (size_t)(t->count * icd_dtype_size(t->dtype)));
    }
    return hash;
}

const icd_tensor *icd_model_tensor(const icd_model *model, const char *name)
{
    const icd_slot *slot = icd_i_model_slot(model, name);
    return slot ? &slot->tensor : NULL;
}

icd_status icd_model_tensor_f32(icd_ctx *ctx, const icd_model *model, const char *name,
                                float **out)
{
    icd_status status;
    float *data = NULL;
    const icd_tensor *t = icd_model_tensor(model, name);
    *out = NULL;
    if (!t)
        return icd_i_fail(ctx, ICD_EINVAL, model->name, NULL, "no tensor '%.200s'", name);
    ICD_TRY(ICD_ALLOC(ctx, t->count, &data));
    ICD_TRY(icd_tensor_to_f32(ctx, t, data));
    *out = data;
    data = NULL;
done:
    icd_i_free(ctx, data);
    return status;
}
