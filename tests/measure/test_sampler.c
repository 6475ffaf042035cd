#include "fixture.h"

#include <icd/measure.h>

#include "base/error.h"
#include "base/file.h"
#include "measure/clock.h"
#include "measure/design.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Every arm stands at every place equally often, and follows every other equally often.
 */
static void design_is_balanced(void **state)
{
    (void)state;
    for (int64_t k = 1; k <= 9; k++) {
        int follows[10][10] = {{0}}, at[10][10] = {{0}};
        int64_t rows = icd_i_design_rows(k);
        for (int64_t r = 0; r < rows; r++) {
            int32_t order[10];
            icd_i_design_row(k, r, order);
            for (int64_t p = 0; p < k; p++) at[order[p]][p]++;
            for (int64_t p = 1; p < k; p++) follows[order[p - 1]][order[p]]++;
        }
        for (int64_t a = 0; a < k; a++)
            for (int64_t b = 0; b < k; b++) {
                assert_int_equal(at[a][b], rows / k);
                if (a != b) assert_int_equal(follows[a][b], follows[0][1 % k]);
            }
    }
}

static icd_status count_step(icd_ctx *c, void *self)
{
    (void)c;
    ++*(int64_t *)self;
    for (volatile int i = 0; i < 2000; i++) {
    }
    return ICD_OK;
}

static icd_samples *measure_three(int64_t counts[3], icd_measure_opts opts)
{
    icd_arm arm[3] = {{.name = "linear", .step = count_step, .self = &counts[0]},
                      {.name = "iterative", .step = count_step, .self = &counts[1]},
                      {.name = "gather", .step = count_step, .self = &counts[2]}};
    icd_samples *s = NULL;
    assert_ok(ctx, icd_measure_arms(ctx, arm, 3, &opts, &s));
    return s;
}

static void takes_whole_designs_and_at_least_thirty(void **state)
{
    int64_t counts[3] = {0};
    icd_measure_opts opts;
    (void)state;
    icd_options_init(&icd_measure_table, &opts);
    opts.burst_ms = 0;
    opts.ci_half_width = 1;
    opts.warmup_iter = 3;
    icd_samples *s = measure_three(counts, opts);
    assert_int_equal(s->blocks % icd_i_design_rows(3), 0);
    assert_in_range(s->blocks, 30, 36);
    /* warm-up, then per block one discarded and `burst` timed steps */
    for (int a = 0; a < 3; a++)
        assert_int_equal(counts[a], 3 + s->blocks * (1 + s->burst[a]));
    assert_non_null(strstr(s->stopped, "every interval"));
    assert_int_equal(s->stop, ICD_STOP_INTERVAL);
    assert_string_equal(s->clock.pinned, "not pinned");
    icd_samples_free(ctx, s);
}

static icd_status slow_step(icd_ctx *c, void *self)
{
    (void)c;
    (void)self;
    for (double until = icd_i_raw_now() + 1e-4; icd_i_raw_now() < until;) {
    }
    return ICD_OK;
}

/* The first steps after another arm are slow: arms of shorter bursts would pay for them
 * more often. */
static void all_arms_take_bursts_of_as_many_steps(void **state)
{
    int64_t count = 0;
    icd_arm arm[2] = {{.name = "slow", .step = slow_step},
                      {.name = "quick", .step = count_step, .self = &count}};
    icd_measure_opts opts;
    icd_samples *s = NULL;
    (void)state;
    icd_options_init(&icd_measure_table, &opts);
    opts.burst_ms = .0002;
    opts.ci_half_width = 1;
    assert_ok(ctx, icd_measure_arms(ctx, arm, 2, &opts, &s));
    assert_int_equal(s->burst[0], s->burst[1]);
    icd_samples_free(ctx, s);
}

static void stops_at_the_largest_number(void **state)
{
    int64_t counts[3] = {0};
    icd_measure_opts opts;
    (void)state;
    icd_options_init(&icd_measure_table, &opts);
    opts.burst_ms = 0;
    opts.ci_half_width = 0;
    opts.repeats = 50;
    icd_samples *s = measure_three(counts, opts);
    assert_int_equal(s->blocks, 48);
    assert_non_null(strstr(s->stopped, "largest number"));
    icd_samples_free(ctx, s);
}

/* Cold: every sample is one step, and nothing is discarded. */
static void cold_mode_takes_single_steps(void **state)
{
    int64_t counts[3] = {0};
    icd_measure_opts opts;
    (void)state;
    icd_options_init(&icd_measure_table, &opts);
    opts.mode = ICD_MEASURE_COLD;
    opts.ci_half_width = 1;
    opts.warmup_iter = 2;
    opts.pin = "auto";
    icd_samples *s = measure_three(counts, opts);
    assert_int_equal(s->mode, ICD_MEASURE_COLD);
    assert_string_not_equal(s->clock.pinned, "not pinned");
    for (int a = 0; a < 3; a++) {
        assert_int_equal(s->burst[a], 1);
        assert_int_equal(counts[a], 2 + s->blocks);
    }
    icd_samples_free(ctx, s);
}

