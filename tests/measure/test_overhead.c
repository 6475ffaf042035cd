#include "fixture.h"

#include <icd/meter.h>

#include <dirent.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

static int files_in(const char *path)
{
    int n = 0;
    const struct dirent *e;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while ((e = readdir(dir)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) n++;
    closedir(dir);
    return n;
}

static void test_measured(void **state)
{
    icd_overhead bare, logged;
    const char *dir = icd_test_path("scratch");
    (void)state;
    mkdir(dir, 0755);
    assert_ok(ctx, icd_overhead_measure(ctx, NULL, &bare));
    assert_ok(ctx, icd_overhead_measure(ctx, dir, &logged));
    assert_true(bare.event_s > 0 && bare.clock_s > 0 && logged.event_s > 0);
    assert_int_equal(files_in(dir), 0);
    assert_fails(ctx, ICD_EIO, "scratch event log",
                 icd_overhead_measure(ctx, "/nowhere/at/all", &logged));
}

static void test_shares(void **state)
{
    icd_overhead cost = {.event_s = 2e-6, .clock_s = 5e-8};
    (void)state;
    icd_metric events = icd_overhead_events(&cost, 1000, 1);
    assert_string_equal(events.name, "event_overhead");
    assert_near(events.value, .2, 1e-12);
    assert_int_equal(events.provenance, ICD_MODELLED);
    assert_int_equal(events.count, 1000);
    assert_true(icd_overhead_fits(&events));
    events = icd_overhead_events(&cost, 10000, 1);
    assert_false(icd_overhead_fits(&events)); /* 2 % */
    icd_metric clock = icd_overhead_clock(&cost, 200000, 0, 1);
    assert_near(clock.value, 2, 1e-12);
    assert_true(icd_overhead_fits(&clock));
    clock = icd_overhead_clock(&cost, 600000, 0, 1);
    assert_false(icd_overhead_fits(&clock)); /* 6 % */
    clock = icd_overhead_clock(&cost, 10, 0, 0);
    assert_int_equal(clock.provenance, ICD_ABSENT);
    assert_non_null(clock.reason);
    assert_false(icd_overhead_fits(&clock));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measured),
        cmocka_unit_test(test_shares),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
