#include "base/options.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static icd_status fail_memory(icd_ctx *ctx)
{
    return icd_i_fail(ctx, ICD_ENOMEM, NULL, NULL, "not enough memory to build JSON");
}

static json_t *member_object(json_t *object, const char *name, size_t size)
{
    char key[ICD_OPTION_NAME];
    snprintf(key, sizeof key, "%.*s", (int)size, name);
    json_t *member = json_object_get(object, key);
    if (member) return member;
    member = json_object();
    return json_object_set_new(object, key, member) ? NULL : member;
}

json_t *icd_i_option_object(json_t *root, const char *path, const char *child)
{
    while (root && *path) {
        size_t size = strcspn(path, ".");
        if (child) root = member_object(root, child, strlen(child));
        if (root) root = member_object(root, path, size);
        path += size + (path[size] == '.');
    }
    return root;
}

static bool section_json(const icd_option_table *table, const void *opts, json_t *root)
{
    json_t *object = icd_i_option_object(root, table->section, NULL);
    for (int32_t i = 0; i < table->rows; i++)
        if (json_object_set_new(object, table->row[i].name,
                                icd_i_option_json(&table->row[i], opts)))
            return false;
    return object != NULL;
}

icd_status icd_i_config_json(icd_ctx *ctx, const icd_schema *schema, const void *config,
                             json_t **out)
{
    json_t *root = json_object();
    bool whole = root != NULL;
    *out = NULL;
    for (int32_t i = 0; i < schema->sections && whole; i++)
        whole = section_json(schema->section[i].table,
                             (const char *)config + schema->section[i].offset, root);
    if (whole)
        *out = root;
    else
        json_decref(root);
    return whole ? ICD_OK : fail_memory(ctx);
}

static json_t *choices_json(const icd_option *row)
{
    int length = 0;
    const char *choice;
    json_t *array = json_array();
    for (int64_t i = 0; (choice = icd_i_option_choice(row, i, &length)); i++)
        json_array_append_new(array, json_stringn(choice, (size_t)length));
    return array;
}

static json_t *type_json(const icd_option *row)
{
    static const char *const NAME[] = {
        [ICD_OPTION_BOOL] = "boolean",  [ICD_OPTION_INT] = "integer",
        [ICD_OPTION_INT64] = "integer", [ICD_OPTION_REAL] = "number",
        [ICD_OPTION_ENUM] = "string",   [ICD_OPTION_STRING] = "string",
        [ICD_OPTION_LIST] = "array"};
    if (row->type != ICD_OPTION_STRING && row->type != ICD_OPTION_LIST)
        return json_string(NAME[row->type]);
    return json_pack("[s, s]", NAME[row->type], "null");
}

static json_t *bound_json(const icd_option *row, double bound)
{
    /* 2^63 as a double is one too many for an integer: such a bound is the type's own. */
    bool integer = row->type != ICD_OPTION_REAL && fabs(bound) < 9.2e18;
    return integer ? json_integer((json_int_t)bound) : json_real(bound);
}

static int put_range(json_t *object, const icd_option *row)
{
    double low = row->min, high = row->max;
    int bad = 0;
    bool number = row->type == ICD_OPTION_REAL || row->type == ICD_OPTION_INT ||
                  row->type == ICD_OPTION_INT64;
    if (!number) return 0;
    if (low == high) low = -INFINITY, high = INFINITY;
    if (row->type == ICD_OPTION_INT) {
        low = fmax(low, INT32_MIN);
        high = fmin(high, INT32_MAX);
    }
    if (isfinite(low))
        bad |= json_object_set_new(object, "minimum", bound_json(row, low));
    if (isfinite(high))
        bad |= json_object_set_new(object, "maximum", bound_json(row, high));
    return bad;
}

static int put_choices(json_t *object, const icd_option *row)
{
    if (row->type == ICD_OPTION_ENUM)
        return json_object_set_new(object, "enum", choices_json(row));
    if (row->type != ICD_OPTION_LIST) return 0;
    json_t *items = json_pack("{s:s}", "type", "string");
    int bad = json_object_set_new(object, "items", items);
    if (!bad && row->choices) bad = json_object_set_new(items, "enum", choices_json(row));
    return bad;
}

static int put_description(json_t *object, const icd_option *row)
{
    const char *help = row->help ? row->help : "";
    json_t *text =
        row->unit ? json_sprintf("%s (unit: %s)", help, row->unit) : json_string(help);
    return json_object_set_new(object, "description", text);
}

/* `defaults`: a struct that icd_options_init has filled. */
static json_t *row_schema(const icd_option *row, const void *defaults)
{
    json_t *object = json_object();
    int bad = json_object_set_new(object, "type", type_json(row));
    bad |= json_object_set_new(object, "default", icd_i_option_json(row, defaults));
    bad |= put_description(object, row);
    bad |= put_range(object, row);
    bad |= put_choices(object, row);
    if (!bad) return object;
    json_decref(object);
    return NULL;
}

/* Every level from the root to the section is an object that allows no other keys. */
static int close_levels(json_t *root, const char *path)
{
    int bad = 0;
    for (size_t end = strlen(path);; end--) {
        if (path[end] && path[end] != '.' && end) continue;
        char level[ICD_OPTION_NAME];
        snprintf(level, sizeof level, "%.*s", (int)end, path);
        json_t *object = icd_i_option_object(root, level, "properties");
        bad |= json_object_set_new(object, "type", json_string("object"));
        bad |= json_object_set_new(object, "additionalProperties", json_false());
        if (!end) return bad;
    }
}

static bool section_schema(const icd_option_table *table, const void *defaults,
                           json_t *root)
{
    json_t *object = icd_i_option_object(root, table->section, "properties");
    int bad = close_levels(root, table->section);
    if (table->help)
        bad |= json_object_set_new(object, "description", json_string(table->help));
    json_t *properties = icd_i_option_object(object, "properties", NULL);
    for (int32_t i = 0; i < table->rows; i++)
        bad |= json_object_set_new(properties, table->row[i].name,
                                   row_schema(&table->row[i], defaults));
    return !bad;
}

static icd_status add_section(icd_ctx *ctx, const icd_option_table *table, json_t *root)
{
    char *defaults = NULL;
    icd_status status =
        icd_i_alloc(ctx, (int64_t)table->struct_size, 1, (void **)&defaults);
    if (status != ICD_OK) return status;
    icd_options_init(table, defaults);
    if (!section_schema(table, defaults, root)) status = fail_memory(ctx);
    icd_i_free(ctx, defaults);
    return status;
}

icd_status icd_i_config_schema(icd_ctx *ctx, const icd_schema *schema, json_t **out)
{
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:b, s:{}}", "$schema",
                  "https://json-schema.org/draft/2020-12/schema", "title", schema->title,
                  "type", "object", "additionalProperties", 0, "properties");
    icd_status status = root ? ICD_OK : fail_memory(ctx);
    *out = NULL;
    for (int32_t i = 0; i < schema->sections && status == ICD_OK; i++)
        status = add_section(ctx, schema->section[i].table, root);
    if (status == ICD_OK)
        *out = root;
    else
        json_decref(root);
    return status;
}
