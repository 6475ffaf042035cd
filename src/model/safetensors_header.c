#include "model/safetensors_header.h"

#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8 };

/* Where the data of a tensor stands, relative to the end of the header. */
typedef struct extent {
    icd_tensor tensor;
    int64_t begin, end;
} extent;

typedef struct reader {
    icd_ctx *ctx;
    icd_arena *arena;
    const char *place;
    const unsigned char *data; /* behind the header */
    int64_t size;              /* of the data */
    icd_tensor_list *list;
    extent *extent;
    int64_t count;
} reader;

static icd_status fail_tensor(const reader *r, const char *name, const char *text)
{
    char where[1024];
    snprintf(where, sizeof where, "%.700s: tensor '%.200s'", r->place, name);
    return icd_i_fail(r->ctx, ICD_EDATA, where, NULL, "%s", text);
}

static icd_status add_metadata(reader *r, const char *key, const char *value)
{
    icd_metadata *text = icd_i_arena_alloc(r->ctx, r->arena, sizeof *text);
    if (!text) return ICD_ENOMEM;
    text->key = icd_i_arena_strdup(r->ctx, r->arena, key);
    text->value = icd_i_arena_strdup(r->ctx, r->arena, value);
    if (!text->key || !text->value) return ICD_ENOMEM;
    text->next = r->list->metadata;
    r->list->metadata = text;
    return ICD_OK;
}

static icd_status read_metadata(reader *r, const json_t *metadata)
{
    icd_status status = ICD_OK;
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return icd_i_fail(r->ctx, ICD_EDATA, r->place, NULL,
                          "'__metadata__' is no object, expected texts by name");
    json_object_foreach((json_t *)metadata, key, value)
    {
        if (!json_is_string(value))
            return icd_i_fail(r->ctx, ICD_EDATA, r->place, NULL,
                              "'__metadata__': '%.200s' is no text", key);
        ICD_TRY(add_metadata(r, key, json_string_value(value)));
    }
done:
    return status;
}

static icd_status read_dtype(const reader *r, const json_t *entry, icd_tensor *t)
{
    char text[160];
    const char *name = json_string_value(json_object_get(entry, "dtype"));
    if (!name) return fail_tensor(r, t->name, "no text 'dtype'");
    for (int d = 0; d < ICD_DTYPES; ++d)
        if (strcmp(name, icd_dtype_name((icd_dtype)d)) == 0) {
            t->dtype = (icd_dtype)d;
            return ICD_OK;
        }
    snprintf(text, sizeof text,
             "unknown dtype '%.40s', expected F64, F32, F16, BF16, I64, I32, I16, I8, U8 "
             "or BOOL",
             name);
    return fail_tensor(r, t->name, text);
}

static icd_status read_shape(const reader *r, const json_t *entry, icd_tensor *t)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape)) return fail_tensor(r, t->name, "no list 'shape'");
    if (json_array_size(shape) > ICD_TENSOR_DIMS)
        return fail_tensor(r, t->name, "more than 8 dimensions");
    t->dims = (int32_t)json_array_size(shape);
    t->count = 1;
    for (int32_t d = 0; d < t->dims; ++d) {
        const json_t *value = json_array_get(shape, (size_t)d);
        t->shape[d] = json_integer_value(value);
        if (!json_is_integer(value) || t->shape[d] < 0)
            return fail_tensor(r, t->name, "'shape' holds no size >= 0");
        if (__builtin_mul_overflow(t->count, t->shape[d], &t->count))
            return fail_tensor(r, t->name, "the product of its shape overflows");
    }
    return ICD_OK;
}

static icd_status read_offsets(const reader *r, const json_t *entry, extent *e)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return fail_tensor(r, e->tensor.name, "no 'data_offsets' of two integers");
    e->begin = json_integer_value(begin);
    e->end = json_integer_value(end);
    if (e->begin < 0 || e->end < e->begin || e->end > r->size) {
        char text[160];
        snprintf(text, sizeof text,
                 "its data is bytes %" PRId64 " to %" PRId64 ", the file has %" PRId64,
                 e->begin, e->end, r->size);
        return fail_tensor(r, e->tensor.name, text);
    }
    return ICD_OK;
}

static icd_status check_bytes(const reader *r, const extent *e)
{
    int64_t bytes = 0, size = icd_dtype_size(e->tensor.dtype);
    if (!__builtin_mul_overflow(e->tensor.count, size, &bytes) &&
        bytes == e->end - e->begin)
        return ICD_OK;
    char text[160];
    snprintf(text, sizeof text,
             "it has %" PRId64 " bytes of data, its shape needs %" PRId64 " x %" PRId64,
             e->end - e->begin, e->tensor.count, size);
    return fail_tensor(r, e->tensor.name, text);
}

/* Writers need not align the data; code that reads it as an array of floats must be able
 * to. */
static icd_status bind_data(const reader *r, extent *e)
{
    size_t bytes = (size_t)(e->end - e->begin);
    const unsigned char *data = r->data + e->begin;
    e->tensor.data = data;
    if (bytes == 0 || (uintptr_t)data % (size_t)icd_dtype_size(e->tensor.dtype) == 0)
        return ICD_OK;
    void *copy = icd_i_arena_alloc(r->ctx, r->arena, bytes);
    if (!copy) return ICD_ENOMEM;
    memcpy(copy, data, bytes);
    e->tensor.data = copy;
    return ICD_OK;
}

