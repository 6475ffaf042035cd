#include "fixture.h"

#include "base/file.h"
#include "measure/clock.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

static void put(const char *name, const char *text)
{
    char path[512], *slash;
    snprintf(path, sizeof path, "%s/%s", icd_test_path("cpu"), name);
    slash = strrchr(path, '/');
    *slash = 0;
    assert_ok(ctx, icd_i_mkdirs(ctx, path));
    *slash = '/';
    assert_ok(ctx, icd_i_file_write(ctx, path, text, strlen(text)));
}

/* A tree like the kernel's, and one that is empty as in many containers. */
static void reads_what_the_kernel_tells(void **state)
{
    icd_clock c = {0};
    (void)state;
    put("cpu1/cpufreq/scaling_governor", "schedutil\n");
    put("intel_pstate/no_turbo", "0\n");
    put("cpu1/thermal_throttle/core_throttle_count", "4\n");
    put("cpu1/thermal_throttle/package_throttle_count", "3\n");
    icd_i_clock_state(icd_test_path("cpu"), 1, &c);
    assert_string_equal(c.governor, "schedutil");
    assert_string_equal(c.boost, "on");
    assert_int_equal(icd_i_throttle_count(icd_test_path("cpu"), 1), 7);
    put("intel_pstate/no_turbo", "1\n");
    icd_i_clock_state(icd_test_path("cpu"), 0, &c);
    assert_string_equal(c.boost, "off");
    assert_string_equal(c.governor, "");
    c = (icd_clock){0};
    icd_i_clock_state("/nowhere", 0, &c);
    assert_string_equal(c.boost, "");
    assert_int_equal(icd_i_throttle_count("/nowhere", 0), -1);
}

static void clocks_go_forward(void **state)
{
    double from = icd_i_raw_now();
    uint64_t ticks = icd_i_ticks();
    (void)state;
    double mhz = icd_i_core_mhz();
    assert_true(icd_i_raw_now() > from);
#if defined(__x86_64__)
    assert_true(icd_i_ticks() > ticks);
    assert_true(mhz > 100 && mhz < 20000);
#else
    assert_int_equal(icd_i_ticks(), ticks);
    assert_near(mhz, 0, 0);
#endif
}

static int cpus_now(void)
{
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    return CPU_COUNT(&set);
}

static void pins_and_lets_go(void **state)
{
    icd_pin pin;
    char chosen[64], one[64];
    int before = cpus_now();
    (void)state;
    assert_ok(ctx, icd_i_pin(ctx, "off", 1, &pin, chosen, sizeof chosen));
    assert_string_equal(chosen, "not pinned");
    assert_int_equal(cpus_now(), before);
    assert_ok(ctx, icd_i_pin(ctx, "auto", 1, &pin, one, sizeof one));
    assert_int_equal(cpus_now(), 1);
    icd_i_unpin(&pin);
    assert_int_equal(cpus_now(), before);
    assert_ok(ctx, icd_i_pin(ctx, one, 1, &pin, chosen, sizeof chosen));
    assert_string_equal(chosen, one);
    icd_i_unpin(&pin);
    icd_i_unpin(&pin);
    assert_int_equal(cpus_now(), before);
}

static void refuses_other_lists(void **state)
{
    static const char *const BAD[] = {"",    "x",      "1,",   ",1", "2-1",
                                      "0-x", "999999", "0,,1", "-1", "0 1"};
    icd_pin pin;
    char chosen[64];
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        assert_fails(ctx, ICD_EINVAL, "measure.pin",
                     icd_i_pin(ctx, BAD[i], 1, &pin, chosen, sizeof chosen));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_kernel_tells),
        cmocka_unit_test(clocks_go_forward),
        cmocka_unit_test(pins_and_lets_go),
        cmocka_unit_test(refuses_other_lists),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
