#include "support.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/scratch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_file(icd_ctx *ctx, const char *dir, const char *name)
{
    char *path = NULL;
    assert_ok(ctx, icd_i_path_join(ctx, dir, name, &path));
    assert_ok(ctx, icd_i_file_write(ctx, path, "x", 1));
    icd_i_free(ctx, path);
}

static void a_folder_goes_with_all_that_is_in_it(void **state)
{
    icd_ctx *ctx = *state;
    char *dir = NULL, *inner = NULL, *link = NULL, *copy = NULL;
    const char *kept = icd_test_path("kept");
    assert_ok(ctx, icd_i_mkdirs(ctx, kept));
    write_file(ctx, kept, "file");
    assert_ok(ctx, icd_i_scratch_new(ctx, "test", &dir));
    assert_non_null(strstr(dir, "/icd-test-"));
    struct stat info;
    assert_int_equal(stat(dir, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_ok(ctx, icd_i_path_join(ctx, dir, "a/b", &inner));
    assert_ok(ctx, icd_i_path_join(ctx, dir, "link", &link));
    assert_ok(ctx, icd_i_mkdirs(ctx, inner));
    write_file(ctx, inner, "one");
    write_file(ctx, dir, "two");
    assert_int_equal(symlink(kept, link), 0);
    assert_ok(ctx, icd_i_strdup(ctx, dir, &copy));
    icd_i_scratch_remove(ctx, dir);
    assert_false(icd_i_file_exists(copy));
    assert_true(icd_i_file_exists(kept)); /* a link's target is not ours */
    assert_ok(ctx, icd_i_path_join(ctx, kept, "file", &dir));
    assert_true(icd_i_file_exists(dir));
    icd_i_free(ctx, dir);
    icd_i_free(ctx, copy);
    icd_i_free(ctx, inner);
    icd_i_free(ctx, link);
    icd_i_scratch_remove(ctx, NULL);
}

static void tmpdir_is_obeyed(void **state)
{
    icd_ctx *ctx = *state;
    char *dir = NULL;
    const char *root = icd_test_path("elsewhere");
    assert_ok(ctx, icd_i_mkdirs(ctx, root));
    setenv("TMPDIR", root, 1);
    assert_ok(ctx, icd_i_scratch_new(ctx, "test", &dir));
    assert_memory_equal(dir, root, strlen(root));
    icd_i_scratch_remove(ctx, dir);
    setenv("TMPDIR", "/does/not/exist", 1);
    assert_fails(ctx, ICD_EIO, "/does/not/exist", icd_i_scratch_new(ctx, "test", &dir));
    assert_null(dir);
    unsetenv("TMPDIR");
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
        cmocka_unit_test(a_folder_goes_with_all_that_is_in_it),
        cmocka_unit_test(tmpdir_is_obeyed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
