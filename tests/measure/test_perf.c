#include "fixture.h"

#include "measure/perf_pmu_meter.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* A processor whose counters advance when an arm steps. */
typedef struct fake {
    uint64_t count[ICD_PERF_EVENTS], time;
    int refuse;  /* errno of every open; 0: none */
    int missing; /* event that does not exist; -1: none */
    int share;   /* a counter runs one of `share` nanoseconds */
    int opened, closed, reads_left;
} fake;

static int fake_open(void *self, icd_perf_event event, int32_t tid)
{
    fake *f = self;
    if (f->refuse) return -f->refuse;
    if (tid != 0 && tid != getpid()) return -ESRCH; /* a sanitizer's own thread */
    if ((int)event == f->missing) return -ENOENT;
    f->opened++;
    return (int)event;
}

static bool fake_read(void *self, int fd, icd_perf_value *out)
{
    fake *f = self;
    *out = (icd_perf_value){f->count[fd] / (uint64_t)f->share, f->time,
                            f->time / (uint64_t)f->share};
    return f->reads_left-- > 0;
}

static void fake_close(void *self, int fd)
{
    (void)fd;
    ((fake *)self)->closed++;
}

/* An arm whose step costs what is written here. */
typedef struct arm_cost {
    fake *machine;
    uint64_t count[ICD_PERF_EVENTS];
    int64_t steps;
} arm_cost;

static icd_status take_step(icd_ctx *c, void *self)
{
    arm_cost *a = self;
    (void)c;
    for (int e = 0; e < ICD_PERF_EVENTS; e++) a->machine->count[e] += a->count[e];
    a->machine->time += 1000000;
    a->steps++;
    for (volatile int i = 0; i < 10000; i++) continue;
    return ICD_OK;
}

typedef struct bench {
    fake machine;
    arm_cost cost[2];
    icd_arm arm[2];
    icd_meter_subject subject[2];
    icd_perf_ops ops;
    icd_perf_meter self;
} bench;

static void prepare(bench *b, icd_perf_cache cache)
{
    *b = (bench){.machine = {.missing = -1, .share = 1, .reads_left = 1 << 20}};
    b->cost[0] = (arm_cost){&b->machine, {4000, 8000, 100, 25}, 0};
    b->cost[1] = (arm_cost){&b->machine, {2000, 4000, 50, 5}, 0};
    b->arm[0] = (icd_arm){.name = "linear", .step = take_step, .self = &b->cost[0]};
    b->arm[1] = (icd_arm){.name = "iterative", .step = take_step, .self = &b->cost[1]};
    for (int i = 0; i < 2; i++)
        b->subject[i] = (icd_meter_subject){.name = b->arm[i].name, .arm = &b->arm[i]};
    b->ops = (icd_perf_ops){fake_open, fake_read, fake_close, &b->machine};
    b->self = (icd_perf_meter){&b->ops, cache, 1e-4};
}

/* The meter `perf` on the fake processor. */
static icd_meter *open_fake(bench *b)
{
    icd_meter *meter = NULL;
    assert_ok(ctx, icd_meter_open(ctx, "perf", NULL, &meter));
    meter->self = &b->self;
    assert_ok(ctx, icd_i_perf_look(ctx, meter));
    return meter;
}

static void check(const icd_readings *r, const char *name, double value)
{
    const icd_metric *m = icd_readings_find(r, name);
    assert_non_null(m);
    assert_int_equal(m->provenance, ICD_MEASURED);
    assert_near(m->value, value, 1e-9 * value);
    assert_near(m->high - m->low, 0, 1e-9 * value);
    assert_int_equal(m->count, 4);
}

static void check_absent(const icd_readings *r, const char *name)
{
    const icd_metric *m = icd_readings_find(r, name);
    assert_non_null(m);
    assert_int_equal(m->provenance, ICD_ABSENT);
    assert_non_null(m->reason);
}

static void release(icd_readings **r)
{
    for (int i = 0; i < 2; i++) icd_readings_free(ctx, r[i]);
}

static void test_counts(void **state)
{
    (void)state;
    for (int l2 = 0; l2 < 2; l2++) {
        bench b;
        icd_readings *r[2];
        prepare(&b, l2 ? ICD_PERF_L2 : ICD_PERF_LLC);
        icd_meter *meter = open_fake(&b);
        assert_true(icd_meter_probe(meter)->available);
        assert_ok(ctx, icd_meter_measure(ctx, meter, b.subject, 2, 4, r));
        check(r[0], "cycles", 4000);
        check(r[0], "instructions", 8000);
        check(r[0], l2 ? "l2_hit_pct" : "llc_hit_pct", 75);
        check(r[1], l2 ? "l2_hit_pct" : "llc_hit_pct", 90);
        check(r[1], l2 ? "l2_misses" : "llc_misses", 5);
        check_absent(r[0], l2 ? "llc_hit_pct" : "l2_hit_pct");
        assert_int_equal(b.machine.opened, b.machine.closed);
        release(r);
        icd_meter_free(ctx, meter);
    }
}

/* A counter that runs a quarter of the time counts a quarter. */
static void test_multiplexed(void **state)
{
    bench b;
    icd_readings *r[2];
    (void)state;
    prepare(&b, ICD_PERF_LLC);
    b.machine.share = 4;
    icd_meter *meter = open_fake(&b);
    assert_ok(ctx, icd_meter_measure(ctx, meter, b.subject, 2, 4, r));
    check(r[0], "cycles", 4000);
    assert_non_null(strstr(r[0]->detail, "\"share_counted\":0.25"));
    release(r);
    icd_meter_free(ctx, meter);
}

