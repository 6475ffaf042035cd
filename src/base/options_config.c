#include "base/options.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* What stays the same while one document or override is applied. */
typedef struct applier {
    icd_ctx *ctx;
    const icd_schema *schema;
    icd_arena *arena;
    const char
        *place; /* of the document; NULL for an override, whose errors name the key */
    void *config;
} applier;

void icd_i_config_init(const icd_schema *schema, void *config)
{
    for (int32_t i = 0; i < schema->sections; i++)
        icd_options_init(schema->section[i].table,
                         (char *)config + schema->section[i].offset);
}

static void join(const char *path, const char *key, char out[ICD_OPTION_NAME])
{
    snprintf(out, ICD_OPTION_NAME, "%s%s%s", path, *path ? "." : "", key);
}

static const icd_section *find_section(const icd_schema *schema, const char *path)
{
    for (int32_t i = 0; i < schema->sections; i++)
        if (!strcmp(schema->section[i].table->section, path)) return &schema->section[i];
    return NULL;
}

/* A section or a level above one. */
static bool is_group(const icd_schema *schema, const char *path)
{
    size_t size = strlen(path);
    if (!size) return true;
    for (int32_t i = 0; i < schema->sections; i++) {
        const char *prefix = schema->section[i].table->section;
        if (!strncmp(prefix, path, size) && (!prefix[size] || prefix[size] == '.'))
            return true;
    }
    return false;
}

/* The i-th full name of a section or an option; false past the end. */
static bool full_name(const icd_schema *schema, int32_t i, char out[ICD_OPTION_NAME])
{
    for (int32_t s = 0; s < schema->sections; s++) {
        const icd_option_table *table = schema->section[s].table;
        if (i == 0) snprintf(out, ICD_OPTION_NAME, "%s", table->section);
        if (i > 0 && i <= table->rows) icd_i_option_name(table, &table->row[i - 1], out);
        if (i <= table->rows) return true;
        i -= table->rows + 1;
    }
    return false;
}

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

static bool lies_in(const char *name, const char *path)
{
    size_t size = strlen(path);
    const char *key = last_part(name);
    if (!size) return key == name;
    return (size_t)(key - name) == size + 1 && !strncmp(name, path, size);
}

/* Where the level is right only its members can be meant; else the whole name is
 * compared. */
static bool guess_by_spelling(const icd_schema *schema, const char *name,
                              const char *level, char best[ICD_OPTION_NAME])
{
    char candidate[ICD_OPTION_NAME];
    bool known = is_group(schema, level), found = false;
    const char *wrong = known ? last_part(name) : name;
    int32_t limit = icd_i_edit_limit(wrong);
    for (int32_t i = 0; full_name(schema, i, candidate); i++) {
        if (known && !lies_in(candidate, level)) continue;
        int32_t distance =
            icd_i_edit_distance(wrong, known ? last_part(candidate) : candidate);
        if (!*candidate || distance > limit) continue;
        memcpy(best, candidate, ICD_OPTION_NAME);
        limit = distance - 1;
        found = true;
    }
    return found;
}

/* A right key at a wrong level, if only one level has it. */
static bool guess_by_place(const icd_schema *schema, const char *name,
                           char best[ICD_OPTION_NAME])
{
    char candidate[ICD_OPTION_NAME];
    int32_t hits = 0;
    for (int32_t i = 0; full_name(schema, i, candidate); i++) {
        if (strcmp(last_part(candidate), last_part(name)) != 0) continue;
        memcpy(best, candidate, ICD_OPTION_NAME);
        hits++;
    }
    return hits == 1;
}

static icd_status fail_unknown(const applier *a, const char *place, const char *name)
{
    char level[ICD_OPTION_NAME], best[ICD_OPTION_NAME], hint[2 * ICD_OPTION_NAME + 32];
    const char *key = last_part(name);
    snprintf(level, sizeof level, "%.*s", key == name ? 0 : (int)(key - name - 1), name);
    bool found = guess_by_spelling(a->schema, name, level, best) ||
                 guess_by_place(a->schema, name, best);
    if (found && !strcmp(best, name))
        snprintf(hint, sizeof hint, "write \"%s:\" and \"%s:\" below it", level, key);
    else if (found)
        snprintf(hint, sizeof hint, "did you mean \"%s\"?", best);
    return icd_i_fail(a->ctx, ICD_EINVAL, place,
                      found ? hint : "`icd schema` lists every key", "unknown key \"%s\"",
                      name);
}

