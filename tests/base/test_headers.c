/* Every header compiles alone: the public ones as C11 and as C++17, the internal ones as
 * C11. */
#include "support.h"

#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool runs(const char *compiler)
{
    char command[256];
    snprintf(command, sizeof command, "%s --version > /dev/null 2>&1", compiler);
    return system(command) == 0;
}

/* Included twice: that it stands alone, and that it is guarded. */
static int compile_alone(const char *compiler, const char *flags, const char *header)
{
    char command[2048];
    snprintf(
        command, sizeof command,
        "printf '#include \"%%s\"\\n#include \"%%s\"\\n' '%s' '%s' | %s %s -Wall -Wextra "
        "-Wpedantic -Werror -fsyntax-only -I'%s/include' -I'%s/src' -",
        header, header, compiler, flags, ICD_SOURCE_DIR, ICD_SOURCE_DIR);
    return system(command) == 0 ? 0 : 1;
}

static void check_all(const char *pattern, const char *compiler, const char *flags)
{
    glob_t found = {0};
    char path[1024];
    int failed = 0;
    if (!runs(compiler)) {
        print_message("skipped: no %s here\n", compiler);
        skip();
    }
    snprintf(path, sizeof path, "%s/%s", ICD_SOURCE_DIR, pattern);
    assert_int_equal(glob(path, 0, NULL, &found), 0);
    assert_true(found.gl_pathc > 5);
    for (size_t i = 0; i < found.gl_pathc; i++)
        failed += compile_alone(compiler, flags, found.gl_pathv[i]);
    globfree(&found);
    assert_int_equal(failed, 0);
}

static void public_headers_as_c11(void **state)
{
    (void)state;
    check_all("include/icd/*.h", "cc", "-x c -std=c11");
}

static void public_headers_as_cpp17(void **state)
{
    (void)state;
    check_all("include/icd/*.h", "c++", "-x c++ -std=c++17");
}

static void base_headers_as_c11(void **state)
{
    (void)state;
    check_all("src/base/*.h", "cc", "-x c -std=c11 -D_GNU_SOURCE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(public_headers_as_c11),
        cmocka_unit_test(public_headers_as_cpp17),
        cmocka_unit_test(base_headers_as_c11),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
