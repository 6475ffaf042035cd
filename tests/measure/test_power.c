#include "fixture.h"

#include "base/clock.h"
#include "base/rng.h"
#include "measure/power.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A counter that is renewed every `tick` seconds while `watts` flow, read every .01 s. */
static int64_t counted(icd_power_row *row, double seconds, double tick, double watts)
{
    int64_t n = (int64_t)(seconds / .01);
    for (int64_t i = 0; i < n; i++) {
        double t = .01 * (double)i;
        row[i] = (icd_power_row){
            .t = t, .joules = watts * tick * floor(t / tick + 1e-9), .watts = watts};
    }
    return n;
}

static void a_slow_counter_is_read_between_its_ticks(void **state)
{
    static icd_power_row row[1000];
    (void)state;
    int64_t n = counted(row, 5, .1, 250);
    for (double from = .33; from < 1; from += .07)
        assert_near(icd_i_power_joules(row, n, true, from, from + 2.123), 250 * 2.123,
                    1e-6);
    /* No tick behind the end, or none before the beginning. */
    assert_true(isnan(icd_i_power_joules(row, n, true, 1, 4.95)));
    assert_true(isnan(icd_i_power_joules(row, n, true, .05, 2)));
    for (int64_t i = 0; i < n; i++) row[i].joules = 7;
    assert_true(isnan(icd_i_power_joules(row, n, true, 1, 2)));
}

/* Idle at 60 W until t = 1, then a load whose power swings by 10 % at 3 Hz, idle again
 * from t = 1 + load. @return joules from 0 to t */
static double load_joules(double t, double load)
{
    double on = fmin(fmax(t - 1, 0), load), w = 2 * 3.14159265358979 * 3;
    return 60 * t + 240 * on + 30 * (1 - cos(w * on)) / w;
}

/* A counter that ticks every 20 to 100 ms, read every 20 ms by a thread that is late by
 * up to 10 ms: windows of 2 s with 0.2 s of load before and behind are right within 1.5
 * %. */
static void windows_are_right_whatever_the_phase_of_the_counter(void **state)
{
    static icd_power_row row[400];
    icd_rng rng;
    double worst = 0;
    (void)state;
    icd_i_rng_init(&rng, 8, 0);
    for (int run = 0; run < 500; run++) {
        double tick = .02 + .08 * icd_i_rng_unit(&rng);
        double phase = tick * icd_i_rng_unit(&rng), t = 0;
        double from = 1.2 + .05 * icd_i_rng_unit(&rng), to = from + 2;
        for (int i = 0; i < 220; i++) {
            double shown = fmax(0, floor((t - phase) / tick) * tick + phase);
            row[i] = (icd_power_row){.t = t, .joules = load_joules(shown, 2.45)};
            t += .02 + .01 * icd_i_rng_unit(&rng);
        }
        double truth = load_joules(to, 2.45) - load_joules(from, 2.45);
        double told = icd_i_power_joules(row, 220, true, from, to);
        worst = fmax(worst, fabs(told / truth - 1));
    }
    print_message("largest error of 500 windows: %.2f %%\n", 100 * worst);
    assert_true(worst < .015);
}

static void watts_are_integrated_over_whatever_was_sampled(void **state)
{
    icd_power_row row[5] = {{.t = 0, .watts = 100},
                            {.t = 1, .watts = 300},
                            {.t = 1.5, .watts = NAN},
                            {.t = 2, .watts = 300},
                            {.t = 4, .watts = 100}};
    (void)state;
    assert_near(icd_i_power_joules(row, 5, false, 0, 4), 200 + 300 + 400, 1e-12);
    assert_near(icd_i_power_joules(row, 5, false, .5, 1.5), 125 + 150, 1e-12);
    assert_near(icd_i_power_joules(row, 5, false, 1.2, 1.3), 30, 1e-12);
    assert_true(isnan(icd_i_power_joules(row, 5, false, -.1, 1)));
    assert_true(isnan(icd_i_power_joules(row, 5, false, 3, 4.1)));
    assert_true(isnan(icd_i_power_joules(row, 0, false, 0, 1)));
}

