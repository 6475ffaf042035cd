#include "base/file.h"
#include "base/mem.h"
#include "support.h"

#include <icd/access.h>
#include <math.h>
#include <string.h>

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

static int64_t event_ptr[] = {0, 2, 2, 5};
static int32_t indices[] = {1, 3, 0, 2, 3};
static float weights[] = {1, 2, .5f};

static icd_access sound(void)
{
    return (icd_access){
        .n = 4, .events = 3, .event_ptr = event_ptr, .index = indices, .weight = weights};
}

static void test_check(void **state)
{
    (void)state;
    int64_t falling[] = {0, 3, 2, 5}, late[] = {1, 2, 2, 5};
    int32_t high[] = {1, 4, 0, 2, 3}, low[] = {-1, 3, 0, 2, 3}, twice[] = {1, 1, 0, 2, 3};
    float negative[] = {1, -2, 1}, nan[] = {1, NAN, 1};
    icd_access a = sound();
    assert_ok(ctx, icd_access_check(ctx, &a, "x"));
    a.weight = NULL;
    assert_ok(ctx, icd_access_check(ctx, &a, "x"));
    a.event_ptr = falling;
    assert_fails(ctx, ICD_EDATA, "x: event 1: event_ptr falls from 3 to 2",
                 icd_access_check(ctx, &a, "x"));
    a.event_ptr = late;
    assert_fails(ctx, ICD_EDATA, "event_ptr begins with 1",
                 icd_access_check(ctx, &a, "x"));
    a = sound();
    a.index = high;
    assert_fails(ctx, ICD_EDATA, "event 0: found index 4",
                 icd_access_check(ctx, &a, "x"));
    a.index = low;
    assert_fails(ctx, ICD_EDATA, "event 0: found index -1",
                 icd_access_check(ctx, &a, "x"));
    a.index = twice;
    assert_fails(ctx, ICD_EDATA, "index 1 stands behind 1",
                 icd_access_check(ctx, &a, "x"));
    a = sound();
    a.weight = negative;
    assert_fails(ctx, ICD_EDATA, "event 1: found weight -2",
                 icd_access_check(ctx, &a, "x"));
    a.weight = nan;
    assert_fails(ctx, ICD_EDATA, "event 1: found weight nan",
                 icd_access_check(ctx, &a, "x"));
    a = sound();
    a.n = -1;
    assert_fails(ctx, ICD_EDATA, "found n = -1", icd_access_check(ctx, &a, "x"));
}

static void test_frequency(void **state)
{
    (void)state;
    double freq[4];
    icd_access a = sound();
    icd_access_frequency(&a, freq);
    assert_true(freq[0] == .5 && freq[1] == 1 && freq[2] == .5 && freq[3] == 1.5);
    a.weight = NULL;
    icd_access_frequency(&a, freq);
    assert_true(freq[0] == 1 && freq[1] == 1 && freq[2] == 1 && freq[3] == 2);
}

static void test_slice(void **state)
{
    (void)state;
    icd_access a = sound(), *b = NULL;
    a.axis = (char *)"ffn";
    a.frame = 7;
    for (int64_t first = 0; first <= 3; ++first)
        for (int64_t count = 0; count <= 3 - first; ++count) {
            assert_ok(ctx, icd_access_slice(ctx, &a, first, count, &b));
            assert_ok(ctx, icd_access_check(ctx, b, "slice"));
            assert_true(b->events == count && b->n == 4 && b->frame == 7);
            assert_string_equal(b->axis, "ffn");
            for (int64_t e = 0; e < count; ++e) {
                assert_true(b->weight[e] == a.weight[first + e]);
                assert_int_equal(b->event_ptr[e + 1] - b->event_ptr[e],
                                 a.event_ptr[first + e + 1] - a.event_ptr[first + e]);
            }
            icd_access_free(ctx, b);
        }
    assert_fails(ctx, ICD_EINVAL, "asked for 2 events from 2, found 3",
                 icd_access_slice(ctx, &a, 2, 2, &b));
    assert_null(b);
    assert_fails(ctx, ICD_EINVAL, "found 3", icd_access_slice(ctx, &a, -1, 1, &b));
    assert_fails(ctx, ICD_EINVAL, "found 3", icd_access_slice(ctx, &a, 4, 0, &b));
    icd_access_free(ctx, NULL);
}

static void test_pairs_are_no_sets(void **state)
{
    (void)state;
    const char *path = icd_test_path("pairs.csv");
    const icd_trace_opts opts = {.n = 9};
    icd_access *a = NULL;
    assert_ok(ctx, icd_i_file_write(ctx, path, "1,2\n", 4));
    assert_fails(ctx, ICD_EINVAL, "holds pairs, expected access sets",
                 icd_access_read(ctx, path, &opts, &a));
    assert_null(a);
}

static void test_real_trace(void **state)
{
    (void)state;
    const char *npz = icd_test_shared("use-lite-ffn1.access.npz");
    const char *jsonl = icd_test_shared("use-lite-ffn1.first500.jsonl");
    const icd_trace_opts range = {.first = 0, .limit = 500}, given = {.n = 1536};
    icd_access *a = NULL, *b = NULL, *c = NULL;
    if (!npz || !jsonl) skip_shared();
    assert_ok(ctx, icd_access_read(ctx, npz, NULL, &a));
    assert_true(a->n == 1536 && a->events == 12000 && a->event_ptr[12000] == 1310770);
    assert_null(a->weight);
    assert_ok(ctx, icd_access_check(ctx, a, npz));
    icd_access_free(ctx, a);
    assert_ok(ctx, icd_access_read(ctx, npz, &range, &a));
    assert_ok(ctx, icd_access_read(ctx, jsonl, &given, &b));
    assert_string_equal(b->axis, "layer.1.ffn.inner");
    assert_ok(ctx, icd_access_write(ctx, b, icd_test_path("real.icdt")));
    assert_ok(ctx, icd_access_read(ctx, icd_test_path("real.icdt"), NULL, &c));
    assert_true(a->events == 500 && b->events == 500 && c->events == 500);
    assert_memory_equal(a->event_ptr, b->event_ptr, 501 * sizeof *a->event_ptr);
    assert_memory_equal(b->event_ptr, c->event_ptr, 501 * sizeof *a->event_ptr);
    size_t bytes = (size_t)a->event_ptr[500] * sizeof *a->index;
    assert_memory_equal(a->index, b->index, bytes);
    assert_memory_equal(b->index, c->index, bytes);
    icd_access_free(ctx, a);
    icd_access_free(ctx, b);
    icd_access_free(ctx, c);
}

static icd_status allocate(icd_ctx *c, void *arg)
{
    icd_status status;
    icd_access a = sound(), *b = NULL, *slice = NULL;
    (void)arg;
    a.axis = (char *)"ffn";
    ICD_TRY(icd_access_write(c, &a, icd_test_path("failing.icdt")));
    ICD_TRY(icd_access_read(c, icd_test_path("failing.icdt"), NULL, &b));
    ICD_TRY(icd_access_slice(c, b, 1, 2, &slice));
done:
    icd_access_free(c, b);
    icd_access_free(c, slice);
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
        cmocka_unit_test(test_check),      cmocka_unit_test(test_frequency),
        cmocka_unit_test(test_slice),      cmocka_unit_test(test_pairs_are_no_sets),
        cmocka_unit_test(test_real_trace), cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
