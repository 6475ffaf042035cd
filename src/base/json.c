#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"

static icd_status fail_parse(icd_ctx *ctx, const char *place, json_error_t *error)
{
    char where[1024];
    if (json_error_code(error) == json_error_out_of_memory)
        return icd_i_fail(ctx, ICD_ENOMEM, place, NULL, "not enough memory to read JSON");
    snprintf(where, sizeof where, "%s:%d:%d", place, error->line, error->column);
    return icd_i_fail(ctx, ICD_EDATA, where, NULL, "not JSON: %s", error->text);
}

icd_status icd_i_json_parse(icd_ctx *ctx, const char *text, size_t size,
                            const char *place, json_t **out)
{
    json_error_t error = {0};
    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    return *out ? ICD_OK : fail_parse(ctx, place, &error);
}

icd_status icd_i_json_read(icd_ctx *ctx, const char *path, json_t **out)
{
    char *text = NULL;
    size_t size = 0;
    *out = NULL;
    icd_status status = icd_i_file_read(ctx, path, &text, &size);
    if (status == ICD_OK) status = icd_i_json_parse(ctx, text, size, path, out);
    icd_i_free(ctx, text);
    return status;
}

typedef struct printer {
    icd_ctx *ctx;
    icd_text text;
    bool compact;
} printer;

static icd_status put_value(printer *p, const json_t *value, int depth);

static icd_status put(printer *p, const char *string)
{
    return icd_i_text_puts(p->ctx, &p->text, string);
}

static icd_status put_line(printer *p, int depth)
{
    if (p->compact) return ICD_OK;
    return icd_i_text_printf(p->ctx, &p->text, "\n%*s", 2 * depth, "");
}

static icd_status put_escaped(printer *p, unsigned char c)
{
    if (c == '\n') return put(p, "\\n");
    if (c == '\t') return put(p, "\\t");
    if (c < 0x20 || c == 0x7f) return icd_i_text_printf(p->ctx, &p->text, "\\u%04x", c);
    return icd_i_text_printf(p->ctx, &p->text, "\\%c", c);
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c != 0x7f && c != '"' && c != '\\';
}

static icd_status put_string(printer *p, const char *string)
{
    icd_status status = ICD_OK;
    ICD_TRY(put(p, "\""));
    while (*string) {
        const char *end = string;
        while (*end && is_plain((unsigned char)*end)) end++;
        ICD_TRY(icd_i_text_add(p->ctx, &p->text, string, end - string));
        if (*end) ICD_TRY(put_escaped(p, (unsigned char)*end++));
        string = end;
    }
    ICD_TRY(put(p, "\""));
done:
    return status;
}

static icd_status put_real(printer *p, double value)
{
    char digits[32];
    icd_i_real_print(value, digits);
    icd_status status = put(p, digits);
    if (status == ICD_OK && !strpbrk(digits, ".e")) status = put(p, ".0");
    return status;
}

static bool is_flat(const json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        if (json_is_object(item) || json_is_array(item)) return false;
    }
    return true;
}

static icd_status put_array(printer *p, const json_t *array, int depth)
{
    icd_status status = ICD_OK;
    size_t count = json_array_size(array);
    bool flat = is_flat(array);
    ICD_TRY(put(p, "["));
    for (size_t i = 0; i < count; i++) {
        if (i) ICD_TRY(put(p, flat && !p->compact ? ", " : ","));
        if (!flat) ICD_TRY(put_line(p, depth + 1));
        ICD_TRY(put_value(p, json_array_get(array, i), depth + 1));
    }
    if (!flat) ICD_TRY(put_line(p, depth));
    ICD_TRY(put(p, "]"));
done:
    return status;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static icd_status sorted_keys(icd_ctx *ctx, const json_t *object, const char ***out)
{
    int64_t count = 0;
    icd_status status = ICD_ALLOC(ctx, (int64_t)json_object_size(object), out);
    if (status != ICD_OK) return status;
    /* jansson's iterators take a non-const object but do not change it */
    json_t *o = (json_t *)(uintptr_t)object;
    for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it))
        (*out)[count++] = json_object_iter_key(it);
    qsort(*out, (size_t)count, sizeof **out, compare_keys);
    return ICD_OK;
}

