#include "model/model_private.h"

#include "base/file.h"

#include <sys/stat.h>

static icd_status write_tensors(icd_ctx *ctx, const icd_model *model, const char *dir)
{
    /* transformers refuses a file that does not say which framework it is for */
    static const char *const METADATA[] = {"format", "pt", NULL};
    icd_status status;
    icd_tensor *tensor = NULL;
    char *path = NULL;
    ICD_TRY(icd_i_path_join(ctx, dir, "model.safetensors", &path));
    ICD_TRY(ICD_ALLOC(ctx, model->slots, &tensor));
    for (int64_t i = 0; i < model->slots; ++i) {
        tensor[i] = model->slot[i].tensor;
        tensor[i].name = model->slot[i].file_name;
    }
    ICD_TRY(icd_safetensors_write(ctx, path, tensor, model->slots, METADATA));
done:
    icd_i_free(ctx, tensor);
    icd_i_free(ctx, path);
    return status;
}

static icd_status write_orders(icd_ctx *ctx, const icd_model *model, const char *dir)
{
    icd_status status;
    icd_perm_set *set = NULL;
    char *path = NULL;
    ICD_TRY(icd_i_path_join(ctx, dir, "icd.axes.json", &path));
    ICD_TRY(icd_perm_set_new(ctx, &set));
    for (int64_t a = 0; a < model->axes; ++a)
        if (model->axis[a].order)
            ICD_TRY(icd_perm_set_put(ctx, set, model->axis[a].axis.name,
                                     model->axis[a].order, false));
    ICD_TRY(icd_perm_set_write(ctx, set, path));
done:
    icd_perm_set_free(ctx, set);
    icd_i_free(ctx, path);
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

static bool is_folder(const char *path)
{
    struct stat about;
    return path && stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

icd_status icd_model_write(icd_ctx *ctx, const icd_model *model, const char *source,
                           const char *dir)
{
    static const char *const SMALL[] = {"config.json", "vocab.txt", "tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json"};
    icd_status status;
    ICD_TRY(icd_i_mkdirs(ctx, dir));
    ICD_TRY(write_tensors(ctx, model, dir));
    ICD_TRY(write_orders(ctx, model, dir));
    if (!is_folder(source)) goto done;
    for (size_t i = 0; i < sizeof SMALL / sizeof *SMALL; ++i)
        ICD_TRY(copy_file(ctx, source, dir, SMALL[i]));
done:
    return status;
}
