#include "support.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

static json_t *parse(icd_ctx *ctx, const char *text)
{
    json_t *value = NULL;
    assert_ok(ctx, icd_i_json_parse(ctx, text, strlen(text), "a.json", &value));
    return value;
}

static void assert_prints(icd_ctx *ctx, const char *text, bool compact,
                          const char *expected)
{
    char *printed = NULL;
    json_t *value = parse(ctx, text);
    assert_ok(ctx, icd_i_json_print(ctx, value, compact, &printed));
    assert_string_equal(printed, expected);
    icd_i_free(ctx, printed);
    json_decref(value);
}

static void prints_sorted_and_short(void **state)
{
    assert_prints(
        *state, "{\"b\":[1,2.0],\"a\":{\"y\":null,\"x\":true},\"c\":[],\"d\":{}}", false,
        "{\n  \"a\": {\n    \"x\": true,\n    \"y\": null\n  },\n  \"b\": [1, 2.0],\n"
        "  \"c\": [],\n  \"d\": {}\n}\n");
    assert_prints(*state, "[[1,2],[3]]", false, "[\n  [1, 2],\n  [3]\n]\n");
    assert_prints(*state, "{\"b\":[1,{\"k\":false}],\"a\":0.1}", true,
                  "{\"a\":0.1,\"b\":[1,{\"k\":false}]}");
}

static void numbers_read_back_the_same(void **state)
{
    static const double VALUE[] = {0.1,
                                   1.0 / 3,
                                   5e-324,
                                   1.7976931348623157e308,
                                   -0.0,
                                   300,
                                   2147483647,
                                   9007199254740993.0,
                                   0.30000000000000004};
    icd_ctx *ctx = *state;
    for (size_t i = 0; i < sizeof VALUE / sizeof VALUE[0]; i++) {
        char *text = NULL;
        json_t *value = json_pack("[f]", VALUE[i]);
        assert_ok(ctx, icd_i_json_print(ctx, value, true, &text));
        json_t *again = parse(ctx, text);
        double back = json_real_value(json_array_get(again, 0));
        assert_memory_equal(&back, &VALUE[i], sizeof back);
        json_decref(again);
        json_decref(value);
        icd_i_free(ctx, text);
    }
    assert_prints(ctx, "[0.1, 300.0, 1e100, 9223372036854775807]", true,
                  "[0.1,300.0,1e+100,9223372036854775807]");
}

static void strings_are_escaped(void **state)
{
    assert_prints(*state, "[\"a\\\"\\\\\\n\\t\\u0001\\u007f/\\u00e9\"]", true,
                  "[\"a\\\"\\\\\\n\\t\\u0001\\u007f/\xc3\xa9\"]");
}

static void refuses_what_is_not_json(void **state)
{
    static const struct {
        const char *text, *message;
    } CASE[] = {
        {"", "a.json:1:0: not JSON"},
        {"{\"a\": 1,\n \"a\": 2}", "a.json:2:4: not JSON: duplicate object key"},
        {"[NaN]", "not JSON"},
        {"[1e999]", "not JSON: real number overflow"},
        {"[1] x", "not JSON: end of file expected"},
        {"[99999999999999999999]", "not JSON: too big integer"},
        {"[\"\xff\"]", "not JSON: unable to decode byte 0xff"},
    };
    icd_ctx *ctx = *state;
    for (size_t i = 0; i < sizeof CASE / sizeof CASE[0]; i++) {
        json_t *value = NULL;
        assert_fails(
            ctx, ICD_EDATA, CASE[i].message,
            icd_i_json_parse(ctx, CASE[i].text, strlen(CASE[i].text), "a.json", &value));
        assert_null(value);
    }
}

static void members(void **state)
{
    icd_ctx *ctx = *state;
    int64_t n = 0;
    double r = 0;
    const char *s = NULL;
    json_t *m = NULL;
    json_t *o = parse(ctx, "{\"D\":7,\"r\":2.5,\"s\":\"x\",\"p\":[1],\"b\":true}");
    assert_ok(ctx, icd_i_json_int(ctx, o, "D", "p.json", 0, 7, &n));
    assert_int_equal(n, 7);
    assert_fails(ctx, ICD_EDATA,
                 "p.json: member 'D': found 7, expected an integer in 8..9",
                 icd_i_json_int(ctx, o, "D", "p.json", 8, 9, &n));
    assert_fails(ctx, ICD_EDATA, "p.json: member 's': found string, expected integer",
                 icd_i_json_int(ctx, o, "s", "p.json", 0, 9, &n));
    assert_fails(ctx, ICD_EDATA, "member 'x': found nothing, expected string",
                 icd_i_json_string(ctx, o, "x", "p.json", &s));
    assert_null(s);
    assert_ok(ctx, icd_i_json_string(ctx, o, "s", "p.json", &s));
    assert_string_equal(s, "x");
    assert_ok(ctx, icd_i_json_real(ctx, o, "r", "p.json", &r));
    assert_true(r == 2.5);
    assert_ok(ctx, icd_i_json_real(ctx, o, "D", "p.json", &r));
    assert_true(r == 7);
    assert_ok(ctx, icd_i_json_member(ctx, o, "b", JSON_FALSE, "p.json", &m));
    assert_true(json_is_true(m));
    assert_fails(ctx, ICD_EDATA, "member 'p': found array, expected true or false",
                 icd_i_json_member(ctx, o, "p", JSON_TRUE, "p.json", &m));
    assert_null(m);
    json_decref(o);
}

static icd_status write_and_read(icd_ctx *ctx, void *path)
{
    json_t *value =
        json_pack("{s:[i,i,i],s:s,s:{s:f}}", "pi", 2, 0, 1, "tag", "t", "o", "x", .5);
    json_t *again = NULL;
    icd_status status;
    ICD_TRY(icd_i_json_write(ctx, value, path));
    ICD_TRY(icd_i_json_read(ctx, path, &again));
    assert_true(json_equal(value, again));
done:
    json_decref(value);
    json_decref(again);
    return status;
}

static void files(void **state)
{
    icd_ctx *ctx = *state;
    json_t *value = NULL;
    char path[1024];
    snprintf(path, sizeof path, "%s", icd_test_path("v.json"));
    assert_ok(ctx, write_and_read(ctx, path));
    assert_fails(ctx, ICD_EIO, "none.json",
                 icd_i_json_read(ctx, icd_test_path("none.json"), &value));
    assert_null(value);
    icd_test_failing_allocations(write_and_read, path);
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
        cmocka_unit_test(prints_sorted_and_short),
        cmocka_unit_test(numbers_read_back_the_same),
        cmocka_unit_test(strings_are_escaped),
        cmocka_unit_test(refuses_what_is_not_json),
        cmocka_unit_test(members),
        cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
