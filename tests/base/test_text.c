#include "support.h"

#include <locale.h>
#include <math.h>
#include <string.h>

#include "base/text.h"

static void grows(void **state)
{
    icd_ctx *ctx = *state;
    icd_text text = {0};
    for (int i = 0; i < 1000; i++)
        assert_ok(ctx, icd_i_text_printf(ctx, &text, "%d,", i % 10));
    assert_int_equal(text.size, 2000);
    assert_int_equal(strlen(text.data), 2000);
    assert_ok(ctx, icd_i_text_add(ctx, &text, "", 0));
    assert_ok(ctx, icd_i_text_puts(ctx, &text, "end"));
    assert_string_equal(text.data + 1998, "9,end");
    icd_i_text_release(ctx, &text);
    assert_null(text.data);
}

static void integers(void **state)
{
    (void)state;
    static const char *const BAD[] = {"",   "-",  "1e3", "1.0", "0x10",
                                      " 1", "1 ", "+-1", "1_0", "9223372036854775808"};
    int64_t value = 0;
    assert_true(icd_i_int_parse("-9223372036854775808", &value));
    assert_true(value == INT64_MIN);
    assert_true(icd_i_int_parse("+010", &value));
    assert_int_equal(value, 10);
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        value = 42;
        assert_false(icd_i_int_parse(BAD[i], &value));
        assert_int_equal(value, 42);
    }
}

static void reals(void **state)
{
    (void)state;
    static const char *const BAD[] = {"",    ".",  "e5",    "1e",    "nan", "inf", ".inf",
                                      "0x1", "1d", "1e999", "1e+-1", "1,5", " 1",  "--1"};
    double value = 0;
    assert_true(icd_i_real_parse("-.5e+1", &value));
    assert_true(value == -5);
    assert_true(icd_i_real_parse("3.", &value));
    assert_true(value == 3);
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        assert_false(icd_i_real_parse(BAD[i], &value));
}

static void any_locale(void **state)
{
    (void)state;
    char text[32];
    double value = 0;
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8")) {
        print_message("skipped: the locale de_DE.UTF-8 is not installed\n");
        skip();
    }
    icd_i_real_print(0.5, text);
    bool parsed = icd_i_real_parse("0.25", &value);
    setlocale(LC_NUMERIC, "C");
    assert_string_equal(text, "0.5");
    assert_true(parsed && value == 0.25);
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
        cmocka_unit_test(grows),
        cmocka_unit_test(integers),
        cmocka_unit_test(reals),
        cmocka_unit_test(any_locale),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
