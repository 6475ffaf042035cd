/* The meters nvml, rapl and ncu through the public interface. */
#include "fixture.h"

#include "base/file.h"
#include "base/mem.h"
#include "fakes/nvml.h"

#include <icd/meter.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A RAPL tree whose counter an arm's steps push on. */
static char counter_path[512];
static int64_t counter_uj;

static void write_counter(void)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%015lld\n", (long long)counter_uj);
    int fd = open(counter_path, O_WRONLY | O_CREAT, 0644);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, text, (size_t)n, 0), n);
    close(fd);
}

static void make_tree(void)
{
    const char *zone = icd_test_path("rapl/intel-rapl:0");
    assert_ok(ctx, icd_i_mkdirs(ctx, zone));
    assert_ok(ctx, icd_i_file_write(ctx, icd_test_path("rapl/intel-rapl:0/name"),
                                    "package-0\n", 10));
    assert_ok(
        ctx, icd_i_file_write(ctx, icd_test_path("rapl/intel-rapl:0/max_energy_range_uj"),
                              "262143328850\n", 13));
    snprintf(counter_path, sizeof counter_path, "%s",
             icd_test_path("rapl/intel-rapl:0/energy_uj"));
    /* Close to the end: the counter wraps while it is measured. */
    counter_uj = 262143328850 - 5000000;
    write_counter();
}

/* 1 ms and `*self` microjoules, which the counter shows at once. */
static icd_status step(icd_ctx *c, void *self)
{
    struct timespec t = {0, 1000000};
    (void)c;
    nanosleep(&t, NULL);
    counter_uj = (counter_uj + *(int64_t *)self) % 262143328850;
    write_counter();
    return ICD_OK;
}

static double value(const icd_readings *r, const char *name)
{
    const icd_metric *m = icd_readings_find(r, name);
    assert_non_null(m);
    if (m->provenance != ICD_MEASURED) fail_msg("%s: %s", name, m->reason);
    return m->value;
}

static void expect_absent(const icd_readings *r, const char *name, const char *reason)
{
    const icd_metric *m = icd_readings_find(r, name);
    assert_non_null(m);
    assert_int_equal(m->provenance, ICD_ABSENT);
    if (!m->reason || !strstr(m->reason, reason))
        fail_msg("%s: '%s' lacks '%s'", name, m->reason ? m->reason : "", reason);
}

static void two_arms_on_a_counter_that_wraps(void **state)
{
    int64_t much = 500000, less = 400000;
    const icd_arm arm[2] = {{.name = "linear", .step = step, .self = &much},
                            {.name = "iterative", .step = step, .self = &less}};
    const icd_meter_subject subject[2] = {
        {.name = "linear", .tokens = 10, .arm = &arm[0]},
        {.name = "iterative", .tokens = 10, .arm = &arm[1]}};
    char root[512], dir[512], *csv = NULL;
    size_t size;
    icd_meter_opts o;
    icd_meter *meter;
    icd_readings *r[2];
    (void)state;
    make_tree();
    snprintf(root, sizeof root, "%s", icd_test_path("rapl"));
    snprintf(dir, sizeof dir, "%s", icd_test_dir());
    icd_options_init(&icd_meter_table, &o);
    o.powercap = root;
    o.dir = dir;
    o.window_s = .1;
    o.idle_s = .06;
    o.power_sample_hz = 50;
    assert_ok(ctx, icd_meter_open(ctx, "rapl", &o, &meter));
    assert_true(icd_meter_probe(meter)->available);
    assert_string_equal(icd_meter_probe(meter)->found, "powercap: package-0");
    assert_ok(ctx, icd_meter_measure(ctx, meter, subject, 2, 2, r));
    /* The edges are off by what the machine keeps the polling thread waiting. */
    assert_near(value(r[0], "energy_j"), .5, .25);
    assert_near(value(r[1], "energy_j"), .4, .2);
    assert_near(value(r[0], "ept_j_per_tok"), value(r[0], "energy_j") / 10, 1e-9);
    assert_true(value(r[0], "power_w") > 0);
    assert_int_equal(icd_readings_find(r[0], "energy_j")->count, 2);
    assert_non_null(strstr(r[0]->method, "RAPL through powercap"));
    assert_non_null(strstr(r[0]->detail, "\"windows\""));
    assert_non_null(strstr(r[1]->detail, "\"linear\""));
    assert_ok(ctx, icd_i_file_read(ctx, icd_test_path("power_cpu.csv"), &csv, &size));
    assert_non_null(strstr(csv, ",window,linear,0,"));
    assert_non_null(strstr(csv, ",window,iterative,1,"));
    icd_i_free(ctx, csv);
    for (int i = 0; i < 2; i++) icd_readings_free(ctx, r[i]);
    icd_meter_free(ctx, meter);
}

