#include "support.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void icd_test_assert_ok(icd_ctx *ctx, icd_status status, const char *expr,
                        const char *file, int line)
{
    if (status == ICD_OK) return;
    print_error("%s\n  %s: %s\n", expr, icd_status_code(status),
                ctx ? icd_ctx_message(ctx) : icd_status_text(status));
    _fail(file, line);
}

void icd_test_assert_fails(icd_ctx *ctx, icd_status expected, const char *text,
                           icd_status status, const char *expr, const char *file,
                           int line)
{
    const char *message = icd_ctx_message(ctx);
    if (status == expected && strstr(message, text)) return;
    print_error("%s\n  expected %s with \"%s\"\n  found %s: %s\n", expr,
                icd_status_code(expected), text, icd_status_code(status), message);
    _fail(file, line);
}

/* Counts what is allocated and makes one request fail. */
typedef struct counting {
    int64_t requests, live;
    int64_t fail_at; /* 1-based; 0: never */
} counting;

static void *counting_realloc(void *user, void *ptr, size_t bytes)
{
    counting *c = user;
    if (++c->requests == c->fail_at) return NULL;
    void *fresh = realloc(ptr, bytes);
    if (fresh && !ptr) c->live++;
    return fresh;
}

static void counting_free(void *user, void *ptr)
{
    counting *c = user;
    if (ptr) c->live--;
    free(ptr);
}

/* @return whether the chosen allocation was reached */
static bool run_failing(icd_test_fn *fn, void *arg, int64_t fail_at)
{
    counting c = {0};
    icd_ctx_opts opts = {.size = sizeof opts,
                         .allocator = {counting_realloc, counting_free, &c},
                         .threads = 2};
    icd_ctx *ctx = icd_ctx_new(&opts);
    assert_non_null(ctx);
    c.requests = 0;
    c.fail_at = fail_at;
    icd_status status = fn(ctx, arg);
    bool reached = c.requests >= fail_at;
    c.fail_at = 0;
    if (reached && status != ICD_OK && status != ICD_ENOMEM)
        fail_msg("allocation %lld failing gives %s, expected %s: %s", (long long)fail_at,
                 icd_status_code(status), icd_status_code(ICD_ENOMEM),
                 icd_ctx_message(ctx));
    if (!reached && status != ICD_OK)
        fail_msg("without a failing allocation: %s", icd_ctx_message(ctx));
    icd_ctx_free(ctx);
    if (c.live != 0)
        fail_msg("allocation %lld failing leaves %lld allocations behind",
                 (long long)fail_at, (long long)c.live);
    return reached;
}

void icd_test_failing_allocations(icd_test_fn *fn, void *arg)
{
    int64_t fail_at = 1;
    while (run_failing(fn, arg, fail_at)) fail_at++;
}

static char test_dir[256];
static pid_t test_dir_owner;

static int remove_entry(const char *path, const struct stat *info, int kind,
                        struct FTW *at)
{
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

static void remove_test_dir(void)
{
    if (test_dir_owner == getpid())
        nftw(test_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *icd_test_dir(void)
{
    if (test_dir[0]) return test_dir;
    const char *base = getenv("TMPDIR");
    snprintf(test_dir, sizeof test_dir, "%s/icd-test-XXXXXX",
             base && *base ? base : "/tmp");
    if (!mkdtemp(test_dir)) {
        perror(test_dir);
        abort();
    }
    test_dir_owner = getpid();
    atexit(remove_test_dir);
    return test_dir;
}

static const char *in_ring(const char *folder, const char *name)
{
    static char ring[16][1024];
    static unsigned next;
    char *path = ring[next++ % 16];
    snprintf(path, sizeof ring[0], "%s/%s", folder, name);
    return path;
}

const char *icd_test_path(const char *name)
{
    return in_ring(icd_test_dir(), name);
}

const char *icd_test_shared(const char *name)
{
    const char *path = in_ring(ICD_SOURCE_DIR "/../shared/real", name);
    return access(path, R_OK) == 0 ? path : NULL;
}