static icd_status count_flush(icd_ctx *c, void *self)
{
    (void)c;
    ((int64_t *)self)[1]++;
    return ICD_OK;
}

/* An arm on another device empties that one's caches; this CPU's clock is not its. */
static void cold_mode_elsewhere_empties_the_caches_there(void **state)
{
    int64_t count[2][2] = {{0}}; /* steps, flushes */
    icd_samples *s = NULL;
    icd_comparison c;
    icd_arm arm[2];
    icd_measure_opts opts;
    (void)state;
    for (int a = 0; a < 2; a++)
        arm[a] = (icd_arm){.name = a ? "iterative" : "linear",
                           .step = count_step,
                           .self = count[a],
                           .flush = count_flush,
                           .elsewhere = true};
    icd_options_init(&icd_measure_table, &opts);
    opts.mode = ICD_MEASURE_COLD;
    opts.ci_half_width = 1;
    opts.warmup_iter = 1;
    assert_ok(ctx, icd_measure_arms(ctx, arm, 2, &opts, &s));
    for (int a = 0; a < 2; a++) assert_int_equal(count[a][1], s->blocks);
    assert_ok(ctx, icd_samples_compare(ctx, s, "linear", "iterative", 1, &c));
    assert_true(isnan(c.delta_cycles));
    assert_true(s->clock.observing_s > 0);
    icd_samples_free(ctx, s);
}

static void time_limit_waits_for_the_least_number(void **state)
{
    int64_t counts[3] = {0};
    icd_measure_opts opts;
    (void)state;
    icd_options_init(&icd_measure_table, &opts);
    opts.burst_ms = 0;
    opts.ci_half_width = 0;
    opts.timeout_s = 1e-3;
    icd_samples *s = measure_three(counts, opts);
    assert_true(s->blocks >= 30);
    assert_int_equal(s->stop, ICD_STOP_TIMEOUT);
    icd_samples_free(ctx, s);
}

static icd_status failing_step(icd_ctx *c, void *self)
{
    (void)c;
    (void)self;
    return ICD_EMEASURE;
}

static void failure_of_an_arm_ends_it(void **state)
{
    icd_arm arm = {.name = "broken", .step = failing_step};
    icd_samples *s = NULL;
    (void)state;
    assert_int_equal(icd_measure_arms(ctx, &arm, 1, NULL, &s), ICD_EMEASURE);
    assert_null(s);
    icd_ctx_clear(ctx);
}

/* Hand-made samples: b is 20 % faster in every block, with noise shared by both arms. */
static icd_samples *paired_samples(double factor)
{
    static char a[] = "linear", b[] = "iterative";
    static char *names[2] = {a, b};
    static double lat[80], start[80];
    static int32_t position[80];
    static int64_t burst[2] = {1, 1};
    static icd_samples s;
    for (int i = 0; i < 40; i++) {
        double drift = 1 + .3 * sin(i);
        lat[2 * i] = 10 * drift;
        lat[2 * i + 1] = 10 * drift * factor * (1 + .002 * cos(7 * i));
        position[2 * i] = i % 2;
        position[2 * i + 1] = 1 - i % 2;
        start[2 * i] = start[2 * i + 1] = i;
    }
    s = (icd_samples){.arms = 2,
                      .blocks = 40,
                      .name = names,
                      .lat_ms = lat,
                      .position = position,
                      .t_start = start,
                      .burst = burst,
                      .stopped = "test",
                      .elapsed_s = 1,
                      .clock = {.throttled = -1}};
    return &s;
}

static void verdicts_follow_the_interval(void **state)
{
    icd_comparison c;
    (void)state;
    assert_ok(ctx,
              icd_samples_compare(ctx, paired_samples(.8), "linear", "iterative", 1, &c));
    assert_near(c.delta, -.2, .002);
    assert_int_equal(c.verdict, ICD_VERDICT_FASTER);
    assert_true(c.p_value < .001);
    assert_ok(
        ctx, icd_samples_compare(ctx, paired_samples(1.2), "linear", "iterative", 1, &c));
    assert_int_equal(c.verdict, ICD_VERDICT_SLOWER);
    /* 0.4 % slower excludes zero, but lies inside +-1 %: the same */
    assert_ok(ctx, icd_samples_compare(ctx, paired_samples(1.004), "linear", "iterative",
                                       1, &c));
    assert_true(c.low > 0);
    assert_int_equal(c.verdict, ICD_VERDICT_SAME);
    assert_fails(ctx, ICD_EINVAL, "no arm 'dense'",
                 icd_samples_compare(ctx, paired_samples(1), "linear", "dense", 1, &c));
}

