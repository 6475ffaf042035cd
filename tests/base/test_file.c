#include "support.h"

#include "base/file.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A folder of its own for each test, so that what a test leaves behind can be counted. */
static const char *folder(icd_ctx *ctx, const char *name)
{
    const char *path = icd_test_path(name);
    assert_ok(ctx, icd_i_mkdirs(ctx, path));
    return path;
}

static int entries(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));)
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    return count;
}

static void assert_content(icd_ctx *ctx, const char *path, const char *expected)
{
    char *text = NULL;
    size_t size = 0;
    assert_ok(ctx, icd_i_file_read(ctx, path, &text, &size));
    assert_int_equal(size, strlen(expected));
    assert_string_equal(text, expected);
    icd_i_free(ctx, text);
}

static icd_status write_text(icd_ctx *ctx, const char *path, const char *text)
{
    return icd_i_file_write(ctx, path, text, strlen(text));
}

/* ---- reading ---- */

static void what_was_written_is_read(void **state)
{
    icd_ctx *ctx = *state;
    const char *path = icd_test_path("round.bin");
    unsigned char data[100000];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i * 7 >> 3);
    icd_map map;
    assert_ok(ctx, icd_i_file_write(ctx, path, data, sizeof data));
    assert_ok(ctx, icd_i_map_open(ctx, path, &map));
    assert_int_equal(map.size, sizeof data);
    assert_memory_equal(map.data, data, sizeof data);
    icd_i_map_close(&map);
    assert_null(map.data);
    icd_i_map_close(&map);
    icd_i_map_close(
        &(icd_map){0}); /* a zeroed map holds nothing, descriptor 0 least of all */
    assert_true(fcntl(0, F_GETFD) >= 0);
}

static void empty_files(void **state)
{
    icd_ctx *ctx = *state;
    const char *path = icd_test_path("empty");
    icd_map map;
    assert_ok(ctx, icd_i_file_write(ctx, path, NULL, 0));
    assert_ok(ctx, icd_i_map_open(ctx, path, &map));
    assert_int_equal(map.size, 0);
    assert_string_equal((const char *)map.data, "");
    icd_i_map_close(&map);
    assert_content(ctx, path, "");
}

static void what_cannot_be_read_is_told_apart(void **state)
{
    icd_ctx *ctx = *state;
    icd_map map = {.size = 5};
    const char *missing = icd_test_path("missing");
    assert_fails(ctx, ICD_EIO, "No such file", icd_i_map_open(ctx, missing, &map));
    assert_string_equal(icd_ctx_place(ctx), missing);
    assert_null(map.data);
    icd_i_map_close(&map);
    assert_fails(ctx, ICD_EIO, "folder", icd_i_map_open(ctx, icd_test_dir(), &map));
    char *text = (char *)1;
    size_t size = 5;
    assert_fails(ctx, ICD_EIO, "No such file",
                 icd_i_file_read(ctx, missing, &text, &size));
    assert_null(text);
    assert_int_equal(size, 0);
}

/* Runs `body` in a child, as an ordinary user if this is the superuser; returns its exit
 * code. */
static int in_child(icd_ctx *ctx, int (*body)(icd_ctx *, const char *), const char *path)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && setuid(65534) != 0) _exit(99);
        _exit(body(ctx, path));
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int read_is_denied(icd_ctx *ctx, const char *path)
{
    icd_map map;
    return icd_i_map_open(ctx, path, &map) == ICD_EIO &&
                   strstr(icd_ctx_message(ctx), "Permission denied")
               ? 0
               : 1;
}

static void no_permission_to_read(void **state)
{
    icd_ctx *ctx = *state;
    const char *path = icd_test_path("secret");
    assert_ok(ctx, write_text(ctx, path, "x"));
    chmod(icd_test_dir(), 0755);
    chmod(path, 0);
    assert_int_equal(in_child(ctx, read_is_denied, path), 0);
}

