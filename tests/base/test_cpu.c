#include "support.h"

#include "base/cpu.h"

#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void the_reference_is_everywhere(void **state)
{
    (void)state;
    assert_true(icd_i_cpu_has(ICD_ISA_REF));
    assert_false(icd_i_cpu_has(ICD_ISA_COUNT));
    assert_true(icd_i_cpu_has(icd_i_cpu_best()));
    for (int isa = (int)icd_i_cpu_best() + 1; isa < ICD_ISA_COUNT; isa++)
        assert_false(icd_i_cpu_has((icd_isa)isa));
    if (icd_i_cpu_has(ICD_ISA_VNNI)) assert_true(icd_i_cpu_has(ICD_ISA_AVX512));
    if (icd_i_cpu_has(ICD_ISA_AMX)) assert_true(icd_i_cpu_has(ICD_ISA_VNNI));
}

static void levels_have_names(void **state)
{
    (void)state;
    assert_string_equal(icd_i_isa_name(ICD_ISA_REF), "ref");
    assert_string_equal(icd_i_isa_name(ICD_ISA_AVX512), "avx512");
    assert_string_equal(icd_i_isa_name(ICD_ISA_COUNT), "unknown");
}

static void the_model_fits_any_buffer(void **state)
{
    (void)state;
    char large[256], small[4];
    icd_i_cpu_model(large, sizeof large);
    icd_i_cpu_model(small, sizeof small);
    assert_true(strlen(large) > 0);
    assert_null(strchr(large, '\n'));
    assert_true(strlen(small) <= 3);
    assert_memory_equal(small, large, strlen(small));
}

/* Counts in a child, whose own affinity this changes. */
static int count_when_bound_to_one(void)
{
    pid_t child = fork();
    if (child == 0) {
        cpu_set_t set;
        sched_getaffinity(0, sizeof set, &set);
        size_t first = 0;
        while (!CPU_ISSET(first, &set)) first++;
        CPU_ZERO(&set);
        CPU_SET(first, &set);
        sched_setaffinity(0, sizeof set, &set);
        _exit(icd_i_cpu_count());
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}

static void the_count_follows_the_affinity(void **state)
{
    (void)state;
    assert_true(icd_i_cpu_count() >= 1);
    assert_int_equal(count_when_bound_to_one(), 1);
}

static void caches_grow_with_their_level(void **state)
{
    (void)state;
    int64_t l1 = icd_i_cpu_cache(1), l2 = icd_i_cpu_cache(2), l3 = icd_i_cpu_cache(3);
    assert_true(l1 >= 0 && l2 >= 0 && l3 >= 0);
    if (l1 && l2) assert_true(l1 >= 4096 && l2 >= l1);
    if (l2 && l3) assert_true(l3 >= l2);
    assert_int_equal(icd_i_cpu_cache(0), 0);
    assert_int_equal(icd_i_cpu_cache(9), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_is_everywhere),
        cmocka_unit_test(levels_have_names),
        cmocka_unit_test(the_model_fits_any_buffer),
        cmocka_unit_test(the_count_follows_the_affinity),
        cmocka_unit_test(caches_grow_with_their_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
