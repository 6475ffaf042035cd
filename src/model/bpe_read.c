/* Reading a byte-level BPE: the members of tokenizer.json that change what comes out are
 * read or refused, never passed over. */
#include "model/bpe.h"

#include "base/file.h"
#include "base/hash.h"

#include <string.h>
#include <utf8proc.h>

static const icd_tokenizer_kind KIND = {icd_i_bpe_free, icd_i_bpe_id, icd_i_bpe_encode};

static icd_status unsupported(icd_ctx *ctx, const char *place, const char *what,
                              const char *found, const char *expected)
{
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, place, "give token ids as .npy",
                      "%s: found '%.100s', this version knows %s", what, found, expected);
}

static const char *type_of(const json_t *object)
{
    const char *type = json_string_value(json_object_get(object, "type"));
    return type ? type : "(none)";
}

static bool is_set(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value && !json_is_null(value) && !json_is_false(value) &&
           !(json_is_string(value) && json_string_length(value) == 0);
}

/* --- vocabulary -----------------------------------------------------------------------
 */

/* GPT-2 writes a byte as a printable character: itself where it is one, else from U+0100
 * on, in the order of the bytes. */
static void fill_bytes(icd_bpe *b)
{
    int32_t next = 256;
    for (int32_t byte = 0; byte < 256; byte++) {
        bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte != 0xad);
        utf8proc_uint8_t name[8] = {0};
        utf8proc_encode_char(printable ? byte : next++, name);
        const json_t *id = json_object_get(b->vocab, (const char *)name);
        b->byte_id[byte] = id ? (int32_t)json_integer_value(id) : -1;
    }
}

static icd_status check_vocab(icd_ctx *ctx, const icd_bpe *b, const char *place)
{
    const char *token;
    json_t *id;
    json_object_foreach(b->vocab, token, id)
    {
        if (json_is_integer(id) && json_integer_value(id) >= 0 &&
            json_integer_value(id) <= INT32_MAX)
            continue;
        return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                          "token '%.100s': its id is no integer of 0 to %d", token,
                          INT32_MAX);
    }
    return ICD_OK;
}

static int32_t id_of(const icd_bpe *b, const char *text, size_t size)
{
    const json_t *id = json_object_getn(b->vocab, text, size);
    return id ? (int32_t)json_integer_value(id) : -1;
}

/* Bytes without a token are left out, or are the unknown token, if there is one. */
static icd_status fill_unknown(icd_ctx *ctx, icd_bpe *b, const char *place,
                               const json_t *model)
{
    const char *unknown = NULL;
    if (!is_set(model, "unk_token")) return ICD_OK;
    icd_status status = icd_i_json_string(ctx, model, "unk_token", place, &unknown);
    if (status != ICD_OK) return status;
    int32_t id = id_of(b, unknown, strlen(unknown));
    if (id < 0)
        return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                          "model.unk_token '%.100s' is not in the vocabulary", unknown);
    for (int i = 0; i < 256; i++)
        if (b->byte_id[i] < 0) b->byte_id[i] = id;
    return ICD_OK;
}

/* --- merges ---------------------------------------------------------------------------
 */

static icd_status merges_alloc(icd_ctx *ctx, icd_bpe *b, int64_t merges)
{
    b->slots = 16;
    while (b->slots < 2 * merges) b->slots *= 2;
    icd_status status = ICD_ALLOC(ctx, b->slots, &b->merge);
    for (int64_t i = 0; status == ICD_OK && i < b->slots; i++) b->merge[i].left = -1;
    return status;
}

/* As in Hugging Face's loader the last of equal pairs counts. */
static void put_merge(icd_bpe *b, icd_bpe_merge m)
{
    icd_bpe_merge *slot = (icd_bpe_merge *)icd_i_bpe_find(b, m.left, m.right);
    if (!slot) {
        const int32_t pair[] = {m.left, m.right};
        uint64_t mask = (uint64_t)b->slots - 1, at = icd_i_hash(0, pair, sizeof pair);
        while (b->merge[at & mask].left >= 0) at++;
        slot = &b->merge[at & mask];
    }
    *slot = m;
}

