/* Axes that a user declares for an architecture this version does not know.

       axes:
         - name: layer.{L}.ffn.inner
           repeat: {L: 12}               # once for every L = 0..11
           size: 3072
           bindings:
             - {tensor: "h.{L}.mlp.fc.weight", dim: 0}
             - {tensor: "h.{L}.mlp.proj.weight", dim: 1, offset: 0, block: 1}
*/
#include "model/model_private.h"

#include "base/file.h"
#include "base/text.h"
#include "base/yaml.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 256, MOST_REPEATS = 100000 };

typedef struct reader {
    icd_ctx *ctx;
    icd_model *model;
    const char *path;
    icd_binding_list list;
    const char *variable; /* of `repeat`; NULL: none */
    int64_t value;
} reader;

static icd_status fail_at(const reader *r, const icd_node *node, const char *what,
                          const char *expected)
{
    char place[512];
    snprintf(place, sizeof place, "%s:%d", r->path, node ? node->line : 1);
    return icd_i_fail(r->ctx, ICD_EDATA, place, NULL, "%s: found '%.100s', expected %s",
                      what, node && node->text ? node->text : "nothing", expected);
}

static icd_status read_int(const reader *r, const icd_node *map, const char *key,
                           int64_t least, int64_t most, int64_t *out)
{
    const icd_node *node = icd_i_node_get(map, key);
    char expected[96];
    if (!node) return ICD_OK; /* keeps the default */
    snprintf(expected, sizeof expected, "an integer in %" PRId64 "..%" PRId64, least,
             most);
    if (node->kind != ICD_NODE_SCALAR || !node->text ||
        !icd_i_int_parse(node->text, out) || *out < least || *out > most)
        return fail_at(r, node, key, expected);
    return ICD_OK;
}

/* Replaces {VARIABLE} by its value. */
static icd_status read_name(const reader *r, const icd_node *map, const char *key,
                            char out[NAME_BYTES])
{
    const icd_node *node = icd_i_node_get(map, key);
    size_t used = 0, variable = r->variable ? strlen(r->variable) : 0;
    if (!node || node->kind != ICD_NODE_SCALAR || !node->text || !node->text[0])
        return fail_at(r, node ? node : map, key, "a name");
    for (const char *at = node->text; *at && used < NAME_BYTES;) {
        if (variable && at[0] == '{' && !strncmp(at + 1, r->variable, variable) &&
            at[variable + 1] == '}') {
            used += (size_t)snprintf(out + used, NAME_BYTES - used, "%" PRId64, r->value);
            at += variable + 2;
        } else {
            out[used++] = *at++;
        }
    }
    if (used >= NAME_BYTES) return fail_at(r, node, key, "a name of at most 255 bytes");
    out[used] = 0;
    return ICD_OK;
}

static icd_status check_keys(const reader *r, const icd_node *map, const char *what,
                             const char *const *known)
{
    for (const icd_node *n = map->child; n; n = n->next) {
        int i = 0;
        while (known[i] && strcmp(known[i], n->key)) i++;
        if (known[i]) continue;
        icd_node named = *n;
        named.text = n->key;
        return fail_at(r, &named, what, "one of its known keys");
    }
    return ICD_OK;
}

/* Two bindings of one axis may not overlap: an index would be moved twice. */
static icd_status check_overlap(const reader *r, const icd_node *node, int64_t n)
{
    const icd_binding *last = &r->list.binding[r->list.count - 1];
    for (int64_t i = 0; i < r->list.count - 1; i++) {
        const icd_binding *b = &r->list.binding[i];
        if (strcmp(b->tensor, last->tensor) || b->dim != last->dim ||
            b->offset + n * b->block <= last->offset ||
            last->offset + n * last->block <= b->offset)
            continue;
        return fail_at(r, node, "bindings", "bindings that do not overlap");
    }
    return ICD_OK;
}

static icd_status read_binding(reader *r, const icd_node *node, int64_t n)
{
    static const char *const KNOWN[] = {"tensor", "dim", "offset", "block", NULL};
    icd_status status = ICD_OK;
    char name[NAME_BYTES];
    int64_t dim = 0, offset = 0, block = 1;
    if (node->kind != ICD_NODE_MAP) return fail_at(r, node, "bindings", "a map");
    ICD_TRY(check_keys(r, node, "binding", KNOWN));
    ICD_TRY(read_name(r, node, "tensor", name));
    const icd_tensor *t = icd_model_tensor(r->model, name);
    if (!t) {
        icd_node named = *node;
        named.text = name;
        return fail_at(r, &named, "tensor", "the name of a tensor of the model");
    }
    ICD_TRY(read_int(r, node, "dim", 0, t->dims - 1, &dim));
    ICD_TRY(read_int(r, node, "offset", 0, t->shape[dim] - 1, &offset));
    ICD_TRY(read_int(r, node, "block", 1, t->shape[dim], &block));
    if (t->dims == 0 || n > (t->shape[dim] - offset) / block)
        return icd_i_fail(
            r->ctx, ICD_EDATA, r->path, NULL,
            "line %d: tensor '%.200s' has %" PRId64 " entries along "
            "dimension %" PRId64 ", expected at least offset + size * block "
            "= %" PRId64 " + %" PRId64 " * %" PRId64,
            node->line, name, t->dims ? t->shape[dim] : 0, dim, offset, n, block);
    ICD_TRY(icd_i_model_bind(r->ctx, r->model, &r->list, (int32_t)dim, offset, block,
                             "%s", name));
    status = check_overlap(r, node, n);
done:
    return status;
}

