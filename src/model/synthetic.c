/* Writing synthetic models: file after file, so that memory holds one of them. */
#include "model/synth.h"

#include "base/file.h"
#include "core/small_float.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MOST_LAYERS = 10000 };

static icd_status find_shape(icd_ctx *ctx, const char *name, icd_synthetic_shape *out)
{
    int64_t count = 0;
    char known[512] = "";
    const icd_synthetic_shape *shape = icd_synthetic_shapes(&count);
    for (int64_t i = 0; i < count; i++) {
        size_t used = strlen(known);
        if (strcmp(shape[i].name, name) == 0) {
            *out = shape[i];
            return ICD_OK;
        }
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", shape[i].name);
    }
    return icd_i_fail(ctx, ICD_EINVAL, "shape", NULL,
                      "found '%.100s', expected one of %s", name, known);
}

static icd_status in_range(icd_ctx *ctx, const char *what, int64_t value, int64_t most)
{
    if (value >= 0 && value <= most) return ICD_OK;
    return icd_i_fail(ctx, ICD_EINVAL, what, NULL,
                      "found %" PRId64 ", expected 1 to %" PRId64, value, most);
}

/* Weights that somebody trained are never written over. */
static icd_status check_folder(icd_ctx *ctx, const char *dir)
{
    static const char *const NAME[] = {"config.json", "model.safetensors",
                                       "model.safetensors.index.json"};
    icd_status status = icd_i_mkdirs(ctx, dir);
    for (size_t i = 0; status == ICD_OK && i < sizeof NAME / sizeof *NAME; i++) {
        char *path = NULL;
        status = icd_i_path_join(ctx, dir, NAME[i], &path);
        if (status == ICD_OK && icd_i_file_exists(path))
            status = icd_i_fail(ctx, ICD_EINVAL, dir, "name another folder",
                                "it already holds a %s", NAME[i]);
        icd_i_free(ctx, path);
    }
    return status;
}

typedef struct writing {
    icd_ctx *ctx;
    icd_synthetic_shape shape;
    icd_synthetic_opts opts;
    const char *dir;
    icd_synth_tensor *list;
    int64_t count;
    int64_t files;
    int64_t *first; /* [files + 1] first tensor of each file */
    int64_t done, parameters;
    json_t *map; /* weight_map of the index */
} writing;

static int64_t values_of(const icd_synth_tensor *t)
{
    return t->rows * t->cols;
}

static int64_t bytes_of(const writing *w, const icd_synth_tensor *t)
{
    return values_of(t) * (w->opts.bf16 ? 2 : 4);
}

/* Tensors in their order, as many to a file as fit. */
static icd_status cut(writing *w)
{
    int64_t bytes = 0;
    icd_status status = ICD_ALLOC(w->ctx, w->count + 1, &w->first);
    for (int64_t i = 0; status == ICD_OK && i < w->count; i++) {
        int64_t own = bytes_of(w, &w->list[i]);
        if (i == 0 || bytes + own > w->opts.shard) {
            w->first[w->files++] = i;
            bytes = 0;
        }
        bytes += own;
        w->parameters += values_of(&w->list[i]);
    }
    if (status == ICD_OK) w->first[w->files] = w->count;
    return status;
}

static void file_name(const writing *w, int64_t file, char *out, size_t size)
{
    if (w->files == 1)
        snprintf(out, size, "model.safetensors");
    else
        snprintf(out, size, "model-%05d-of-%05d.safetensors", (int)(file + 1),
                 (int)w->files);
}

static void narrow(const float *from, int64_t n, uint16_t *to)
{
    for (int64_t i = 0; i < n; i++) to[i] = icd_i_bf16_of(from[i]);
}

/* One tensor in memory of its own, in the type of the file. */
static icd_status make(writing *w, const icd_synth_tensor *t, icd_tensor *out)
{
    icd_status status = ICD_OK;
    float *values = NULL;
    uint16_t *half = NULL;
    int64_t n = values_of(t);
    *out = (icd_tensor){.name = t->name, .dtype = ICD_F32, .dims = t->dims, .count = n};
    memcpy(out->shape, t->shape, sizeof t->shape);
    ICD_TRY(ICD_ALLOC(w->ctx, n, &values));
    ICD_TRY(icd_i_synth_fill(w->ctx, t, w->opts.seed, w->shape.config.layers, values));
    if (w->opts.bf16) {
        ICD_TRY(ICD_ALLOC(w->ctx, n, &half));
        narrow(values, n, half);
        out->dtype = ICD_BF16;
        out->data = half;
    } else {
        out->data = values;
        values = NULL;
    }
    w->done += n;
    icd_i_progress(w->ctx, "synth", w->done, w->parameters);
done:
    icd_i_free(w->ctx, values);
    return status;
}

