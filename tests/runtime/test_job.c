/* What a transformed model is executed in, by the kernels that a device has. */
#include "runtime/job.h"

#include "support.h"

static void check(int32_t device, int32_t quant, int32_t group, int32_t sparsity,
                  int32_t dtype, bool small)
{
    icd_sparsity_opts s = {.type = sparsity};
    icd_quant_opts q = {.dtype = quant, .group = group};
    assert_int_equal(icd_i_run_dtype(&s, &q, device), dtype);
    assert_int_equal(icd_i_runs_small(&s, &q, device), small);
}

static void test_on_a_cpu(void **state)
{
    (void)state;
    check(ICD_RUN_CPU, ICD_Q_NONE, 0, ICD_S_HDS, ICD_RUN_F32, false);
    check(ICD_RUN_CPU, ICD_Q_BF16, 0, ICD_S_HDS, ICD_RUN_BF16, true);
    check(ICD_RUN_CPU, ICD_Q_INT8, 0, ICD_S_HDS, ICD_RUN_INT8, true);
    check(ICD_RUN_CPU, ICD_Q_INT8, 64, ICD_S_NONE, ICD_RUN_F32, false);
    check(ICD_RUN_CPU, ICD_Q_INT4, 32, ICD_S_NONE, ICD_RUN_INT4, true);
    check(ICD_RUN_CPU, ICD_Q_INT4, 32, ICD_S_HDS, ICD_RUN_F32, false);
    check(ICD_RUN_CPU, ICD_Q_FP8, 0, ICD_S_HDS, ICD_RUN_F32, false);
}

/* No kernel of a GPU multiplies f32, int4, or weights with a scale for part of a row. */
static void test_on_a_gpu(void **state)
{
    (void)state;
    check(ICD_RUN_CUDA, ICD_Q_NONE, 0, ICD_S_HDS, ICD_RUN_BF16, false);
    check(ICD_RUN_CUDA, ICD_Q_BF16, 0, ICD_S_HDS, ICD_RUN_BF16, true);
    check(ICD_RUN_CUDA, ICD_Q_INT8, 0, ICD_S_HDS, ICD_RUN_INT8, true);
    check(ICD_RUN_CUDA, ICD_Q_INT8, 64, ICD_S_NONE, ICD_RUN_BF16, false);
    check(ICD_RUN_CUDA, ICD_Q_INT4, 32, ICD_S_NONE, ICD_RUN_BF16, false);
    check(ICD_RUN_CUDA, ICD_Q_FP8, 0, ICD_S_HDS, ICD_RUN_FP8, true);
    check(ICD_RUN_CUDA, ICD_Q_FP8, 64, ICD_S_NONE, ICD_RUN_BF16, false);
    check(ICD_RUN_CUDA, ICD_Q_FP8_E5M2, 0, ICD_S_NONE, ICD_RUN_BF16, false);
}

static void test_names(void **state)
{
    (void)state;
    for (int32_t i = ICD_RUN_F32; i <= ICD_RUN_FP8; i++)
        assert_int_equal(icd_i_run_dtype_of(icd_i_run_dtype_name(i)), i);
    assert_int_equal(icd_i_run_dtype_of("f16"), ICD_RUN_F32);
    assert_int_equal(icd_i_run_dtype_of(NULL), ICD_RUN_F32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_on_a_cpu),
        cmocka_unit_test(test_on_a_gpu),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
