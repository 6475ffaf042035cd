#include "support.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- errors ---- */

static void a_new_context_has_no_error(void **state)
{
    icd_ctx *ctx = *state;
    assert_int_equal(icd_ctx_status(ctx), ICD_OK);
    assert_string_equal(icd_ctx_message(ctx), "");
    assert_string_equal(icd_ctx_place(ctx), "");
    assert_string_equal(icd_ctx_hint(ctx), "");
}

static void a_message_is_place_text_hint(void **state)
{
    icd_ctx *ctx = *state;
    icd_status status = icd_i_fail(ctx, ICD_EINVAL, "a.yaml:7", "use one of x, y",
                                   "found %d, expected %s", 3, "a name");
    assert_int_equal(status, ICD_EINVAL);
    assert_int_equal(icd_ctx_status(ctx), ICD_EINVAL);
    assert_string_equal(icd_ctx_message(ctx),
                        "a.yaml:7: found 3, expected a name; use one of x, y");
    assert_string_equal(icd_ctx_place(ctx), "a.yaml:7");
    assert_string_equal(icd_ctx_hint(ctx), "use one of x, y");

    icd_i_fail(ctx, ICD_EDATA, NULL, NULL, "alone");
    assert_string_equal(icd_ctx_message(ctx), "alone");
    assert_string_equal(icd_ctx_place(ctx), "");
}

static void clear_forgets(void **state)
{
    icd_ctx *ctx = *state;
    icd_i_fail(ctx, ICD_EDATA, "here", "hint", "text");
    icd_ctx_clear(ctx);
    a_new_context_has_no_error(state);
}

static void system_errors_say_why(void **state)
{
    icd_ctx *ctx = *state;
    assert_fails(ctx, ICD_EIO, "x.bin: cannot open 2: No such file or directory",
                 icd_i_fail_errno(ctx, ICD_EIO, "x.bin", ENOENT, "cannot open %d", 2));
}

static void places_nest(void **state)
{
    icd_ctx *ctx = *state;
    icd_i_fail(ctx, ICD_EDATA, "member data.npy", "write it anew", "damaged");
    assert_int_equal(icd_i_fail_within(ctx, ICD_EDATA, "W.npz"), ICD_EDATA);
    assert_string_equal(icd_ctx_message(ctx),
                        "W.npz: member data.npy: damaged; write it anew");
    assert_string_equal(icd_ctx_place(ctx), "W.npz: member data.npy");

    icd_i_fail(ctx, ICD_EDATA, NULL, NULL, "damaged");
    icd_i_fail_within(ctx, ICD_EDATA, "W.npz");
    assert_string_equal(icd_ctx_message(ctx), "W.npz: damaged");
}

static void long_messages_end_in_dots(void **state)
{
    icd_ctx *ctx = *state;
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    icd_i_fail(ctx, ICD_EDATA, text, text, "%s", text);
    size_t length = strlen(icd_ctx_message(ctx));
    assert_true(length > 1000 && length < 5000);
    assert_string_equal(icd_ctx_message(ctx) + length - 3, "...");
    assert_string_equal(icd_ctx_place(ctx) + strlen(icd_ctx_place(ctx)) - 3, "...");
    icd_i_fail_errno(ctx, ICD_EDATA, text, ENOENT, "%s", text);
    icd_i_fail_within(ctx, ICD_EDATA, text);
    icd_i_warn(ctx, "%s", text);
}

static void an_error_may_quote_the_one_it_replaces(void **state)
{
    icd_ctx *ctx = *state;
    icd_i_fail(ctx, ICD_EDATA, "place", "hint", "inner");
    icd_i_fail(ctx, ICD_EIO, icd_ctx_place(ctx), icd_ctx_hint(ctx), "outer (%s)",
               icd_ctx_message(ctx));
    assert_string_equal(icd_ctx_message(ctx), "place: outer (place: inner; hint); hint");
}

static void errors_without_a_context_keep_their_status(void **state)
{
    (void)state;
    assert_int_equal(icd_i_fail(NULL, ICD_EDATA, NULL, NULL, "x"), ICD_EDATA);
    assert_int_equal(icd_i_fail_within(NULL, ICD_EDATA, "x"), ICD_EDATA);
}

/* ---- life ---- */

static void *no_memory(void *user, void *ptr, size_t bytes)
{
    (void)user;
    (void)ptr;
    (void)bytes;
    return NULL;
}

static void no_free(void *user, void *ptr)
{
    (void)user;
    (void)ptr;
}

static void no_memory_no_context(void **state)
{
    (void)state;
    icd_ctx_opts opts = {.size = sizeof opts, .allocator = {no_memory, no_free, NULL}};
    assert_null(icd_ctx_new(&opts));
    icd_ctx_free(NULL);
}

