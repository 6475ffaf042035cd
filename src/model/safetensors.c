#include <icd/model.h>

#include "base/file.h"
#include "base/json.h"
#include "model/safetensors_header.h"

#include <string.h>

struct icd_safetensors {
    icd_arena *arena;
    icd_map *map;
    int64_t maps, maps_capacity;
    icd_tensor_list list;
};

static icd_status add_file(icd_ctx *ctx, icd_safetensors *file, const char *path)
{
    icd_status status;
    ICD_TRY(icd_i_grow(ctx, (void **)&file->map, &file->maps_capacity, file->maps + 1,
                       sizeof *file->map));
    icd_map *map = &file->map[file->maps];
    ICD_TRY(icd_i_map_open(ctx, path, map));
    file->maps++;
    ICD_TRY(icd_i_safetensors_parse(ctx, file->arena, map->data, map->size, path,
                                    &file->list));
done:
    return status;
}

/* A plain name: a shard must not lead out of the folder of its index. */
static icd_status check_shard(icd_ctx *ctx, const char *place, const json_t *value)
{
    const char *shard = json_string_value(value);
    if (!shard)
        return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                          "'weight_map' holds something else than file names");
    if (!*shard || strchr(shard, '/') || strcmp(shard, "..") == 0 ||
        strcmp(shard, ".") == 0)
        return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                          "found shard '%.200s', expected a name in the same folder",
                          shard);
    return ICD_OK;
}

/* Opens a shard unless `open` has it; remembers how many tensors are known then, which is
 * where the next shard's begin. */
static icd_status add_shard(icd_ctx *ctx, icd_safetensors *file, const char *dir,
                            const char *shard, json_t *open)
{
    icd_status status = ICD_OK;
    char *path = NULL;
    if (json_object_get(open, shard)) return ICD_OK;
    int64_t first = file->list.count;
    ICD_TRY(icd_i_path_join(ctx, dir, shard, &path));
    ICD_TRY(add_file(ctx, file, path));
    if (json_object_set_new(
            open, shard,
            json_pack("[I,I]", (json_int_t)first, (json_int_t)file->list.count)))
        status = icd_i_fail(ctx, ICD_ENOMEM, path, NULL, "not enough memory");
done:
    icd_i_free(ctx, path);
    return status;
}

/* The list is still in the order of the shards here. */
static bool shard_has(const icd_safetensors *file, const json_t *range, const char *name)
{
    int64_t i = json_integer_value(json_array_get(range, 0));
    int64_t end = json_integer_value(json_array_get(range, 1));
    for (; i < end; ++i)
        if (strcmp(file->list.tensor[i].name, name) == 0) return true;
    return false;
}

static icd_status add_mapped(icd_ctx *ctx, icd_safetensors *file, const char *dir,
                             const char *place, json_t *map)
{
    icd_status status = ICD_OK;
    const char *name;
    json_t *shard, *open = json_object();
    if (!open) return icd_i_fail(ctx, ICD_ENOMEM, place, NULL, "not enough memory");
    json_object_foreach(map, name, shard)
    {
        ICD_TRY(check_shard(ctx, place, shard));
        const char *at = json_string_value(shard);
        ICD_TRY(add_shard(ctx, file, dir, at, open));
        if (shard_has(file, json_object_get(open, at), name)) continue;
        status = icd_i_fail(ctx, ICD_EDATA, place, NULL,
                            "tensor '%.200s' is not in '%.200s', where the index has it",
                            name, at);
        goto done;
    }
done:
    json_decref(open);
    return status;
}

static icd_status add_index(icd_ctx *ctx, icd_safetensors *file, const char *path)
{
    icd_status status;
    json_t *index = NULL, *map = NULL;
    char *dir = NULL;
    ICD_TRY(icd_i_json_read(ctx, path, &index));
    ICD_TRY(icd_i_json_member(ctx, index, "weight_map", JSON_OBJECT, path, &map));
    ICD_TRY(icd_i_strdup(ctx, path, &dir));
    char *slash = strrchr(dir, '/');
    if (slash) *slash = 0;
    ICD_TRY(add_mapped(ctx, file, slash ? dir : ".", path, map));
done:
    icd_i_free(ctx, dir);
    json_decref(index);
    return status;
}

static bool is_index(const char *path)
{
    size_t n = strlen(path);
    return n >= 5 && strcmp(path + n - 5, ".json") == 0;
}

icd_status icd_safetensors_open(icd_ctx *ctx, const char *path, icd_safetensors **out)
{
    icd_status status;
    icd_safetensors *file = NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, 1, &file));
    ICD_TRY(icd_i_arena_new(ctx, &file->arena));
    ICD_TRY((is_index(path) ? add_index : add_file)(ctx, file, path));
    ICD_TRY(icd_i_tensor_list_sort(ctx, &file->list, path));
    *out = file;
    file = NULL;
done:
    icd_safetensors_close(ctx, file);
    return status;
}

void icd_safetensors_close(icd_ctx *ctx, icd_safetensors *file)
{
    if (!file) return;
    for (int64_t i = 0; i < file->maps; ++i) icd_i_map_close(&file->map[i]);
    icd_i_free(ctx, file->map);
    icd_i_free(ctx, file->list.tensor);
    icd_i_arena_free(ctx, file->arena);
    icd_i_free(ctx, file);
}

int64_t icd_safetensors_count(const icd_safetensors *file)
{
    return file->list.count;
}

const icd_tensor *icd_safetensors_at(const icd_safetensors *file, int64_t i)
{
    return &file->list.tensor[i];
}

const icd_tensor *icd_safetensors_get(const icd_safetensors *file, const char *name)
{
    return icd_i_tensor_list_get(&file->list, name);
}

const char *icd_safetensors_metadata(const icd_safetensors *file, const char *key)
{
    for (const icd_metadata *m = file->list.metadata; m; m = m->next)
        if (strcmp(m->key, key) == 0) return m->value;
    return NULL;
}