/* `left` and `right` lie side by side in `both`, without the space between them. */
static icd_status add_merge(icd_ctx *ctx, icd_bpe *b, const char *place, int64_t rank,
                            const char *both, size_t left, size_t size)
{
    icd_bpe_merge m = {id_of(b, both, left), id_of(b, both + left, size - left),
                       (int32_t)rank, id_of(b, both, size)};
    if (m.left < 0 || m.right < 0 || m.id < 0)
        return icd_i_fail(
            ctx, ICD_EDATA, place, NULL,
            "merge %lld: '%.*s' and '%.*s' make a token that is missing, or "
            "are missing themselves",
            (long long)rank, (int)(left < 60 ? left : 60), both,
            (int)(size - left < 60 ? size - left : 60), both + left);
    put_merge(b, m);
    return ICD_OK;
}

/* "left right": exactly one space, with something on both sides. */
static icd_status add_line(icd_ctx *ctx, icd_bpe *b, const char *place, int64_t rank,
                           const char *line, size_t size)
{
    char *both = NULL;
    const char *space = memchr(line, ' ', size);
    size_t left = space ? (size_t)(space - line) : 0;
    if (left == 0 || left + 1 == size || memchr(space + 1, ' ', size - left - 1))
        return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                          "merge %lld: found '%.*s', expected two tokens and one space",
                          (long long)rank, (int)(size < 100 ? size : 100), line);
    icd_status status = ICD_ALLOC(ctx, (int64_t)size, &both);
    if (status != ICD_OK) return status;
    memcpy(both, line, left);
    memcpy(both + left, space + 1, size - left - 1);
    status = add_merge(ctx, b, place, rank, both, left, size - 1);
    icd_i_free(ctx, both);
    return status;
}

static icd_status add_pair(icd_ctx *ctx, icd_bpe *b, const char *place, int64_t rank,
                           const json_t *pair)
{
    char *both = NULL;
    const json_t *left = json_array_get(pair, 0), *right = json_array_get(pair, 1);
    if (json_array_size(pair) != 2 || !json_is_string(left) || !json_is_string(right))
        return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                          "merge %lld: expected a text, or a list of two texts",
                          (long long)rank);
    size_t a = json_string_length(left), c = json_string_length(right);
    icd_status status = ICD_ALLOC(ctx, (int64_t)(a + c), &both);
    if (status != ICD_OK) return status;
    memcpy(both, json_string_value(left), a);
    memcpy(both + a, json_string_value(right), c);
    status = add_merge(ctx, b, place, rank, both, a, a + c);
    icd_i_free(ctx, both);
    return status;
}

static icd_status read_merges(icd_ctx *ctx, icd_bpe *b, const char *place,
                              const json_t *list)
{
    icd_status status = merges_alloc(ctx, b, (int64_t)json_array_size(list));
    for (size_t i = 0; status == ICD_OK && i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i);
        status = json_is_string(m) ? add_line(ctx, b, place, (int64_t)i,
                                              json_string_value(m), json_string_length(m))
                                   : add_pair(ctx, b, place, (int64_t)i, m);
    }
    return status;
}

/* --- the members of tokenizer.json -----------------------------------------------------
 */

static icd_status check_model(icd_ctx *ctx, const char *place, const json_t *model)
{
    static const char *const NO[] = {"dropout",
                                     "fuse_unk",
                                     "continuing_subword_prefix",
                                     "end_of_word_suffix",
                                     "byte_fallback",
                                     "ignore_merges"};
    if (strcmp(type_of(model), "BPE") != 0)
        return unsupported(ctx, place, "model.type", type_of(model),
                           "BPE, and WordPiece with a vocab.txt");
    for (size_t i = 0; i < sizeof NO / sizeof *NO; i++)
        if (is_set(model, NO[i]))
            return icd_i_fail(ctx, ICD_EUNSUPPORTED, place, "give token ids as .npy",
                              "model.%s is set, this version knows none", NO[i]);
    return ICD_OK;
}

