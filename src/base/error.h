/**
 * @file error.h
 * How the library reports errors, warnings, progress and events through the context.
 */
#ifndef ICD_BASE_ERROR_H
#define ICD_BASE_ERROR_H

#include <icd/ctx.h>
#include <stdarg.h>

#if defined(__GNUC__)
#define ICD_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define ICD_PRINTF(fmt, args)
#endif

/**
 * Records an error and returns `status`, so that callers write `return icd_i_fail(...)`.
 * The message becomes "place: text; hint". The newest error wins.
 * @param place [in] file, line, byte, option; NULL: none
 * @param hint  [in] what to do; NULL: none
 * @param fmt   [in] what was found and what was expected; no full stop at the end
 */
icd_status icd_i_fail(icd_ctx *ctx, icd_status status, const char *place,
                      const char *hint, const char *fmt, ...) ICD_PRINTF(5, 6);

/** Like icd_i_fail for a system call: appends strerror(err). */
icd_status icd_i_fail_errno(icd_ctx *ctx, icd_status status, const char *place, int err,
                            const char *fmt, ...) ICD_PRINTF(5, 6);

/** Replaces the place of the last error by "outer: place", for callers that know the
 * file. */
icd_status icd_i_fail_within(icd_ctx *ctx, icd_status status, const char *outer);

void icd_i_warn(icd_ctx *ctx, const char *fmt, ...) ICD_PRINTF(2, 3);
void icd_i_progress(icd_ctx *ctx, const char *stage, int64_t done, int64_t total);

/** While held, icd_i_progress says nothing: a stage that calls others many times tells
 * its own steps. Holds nest. */
void icd_i_progress_hold(icd_ctx *ctx, bool hold);

/** True once icd_ctx_cancel was called. Cheap: one relaxed atomic load. */
bool icd_i_cancelled(const icd_ctx *ctx);

/** ICD_ECANCELLED with its message if cancelled, else ICD_OK. */
icd_status icd_i_check_cancel(icd_ctx *ctx);

/** Seconds of the monotonic clock since the context was made. */
double icd_i_ctx_now(const icd_ctx *ctx);

/** Delivers an event to the callback and the log. */
void icd_i_emit(icd_ctx *ctx, const icd_event *event);

/** Count of events emitted and the seconds spent emitting them (their overhead). */
void icd_i_emit_cost(const icd_ctx *ctx, int64_t *events, double *seconds);

#define ICD_TRY(expr)                                                                    \
    do {                                                                                 \
        status = (expr);                                                                 \
        if (status != ICD_OK) goto done;                                                 \
    } while (0)

#endif