static void a_board_without_idle_windows(void **state)
{
    int64_t some = 1;
    const icd_arm arm = {.name = "linear", .step = step, .self = &some};
    const icd_meter_subject subject[2] = {{.name = "linear", .tokens = 1, .arm = &arm},
                                          {.name = "other", .tokens = 1}};
    void *library = dlopen(ICD_FAKE_NVML, RTLD_NOW), *address;
    void (*reset)(void);
    icd_meter_opts o;
    icd_meter *meter;
    icd_readings *r[2];
    (void)state;
    assert_non_null(library);
    address = dlsym(library, "fake_nvml_reset");
    memcpy(&reset, &address, sizeof reset);
    reset();
    icd_options_init(&icd_meter_table, &o);
    o.nvml = ICD_FAKE_NVML;
    o.window_s = .1;
    o.idle_s = 0;
    assert_ok(ctx, icd_meter_open(ctx, "nvml", &o, &meter));
    assert_ok(ctx, icd_meter_measure(ctx, meter, subject, 2, 1, r));
    assert_near(value(r[0], "power_w"), 60, 15);
    expect_absent(r[0], "idle_w", "meter.idle_s is 0");
    expect_absent(r[0], "ept_net_j_per_tok", "meter.idle_s is 0");
    assert_non_null(strstr(r[0]->method, "total-energy counter"));
    assert_non_null(strstr(r[0]->detail, "\"sm_mhz\":1980"));
    expect_absent(r[1], "energy_j", "cannot be stepped");
    for (int i = 0; i < 2; i++) icd_readings_free(ctx, r[i]);
    icd_meter_free(ctx, meter);
    dlclose(library);
}

static void a_missing_library_leaves_a_reason(void **state)
{
    const icd_meter_subject subject = {.name = "linear"};
    icd_meter_opts o;
    icd_meter *meter;
    icd_readings *r;
    (void)state;
    icd_options_init(&icd_meter_table, &o);
    o.nvml = "/no/such/library";
    assert_ok(ctx, icd_meter_open(ctx, "nvml", &o, &meter));
    assert_false(icd_meter_probe(meter)->available);
    assert_non_null(strstr(icd_meter_probe(meter)->enable, "NVIDIA driver"));
    assert_ok(ctx, icd_meter_measure(ctx, meter, &subject, 1, 1, &r));
    expect_absent(r, "ept_j_per_tok", "NVML cannot be loaded");
    icd_readings_free(ctx, r);
    icd_meter_free(ctx, meter);
}

static icd_readings *profile(const char *mood, int32_t mode, const char *nvtx,
                             int64_t runs)
{
    static const char *const COMMAND[] = {"icd", "bench", "{steps}", NULL};
    const icd_meter_subject subject = {.name = "linear", .command = COMMAND, .steps = 5};
    icd_meter_opts o;
    icd_meter *meter;
    icd_readings *r;
    setenv("FAKE_NCU", mood, 1);
    icd_options_init(&icd_meter_table, &o);
    o.ncu = ICD_FAKE_NCU;
    o.ncu_mode = mode;
    o.ncu_kernels = 3;
    o.nvtx = nvtx;
    assert_ok(ctx, icd_meter_open(ctx, "ncu", &o, &meter));
    assert_true(icd_meter_probe(meter)->available);
    assert_ok(ctx, icd_meter_measure(ctx, meter, &subject, 1, runs, &r));
    icd_meter_free(ctx, meter);
    return r;
}

static void kernels_of_whole_steps(void **state)
{
    (void)state;
    icd_readings *r = profile("", ICD_NCU_FULL, "icd/", 2);
    assert_near(value(r, "l2_hit_pct"), (2.5 + 80.5 + 90.5) / 2.1, 1e-9);
    assert_near(value(r, "dram_read_bytes"), 20048576 / 5., 1e-6);
    assert_near(value(r, "dram_bytes"), (20048576 + 3097152) / 5., 1e-6);
    assert_near(value(r, "l2_read_bytes"), 32 * 1840000. / 5, 1e-6);
    assert_int_equal(icd_readings_find(r, "l2_hit_pct")->count, 2);
    assert_non_null(strstr(r->detail, "\"kernels\":[{"));
    assert_non_null(strstr(r->detail, "\"replay_mode\":\"application\""));
    icd_readings_free(ctx, r);
}

