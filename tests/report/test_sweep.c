#include "fixture.h"

#include "report/sweep.h"

#include <string.h>

static void columns_by_name_quotes_and_front(void **state)
{
    static const char TEXT[] = "run,quality,\"config\",lat_ms\r\n"
                               "x,.9,\"a, \"\"b\"\"\",2\r\n"
                               "x,.8,worse,3\r\n"
                               "x,.7,fast,1\r\n"
                               "x,,none,1\r\n"
                               "x,.9,same,2";
    icd_sweep s;
    (void)state;
    assert_ok(ctx, icd_i_sweep_parse(ctx, TEXT, sizeof TEXT - 1, &s));
    assert_int_equal(s.count, 4);
    assert_string_equal(s.row[0].config, "a, \"b\"");
    assert_near(s.row[0].lat_ms, 2, 0);
    assert_near(s.row[0].quality, .9, 0);
    assert_true(s.row[0].front);
    assert_false(s.row[1].front);
    assert_true(s.row[2].front);
    assert_true(s.row[3].front);
    icd_i_sweep_release(ctx, &s);
}

static void other_files_are_refused(void **state)
{
    static const char *const BAD[] = {"", "\n", "config,lat_ms\na,1\n",
                                      "config,lat_ms,quality\n\"a,1,2\n"};
    icd_sweep s;
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        assert_fails(ctx, ICD_EDATA, "sweep.csv",
                     icd_i_sweep_parse(ctx, BAD[i], (int64_t)strlen(BAD[i]), &s));
        assert_null(s.row);
    }
}

static void long_names_are_cut(void **state)
{
    char text[4096] = "config,lat_ms,quality\n";
    icd_sweep s;
    (void)state;
    memset(text + strlen(text), 'x', 3000);
    memcpy(text + 3022, ",1,2\n", 6);
    assert_ok(ctx, icd_i_sweep_parse(ctx, text, (int64_t)strlen(text), &s));
    assert_int_equal(s.count, 1);
    assert_int_equal(strlen(s.row[0].config), 95);
    icd_i_sweep_release(ctx, &s);
}

static icd_status parse_once(icd_ctx *c, void *arg)
{
    icd_sweep s;
    (void)arg;
    icd_status status = icd_i_sweep_parse(c, "config,lat_ms,quality\na,1,2\n", 28, &s);
    icd_i_sweep_release(c, &s);
    return status;
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(parse_once, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_by_name_quotes_and_front),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(long_names_are_cut),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