static void test_missing_events(void **state)
{
    bench b;
    icd_readings *r[2];
    (void)state;
    prepare(&b, ICD_PERF_LLC);
    b.machine.missing = ICD_PERF_MISSES;
    icd_meter *meter = open_fake(&b);
    assert_ok(ctx, icd_meter_measure(ctx, meter, b.subject, 2, 4, r));
    check(r[0], "cycles", 4000);
    check(r[0], "llc_references", 100);
    check_absent(r[0], "llc_misses");
    check_absent(r[0], "llc_hit_pct");
    release(r);
    b.self.cache = ICD_PERF_NO_CACHE;
    assert_ok(ctx, icd_meter_measure(ctx, meter, b.subject, 2, 4, r));
    check(r[0], "instructions", 8000);
    check_absent(r[0], "llc_references");
    release(r);
    icd_meter_free(ctx, meter);
}

static void test_refused(void **state)
{
    static const struct {
        int error;
        const char *found, *enable;
    } CASE[] = {{EACCES, "perf_event_paranoid", "sysctl kernel.perf_event_paranoid=2"},
                {EPERM, "not permitted", "--cap-add PERFMON"},
                {ENOENT, "no hardware counters", "pmu=on"},
                {EOPNOTSUPP, "no hardware counters", "pmu=on"}};
    (void)state;
    for (size_t i = 0; i < sizeof CASE / sizeof CASE[0]; i++) {
        bench b;
        icd_readings *r[2];
        prepare(&b, ICD_PERF_LLC);
        b.machine.refuse = CASE[i].error;
        icd_meter *meter = open_fake(&b);
        assert_false(icd_meter_probe(meter)->available);
        assert_non_null(strstr(icd_meter_probe(meter)->found, CASE[i].found));
        assert_non_null(strstr(icd_meter_probe(meter)->enable, CASE[i].enable));
        assert_ok(ctx, icd_meter_measure(ctx, meter, b.subject, 2, 4, r));
        check_absent(r[1], "cycles");
        assert_non_null(
            strstr(icd_readings_find(r[1], "cycles")->reason, CASE[i].enable));
        assert_int_equal(b.cost[1].steps, 0);
        release(r);
        icd_meter_free(ctx, meter);
    }
}

static void test_failures(void **state)
{
    bench b;
    icd_readings *r[2];
    (void)state;
    prepare(&b, ICD_PERF_LLC);
    icd_meter *meter = open_fake(&b);
    b.machine.reads_left = 30;
    assert_fails(ctx, ICD_EMEASURE, "cannot be read",
                 icd_meter_measure(ctx, meter, b.subject, 2, 4, r));
    assert_null(r[0]);
    b.machine.refuse = EMFILE; /* opened before, not now */
    assert_fails(ctx, ICD_EMEASURE, "no counter",
                 icd_meter_measure(ctx, meter, b.subject, 2, 4, r));
    assert_int_equal(b.machine.opened, b.machine.closed);
    icd_meter_free(ctx, meter);
}

static void test_between(void **state)
{
    icd_perf_value a = {100, 50, 50}, b = {200, 150, 100}, back = {50, 200, 150};
    (void)state;
    assert_near(icd_i_perf_between(&a, &b), 200, 1e-12);
    assert_true(isnan(icd_i_perf_between(&a, &a)));
    assert_true(isnan(icd_i_perf_between(&b, &back)));
}

/* On this machine: either counters are there and count, or it is said why not. */
static void test_real(void **state)
{
    bench b;
    icd_meter *meter = NULL;
    icd_readings *r[2];
    (void)state;
    prepare(&b, ICD_PERF_LLC);
    assert_ok(ctx, icd_meter_open(ctx, "perf", NULL, &meter));
    const icd_meter_state *here = icd_meter_probe(meter);
    if (here->available) {
        assert_ok(ctx, icd_meter_measure(ctx, meter, b.subject, 2, 2, r));
        assert_true(icd_readings_find(r[0], "instructions")->value > 10000);
        release(r);
    } else {
        print_message("perf: %s; to enable: %s\n", here->found, here->enable);
    }
    icd_meter_free(ctx, meter);
}

static icd_status allocate(icd_ctx *c, void *arg)
{
    bench *b = arg;
    icd_meter *meter = NULL;
    icd_readings *r[2] = {NULL, NULL};
    icd_status status = icd_meter_open(c, "perf", NULL, &meter);
    if (status == ICD_OK) {
        meter->self = &b->self;
        status = icd_i_perf_look(c, meter);
    }
    if (status == ICD_OK) status = icd_meter_measure(c, meter, b->subject, 2, 1, r);
    for (int i = 0; i < 2; i++) icd_readings_free(c, r[i]);
    icd_meter_free(c, meter);
    return status;
}

static void test_memory(void **state)
{
    bench b;
    (void)state;
    prepare(&b, ICD_PERF_LLC);
    icd_test_failing_allocations(allocate, &b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),         cmocka_unit_test(test_multiplexed),
        cmocka_unit_test(test_missing_events), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_failures),       cmocka_unit_test(test_between),
        cmocka_unit_test(test_real),           cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
