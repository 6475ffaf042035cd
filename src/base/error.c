#include "base/error.h"

#include "base/clock.h"
#include "base/ctx_private.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

/* Appends text to a string in a buffer of `size` bytes; an end that does not fit becomes
 * "...". */
static void append(char *buffer, size_t size, const char *text)
{
    size_t used = strlen(buffer);
    size_t room = size - used - 1;
    size_t length = strlen(text);
    memcpy(buffer + used, text, length < room ? length : room);
    buffer[used + (length < room ? length : room)] = 0;
    if (length > room) memcpy(buffer + size - 4, "...", 4);
}

static void format(char *buffer, size_t size, const char *fmt, va_list args)
{
    int length = vsnprintf(buffer, size, fmt, args);
    if (length >= (int)size) memcpy(buffer + size - 4, "...", 4);
}

static void compose_message(icd_error *e)
{
    e->message[0] = 0;
    append(e->message, sizeof e->message, e->place);
    append(e->message, sizeof e->message, e->place[0] ? ": " : "");
    append(e->message, sizeof e->message, e->text);
    append(e->message, sizeof e->message, e->hint[0] ? "; " : "");
    append(e->message, sizeof e->message, e->hint);
}

/* The arguments may point into the error that is being replaced, hence the copy. */
static icd_status record(icd_ctx *ctx, icd_status status, const char *place,
                         const char *hint, const char *text)
{
    if (!ctx) return status;
    icd_error e = {.status = status};
    append(e.place, sizeof e.place, place ? place : "");
    append(e.text, sizeof e.text, text);
    append(e.hint, sizeof e.hint, hint ? hint : "");
    compose_message(&e);
    ctx->error = e;
    return status;
}

icd_status icd_i_fail(icd_ctx *ctx, icd_status status, const char *place,
                      const char *hint, const char *fmt, ...)
{
    char text[sizeof((icd_error *)NULL)->text];
    va_list args;
    va_start(args, fmt);
    format(text, sizeof text, fmt, args);
    va_end(args);
    return record(ctx, status, place, hint, text);
}

icd_status icd_i_fail_errno(icd_ctx *ctx, icd_status status, const char *place, int err,
                            const char *fmt, ...)
{
    char text[sizeof((icd_error *)NULL)->text];
    char reason[128];
    va_list args;
    va_start(args, fmt);
    format(text, sizeof text, fmt, args);
    va_end(args);
    append(text, sizeof text, ": ");
    append(text, sizeof text, strerror_r(err, reason, sizeof reason));
    return record(ctx, status, place, NULL, text);
}

icd_status icd_i_fail_within(icd_ctx *ctx, icd_status status, const char *outer)
{
    if (!ctx) return status;
    icd_error e = ctx->error;
    e.place[0] = 0;
    append(e.place, sizeof e.place, outer);
    append(e.place, sizeof e.place, ctx->error.place[0] ? ": " : "");
    append(e.place, sizeof e.place, ctx->error.place);
    compose_message(&e);
    ctx->error = e;
    return status;
}

void icd_i_warn(icd_ctx *ctx, const char *fmt, ...)
{
    if (!ctx->on_warning) return;
    char text[sizeof((icd_error *)NULL)->message];
    va_list args;
    va_start(args, fmt);
    format(text, sizeof text, fmt, args);
    va_end(args);
    ctx->on_warning(ctx->warning_user, text);
}

void icd_i_progress(icd_ctx *ctx, const char *stage, int64_t done, int64_t total)
{
    if (ctx->progress_held) return;
    if (ctx->on_progress) ctx->on_progress(ctx->progress_user, stage, done, total);
}

void icd_i_progress_hold(icd_ctx *ctx, bool hold)
{
    ctx->progress_held += hold ? 1 : -1;
}

bool icd_i_cancelled(const icd_ctx *ctx)
{
    return atomic_load_explicit(&ctx->cancelled, memory_order_relaxed) != 0;
}

icd_status icd_i_check_cancel(icd_ctx *ctx)
{
    if (!icd_i_cancelled(ctx)) return ICD_OK;
    return icd_i_fail(ctx, ICD_ECANCELLED, NULL, NULL, "cancelled by the caller");
}

double icd_i_ctx_now(const icd_ctx *ctx)
{
    return icd_i_now() - ctx->born;
}

/* Whole nanoseconds as text: printf's own decimal point follows the locale, JSON's does
 * not. */
static void seconds_text(char out[48], double seconds)
{
    int64_t ns = seconds > 0 && seconds < 9e9 ? (int64_t)(seconds * 1e9 + 0.5) : 0;
    snprintf(out, 48, "%" PRId64 ".%09" PRId64, ns / 1000000000, ns % 1000000000);
}

static void json_escape(char *out, size_t size, const char *text)
{
    char one[8];
    out[0] = 0;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == '"' || c == '\\')
            snprintf(one, sizeof one, "\\u%04x", c);
        else
            snprintf(one, sizeof one, "%c", c);
        if (strlen(out) + strlen(one) >= size) return;
        strcat(out, one);
    }
}

/* One writev(2) on an O_APPEND descriptor: lines of several processes do not mix, and the
 * length of the counters is not bounded by a buffer. */
static bool write_line(int fd, const icd_event *event)
{
    char stage[256], start[48], end[48], head[512];
    json_escape(stage, sizeof stage, event->stage);
    seconds_text(start, event->t_start);
    seconds_text(end, event->t_end);
    int length = snprintf(
        head, sizeof head,
        "{\"stage\":\"%s\",\"t_start\":%s,\"t_end\":%s,\"ok\":%s,\"meta\":", stage, start,
        end, event->ok ? "true" : "false");
    struct iovec part[3] = {
        {head, (size_t)length},
        {(void *)(uintptr_t)event->meta_json, strlen(event->meta_json)},
        {(void *)(uintptr_t) "}\n", 2}};
    size_t total = part[0].iov_len + part[1].iov_len + part[2].iov_len;
    ssize_t written;
    do written = writev(fd, part, 3);
    while (written < 0 && errno == EINTR);
    return written == (ssize_t)total;
}

void icd_i_emit(icd_ctx *ctx, const icd_event *event)
{
    assert(event->stage && event->meta_json);
    double start = icd_i_now();
    if (ctx->on_event) ctx->on_event(ctx->event_user, event);
    if (ctx->log_fd >= 0 && !write_line(ctx->log_fd, event) && !ctx->log_failed) {
        ctx->log_failed = true;
        icd_i_warn(
            ctx,
            "the event log cannot be written (disk full?): events are missing in it");
    }
    ctx->events++;
    ctx->event_seconds += icd_i_now() - start;
}

void icd_i_emit_cost(const icd_ctx *ctx, int64_t *events, double *seconds)
{
    *events = ctx->events;
    *seconds = ctx->event_seconds;
}

double icd_ctx_now(const icd_ctx *ctx)
{
    return icd_i_ctx_now(ctx);
}

void icd_ctx_emit(icd_ctx *ctx, const icd_event *event)
{
    icd_i_emit(ctx, event);
}
