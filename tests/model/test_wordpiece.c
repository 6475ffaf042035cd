/* Against Hugging Face's tokenizer (data/wordpiece_oracle.json), and what it cannot show:
 * vocabularies that are broken, lower case switched off, memory that is short. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include <icd/tokenizer.h>

static const char SMALL[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\nun\n##aff\n##able\nhello\nworld\n"
    "!\nHello\n\xc3\xa9\ne\n##\n#\n";

static const char *folder(icd_ctx *ctx, const char *name, const char *vocab)
{
    const char *dir = icd_test_path(name);
    char *path = NULL;
    assert_ok(ctx, icd_i_mkdirs(ctx, dir));
    assert_ok(ctx, icd_i_path_join(ctx, dir, "vocab.txt", &path));
    if (vocab) assert_ok(ctx, icd_i_file_write(ctx, path, vocab, strlen(vocab)));
    icd_i_free(ctx, path);
    return dir;
}

static void expect(icd_ctx *ctx, const icd_tokenizer *t, const char *text, int64_t count,
                   const int32_t *expected)
{
    int32_t *ids = NULL;
    int64_t found = -1;
    assert_ok(ctx,
              icd_tokenizer_encode(ctx, t, text, (int64_t)strlen(text), &ids, &found));
    assert_int_equal(found, count);
    assert_memory_equal(ids, expected, (size_t)count * sizeof *ids);
    icd_i_free(ctx, ids);
}
#define EXPECT(ctx, t, text, ...)                                                        \
    do {                                                                                 \
        const int32_t want_[] = {__VA_ARGS__};                                           \
        expect((ctx), (t), (text), sizeof want_ / sizeof *want_, want_);                 \
    } while (0)

static void greedy_longest_first(void **state)
{
    icd_ctx *ctx = *state;
    icd_tokenizer *t = NULL;
    assert_ok(ctx, icd_tokenizer_open(ctx, folder(ctx, "small", SMALL), 0, &t));
    EXPECT(ctx, t, "Hello, WORLD!unaffable", 7, 1, 8, 9, 4, 5, 6);
    EXPECT(ctx, t, "unaffablex", 1);
    EXPECT(ctx, t, "affable", 1);
    EXPECT(ctx, t, "[CLS]hello[SEP]", 2, 7, 3);
    EXPECT(ctx, t, "##able", 14, 14, 1);
    expect(ctx, t, "", 0, NULL);
    expect(ctx, t, " \t\n", 0, NULL);
    icd_tokenizer_free(ctx, t);
}

static void ids_of_tokens(void **state)
{
    icd_ctx *ctx = *state;
    icd_tokenizer *t = NULL;
    assert_ok(ctx, icd_tokenizer_open(ctx, folder(ctx, "ids", SMALL), 0, &t));
    assert_int_equal(icd_tokenizer_id(t, "[PAD]"), 0);
    assert_int_equal(icd_tokenizer_id(t, "##able"), 6);
    assert_int_equal(icd_tokenizer_id(t, "able"), -1);
    assert_int_equal(icd_tokenizer_id(t, "##"), 13);
    assert_int_equal(icd_tokenizer_id(t, ""), -1);
    icd_tokenizer_free(ctx, t);
}

/* A letter at the beginning of a word and inside one are two tokens, wherever their
 * hashes fall. */
static void a_beginning_is_no_inside(void **state)
{
    icd_ctx *ctx = *state;
    char vocab[2048] = "[UNK]\n[CLS]\n[SEP]\n", token[8];
    size_t used = strlen(vocab);
    icd_tokenizer *t = NULL;
    for (int c = 'A'; c <= 'z'; ++c)
        used += (size_t)snprintf(vocab + used, sizeof vocab - used, "%c\n##%c\n", c, c);
    assert_ok(ctx, icd_tokenizer_open(ctx, folder(ctx, "letters", vocab), 0, &t));
    for (int c = 'A'; c <= 'z'; ++c) {
        snprintf(token, sizeof token, "##%c", c);
        assert_int_equal(icd_tokenizer_id(t, token + 2), 3 + 2 * (c - 'A'));
        assert_int_equal(icd_tokenizer_id(t, token), 4 + 2 * (c - 'A'));
    }
    icd_tokenizer_free(ctx, t);
}

static void case_and_accents_kept_on_request(void **state)
{
    icd_ctx *ctx = *state;
    icd_tokenizer *t = NULL;
    const char *dir = folder(ctx, "cased", SMALL);
    char *path = NULL;
    static const char CONFIG[] = "{\"do_lower_case\": false}";
    assert_ok(ctx, icd_tokenizer_open(ctx, dir, 0, &t));
    EXPECT(ctx, t, "Hello \xc3\xa9", 7, 12);
    icd_tokenizer_free(ctx, t);
    assert_ok(ctx, icd_i_path_join(ctx, dir, "tokenizer_config.json", &path));
    assert_ok(ctx, icd_i_file_write(ctx, path, CONFIG, strlen(CONFIG)));
    assert_ok(ctx, icd_tokenizer_open(ctx, dir, 0, &t));
    EXPECT(ctx, t, "Hello \xc3\xa9 HELLO", 10, 11, 1);
    icd_tokenizer_free(ctx, t);
    icd_i_free(ctx, path);
}

