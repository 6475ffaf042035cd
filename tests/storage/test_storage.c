#include "fixture.h"

#include "base/file.h"
#include "storage/cache.h"
#include "storage/rundir.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void state_survives_a_restart(void **state)
{
    icd_rundir *dir = NULL;
    icd_run_state saved = {.stage = 3,
                           .config_hash = 0x123456789abcdef0u,
                           .model_hash = 7},
                  read;
    (void)state;
    assert_ok(ctx, icd_i_rundir_open(ctx, icd_test_path("run/deep"), &dir));
    assert_ok(ctx, icd_i_rundir_read_state(ctx, dir, &read));
    assert_int_equal(read.stage, 0);
    assert_ok(ctx, icd_i_rundir_write_state(ctx, dir, &saved));
    icd_i_rundir_close(ctx, dir);
    assert_ok(ctx, icd_i_rundir_open(ctx, icd_test_path("run/deep"), &dir));
    assert_ok(ctx, icd_i_rundir_read_state(ctx, dir, &read));
    assert_int_equal(read.stage, 3);
    assert_true(read.config_hash == saved.config_hash && read.model_hash == 7);
    icd_i_rundir_close(ctx, dir);
}

static void damaged_state_is_a_fresh_run(void **state)
{
    static const char *const BAD[] = {
        "", "{", "[]", "{\"stage\":2}",
        "{\"stage\":-1,\"config_hash\":\"0\",\"model_hash\":\"0\"}"};
    icd_rundir *dir = NULL;
    icd_run_state read;
    (void)state;
    assert_ok(ctx, icd_i_rundir_open(ctx, icd_test_path("damaged"), &dir));
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        assert_ok(ctx, icd_i_file_write(ctx, icd_i_rundir_path(ctx, dir, "state.json"),
                                        BAD[i], strlen(BAD[i])));
        assert_ok(ctx, icd_i_rundir_read_state(ctx, dir, &read));
        assert_int_equal(read.stage, 0);
    }
    icd_i_rundir_close(ctx, dir);
}

/* Another process is refused while the first holds the directory. */
static void second_run_is_refused(void **state)
{
    icd_rundir *dir = NULL;
    int exit_state = 0;
    (void)state;
    assert_ok(ctx, icd_i_rundir_open(ctx, icd_test_path("busy"), &dir));
    pid_t child = fork();
    if (child == 0) {
        icd_ctx *other = icd_ctx_new(NULL);
        icd_rundir *second = NULL;
        icd_status status = icd_i_rundir_open(other, icd_test_path("busy"), &second);
        _exit(status == ICD_EBUSY && !second ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &exit_state, 0), child);
    assert_int_equal(exit_state, 0);
    icd_i_rundir_close(ctx, dir);
    assert_ok(ctx, icd_i_rundir_open(ctx, icd_test_path("busy"), &dir));
    icd_i_rundir_close(ctx, dir);
}

static void cache_returns_what_was_put(void **state)
{
    const int32_t pi[] = {2, 0, 1};
    icd_perm *perm = NULL, *back = NULL;
    const char *dir = icd_test_path("cache");
    (void)state;
    assert_ok(ctx, icd_perm_from_array(ctx, pi, 3, 9, "test", &perm));
    assert_ok(ctx, icd_i_cache_get(ctx, dir, 42, 3, 9, &back));
    assert_null(back);
    assert_ok(ctx, icd_i_cache_put(ctx, dir, 42, perm));
    assert_ok(ctx, icd_i_cache_get(ctx, dir, 42, 3, 9, &back));
    assert_memory_equal(back->old_of_new, pi, sizeof pi);
    icd_perm_free(ctx, back);
    /* another size, another frame: not what was asked for */
    assert_ok(ctx, icd_i_cache_get(ctx, dir, 42, 4, 9, &back));
    assert_null(back);
    assert_ok(ctx, icd_i_cache_get(ctx, dir, 42, 3, 8, &back));
    assert_null(back);
    icd_perm_free(ctx, perm);
}

static void damaged_entry_is_ignored(void **state)
{
    icd_perm *back = NULL;
    const char *dir = icd_test_path("bad-cache");
    char path[512];
    (void)state;
    assert_ok(ctx, icd_i_mkdirs(ctx, dir));
    snprintf(path, sizeof path, "%s/000000000000002a.perm.json", dir);
    assert_ok(ctx, icd_i_file_write(ctx, path, "{\"pi\":[0,0]}", 12));
    assert_ok(ctx, icd_i_cache_get(ctx, dir, 42, 2, 0, &back));
    assert_null(back);
    assert_int_equal(icd_ctx_status(ctx), ICD_OK);
}

static void put(icd_rundir *dir, const char *folder, const char *name, const char *text)
{
    const char *path = NULL;
    assert_ok(ctx, icd_i_rundir_folder_path(ctx, dir, folder, name, &path));
    assert_ok(ctx, icd_i_file_write(ctx, path, text, strlen(text)));
}

static void assert_file(icd_rundir *dir, const char *name, const char *text)
{
    char *found = NULL;
    size_t size = 0;
    assert_ok(ctx,
              icd_i_file_read(ctx, icd_i_rundir_path(ctx, dir, name), &found, &size));
    assert_string_equal(found, text);
    icd_i_free(ctx, found);
}

/* The files of a folder replace those of the same names at the top; the folder keeps
   them, others stay, and a file that is written anew later is another one. */
static void a_folder_is_shown_at_the_top(void **state)
{
    icd_rundir *dir = NULL;
    (void)state;
    assert_ok(ctx, icd_i_rundir_open(ctx, icd_test_path("shown"), &dir));
    put(dir, ".", "mine", "stays");
    put(dir, ".", "a.json", "old");
    put(dir, "rounds/1", "a.json", "one");
    put(dir, "rounds/1/model", "w", "weights one");
    put(dir, "rounds/2", "a.json", "two");
    for (int twice = 0; twice < 2; twice++) {
        assert_ok(ctx, icd_i_rundir_publish(ctx, dir, "rounds/1"));
        assert_file(dir, "a.json", "one");
    }
    assert_ok(ctx, icd_i_rundir_publish(ctx, dir, "rounds/2"));
    assert_file(dir, "a.json", "two");
    assert_file(dir, "model/w", "weights one");
    assert_file(dir, "rounds/1/a.json", "one");
    assert_file(dir, "mine", "stays");
    put(dir, ".", "a.json", "anew");
    assert_file(dir, "rounds/2/a.json", "two");
    assert_fails(ctx, ICD_EIO, "rounds/3", icd_i_rundir_publish(ctx, dir, "rounds/3"));
    icd_i_rundir_close(ctx, dir);
}

static icd_status open_and_save(icd_ctx *c, void *arg)
{
    icd_rundir *dir = NULL;
    icd_run_state saved = {.stage = 1};
    icd_status status = icd_i_rundir_open(c, arg, &dir);
    if (status == ICD_OK) status = icd_i_rundir_write_state(c, dir, &saved);
    icd_i_rundir_close(c, dir);
    return status;
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(open_and_save, (void *)(intptr_t)icd_test_path("alloc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_survives_a_restart),
        cmocka_unit_test(damaged_state_is_a_fresh_run),
        cmocka_unit_test(second_run_is_refused),
        cmocka_unit_test(cache_returns_what_was_put),
        cmocka_unit_test(damaged_entry_is_ignored),
        cmocka_unit_test(a_folder_is_shown_at_the_top),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