static icd_status read_digits(icd_ctx *ctx, const char *place, const json_t *step,
                              icd_bpe_rules *rules)
{
    if (rules->digits != ICD_DIGITS_NONE || rules->words || rules->prefix_space)
        return unsupported(ctx, place, "pre_tokenizer", "Digits behind another one",
                           "it as the first");
    rules->digits = json_is_true(json_object_get(step, "individual_digits"))
                        ? ICD_DIGITS_EACH
                        : ICD_DIGITS_RUN;
    return ICD_OK;
}

/* ByteLevel comes last: what is cut behind it would cut its characters, not the text's.
 */
static icd_status read_step(icd_ctx *ctx, const char *place, const json_t *step,
                            bool last, icd_bpe_rules *rules)
{
    if (strcmp(type_of(step), "Digits") == 0 && !last)
        return read_digits(ctx, place, step, rules);
    if (strcmp(type_of(step), "ByteLevel") != 0 || !last)
        return unsupported(ctx, place, "pre_tokenizer", type_of(step),
                           "ByteLevel, and Digits before it");
    rules->prefix_space = is_set(step, "add_prefix_space");
    rules->words = !json_is_false(json_object_get(step, "use_regex"));
    return ICD_OK;
}

static icd_status read_rules(icd_ctx *ctx, const char *place, const json_t *pre,
                             icd_bpe_rules *rules)
{
    const json_t *list = json_object_get(pre, "pretokenizers");
    size_t steps = json_array_size(list);
    if (strcmp(type_of(pre), "Sequence") != 0)
        return read_step(ctx, place, pre, true, rules);
    if (steps == 0)
        return unsupported(ctx, place, "pre_tokenizer", "an empty sequence", "ByteLevel");
    for (size_t i = 0; i < steps; i++) {
        icd_status status =
            read_step(ctx, place, json_array_get(list, i), i + 1 == steps, rules);
        if (status != ICD_OK) return status;
    }
    return ICD_OK;
}

static icd_status add_added(icd_ctx *ctx, icd_bpe *b, const char *place,
                            const json_t *token)
{
    const char *text = NULL;
    int64_t id = 0;
    icd_status status = icd_i_json_string(ctx, token, "content", place, &text);
    if (status == ICD_OK)
        status = icd_i_json_int(ctx, token, "id", place, 0, INT32_MAX, &id);
    if (status != ICD_OK) return status;
    if (is_set(token, "lstrip") || is_set(token, "rstrip") ||
        is_set(token, "single_word"))
        return unsupported(ctx, place, "added_tokens", text,
                           "tokens without lstrip, rstrip and single_word");
    if (text[0] == 0) return ICD_OK;
    b->added[b->added_count++] =
        (icd_bpe_added){text, (int64_t)strlen(text), (int32_t)id};
    b->begins[(unsigned char)text[0]] = true;
    return ICD_OK;
}

static icd_status read_added(icd_ctx *ctx, icd_bpe *b, const char *place,
                             const json_t *list)
{
    icd_status status = ICD_ALLOC(ctx, (int64_t)json_array_size(list), &b->added);
    for (size_t i = 0; status == ICD_OK && i < json_array_size(list); i++)
        status = add_added(ctx, b, place, json_array_get(list, i));
    return status;
}

static icd_status read_root(icd_ctx *ctx, icd_bpe *b, const char *place)
{
    icd_status status = ICD_OK;
    json_t *model = NULL, *merges = NULL;
    ICD_TRY(icd_i_json_member(ctx, b->root, "model", JSON_OBJECT, place, &model));
    ICD_TRY(check_model(ctx, place, model));
    if (is_set(b->root, "normalizer"))
        return unsupported(ctx, place, "normalizer",
                           type_of(json_object_get(b->root, "normalizer")), "none");
    ICD_TRY(read_rules(ctx, place, json_object_get(b->root, "pre_tokenizer"), &b->rules));
    ICD_TRY(icd_i_json_member(ctx, model, "vocab", JSON_OBJECT, place, &b->vocab));
    ICD_TRY(check_vocab(ctx, b, place));
    fill_bytes(b);
    ICD_TRY(fill_unknown(ctx, b, place, model));
    ICD_TRY(icd_i_json_member(ctx, model, "merges", JSON_ARRAY, place, &merges));
    ICD_TRY(read_merges(ctx, b, place, merges));
    ICD_TRY(read_added(ctx, b, place, json_object_get(b->root, "added_tokens")));
done:
    return status;
}

