/* Byte-level BPE against Hugging Face's tokenizers (data/bpe_oracle.json), the front that
 * picks a tokenizer, and tokenizer.json files that are not what this version knows. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/tokenizer_private.h"

static int setup(void **state)
{
    *state = icd_ctx_new(NULL);
    return *state == NULL;
}

static int teardown(void **state)
{
    icd_ctx_free(*state);
    return 0;
}

static icd_tokenizer *parse(icd_ctx *ctx, const json_t *root)
{
    icd_tokenizer *t = NULL;
    char *text = NULL;
    assert_ok(ctx, icd_i_json_print(ctx, root, true, &text));
    assert_ok(ctx, icd_i_bpe_parse(ctx, text, strlen(text), "tokenizer.json", &t));
    icd_i_free(ctx, text);
    return t;
}

static void check_case(icd_ctx *ctx, const icd_tokenizer *t, const json_t *text,
                       const json_t *want, size_t which)
{
    int32_t *ids = NULL;
    int64_t count = 0;
    assert_ok(ctx, icd_tokenizer_encode(ctx, t, json_string_value(text),
                                        (int64_t)json_string_length(text), &ids, &count));
    bool same = count == (int64_t)json_array_size(want);
    for (int64_t i = 0; same && i < count; i++)
        same = ids[i] == json_integer_value(json_array_get(want, (size_t)i));
    if (!same) {
        for (int64_t i = 0; i < count; i++) print_error("%d ", ids[i]);
        print_error("found; expected ");
        for (size_t i = 0; i < json_array_size(want); i++)
            print_error("%d ", (int)json_integer_value(json_array_get(want, i)));
        fail_msg("tokenizer %zu, text '%s'", which, json_string_value(text));
    }
    icd_i_free(ctx, ids);
}

static void as_hugging_face(void **state)
{
    icd_ctx *ctx = *state;
    json_t *oracle = NULL;
    assert_ok(ctx, icd_i_json_read(ctx, ICD_TEST_DATA "/bpe_oracle.json", &oracle));
    const json_t *cases = json_object_get(oracle, "cases"),
                 *list = json_object_get(oracle, "tokenizers");
    assert_true(json_array_size(cases) > 150 && json_array_size(list) == 4);
    for (size_t k = 0; k < json_array_size(list); k++) {
        icd_tokenizer *t = parse(ctx, json_array_get(list, k));
        for (size_t i = 0; i < json_array_size(cases); i++) {
            const json_t *one = json_array_get(cases, i);
            check_case(ctx, t, json_object_get(one, "text"),
                       json_array_get(json_object_get(one, "ids"), k), k);
        }
        icd_tokenizer_free(ctx, t);
    }
    json_decref(oracle);
}

static void write_file(icd_ctx *ctx, const char *dir, const char *name, const char *text)
{
    char *path = NULL;
    assert_ok(ctx, icd_i_mkdirs(ctx, dir));
    assert_ok(ctx, icd_i_path_join(ctx, dir, name, &path));
    assert_ok(ctx, icd_i_file_write(ctx, path, text, strlen(text)));
    icd_i_free(ctx, path);
}

static void expect(icd_ctx *ctx, const icd_tokenizer *t, const char *text, int64_t size,
                   int64_t count, const int32_t *expected)
{
    int32_t *ids = NULL;
    int64_t found = -1;
    assert_ok(ctx, icd_tokenizer_encode(ctx, t, text, size, &ids, &found));
    assert_int_equal(found, count);
    assert_memory_equal(ids, expected, (size_t)count * sizeof *ids);
    icd_i_free(ctx, ids);
}
#define EXPECT(ctx, t, text, ...)                                                        \
    do {                                                                                 \
        const int32_t want_[] = {__VA_ARGS__};                                           \
        expect((ctx), (t), (text), sizeof(text) - 1, sizeof want_ / sizeof *want_,       \
               want_);                                                                   \
    } while (0)

/* \u0120 is a space. */
static const char VOCAB[] = "{\"h\":0,\"e\":1,\"l\":2,\"o\":3,\"\\u0120\":4,\"he\":5,"
                            "\"ll\":6,\"llo\":7,\"hello\":8,\"\\u0120he\":9,"
                            "\"<|endoftext|>\":10}";
static const char MERGES[] = "#version: 0.2\nh e\nl l\nll o\r\nhe llo\n\n\xc4\xa0 he\n";