static void counters_wrap_and_nonsense_is_told(void **state)
{
    icd_power_counter c = {.range = 262.144};
    (void)state;
    assert_true(icd_i_power_count(&c, 0, 262));
    assert_near(c.total, 0, 0);
    assert_true(icd_i_power_count(&c, .1, 1));
    assert_near(c.total, 1.144, 1e-9);
    assert_true(icd_i_power_count(&c, .2, 11));
    assert_near(c.total, 11.144, 1e-9);
    /* Without a range a counter never goes back. */
    c = (icd_power_counter){0};
    assert_true(icd_i_power_count(&c, 0, 500));
    assert_false(icd_i_power_count(&c, .1, 499));
    assert_false(icd_i_power_count(&c, .1, -1));
    assert_false(icd_i_power_count(&c, .1, NAN));
    assert_false(icd_i_power_count(&c, .1, 1e9));
    /* A reset far from the end of the range is no wrap. */
    c = (icd_power_counter){.range = 1e6};
    assert_true(icd_i_power_count(&c, 0, 5000));
    assert_false(icd_i_power_count(&c, .1, 3));
}

static void idle_is_the_mean_of_both_sides(void **state)
{
    icd_power_span span[] = {{.phase = ICD_POWER_IDLE, .watts = 40},
                             {.phase = ICD_POWER_LEAD},
                             {.phase = ICD_POWER_WINDOW},
                             {.phase = ICD_POWER_TAIL},
                             {.phase = ICD_POWER_IDLE, .watts = 50},
                             {.phase = ICD_POWER_WINDOW},
                             {.phase = ICD_POWER_IDLE, .watts = NAN}};
    icd_power_record record = {.span = span, .spans = 7};
    (void)state;
    assert_near(icd_i_power_idle(&record, 2), 45, 0);
    assert_near(icd_i_power_idle(&record, 5), 50, 0);
    record.spans = 4;
    record.span = span + 5;
    record.spans = 2;
    assert_true(isnan(icd_i_power_idle(&record, 0)));
}

/* A board that takes `watts` from one reading to the next. */
typedef struct board {
    double watts, joules, t;
    int64_t reads, fail_at, failures;
} board;

static bool read_board(void *self, icd_power_row *row, char why[160])
{
    board *b = self;
    double t = icd_i_now();
    if (b->t > 0) b->joules += b->watts * (t - b->t);
    b->t = t;
    row->t = t;
    row->joules = b->joules;
    row->watts = b->watts;
    row->throttle = 0x24;
    b->reads++;
    if (!b->fail_at || b->reads < b->fail_at || b->reads >= b->fail_at + b->failures)
        return true;
    strcpy(why, "the board caught fire");
    return false;
}

static char order[64];

static icd_status step(icd_ctx *c, void *self)
{
    struct timespec t = {0, 1000000};
    size_t n = strlen(order);
    (void)c;
    if (n + 1 < sizeof order && (n == 0 || order[n - 1] != *(char *)self))
        order[n] = *(char *)self;
    nanosleep(&t, NULL);
    return ICD_OK;
}

static char A[] = "A", B[] = "B";
static const icd_arm ARM_A = {.name = "a", .step = step, .self = A},
                     ARM_B = {.name = "b", .step = step, .self = B};
static const icd_arm *const BOTH[] = {&ARM_A, &ARM_B};

static icd_power_source source_of(board *b)
{
    return (icd_power_source){
        .read = read_board, .self = b, .counts = true, .period_s = .004, .poll_s = .002};
}

static void arms_take_turns_and_every_window_is_whole(void **state)
{
    board b = {.watts = 100};
    icd_power_source source = source_of(&b);
    icd_power_plan plan = {.window_s = .05, .idle_s = .03, .windows = 2};
    icd_power_record r;
    int64_t windows = 0, idles = 0;
    (void)state;
    memset(order, 0, sizeof order);
    assert_ok(ctx, icd_i_power_run(ctx, &source, &plan, BOTH, 2, &r));
    assert_string_equal(order, "ABA"); /* ABBA */
    for (int64_t i = 0; i < r.spans; i++) {
        const icd_power_span *s = &r.span[i];
        idles += s->phase == ICD_POWER_IDLE;
        if (s->phase != ICD_POWER_WINDOW) continue;
        windows++;
        assert_true(s->steps >= 1 && s->to - s->from >= .05);
        assert_near(s->watts, 100, 1e-3);
        assert_near(icd_i_power_idle(&r, i), 100, 1e-3);
    }
    assert_int_equal(windows, 4);
    assert_int_equal(idles, 5);
    icd_i_power_record_release(ctx, &r);
}

