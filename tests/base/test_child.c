#include "support.h"

#include "base/child.h"

#include <string.h>

enum { MOST = 1 << 20 };

static icd_status shell(icd_ctx *ctx, const char *script, double timeout, icd_child *out)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    return icd_i_child_run(ctx, argv, timeout, MOST, out);
}

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

static void output_error_and_exit_code(void **state)
{
    icd_ctx *ctx = *state;
    icd_child c;
    assert_ok(ctx, shell(ctx, "echo one; echo two >&2; exit 3", 10, &c));
    assert_string_equal(c.out, "one\n");
    assert_string_equal(c.error, "two");
    assert_int_equal(c.exit_code, 3);
    icd_i_child_release(ctx, &c);
    assert_ok(ctx, shell(ctx, "kill -9 $$", 10, &c));
    assert_int_equal(c.exit_code, -1);
    assert_int_equal(c.signal, 9);
    icd_i_child_release(ctx, &c);
}

static void long_output_and_the_end_of_long_errors(void **state)
{
    icd_ctx *ctx = *state;
    icd_child c;
    assert_ok(ctx, shell(ctx, "seq 1 50000; seq 1 50000 >&2", 20, &c));
    assert_int_equal(c.size, 288894);
    assert_string_equal(c.error + strlen(c.error) - 5, "50000");
    icd_i_child_release(ctx, &c);
}

static void failures_are_told(void **state)
{
    icd_ctx *ctx = *state;
    icd_child c;
    const char *missing[] = {"/no/such/program", NULL}, *loud[] = {"seq", "100000", NULL};
    assert_fails(ctx, ICD_EMEASURE, "cannot be started",
                 icd_i_child_run(ctx, missing, 1, MOST, &c));
    assert_fails(ctx, ICD_EMEASURE, "more than 1000 bytes",
                 icd_i_child_run(ctx, loud, 10, 1000, &c));
    assert_fails(ctx, ICD_EMEASURE, "ran longer than 0.2 s",
                 shell(ctx, "sleep 100 & wait", .2, &c));
    assert_null(c.out);
}

static icd_status run_true(icd_ctx *ctx, void *arg)
{
    icd_child c;
    icd_status status = shell(ctx, "echo text", 10, &c);
    (void)arg;
    icd_i_child_release(ctx, &c);
    return status;
}

static void allocations_may_fail(void **state)
{
    (void)state;
    icd_test_failing_allocations(run_true, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(output_error_and_exit_code, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_output_and_the_end_of_long_errors, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(failures_are_told, set_up, tear_down),
        cmocka_unit_test(allocations_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
