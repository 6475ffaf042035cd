#include "fixture.h"

#include "base/file.h"
#include "measure/ncu_csv.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static icd_ncu_table *parse(const char *text)
{
    icd_ncu_table *t = NULL;
    assert_ok(ctx, icd_i_ncu_parse(ctx, text, strlen(text), "ncu.csv", &t));
    return t;
}

static void expect_error(const char *text, const char *message)
{
    icd_ncu_table *t = NULL;
    assert_fails(ctx, ICD_EDATA, message,
                 icd_i_ncu_parse(ctx, text, strlen(text), "ncu.csv", &t));
    assert_null(t);
}

static icd_ncu_table *parse_fake(const char *name)
{
    char path[512], *text = NULL;
    size_t size = 0;
    icd_ncu_table *t = NULL;
    snprintf(path, sizeof path, "%s/tests/fakes/%s", ICD_SOURCE_DIR, name);
    assert_ok(ctx, icd_i_file_read(ctx, path, &text, &size));
    assert_ok(ctx, icd_i_ncu_parse(ctx, text, size, path, &t));
    icd_i_free(ctx, text);
    return t;
}

static double value(const icd_ncu_table *t, int64_t kernel, const char *name)
{
    int64_t c = icd_i_ncu_column(t, name);
    assert_true(c >= 0);
    return t->value[kernel * t->columns + c];
}

static void the_table_of_a_run(void **state)
{
    (void)state;
    icd_ncu_table *t = parse_fake("ncu_raw.csv");
    assert_int_equal(t->kernels, 3);
    assert_int_equal(t->columns, 5);
    assert_string_equal(t->kernel[1].name,
                        "void tile_gemm<(int)8, signed char>(const T2 *, float *, int)");
    assert_string_equal(t->kernel[1].grid, "(132, 1, 1)");
    assert_string_equal(t->kernel[1].cc, "9.0");
    assert_near(value(t, 0, "dram__bytes_read.sum"), 1048576, 0);
    assert_near(value(t, 1, "lts__t_sector_hit_rate.pct"), 80.5, 0);
    assert_near(value(t, 2, "lts__t_sectors.sum"), 1e6, 0);
    assert_int_equal(icd_i_ncu_column(t, "no__such.sum"), -1);
    icd_i_ncu_table_free(ctx, t);
}

static void units_are_brought_to_their_base(void **state)
{
    (void)state;
    icd_ncu_table *t = parse_fake("ncu_wrong.csv");
    assert_near(value(t, 1, "dram__bytes_read.sum"), 10.5e6, 1e-6);
    assert_near(value(t, 1, "lts__t_sectors.sum"), 1e6, 0);
    assert_true(isnan(value(t, 2, "dram__bytes_write.sum")));
    assert_null(t->column[icd_i_ncu_column(t, "dram__bytes_write.sum")].odd);
    assert_string_equal(t->column[0].unit, "byte");
    icd_i_ncu_table_free(ctx, t);
    t = parse("\"ID\",\"Kernel Name\",\"a__t\",\"b__t\",\"c__t\",\"d__t\"\n"
              "\"\",\"\",\"usecond\",\"s\",\"Gbyte/second\",\"register/thread\"\n"
              "\"0\",\"k\",\"1.5\",\"2\",\"3\",\"4\"\n");
    assert_near(t->value[0], 1500, 0);
    assert_near(t->value[1], 2e9, 0);
    assert_near(t->value[2], 3e9, 0);
    assert_near(t->value[3], 4, 0);
    icd_i_ncu_table_free(ctx, t);
}

static void number(const char *text, double expected)
{
    double found = 0;
    if (!icd_i_ncu_number(text, &found)) fail_msg("'%s' is a number", text);
    assert_near(found, expected, 0);
}