static void place_of(const applier *a, const icd_node *node, char out[1024])
{
    snprintf(out, 1024, "%s:%d", a->place, node->line);
}

static const char *kind_name(const icd_node *node)
{
    if (node->kind == ICD_NODE_LIST) return "a list";
    if (node->kind == ICD_NODE_MAP) return "nested keys";
    return "nothing";
}

static void *struct_of(const applier *a, const icd_section *section)
{
    return (char *)a->config + section->offset;
}

static bool store_string(const applier *a, const icd_option *row, const char *text,
                         void *opts)
{
    const char *copy = icd_i_arena_strdup(a->ctx, a->arena, text);
    return copy && icd_i_option_store(row, copy, opts);
}

static icd_status set_list(const applier *a, const icd_section *section,
                           const icd_option *row, const icd_node *list, const char *place)
{
    int64_t count = 0;
    for (const icd_node *n = list->child; n; n = n->next) {
        if (n->kind != ICD_NODE_SCALAR || !n->text)
            return icd_i_option_refuse(a->ctx, section->table, row, place, kind_name(n),
                                       "items are plain words");
        if (!icd_i_option_allows(row, n->text))
            return icd_i_option_refuse_text(a->ctx, section->table, row, place, n->text);
        count++;
    }
    const char **item =
        icd_i_arena_alloc(a->ctx, a->arena, (size_t)(count + 1) * sizeof *item);
    if (!item) return ICD_ENOMEM;
    int64_t i = 0;
    for (const icd_node *n = list->child; n; n = n->next, i++)
        if (!(item[i] = icd_i_arena_strdup(a->ctx, a->arena, n->text))) return ICD_ENOMEM;
    icd_strings value = {item, count};
    memcpy((char *)struct_of(a, section) + row->offset, &value, sizeof value);
    return ICD_OK;
}

/* Null unsets what can be unset: strings and lists. */
static icd_status set_null(const applier *a, const icd_section *section,
                           const icd_option *row, const char *place)
{
    void *field = (char *)struct_of(a, section) + row->offset;
    if (row->type == ICD_OPTION_STRING)
        *(const char **)field = NULL;
    else if (row->type == ICD_OPTION_LIST)
        *(icd_strings *)field = (icd_strings){0};
    else
        return icd_i_option_refuse(a->ctx, section->table, row, place, "nothing", NULL);
    return ICD_OK;
}

static bool takes_quotes(const icd_option *row)
{
    return row->type == ICD_OPTION_STRING || row->type == ICD_OPTION_ENUM;
}

static icd_status set_scalar(const applier *a, const icd_section *section,
                             const icd_option *row, const icd_node *node,
                             const char *place)
{
    void *opts = struct_of(a, section);
    if (!node->text) return set_null(a, section, row, place);
    if (row->type == ICD_OPTION_LIST)
        return icd_i_option_refuse(a->ctx, section->table, row, place, "a single value",
                                   "write [a, b]");
    if (row->type == ICD_OPTION_STRING)
        return store_string(a, row, node->text, opts) ? ICD_OK : ICD_ENOMEM;
    if (node->quoted && !takes_quotes(row))
        return icd_i_option_refuse(a->ctx, section->table, row, place,
                                   "a string in quotes", "remove the quotes");
    if (icd_i_option_store(row, node->text, opts)) return ICD_OK;
    return icd_i_option_refuse_text(a->ctx, section->table, row, place, node->text);
}

static icd_status set_option(const applier *a, const icd_section *section,
                             const icd_option *row, const icd_node *node)
{
    char place[1024];
    place_of(a, node, place);
    if (node->kind == ICD_NODE_SCALAR) return set_scalar(a, section, row, node, place);
    if (node->kind == ICD_NODE_LIST && row->type == ICD_OPTION_LIST)
        return set_list(a, section, row, node, place);
    return icd_i_option_refuse(a->ctx, section->table, row, place, kind_name(node), NULL);
}

static icd_status apply_map(const applier *a, const icd_node *map, const char *path);

static icd_status apply_group(const applier *a, const icd_node *node, const char *path)
{
    char place[1024];
    if (node->kind == ICD_NODE_MAP) return apply_map(a, node, path);
    if (node->kind == ICD_NODE_SCALAR && !node->text) return ICD_OK;
    place_of(a, node, place);
    return icd_i_fail(a->ctx, ICD_EINVAL, place, NULL,
                      "section \"%s\": found %s, expected keys below it", path,
                      node->kind == ICD_NODE_LIST ? "a list" : "a value");
}