static icd_status write_file(writing *w, int64_t file)
{
    icd_status status = ICD_OK;
    int64_t first = w->first[file], count = w->first[file + 1] - first;
    icd_tensor *tensor = NULL;
    char name[64], seed[24], *path = NULL;
    const char *const about[] = {"format",
                                 "pt",
                                 "icd.synthetic",
                                 "true",
                                 "icd.synth.seed",
                                 seed,
                                 "icd.synth.shape",
                                 w->shape.name,
                                 NULL};
    snprintf(seed, sizeof seed, "%" PRIu64, w->opts.seed);
    file_name(w, file, name, sizeof name);
    ICD_TRY(ICD_ALLOC(w->ctx, count, &tensor));
    for (int64_t i = 0; i < count; i++) ICD_TRY(make(w, &w->list[first + i], &tensor[i]));
    ICD_TRY(icd_i_path_join(w->ctx, w->dir, name, &path));
    ICD_TRY(icd_safetensors_write(w->ctx, path, tensor, count, about));
    for (int64_t i = 0; i < count; i++)
        if (json_object_set_new(w->map, tensor[i].name, json_string(name)))
            status = icd_i_fail(w->ctx, ICD_ENOMEM, "index", NULL, "memory is short");
done:
    for (int64_t i = 0; tensor && i < count; i++)
        icd_i_free(w->ctx, (void *)(uintptr_t)tensor[i].data);
    icd_i_free(w->ctx, tensor);
    icd_i_free(w->ctx, path);
    return status;
}

static icd_status write_json(writing *w, const char *name, const json_t *value)
{
    char *path = NULL;
    icd_status status = icd_i_path_join(w->ctx, w->dir, name, &path);
    if (status == ICD_OK) status = icd_i_json_write(w->ctx, value, path);
    icd_i_free(w->ctx, path);
    return status;
}

static icd_status write_index(writing *w)
{
    int64_t bytes = w->parameters * (w->opts.bf16 ? 2 : 4);
    if (w->files == 1) return ICD_OK;
    json_t *index = json_pack("{s:{s:I},s:O}", "metadata", "total_size",
                              (json_int_t)bytes, "weight_map", w->map);
    if (!index) return icd_i_fail(w->ctx, ICD_ENOMEM, "index", NULL, "memory is short");
    icd_status status = write_json(w, "model.safetensors.index.json", index);
    json_decref(index);
    return status;
}

static icd_status write_config(writing *w)
{
    json_t *config = NULL;
    icd_status status = icd_i_synth_config(w->ctx, &w->shape, &config);
    if (status == ICD_OK &&
        json_object_set_new(config, "torch_dtype",
                            json_string(w->opts.bf16 ? "bfloat16" : "float32")))
        status = icd_i_fail(w->ctx, ICD_ENOMEM, "config.json", NULL, "memory is short");
    if (status == ICD_OK) status = write_json(w, "config.json", config);
    json_decref(config);
    return status;
}

static icd_status write_all(writing *w)
{
    icd_status status = ICD_OK;
    ICD_TRY(check_folder(w->ctx, w->dir));
    ICD_TRY(icd_i_synth_list(w->ctx, &w->shape, &w->list, &w->count));
    ICD_TRY(cut(w));
    w->map = json_object();
    if (!w->map) return icd_i_fail(w->ctx, ICD_ENOMEM, "index", NULL, "memory is short");
    for (int64_t f = 0; f < w->files; f++) ICD_TRY(write_file(w, f));
    ICD_TRY(write_index(w));
    ICD_TRY(write_config(w));
done:
    return status;
}

static icd_status check_opts(icd_ctx *ctx, const icd_synthetic_opts *o)
{
    icd_status status = in_range(ctx, "layers", o->layers, MOST_LAYERS);
    if (status == ICD_OK) status = in_range(ctx, "vocab", o->vocab, INT32_MAX);
    if (status == ICD_OK) status = in_range(ctx, "shard", o->shard, INT64_MAX);
    return status;
}

icd_status icd_synthetic_write(icd_ctx *ctx, const char *shape,
                               const icd_synthetic_opts *opts, const char *dir,
                               icd_synthetic_result *result)
{
    writing w = {.ctx = ctx, .dir = dir};
    *result = (icd_synthetic_result){0};
    if (opts) w.opts = *opts;
    icd_status status = check_opts(ctx, &w.opts);
    if (status == ICD_OK) status = find_shape(ctx, shape, &w.shape);
    if (status != ICD_OK) return status;
    if (w.opts.shard == 0) w.opts.shard = (int64_t)1 << 30;
    if (w.opts.layers) w.shape.config.layers = w.opts.layers;
    if (w.opts.vocab) w.shape.config.vocab = w.opts.vocab;
    status = write_all(&w);
    if (status == ICD_OK)
        *result = (icd_synthetic_result){w.count, w.parameters,
                                         w.parameters * (w.opts.bf16 ? 2 : 4), w.files};
    json_decref(w.map);
    icd_i_free(ctx, w.first);
    icd_i_free(ctx, w.list);
    return status;
}