static icd_status read_axis(reader *r, const icd_node *node)
{
    icd_status status = ICD_OK;
    char name[NAME_BYTES];
    int64_t n = 0;
    const icd_node *list = icd_i_node_get(node, "bindings");
    ICD_TRY(read_name(r, node, "name", name));
    ICD_TRY(read_int(r, node, "size", 1, INT32_MAX, &n));
    if (n == 0) return fail_at(r, node, "size", "the number of indices of the axis");
    if (icd_i_model_find_axis(r->model, name) >= 0)
        return fail_at(r, icd_i_node_get(node, "name"), "name", "a name of its own");
    if (!list || list->kind != ICD_NODE_LIST || !list->child)
        return fail_at(r, list ? list : node, "bindings", "a list of bindings");
    for (const icd_node *b = list->child; b; b = b->next) ICD_TRY(read_binding(r, b, n));
    status = icd_i_model_take_axis(r->ctx, r->model, name, n, &r->list);
done:
    return status;
}

/* repeat: {L: 12} */
static icd_status read_repeated(reader *r, const icd_node *node)
{
    static const char *const KNOWN[] = {"name", "repeat", "size", "bindings", NULL};
    icd_status status = ICD_OK;
    int64_t count = 1;
    const icd_node *repeat = icd_i_node_get(node, "repeat");
    if (node->kind != ICD_NODE_MAP) return fail_at(r, node, "axes", "a map");
    ICD_TRY(check_keys(r, node, "axis", KNOWN));
    r->variable = NULL;
    if (repeat) {
        if (repeat->kind != ICD_NODE_MAP || !repeat->child || repeat->child->next)
            return fail_at(r, repeat, "repeat", "one variable and its number of values");
        r->variable = repeat->child->key;
        ICD_TRY(read_int(r, repeat, r->variable, 1, MOST_REPEATS, &count));
    }
    for (r->value = 0; r->value < count; r->value++) ICD_TRY(read_axis(r, node));
done:
    return status;
}

static icd_status read_map(reader *r, const icd_node *root)
{
    static const char *const KNOWN[] = {"axes", NULL};
    const icd_node *list = icd_i_node_get(root, "axes");
    if (!root || root->kind != ICD_NODE_MAP)
        return fail_at(r, root, "axis map", "a map with the member `axes`");
    icd_status status = check_keys(r, root, "axis map", KNOWN);
    if (status != ICD_OK) return status;
    if (!list || list->kind != ICD_NODE_LIST || !list->child)
        return fail_at(r, list ? list : root, "axes", "a list of axes");
    for (const icd_node *n = list->child; status == ICD_OK && n; n = n->next)
        status = read_repeated(r, n);
    return status;
}

icd_status icd_i_axis_map_parse(icd_ctx *ctx, icd_model *model, const char *text,
                                size_t size, const char *place)
{
    icd_status status = ICD_OK;
    icd_arena *arena = NULL;
    icd_node *root = NULL;
    reader r = {.ctx = ctx, .model = model, .path = place};
    model->axes = 0; /* those of a known architecture make room */
    ICD_TRY(icd_i_arena_new(ctx, &arena));
    ICD_TRY(icd_i_yaml_parse(ctx, arena, text, size, place, &root));
    status = read_map(&r, root);
done:
    icd_i_free(ctx, r.list.binding);
    icd_i_arena_free(ctx, arena);
    return status;
}

icd_status icd_i_axis_map_read(icd_ctx *ctx, icd_model *model, const char *path)
{
    char *text = NULL;
    size_t size = 0;
    icd_status status = icd_i_file_read(ctx, path, &text, &size);
    if (status == ICD_OK) status = icd_i_axis_map_parse(ctx, model, text, size, path);
    if (status == ICD_OK) {
        model->map = icd_i_arena_strdup(ctx, model->arena, text);
        if (!model->map) status = ICD_ENOMEM;
    }
    icd_i_free(ctx, text);
    return status;
}
