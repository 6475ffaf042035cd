#include "support.h"

#include <icd/icd.h>
#include <stdio.h>
#include <string.h>

static void codes_are_stable(void **state)
{
    (void)state;
    assert_string_equal(icd_status_code(ICD_OK), "OK");
    assert_string_equal(icd_status_code(ICD_EINVAL), "E_CFG_001");
    assert_string_equal(icd_status_code(ICD_EIO), "E_IO_501");
    assert_string_equal(icd_status_code(ICD_EGATE), "E_GATE_701");
}

static void exit_codes_follow_the_contract(void **state)
{
    (void)state;
    assert_int_equal(icd_status_exit_code(ICD_OK), 0);
    assert_int_equal(icd_status_exit_code(ICD_EINTERNAL), 1);
    assert_int_equal(icd_status_exit_code(ICD_EINVAL), 2);
    assert_int_equal(icd_status_exit_code(ICD_ENOMEM), 3);
    assert_int_equal(icd_status_exit_code(ICD_EMEASURE), 4);
    assert_int_equal(icd_status_exit_code(ICD_ETIMEOUT), 5);
    assert_int_equal(icd_status_exit_code(ICD_EDATA), 6);
    assert_int_equal(icd_status_exit_code(ICD_EGATE), 7);
}

static void every_status_is_distinct(void **state)
{
    (void)state;
    for (int a = 0; a < ICD_STATUS_COUNT; a++) {
        assert_true(strlen(icd_status_text((icd_status)a)) > 0);
        for (int b = 0; b < a; b++)
            assert_string_not_equal(icd_status_code((icd_status)a),
                                    icd_status_code((icd_status)b));
    }
}

static void values_outside_the_list_are_internal_errors(void **state)
{
    (void)state;
    assert_string_equal(icd_status_code((icd_status)-1), "E_INT_900");
    assert_string_equal(icd_status_code(ICD_STATUS_COUNT), "E_INT_900");
    assert_int_equal(icd_status_exit_code((icd_status)9999), 1);
}

static void version_has_three_numbers(void **state)
{
    (void)state;
    int part[3];
    char rest;
    assert_int_equal(
        sscanf(icd_version(), "%d.%d.%d%c", &part[0], &part[1], &part[2], &rest), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_stable),
        cmocka_unit_test(exit_codes_follow_the_contract),
        cmocka_unit_test(every_status_is_distinct),
        cmocka_unit_test(values_outside_the_list_are_internal_errors),
        cmocka_unit_test(version_has_three_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