/* Takes over `root`. */
static icd_status bpe_new(icd_ctx *ctx, json_t *root, icd_bpe **out)
{
    icd_status status = ICD_ALLOC(ctx, 1, out);
    if (status != ICD_OK) {
        json_decref(root);
        return status;
    }
    (*out)->base.kind = &KIND;
    (*out)->root = root;
    return ICD_OK;
}

static icd_status from_root(icd_ctx *ctx, json_t *root, const char *place,
                            icd_tokenizer **out)
{
    icd_bpe *b = NULL;
    icd_status status = bpe_new(ctx, root, &b);
    if (status == ICD_OK) status = read_root(ctx, b, place);
    if (status == ICD_OK)
        *out = &b->base;
    else if (b)
        icd_i_bpe_free(ctx, &b->base);
    return status;
}

icd_status icd_i_bpe_parse(icd_ctx *ctx, const char *text, size_t size, const char *place,
                           icd_tokenizer **out)
{
    json_t *root = NULL;
    *out = NULL;
    icd_status status = icd_i_json_parse(ctx, text, size, place, &root);
    return status == ICD_OK ? from_root(ctx, root, place, out) : status;
}

icd_status icd_i_bpe_open(icd_ctx *ctx, const char *path, icd_tokenizer **out)
{
    json_t *root = NULL;
    *out = NULL;
    icd_status status = icd_i_json_read(ctx, path, &root);
    return status == ICD_OK ? from_root(ctx, root, path, out) : status;
}

/* --- vocab.json and merges.txt ---------------------------------------------------------
 */

static int64_t count_lines(const char *text, size_t size)
{
    int64_t lines = 1;
    for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
    return lines;
}

/* A first line "#version..." is no merge, nor are empty lines. */
static icd_status read_lines(icd_ctx *ctx, icd_bpe *b, const char *place,
                             const char *text, size_t size)
{
    icd_status status = merges_alloc(ctx, b, count_lines(text, size));
    const char *at = text, *end = text + size;
    for (int64_t rank = 0; status == ICD_OK && at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        size_t n = (size_t)(stop - at);
        if (n && at[n - 1] == '\r') n--;
        bool version = at == text && n >= 8 && memcmp(at, "#version", 8) == 0;
        if (n && !version) status = add_line(ctx, b, place, rank++, at, n);
        at = stop + 1;
    }
    return status;
}

/* GPT-2's rules and its one special token. */
static icd_status finish_pair(icd_ctx *ctx, icd_bpe *b)
{
    static const char END[] = "<|endoftext|>";
    b->rules.words = true;
    icd_status status = ICD_ALLOC(ctx, 1, &b->added);
    if (status != ICD_OK || id_of(b, END, sizeof END - 1) < 0) return status;
    b->added[b->added_count++] =
        (icd_bpe_added){END, sizeof END - 1, id_of(b, END, sizeof END - 1)};
    b->begins['<'] = true;
    return ICD_OK;
}

icd_status icd_i_bpe_open_pair(icd_ctx *ctx, const char *vocab, const char *merges,
                               icd_tokenizer **out)
{
    icd_status status = ICD_OK;
    json_t *root = NULL;
    icd_bpe *b = NULL;
    char *text = NULL;
    size_t size = 0;
    *out = NULL;
    ICD_TRY(icd_i_json_read(ctx, vocab, &root));
    ICD_TRY(bpe_new(ctx, root, &b));
    b->vocab = b->root;
    ICD_TRY(check_vocab(ctx, b, vocab));
    fill_bytes(b);
    ICD_TRY(icd_i_file_read(ctx, merges, &text, &size));
    ICD_TRY(read_lines(ctx, b, merges, text, size));
    ICD_TRY(finish_pair(ctx, b));
    *out = &b->base;
    b = NULL;
done:
    icd_i_free(ctx, text);
    if (b) icd_i_bpe_free(ctx, &b->base);
    return status;
}
