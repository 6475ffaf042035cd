#include "core/spot.h"

#include "support.h"

#include <string.h>

static void test_with_and_without_file(void **state)
{
    (void)state;
    assert_string_equal(icd_i_spot("W.mtx", "line %d", 7).text, "W.mtx: line 7");
    assert_string_equal(icd_i_spot(NULL, "slot %d", 3).text, "slot 3");
}

/* The end of a path says more than its beginning, and the line must stay. */
static void test_long_file(void **state)
{
    (void)state;
    char path[1000];
    memset(path, 'a', sizeof path);
    memcpy(path + sizeof path - 6, "W.mtx", 6);
    icd_spot spot = icd_i_spot(path, "line %d", 7);
    const char *end = strstr(spot.text, "aW.mtx: line 7");
    assert_non_null(end);
    assert_true(strncmp(spot.text, "...", 3) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_with_and_without_file),
        cmocka_unit_test(test_long_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
