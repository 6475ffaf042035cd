#include <icd/ctx.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/ctx_private.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_THREADS = 1024 };

_Static_assert(ATOMIC_INT_LOCK_FREE == 2,
               "icd_ctx_cancel is called from signal handlers");

static void *libc_realloc(void *user, void *ptr, size_t bytes)
{
    (void)user;
    return realloc(ptr, bytes);
}

static void libc_free(void *user, void *ptr)
{
    (void)user;
    free(ptr);
}

/* A caller built against an older, shorter struct gets defaults for what it does not
 * know. */
static icd_ctx_opts resolve_opts(const icd_ctx_opts *in)
{
    icd_ctx_opts opts = {0};
    if (in)
        memcpy(&opts, in, in->size && in->size < sizeof opts ? in->size : sizeof opts);
    if (opts.threads <= 0) opts.threads = icd_i_cpu_count();
    if (opts.threads > MAX_THREADS) opts.threads = MAX_THREADS;
    return opts;
}

icd_ctx *icd_ctx_new(const icd_ctx_opts *in)
{
    icd_ctx_opts opts = resolve_opts(in);
    bool libc = !opts.allocator.realloc;
    if (libc) opts.allocator = (icd_allocator){libc_realloc, libc_free, NULL};

    size_t bytes = sizeof(icd_ctx) + (size_t)(opts.threads - 1) * sizeof(pthread_t);
    icd_ctx *ctx = opts.allocator.realloc(opts.allocator.user, NULL, bytes);
    if (!ctx) return NULL;
    memset(ctx, 0, bytes);
    ctx->allocator = opts.allocator;
    ctx->libc = libc;
    ctx->threads = opts.threads;
    ctx->born = icd_i_now();
    ctx->log_fd = -1;
    atomic_init(&ctx->cancelled, 0);
    icd_i_pool_init(&ctx->pool, (pthread_t *)(ctx + 1));
    return ctx;
}

void icd_ctx_free(icd_ctx *ctx)
{
    if (!ctx) return;
    icd_i_pool_release(&ctx->pool);
    if (ctx->log_fd >= 0) close(ctx->log_fd);
    ctx->allocator.free(ctx->allocator.user, ctx);
}

icd_status icd_ctx_status(const icd_ctx *ctx)
{
    return ctx->error.status;
}

const char *icd_ctx_message(const icd_ctx *ctx)
{
    return ctx->error.message;
}

const char *icd_ctx_place(const icd_ctx *ctx)
{
    return ctx->error.place;
}

const char *icd_ctx_hint(const icd_ctx *ctx)
{
    return ctx->error.hint;
}

void icd_ctx_clear(icd_ctx *ctx)
{
    ctx->error = (icd_error){0};
}

void icd_ctx_cancel(icd_ctx *ctx)
{
    atomic_store_explicit(&ctx->cancelled, 1, memory_order_relaxed);
}

void icd_ctx_uncancel(icd_ctx *ctx)
{
    atomic_store_explicit(&ctx->cancelled, 0, memory_order_relaxed);
}

int32_t icd_ctx_threads(const icd_ctx *ctx)
{
    return ctx->threads;
}

void icd_ctx_on_progress(icd_ctx *ctx, icd_progress_fn *fn, void *user)
{
    ctx->on_progress = fn;
    ctx->progress_user = user;
}

void icd_ctx_on_warning(icd_ctx *ctx, icd_warning_fn *fn, void *user)
{
    ctx->on_warning = fn;
    ctx->warning_user = user;
}

void icd_ctx_on_event(icd_ctx *ctx, icd_event_fn *fn, void *user)
{
    ctx->on_event = fn;
    ctx->event_user = user;
}

icd_status icd_ctx_log_open(icd_ctx *ctx, const char *path)
{
    int fd = -1;
    if (path) {
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (fd < 0)
            return icd_i_fail_errno(ctx, ICD_EIO, path, errno, "cannot open the log");
    }
    if (ctx->log_fd >= 0) close(ctx->log_fd);
    ctx->log_fd = fd;
    ctx->log_failed = false;
    return ICD_OK;
}

void icd_mem_free(icd_ctx *ctx, void *ptr)
{
    icd_i_free(ctx, ptr);
}
