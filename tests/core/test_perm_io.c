#include "base/file.h"
#include "base/mem.h"
#include "core/perm_io.h"
#include "support.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static icd_ctx *ctx;

static int setup(void **state)
{
    (void)state;
    ctx = icd_ctx_new(NULL);
    return ctx == NULL;
}

static int teardown(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    return 0;
}

static icd_status parse(const char *text, icd_perm **out)
{
    return icd_i_perm_parse(ctx, text, strlen(text), "perm.json", out);
}

static void assert_same(const icd_perm *p, const icd_perm *q)
{
    assert_int_equal(p->n, q->n);
    assert_int_equal(icd_perm_moved(p, q), 0);
    assert_true(p->from == q->from && p->to == q->to);
}

static void round_trip(const icd_perm *p)
{
    icd_perm *q = NULL;
    char *first = NULL, *second = NULL;
    size_t size = 0;
    const char *path = icd_test_path("perm.json");
    assert_ok(ctx, icd_perm_write(ctx, p, path));
    assert_ok(ctx, icd_perm_read(ctx, path, &q));
    assert_same(p, q);
    assert_ok(ctx, icd_i_file_read(ctx, path, &first, &size));
    assert_ok(ctx, icd_perm_write(ctx, q, path));
    assert_ok(ctx, icd_i_file_read(ctx, path, &second, &size));
    assert_string_equal(first, second);
    icd_i_free(ctx, first);
    icd_i_free(ctx, second);
    icd_perm_free(ctx, q);
}

static void test_round_trip(void **state)
{
    (void)state;
    const int32_t index[] = {2, 0, 1};
    for (int64_t n = 0; n <= 3; ++n) {
        icd_perm *p = NULL, *q = NULL;
        assert_ok(ctx, n == 3 ? icd_perm_from_array(ctx, index, 3, 0, "x", &p)
                              : icd_perm_identity(ctx, n, 0xabcdef, &p));
        round_trip(p);
        assert_ok(ctx, icd_perm_inverse(ctx, p, &q));
        round_trip(q);
        icd_perm_free(ctx, p);
        icd_perm_free(ctx, q);
    }
}

static void test_indices_alone_are_enough(void **state)
{
    (void)state;
    icd_perm *p = NULL;
    assert_ok(ctx, parse("{\"pi\": [1, 0]}", &p));
    assert_true(p->n == 2 && p->from == ICD_FRAME_CHECKPOINT && p->old_of_new[0] == 1);
    icd_perm_free(ctx, p);
    assert_ok(ctx, parse("{\"pi\": [], \"D\": 0}", &p));
    assert_int_equal(p->n, 0);
    icd_perm_free(ctx, p);
}

static void test_damaged(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } CASE[] = {
        {"", "perm.json"},
        {"[1, 0]", "'pi'"},
        {"{\"pi\": [1, 0]", "not JSON"},
        {"{\"D\": 2}", "member 'pi': found nothing, expected array"},
        {"{\"pi\": 7}", "member 'pi': found integer, expected array"},
        {"{\"pi\": [0, 1.5]}", "slot 1: found no 32-bit integer"},
        {"{\"pi\": [0, \"1\"]}", "slot 1: found no 32-bit integer"},
        {"{\"pi\": [0, 4294967296]}", "slot 1: found no 32-bit integer"},
        {"{\"pi\": [0, 2]}", "slot 1: found index 2, expected 0 to 1"},
        {"{\"pi\": [0, 0]}", "slot 1: index 0 stands in slot 0 already"},
        {"{\"pi\": [1, 0], \"D\": 3}", "'D' is 3, found 2 indices"},
        {"{\"pi\": [1, 0], \"D\": \"2\"}", "member 'D': found string"},
        {"{\"pi\": [1, 0], \"hash\": \"0123456789abcdef\"}", "the file is damaged"},
        {"{\"pi\": [1, 0], \"hash\": \"xyz\"}", "expected 16 hexadecimal digits"},
        {"{\"pi\": [1, 0], \"hash\": 5}", "member 'hash': found integer"},
        {"{\"pi\": [1, 0], \"frame\": \"other\"}", "member 'frame': found 'other'"},
        {"{\"axes\": {}, \"version\": 1}", "expected a single one"},
    };
    for (size_t c = 0; c < sizeof CASE / sizeof *CASE; ++c) {
        icd_perm *p = (icd_perm *)CASE;
        assert_fails(ctx, ICD_EDATA, CASE[c].message, parse(CASE[c].text, &p));
        assert_null(p);
    }
}