static void thread_counts(void **state)
{
    (void)state;
    const int32_t asked[] = {0, 1, 3, -5, INT32_MAX};
    for (int i = 0; i < 5; i++) {
        icd_ctx_opts opts = {.size = sizeof opts, .threads = asked[i]};
        icd_ctx *ctx = icd_ctx_new(&opts);
        int32_t got = icd_ctx_threads(ctx);
        assert_true(got >= 1 && got <= 1024);
        if (asked[i] == 1 || asked[i] == 3) assert_int_equal(got, asked[i]);
        icd_ctx_free(ctx);
    }
}

static void shorter_options_of_older_callers(void **state)
{
    (void)state;
    icd_ctx_opts opts = {.size = offsetof(icd_ctx_opts, threads), .threads = 7};
    icd_ctx *older = icd_ctx_new(&opts), *plain = icd_ctx_new(NULL);
    assert_int_equal(icd_ctx_threads(older), icd_ctx_threads(plain));
    icd_ctx_free(older);
    icd_ctx_free(plain);
}

/* ---- cancellation, progress, warnings ---- */

static icd_ctx *to_cancel;

static void on_signal(int number)
{
    (void)number;
    icd_ctx_cancel(to_cancel);
}

static void a_signal_handler_cancels(void **state)
{
    icd_ctx *ctx = to_cancel = *state;
    assert_false(icd_i_cancelled(ctx));
    assert_ok(ctx, icd_i_check_cancel(ctx));
    void (*before)(int) = signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    signal(SIGUSR1, before);
    assert_true(icd_i_cancelled(ctx));
    assert_fails(ctx, ICD_ECANCELLED, "cancelled", icd_i_check_cancel(ctx));
    icd_ctx_uncancel(ctx);
    assert_ok(ctx, icd_i_check_cancel(ctx));
}

typedef struct heard {
    int progress, warnings, events;
    int64_t done, total;
    char stage[32], text[256];
} heard;

static void hear_progress(void *user, const char *stage, int64_t done, int64_t total)
{
    heard *h = user;
    h->progress++;
    h->done = done;
    h->total = total;
    snprintf(h->stage, sizeof h->stage, "%s", stage);
}

static void hear_warning(void *user, const char *message)
{
    heard *h = user;
    h->warnings++;
    snprintf(h->text, sizeof h->text, "%s", message);
}

static void hear_event(void *user, const icd_event *event)
{
    heard *h = user;
    h->events++;
    snprintf(h->text, sizeof h->text, "%s", event->meta_json);
}

static void callbacks_hear_and_stop_hearing(void **state)
{
    icd_ctx *ctx = *state;
    heard h = {0};
    icd_event event = {.stage = "graph", .ok = true, .meta_json = "{\"nnz\":1}"};
    icd_ctx_on_progress(ctx, hear_progress, &h);
    icd_ctx_on_warning(ctx, hear_warning, &h);
    icd_ctx_on_event(ctx, hear_event, &h);

    icd_i_progress(ctx, "solve", 3, 9);
    assert_int_equal(h.done, 3);
    assert_int_equal(h.total, 9);
    assert_string_equal(h.stage, "solve");
    icd_i_warn(ctx, "only %d", 2);
    assert_string_equal(h.text, "only 2");
    icd_i_emit(ctx, &event);
    assert_string_equal(h.text, "{\"nnz\":1}");

    icd_ctx_on_progress(ctx, NULL, NULL);
    icd_ctx_on_warning(ctx, NULL, NULL);
    icd_ctx_on_event(ctx, NULL, NULL);
    icd_i_progress(ctx, "solve", 4, 9);
    icd_i_warn(ctx, "more");
    icd_i_emit(ctx, &event);
    assert_int_equal(h.progress, 1);
    assert_int_equal(h.warnings, 1);
    assert_int_equal(h.events, 1);
}

/* ---- the log ---- */

/* Calls `check` with every line of a JSON Lines file as an object; returns their number.
 */
static int each_line(icd_ctx *ctx, const char *path, void (*check)(json_t *, int))
{
    char *text = NULL, *rest = NULL;
    size_t size = 0;
    int lines = 0;
    assert_ok(ctx, icd_i_file_read(ctx, path, &text, &size));
    for (char *line = strtok_r(text, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_true(json_is_object(object));
        if (check) check(object, lines);
        json_decref(object);
        lines++;
    }
    icd_i_free(ctx, text);
    return lines;
}

static void check_event(json_t *line, int number)
{
    assert_int_equal(json_object_size(line), 5);
    assert_string_equal(json_string_value(json_object_get(line, "stage")),
                        number ? "odd \"\\\n stage" : "graph");
    assert_near(json_real_value(json_object_get(line, "t_start")), 0.25, 1e-9);
    assert_near(json_real_value(json_object_get(line, "t_end")), 1.5, 1e-9);
    assert_int_equal(json_is_true(json_object_get(line, "ok")), number == 0);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(line, "meta"), "nnz")),
        12 + number);
}

