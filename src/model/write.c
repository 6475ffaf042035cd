#include "model/fused.h"

#include "base/file.h"
#include "base/hash.h"

#include <string.h>
#include <sys/stat.h>

icd_status icd_i_orders_hash(icd_ctx *ctx, const char *path, char out[17])
{
    icd_map map = {0};
    icd_status status = icd_i_map_open(ctx, path, &map);
    if (status != ICD_OK) return status;
    icd_i_hash_hex(icd_i_hash(0, map.data, map.size), out);
    icd_i_map_close(&map);
    return ICD_OK;
}

/* transformers refuses a file that does not say which framework it is for. */
static icd_status write_tensors(icd_ctx *ctx, const icd_model *model,
                                const icd_tensor *tensor, int64_t count,
                                const char *const pair[2], const char *orders,
                                const char *dir)
{
    enum { PAIRS = 4 };
    icd_status status;
    char *path = NULL, hash[17];
    const char *metadata[2 * PAIRS + 1] = {"format", "pt", ICD_ORDERS_KEY, hash};
    int at = 4;
    if (model->synthetic) {
        metadata[at++] = "icd.synthetic";
        metadata[at++] = "true";
    }
    if (pair[0]) {
        metadata[at++] = pair[0];
        metadata[at++] = pair[1];
    }
    ICD_TRY(icd_i_orders_hash(ctx, orders, hash));
    ICD_TRY(icd_i_path_join(ctx, dir, "model.safetensors", &path));
    ICD_TRY(icd_safetensors_write(ctx, path, tensor, count, metadata));
done:
    icd_i_free(ctx, path);
    return status;
}

static icd_status write_orders(icd_ctx *ctx, const icd_model *model, const char *path)
{
    icd_status status;
    icd_perm_set *set = NULL;
    ICD_TRY(icd_perm_set_new(ctx, &set));
    for (int64_t a = 0; a < model->axes; ++a)
        if (model->axis[a].order)
            ICD_TRY(icd_perm_set_put(ctx, set, model->axis[a].axis.name,
                                     model->axis[a].order, false));
    ICD_TRY(icd_perm_set_write(ctx, set, path));
done:
    icd_perm_set_free(ctx, set);
    return status;
}

static icd_status copy_file(icd_ctx *ctx, const char *source, const char *dir,
                            const char *name)
{
    icd_status status;
    char *from = NULL, *to = NULL, *text = NULL;
    size_t size = 0;
    ICD_TRY(icd_i_path_join(ctx, source, name, &from));
    ICD_TRY(icd_i_path_join(ctx, dir, name, &to));
    if (!icd_i_file_exists(from)) goto done;
    ICD_TRY(icd_i_file_read(ctx, from, &text, &size));
    ICD_TRY(icd_i_file_write(ctx, to, text, size));
done:
    icd_i_free(ctx, text);
    icd_i_free(ctx, from);
    icd_i_free(ctx, to);
    return status;
}

static icd_status write_map(icd_ctx *ctx, const icd_model *model, const char *dir)
{
    char *path = NULL;
    icd_status status = icd_i_path_join(ctx, dir, ICD_MAP_FILE, &path);
    if (status == ICD_OK)
        status = icd_i_file_write(ctx, path, model->map, strlen(model->map));
    icd_i_free(ctx, path);
    return status;
}

static bool is_folder(const char *path)
{
    struct stat about;
    return path && stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

icd_status icd_i_model_write_as(icd_ctx *ctx, const icd_model *model,
                                const icd_tensor *tensor, int64_t count, const char *key,
                                const char *value, const char *source, const char *dir)
{
    static const char *const SMALL[] = {"config.json",
                                        "vocab.txt",
                                        "tokenizer.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "tokenizer_config.json",
                                        "added_tokens.json",
                                        "generation_config.json",
                                        "special_tokens_map.json"};
    icd_status status;
    char *orders = NULL;
    const char *const pair[2] = {key, value};
    ICD_TRY(icd_i_mkdirs(ctx, dir));
    ICD_TRY(icd_i_path_join(ctx, dir, ICD_ORDERS_FILE, &orders));
    ICD_TRY(write_orders(ctx, model, orders));
    ICD_TRY(write_tensors(ctx, model, tensor, count, pair, orders, dir));
    if (model->map) ICD_TRY(write_map(ctx, model, dir));
    if (!is_folder(source)) goto done;
    for (size_t i = 0; i < sizeof SMALL / sizeof *SMALL; ++i)
        ICD_TRY(copy_file(ctx, source, dir, SMALL[i]));
done:
    icd_i_free(ctx, orders);
    return status;
}

icd_status icd_model_write(icd_ctx *ctx, const icd_model *model, const char *source,
                           const char *dir)
{
    icd_status status;
    icd_stored stored;
    ICD_TRY(icd_i_stored_new(ctx, model, NULL, 0, &stored));
    status = icd_i_model_write_as(ctx, model, stored.tensor, stored.count, NULL, NULL,
                                  source, dir);
done:
    icd_i_stored_release(ctx, &stored);
    return status;
}
