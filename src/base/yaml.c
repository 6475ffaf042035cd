#include "base/yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { MAX_DEPTH = 64 };

/* A list or map that is still open. */
typedef struct level {
    icd_node *node;
    icd_node **tail; /* where the next child is hung */
    const char *key; /* map: the key that waits for its value */
    yaml_mark_t key_mark;
    int64_t children;
} level;

typedef struct builder {
    icd_ctx *ctx;
    icd_arena *arena;
    const char *place;
    level stack[MAX_DEPTH];
    int depth;
    int documents;
    icd_node *root;
} builder;

static icd_status fail_at(builder *b, yaml_mark_t mark, const char *hint,
                          const char *text)
{
    char where[1024];
    snprintf(where, sizeof where, "%s:%zu:%zu", b->place, mark.line + 1, mark.column + 1);
    return icd_i_fail(b->ctx, ICD_EDATA, where, hint, "%s", text);
}

static icd_status fail_parser(builder *b, const yaml_parser_t *parser)
{
    char text[256];
    const char *problem = parser->problem ? parser->problem : "not YAML";
    if (parser->error == YAML_MEMORY_ERROR)
        return icd_i_fail(b->ctx, ICD_ENOMEM, b->place, NULL,
                          "not enough memory to read YAML");
    if (parser->error == YAML_READER_ERROR) {
        snprintf(text, sizeof text, "%s, byte %zu", b->place, parser->problem_offset);
        return icd_i_fail(b->ctx, ICD_EDATA, text, "save the file as UTF-8", "%s",
                          problem);
    }
    snprintf(text, sizeof text, "%s%s%s", parser->context ? parser->context : "",
             parser->context ? ": " : "", problem);
    return fail_at(b, parser->problem_mark, NULL, text);
}

static level *top(builder *b)
{
    return b->depth ? &b->stack[b->depth - 1] : NULL;
}

static bool awaits_key(const level *l)
{
    return l && l->node->kind == ICD_NODE_MAP && !l->key;
}

/* A member of a map is where its key is: that is the line a reader looks for. */
static icd_node *add_node(builder *b, icd_node_kind kind, yaml_mark_t mark)
{
    level *l = top(b);
    icd_node *node = icd_i_arena_alloc(b->ctx, b->arena, sizeof *node);
    if (!node) return NULL;
    if (l && l->key) mark = l->key_mark;
    node->kind = kind;
    node->line = (int32_t)mark.line + 1;
    node->column = (int32_t)mark.column + 1;
    if (!l) {
        b->root = node;
        return node;
    }
    node->key = l->key;
    l->key = NULL;
    l->children++;
    *l->tail = node;
    l->tail = &node->next;
    return node;
}

bool icd_i_yaml_is_null(const char *text)
{
    return !*text || !strcmp(text, "~") || !strcmp(text, "null") ||
           !strcmp(text, "Null") || !strcmp(text, "NULL");
}

static icd_status refuse_marks(builder *b, const yaml_char_t *anchor,
                               const yaml_char_t *tag, yaml_mark_t mark)
{
    if (anchor)
        return fail_at(b, mark, "repeat the value instead",
                       "found an anchor (&), expected a plain value");
    if (tag)
        return fail_at(b, mark, "leave it out",
                       "found a tag (!), expected a plain value");
    return ICD_OK;
}

static icd_status set_key(builder *b, const char *text, bool quoted, yaml_mark_t mark)
{
    level *l = top(b);
    if (!quoted && icd_i_yaml_is_null(text))
        return fail_at(b, mark, NULL, "found nothing before ':', expected a name");
    l->key = icd_i_arena_strdup(b->ctx, b->arena, text);
    l->key_mark = mark;
    return l->key ? ICD_OK : ICD_ENOMEM;
}

static icd_status on_scalar(builder *b, const yaml_event_t *event)
{
    yaml_mark_t mark = event->start_mark;
    const char *text = (const char *)event->data.scalar.value;
    bool quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    icd_status status =
        refuse_marks(b, event->data.scalar.anchor, event->data.scalar.tag, mark);
    if (status != ICD_OK) return status;
    if (strlen(text) != event->data.scalar.length)
        return fail_at(b, mark, NULL, "found a zero byte, expected text without one");
    if (awaits_key(top(b))) return set_key(b, text, quoted, mark);
    icd_node *node = add_node(b, ICD_NODE_SCALAR, mark);
    if (!node) return ICD_ENOMEM;
    node->quoted = quoted;
    if (!quoted && icd_i_yaml_is_null(text)) return ICD_OK;
    node->text = icd_i_arena_strdup(b->ctx, b->arena, text);
    return node->text ? ICD_OK : ICD_ENOMEM;
}

