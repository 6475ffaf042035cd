#include "fixture.h"

#include "measure/meter.h"
#include <icd/gates.h>

#include <stdio.h>
#include <string.h>

static const icd_meter_metric METRIC[] = {
    {"l2_hit_pct", "%"}, {"dram_bytes", "B"}, {"cycles", "count"}};

/* A meter that says what the test wants it to. */
typedef struct script {
    icd_metric metric[4];
    int metrics, calls;
    int64_t windows;
} script;
static script play;

static icd_status play_measure(icd_ctx *c, icd_meter *meter,
                               const icd_meter_subject *const *subject,
                               icd_readings *const *into, int64_t subjects,
                               int64_t windows)
{
    icd_status status = ICD_OK;
    (void)meter;
    play.calls++;
    play.windows = windows;
    for (int64_t i = 0; i < subjects; i++) {
        assert_string_equal(subject[i]->name, into[i]->arm);
        for (int m = 0; status == ICD_OK && m < play.metrics; m++)
            status = icd_i_readings_add(c, into[i], &play.metric[m]);
    }
    return status;
}

static const icd_meter_kind PLAY = {.name = "play",
                                    .area = "counters",
                                    .help = "plays a part",
                                    .needs = ICD_METER_ADDRS,
                                    .metric = METRIC,
                                    .metrics = 3,
                                    .measure = play_measure};

static icd_readings *read_one(const char *name, const char *arm, const icd_metric *metric)
{
    icd_meter meter = {.kind = &PLAY, .state = {.available = true}};
    icd_meter_kind named = PLAY;
    icd_addrs *some = (icd_addrs *)(void *)&play; /* only told from NULL */
    icd_meter_subject subject = {.name = arm, .addrs = some};
    icd_readings *r = NULL;
    named.name = name;
    meter.kind = &named;
    play = (script){.metrics = metric ? 1 : 0};
    if (metric) play.metric[0] = *metric;
    assert_ok(ctx, icd_meter_measure(ctx, &meter, &subject, 1, 0, &r));
    assert_int_equal(play.windows, 5);
    r->meter = name;
    return r;
}

static void test_table(void **state)
{
    const char *name;
    (void)state;
    for (int64_t i = 0; (name = icd_meter_name(i)); i++) {
        icd_meter *meter = NULL;
        icd_meter_opts opts;
        icd_options_init(&icd_meter_table, &opts);
        opts.ncu = opts.valgrind = "/nowhere/program";
        opts.nvml = "/nowhere/library";
        opts.powercap = opts.pmu = opts.caches = "/nowhere";
        assert_ok(ctx, icd_meter_open(ctx, name, &opts, &meter));
        const icd_meter_state *here = icd_meter_probe(meter);
        assert_string_equal(here->name, name);
        assert_true(!strcmp(here->area, "counters") || !strcmp(here->area, "energy"));
        assert_true(here->help && *here->help && here->found && *here->found);
        assert_int_equal(here->available, here->enable == NULL);
        icd_meter_free(ctx, meter);
    }
    assert_null(icd_meter_name(-1));
}

static void test_wrong_arguments(void **state)
{
    icd_meter *meter = NULL;
    icd_meter_opts opts;
    icd_readings *r = NULL;
    icd_meter_subject nameless = {0};
    (void)state;
    assert_fails(ctx, ICD_EINVAL, "no meter \"rapid\", expected one of",
                 icd_meter_open(ctx, "rapid", NULL, &meter));
    icd_options_init(&icd_meter_table, &opts);
    opts.window_s = -1;
    assert_fails(ctx, ICD_EINVAL, "meter.window_s",
                 icd_meter_open(ctx, "cachesim", &opts, &meter));
    icd_options_init(&icd_meter_table, &opts);
    opts.cache = "z80";
    assert_fails(ctx, ICD_EINVAL, "z80", icd_meter_open(ctx, "cachesim", &opts, &meter));
    assert_null(meter);
    assert_ok(ctx, icd_meter_open(ctx, "cachesim", NULL, &meter));
    assert_fails(ctx, ICD_EINVAL, "no arm",
                 icd_meter_measure(ctx, meter, NULL, 0, 1, &r));
    assert_fails(ctx, ICD_EINVAL, "arm 0 has no name",
                 icd_meter_measure(ctx, meter, &nameless, 1, 1, &r));
    icd_meter_free(ctx, meter);
    icd_meter_free(ctx, NULL);
    icd_readings_free(ctx, NULL);
}

