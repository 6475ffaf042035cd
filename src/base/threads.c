#include "base/threads.h"

#include "base/ctx_private.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static void run_chunks(icd_pool *pool, icd_chunk_fn *fn, void *arg, int64_t chunks,
                       int32_t worker)
{
    for (;;) {
        int64_t chunk = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (chunk >= chunks) return;
        fn(arg, chunk, chunks, worker);
    }
}

static void *worker_main(void *user)
{
    icd_pool *pool = user;
    uint64_t seen = 0;
    pthread_mutex_lock(&pool->lock);
    int32_t worker = ++pool->joined;
    for (;;) {
        while (!pool->stop && (!pool->fn || pool->job == seen))
            pthread_cond_wait(&pool->wake, &pool->lock);
        if (pool->stop) break;
        icd_chunk_fn *fn = pool->fn;
        void *arg = pool->arg;
        int64_t chunks = pool->chunks;
        seen = pool->job;
        pool->active++;
        pthread_mutex_unlock(&pool->lock);
        run_chunks(pool, fn, arg, chunks, worker);
        pthread_mutex_lock(&pool->lock);
        if (--pool->active == 0) pthread_cond_signal(&pool->idle);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

void icd_i_pool_init(icd_pool *pool, pthread_t *thread)
{
    memset(pool, 0, sizeof *pool);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->idle, NULL);
    atomic_init(&pool->next, 0);
    atomic_init(&pool->busy, false);
    pool->thread = thread;
}

/* Workers start with every signal blocked, so that the program's handlers run on its own
 * threads. Where the system gives fewer threads than asked for, the work is done by those
 * there are. */
static void start_workers(icd_pool *pool, int32_t wanted)
{
    if (pool->owner == getpid()) return;
    if (pool->owner)
        icd_i_pool_init(pool, pool->thread); /* a fork: the workers did not follow */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->started < wanted &&
           pthread_create(&pool->thread[pool->started], NULL, worker_main, pool) == 0)
        pool->started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pool->owner = getpid();
}

void icd_i_pool_release(icd_pool *pool)
{
    if (pool->owner != getpid()) return;
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int32_t i = 0; i < pool->started; i++) pthread_join(pool->thread[i], NULL);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->idle);
}

static void post_job(icd_pool *pool, icd_chunk_fn *fn, void *arg, int64_t chunks)
{
    pthread_mutex_lock(&pool->lock);
    pool->fn = fn;
    pool->arg = arg;
    pool->chunks = chunks;
    pool->job++;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

/* Closes the job first, so that a worker that wakes only now does not enter it any more.
 */
static void finish_job(icd_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->fn = NULL;
    while (pool->active > 0) pthread_cond_wait(&pool->idle, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

void icd_i_parallel(icd_ctx *ctx, int64_t chunks, icd_chunk_fn *fn, void *arg)
{
    icd_pool *pool = &ctx->pool;
    bool nested = atomic_load_explicit(&pool->busy, memory_order_relaxed);
    if (nested || ctx->threads == 1 || chunks <= 1) {
        for (int64_t chunk = 0; chunk < chunks; chunk++) fn(arg, chunk, chunks, 0);
        return;
    }
    start_workers(pool, ctx->threads - 1);
    atomic_store_explicit(&pool->busy, true, memory_order_relaxed);
    post_job(pool, fn, arg, chunks);
    run_chunks(pool, fn, arg, chunks, 0);
    finish_job(pool);
    atomic_store_explicit(&pool->busy, false, memory_order_relaxed);
}

void icd_i_chunk_range(int64_t n, int64_t chunk, int64_t chunks, int64_t *begin,
                       int64_t *end)
{
    int64_t part = n / chunks, rest = n % chunks;
    *begin = chunk * part + (chunk < rest ? chunk : rest);
    *end = *begin + part + (chunk < rest ? 1 : 0);
}
