#include "base/options.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static void *field_of(const icd_option *row, void *opts)
{
    return (char *)opts + row->offset;
}

static const void *const_field_of(const icd_option *row, const void *opts)
{
    return (const char *)opts + row->offset;
}

static size_t field_size(icd_option_type type)
{
    static const size_t SIZE[] = {
        [ICD_OPTION_BOOL] = sizeof(bool),       [ICD_OPTION_INT] = sizeof(int32_t),
        [ICD_OPTION_INT64] = sizeof(int64_t),   [ICD_OPTION_REAL] = sizeof(double),
        [ICD_OPTION_ENUM] = sizeof(int32_t),    [ICD_OPTION_STRING] = sizeof(char *),
        [ICD_OPTION_LIST] = sizeof(icd_strings)};
    return SIZE[type];
}

void icd_i_option_name(const icd_option_table *table, const icd_option *row,
                       char out[ICD_OPTION_NAME])
{
    snprintf(out, ICD_OPTION_NAME, "%s%s%s", table->section, *table->section ? "." : "",
             row->name);
}

const icd_option *icd_i_option_find(const icd_option_table *table, const char *name)
{
    for (int32_t i = 0; i < table->rows; i++)
        if (!strcmp(table->row[i].name, name)) return &table->row[i];
    return NULL;
}

const char *icd_i_option_choice(const icd_option *row, int64_t i, int *length)
{
    const char *p = row->choices;
    for (; p && i > 0; i--) {
        p = strchr(p, '|');
        if (p) p++;
    }
    if (p) *length = (int)strcspn(p, "|");
    return p;
}

static int64_t choice_index(const icd_option *row, const char *text)
{
    int length = 0;
    const char *choice;
    for (int64_t i = 0; (choice = icd_i_option_choice(row, i, &length)); i++)
        if (strlen(text) == (size_t)length && !memcmp(text, choice, (size_t)length))
            return i;
    return -1;
}

bool icd_i_option_allows(const icd_option *row, const char *item)
{
    return !row->choices || choice_index(row, item) >= 0;
}

static bool in_range(const icd_option *row, double value)
{
    return isfinite(value) &&
           (row->min == row->max || (value >= row->min && value <= row->max));
}

static bool store_bool(const char *text, bool *out)
{
    bool yes = !strcmp(text, "true") || !strcmp(text, "True") || !strcmp(text, "TRUE");
    bool no = !strcmp(text, "false") || !strcmp(text, "False") || !strcmp(text, "FALSE");
    if (yes || no) *out = yes;
    return yes || no;
}

static bool store_int(const icd_option *row, const char *text, void *out)
{
    int64_t value = 0;
    if (!icd_i_int_parse(text, &value) || !in_range(row, (double)value)) return false;
    if (row->type == ICD_OPTION_INT64) {
        *(int64_t *)out = value;
        return true;
    }
    if (value < INT32_MIN || value > INT32_MAX) return false;
    *(int32_t *)out = (int32_t)value;
    return true;
}

static bool store_real(const icd_option *row, const char *text, double *out)
{
    double value = 0;
    if (!icd_i_real_parse(text, &value) || !in_range(row, value)) return false;
    *out = value;
    return true;
}

static bool store_enum(const icd_option *row, const char *text, int32_t *out)
{
    int64_t index = choice_index(row, text);
    if (index >= 0) *out = (int32_t)index;
    return index >= 0;
}

bool icd_i_option_store(const icd_option *row, const char *text, void *opts)
{
    void *field = field_of(row, opts);
    switch (row->type) {
    case ICD_OPTION_BOOL:
        return store_bool(text, field);
    case ICD_OPTION_INT:
    case ICD_OPTION_INT64:
        return store_int(row, text, field);
    case ICD_OPTION_REAL:
        return store_real(row, text, field);
    case ICD_OPTION_ENUM:
        return store_enum(row, text, field);
    case ICD_OPTION_STRING:
        *(const char **)field = text;
        return true;
    case ICD_OPTION_LIST:
        break;
    }
    return false;
}

static void add_text(char *out, size_t size, const char *more)
{
    size_t used = strlen(out);
    snprintf(out + used, size - used, "%s", more);
}

static void describe_choices(const icd_option *row, char *out, size_t size)
{
    int length = 0;
    const char *choice;
    for (int64_t i = 0; (choice = icd_i_option_choice(row, i, &length)); i++) {
        bool last = choice[length] == 0;
        char word[64];
        snprintf(word, sizeof word, "%s%.*s",
                 i == 0 ? ""
                 : last ? " or "
                        : ", ",
                 length, choice);
        add_text(out, size, word);
    }
}

static void describe_range(const icd_option *row, char *out, size_t size)
{
    char low[32], high[32], range[80];
    if (row->min == row->max) return;
    icd_i_real_print(row->min, low);
    icd_i_real_print(row->max, high);
    if (isinf(row->max))
        snprintf(range, sizeof range, " >= %s", low);
    else if (isinf(row->min))
        snprintf(range, sizeof range, " <= %s", high);
    else
        snprintf(range, sizeof range, " in %s..%s", low, high);
    add_text(out, size, range);
}