/* The clock of arm b runs 20 % faster: in cycles nothing changed. */
static void cycles_take_the_clock_out(void **state)
{
    double mhz[80];
    icd_comparison c;
    icd_samples *s = paired_samples(1 / 1.2);
    (void)state;
    assert_ok(ctx, icd_samples_compare(ctx, s, "linear", "iterative", 1, &c));
    assert_true(isnan(c.delta_cycles));
    for (int i = 0; i < 80; i++) mhz[i] = i % 2 ? 3600 : 3000;
    s->mhz = mhz;
    assert_ok(ctx, icd_samples_compare(ctx, s, "linear", "iterative", 1, &c));
    assert_near(c.delta_cycles, 0, .002);
    assert_near(c.delta, 1 / 1.2 - 1, .002);
}

static void drift_is_told_and_outliers_are_counted(void **state)
{
    icd_drift drift;
    icd_comparison c;
    icd_summary summary;
    icd_samples *s = paired_samples(.8);
    (void)state;
    for (int i = 0; i < 80; i++) s->lat_ms[i] *= exp(.02 * (i / 2));
    assert_ok(ctx, icd_samples_drift(ctx, s, &drift));
    assert_true(drift.drifting);
    assert_near(drift.change, expm1(.78), .3);
    assert_ok(ctx, icd_samples_compare(ctx, s, "linear", "iterative", 1, &c));
    assert_near(c.delta, -.2, .002);
    assert_int_equal(c.outliers, 0);
    s = paired_samples(.8);
    assert_ok(ctx, icd_samples_drift(ctx, s, &drift));
    assert_false(drift.drifting);
    s->lat_ms[21] *= 3;
    assert_ok(ctx, icd_samples_compare(ctx, s, "linear", "iterative", 1, &c));
    assert_int_equal(c.outliers, 1);
    assert_int_equal(c.blocks, 40);
    assert_ok(ctx, icd_samples_summary(ctx, s, "iterative", 1, &summary));
    assert_int_equal(summary.count, 40);
}

static void csv_keeps_the_clock(void **state)
{
    double mhz[80];
    icd_samples *s = paired_samples(.9), *back = NULL;
    const char *path = icd_test_path("clock.csv");
    (void)state;
    for (int i = 0; i < 80; i++) mhz[i] = 3000 + i;
    s->mhz = mhz;
    s->stop = ICD_STOP_REPEATS;
    s->mode = ICD_MEASURE_COLD;
    s->clock = (icd_clock){.governor = "performance",
                           .boost = "off",
                           .pinned = "0,1",
                           .throttled = 3,
                           .interrupted = 5,
                           .tsc_invariant = true,
                           .tsc_mhz = 2450,
                           .tsc_worst_ppm = 7,
                           .mhz_low = 3000,
                           .mhz_mean = 3040,
                           .mhz_high = 3079};
    assert_ok(ctx, icd_samples_write(ctx, s, path));
    assert_ok(ctx, icd_samples_read(ctx, path, &back));
    assert_int_equal(back->stop, ICD_STOP_REPEATS);
    assert_int_equal(back->mode, ICD_MEASURE_COLD);
    assert_int_equal(back->clock.interrupted, 5);
    assert_string_equal(back->clock.governor, "performance");
    assert_string_equal(back->clock.boost, "off");
    assert_string_equal(back->clock.pinned, "0,1");
    assert_int_equal(back->clock.throttled, 3);
    assert_true(back->clock.tsc_invariant);
    assert_near(back->clock.mhz_high, 3079, 1e-9);
    assert_non_null(back->mhz);
    assert_near(back->mhz[icd_samples_find(back, "iterative")], 3001, 1e-9);
    icd_samples_free(ctx, back);
}

static void csv_round_trip(void **state)
{
    icd_samples *s = paired_samples(.9), *back = NULL;
    const char *path = icd_test_path("samples.csv");
    (void)state;
    assert_ok(ctx, icd_samples_write(ctx, s, path));
    assert_ok(ctx, icd_samples_read(ctx, path, &back));
    assert_int_equal(back->blocks, s->blocks);
    assert_string_equal(back->stopped, "test");
    for (int64_t i = 0; i < 80; i++) {
        int64_t block = i / 2;
        int64_t same =
            strcmp(back->name[i % 2], s->name[i % 2]) == 0 ? i : block * 2 + 1 - i % 2;
        assert_near(back->lat_ms[i], s->lat_ms[same], 1e-8);
        assert_int_equal(back->position[i], s->position[same]);
    }
    icd_samples_free(ctx, back);
}

