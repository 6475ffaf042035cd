#include "storage/rundir.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct icd_rundir {
    icd_arena *arena;
    char *root;
    icd_lock *lock;
};

icd_status icd_i_rundir_open(icd_ctx *ctx, const char *path, icd_rundir **out)
{
    icd_status status = ICD_OK;
    icd_rundir *dir = NULL;
    const char *lock = NULL;
    *out = NULL;
    ICD_TRY(icd_i_mkdirs(ctx, path));
    ICD_TRY(ICD_ALLOC(ctx, 1, &dir));
    ICD_TRY(icd_i_arena_new(ctx, &dir->arena));
    ICD_TRY(icd_i_strdup(ctx, path, &dir->root));
    lock = icd_i_rundir_path(ctx, dir, ".lock");
    if (!lock) {
        status = ICD_ENOMEM;
        goto done;
    }
    ICD_TRY(icd_i_lock_take(ctx, lock, &dir->lock));
    *out = dir;
    dir = NULL;
done:
    icd_i_rundir_close(ctx, dir);
    return status;
}

void icd_i_rundir_close(icd_ctx *ctx, icd_rundir *dir)
{
    if (!dir) return;
    icd_i_lock_release(ctx, dir->lock);
    icd_i_free(ctx, dir->root);
    icd_i_arena_free(ctx, dir->arena);
    icd_i_free(ctx, dir);
}

const char *icd_i_rundir_root(const icd_rundir *dir)
{
    return dir->root;
}

const char *icd_i_rundir_path(icd_ctx *ctx, icd_rundir *dir, const char *name)
{
    size_t size = strlen(dir->root) + strlen(name) + 2;
    char *path = icd_i_arena_alloc(ctx, dir->arena, size);
    if (path) snprintf(path, size, "%s/%s", dir->root, name);
    return path;
}

icd_status icd_i_rundir_folder_path(icd_ctx *ctx, icd_rundir *dir, const char *folder,
                                    const char *name, const char **out)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *relative = icd_i_arena_alloc(ctx, dir->arena, size);
    const char *path = relative ? icd_i_rundir_path(ctx, dir, folder) : NULL;
    *out = NULL;
    if (!path) return ICD_ENOMEM;
    icd_status status = icd_i_mkdirs(ctx, path);
    if (status != ICD_OK) return status;
    icd_i_out_sweep(path);
    snprintf(relative, size, "%s/%s", folder, name);
    *out = icd_i_rundir_path(ctx, dir, relative);
    return *out ? ICD_OK : ICD_ENOMEM;
}

icd_status icd_i_rundir_axis_path(icd_ctx *ctx, icd_rundir *dir, const char *axis,
                                  const char *name, const char **out)
{
    size_t size = strlen(axis) + sizeof "axes/";
    char *folder = icd_i_arena_alloc(ctx, dir->arena, size);
    *out = NULL;
    if (!folder) return ICD_ENOMEM;
    snprintf(folder, size, "axes/%s", axis);
    return icd_i_rundir_folder_path(ctx, dir, folder, name, out);
}

static bool read_hash(const json_t *object, const char *key, uint64_t *out)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text && icd_i_hash_parse(text, out);
}

icd_status icd_i_rundir_read_state(icd_ctx *ctx, icd_rundir *dir, icd_run_state *out)
{
    json_t *object = NULL;
    const char *path = icd_i_rundir_path(ctx, dir, "state.json");
    *out = (icd_run_state){0};
    if (!path) return ICD_ENOMEM;
    if (!icd_i_file_exists(path)) return ICD_OK;
    icd_status status = icd_i_json_read(ctx, path, &object);
    if (status == ICD_ENOMEM) return status;
    const json_t *stage = json_object_get(object, "stage");
    icd_run_state state = {.stage = (int32_t)json_integer_value(stage)};
    bool good = status == ICD_OK && json_is_integer(stage) && state.stage >= 0 &&
                read_hash(object, "config_hash", &state.config_hash) &&
                read_hash(object, "model_hash", &state.model_hash);
    json_decref(object);
    if (good)
        *out = state;
    else
        icd_i_warn(ctx, "%s is damaged and ignored; the run starts from its first stage",
                   path);
    icd_ctx_clear(ctx);
    return ICD_OK;
}

icd_status icd_i_rundir_write_state(icd_ctx *ctx, icd_rundir *dir,
                                    const icd_run_state *state)
{
    char config[17], model[17];
    const char *path = icd_i_rundir_path(ctx, dir, "state.json");
    if (!path) return ICD_ENOMEM;
    icd_i_hash_hex(state->config_hash, config);
    icd_i_hash_hex(state->model_hash, model);
    json_t *object = json_pack("{s:i,s:s,s:s}", "stage", state->stage, "config_hash",
                               config, "model_hash", model);
    icd_status status = object ? icd_i_json_write(ctx, object, path) : ICD_ENOMEM;
    json_decref(object);
    return status;
}

icd_status icd_i_rundir_remove(icd_ctx *ctx, icd_rundir *dir, const char *name)
{
    const char *path = icd_i_rundir_path(ctx, dir, name);
    if (!path) return ICD_ENOMEM;
    if (unlink(path) != 0 && errno != ENOENT)
        return icd_i_fail_errno(ctx, ICD_EIO, path, errno, "cannot be removed");
    return ICD_OK;
}
