#include <icd/model.h>

#include "base/file.h"
#include "base/json.h"
#include "model/safetensors_header.h"

#include <stdlib.h>
#include <string.h>

static icd_status describe(icd_ctx *ctx, const icd_tensor *t, int64_t *at, json_t *header)
{
    int64_t end = *at + t->count * icd_dtype_size(t->dtype);
    json_t *shape = json_array();
    for (int32_t d = 0; d < t->dims; ++d)
        json_array_append_new(shape, json_integer(t->shape[d]));
    json_t *entry =
        json_pack("{s:s,s:o,s:[I,I]}", "dtype", icd_dtype_name(t->dtype), "shape", shape,
                  "data_offsets", (json_int_t)*at, (json_int_t)end);
    *at = end;
    if (json_array_size(json_object_get(entry, "shape")) != (size_t)t->dims ||
        json_object_set(header, t->name, entry)) {
        json_decref(entry);
        return icd_i_fail(ctx, ICD_EINVAL, t->name, NULL,
                          "cannot describe the tensor: its name is no UTF-8, or memory "
                          "is short");
    }
    json_decref(entry);
    return ICD_OK;
}

static icd_status add_metadata(icd_ctx *ctx, const char *const *metadata, json_t *header)
{
    json_t *object = metadata && metadata[0] ? json_object() : NULL;
    if (!metadata || !metadata[0]) return ICD_OK;
    for (int64_t i = 0; metadata[i]; i += 2)
        if (json_object_set_new(object, metadata[i], json_string(metadata[i + 1]))) {
            json_decref(object);
            return icd_i_fail(ctx, ICD_EINVAL, "__metadata__", NULL,
                              "'%.200s' is no UTF-8, or memory is short", metadata[i]);
        }
    if (json_object_set_new(header, "__metadata__", object))
        return icd_i_fail(ctx, ICD_ENOMEM, "__metadata__", NULL, "not enough memory");
    return ICD_OK;
}

static icd_status make_header(icd_ctx *ctx, const icd_tensor_list *list,
                              const char *const *metadata, char **text)
{
    icd_status status = ICD_OK;
    int64_t at = 0;
    json_t *header = json_object();
    if (!header) return icd_i_fail(ctx, ICD_ENOMEM, NULL, NULL, "not enough memory");
    ICD_TRY(add_metadata(ctx, metadata, header));
    for (int64_t i = 0; i < list->count; ++i)
        ICD_TRY(describe(ctx, &list->tensor[i], &at, header));
    ICD_TRY(icd_i_json_print(ctx, header, true, text));
done:
    json_decref(header);
    return status;
}

/* Padded with spaces, so that the data starts at a multiple of 8. */
static icd_status write_header(icd_ctx *ctx, icd_out *out, const char *text)
{
    icd_status status;
    size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    unsigned char bytes[8];
    for (int i = 0; i < 8; ++i) bytes[i] = (unsigned char)((uint64_t)padded >> 8 * i);
    ICD_TRY(icd_i_out_write(ctx, out, bytes, sizeof bytes));
    ICD_TRY(icd_i_out_write(ctx, out, text, length));
    ICD_TRY(icd_i_out_write(ctx, out, "       ", padded - length));
done:
    return status;
}

static icd_status write_data(icd_ctx *ctx, icd_out *out, const icd_tensor_list *list)
{
    icd_status status = ICD_OK;
    for (int64_t i = 0; i < list->count; ++i) {
        const icd_tensor *t = &list->tensor[i];
        ICD_TRY(icd_i_out_write(ctx, out, t->data,
                                (size_t)(t->count * icd_dtype_size(t->dtype))));
    }
done:
    return status;
}

/* Wide elements first, as safetensors writes them: then every tensor is aligned. */
static int by_width(const void *a, const void *b)
{
    const icd_tensor *x = a, *y = b;
    int64_t gap = icd_dtype_size(y->dtype) - icd_dtype_size(x->dtype);
    return gap ? (gap > 0) - (gap < 0) : strcmp(x->name, y->name);
}

static icd_status copy_sorted(icd_ctx *ctx, const char *path, const icd_tensor *tensor,
                              int64_t count, icd_tensor_list *list)
{
    icd_status status = ICD_ALLOC(ctx, count, &list->tensor);
    if (status != ICD_OK) return status;
    list->count = list->capacity = count;
    if (count) memcpy(list->tensor, tensor, (size_t)count * sizeof *tensor);
    status = icd_i_tensor_list_sort(ctx, list, path);
    if (status == ICD_OK && count)
        qsort(list->tensor, (size_t)count, sizeof *tensor, by_width);
    return status == ICD_EDATA ? ICD_EINVAL : status;
}

icd_status icd_safetensors_write(icd_ctx *ctx, const char *path, const icd_tensor *tensor,
                                 int64_t count, const char *const *metadata)
{
    icd_status status;
    icd_tensor_list list = {0};
    icd_out *out = NULL;
    char *text = NULL;
    ICD_TRY(copy_sorted(ctx, path, tensor, count, &list));
    ICD_TRY(make_header(ctx, &list, metadata, &text));
    ICD_TRY(icd_i_out_open(ctx, path, &out));
    ICD_TRY(write_header(ctx, out, text));
    ICD_TRY(write_data(ctx, out, &list));
done:
    if (out) {
        icd_status closed = icd_i_out_close(ctx, out, status == ICD_OK);
        if (status == ICD_OK) status = closed;
    }
    icd_i_free(ctx, text);
    icd_i_free(ctx, list.tensor);
    return status;
}