static void damaged_csv_is_refused(void **state)
{
    static const char HEAD[] = "block,arm,position,t_start_s,lat_ms,burst\n";
    static const char *const BAD[] = {
        "0,a,0,0,1\n",
        "0,a,0,0,1,1,1\n",
        "0,a,0,0,1,1\n1,b,0,0,1,1\n",
        "0,a,0,0,1,1\n0,a,1,0,1,1\n",
        "0,a,0,0,-1,1\n",
        "0,a,0,0,inf,1\n",
        "0,a,0,0,1,1\n0,b,1,0,1,1\n1,a,0,0,1,1\n",
        "0,a,0,0,1,1\n1,a,0,0,1,2\n",
        "0,a,0,0,1,1\n9223372036854775807,a,0,0,1,1\n",
        "1,a,0,0,1,1\n",
        "0,a,0,0,1,1",
        "0,a,0,0,1,1,3000\n",
        "",
    };
    char text[256];
    const char *path = icd_test_path("bad.csv");
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        icd_samples *s = NULL;
        snprintf(text, sizeof text, "%s%s", HEAD, BAD[i]);
        assert_ok(ctx, icd_i_file_write(ctx, path, text, strlen(text)));
        assert_fails(ctx, ICD_EDATA, "bad.csv:", icd_samples_read(ctx, path, &s));
        assert_null(s);
    }
    assert_ok(ctx, icd_i_file_write(ctx, path, "0,a,0,0,1,1\n", 12));
    assert_fails(ctx, ICD_EDATA,
                 "bad.csv:1:", icd_samples_read(ctx, path, &(icd_samples *){0}));
}

static icd_status measure_once(icd_ctx *c, void *arg)
{
    int64_t count = 0;
    icd_arm arm = {.name = "only", .step = count_step, .self = &count};
    icd_measure_opts opts;
    icd_samples *s = NULL;
    icd_comparison comparison;
    (void)arg;
    icd_options_init(&icd_measure_table, &opts);
    opts.burst_ms = 0;
    opts.repeats = 30;
    icd_status status = icd_measure_arms(c, &arm, 1, &opts, &s);
    if (status == ICD_OK)
        status = icd_samples_compare(c, s, "only", "only", 1, &comparison);
    icd_samples_free(c, s);
    return status;
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(measure_once, NULL);
}

typedef struct program {
    double lat_ms;
    int64_t runs;
} program;

static icd_status print_latency(icd_ctx *c, void *self, double *lat_ms, int64_t *steps)
{
    program *p = self;
    (void)c;
    p->runs++;
    *lat_ms = p->lat_ms;
    *steps = 4;
    return ICD_OK;
}

static icd_status fail_to_print(icd_ctx *c, void *self, double *lat_ms, int64_t *steps)
{
    (void)self, (void)lat_ms, (void)steps;
    return icd_i_fail(c, ICD_EMEASURE, "command", NULL, "it printed no latency");
}

/* Arms that take their samples themselves stand in the same design. */
static void bursts_of_programs(void **state)
{
    program quick = {2, 0}, slow = {3, 0};
    icd_arm arm[2] = {{.name = "linear", .self = &slow, .burst = print_latency},
                      {.name = "iterative", .self = &quick, .burst = print_latency}};
    icd_samples *s = NULL;
    icd_comparison c;
    (void)state;
    assert_ok(ctx, icd_measure_arms(ctx, arm, 2, NULL, &s));
    assert_true(s->blocks >= 30);
    assert_int_equal(quick.runs, s->blocks + 1);
    assert_int_equal(slow.runs, s->blocks + 1);
    assert_int_equal(s->burst[1], 4);
    assert_ok(ctx, icd_samples_compare(ctx, s, "linear", "iterative", 1, &c));
    assert_near(c.delta, 2. / 3 - 1, 1e-12);
    icd_samples_free(ctx, s);
    arm[1].burst = fail_to_print;
    assert_fails(ctx, ICD_EMEASURE, "iterative: command",
                 icd_measure_arms(ctx, arm, 2, NULL, &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bursts_of_programs),
        cmocka_unit_test(design_is_balanced),
        cmocka_unit_test(takes_whole_designs_and_at_least_thirty),
        cmocka_unit_test(all_arms_take_bursts_of_as_many_steps),
        cmocka_unit_test(stops_at_the_largest_number),
        cmocka_unit_test(cold_mode_takes_single_steps),
        cmocka_unit_test(cold_mode_elsewhere_empties_the_caches_there),
        cmocka_unit_test(time_limit_waits_for_the_least_number),
        cmocka_unit_test(failure_of_an_arm_ends_it),
        cmocka_unit_test(verdicts_follow_the_interval),
        cmocka_unit_test(cycles_take_the_clock_out),
        cmocka_unit_test(drift_is_told_and_outliers_are_counted),
        cmocka_unit_test(csv_keeps_the_clock),
        cmocka_unit_test(csv_round_trip),
        cmocka_unit_test(damaged_csv_is_refused),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
