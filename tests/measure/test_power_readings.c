#include "fixture.h"

#include "measure/power_readings.h"

#include <math.h>
#include <string.h>

enum { BLOCKS = 4 };

/* Idle at `idle` W, then per block arm 0 and arm 1, idle behind each; arm i takes
 * watts[i] for 2 s in 10 steps. Everything drifts by `drift` W per window. */
static icd_power_record made(icd_power_span *span, const double watts[2], double idle,
                             double drift)
{
    icd_power_record r = {.span = span, .counts = true};
    double t = 100, more = 0;
    span[r.spans++] = (icd_power_span){.from = t, .to = t + 1, .arm = -1, .watts = idle};
    for (int64_t b = 0; b < BLOCKS; b++)
        for (int p = 0; p < 2; p++) {
            int arm = b & 1 ? 1 - p : p; /* ABBA */
            double w = watts[arm] + more;
            span[r.spans++] = (icd_power_span){.from = t + 1,
                                               .to = t + 3,
                                               .phase = ICD_POWER_WINDOW,
                                               .arm = arm,
                                               .block = b,
                                               .steps = 10,
                                               .joules = 2 * w,
                                               .watts = w};
            more += drift;
            t += 3;
            span[r.spans++] = (icd_power_span){
                .from = t, .to = t + 1, .arm = -1, .watts = idle + more - drift / 2};
        }
    return r;
}

static const icd_metric *find(const icd_power_summary *s, const char *name)
{
    for (int m = 0; m < ICD_POWER_METRICS; m++)
        if (strcmp(s->metric[m].name, name) == 0) return &s->metric[m];
    fail();
    return NULL;
}

static void joules_per_step_and_token(void **state)
{
    icd_power_span span[64];
    const double watts[2] = {300, 270};
    icd_power_record r = made(span, watts, 60, 0);
    icd_power_summary s;
    (void)state;
    assert_ok(ctx, icd_i_power_summary(ctx, &r, 0, 50, &s));
    assert_near(find(&s, "power_w")->value, 300, 1e-9);
    assert_near(find(&s, "idle_w")->value, 60, 1e-9);
    assert_near(find(&s, "energy_j")->value, 60, 1e-9);
    assert_near(find(&s, "ept_j_per_tok")->value, 1.2, 1e-12);
    assert_near(find(&s, "ept_net_j_per_tok")->value, .96, 1e-12);
    assert_int_equal(find(&s, "energy_j")->count, BLOCKS);
    assert_int_equal(find(&s, "energy_j")->provenance, ICD_MEASURED);
    assert_near(find(&s, "energy_j")->high - find(&s, "energy_j")->low, 0, 1e-9);
    json_t *windows = json_object_get(s.detail, "windows");
    assert_int_equal(json_array_size(windows), BLOCKS);
    assert_near(json_real_value(json_object_get(json_array_get(windows, 0), "net_j")),
                480, 1e-9);
    icd_i_power_summary_release(&s);
}

static void intervals_are_students(void **state)
{
    icd_power_span span[64];
    const double watts[2] = {300, 270};
    icd_power_record r = made(span, watts, 60, 1);
    icd_power_summary s;
    double mean = 0, square = 0;
    (void)state;
    assert_ok(ctx, icd_i_power_summary(ctx, &r, 0, 0, &s));
    for (int64_t i = 0; i < r.spans; i++)
        if (span[i].phase == ICD_POWER_WINDOW && span[i].arm == 0)
            mean += span[i].watts / BLOCKS;
    for (int64_t i = 0; i < r.spans; i++)
        if (span[i].phase == ICD_POWER_WINDOW && span[i].arm == 0)
            square += (span[i].watts - mean) * (span[i].watts - mean);
    const icd_metric *p = find(&s, "power_w");
    assert_near(p->value, mean, 1e-9);
    assert_near((p->high - p->low) / 2, 3.1824 * sqrt(square / 3 / 4), .02);
    assert_string_equal(find(&s, "ept_j_per_tok")->reason,
                        "the number of tokens of a step is not known");
    assert_int_equal(find(&s, "ept_net_j_per_tok")->provenance, ICD_ABSENT);
    icd_i_power_summary_release(&s);
}