static void bytes_need_whole_steps(void **state)
{
    (void)state;
    icd_readings *r = profile("", ICD_NCU_SAMPLE, "icd/", 1);
    assert_near(value(r, "l2_hit_pct"), (2.5 + 80.5 + 90.5) / 2.1, 1e-9);
    expect_absent(r, "dram_bytes", "meter.ncu_mode is sample");
    icd_readings_free(ctx, r);
    r = profile("", ICD_NCU_FULL, NULL, 1);
    expect_absent(r, "dram_bytes", "set meter.nvtx");
    icd_readings_free(ctx, r);
    r = profile("wrong", ICD_NCU_FULL, "icd/", 1);
    assert_near(value(r, "l2_hit_pct"), 85, 1e-9);
    expect_absent(r, "dram_bytes", "negative count");
    expect_absent(r, "dram_write_bytes", "negative count");
    assert_near(value(r, "dram_read_bytes"), 20.01e6 / 5, 1e-3);
    icd_readings_free(ctx, r);
}

/* A command that begins and ends profiling itself: no other kernel is in the table. */
static void bytes_of_a_profiled_range(void **state)
{
    static const char *const COMMAND[] = {"icd", NULL};
    const icd_meter_subject subject = {.name = "linear", .command = COMMAND, .steps = 5};
    icd_meter_opts o;
    icd_meter *meter;
    icd_readings *r;
    (void)state;
    setenv("FAKE_NCU", "", 1);
    icd_options_init(&icd_meter_table, &o);
    o.ncu = ICD_FAKE_NCU;
    o.ncu_mode = ICD_NCU_FULL;
    o.ncu_range = true;
    o.ncu_runs = 2;
    assert_ok(ctx, icd_meter_open(ctx, "ncu", &o, &meter));
    assert_ok(ctx, icd_meter_measure(ctx, meter, &subject, 1, 3, &r));
    assert_near(value(r, "dram_bytes"), (20048576 + 3097152) / 5., 1e-6);
    assert_int_equal(icd_readings_find(r, "dram_bytes")->count, 2);
    icd_readings_free(ctx, r);
    icd_meter_free(ctx, meter);
}

static void a_refusal_is_the_reason_of_every_metric(void **state)
{
    (void)state;
    icd_readings *r = profile("perm", ICD_NCU_FULL, "icd/", 3);
    for (int64_t i = 0; i < r->count; i++)
        expect_absent(r, r->metric[i].name, "NVreg_RestrictProfilingToAdminUsers=0");
    assert_int_equal(r->count, 5);
    icd_readings_free(ctx, r);
}

static icd_status open_and_measure(icd_ctx *c, void *arg)
{
    static const char *const COMMAND[] = {"icd", NULL};
    const icd_meter_subject subject = {.name = "linear", .command = COMMAND};
    icd_meter_opts o;
    icd_meter *meter;
    icd_readings *r;
    (void)arg;
    icd_options_init(&icd_meter_table, &o);
    o.ncu = ICD_FAKE_NCU;
    icd_status status = icd_meter_open(c, "ncu", &o, &meter);
    if (status != ICD_OK) return status;
    status = icd_meter_measure(c, meter, &subject, 1, 1, &r);
    if (status == ICD_OK) icd_readings_free(c, r);
    icd_meter_free(c, meter);
    return status;
}

static void allocations_may_fail(void **state)
{
    (void)state;
    setenv("FAKE_NCU", "", 1);
    icd_test_failing_allocations(open_and_measure, NULL);
}

static icd_status open_energy(icd_ctx *c, void *arg)
{
    icd_meter_opts o;
    icd_meter *meter = NULL;
    icd_options_init(&icd_meter_table, &o);
    o.powercap = arg;
    o.nvml = ICD_FAKE_NVML;
    icd_status status = icd_meter_open(c, "rapl", &o, &meter);
    icd_meter_free(c, meter);
    meter = NULL;
    if (status == ICD_OK) status = icd_meter_open(c, "nvml", &o, &meter);
    icd_meter_free(c, meter);
    return status;
}

static void allocations_of_energy_may_fail(void **state)
{
    char root[512];
    (void)state;
    make_tree();
    snprintf(root, sizeof root, "%s", icd_test_path("rapl"));
    icd_test_failing_allocations(open_energy, root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_arms_on_a_counter_that_wraps),
        cmocka_unit_test(a_board_without_idle_windows),
        cmocka_unit_test(a_missing_library_leaves_a_reason),
        cmocka_unit_test(kernels_of_whole_steps),
        cmocka_unit_test(bytes_need_whole_steps),
        cmocka_unit_test(bytes_of_a_profiled_range),
        cmocka_unit_test(a_refusal_is_the_reason_of_every_metric),
        cmocka_unit_test(allocations_may_fail),
        cmocka_unit_test(allocations_of_energy_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
