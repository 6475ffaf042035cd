#include "support.h"

#include "base/clock.h"
#include "fakes/nvml.h"
#include "measure/nvml.h"

#include <dlfcn.h>
#include <math.h>
#include <string.h>
#include <time.h>

static icd_ctx *ctx;
static fake_nvml *board; /* of the newer library */
static fake_nvml_load_fn *load;
static void *library[2];

static void *symbol(int which, const char *name)
{
    void *address = dlsym(library[which], name);
    assert_non_null(address);
    return address;
}

static fake_nvml *reset(int which)
{
    void (*again)(void);
    fake_nvml_fn *device;
    void *address = symbol(which, "fake_nvml_reset");
    memcpy(&again, &address, sizeof again);
    again();
    address = symbol(which, "fake_nvml_device");
    memcpy(&device, &address, sizeof device);
    address = symbol(which, "fake_nvml_load");
    memcpy(&load, &address, sizeof load);
    return device();
}

static int set_up(void **state)
{
    (void)state;
    ctx = icd_ctx_new(NULL);
    library[0] = dlopen(ICD_FAKE_NVML, RTLD_NOW);
    library[1] = dlopen(ICD_FAKE_NVML_OLD, RTLD_NOW);
    return ctx && library[0] && library[1] ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    dlclose(library[0]);
    dlclose(library[1]);
    return 0;
}

static int each(void **state)
{
    (void)state;
    board = reset(0);
    return 0;
}

static icd_nvml *open_with(const char *path, int32_t device)
{
    icd_nvml *n = NULL;
    assert_ok(ctx, icd_i_nvml_open(ctx, path, device, &n));
    return n;
}

/* Opens, expects a refusal that says `found`, and a command that says `enable`. */
static void expect_refusal(const char *path, int32_t device, const char *found,
                           const char *enable)
{
    icd_nvml *n = open_with(path, device);
    const icd_nvml_state *s = icd_i_nvml_state(n);
    assert_false(s->available);
    if (!strstr(s->found, found)) fail_msg("'%s' lacks '%s'", s->found, found);
    assert_non_null(s->enable);
    if (!strstr(s->enable, enable)) fail_msg("'%s' lacks '%s'", s->enable, enable);
    icd_i_nvml_close(ctx, n);
}

static void what_keeps_it_from_working_is_told(void **state)
{
    (void)state;
    expect_refusal("/no/such/libnvidia-ml.so.1", 0, "cannot be loaded",
                   "install the NVIDIA driver");
    expect_refusal("libm.so.6", 0, "has no nvmlInit_v2", "driver");
    expect_refusal(ICD_FAKE_NVML, 1, "no GPU 1: NVML counts 1", "meter.device");
    board->devices = 0;
    expect_refusal(ICD_FAKE_NVML, 0, "NVML counts 0", "driver");
    reset(0)->init = 9;
    expect_refusal(ICD_FAKE_NVML, 0, "Driver Not Loaded", "modprobe nvidia");
    reset(0)->init = 18;
    expect_refusal(ICD_FAKE_NVML, 0, "version mismatch", "reboot");
    reset(0)->handle = 4;
    expect_refusal(ICD_FAKE_NVML, 0, "Insufficient Permissions", "usermod");
    each(NULL);
    board->energy = board->power = board->instant = 4;
    expect_refusal(ICD_FAKE_NVML, 0, "neither energy (Insufficient Permissions)",
                   "usermod");
    each(NULL);
    board->energy = board->power = board->instant = 3;
    expect_refusal(ICD_FAKE_NVML, 0, "tells neither energy (Not Supported)",
                   "power sensor");
}

static bool read_once(icd_nvml *n, icd_power_row *row, char why[160])
{
    icd_power_source source = icd_i_nvml_source(n);
    *row = (icd_power_row){.t = icd_i_now(),
                           .joules = NAN,
                           .watts = NAN,
                           .sm_mhz = NAN,
                           .mem_mhz = NAN,
                           .celsius = NAN,
                           .busy_pct = NAN,
                           .throttle = -1};
    return source.read(source.self, row, why);
}

static void units_and_what_stands_beside_energy(void **state)
{
    icd_power_row row;
    char why[160] = "";
    (void)state;
    board->tick_s = 0;
    board->throttle = 0x44;
    board->watts = 321.5;
    icd_nvml *n = open_with(ICD_FAKE_NVML, 0);
    assert_string_equal(icd_i_nvml_state(n)->found,
                        "Fake GPU, driver 580.95.05, total-energy counter");
    assert_true(icd_i_nvml_source(n).counts);
    assert_true(read_once(n, &row, why));
    assert_near(row.joules, 0, 0);
    assert_near(row.watts, 321.5, 1e-9);
    assert_near(row.sm_mhz, 1980, 0);
    assert_near(row.mem_mhz, 2619, 0);
    assert_near(row.celsius, 41, 0);
    assert_near(row.busy_pct, 97, 0);
    assert_int_equal(row.throttle, 0x44);
    board->start_mj += 5000; /* 5 J at once */
    board->watts = 0;
    assert_true(read_once(n, &row, why));
    assert_true(row.joules >= 4.999 && row.joules < 2000);
    icd_i_nvml_close(ctx, n);
}

