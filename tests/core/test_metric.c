#include "support.h"

#include <icd/metric.h>

static void test_zero_is_absent(void **state)
{
    (void)state;
    icd_metric metric = {0};
    assert_string_equal(icd_provenance_name(metric.provenance), "ABSENT");
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(icd_provenance_name(ICD_MEASURED), "MEASURED");
    assert_string_equal(icd_provenance_name(ICD_SIMULATED), "SIMULATED");
    assert_string_equal(icd_provenance_name(ICD_MODELLED), "MODELLED");
    assert_string_equal(icd_provenance_name((icd_provenance)99), "ABSENT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero_is_absent),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