static void pipes_and_proc_are_read_to_their_end(void **state)
{
    icd_ctx *ctx = *state;
    const char *path = icd_test_path("fifo");
    enum { SIZE = 300000 };
    assert_int_equal(mkfifo(path, 0600), 0);
    pid_t child = fork();
    if (child == 0) {
        FILE *out = fopen(path, "w");
        for (int i = 0; i < SIZE; i++) fputc(i % 251, out);
        fclose(out);
        _exit(0);
    }
    icd_map map;
    assert_ok(ctx, icd_i_map_open(ctx, path, &map));
    waitpid(child, NULL, 0);
    assert_int_equal(map.size, SIZE);
    for (int i = 0; i < SIZE; i++) assert_int_equal(map.data[i], i % 251);
    icd_i_map_close(&map);

    assert_ok(ctx, icd_i_map_open(ctx, "/proc/self/status", &map));
    assert_memory_equal(map.data, "Name:", 5);
    icd_i_map_close(&map);
}

/* ---- writing ---- */

static void a_file_appears_only_when_published(void **state)
{
    icd_ctx *ctx = *state;
    const char *dir = folder(ctx, "publish");
    const char *path = icd_test_path("publish/a.txt");
    icd_out *out = NULL;
    assert_ok(ctx, icd_i_out_open(ctx, path, &out));
    assert_ok(ctx, icd_i_out_printf(ctx, out, "%d,%s\n", 7, "seven"));
    assert_ok(ctx, icd_i_out_write(ctx, out, "end", 3));
    assert_false(icd_i_file_exists(path));
    assert_int_equal(entries(dir), 1);
    assert_ok(ctx, icd_i_out_close(ctx, out, true));
    assert_content(ctx, path, "7,seven\nend");
    assert_int_equal(entries(dir), 1);

    assert_ok(ctx, icd_i_out_open(ctx, path, &out));
    assert_ok(ctx, icd_i_out_write(ctx, out, "other", 5));
    assert_ok(ctx, icd_i_out_close(ctx, out, false));
    assert_content(ctx, path, "7,seven\nend");
    assert_int_equal(entries(dir), 1);
    assert_ok(ctx, icd_i_out_close(ctx, NULL, true));
}

/* Pieces on both sides of the buffer's size keep their order. */
static void long_and_short_pieces_keep_their_order(void **state)
{
    icd_ctx *ctx = *state;
    const char *path = icd_test_path("pieces");
    const int lengths[] = {1, 32766, 1, 1, 40000, 3, 32768, 0, 32767, 100000, 5};
    char *piece = malloc(100001), *all = calloc(1, 400000);
    icd_out *out = NULL;
    assert_ok(ctx, icd_i_out_open(ctx, path, &out));
    for (int i = 0; i < 11; i++) {
        memset(piece, 'a' + i, (size_t)lengths[i]);
        piece[lengths[i]] = 0;
        if (i % 2)
            assert_ok(ctx, icd_i_out_write(ctx, out, piece, (size_t)lengths[i]));
        else
            assert_ok(ctx, icd_i_out_printf(ctx, out, "%s", piece));
        strcat(all, piece);
    }
    assert_int_equal(write(icd_i_out_fd(out), "direct", 6), 6);
    assert_ok(ctx, icd_i_out_printf(ctx, out, "%s", "last"));
    strcat(all, "directlast");
    assert_ok(ctx, icd_i_out_close(ctx, out, true));
    assert_content(ctx, path, all);
    free(piece);
    free(all);
}

static void two_writers_of_one_name(void **state)
{
    icd_ctx *ctx = *state;
    const char *dir = folder(ctx, "twice");
    const char *path = icd_test_path("twice/x");
    icd_out *a = NULL, *b = NULL;
    assert_ok(ctx, icd_i_out_open(ctx, path, &a));
    assert_ok(ctx, icd_i_out_open(ctx, path, &b));
    assert_ok(ctx, icd_i_out_write(ctx, a, "aa", 2));
    assert_ok(ctx, icd_i_out_write(ctx, b, "b", 1));
    assert_ok(ctx, icd_i_out_close(ctx, a, true));
    assert_content(ctx, path, "aa");
    assert_ok(ctx, icd_i_out_close(ctx, b, true));
    assert_content(ctx, path, "b");
    assert_int_equal(entries(dir), 1);
}