static void a_source_that_fails_ends_the_run(void **state)
{
    board b = {.watts = 100, .fail_at = 20, .failures = 3};
    icd_power_source source = source_of(&b);
    icd_power_plan plan = {.window_s = .1, .windows = 2};
    icd_power_record r;
    (void)state;
    assert_fails(ctx, ICD_EMEASURE, "caught fire",
                 icd_i_power_run(ctx, &source, &plan, BOTH, 1, &r));
    assert_null(r.row);
    /* Two in a row are passed over. */
    b = (board){.watts = 100, .fail_at = 20, .failures = 2};
    assert_ok(ctx, icd_i_power_run(ctx, &source, &plan, BOTH, 1, &r));
    assert_true(r.reading_s > 0);
    icd_i_power_record_release(ctx, &r);
}

static icd_status broken_step(icd_ctx *c, void *self)
{
    (void)self;
    icd_ctx_cancel(c);
    return ICD_OK;
}

static void a_cancelled_run_leaves_nothing(void **state)
{
    icd_ctx *own = icd_ctx_new(NULL);
    const icd_arm arm = {.name = "c", .step = broken_step}, *const list[] = {&arm};
    board b = {.watts = 100};
    icd_power_source source = source_of(&b);
    icd_power_plan plan = {.window_s = .01, .windows = 1};
    icd_power_record r;
    (void)state;
    assert_fails(own, ICD_ECANCELLED, "",
                 icd_i_power_run(own, &source, &plan, list, 1, &r));
    assert_null(r.span);
    icd_ctx_free(own);
}

static void rows_become_csv(void **state)
{
    icd_power_row row[] = {{.t = 10,
                            .joules = 0,
                            .watts = 60.5,
                            .sm_mhz = 1980,
                            .mem_mhz = 2619,
                            .celsius = 41,
                            .busy_pct = 97},
                           {.t = 10.01, .joules = 1, .watts = 61},
                           {.t = 10.2,
                            .joules = 2.5,
                            .watts = NAN,
                            .sm_mhz = NAN,
                            .mem_mhz = NAN,
                            .celsius = NAN,
                            .busy_pct = NAN,
                            .throttle = -1},
                           {.t = 10.4, .joules = 3, .watts = 61, .throttle = 0x24}};
    icd_power_span span[] = {
        {.from = 9.9, .to = 10.1, .arm = -1},
        {.from = 10.15, .to = 10.3, .phase = ICD_POWER_WINDOW, .arm = 1, .block = 2}};
    icd_power_record record = {.row = row, .rows = 4, .span = span, .spans = 2};
    icd_text text = {0};
    (void)state;
    assert_ok(ctx, icd_i_power_csv(ctx, &record, BOTH, 10, 10, &text));
    assert_string_equal(
        text.data,
        "t_s,phase,arm,window,energy_j,power_w,sm_mhz,mem_mhz,temp_c,busy_pct,throttle\n"
        "0.0000,idle,,,0.000000,60.500,1980,2619,41,97,none\n"
        "0.2000,window,b,2,2.500000,,,,,,\n"
        "0.4000,,,,3.000000,61.000,0,0,0,0,sw_power_cap|sw_thermal_slowdown\n");
    icd_i_text_release(ctx, &text);
}

static icd_status run_and_write(icd_ctx *c, void *arg)
{
    board b = {.watts = 100};
    icd_power_source source = source_of(&b);
    icd_power_plan plan = {.window_s = .01, .windows = 1};
    icd_power_record r;
    icd_text text = {0};
    (void)arg;
    icd_status status = icd_i_power_run(c, &source, &plan, BOTH, 1, &r);
    if (status == ICD_OK) status = icd_i_power_csv(c, &r, BOTH, 100, 0, &text);
    icd_i_power_record_release(c, &r);
    icd_i_text_release(c, &text);
    return status;
}

static void allocations_may_fail(void **state)
{
    (void)state;
    icd_test_failing_allocations(run_and_write, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_counter_is_read_between_its_ticks),
        cmocka_unit_test(windows_are_right_whatever_the_phase_of_the_counter),
        cmocka_unit_test(watts_are_integrated_over_whatever_was_sampled),
        cmocka_unit_test(counters_wrap_and_nonsense_is_told),
        cmocka_unit_test(idle_is_the_mean_of_both_sides),
        cmocka_unit_test(arms_take_turns_and_every_window_is_whole),
        cmocka_unit_test(a_source_that_fails_ends_the_run),
        cmocka_unit_test(a_cancelled_run_leaves_nothing),
        cmocka_unit_test(rows_become_csv),
        cmocka_unit_test(allocations_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