/* What a meter cannot take, does not tell or cannot mean is absent, with a reason. */
static void test_absent(void **state)
{
    icd_meter *meter = NULL;
    icd_readings *r = NULL;
    icd_meter_subject bare = {.name = "linear"};
    (void)state;
    assert_ok(ctx, icd_meter_open(ctx, "cachesim", NULL, &meter));
    assert_ok(ctx, icd_meter_measure(ctx, meter, &bare, 1, 1, &r));
    assert_non_null(strstr(icd_readings_find(r, "l2_hit_pct")->reason, "addresses"));
    icd_readings_free(ctx, r);
    icd_meter_free(ctx, meter);
    r = read_one("a", "linear", NULL);
    assert_int_equal(r->count, 3);
    assert_non_null(strstr(icd_readings_find(r, "cycles")->reason, "told nothing"));
    assert_null(icd_readings_find(r, "joules"));
    icd_readings_free(ctx, r);
}

/* The processor's counters tell nothing of an arm on a GPU, available or not. */
static void test_elsewhere(void **state)
{
    icd_meter_kind kind = PLAY;
    icd_meter meter = {.kind = &kind, .state = {.available = true}};
    icd_addrs *some = (icd_addrs *)(void *)&play;
    icd_meter_subject subject = {
        .name = "linear", .device = ICD_METER_GPU, .addrs = some};
    icd_readings *r = NULL;
    (void)state;
    kind.device = ICD_METER_CPU;
    play = (script){0};
    assert_ok(ctx, icd_meter_measure(ctx, &meter, &subject, 1, 0, &r));
    assert_int_equal(play.calls, 0);
    assert_true(r->elsewhere);
    assert_int_equal(r->count, 3);
    assert_int_equal(r->metric[0].provenance, ICD_ABSENT);
    assert_non_null(strstr(r->metric[0].reason, "runs on a GPU"));
    icd_readings_free(ctx, r);
    subject.device = ICD_METER_ANYWHERE;
    assert_ok(ctx, icd_meter_measure(ctx, &meter, &subject, 1, 0, &r));
    assert_int_equal(play.calls, 1);
    icd_readings_free(ctx, r);
}

/* A meter that failed says so in every metric. */
static void test_failed(void **state)
{
    icd_meter meter = {.kind = &PLAY};
    icd_meter_subject subject[2] = {{.name = "linear"}, {.name = "iterative"}};
    icd_readings *r[2] = {NULL};
    (void)state;
    assert_ok(ctx, icd_meter_absent(ctx, &meter, subject, 2, "it caught fire", r));
    for (int i = 0; i < 2; i++) {
        assert_string_equal(r[i]->arm, subject[i].name);
        assert_int_equal(r[i]->count, 3);
        assert_string_equal(r[i]->metric[2].reason, "it caught fire");
        icd_readings_free(ctx, r[i]);
    }
    subject[1].name = NULL;
    assert_fails(ctx, ICD_EINVAL, "no name",
                 icd_meter_absent(ctx, &meter, subject, 2, "why", r));
    assert_null(r[0]);
}

static void test_impossible(void **state)
{
    static const double VALUE[] = {100.1, -1, (double)NAN, (double)INFINITY};
    (void)state;
    for (int i = 0; i < 4; i++) {
        icd_metric m = {.name = "l2_hit_pct",
                        .unit = "%",
                        .value = VALUE[i],
                        .provenance = ICD_MEASURED};
        icd_readings *r = read_one("a", "linear", &m);
        assert_int_equal(icd_readings_find(r, "l2_hit_pct")->provenance, ICD_ABSENT);
        assert_non_null(strstr(icd_readings_find(r, "l2_hit_pct")->reason, "cannot be"));
        icd_readings_free(ctx, r);
    }
}

static void test_mean(void **state)
{
    const double x[] = {1, 2, 3};
    (void)state;
    icd_metric m = icd_i_meter_mean("a", "B", x, 3, ICD_MEASURED);
    assert_near(m.value, 2, 1e-12);
    assert_near(m.high - m.value, 4.302653 / sqrt(3), 1e-5); /* t of 2 degrees */
    m = icd_i_meter_mean("a", "B", x, 1, ICD_MEASURED);
    assert_true(isnan(m.low) && isnan(m.high));
}

