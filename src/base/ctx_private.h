/**
 * @file ctx_private.h
 * What an icd_ctx consists of; for the files of base that implement it.
 */
#ifndef ICD_BASE_CTX_PRIVATE_H
#define ICD_BASE_CTX_PRIVATE_H

#include "base/threads.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

/**
 * The last error. The buffers are part of the context so that reporting ENOMEM needs no
 * memory; what does not fit ends in "...".
 */
typedef struct icd_error {
    icd_status status;
    char place[1024];
    char text[1024];
    char hint[512];
    char message[2576]; /**< "place: text; hint" */
} icd_error;

/**
 * The worker threads; started by the first icd_i_parallel. `lock` guards everything but
 * `next`, `busy` and the fields that only the owner of the context touches (`started`,
 * `owner`).
 */
typedef struct icd_pool {
    pthread_mutex_t lock;
    pthread_cond_t wake; /**< there is a new job, or stop */
    pthread_cond_t idle; /**< the last active worker left the job */
    icd_chunk_fn *fn;    /**< NULL: no job */
    void *arg;
    int64_t chunks;
    uint64_t job;         /**< number of the job, so that no worker enters it twice */
    int32_t active;       /**< workers inside the job */
    int32_t joined;       /**< workers that took their number */
    bool stop;            /**< workers shall end */
    _Atomic int64_t next; /**< next chunk to hand out */
    atomic_bool busy;     /**< a job is running: a further call is a nested one */
    int32_t started;      /**< workers that exist; at most threads - 1 */
    pid_t owner;          /**< process that started them; a fork has none */
    pthread_t *thread;    /**< [threads - 1], behind the context */
} icd_pool;

struct icd_ctx {
    icd_allocator allocator;
    bool libc;                 /**< the allocator is the C library's */
    struct icd_region *region; /**< NULL, or where blocks come from: base/region.h */
    int32_t threads;
    double born;
    atomic_int cancelled;
    icd_error error;
    icd_progress_fn *on_progress;
    void *progress_user;
    int32_t progress_held; /* a caller reports its own steps instead */
    icd_warning_fn *on_warning;
    void *warning_user;
    icd_event_fn *on_event;
    void *event_user;
    int log_fd;      /**< -1: none */
    bool log_failed; /**< the user was warned that the log cannot be written */
    int64_t events;
    double event_seconds;
    icd_pool pool;
};

void icd_i_pool_init(icd_pool *pool, pthread_t *thread);
/** Ends and joins the workers. */
void icd_i_pool_release(icd_pool *pool);

#endif