static const char *pair_folder(icd_ctx *ctx, const char *name, const char *vocab,
                               const char *merges)
{
    const char *dir = icd_test_path(name);
    write_file(ctx, dir, "vocab.json", vocab);
    write_file(ctx, dir, "merges.txt", merges);
    return dir;
}

static void gpt2_files(void **state)
{
    icd_ctx *ctx = *state;
    icd_tokenizer *t = NULL;
    const char *dir = pair_folder(ctx, "gpt2", VOCAB, MERGES);
    assert_ok(ctx, icd_tokenizer_open(ctx, dir, 0, &t));
    EXPECT(ctx, t, "hello hello", 8, 4, 8);
    EXPECT(ctx, t, "hhe", 0, 5);
    EXPECT(ctx, t, "llll", 6, 6);
    EXPECT(ctx, t, "hello<|endoftext|>he", 8, 10, 5);
    EXPECT(ctx, t, "xhe\xff\xc3", 5);
    assert_int_equal(icd_tokenizer_id(t, "<|endoftext|>"), 10);
    assert_int_equal(icd_tokenizer_id(t, "hello"), 8);
    assert_int_equal(icd_tokenizer_id(t, "world"), -1);
    icd_tokenizer_free(ctx, t);
}

static void broken_pairs(void **state)
{
    icd_ctx *ctx = *state;
    icd_tokenizer *t = NULL;
    static const struct {
        const char *vocab, *merges, *text;
    } BAD[] = {
        {VOCAB, "h x\n", "merge 0: 'h' and 'x'"},
        {VOCAB, "h l\n", "merge 0: 'h' and 'l'"},
        {VOCAB, "he\n", "merge 0: found 'he'"},
        {VOCAB, "h e\nh e l\n", "merge 1: found 'h e l'"},
        {VOCAB, " h\n", "merge 0"},
        {VOCAB, "h \n", "merge 0"},
        {"{\"h\":-1}", "", "token 'h'"},
        {"{\"h\":\"x\"}", "", "token 'h'"},
        {"{\"h\":4294967296}", "", "token 'h'"},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        const char *dir = pair_folder(ctx, "pair", BAD[i].vocab, BAD[i].merges);
        assert_fails(ctx, ICD_EDATA, BAD[i].text, icd_tokenizer_open(ctx, dir, 0, &t));
        assert_null(t);
    }
}

/* A model of 256 tokens without a tokenizer reads bytes; others need one. */
static void bytes(void **state)
{
    icd_ctx *ctx = *state;
    icd_tokenizer *t = NULL;
    const char *dir = icd_test_path("bytes");
    assert_ok(ctx, icd_i_mkdirs(ctx, dir));
    assert_fails(ctx, ICD_EIO, "no vocab.txt, tokenizer.json",
                 icd_tokenizer_open(ctx, dir, 255, &t));
    assert_null(t);
    assert_ok(ctx, icd_tokenizer_open(ctx, dir, 256, &t));
    EXPECT(ctx, t, "a\xff\0b", 97, 255, 0, 98);
    expect(ctx, t, "", 0, 0, NULL);
    assert_int_equal(icd_tokenizer_id(t, "a"), 97);
    assert_int_equal(icd_tokenizer_id(t, "[CLS]"), -1);
    icd_tokenizer_free(ctx, t);
}

/* A tokenizer.json of which one text was replaced. */
static void refuse(icd_ctx *ctx, icd_status expected, const char *text, const char *what,
                   const char *by)
{
    static const char WHOLE[] =
        "{\"added_tokens\":[{\"id\":0,\"content\":\"<x>\",\"lstrip\":false}],"
        "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
        "{\"type\":\"Digits\",\"individual_digits\":true},{\"type\":\"ByteLevel\"}]},"
        "\"model\":{\"type\":\"BPE\",\"unk_token\":null,\"dropout\":null,"
        "\"vocab\":{\"a\":1,\"b\":2,\"ab\":3},\"merges\":[\"a b\",[\"a\",\"b\"]]}}";
    char json[1024];
    icd_tokenizer *t = NULL;
    const char *at = strstr(WHOLE, what);
    assert_non_null(at);
    snprintf(json, sizeof json, "%.*s%s%s", (int)(at - WHOLE), WHOLE, by,
             at + strlen(what));
    icd_status status = icd_i_bpe_parse(ctx, json, strlen(json), "t.json", &t);
    if (expected == ICD_OK) {
        assert_ok(ctx, status);
        icd_tokenizer_free(ctx, t);
        return;
    }
    assert_fails(ctx, expected, text, status);
    assert_null(t);
}