static icd_status on_start(builder *b, icd_node_kind kind, const yaml_char_t *anchor,
                           const yaml_char_t *tag, yaml_mark_t mark)
{
    icd_status status = refuse_marks(b, anchor, tag, mark);
    if (status != ICD_OK) return status;
    if (awaits_key(top(b)))
        return fail_at(b, mark, NULL, "found a list or map as a key, expected a name");
    if (b->depth == MAX_DEPTH)
        return fail_at(b, mark, NULL, "nested deeper than 64 levels");
    icd_node *node = add_node(b, kind, mark);
    if (!node) return ICD_ENOMEM;
    b->stack[b->depth++] = (level){.node = node, .tail = &node->child};
    return ICD_OK;
}

static int compare_members(const void *a, const void *b)
{
    const icd_node *x = *(const icd_node *const *)a, *y = *(const icd_node *const *)b;
    int order = strcmp(x->key, y->key);
    if (order) return order;
    if (x->line != y->line) return x->line < y->line ? -1 : 1;
    return x->column < y->column ? -1 : 1;
}

static icd_status fail_duplicate(builder *b, const icd_node *first, const icd_node *again)
{
    char where[1024];
    snprintf(where, sizeof where, "%s:%d:%d", b->place, again->line, again->column);
    return icd_i_fail(b->ctx, ICD_EDATA, where, "keep one of them",
                      "key '%s' is there twice, first on line %d", again->key,
                      first->line);
}

/* By sorting, so that a hostile file of many keys costs n log n. */
static icd_status check_duplicates(builder *b, const level *l)
{
    const icd_node **member = NULL;
    int64_t count = 0;
    if (l->children < 2) return ICD_OK;
    icd_status status = ICD_ALLOC(b->ctx, l->children, &member);
    if (status != ICD_OK) return status;
    for (const icd_node *node = l->node->child; node; node = node->next)
        member[count++] = node;
    qsort(member, (size_t)count, sizeof *member, compare_members);
    for (int64_t i = 1; i < count && status == ICD_OK; i++)
        if (!strcmp(member[i - 1]->key, member[i]->key))
            status = fail_duplicate(b, member[i - 1], member[i]);
    icd_i_free(b->ctx, member);
    return status;
}

static icd_status on_end(builder *b)
{
    const level *closed = &b->stack[--b->depth];
    return closed->node->kind == ICD_NODE_MAP ? check_duplicates(b, closed) : ICD_OK;
}

static icd_status on_event(builder *b, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (b->documents++ == 0) return ICD_OK;
        return fail_at(b, e->start_mark, NULL, "found a second document, expected one");
    case YAML_ALIAS_EVENT:
        return fail_at(b, e->start_mark, "repeat the value instead",
                       "found an alias (*), expected a plain value");
    case YAML_SCALAR_EVENT:
        return on_scalar(b, e);
    case YAML_SEQUENCE_START_EVENT:
        return on_start(b, ICD_NODE_LIST, e->data.sequence_start.anchor,
                        e->data.sequence_start.tag, e->start_mark);
    case YAML_MAPPING_START_EVENT:
        return on_start(b, ICD_NODE_MAP, e->data.mapping_start.anchor,
                        e->data.mapping_start.tag, e->start_mark);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_end(b);
    default:
        return ICD_OK;
    }
}

static icd_status build(builder *b, yaml_parser_t *parser)
{
    icd_status status = ICD_OK;
    bool more = true;
    while (more && status == ICD_OK) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) return fail_parser(b, parser);
        more = event.type != YAML_STREAM_END_EVENT;
        status = on_event(b, &event);
        yaml_event_delete(&event);
    }
    return status;
}

static bool is_nothing(const icd_node *node)
{
    return node->kind == ICD_NODE_SCALAR && !node->text;
}

icd_status icd_i_yaml_parse(icd_ctx *ctx, icd_arena *arena, const char *text, size_t size,
                            const char *place, icd_node **root)
{
    yaml_parser_t parser;
    builder b = {.ctx = ctx, .arena = arena, .place = place};
    *root = NULL;
    if (!yaml_parser_initialize(&parser))
        return icd_i_fail(ctx, ICD_ENOMEM, place, NULL, "not enough memory to read YAML");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    icd_status status = build(&b, &parser);
    yaml_parser_delete(&parser);
    if (status == ICD_OK && b.root && !is_nothing(b.root)) *root = b.root;
    return status;
}

const icd_node *icd_i_node_get(const icd_node *map, const char *key)
{
    if (!map || map->kind != ICD_NODE_MAP) return NULL;
    for (const icd_node *node = map->child; node; node = node->next)
        if (!strcmp(node->key, key)) return node;
    return NULL;
}