/* A dotted key is no path: the schema has nested objects only. */
static icd_status apply_member(const applier *a, const icd_node *node, const char *path)
{
    char name[ICD_OPTION_NAME], place[1024];
    const icd_section *section = find_section(a->schema, path);
    const icd_option *row = section ? icd_i_option_find(section->table, node->key) : NULL;
    join(path, node->key, name);
    if (row) return set_option(a, section, row, node);
    if (!strchr(node->key, '.') && *node->key && is_group(a->schema, name))
        return apply_group(a, node, name);
    place_of(a, node, place);
    return fail_unknown(a, place, name);
}

static icd_status apply_map(const applier *a, const icd_node *map, const char *path)
{
    icd_status status = ICD_OK;
    for (const icd_node *node = map->child; node && status == ICD_OK; node = node->next)
        status = apply_member(a, node, path);
    return status;
}

icd_status icd_i_config_apply(icd_ctx *ctx, const icd_schema *schema, icd_arena *arena,
                              const icd_node *root, const char *place, void *config)
{
    applier a = {ctx, schema, arena, place, config};
    char where[1024];
    if (root->kind == ICD_NODE_MAP) return apply_map(&a, root, "");
    place_of(&a, root, where);
    return icd_i_fail(ctx, ICD_EINVAL, where, NULL,
                      "found %s, expected sections such as \"%s:\"",
                      root->kind == ICD_NODE_LIST ? "a list" : "a single value",
                      schema->sections ? schema->section[0].table->section : "");
}

static char *trim(char *text)
{
    while (isspace((unsigned char)*text)) text++;
    size_t size = strlen(text);
    while (size && isspace((unsigned char)text[size - 1])) text[--size] = 0;
    return text;
}

/* "a, b" or "[a, b]" as the nodes that a document would have given. */
static icd_status split_list(const applier *a, char *text, icd_node *list)
{
    icd_node **tail = &list->child;
    text = trim(text);
    size_t size = strlen(text);
    if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
        text[size - 1] = 0;
        text = trim(text + 1);
    }
    while (text && *text) {
        icd_node *item = icd_i_arena_alloc(a->ctx, a->arena, sizeof *item);
        if (!item) return ICD_ENOMEM;
        char *comma = strchr(text, ',');
        if (comma) *comma = 0;
        char *word = trim(text);
        item->kind = ICD_NODE_SCALAR;
        item->text = *word ? word : NULL;
        *tail = item;
        tail = &item->next;
        text = comma ? comma + 1 : NULL;
    }
    return ICD_OK;
}

static icd_status set_from_text(const applier *a, const icd_section *section,
                                const icd_option *row, const char *text)
{
    icd_node node = {.kind = ICD_NODE_SCALAR};
    char *copy = icd_i_arena_strdup(a->ctx, a->arena, text);
    if (!copy) return ICD_ENOMEM;
    if (!icd_i_yaml_is_null(copy)) node.text = copy;
    if (row->type != ICD_OPTION_LIST || !node.text)
        return set_scalar(a, section, row, &node, a->place);
    icd_status status = split_list(a, copy, &node);
    return status == ICD_OK ? set_list(a, section, row, &node, a->place) : status;
}

static icd_status override_name(const applier *a, const char *name, const char *value)
{
    const char *key = last_part(name);
    char level[ICD_OPTION_NAME];
    snprintf(level, sizeof level, "%.*s", key == name ? 0 : (int)(key - name - 1), name);
    const icd_section *section = find_section(a->schema, level);
    const icd_option *row = section ? icd_i_option_find(section->table, key) : NULL;
    if (row) return set_from_text(a, section, row, value);
    if (*name && is_group(a->schema, name))
        return icd_i_fail(a->ctx, ICD_EINVAL, a->place, NULL,
                          "\"%s\" is a section, expected one of its keys: %s.KEY=VALUE",
                          name, name);
    return fail_unknown(a, a->place, name);
}

icd_status icd_i_config_override(icd_ctx *ctx, const icd_schema *schema, icd_arena *arena,
                                 const char *assignment, void *config)
{
    applier a = {ctx, schema, arena, NULL, config};
    char name[ICD_OPTION_NAME];
    const char *equals = strchr(assignment, '=');
    if (!equals)
        return icd_i_fail(ctx, ICD_EINVAL, NULL, NULL,
                          "override: found '%.128s', expected section.key=value",
                          assignment);
    snprintf(name, sizeof name, "%.*s", (int)(equals - assignment), assignment);
    return override_name(&a, name, equals + 1);
}