static icd_status put_object(printer *p, const json_t *object, int depth)
{
    icd_status status = ICD_OK;
    const char **key = NULL;
    size_t count = json_object_size(object);
    ICD_TRY(sorted_keys(p->ctx, object, &key));
    ICD_TRY(put(p, "{"));
    for (size_t i = 0; i < count; i++) {
        if (i) ICD_TRY(put(p, ","));
        ICD_TRY(put_line(p, depth + 1));
        ICD_TRY(put_string(p, key[i]));
        ICD_TRY(put(p, p->compact ? ":" : ": "));
        ICD_TRY(put_value(p, json_object_get(object, key[i]), depth + 1));
    }
    if (count) ICD_TRY(put_line(p, depth));
    ICD_TRY(put(p, "}"));
done:
    icd_i_free(p->ctx, key);
    return status;
}

static icd_status put_value(printer *p, const json_t *value, int depth)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return put_object(p, value, depth);
    case JSON_ARRAY:
        return put_array(p, value, depth);
    case JSON_STRING:
        return put_string(p, json_string_value(value));
    case JSON_REAL:
        return put_real(p, json_real_value(value));
    case JSON_TRUE:
        return put(p, "true");
    case JSON_FALSE:
        return put(p, "false");
    case JSON_NULL:
        return put(p, "null");
    case JSON_INTEGER:
        break;
    }
    return icd_i_text_printf(p->ctx, &p->text, "%" JSON_INTEGER_FORMAT,
                             json_integer_value(value));
}

icd_status icd_i_json_print(icd_ctx *ctx, const json_t *value, bool compact, char **text)
{
    printer p = {.ctx = ctx, .compact = compact};
    *text = NULL;
    icd_status status = put_value(&p, value, 0);
    if (status == ICD_OK && !compact) status = put(&p, "\n");
    if (status == ICD_OK)
        *text = p.text.data;
    else
        icd_i_text_release(ctx, &p.text);
    return status;
}

icd_status icd_i_json_write(icd_ctx *ctx, const json_t *value, const char *path)
{
    char *text = NULL;
    icd_status status = icd_i_json_print(ctx, value, false, &text);
    if (status == ICD_OK) status = icd_i_file_write(ctx, path, text, strlen(text));
    icd_i_free(ctx, text);
    return status;
}

static const char *type_name(json_type type)
{
    static const char *const NAME[] = {
        [JSON_OBJECT] = "object",   [JSON_ARRAY] = "array", [JSON_STRING] = "string",
        [JSON_INTEGER] = "integer", [JSON_REAL] = "number", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",     [JSON_NULL] = "null",
    };
    return NAME[type];
}

static icd_status fail_type(icd_ctx *ctx, const json_t *member, const char *key,
                            const char *place, const char *expected)
{
    return icd_i_fail(ctx, ICD_EDATA, place, NULL, "member '%s': found %s, expected %s",
                      key, member ? type_name(json_typeof(member)) : "nothing", expected);
}

static bool same_type(json_type found, json_type expected)
{
    if (expected == JSON_TRUE || expected == JSON_FALSE)
        return found == JSON_TRUE || found == JSON_FALSE;
    return found == expected;
}

icd_status icd_i_json_member(icd_ctx *ctx, const json_t *object, const char *key,
                             json_type type, const char *place, json_t **out)
{
    json_t *member = json_object_get(object, key);
    *out = NULL;
    if (!member || !same_type(json_typeof(member), type)) {
        bool boolean = type == JSON_TRUE || type == JSON_FALSE;
        return fail_type(ctx, member, key, place,
                         boolean ? "true or false" : type_name(type));
    }
    *out = member;
    return ICD_OK;
}

icd_status icd_i_json_int(icd_ctx *ctx, const json_t *object, const char *key,
                          const char *place, int64_t low, int64_t high, int64_t *out)
{
    json_t *member = NULL;
    *out = 0;
    icd_status status = icd_i_json_member(ctx, object, key, JSON_INTEGER, place, &member);
    if (status != ICD_OK) return status;
    int64_t value = json_integer_value(member);
    if (value < low || value > high)
        return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                          "member '%s': found %lld, expected an integer in %lld..%lld",
                          key, (long long)value, (long long)low, (long long)high);
    *out = value;
    return ICD_OK;
}

icd_status icd_i_json_real(icd_ctx *ctx, const json_t *object, const char *key,
                           const char *place, double *out)
{
    const json_t *member = json_object_get(object, key);
    *out = 0;
    if (!json_is_number(member)) return fail_type(ctx, member, key, place, "number");
    *out = json_number_value(member);
    return ICD_OK;
}

icd_status icd_i_json_string(icd_ctx *ctx, const json_t *object, const char *key,
                             const char *place, const char **out)
{
    json_t *member = NULL;
    icd_status status = icd_i_json_member(ctx, object, key, JSON_STRING, place, &member);
    *out = json_string_value(member);
    return status;
}
