#include "core/perm_io.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "core/spot.h"

#include <inttypes.h>
#include <string.h>

static const char CHECKPOINT[] = "checkpoint";
enum { SET_VERSION = 1 };

static void frame_name(uint64_t frame, char out[17])
{
    if (frame == ICD_FRAME_CHECKPOINT)
        memcpy(out, CHECKPOINT, sizeof CHECKPOINT);
    else
        icd_i_hash_hex(frame, out);
}

/* An absent member leaves *out as it is. */
static icd_status read_hex(icd_ctx *ctx, const json_t *object, const char *key,
                           const char *place, uint64_t *out)
{
    const char *text = NULL;
    if (!json_object_get(object, key)) return ICD_OK;
    icd_status status = icd_i_json_string(ctx, object, key, place, &text);
    if (status != ICD_OK) return status;
    if (strcmp(text, CHECKPOINT) == 0)
        *out = ICD_FRAME_CHECKPOINT;
    else if (!icd_i_hash_parse(text, out))
        return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                          "member '%s': found '%.40s', expected 16 hexadecimal digits",
                          key, text);
    return ICD_OK;
}

static icd_status read_indices(icd_ctx *ctx, const json_t *pi, const char *place,
                               int32_t *index)
{
    size_t k;
    json_t *value;
    json_array_foreach(pi, k, value)
    {
        json_int_t i = json_integer_value(value);
        if (!json_is_integer(value) || i < INT32_MIN || i > INT32_MAX)
            return icd_i_fail(ctx, ICD_EDATA, icd_i_spot(place, "slot %zu", k).text, NULL,
                              "found no 32-bit integer in 'pi', expected an index");
        index[k] = (int32_t)i;
    }
    return ICD_OK;
}

static icd_status check_claims(icd_ctx *ctx, const json_t *object, const char *place,
                               const icd_perm *p)
{
    icd_status status = ICD_OK;
    int64_t d = p->n;
    uint64_t hash = icd_perm_hash(p), claimed = hash;
    if (json_object_get(object, "D"))
        ICD_TRY(icd_i_json_int(ctx, object, "D", place, 0, INT32_MAX, &d));
    if (d != p->n)
        return icd_i_fail(ctx, ICD_EDATA, place, "the file is cut, or was edited",
                          "'D' is %" PRId64 ", found %" PRId64 " indices in 'pi'", d,
                          p->n);
    ICD_TRY(read_hex(ctx, object, "hash", place, &claimed));
    if (claimed != hash)
        return icd_i_fail(ctx, ICD_EDATA, place,
                          "the file is damaged; after editing by hand remove 'hash'",
                          "'hash' is %016" PRIx64 ", expected %016" PRIx64, claimed,
                          hash);
done:
    return status;
}

static icd_status perm_from_json(icd_ctx *ctx, const json_t *object, const char *place,
                                 icd_perm **out)
{
    icd_status status;
    json_t *pi = NULL;
    int32_t *index = NULL;
    icd_perm *p = NULL;
    uint64_t from = ICD_FRAME_CHECKPOINT;
    *out = NULL;
    if (json_object_get(object, "axes"))
        return icd_i_fail(ctx, ICD_EDATA, place, "take one axis out of it",
                          "found a set of permutations, expected a single one");
    ICD_TRY(icd_i_json_member(ctx, object, "pi", JSON_ARRAY, place, &pi));
    ICD_TRY(read_hex(ctx, object, "frame", place, &from));
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)json_array_size(pi), &index));
    ICD_TRY(read_indices(ctx, pi, place, index));
    ICD_TRY(
        icd_perm_from_array(ctx, index, (int64_t)json_array_size(pi), from, place, &p));
    ICD_TRY(check_claims(ctx, object, place, p));
    ICD_TRY(read_hex(ctx, object, "to", place, &p->to));
    *out = p;
    p = NULL;
done:
    icd_i_free(ctx, index);
    icd_perm_free(ctx, p);
    return status;
}

static icd_status fail_json(icd_ctx *ctx, const char *place)
{
    return icd_i_fail(ctx, ICD_ENOMEM, place, NULL,
                      "not enough memory for the JSON document");
}

static json_t *indices_to_json(const icd_perm *p)
{
    json_t *pi = json_array();
    for (int64_t k = 0; pi && k < p->n; ++k)
        if (json_array_append_new(pi, json_integer(p->old_of_new[k])) != 0) {
            json_decref(pi);
            pi = NULL;
        }
    return pi;
}

/* "to" is written only where it does not follow from the indices: after composing or
 * inverting. */
static json_t *perm_to_json(const icd_perm *p)
{
    char hash[17], from[17], to[17];
    bool derived = p->to == icd_i_perm_frame_made(p);
    icd_i_hash_hex(icd_perm_hash(p), hash);
    frame_name(p->from, from);
    frame_name(p->to, to);
    return json_pack("{s:I,s:o,s:s,s:s,s:s*}", "D", (json_int_t)p->n, "pi",
                     indices_to_json(p), "frame", from, "hash", hash, "to",
                     derived ? NULL : to);
}