static void drift_falls_on_both_arms(void **state)
{
    icd_power_span span[64];
    const double watts[2] = {300, 270};
    icd_power_record r = made(span, watts, 60, 2);
    icd_power_ratio ratio;
    (void)state;
    assert_true(icd_i_power_ratio(&r, 0, 1, false, &ratio));
    assert_int_equal(ratio.blocks, BLOCKS);
    assert_near(ratio.delta, -.1, .004);
    assert_true(ratio.low < -.09 && ratio.high > -.11 && ratio.low <= ratio.delta);
    /* Without idling: (270 - 60) / (300 - 60) - 1. */
    assert_true(icd_i_power_ratio(&r, 0, 1, true, &ratio));
    assert_near(ratio.delta, -.125, .006);
    r = made(span, watts, 60, 0);
    assert_true(icd_i_power_ratio(&r, 1, 1, false, &ratio));
    assert_near(ratio.delta, 0, 0);
    for (int64_t i = 0; i < r.spans; i++) span[i].joules = NAN;
    assert_false(icd_i_power_ratio(&r, 0, 1, false, &ratio));
}

static void what_was_not_told_is_absent(void **state)
{
    icd_power_span span[64];
    const double watts[2] = {300, 270};
    icd_power_record r = made(span, watts, 60, 0);
    icd_power_summary s;
    (void)state;
    for (int64_t i = 0; i < r.spans; i++)
        if (span[i].phase == ICD_POWER_IDLE) span[i].watts = NAN;
    assert_ok(ctx, icd_i_power_summary(ctx, &r, 1, 50, &s));
    assert_near(find(&s, "ept_j_per_tok")->value, 1.08, 1e-12);
    assert_string_equal(find(&s, "ept_net_j_per_tok")->reason,
                        "idle power was not measured: meter.idle_s is 0");
    icd_i_power_summary_release(&s);
    for (int64_t i = 0; i < r.spans; i++) span[i].joules = span[i].watts = NAN;
    assert_ok(ctx, icd_i_power_summary(ctx, &r, 1, 50, &s));
    for (int m = 0; m < ICD_POWER_METRICS; m++) {
        assert_int_equal(s.metric[m].provenance, ICD_ABSENT);
        assert_string_equal(s.metric[m].reason,
                            "the counter did not move around any of 4 windows");
    }
    icd_i_power_summary_release(&s);
}

static void what_stood_beside_it_is_told(void **state)
{
    icd_power_span span[64];
    const double watts[2] = {300, 270};
    icd_power_record r = made(span, watts, 60, 0);
    icd_power_row row[] = {{.t = 101.5,
                            .sm_mhz = 1900,
                            .mem_mhz = 2619,
                            .celsius = 50,
                            .busy_pct = 90,
                            .throttle = 4},
                           {.t = 102,
                            .sm_mhz = 1800,
                            .mem_mhz = 2619,
                            .celsius = 52,
                            .busy_pct = 100,
                            .throttle = 0x40},
                           {.t = 100.5, .sm_mhz = 300, .celsius = 40, .throttle = 1}};
    icd_power_summary s;
    (void)state;
    r.row = row;
    r.rows = 3;
    assert_ok(ctx, icd_i_power_summary(ctx, &r, 0, 50, &s));
    assert_near(json_real_value(json_object_get(s.detail, "sm_mhz")), 1850, 0);
    assert_near(json_real_value(json_object_get(s.detail, "sm_mhz_low")), 1800, 0);
    assert_near(json_real_value(json_object_get(s.detail, "temp_c_high")), 52, 0);
    json_t *why = json_object_get(s.detail, "throttle");
    assert_int_equal(json_array_size(why), 2);
    assert_string_equal(json_string_value(json_array_get(why, 1)), "hw_thermal_slowdown");
    icd_i_power_summary_release(&s);
    row[0].busy_pct = row[1].busy_pct = 0;
    assert_ok(ctx, icd_i_power_summary(ctx, &r, 0, 50, &s));
    assert_non_null(strstr(find(&s, "power_w")->reason, "does not run on it"));
    icd_i_power_summary_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joules_per_step_and_token),
        cmocka_unit_test(intervals_are_students),
        cmocka_unit_test(drift_falls_on_both_arms),
        cmocka_unit_test(what_was_not_told_is_absent),
        cmocka_unit_test(what_stood_beside_it_is_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
