#include "support.h"

#include "base/mem.h"
#include <icd/exec.h>

#include <string.h>

static int set_up(void **state)
{
    *state = icd_ctx_new(NULL);
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    icd_ctx_free(*state);
    return 0;
}

static void expect(icd_ctx *ctx, const char *text, int64_t count, double last)
{
    icd_exec_result r;
    assert_ok(ctx, icd_exec_parse(ctx, text, (int64_t)strlen(text), "test", &r));
    assert_int_equal(r.count, count);
    assert_near(r.value[count - 1], last, 0);
    icd_exec_result_release(ctx, &r);
}

static void forms_of_latencies(void **state)
{
    expect(*state, "1.5\n2.5\n", 2, 2.5);
    expect(*state, "# ms\n\n 1.5 \r\n2e-3", 2, .002);
    expect(*state, "{\"lat_ms\": 1.25, \"toks\": 4}\n{\"lat_ms\": 3}\n", 2, 3);
    expect(*state, "{\"lat_ms\": [1, 2, 4]}", 3, 4);
    expect(*state, "[1, 2]\n[3]\n", 3, 3);
    expect(*state, "{\n \"lat_ms\": [1,\n 2]\n}\n", 2, 2);
}

static void what_is_no_latency_is_refused(void **state)
{
    icd_ctx *ctx = *state;
    icd_exec_result r;
    static const char *const BAD[] = {"1\nfast\n",
                                      "0\n",
                                      "-1",
                                      "nan",
                                      "1e999",
                                      "{\"ms\": 1}",
                                      "[1, \"a\"]",
                                      "{\"lat_ms\": {}}",
                                      "[1",
                                      "1,2",
                                      "{\"lat_ms\": \"1\"}"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        assert_fails(ctx, ICD_EMEASURE, "test:",
                     icd_exec_parse(ctx, BAD[i], (int64_t)strlen(BAD[i]), "test", &r));
    assert_fails(ctx, ICD_EMEASURE, "test:2",
                 icd_exec_parse(ctx, "1\nfast\n", 7, "test", &r));
    assert_fails(ctx, ICD_EMEASURE, "no latency",
                 icd_exec_parse(ctx, "\n", 1, "test", &r));
    assert_fails(ctx, ICD_EMEASURE, "byte 0", icd_exec_parse(ctx, "1\0", 2, "test", &r));
    assert_null(r.value);
}

static void commands(void **state)
{
    icd_ctx *ctx = *state;
    icd_exec_result r;
    assert_ok(ctx, icd_exec_latencies(ctx, "seq 3 5", NULL, 10, &r));
    assert_int_equal(r.count, 3);
    icd_exec_result_release(ctx, &r);
    assert_ok(ctx, icd_exec_numbers(ctx, "printf '%s' {model} | wc -c; echo -1 0",
                                    "/a b/it's", 10, &r));
    assert_int_equal(r.count, 3);
    assert_near(r.value[0], 9, 0);
    icd_exec_result_release(ctx, &r);
    assert_fails(ctx, ICD_EMEASURE, "exit code 4; its last words: too bad",
                 icd_exec_latencies(ctx, "echo too bad >&2; exit 4", NULL, 10, &r));
    assert_fails(ctx, ICD_EINVAL, "{model}",
                 icd_exec_latencies(ctx, "bench {model}", NULL, 10, &r));
}

static void samples_of_commands(void **state)
{
    icd_ctx *ctx = *state;
    icd_exec_opts opts;
    double ms = 0;
    int64_t steps = 0;
    icd_options_init(&icd_exec_table, &opts);
    opts.timeout_s = 5;
    opts.discard = 1;
    opts.lines = 2;
    assert_ok(ctx, icd_exec_sample(ctx, "echo 9 1 2 3", &opts, &ms, &steps));
    assert_near(ms, 2, 0);
    assert_int_equal(steps, 3);
    assert_fails(ctx, ICD_EMEASURE, "printed 2 latencies, expected 2 and 1",
                 icd_exec_sample(ctx, "echo 1 2", &opts, &ms, &steps));
    assert_fails(ctx, ICD_EMEASURE, "with lat_ms; its last words: why",
                 icd_exec_sample(ctx, "echo why >&2; echo fast", &opts, &ms, &steps));
    opts.timeout_s = .1;
    assert_fails(ctx, ICD_EMEASURE, "last words: wait",
                 icd_exec_sample(ctx, "echo wait >&2; sleep 60", &opts, &ms, &steps));
    assert_fails(ctx, ICD_EMEASURE, "longer than 0.1 s",
                 icd_exec_sample(ctx, "exec >&- 2>&-; sleep 60", &opts, &ms, &steps));
}

static void places(void **state)
{
    icd_ctx *ctx = *state;
    const icd_exec_place place[] = {{"arm", "a b"}, {"perm", NULL}};
    char *line = NULL;
    assert_ok(ctx, icd_exec_fill(ctx, "x {arm}{arm} ${y} {z} {arm", place, 2, &line));
    assert_string_equal(line, "x 'a b''a b' ${y} {z} {arm");
    icd_mem_free(ctx, line);
    assert_fails(ctx, ICD_EINVAL, "{perm}",
                 icd_exec_fill(ctx, "{perm}", place, 2, &line));
    assert_null(line);
}

static icd_status run_one(icd_ctx *ctx, void *arg)
{
    icd_exec_result r;
    icd_status status = icd_exec_latencies(ctx, arg, "x", 10, &r);
    icd_exec_result_release(ctx, &r);
    return status;
}

static void allocations_may_fail(void **state)
{
    static char command[] = "echo 1 2; echo '[3]' # {model}";
    (void)state;
    icd_test_failing_allocations(run_one, command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(forms_of_latencies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_latency_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(commands, set_up, tear_down),
        cmocka_unit_test_setup_teardown(samples_of_commands, set_up, tear_down),
        cmocka_unit_test_setup_teardown(places, set_up, tear_down),
        cmocka_unit_test(allocations_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