static void line_ends_and_last_line(void **state)
{
    icd_ctx *ctx = *state;
    icd_tokenizer *t = NULL;
    const char *dir =
        folder(ctx, "crlf", "[UNK]\r\n[CLS]\r\n[SEP]\r\n\r\nhi\r\nhi\r\nend");
    assert_ok(ctx, icd_tokenizer_open(ctx, dir, 0, &t));
    EXPECT(ctx, t, "hi end", 5, 6);
    icd_tokenizer_free(ctx, t);
}

static void broken_vocabularies(void **state)
{
    icd_ctx *ctx = *state;
    icd_tokenizer *t = NULL;
    assert_fails(ctx, ICD_EIO, "vocab.txt",
                 icd_tokenizer_open(ctx, folder(ctx, "none", NULL), 0, &t));
    assert_null(t);
    assert_fails(ctx, ICD_EDATA, "no line '[UNK]'",
                 icd_tokenizer_open(ctx, folder(ctx, "empty", ""), 0, &t));
    assert_fails(ctx, ICD_EDATA, "no line '[SEP]'",
                 icd_tokenizer_open(ctx, folder(ctx, "cut", "[UNK]\n[CLS]\n"), 0, &t));
    assert_null(t);
}

/* Bytes of a case of the oracle; icd_i_free. */
static char *bytes_of(icd_ctx *ctx, const json_t *item, int64_t *size)
{
    const char *text = json_string_value(json_object_get(item, "text"));
    const char *hex = json_string_value(json_object_get(item, "hex"));
    char *out = NULL;
    *size = text ? (int64_t)strlen(text) : (int64_t)strlen(hex) / 2;
    assert_ok(ctx, ICD_ALLOC(ctx, *size + 1, &out));
    for (int64_t i = 0; i < *size; ++i) {
        char pair[3] = {0};
        if (hex) memcpy(pair, hex + 2 * i, 2);
        out[i] = text ? text[i] : (char)strtol(pair, NULL, 16);
    }
    return out;
}

static void check_case(icd_ctx *ctx, const icd_tokenizer *t, const json_t *item, size_t i)
{
    const json_t *expected = json_object_get(item, "ids");
    int64_t size = 0, count = 0;
    int32_t *ids = NULL;
    char *text = bytes_of(ctx, item, &size);
    assert_ok(ctx, icd_tokenizer_encode(ctx, t, text, size, &ids, &count));
    bool same = (size_t)count == json_array_size(expected);
    for (int64_t k = 0; same && k < count; ++k)
        same = ids[k] == json_integer_value(json_array_get(expected, (size_t)k));
    if (!same) fail_msg("case %zu of the oracle differs: '%s'", i, text);
    icd_i_free(ctx, ids);
    icd_i_free(ctx, text);
}

static const char *oracle_folder(icd_ctx *ctx, const json_t *vocab)
{
    const char *dir = folder(ctx, "oracle", NULL);
    char *path = NULL;
    icd_out *out = NULL;
    assert_ok(ctx, icd_i_path_join(ctx, dir, "vocab.txt", &path));
    assert_ok(ctx, icd_i_out_open(ctx, path, &out));
    for (size_t i = 0; i < json_array_size(vocab); ++i)
        assert_ok(ctx, icd_i_out_printf(ctx, out, "%s\n",
                                        json_string_value(json_array_get(vocab, i))));
    assert_ok(ctx, icd_i_out_close(ctx, out, true));
    icd_i_free(ctx, path);
    return dir;
}

static void as_hugging_face(void **state)
{
    icd_ctx *ctx = *state;
    json_t *oracle = NULL;
    icd_tokenizer *t = NULL;
    assert_ok(ctx, icd_i_json_read(ctx, ICD_TEST_DATA "/wordpiece_oracle.json", &oracle));
    const char *dir = oracle_folder(ctx, json_object_get(oracle, "vocab"));
    assert_ok(ctx, icd_tokenizer_open(ctx, dir, 0, &t));
    const json_t *cases = json_object_get(oracle, "cases");
    assert_true(json_array_size(cases) > 100);
    for (size_t i = 0; i < json_array_size(cases); ++i)
        check_case(ctx, t, json_array_get(cases, i), i);
    icd_tokenizer_free(ctx, t);
    json_decref(oracle);
}

static icd_status open_and_encode(icd_ctx *ctx, void *arg)
{
    static const char TEXT[] = "Hello \xe4\xbb\x8a world! unaffable [SEP] \xc3\xa9";
    icd_tokenizer *t = NULL;
    int32_t *ids = NULL;
    int64_t count = 0;
    icd_status status = icd_tokenizer_open(ctx, arg, 0, &t);
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
    snprintf(dir, sizeof dir, "%s", folder(*state, "memory", SMALL));
    icd_test_failing_allocations(open_and_encode, dir);
}

static int setup(void **state)
{
    *state = icd_ctx_new(NULL);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    icd_ctx_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_longest_first),
        cmocka_unit_test(ids_of_tokens),
        cmocka_unit_test(a_beginning_is_no_inside),
        cmocka_unit_test(case_and_accents_kept_on_request),
        cmocka_unit_test(line_ends_and_last_line),
        cmocka_unit_test(broken_vocabularies),
        cmocka_unit_test(as_hugging_face),
        cmocka_unit_test(memory_short),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