icd_status icd_i_perm_parse(icd_ctx *ctx, const char *text, size_t size,
                            const char *place, icd_perm **out)
{
    json_t *object = NULL;
    *out = NULL;
    icd_status status = icd_i_json_parse(ctx, text, size, place, &object);
    if (status == ICD_OK) status = perm_from_json(ctx, object, place, out);
    json_decref(object);
    return status;
}

icd_status icd_perm_read(icd_ctx *ctx, const char *path, icd_perm **out)
{
    icd_map map = {0};
    *out = NULL;
    icd_status status = icd_i_map_open(ctx, path, &map);
    if (status != ICD_OK) return status;
    status = icd_i_perm_parse(ctx, (const char *)map.data, map.size, path, out);
    icd_i_map_close(&map);
    return status;
}

icd_status icd_perm_write(icd_ctx *ctx, const icd_perm *p, const char *path)
{
    json_t *object = perm_to_json(p);
    if (!object) return fail_json(ctx, path);
    icd_status status = icd_i_json_write(ctx, object, path);
    json_decref(object);
    return status;
}

static icd_status entry_from_json(icd_ctx *ctx, const char *axis, const json_t *value,
                                  const char *place, icd_perm_set *set)
{
    icd_status status;
    icd_perm *p = NULL;
    json_t *local = NULL;
    icd_spot spot = icd_i_spot(place, "axis '%.60s'", axis);
    if (json_object_get(value, "local"))
        ICD_TRY(icd_i_json_member(ctx, value, "local", JSON_TRUE, spot.text, &local));
    ICD_TRY(perm_from_json(ctx, value, spot.text, &p));
    ICD_TRY(icd_perm_set_put(ctx, set, axis, p, json_is_true(local)));
done:
    icd_perm_free(ctx, p);
    return status;
}

static icd_status set_from_json(icd_ctx *ctx, json_t *object, const char *place,
                                icd_perm_set *set)
{
    icd_status status;
    json_t *axes = NULL, *value;
    const char *axis, *tag = NULL;
    int64_t version = 0;
    ICD_TRY(icd_i_json_int(ctx, object, "version", place, SET_VERSION, SET_VERSION,
                           &version));
    ICD_TRY(icd_i_json_member(ctx, object, "axes", JSON_OBJECT, place, &axes));
    if (json_is_string(json_object_get(object, "tag"))) {
        ICD_TRY(icd_i_json_string(ctx, object, "tag", place, &tag));
        ICD_TRY(icd_i_strdup(ctx, tag, &set->tag));
    }
    json_object_foreach(axes, axis, value)
        ICD_TRY(entry_from_json(ctx, axis, value, place, set));
done:
    return status;
}

icd_status icd_i_perm_set_parse(icd_ctx *ctx, const char *text, size_t size,
                                const char *place, icd_perm_set **out)
{
    icd_status status;
    json_t *object = NULL;
    icd_perm_set *set = NULL;
    *out = NULL;
    ICD_TRY(icd_i_json_parse(ctx, text, size, place, &object));
    ICD_TRY(icd_perm_set_new(ctx, &set));
    ICD_TRY(set_from_json(ctx, object, place, set));
    *out = set;
    set = NULL;
done:
    json_decref(object);
    icd_perm_set_free(ctx, set);
    return status;
}

icd_status icd_perm_set_read(icd_ctx *ctx, const char *path, icd_perm_set **out)
{
    icd_map map = {0};
    *out = NULL;
    icd_status status = icd_i_map_open(ctx, path, &map);
    if (status != ICD_OK) return status;
    status = icd_i_perm_set_parse(ctx, (const char *)map.data, map.size, path, out);
    icd_i_map_close(&map);
    return status;
}

static bool add_entry(json_t *axes, const icd_perm_entry *entry)
{
    json_t *value = perm_to_json(entry->perm);
    if (!value) return false;
    if (json_object_set_new(value, "local", json_boolean(entry->local)) != 0) {
        json_decref(value);
        return false;
    }
    return json_object_set_new(axes, entry->axis, value) == 0;
}

icd_status icd_perm_set_write(icd_ctx *ctx, const icd_perm_set *set, const char *path)
{
    icd_status status = ICD_ENOMEM;
    json_t *axes = json_object(), *object = NULL;
    for (int64_t i = 0; axes && i < set->count; ++i)
        if (!add_entry(axes, &set->entry[i])) goto done;
    object = json_pack("{s:i,s:O,s:s?}", "version", SET_VERSION, "axes", axes, "tag",
                       set->tag);
    if (object) status = icd_i_json_write(ctx, object, path);
done:
    if (!object) status = fail_json(ctx, path);
    json_decref(axes);
    json_decref(object);
    return status;
}
