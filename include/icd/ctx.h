/**
 * @file ctx.h
 * The context: allocator, threads, last error, cancellation, progress and events of one
 * caller.
 *
 * A context belongs to one thread at a time (the library's own worker threads excepted).
 * The library keeps no global state, prints nothing and reads no environment variable.
 */
#ifndef ICD_CTX_H
#define ICD_CTX_H

#include <icd/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct icd_ctx icd_ctx;

/** Memory functions of the caller; `realloc(user, NULL, n)` allocates; failure is NULL.
 */
typedef struct icd_allocator {
    void *(*realloc)(void *user, void *ptr, size_t bytes);
    void (*free)(void *user, void *ptr);
    void *user;
} icd_allocator;

/** Progress of a long call; `total` is 0 where it is unknown, `stage` is a short
 * lower-case name. */
typedef void icd_progress_fn(void *user, const char *stage, int64_t done, int64_t total);

/** A warning: the work goes on, but the user should know. One sentence. */
typedef void icd_warning_fn(void *user, const char *message);

/** One finished step. Times are seconds of the monotonic clock since the context was
 * made. */
typedef struct icd_event {
    const char *stage;     /**< e.g. "graph", "solve" */
    double t_start, t_end; /**< seconds */
    bool ok;
    const char *meta_json; /**< a JSON object with the step's counters; never NULL */
} icd_event;

typedef void icd_event_fn(void *user, const icd_event *event);

/** Zeroed = defaults. */
typedef struct icd_ctx_opts {
    size_t size;             /**< sizeof(icd_ctx_opts) */
    icd_allocator allocator; /**< realloc NULL: the C library's */
    int32_t threads; /**< worker threads; 0: one per CPU that this process may use */
} icd_ctx_opts;

/**
 * A new context.
 * @param opts [in] NULL: defaults
 * @return owned by the caller (icd_ctx_free); NULL only when memory is short
 */
icd_ctx *icd_ctx_new(const icd_ctx_opts *opts);

/** Releases a context and its worker threads; NULL is legal. */
void icd_ctx_free(icd_ctx *ctx);

/** The status of the last call that failed; ICD_OK after icd_ctx_clear. */
icd_status icd_ctx_status(const icd_ctx *ctx);

/**
 * The last error as one sentence: where, what was found, what was expected, what to do.
 * Valid until the next call on this context; "" when there was none.
 */
const char *icd_ctx_message(const icd_ctx *ctx);

/** Only the place of the last error ("config.yaml:7", "W.csr.npz: member data.npy, byte
 * 128"); "" if none. */
const char *icd_ctx_place(const icd_ctx *ctx);

/** Only the advice of the last error; "" if none. */
const char *icd_ctx_hint(const icd_ctx *ctx);

/** Forgets the last error. */
void icd_ctx_clear(icd_ctx *ctx);

/** Asks the running call to stop; callable from a signal handler or another thread. */
void icd_ctx_cancel(icd_ctx *ctx);

/** Withdraws a cancellation. */
void icd_ctx_uncancel(icd_ctx *ctx);

/** Number of threads that parallel steps use (>= 1). */
int32_t icd_ctx_threads(const icd_ctx *ctx);

/** Where progress, warnings and events go; NULL: nowhere. */
void icd_ctx_on_progress(icd_ctx *ctx, icd_progress_fn *fn, void *user);
void icd_ctx_on_warning(icd_ctx *ctx, icd_warning_fn *fn, void *user);
void icd_ctx_on_event(icd_ctx *ctx, icd_event_fn *fn, void *user);

/**
 * Sends every event to a JSON Lines file as well
 * ({"stage","t_start","t_end","ok","meta"}), one write(2) and flush per event; appends to
 * an existing file. NULL closes it.
 * @return ICD_OK | ICD_EIO
 */
icd_status icd_ctx_log_open(icd_ctx *ctx, const char *path);

/** Seconds of the monotonic clock since the context was made: the clock of events. */
double icd_ctx_now(const icd_ctx *ctx);

/** Delivers an event of the caller to the callback and the log, like the library's own.
 */
void icd_ctx_emit(icd_ctx *ctx, const icd_event *event);

/** Frees memory that a function of the library handed out as text or a plain array; NULL
 * is legal. */
void icd_mem_free(icd_ctx *ctx, void *ptr);

#ifdef __cplusplus
}
#endif
#endif