static void what_a_board_does_not_tell_stays_unknown(void **state)
{
    icd_power_row row;
    char why[160] = "";
    (void)state;
    board->clock = board->temperature = board->reasons = board->busy = 3;
    board->power = board->instant = 3;
    icd_nvml *n = open_with(ICD_FAKE_NVML, 0);
    assert_true(icd_i_nvml_state(n)->available);
    assert_true(read_once(n, &row, why));
    assert_true(isnan(row.watts) && isnan(row.sm_mhz) && isnan(row.mem_mhz));
    assert_true(isnan(row.celsius) && isnan(row.busy_pct));
    assert_int_equal(row.throttle, -1);
    icd_i_nvml_close(ctx, n);
}

static void a_counter_of_32_bits_wraps_and_a_reset_is_an_error(void **state)
{
    icd_power_row row;
    char why[160] = "";
    (void)state;
    board->tick_s = 0;
    board->watts = 0;
    board->start_mj = 4294967295.0 - 1000;
    board->wrap_mj = 4294967296.0;
    icd_nvml *n = open_with(ICD_FAKE_NVML, 0);
    assert_true(read_once(n, &row, why));
    board->start_mj += 3000;
    assert_true(read_once(n, &row, why));
    assert_near(row.joules, 3, 2e-3);
    board->wrap_mj = 0;
    board->start_mj = 20e6;
    assert_true(read_once(n, &row, why));
    board->start_mj = 3000;
    assert_false(read_once(n, &row, why));
    assert_non_null(strstr(why, "driver was loaded again"));
    icd_i_nvml_close(ctx, n);
}

static void an_old_driver_is_read_by_its_power(void **state)
{
    icd_power_row row;
    char why[160] = "";
    fake_nvml *old = reset(1);
    (void)state;
    old->watts = 150;
    old->throttle = 1;
    icd_nvml *n = open_with(ICD_FAKE_NVML_OLD, 0);
    assert_string_equal(icd_i_nvml_state(n)->found,
                        "Fake GPU, driver 580.95.05, power samples, no energy counter");
    assert_non_null(strstr(icd_i_nvml_method(n), "integrated"));
    assert_non_null(strstr(icd_i_nvml_method(n), "running mean"));
    icd_power_source source = icd_i_nvml_source(n);
    assert_false(source.counts);
    assert_near(source.period_s, 1, 0);
    assert_true(read_once(n, &row, why));
    assert_true(isnan(row.joules));
    assert_near(row.watts, 150, 0);
    assert_int_equal(row.throttle, 1);
    old->power = 15;
    assert_false(read_once(n, &row, why));
    assert_non_null(strstr(why, "no longer tells power: GPU is lost"));
    icd_i_nvml_close(ctx, n);
    /* A newer driver of a board without the counter tells power at this moment. */
    reset(0)->energy = 3;
    n = open_with(ICD_FAKE_NVML, 0);
    assert_non_null(strstr(icd_i_nvml_method(n), "instantaneous"));
    icd_i_nvml_close(ctx, n);
}

/* A step takes 400 W, and its end 60 W again. */
static icd_status step(icd_ctx *c, void *self)
{
    struct timespec t = {0, 4000000};
    (void)c;
    (void)self;
    load(400);
    nanosleep(&t, NULL);
    load(60);
    return ICD_OK;
}

static const icd_arm ARM = {.name = "busy", .step = step};
static const icd_arm *const ARMS[] = {&ARM};

static void windows_on_a_slow_counter(void **state)
{
    icd_power_plan plan = {.window_s = .2, .idle_s = .1, .windows = 2};
    icd_power_record r;
    (void)state;
    icd_nvml *n = open_with(ICD_FAKE_NVML, 0);
    icd_power_source source = icd_i_nvml_source(n);
    source.period_s = .02; /* as the fake ticks */
    source.poll_s = .003;
    assert_ok(ctx, icd_i_power_run(ctx, &source, &plan, ARMS, 1, &r));
    for (int64_t i = 0; i < r.spans; i++) {
        if (r.span[i].phase != ICD_POWER_WINDOW) continue;
        double idle = icd_i_power_idle(&r, i);
        assert_true(r.span[i].watts > 200 && r.span[i].watts < 440);
        assert_true(idle > 40 && idle < 100);
    }
    icd_i_power_record_release(ctx, &r);
    board->tick_s = -1;
    assert_ok(ctx, icd_i_power_run(ctx, &source, &plan, ARMS, 1, &r));
    for (int64_t i = 0; i < r.spans; i++) assert_true(isnan(r.span[i].joules));
    icd_i_power_record_release(ctx, &r);
    board->fail_from = board->calls + 20;
    board->fail_code = 15;
    assert_fails(ctx, ICD_EMEASURE, "no longer tells energy: GPU is lost",
                 icd_i_power_run(ctx, &source, &plan, ARMS, 1, &r));
    icd_i_nvml_close(ctx, n);
}

static icd_status open_and_close(icd_ctx *c, void *arg)
{
    icd_nvml *n = NULL;
    (void)arg;
    icd_status status = icd_i_nvml_open(c, ICD_FAKE_NVML, 0, &n);
    icd_i_nvml_close(c, n);
    return status;
}

static void allocations_may_fail(void **state)
{
    (void)state;
    icd_test_failing_allocations(open_and_close, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_keeps_it_from_working_is_told, each),
        cmocka_unit_test_setup(units_and_what_stands_beside_energy, each),
        cmocka_unit_test_setup(what_a_board_does_not_tell_stays_unknown, each),
        cmocka_unit_test_setup(a_counter_of_32_bits_wraps_and_a_reset_is_an_error, each),
        cmocka_unit_test_setup(an_old_driver_is_read_by_its_power, each),
        cmocka_unit_test_setup(windows_on_a_slow_counter, each),
        cmocka_unit_test_setup(allocations_may_fail, each),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
