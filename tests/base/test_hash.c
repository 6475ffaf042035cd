#include "support.h"

#include "base/hash.h"

#include <string.h>

/* Reference values of the XXH64 specification's implementation. */
static void reference_values(void **state)
{
    (void)state;
    assert_true(icd_i_hash(0, "", 0) == 0xef46db3751d8e999);
    assert_true(icd_i_hash(0, "a", 1) == 0xd24ec4f1a98c6e5b);
    assert_true(icd_i_hash(0, "abc", 3) == 0x44bc2cf5ad770999);
}

static void chaining_depends_on_the_order(void **state)
{
    (void)state;
    uint64_t ab = icd_i_hash(icd_i_hash(0, "a", 1), "b", 1);
    uint64_t ba = icd_i_hash(icd_i_hash(0, "b", 1), "a", 1);
    assert_true(ab != ba);
    assert_true(icd_i_hash(1, "a", 1) != icd_i_hash(0, "a", 1));
}

static void hex_round_trips(void **state)
{
    (void)state;
    const uint64_t samples[] = {0, 1, 0xef46db3751d8e999, UINT64_MAX, 1ull << 63};
    for (int i = 0; i < 5; i++) {
        char text[17];
        uint64_t back = 0;
        icd_i_hash_hex(samples[i], text);
        assert_int_equal(strlen(text), 16);
        assert_true(icd_i_hash_parse(text, &back));
        assert_true(back == samples[i]);
    }
    char text[17];
    icd_i_hash_hex(0xef46db3751d8e999, text);
    assert_string_equal(text, "ef46db3751d8e999");
}

static void only_its_own_form_is_read(void **state)
{
    (void)state;
    uint64_t out = 7;
    const char *bad[] = {"",
                         "ef46db3751d8e99",
                         "ef46db3751d8e9990",
                         "EF46DB3751D8E999",
                         "ef46db3751d8e99g",
                         " f46db3751d8e999",
                         "0xf46db3751d8e99"};
    for (int i = 0; i < 7; i++) assert_false(icd_i_hash_parse(bad[i], &out));
    assert_true(out == 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_values),
        cmocka_unit_test(chaining_depends_on_the_order),
        cmocka_unit_test(hex_round_trips),
        cmocka_unit_test(only_its_own_form_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
