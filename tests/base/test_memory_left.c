#include "fixture.h"

#include "base/mem.h"
#include "base/memory_left.h"

#include <math.h>
#include <string.h>

static void there_is_some_and_less_than_everything(void **state)
{
    (void)state;
    double left = icd_i_memory_left();
    assert_true(left > 0);
    assert_true(isinf(left) || left < 1e15);
}

/* The kernel would promise it. */
static void what_is_too_large_is_refused_with_figures(void **state)
{
    (void)state;
    char *block = NULL;
    double left = icd_i_memory_left();
    if (isinf(left)) {
        print_message("skipped: this process cannot tell what is left\n");
        return;
    }
    assert_int_equal(ICD_ALLOC(ctx, (int64_t)(left + 0x1p32), &block), ICD_ENOMEM);
    assert_null(block);
    assert_non_null(strstr(icd_ctx_message(ctx), "GiB are left"));
    assert_ok(ctx, ICD_ALLOC(ctx, 300 << 20, &block)); /* untouched: nothing is taken */
    icd_i_free(ctx, block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_some_and_less_than_everything),
        cmocka_unit_test(what_is_too_large_is_refused_with_figures),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