static icd_metric l2(double value, icd_provenance p)
{
    return (icd_metric){.name = "l2_hit_pct",
                        .unit = "%",
                        .value = value,
                        .low = value - 1,
                        .high = value + 1,
                        .count = 5,
                        .provenance = p,
                        .reason = p == ICD_ABSENT ? "not here" : NULL};
}

static void test_file(void **state)
{
    const char *path = icd_test_path("meters.json");
    icd_metric modelled = l2(10, ICD_MODELLED), simulated = l2(20, ICD_SIMULATED),
               measured = l2(30, ICD_MEASURED), absent = l2(0, ICD_ABSENT);
    icd_readings *r[5];
    json_t *root = NULL;
    (void)state;
    r[0] = read_one("formula", "linear", &modelled);
    r[1] = read_one("counter", "linear", &measured);
    r[2] = read_one("cachesim", "linear", &simulated);
    r[3] = read_one("counter", "iterative", &absent);
    r[4] = read_one("cachesim", "iterative", &simulated);
    assert_ok(ctx, icd_readings_write(ctx, (const icd_readings *const *)r, 5, path));
    assert_ok(ctx, icd_i_json_read(ctx, path, &root));
    const json_t *arms = json_object_get(root, "arms"), *m;
    m = json_object_get(json_object_get(arms, "linear"), "l2_hit_pct");
    assert_string_equal(json_string_value(json_object_get(m, "meter")), "counter");
    assert_string_equal(json_string_value(json_object_get(m, "provenance")), "MEASURED");
    assert_near(json_number_value(json_object_get(m, "value")), 30, 1e-12);
    assert_near(json_number_value(json_object_get(m, "low")), 29, 1e-12);
    m = json_object_get(json_object_get(arms, "iterative"), "l2_hit_pct");
    assert_string_equal(json_string_value(json_object_get(m, "meter")), "cachesim");
    assert_true(json_is_null(json_object_get(m, "reason")));
    m = json_object_get(json_object_get(arms, "iterative"), "cycles");
    assert_string_equal(json_string_value(json_object_get(m, "provenance")), "ABSENT");
    assert_true(json_is_string(json_object_get(m, "reason")));
    assert_true(json_is_null(json_object_get(m, "value")));
    assert_int_equal(json_array_size(json_object_get(root, "meters")), 5);
    json_decref(root);
    for (int i = 0; i < 5; i++) icd_readings_free(ctx, r[i]);
}

/* However good it looks, what was not measured meets no gate and decides nothing; nor
 * does a measurement without repetitions. */
static void test_gates(void **state)
{
    (void)state;
    for (int32_t p = ICD_ABSENT; p <= ICD_MODELLED; p++)
        for (int32_t q = ICD_ABSENT; q <= ICD_MODELLED; q++) {
            icd_metric a = l2(20, (icd_provenance)p), b = l2(90, (icd_provenance)q);
            icd_evidence e = icd_evidence_metrics("l2", &a, &b, false, true);
            bool measured = p == ICD_MEASURED && q == ICD_MEASURED;
            icd_evidence_judge(&e, 1);
            icd_gate g = icd_gate_change("l2", &e, 10);
            assert_int_equal(g.result, measured ? ICD_GATE_MET : ICD_GATE_NOT_EVALUATED);
            assert_int_equal(icd_decide(&e, 1).keep, measured);
        }
    icd_metric a = l2(20, ICD_MEASURED), b = l2(90, ICD_MEASURED);
    b.low = b.high = (double)NAN;
    b.count = 1;
    icd_evidence e = icd_evidence_metrics("l2", &a, &b, false, true);
    icd_evidence_judge(&e, 1);
    assert_int_equal(icd_gate_change("l2", &e, 10).result, ICD_GATE_NOT_EVALUATED);
    assert_non_null(strstr(e.reason, "interval"));
    assert_false(icd_decide(&e, 1).keep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),     cmocka_unit_test(test_wrong_arguments),
        cmocka_unit_test(test_absent),    cmocka_unit_test(test_impossible),
        cmocka_unit_test(test_elsewhere), cmocka_unit_test(test_failed),
        cmocka_unit_test(test_mean),      cmocka_unit_test(test_file),
        cmocka_unit_test(test_gates),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
