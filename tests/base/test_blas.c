#include "support.h"

#include "base/blas.h"

#include <cblas.h>

static void the_host_s_setting_comes_back_after_the_last_user(void **state)
{
    (void)state;
    openblas_set_num_threads(2);
    int before = openblas_get_num_threads();
    icd_i_blas_alone();
    assert_int_equal(openblas_get_num_threads(), 1);
    icd_i_blas_alone();
    icd_i_blas_shared();
    assert_int_equal(openblas_get_num_threads(), 1);
    icd_i_blas_shared();
    assert_int_equal(openblas_get_num_threads(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_host_s_setting_comes_back_after_the_last_user)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
