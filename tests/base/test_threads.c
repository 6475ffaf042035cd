#include "support.h"

#include "base/threads.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHUNKS = 200 };

typedef struct tally {
    icd_ctx *ctx;
    int32_t visits[CHUNKS];
    _Atomic int32_t inner, wrong;
    _Atomic uint32_t workers; /* bit per worker seen */
    atomic_bool in_use[64];
} tally;

static icd_ctx *ctx_with(int32_t threads)
{
    icd_ctx_opts opts = {.size = sizeof opts, .threads = threads};
    icd_ctx *ctx = icd_ctx_new(&opts);
    assert_non_null(ctx);
    return ctx;
}

static void visit(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    tally *t = arg;
    (void)chunks;
    if (worker < 0 || worker >= icd_ctx_threads(t->ctx)) atomic_fetch_add(&t->wrong, 1);
    if (atomic_exchange(&t->in_use[worker], true)) atomic_fetch_add(&t->wrong, 1);
    t->visits[chunk]++;
    atomic_store(&t->in_use[worker], false);
}

static void every_chunk_once(void **state)
{
    (void)state;
    const int32_t threads[] = {1, 2, 3, 8};
    const int64_t chunks[] = {0, 1, 2, 3, CHUNKS};
    for (int i = 0; i < 4; i++) {
        tally t = {.ctx = ctx_with(threads[i])};
        for (int k = 0; k < 5; k++) {
            memset(t.visits, 0, sizeof t.visits);
            icd_i_parallel(t.ctx, chunks[k], visit, &t);
            for (int64_t c = 0; c < CHUNKS; c++)
                assert_int_equal(t.visits[c], c < chunks[k] ? 1 : 0);
        }
        assert_int_equal(t.wrong, 0);
        icd_ctx_free(t.ctx);
    }
}

static void many_short_jobs(void **state)
{
    (void)state;
    tally t = {.ctx = ctx_with(4)};
    for (int job = 0; job < 3000; job++) icd_i_parallel(t.ctx, 5, visit, &t);
    for (int c = 0; c < 5; c++) assert_int_equal(t.visits[c], 3000);
    assert_int_equal(t.wrong, 0);
    icd_ctx_free(t.ctx);
}

static void count_inner(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    (void)chunk;
    (void)chunks;
    tally *t = arg;
    if (worker != 0) atomic_fetch_add(&t->wrong, 1);
    atomic_fetch_add(&t->inner, 1);
}

static void nest(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    (void)chunk;
    (void)chunks;
    (void)worker;
    tally *t = arg;
    icd_i_parallel(t->ctx, 7, count_inner, t);
}

static void nested_calls_run_inline(void **state)
{
    (void)state;
    tally t = {.ctx = ctx_with(3)};
    icd_i_parallel(t.ctx, 50, nest, &t);
    assert_int_equal(t.inner, 350);
    assert_int_equal(t.wrong, 0);
    icd_i_parallel(t.ctx, CHUNKS, visit, &t); /* the pool is usable again */
    for (int c = 0; c < CHUNKS; c++) assert_int_equal(t.visits[c], 1);
    icd_ctx_free(t.ctx);
}

/* Each waits until the other has arrived: passes only if both run at the same time. */
static void meet(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    (void)chunk;
    (void)chunks;
    tally *t = arg;
    atomic_fetch_or(&t->workers, 1u << worker);
    atomic_fetch_add(&t->inner, 1);
    while (atomic_load(&t->inner) < 2) usleep(100);
}

static void chunks_really_run_side_by_side(void **state)
{
    (void)state;
    tally t = {.ctx = ctx_with(2)};
    icd_i_parallel(t.ctx, 2, meet, &t);
    assert_int_equal(t.workers, 3);
    icd_ctx_free(t.ctx);
}

static void dawdle(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    meet(arg, chunk, chunks, worker);
    if (worker == 0) return;
    usleep(20000);
    ((tally *)arg)->visits[chunk] = 1;
}

