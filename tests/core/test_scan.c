#include "core/scan.h"

#include "base/rng.h"
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 4711 };

static icd_scan scan_of(const char *text)
{
    return (icd_scan){text, text + strlen(text), 1};
}

static void assert_real(const char *text, double expected, int64_t ulps)
{
    icd_scan scan = scan_of(text);
    double found = NAN;
    assert_true(icd_i_scan_real(&scan, &found));
    assert_ptr_equal(scan.at, scan.end);
    double low = expected, high = expected;
    for (int64_t u = 0; u < ulps; ++u) {
        low = nextafter(low, -INFINITY);
        high = nextafter(high, INFINITY);
    }
    if (!(found >= low && found <= high))
        fail_msg("'%s': found %.17g, expected %.17g", text, found, expected);
}

static void test_reals(void **state)
{
    (void)state;
    static const char *const EXACT[] = {
        "0",       "-0",     "1",           "+1.5", "-2.25", ".5",   "7.",
        "1e3",     "1E-3",   "1e+22",       "0.1",  "1e9",   "3e22", "123456789012345",
        "1.25e-5", "4e0000", "0e999999999",
    };
    for (size_t i = 0; i < sizeof EXACT / sizeof *EXACT; ++i)
        assert_real(EXACT[i], strtod(EXACT[i], NULL), 0);
    assert_real("1e400", INFINITY, 0);
    assert_real("1e-400", 0, 0);
    assert_real("1e99999999999999999999", INFINITY, 0);
    assert_real("123456789012345678901234567890", 123456789012345678901234567890.0, 1);
    assert_real("0.00000000000000000000000000000000000000012345", 1.2345e-40, 1);
}

static void test_random_reals(void **state)
{
    (void)state;
    icd_rng rng;
    icd_i_rng_init(&rng, SEED, 1);
    print_message("seed %d\n", SEED);
    for (int i = 0; i < 20000; ++i) {
        char text[64];
        double value = ldexp(icd_i_rng_unit(&rng), (int)icd_i_rng_below(&rng, 200) - 100);
        snprintf(text, sizeof text, "%.17g", value);
        assert_real(text, value, 1);
        snprintf(text, sizeof text, "%.9g", (double)(float)value);
        icd_scan scan = scan_of(text);
        double found = 0;
        assert_true(icd_i_scan_real(&scan, &found));
        assert_true((float)found == (float)value);
    }
}

static void test_no_reals(void **state)
{
    (void)state;
    static const char *const BAD[] = {"",         "-",     "+",   ".",    "e5",
                                      "1e",       "1e+",   "nan", "-nan", "inf",
                                      "Infinity", "1.2.3", "abc", "1e5.5"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; ++i) {
        icd_scan scan = scan_of(BAD[i]);
        const char *before = scan.at;
        double found = 0;
        if (icd_i_scan_real(&scan, &found))
            fail_msg("'%s' was read as %g", BAD[i], found);
        assert_ptr_equal(scan.at, before);
    }
}

static void test_ints(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } CASE[] = {
        {"0", true, 0},
        {"-17", true, -17},
        {"+5", true, 5},
        {"12.5", false, 0},
        {"1e3", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"x", false, 0},
        {"999999999999999999", true, 999999999999999999},
        {"1000000000000000000", false, 0},
        {"7,", true, 7},
    };
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; ++i) {
        icd_scan scan = scan_of(CASE[i].text);
        int64_t found = 0;
        assert_int_equal(icd_i_scan_int(&scan, &found), CASE[i].ok);
        assert_int_equal(found, CASE[i].value);
    }
}

static void test_lines(void **state)
{
    (void)state;
    icd_scan scan = scan_of("a \r\nb\nc");
    icd_i_scan_next_line(&scan);
    assert_int_equal(scan.line, 2);
    assert_int_equal(*scan.at, 'b');
    icd_i_scan_next_line(&scan);
    icd_i_scan_next_line(&scan);
    assert_int_equal(scan.line, 3);
    assert_ptr_equal(scan.at, scan.end);
    assert_true(icd_i_scan_at_line_end(&scan));
}

static void test_tokens(void **state)
{
    (void)state;
    icd_scan word = scan_of("abc,d"), line = scan_of("\nx"), end = scan_of("");
    icd_scan strange = scan_of("\x01\xff,"), comma = scan_of(",x"),
             longer = scan_of("0123456789012345678901234567890123456789");
    assert_string_equal(icd_i_scan_token(&word).text, "'abc'");
    assert_string_equal(icd_i_scan_token(&line).text, "the end of the line");
    assert_string_equal(icd_i_scan_token(&end).text, "the end of the file");
    assert_string_equal(icd_i_scan_token(&strange).text, "'?\?'");
    assert_string_equal(icd_i_scan_token(&comma).text, "','");
    assert_true(strlen(icd_i_scan_token(&longer).text) < sizeof(icd_token));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reals),    cmocka_unit_test(test_random_reals),
        cmocka_unit_test(test_no_reals), cmocka_unit_test(test_ints),
        cmocka_unit_test(test_lines),    cmocka_unit_test(test_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