/* "an integer in 1..65536", "auto, T, cut or J" */
static void describe(const icd_option *row, char *out, size_t size)
{
    static const char *const NOUN[] = {[ICD_OPTION_BOOL] = "true or false",
                                       [ICD_OPTION_INT] = "an integer",
                                       [ICD_OPTION_INT64] = "an integer",
                                       [ICD_OPTION_REAL] = "a number",
                                       [ICD_OPTION_ENUM] = "",
                                       [ICD_OPTION_STRING] = "a string",
                                       [ICD_OPTION_LIST] = "a list"};
    snprintf(out, size, "%s", NOUN[row->type]);
    if (row->type == ICD_OPTION_LIST && row->choices) add_text(out, size, " of ");
    describe_choices(row, out, size);
    describe_range(row, out, size);
    if (row->unit) {
        add_text(out, size, " ");
        add_text(out, size, row->unit);
    }
}

icd_status icd_i_option_refuse(icd_ctx *ctx, const icd_option_table *table,
                               const icd_option *row, const char *place,
                               const char *found, const char *hint)
{
    char name[ICD_OPTION_NAME], expected[512];
    icd_i_option_name(table, row, name);
    describe(row, expected, sizeof expected);
    if (!place)
        return icd_i_fail(ctx, ICD_EINVAL, name, hint, "found %s, expected %s", found,
                          expected);
    return icd_i_fail(ctx, ICD_EINVAL, place, hint, "%s: found %s, expected %s", name,
                      found, expected);
}

static bool is_old_bool(const char *text)
{
    static const char *const WORD[] = {"yes", "no", "on", "off", "y", "n", "0", "1"};
    for (size_t i = 0; i < sizeof WORD / sizeof WORD[0]; i++)
        if (icd_i_edit_distance(WORD[i], text) == 0) return true;
    return false;
}

icd_status icd_i_option_refuse_text(icd_ctx *ctx, const icd_option_table *table,
                                    const icd_option *row, const char *place,
                                    const char *text)
{
    char found[96];
    const char *hint = NULL;
    int64_t whole = 0;
    bool integer = row->type == ICD_OPTION_INT || row->type == ICD_OPTION_INT64;
    double real = 0;
    snprintf(found, sizeof found, strlen(text) > 64 ? "'%.64s...'" : "'%s'", text);
    if (row->type == ICD_OPTION_BOOL && is_old_bool(text))
        hint = "YAML 1.2 knows true and false only";
    else if (integer && !icd_i_int_parse(text, &whole) && icd_i_real_parse(text, &real))
        hint = "write it with digits only";
    return icd_i_option_refuse(ctx, table, row, place, found, hint);
}

/* A list's default can be unset or one item: the row itself then serves as the list's
 * storage. */
static bool store_default(const icd_option *row, void *opts)
{
    if (!row->def) return true;
    if (row->type != ICD_OPTION_LIST) return icd_i_option_store(row, row->def, opts);
    if (strchr(row->def, ',')) return false;
    if (*row->def) *(icd_strings *)field_of(row, opts) = (icd_strings){&row->def, 1};
    return true;
}

void icd_options_init(const icd_option_table *table, void *opts)
{
    memset(opts, 0, table->struct_size);
    memcpy(opts, &table->struct_size, sizeof table->struct_size);
    for (int32_t i = 0; i < table->rows; i++) {
        bool valid = store_default(&table->row[i], opts);
        assert(valid && "the default in an options table must satisfy its own row");
        (void)valid;
    }
}

static bool is_zero(const icd_option *row, const void *opts)
{
    const unsigned char *byte = const_field_of(row, opts);
    for (size_t i = 0; i < field_size(row->type); i++)
        if (byte[i]) return false;
    return true;
}

static bool is_all_zero(const icd_option_table *table, const void *opts)
{
    for (int32_t i = 0; i < table->rows; i++)
        if (!is_zero(&table->row[i], opts)) return false;
    return true;
}

static int64_t choice_count(const icd_option *row)
{
    int length = 0;
    int64_t count = 0;
    while (icd_i_option_choice(row, count, &length)) count++;
    return count;
}

static double number_of(const icd_option *row, const void *opts)
{
    const void *field = const_field_of(row, opts);
    if (row->type == ICD_OPTION_REAL) return *(const double *)field;
    if (row->type == ICD_OPTION_INT64) return (double)*(const int64_t *)field;
    return (double)*(const int32_t *)field;
}

static icd_status check_number(icd_ctx *ctx, const icd_option_table *table,
                               const icd_option *row, const void *opts)
{
    char found[32];
    double value = number_of(row, opts);
    bool valid = in_range(row, value);
    if (row->type == ICD_OPTION_ENUM)
        valid = value >= 0 && value < (double)choice_count(row);
    if (valid) return ICD_OK;
    icd_i_real_print(value, found);
    return icd_i_option_refuse(ctx, table, row, NULL, found, NULL);
}