static void the_caller_waits_for_the_slowest(void **state)
{
    (void)state;
    tally t = {.ctx = ctx_with(2)};
    icd_i_parallel(t.ctx, 2, dawdle, &t);
    assert_int_equal(t.visits[0] + t.visits[1], 1);
    icd_ctx_free(t.ctx);
}

static void signals_blocked(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    sigset_t mask;
    meet(arg, chunk, chunks, worker);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    if (worker != 0 && !sigismember(&mask, SIGINT))
        atomic_fetch_add(&((tally *)arg)->wrong, 1);
}

static void workers_leave_signals_to_the_program(void **state)
{
    (void)state;
    tally t = {.ctx = ctx_with(2)};
    icd_i_parallel(t.ctx, 2, signals_blocked, &t);
    assert_int_equal(t.wrong, 0);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    assert_false(sigismember(&mask, SIGINT));
    icd_ctx_free(t.ctx);
}

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#endif

static void a_fork_gets_its_own_workers(void **state)
{
    (void)state;
#ifdef UNDER_TSAN
    print_message("skipped: ThreadSanitizer refuses threads in a fork\n");
    skip();
#endif
    tally t = {.ctx = ctx_with(2)};
    icd_i_parallel(t.ctx, 2, meet, &t);
    pid_t child = fork();
    if (child == 0) {
        tally own = {.ctx = t.ctx};
        icd_i_parallel(own.ctx, 2, meet, &own);
        bool both = own.workers == 3;
        icd_ctx_free(own.ctx);
        _exit(both ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    child = fork();
    if (child == 0) { /* releasing without using */
        icd_ctx_free(t.ctx);
        _exit(0);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    icd_ctx_free(t.ctx);
}

static void cancel_midway(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    (void)chunks;
    (void)worker;
    tally *t = arg;
    if (chunk == 3) icd_ctx_cancel(t->ctx);
    if (!icd_i_cancelled(t->ctx)) atomic_fetch_add(&t->inner, 1);
}

static void workers_see_a_cancellation(void **state)
{
    (void)state;
    tally t = {.ctx = ctx_with(2)};
    icd_i_parallel(t.ctx, CHUNKS, cancel_midway, &t);
    assert_true(t.inner < CHUNKS);
    assert_true(icd_i_cancelled(t.ctx));
    icd_ctx_free(t.ctx);
}

static void ranges_partition(void **state)
{
    (void)state;
    const int64_t sizes[] = {0, 1, 2, 7, 64, 1000003};
    for (int s = 0; s < 6; s++) {
        for (int64_t chunks = 1; chunks < 70; chunks++) {
            int64_t reached = 0;
            for (int64_t c = 0; c < chunks; c++) {
                int64_t begin = -1, end = -1;
                icd_i_chunk_range(sizes[s], c, chunks, &begin, &end);
                assert_int_equal(begin, reached);
                assert_true(end - begin == sizes[s] / chunks ||
                            end - begin == sizes[s] / chunks + 1);
                reached = end;
            }
            assert_int_equal(reached, sizes[s]);
        }
    }
}

static void ranges_do_not_overflow(void **state)
{
    (void)state;
    int64_t begin = 0, end = 0;
    icd_i_chunk_range(INT64_MAX, 9, 10, &begin, &end);
    assert_true(begin > 0 && end == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_chunk_once),
        cmocka_unit_test(many_short_jobs),
        cmocka_unit_test(nested_calls_run_inline),
        cmocka_unit_test(chunks_really_run_side_by_side),
        cmocka_unit_test(the_caller_waits_for_the_slowest),
        cmocka_unit_test(workers_leave_signals_to_the_program),
        cmocka_unit_test(a_fork_gets_its_own_workers),
        cmocka_unit_test(workers_see_a_cancellation),
        cmocka_unit_test(ranges_partition),
        cmocka_unit_test(ranges_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
