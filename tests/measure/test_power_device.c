/* The readers of NVML, RAPL and ncu on what this machine has; skipped where it has none.
 */
#include "fixture.h"

#include "base/clock.h"
#include "measure/ncu.h"
#include "measure/nvml.h"
#include "measure/rapl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static icd_status wait_a_little(icd_ctx *c, void *self)
{
    struct timespec t = {0, 5000000};
    (void)c;
    (void)self;
    nanosleep(&t, NULL);
    return ICD_OK;
}

static const icd_arm ARM = {.name = "waiting", .step = wait_a_little};
static const icd_arm *const ARMS[] = {&ARM};

/* One window of a source: watts that a machine can take. */
static void check_source(const icd_power_source *source, double most)
{
    icd_power_plan plan = {.window_s = .5, .windows = 1};
    icd_power_record r;
    assert_ok(ctx, icd_i_power_run(ctx, source, &plan, ARMS, 1, &r));
    for (int64_t i = 0; i < r.spans; i++)
        if (r.span[i].phase == ICD_POWER_WINDOW) {
            print_message("%.2f W over %.2f s, %.2f %% of it spent in reading\n",
                          r.span[i].watts, r.span[i].to - r.span[i].from,
                          100 * r.reading_s / (r.span[i].to - r.span[i].from));
            assert_true(r.span[i].watts > 0 && r.span[i].watts < most);
        }
    icd_i_power_record_release(ctx, &r);
}

static void the_board_of_this_machine(void **state)
{
    icd_nvml *n;
    (void)state;
    assert_ok(ctx, icd_i_nvml_open(ctx, "libnvidia-ml.so.1", 0, &n));
    print_message("%s\n", icd_i_nvml_state(n)->found);
    if (!icd_i_nvml_state(n)->available) {
        icd_i_nvml_close(ctx, n);
        skip();
    }
    icd_power_source source = icd_i_nvml_source(n);
    check_source(&source, 2000);
    icd_i_nvml_close(ctx, n);
}

static void the_packages_of_this_machine(void **state)
{
    icd_rapl rapl;
    (void)state;
    icd_i_rapl_open("/sys/class/powercap", "/sys/bus/event_source/devices", &rapl);
    print_message("%s\n", rapl.found);
    if (rapl.domains == 0) skip();
    icd_power_source source = icd_i_rapl_source(&rapl);
    check_source(&source, 5000);
    icd_i_rapl_close(&rapl);
}

/* A product of matrices: it reads them, so bytes and rates are there. */
static void ncu_of_this_machine(void **state)
{
    static const char *const COMMAND[] = {
        "python3", "-c",
        "import torch; a = torch.randn(4096, 4096, device='cuda'); print((a @ a).sum())",
        NULL};
    icd_meter_opts o = {
        .size = sizeof o, .ncu = "ncu", .ncu_mode = ICD_NCU_FULL, .timeout_s = 240};
    icd_ncu n;
    icd_ncu_result r;
    (void)state;
    if (!getenv("ICD_TEST_NCU")) {
        print_message("skipped: ICD_TEST_NCU=1 runs it; it takes a minute\n");
        skip();
    }
    assert_ok(ctx, icd_i_ncu_open(ctx, &o, &n));
    print_message("%s\n", n.found);
    if (!n.available) {
        icd_i_ncu_close(ctx, &n);
        skip();
    }
    icd_status status = icd_i_ncu_measure(ctx, &n, "product", COMMAND, 1, 1, &r);
    if (status == ICD_OK && !*r.refused) {
        const double *x = r.sum->value;
        print_message("%lld kernels, %lld passes, %.2f %%, %.0f B read, %.1f s\n",
                      (long long)r.sum->kernels, (long long)r.passes, x[ICD_NCU_HIT_RATE],
                      x[ICD_NCU_DRAM_READ], r.seconds);
        assert_true(x[ICD_NCU_HIT_RATE] >= 0 && x[ICD_NCU_HIT_RATE] <= 100);
        assert_true(x[ICD_NCU_DRAM_READ] > 1e6);
    } else {
        print_message("skipped: %s\n",
                      status == ICD_OK ? r.refused : icd_ctx_message(ctx));
    }
    if (status == ICD_OK) icd_i_ncu_result_release(ctx, &r);
    icd_i_ncu_close(ctx, &n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_board_of_this_machine),
        cmocka_unit_test(the_packages_of_this_machine),
        cmocka_unit_test(ncu_of_this_machine),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