static icd_status check_list(icd_ctx *ctx, const icd_option_table *table,
                             const icd_option *row, const void *opts)
{
    const icd_strings *list = const_field_of(row, opts);
    if (list->count < 0 || (list->count && !list->item))
        return icd_i_option_refuse(ctx, table, row, NULL, "a list without items", NULL);
    for (int64_t i = 0; i < list->count; i++)
        if (!list->item[i] || !icd_i_option_allows(row, list->item[i]))
            return icd_i_option_refuse_text(ctx, table, row, NULL,
                                            list->item[i] ? list->item[i] : "NULL");
    return ICD_OK;
}

static icd_status check_row(icd_ctx *ctx, const icd_option_table *table,
                            const icd_option *row, const void *opts)
{
    switch (row->type) {
    case ICD_OPTION_INT:
    case ICD_OPTION_INT64:
    case ICD_OPTION_REAL:
    case ICD_OPTION_ENUM:
        return check_number(ctx, table, row, opts);
    case ICD_OPTION_LIST:
        return check_list(ctx, table, row, opts);
    case ICD_OPTION_BOOL:
    case ICD_OPTION_STRING:
        break;
    }
    return ICD_OK;
}

static icd_status fail_size(icd_ctx *ctx, const icd_option_table *table, size_t size)
{
    const char *hint = size ? "build against the headers of this library"
                            : "start from icd_options_init() and change its fields";
    return icd_i_fail(ctx, ICD_EINVAL, table->section, hint,
                      "options struct: found size %zu, expected %zu", size,
                      table->struct_size);
}

icd_status icd_options_resolve(icd_ctx *ctx, const icd_option_table *table,
                               const void *in, void *out)
{
    size_t size = 0;
    icd_status status = ICD_OK;
    if (in) memcpy(&size, in, sizeof size);
    bool defaults = !in || (!size && is_all_zero(table, in));
    if (!defaults && (size < sizeof size || size > table->struct_size))
        return fail_size(ctx, table, size);
    icd_options_init(table, out);
    if (defaults) return ICD_OK;
    /* a caller built against an older header has a shorter struct: the rest keeps its
     * defaults */
    memcpy((char *)out + sizeof size, (const char *)in + sizeof size, size - sizeof size);
    for (int32_t i = 0; i < table->rows && status == ICD_OK; i++)
        status = check_row(ctx, table, &table->row[i], out);
    return status;
}

static icd_status fail_unknown(icd_ctx *ctx, const icd_option_table *table,
                               const char *name, const char *place)
{
    const char *best = NULL;
    char hint[ICD_OPTION_NAME + 32];
    int32_t limit = icd_i_edit_limit(name);
    for (int32_t i = 0; i < table->rows; i++) {
        int32_t distance = icd_i_edit_distance(name, table->row[i].name);
        if (distance > limit) continue;
        best = table->row[i].name;
        limit = distance - 1;
    }
    if (best) snprintf(hint, sizeof hint, "did you mean \"%s\"?", best);
    return icd_i_fail(ctx, ICD_EINVAL, place, best ? hint : NULL,
                      "unknown option \"%s\" of section \"%s\"", name, table->section);
}

icd_status icd_options_set(icd_ctx *ctx, const icd_option_table *table, void *opts,
                           const char *name, const char *text, const char *place)
{
    const icd_option *row = icd_i_option_find(table, name);
    if (!row) return fail_unknown(ctx, table, name, place);
    if (icd_i_option_store(row, text, opts)) return ICD_OK;
    return icd_i_option_refuse_text(ctx, table, row, place, text);
}

static json_t *list_json(const icd_strings *list)
{
    json_t *array = json_array();
    for (int64_t i = 0; i < list->count; i++)
        if (json_array_append_new(array, json_string(list->item[i]))) {
            json_decref(array);
            return NULL;
        }
    return array;
}

static json_t *string_json(const char *text)
{
    return text && *text ? json_string(text) : json_null();
}

json_t *icd_i_option_json(const icd_option *row, const void *opts)
{
    const void *field = const_field_of(row, opts);
    int length = 0;
    switch (row->type) {
    case ICD_OPTION_BOOL:
        return json_boolean(*(const bool *)field);
    case ICD_OPTION_INT:
        return json_integer(*(const int32_t *)field);
    case ICD_OPTION_INT64:
        return json_integer(*(const int64_t *)field);
    case ICD_OPTION_REAL:
        return json_real(*(const double *)field);
    case ICD_OPTION_STRING:
        return string_json(*(const char *const *)field);
    case ICD_OPTION_LIST:
        return list_json(field);
    case ICD_OPTION_ENUM:
        break;
    }
    const char *choice = icd_i_option_choice(row, *(const int32_t *)field, &length);
    assert(choice && "an enum field holds an index into its choices");
    return choice ? json_stringn(choice, (size_t)length) : json_null();
}