static void other_tokenizers(void **state)
{
    icd_ctx *ctx = *state;
    refuse(ctx, ICD_OK, "", "null", "null");
    refuse(ctx, ICD_EUNSUPPORTED, "model.type: found 'Unigram'", "BPE", "Unigram");
    refuse(ctx, ICD_EUNSUPPORTED, "normalizer: found 'NFC'", "\"normalizer\":null",
           "\"normalizer\":{\"type\":\"NFC\"}");
    refuse(ctx, ICD_EUNSUPPORTED, "pre_tokenizer: found 'Split'", "Digits", "Split");
    refuse(ctx, ICD_EUNSUPPORTED, "pre_tokenizer: found 'Metaspace'", "ByteLevel",
           "Metaspace");
    refuse(ctx, ICD_EUNSUPPORTED, "pre_tokenizer: found 'Digits'", "ByteLevel", "Digits");
    refuse(ctx, ICD_EUNSUPPORTED, "pre_tokenizer: found 'ByteLevel'", "Digits",
           "ByteLevel");
    refuse(ctx, ICD_EUNSUPPORTED, "model.dropout", "\"dropout\":null", "\"dropout\":0.1");
    refuse(ctx, ICD_EUNSUPPORTED, "model.ignore_merges", "\"dropout\":null",
           "\"ignore_merges\":true");
    refuse(ctx, ICD_EUNSUPPORTED, "added_tokens: found '<x>'", "\"lstrip\":false",
           "\"lstrip\":true");
    refuse(ctx, ICD_EDATA, "unk_token 'u'", "\"unk_token\":null", "\"unk_token\":\"u\"");
    refuse(ctx, ICD_EDATA, "merge 1: expected a text, or a list", "[\"a\",\"b\"]",
           "[\"a\"]");
    refuse(ctx, ICD_EDATA, "merge 0", "\"a b\"", "\"ab\"");
    refuse(ctx, ICD_EDATA, "'vocab'", "\"vocab\"", "\"words\"");
    refuse(ctx, ICD_EDATA, "'merges'", "\"merges\"", "\"joins\"");
    refuse(ctx, ICD_EDATA, "'content'", "\"content\"", "\"text\"");
    refuse(ctx, ICD_EDATA, "not JSON", "{\"type\"", "{type");
}

/* The real one, if it was fetched (tools/fetch_model.sh smollm2). */
static void smollm2(void **state)
{
    icd_ctx *ctx = *state;
    static const char DIR[] = ICD_SOURCE_DIR "/.cache/models/smollm2-135m";
    icd_tokenizer *t = NULL;
    if (!icd_i_file_exists(ICD_SOURCE_DIR "/.cache/models/smollm2-135m/tokenizer.json")) {
        print_message("skipped: SmolLM2 is not here\n");
        skip();
    }
    assert_ok(ctx, icd_tokenizer_open(ctx, DIR, 49152, &t));
    EXPECT(ctx, t, "were sick with horror, while he", 19878, 6217, 351, 18721, 28, 979,
           384);
    EXPECT(ctx, t, "<|im_start|>user\nIn 1815<|im_end|>", 1, 4093, 198, 788, 216, 33, 40,
           33, 37, 2);
    icd_tokenizer_free(ctx, t);
}

static icd_status open_and_encode(icd_ctx *ctx, void *arg)
{
    static const char TEXT[] = "hello hello <|endoftext|>";
    icd_tokenizer *t = NULL;
    int32_t *ids = NULL;
    int64_t count = 0;
    icd_status status = icd_tokenizer_open(ctx, arg, 256, &t);
    if (status == ICD_OK)
        status = icd_tokenizer_encode(ctx, t, TEXT, sizeof TEXT - 1, &ids, &count);
    if (status != ICD_OK) assert_null(ids);
    icd_i_free(ctx, ids);
    icd_tokenizer_free(ctx, t);
    return status;
}

static void memory_short(void **state)
{
    char dir[512];
    snprintf(dir, sizeof dir, "%s", pair_folder(*state, "memory", VOCAB, MERGES));
    icd_test_failing_allocations(open_and_encode, dir);
    snprintf(dir, sizeof dir, "%s", icd_test_path("empty"));
    assert_ok(*state, icd_i_mkdirs(*state, dir));
    icd_test_failing_allocations(open_and_encode, dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_hugging_face),  cmocka_unit_test(gpt2_files),
        cmocka_unit_test(broken_pairs),     cmocka_unit_test(bytes),
        cmocka_unit_test(other_tokenizers), cmocka_unit_test(smollm2),
        cmocka_unit_test(memory_short),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