static void numbers_have_separators_of_thousands(void **state)
{
    static const char *const BAD[] = {
        "80,50", "1,23,456", "1,2345", ",123",     "1.5,000",    "1,234,", "n/a",
        "",      "12 bytes", "1.2.3",  "1234,567", "27.595.520", "1,234e", "1,,234"};
    double x;
    (void)state;
    number("0", 0);
    number("1,234,567", 1234567);
    number("1,234.50", 1234.5);
    number("-3", -3);
    number("-1,000", -1000);
    number("999", 999);
    number("1.5e+06", 1.5e6);
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        if (icd_i_ncu_number(BAD[i], &x)) fail_msg("'%s' is no number", BAD[i]);
}

static void what_is_no_number_is_kept_for_the_message(void **state)
{
    (void)state;
    icd_ncu_table *t = parse("\"ID\",\"Kernel Name\",\"a__b.pct\"\n"
                             "\"\",\"\",\"%\"\n"
                             "\"0\",\"k\",\"n/a\"\n\"1\",\"k\",\"80,50\"\n");
    assert_string_equal(t->column[0].odd, "80,50");
    assert_true(isnan(t->value[0]) && isnan(t->value[1]));
    icd_i_ncu_table_free(ctx, t);
}

static void lines_around_the_table_belong_to_others(void **state)
{
    (void)state;
    icd_ncu_table *t = parse("epoch 1, loss 3\n\"quoted\" talk\n"
                             "==PROF== Connected to process 1 (/bin/x)\r\n"
                             "\"ID\",\"Kernel Name\",\"a__b\"\r\n"
                             "\"\",\"\",\"byte\"\r\n"
                             "\"0\",\"say \"\"hi\"\", all\",\"7\"\r\n"
                             "==PROF== Disconnected from process 1\r\n"
                             "bye\n");
    assert_int_equal(t->kernels, 1);
    assert_string_equal(t->kernel[0].name, "say \"hi\", all");
    assert_string_equal(t->kernel[0].device, "");
    assert_near(t->value[0], 7, 0);
    icd_i_ncu_table_free(ctx, t);
    t = parse("ID,Kernel Name,a__b\n0,k,1\n");
    assert_int_equal(t->kernels, 1);
    icd_i_ncu_table_free(ctx, t);
}

static void what_does_not_fit_is_named(void **state)
{
    (void)state;
    expect_error("", "no table of kernels");
    expect_error("==ERROR== nothing\n", "no table of kernels");
    expect_error("\"ID\",\"Kernel Name\",\"a__b\"\n\"0\",\"k\"\n",
                 "line 2: found 2 fields, expected 3");
    expect_error("\"ID\",\"Kernel Name\",\"a__b\"\n\"0\",\"k\",\"12",
                 "line 2: a quote stays open");
    expect_error("\"ID\",\"Kernel Name\",\"a__b\"\n\"0\",\"k\"x,\"12\"\n",
                 "line 2: text behind a closing quote");
    expect_error("\"ID\",\"a__b\"\n", "line 1: the table has no column 'Kernel Name'");
    expect_error("\"ID\",\"Kernel Name\"\n", "no column of a metric");
    expect_error("\"ID\",\"Kernel Name\",\"Metric Name\",\"Metric Unit\",\"Metric "
                 "Value\"\n",
                 "--page raw");
}

static icd_status parse_once(icd_ctx *c, void *arg)
{
    icd_ncu_table *t = NULL;
    const char *text = arg;
    icd_status status = icd_i_ncu_parse(c, text, strlen(text), "x", &t);
    icd_i_ncu_table_free(c, t);
    return status;
}

static void allocations_may_fail(void **state)
{
    char text[] =
        "\"ID\",\"Kernel Name\",\"a__b\"\n\"\",\"\",\"byte\"\n\"0\",\"k\",\"7\"\n";
    (void)state;
    icd_test_failing_allocations(parse_once, text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_of_a_run),
        cmocka_unit_test(units_are_brought_to_their_base),
        cmocka_unit_test(numbers_have_separators_of_thousands),
        cmocka_unit_test(what_is_no_number_is_kept_for_the_message),
        cmocka_unit_test(lines_around_the_table_belong_to_others),
        cmocka_unit_test(what_does_not_fit_is_named),
        cmocka_unit_test(allocations_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