static icd_status read_entry(reader *r, const char *name, const json_t *entry)
{
    icd_status status = ICD_OK;
    extent *e = &r->extent[r->count];
    if (!json_is_object(entry))
        return fail_tensor(r, name,
                           "its entry is no object, expected dtype, shape and "
                           "data_offsets");
    e->tensor.name = icd_i_arena_strdup(r->ctx, r->arena, name);
    if (!e->tensor.name) return ICD_ENOMEM;
    ICD_TRY(read_dtype(r, entry, &e->tensor));
    ICD_TRY(read_shape(r, entry, &e->tensor));
    ICD_TRY(read_offsets(r, entry, e));
    ICD_TRY(check_bytes(r, e));
    r->count++;
done:
    return status;
}

static icd_status read_entries(reader *r, const json_t *header)
{
    icd_status status = ICD_OK;
    const char *name;
    json_t *entry;
    json_object_foreach((json_t *)header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            ICD_TRY(read_metadata(r, entry));
        else
            ICD_TRY(read_entry(r, name, entry));
    }
done:
    return status;
}

static int by_place(const void *a, const void *b)
{
    const extent *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* Bytes that two tensors share or that none owns are how a file lies about its content.
 */
static icd_status check_cover(const reader *r)
{
    int64_t at = 0;
    for (int64_t i = 0; i < r->count; ++i) {
        const extent *e = &r->extent[i];
        if (e->begin < at)
            return fail_tensor(r, e->tensor.name, "its data overlaps another tensor's");
        if (e->begin > at)
            return fail_tensor(r, e->tensor.name,
                               "there are bytes before its data that no tensor owns");
        at = e->end;
    }
    if (at == r->size) return ICD_OK;
    return icd_i_fail(r->ctx, ICD_EDATA, r->place, "the file is damaged",
                      "its tensors end at byte %" PRId64 " of %" PRId64 " of the data",
                      at, r->size);
}

static icd_status append(reader *r)
{
    icd_status status = ICD_OK;
    icd_tensor_list *list = r->list;
    ICD_TRY(icd_i_grow(r->ctx, (void **)&list->tensor, &list->capacity,
                       list->count + r->count, sizeof *list->tensor));
    for (int64_t i = 0; i < r->count; ++i) {
        ICD_TRY(bind_data(r, &r->extent[i]));
        list->tensor[list->count++] = r->extent[i].tensor;
    }
done:
    return status;
}

static icd_status read_header(reader *r, const json_t *header)
{
    icd_status status = ICD_OK;
    if (!json_is_object(header))
        return icd_i_fail(r->ctx, ICD_EDATA, r->place, NULL,
                          "the header is no JSON object");
    ICD_TRY(ICD_ALLOC(r->ctx, (int64_t)json_object_size(header), &r->extent));
    ICD_TRY(read_entries(r, header));
    if (r->count) qsort(r->extent, (size_t)r->count, sizeof *r->extent, by_place);
    ICD_TRY(check_cover(r));
    ICD_TRY(append(r));
done:
    icd_i_free(r->ctx, r->extent);
    r->extent = NULL;
    return status;
}

static uint64_t little_endian(const unsigned char *bytes)
{
    uint64_t value = 0;
    for (int i = LENGTH_BYTES; i-- > 0;) value = value << 8 | bytes[i];
    return value;
}

static icd_status check_length(icd_ctx *ctx, const char *place, const void *bytes,
                               size_t size, size_t *length)
{
    if (size < LENGTH_BYTES)
        return icd_i_fail(ctx, ICD_EDATA, place, "the file is cut off",
                          "found %zu bytes, expected a header length of 8", size);
    uint64_t claimed = little_endian(bytes);
    if (claimed > ICD_SAFETENSORS_HEADER)
        return icd_i_fail(ctx, ICD_EDATA, place, "this is no .safetensors file",
                          "the header claims %" PRIu64 " bytes, expected at most %d",
                          claimed, ICD_SAFETENSORS_HEADER);
    if (claimed > size - LENGTH_BYTES)
        return icd_i_fail(ctx, ICD_EDATA, place, "the file is cut off",
                          "the header claims %" PRIu64 " bytes, the file has %zu behind "
                          "its length",
                          claimed, size - LENGTH_BYTES);
    *length = (size_t)claimed;
    return ICD_OK;
}

icd_status icd_i_safetensors_parse(icd_ctx *ctx, icd_arena *arena, const void *bytes,
                                   size_t size, const char *place, icd_tensor_list *list)
{
    icd_status status;
    json_t *header = NULL;
    size_t length = 0;
    char where[1024];
    reader r = {.ctx = ctx, .arena = arena, .place = place, .list = list};
    const unsigned char *start = bytes;
    ICD_TRY(check_length(ctx, place, bytes, size, &length));
    r.data = start + LENGTH_BYTES + length;
    r.size = (int64_t)(size - LENGTH_BYTES - length);
    snprintf(where, sizeof where, "%.1000s: header", place);
    ICD_TRY(icd_i_json_parse(ctx, (const char *)start + LENGTH_BYTES, length, where,
                             &header));
    ICD_TRY(read_header(&r, header));
done:
    json_decref(header);
    return status;
}

static int by_name(const void *a, const void *b)
{
    const icd_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

icd_status icd_i_tensor_list_sort(icd_ctx *ctx, icd_tensor_list *list, const char *place)
{
    if (list->count)
        qsort(list->tensor, (size_t)list->count, sizeof *list->tensor, by_name);
    for (int64_t i = 1; i < list->count; ++i)
        if (by_name(&list->tensor[i - 1], &list->tensor[i]) == 0)
            return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                              "found tensor '%.200s' twice, expected it once",
                              list->tensor[i].name);
    return ICD_OK;
}

const icd_tensor *icd_i_tensor_list_get(const icd_tensor_list *list, const char *name)
{
    icd_tensor key = {.name = name};
    if (!list->count) return NULL;
    return bsearch(&key, list->tensor, (size_t)list->count, sizeof *list->tensor,
                   by_name);
}