static void links_and_permissions_stay(void **state)
{
    icd_ctx *ctx = *state;
    folder(ctx, "links");
    const char *path = icd_test_path("links/real"), *link = icd_test_path("links/link");
    struct stat info;
    assert_ok(ctx, write_text(ctx, path, "one"));
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(symlink("real", link), 0);
    assert_ok(ctx, write_text(ctx, link, "two"));
    assert_content(ctx, path, "two");
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0640);
}

static void devices_are_not_replaced(void **state)
{
    icd_ctx *ctx = *state;
    struct stat info;
    assert_ok(ctx, write_text(ctx, "/dev/null", "x"));
    assert_int_equal(stat("/dev/null", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
    assert_fails(ctx, ICD_EIO,
                 "/dev/full: cannot write the file: No space left on device",
                 write_text(ctx, "/dev/full", "x"));
}

static void targets_that_cannot_be(void **state)
{
    icd_ctx *ctx = *state;
    const char *dir = folder(ctx, "bad");
    icd_out *out = (icd_out *)1;
    assert_fails(ctx, ICD_EIO, "found a folder, expected a file",
                 icd_i_out_open(ctx, dir, &out));
    assert_null(out);
    assert_fails(ctx, ICD_EIO, "No such file or directory",
                 write_text(ctx, icd_test_path("bad/no/x"), "x"));
    assert_int_equal(entries(dir), 0);
}

/* ---- the world's faults ---- */

static void a_folder_takes_the_name_meanwhile(void **state)
{
    icd_ctx *ctx = *state;
    const char *dir = folder(ctx, "race");
    icd_out *out = NULL;
    assert_ok(ctx, icd_i_out_open(ctx, icd_test_path("race/x"), &out));
    assert_ok(ctx, icd_i_out_write(ctx, out, "x", 1));
    folder(ctx, "race/x");
    assert_fails(ctx, ICD_EIO, "race/x: cannot write the file: Is a directory",
                 icd_i_out_close(ctx, out, true));
    assert_int_equal(entries(dir), 1);
}

static int disk_is_full(icd_ctx *ctx, const char *path)
{
    static const char data[100000];
    struct rlimit limit = {50000, 50000};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    if (icd_i_file_write(ctx, path, data, sizeof data) != ICD_EIO) return 1;
    return strstr(icd_ctx_message(ctx), strerror(EFBIG)) ? 0 : 2;
}

static void a_full_disk_leaves_the_old_file(void **state)
{
    icd_ctx *ctx = *state;
    const char *dir = folder(ctx, "full");
    const char *path = icd_test_path("full/x");
    assert_ok(ctx, write_text(ctx, path, "old"));
    chmod(dir, 0777);
    chmod(path, 0666);
    assert_int_equal(in_child(ctx, disk_is_full, path), 0);
    assert_content(ctx, path, "old");
    assert_int_equal(entries(dir), 1);
}

/* The buffer hides the error until the close, which must not publish then. */
static int disk_is_full_late(icd_ctx *ctx, const char *path)
{
    struct rlimit limit = {5, 5};
    icd_out *out = NULL;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    if (icd_i_out_open(ctx, path, &out) != ICD_OK) return 1;
    if (icd_i_out_write(ctx, out, "0123456789", 10) != ICD_OK) return 2;
    return icd_i_out_close(ctx, out, true) == ICD_EIO ? 0 : 3;
}

static void an_error_at_the_close_is_not_lost(void **state)
{
    icd_ctx *ctx = *state;
    const char *dir = folder(ctx, "late");
    const char *path = icd_test_path("late/x");
    chmod(dir, 0777);
    assert_int_equal(in_child(ctx, disk_is_full_late, path), 0);
    assert_int_equal(entries(dir), 0);
}

static int folder_is_read_only(icd_ctx *ctx, const char *path)
{
    if (write_text(ctx, path, "new") != ICD_EIO) return 1;
    return strstr(icd_ctx_message(ctx), "cannot create the file: Permission denied") ? 0
                                                                                     : 2;
}

static void a_read_only_folder_is_named(void **state)
{
    icd_ctx *ctx = *state;
    const char *dir = folder(ctx, "readonly");
    const char *path = icd_test_path("readonly/x");
    assert_ok(ctx, write_text(ctx, path, "old"));
    chmod(path, 0666);
    chmod(dir, 0555);
    assert_int_equal(in_child(ctx, folder_is_read_only, path), 0);
    chmod(dir, 0755);
    assert_content(ctx, path, "old");
    assert_int_equal(entries(dir), 1);
}

static int killed_while_writing(icd_ctx *ctx, const char *path)
{
    static const char half[70000];
    icd_out *out = NULL;
    if (icd_i_out_open(ctx, path, &out) != ICD_OK) return 1;
    if (icd_i_out_write(ctx, out, half, sizeof half) != ICD_OK) return 2;
    kill(getpid(), SIGKILL);
    return 3;
}

static void a_killed_writer_leaves_the_old_file(void **state)
{
    icd_ctx *ctx = *state;
    const char *dir = folder(ctx, "killed");
    const char *path = icd_test_path("killed/x");
    assert_ok(ctx, write_text(ctx, path, "old"));
    chmod(dir, 0777);
    chmod(path, 0666);
    assert_int_equal(in_child(ctx, killed_while_writing, path), -SIGKILL);
    assert_content(ctx, path, "old");
    assert_int_equal(entries(dir), 2);

    icd_out *mine = NULL; /* temporaries of the living stay */
    assert_ok(ctx, icd_i_out_open(ctx, path, &mine));
    assert_ok(ctx, write_text(ctx, icd_test_path("killed/.tmp.1"), "a file of the user"));
    assert_int_equal(entries(dir), 4);
    icd_i_out_sweep(dir);
    assert_int_equal(entries(dir), 3);
    assert_ok(ctx, icd_i_out_write(ctx, mine, "new", 3));
    assert_ok(ctx, icd_i_out_close(ctx, mine, true));
    assert_content(ctx, path, "new");
    icd_i_out_sweep(icd_test_path("no such folder"));
}

/* ---- folders and paths ---- */

static void folders_with_parents(void **state)
{
    icd_ctx *ctx = *state;
    const char *deep = icd_test_path("deep/er/est");
    assert_ok(ctx, icd_i_mkdirs(ctx, deep));
    assert_true(icd_i_file_exists(deep));
    assert_ok(ctx, icd_i_mkdirs(ctx, deep));
    assert_ok(ctx, icd_i_mkdirs(ctx, icd_test_path("deep//er/other/")));
    assert_true(icd_i_file_exists(icd_test_path("deep/er/other")));
    assert_ok(ctx, icd_i_mkdirs(ctx, "/"));
    assert_ok(ctx, icd_i_mkdirs(ctx, "."));
    assert_fails(ctx, ICD_EIO, "cannot make the folder", icd_i_mkdirs(ctx, ""));
}

static void a_file_in_the_way_of_a_folder(void **state)
{
    icd_ctx *ctx = *state;
    const char *path = icd_test_path("plain");
    assert_ok(ctx, write_text(ctx, path, "x"));
    assert_fails(ctx, ICD_EIO, "found a file, expected a folder",
                 icd_i_mkdirs(ctx, path));
    assert_fails(ctx, ICD_EIO, "found a file, expected a folder",
                 icd_i_mkdirs(ctx, icd_test_path("plain/below")));
    assert_string_equal(icd_ctx_place(ctx), path);
}

static void paths_join(void **state)
{
    icd_ctx *ctx = *state;
    const char *sample[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"/", "b", "/b"}};
    for (int i = 0; i < 4; i++) {
        char *path = NULL;
        assert_ok(ctx, icd_i_path_join(ctx, sample[i][0], sample[i][1], &path));
        assert_string_equal(path, sample[i][2]);
        icd_i_free(ctx, path);
    }
}

/* ---- locks ---- */

static int lock_is_refused(icd_ctx *ctx, const char *path)
{
    char holder[32];
    icd_lock *lock = NULL;
    snprintf(holder, sizeof holder, "held by pid %ld since ", (long)getppid());
    if (icd_i_lock_take(ctx, path, &lock) != ICD_EBUSY || lock) return 1;
    return strstr(icd_ctx_message(ctx), holder) ? 0 : 2;
}

static int lock_is_free(icd_ctx *ctx, const char *path)
{
    icd_lock *lock = NULL;
    return icd_i_lock_take(ctx, path, &lock) == ICD_OK ? 0 : 1; /* dies holding it */
}

static void a_second_process_is_refused(void **state)
{
    icd_ctx *ctx = *state;
    const char *path = icd_test_path("run.lock");
    icd_lock *lock = NULL;
    assert_ok(ctx, icd_i_lock_take(ctx, path, &lock));
    chmod(path, 0666);
    assert_int_equal(in_child(ctx, lock_is_refused, path), 0);
    icd_lock *again = NULL; /* a second lock in the same process is refused, too */
    assert_fails(ctx, ICD_EBUSY, "held by pid", icd_i_lock_take(ctx, path, &again));
    icd_i_lock_release(ctx, lock);
    assert_content(ctx, path, "");
    assert_int_equal(in_child(ctx, lock_is_free, path), 0);
    assert_ok(ctx, icd_i_lock_take(ctx, path, &lock)); /* its holder died */
    icd_i_lock_release(ctx, lock);
    icd_i_lock_release(ctx, NULL);
}

static void a_lock_that_cannot_be_made(void **state)
{
    icd_ctx *ctx = *state;
    icd_lock *lock = (icd_lock *)1;
    assert_fails(ctx, ICD_EIO, "cannot open the lock file",
                 icd_i_lock_take(ctx, icd_test_path("no/folder/lock"), &lock));
    assert_null(lock);
}

/* ---- memory ---- */

static icd_status use_everything(icd_ctx *ctx, void *arg)
{
    (void)arg;
    icd_status status = ICD_OK;
    icd_out *out = NULL;
    icd_lock *lock = NULL;
    char *text = NULL;
    size_t size = 0;
    const char *path = icd_test_path("memory/x");
    ICD_TRY(icd_i_mkdirs(ctx, icd_test_path("memory")));
    ICD_TRY(icd_i_lock_take(ctx, icd_test_path("memory/lock"), &lock));
    ICD_TRY(icd_i_out_open(ctx, path, &out));
    ICD_TRY(icd_i_out_printf(ctx, out, "%40000d", 1));
    status = icd_i_out_close(ctx, out, true);
    out = NULL;
    ICD_TRY(status);
    ICD_TRY(icd_i_file_read(ctx, path, &text, &size));
done:
    icd_i_out_close(ctx, out, false);
    icd_i_lock_release(ctx, lock);
    icd_i_free(ctx, text);
    return status;
}

static void failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(use_everything, NULL);
    assert_int_equal(entries(icd_test_path("memory")), 2);
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
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(empty_files),
        cmocka_unit_test(what_cannot_be_read_is_told_apart),
        cmocka_unit_test(no_permission_to_read),
        cmocka_unit_test(pipes_and_proc_are_read_to_their_end),
        cmocka_unit_test(a_file_appears_only_when_published),
        cmocka_unit_test(long_and_short_pieces_keep_their_order),
        cmocka_unit_test(two_writers_of_one_name),
        cmocka_unit_test(links_and_permissions_stay),
        cmocka_unit_test(devices_are_not_replaced),
        cmocka_unit_test(targets_that_cannot_be),
        cmocka_unit_test(a_folder_takes_the_name_meanwhile),
        cmocka_unit_test(a_full_disk_leaves_the_old_file),
        cmocka_unit_test(an_error_at_the_close_is_not_lost),
        cmocka_unit_test(a_read_only_folder_is_named),
        cmocka_unit_test(a_killed_writer_leaves_the_old_file),
        cmocka_unit_test(folders_with_parents),
        cmocka_unit_test(a_file_in_the_way_of_a_folder),
        cmocka_unit_test(paths_join),
        cmocka_unit_test(a_second_process_is_refused),
        cmocka_unit_test(a_lock_that_cannot_be_made),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