static void the_log_is_json_lines(void **state)
{
    icd_ctx *ctx = *state;
    const char *path = icd_test_path("events.jsonl");
    icd_event good = {"graph", 0.25, 1.5, true, "{\"nnz\":12}"};
    icd_event bad = {"odd \"\\\n stage", 0.25, 1.5, false, "{\"nnz\":13}"};
    assert_ok(ctx, icd_ctx_log_open(ctx, path));
    icd_i_emit(ctx, &good);
    assert_int_equal(each_line(ctx, path, NULL), 1); /* flushed at once */
    assert_ok(ctx, icd_ctx_log_open(ctx, path));     /* appends */
    icd_i_emit(ctx, &bad);
    assert_ok(ctx, icd_ctx_log_open(ctx, NULL));
    icd_i_emit(ctx, &bad);
    assert_int_equal(each_line(ctx, path, check_event), 2);
}

/* Counters longer than any buffer, from two processes at once: no line is torn. */
static void writers_do_not_mix(void **state)
{
    icd_ctx *ctx = *state;
    const char *path = icd_test_path("shared.jsonl");
    enum { EVENTS = 300, LONG = 20000 };
    char *meta = malloc(LONG);
    int used = snprintf(meta, LONG, "{\"a\":\"");
    memset(meta + used, 'y', (size_t)(LONG - used));
    memcpy(meta + LONG - 3, "\"}", 3);
    icd_event event = {"solve", 0, 0, true, meta};
    assert_ok(ctx, icd_ctx_log_open(ctx, path));
    pid_t child = fork();
    for (int i = 0; i < EVENTS; i++) icd_i_emit(ctx, &event);
    if (child == 0) _exit(0);
    waitpid(child, NULL, 0);
    assert_ok(ctx, icd_ctx_log_open(ctx, NULL));
    assert_int_equal(each_line(ctx, path, NULL), 2 * EVENTS);
    free(meta);
}

static void a_full_disk_warns_once(void **state)
{
    icd_ctx *ctx = *state;
    heard h = {0};
    icd_event event = {"solve", 0, 0, true, "{}"};
    icd_ctx_on_warning(ctx, hear_warning, &h);
    assert_ok(ctx, icd_ctx_log_open(ctx, "/dev/full"));
    icd_i_emit(ctx, &event);
    icd_i_emit(ctx, &event);
    assert_int_equal(h.warnings, 1);
    assert_non_null(strstr(h.text, "log"));
    assert_ok(ctx, icd_ctx_log_open(ctx, NULL));
    icd_ctx_on_warning(ctx, NULL, NULL);
}

static void a_log_that_cannot_be_opened(void **state)
{
    icd_ctx *ctx = *state;
    assert_fails(ctx, ICD_EIO, "No such file or directory",
                 icd_ctx_log_open(ctx, icd_test_path("no/such/folder.jsonl")));
}

static void emitting_is_accounted_for(void **state)
{
    (void)state;
    icd_ctx *ctx = icd_ctx_new(NULL);
    int64_t events = -1;
    double seconds = -1;
    icd_i_emit_cost(ctx, &events, &seconds);
    assert_int_equal(events, 0);
    assert_true(seconds == 0);
    icd_event event = {"solve", 0, 0, true, "{}"};
    assert_ok(ctx, icd_ctx_log_open(ctx, icd_test_path("cost.jsonl")));
    for (int i = 0; i < 10; i++) icd_i_emit(ctx, &event);
    icd_i_emit_cost(ctx, &events, &seconds);
    assert_int_equal(events, 10);
    assert_true(seconds > 0 && seconds <= icd_i_ctx_now(ctx));
    icd_ctx_free(ctx);
}

static void the_clock_does_not_run_backwards(void **state)
{
    icd_ctx *ctx = *state;
    double before = icd_i_now(), since = icd_i_ctx_now(ctx);
    assert_true(since >= 0 && before > 0);
    assert_true(icd_i_now() >= before);
    assert_true(icd_i_ctx_now(ctx) >= since);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_context_has_no_error),
        TEST(a_message_is_place_text_hint),
        TEST(clear_forgets),
        TEST(system_errors_say_why),
        TEST(places_nest),
        TEST(long_messages_end_in_dots),
        TEST(an_error_may_quote_the_one_it_replaces),
        TEST(errors_without_a_context_keep_their_status),
        TEST(no_memory_no_context),
        TEST(thread_counts),
        TEST(shorter_options_of_older_callers),
        TEST(a_signal_handler_cancels),
        TEST(callbacks_hear_and_stop_hearing),
        TEST(the_log_is_json_lines),
        TEST(writers_do_not_mix),
        TEST(a_full_disk_warns_once),
        TEST(a_log_that_cannot_be_opened),
        TEST(emitting_is_accounted_for),
        TEST(the_clock_does_not_run_backwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