static void test_missing_file(void **state)
{
    (void)state;
    icd_perm *p = NULL;
    icd_perm_set *set = NULL;
    assert_fails(ctx, ICD_EIO, "absent.json",
                 icd_perm_read(ctx, icd_test_path("absent.json"), &p));
    assert_fails(ctx, ICD_EIO, "absent.json",
                 icd_perm_set_read(ctx, icd_test_path("absent.json"), &set));
}

static icd_perm_set *make_set(icd_ctx *c)
{
    const int32_t index[] = {2, 0, 1};
    icd_perm_set *set = NULL;
    icd_perm *p = NULL, *q = NULL;
    assert_ok(c, icd_perm_set_new(c, &set));
    assert_ok(c, icd_perm_from_array(c, index, 3, 0, "x", &p));
    assert_ok(c, icd_perm_identity(c, 2, 0, &q));
    assert_ok(c, icd_perm_set_put(c, set, "layer.1.ffn.inner", p, false));
    assert_ok(c, icd_perm_set_put(c, set, "a \"quoted\" name", q, true));
    assert_ok(c, icd_perm_set_put(c, set, "layer.0", p, false));
    assert_ok(c, icd_perm_set_put(c, set, "layer.0", q, true));
    assert_ok(c, icd_i_strdup(c, "0011", &set->tag));
    icd_perm_free(c, p);
    icd_perm_free(c, q);
    return set;
}

static void test_set_round_trip(void **state)
{
    (void)state;
    icd_perm_set *set = make_set(ctx), *back = NULL;
    const char *path = icd_test_path("perm_after.json");
    assert_int_equal(set->count, 3);
    assert_ok(ctx, icd_perm_set_write(ctx, set, path));
    assert_ok(ctx, icd_perm_set_read(ctx, path, &back));
    assert_int_equal(back->count, 3);
    assert_string_equal(back->tag, "0011");
    for (int64_t i = 0; i < back->count; ++i)
        assert_same(back->entry[i].perm, icd_perm_set_get(set, back->entry[i].axis));
    assert_int_equal(icd_perm_set_get(back, "layer.0")->n, 2);
    assert_null(icd_perm_set_get(back, "layer.2"));
    assert_string_equal(back->entry[0].axis, "a \"quoted\" name");
    assert_true(back->entry[0].local && !back->entry[2].local);
    icd_perm_set_free(ctx, set);
    icd_perm_set_free(ctx, back);
}

static void test_damaged_set(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } CASE[] = {
        {"{\"pi\": [0]}", "member 'version': found nothing"},
        {"{\"version\": 2, \"axes\": {}}", "member 'version': found 2"},
        {"{\"version\": 1, \"axes\": []}", "member 'axes': found array"},
        {"{\"version\": 1, \"axes\": {\"a\": {\"pi\": [1]}}}", "axis 'a': slot 0"},
        {"{\"version\": 1, \"axes\": {\"a\": {\"pi\": [0], \"local\": 1}}}", "'local'"},
        {"{\"version\": 1, \"axes\": {\"a\": {\"pi\":", "not JSON"},
    };
    for (size_t c = 0; c < sizeof CASE / sizeof *CASE; ++c) {
        icd_perm_set *set = NULL;
        assert_fails(ctx, ICD_EDATA, CASE[c].message,
                     icd_i_perm_set_parse(ctx, CASE[c].text, strlen(CASE[c].text),
                                          "perm_after.json", &set));
        assert_null(set);
    }
}

static void test_unwritable_folder(void **state)
{
    (void)state;
    icd_perm *p = NULL;
    assert_ok(ctx, icd_perm_identity(ctx, 2, 0, &p));
    assert_fails(ctx, ICD_EIO, "nowhere",
                 icd_perm_write(ctx, p, icd_test_path("nowhere/perm.json")));
    icd_perm_free(ctx, p);
}

static icd_status allocate(icd_ctx *c, void *arg)
{
    static const char TEXT[] =
        "{\"version\": 1, \"axes\": {\"a\": {\"D\": 3, \"pi\": [2, 0, 1]},"
        " \"b\": {\"pi\": [0], \"local\": true}}, \"tag\": \"t\"}";
    icd_perm_set *set = NULL;
    (void)arg;
    icd_status status = icd_i_perm_set_parse(c, TEXT, sizeof TEXT - 1, "perm.json", &set);
    if (status == ICD_OK)
        status = icd_perm_set_write(c, set, icd_test_path("failing.json"));
    icd_perm_set_free(c, set);
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(allocate, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_indices_alone_are_enough),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_set_round_trip),
        cmocka_unit_test(test_damaged_set),
        cmocka_unit_test(test_unwritable_folder),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
