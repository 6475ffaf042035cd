#include "fixture.h"

#include "base/file.h"
#include "measure/ncu.h"
#include "measure/ncu_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const COMMAND[] = {"icd", "bench", "--steps", "{steps}", NULL};

static icd_meter_opts options(void)
{
    return (icd_meter_opts){.size = sizeof(icd_meter_opts),
                            .ncu = ICD_FAKE_NCU,
                            .ncu_mode = ICD_NCU_FULL,
                            .ncu_kernels = 100,
                            .timeout_s = 30};
}

/* The fake in one of its moods. */
static void mood(const char *name)
{
    setenv("FAKE_NCU", name, 1);
}

static icd_ncu open_ncu(const icd_meter_opts *opts)
{
    icd_ncu n;
    assert_ok(ctx, icd_i_ncu_open(ctx, opts, &n));
    return n;
}

static void what_it_knows_is_asked(void **state)
{
    icd_meter_opts o = options();
    (void)state;
    mood("");
    icd_ncu n = open_ncu(&o);
    assert_true(n.available);
    assert_string_equal(n.version, "2025.3.1.0");
    assert_string_equal(n.found, "ncu 2025.3.1.0, lts__t_sector_hit_rate.pct");
    assert_true(icd_i_ncu_knows(&n, "dram__bytes_read.sum"));
    assert_true(icd_i_ncu_knows(&n, "dram__bytes_read.sum.per_second"));
    assert_true(icd_i_ncu_knows(&n, "launch__registers_per_thread"));
    assert_false(icd_i_ncu_knows(&n, "dram__bytes_rea.sum"));
    assert_false(icd_i_ncu_knows(&n, "l2_tex__t_sector_hit_rate.pct"));
    icd_i_ncu_close(ctx, &n);
    mood("newer");
    n = open_ncu(&o);
    assert_string_equal(n.names.alias[ICD_NCU_HIT_RATE]->name,
                        "lts__average_t_sector_hit_rate_realtime.pct");
    icd_i_ncu_close(ctx, &n);
}

static void what_keeps_it_from_working_is_told(void **state)
{
    icd_meter_opts o = options();
    (void)state;
    mood("nogpu");
    icd_ncu n = open_ncu(&o);
    assert_false(n.available);
    assert_non_null(strstr(n.found, "there is no CUDA device"));
    assert_non_null(n.enable);
    icd_i_ncu_close(ctx, &n);
    o.ncu = "/no/such/ncu";
    n = open_ncu(&o);
    assert_false(n.available);
    assert_non_null(strstr(n.found, "/no/such/ncu cannot be started"));
    assert_non_null(strstr(n.enable, "Nsight Compute"));
    icd_i_ncu_close(ctx, &n);
    o.ncu = "true";
    n = open_ncu(&o);
    assert_non_null(strstr(n.found, "tells no version"));
    icd_i_ncu_close(ctx, &n);
}

static icd_ncu_result measure(const icd_meter_opts *o, int64_t runs)
{
    icd_ncu n = open_ncu(o);
    icd_ncu_result r;
    assert_true(n.available);
    assert_ok(ctx, icd_i_ncu_measure(ctx, &n, "linear", COMMAND, 7, runs, &r));
    icd_i_ncu_close(ctx, &n);
    return r;
}

static void kernels_become_rates_and_bytes(void **state)
{
    icd_meter_opts o = options();
    (void)state;
    mood("");
    icd_ncu_result r = measure(&o, 2);
    assert_string_equal(r.refused, "");
    assert_int_equal(r.runs, 2);
    assert_int_equal(r.passes, 1);
    assert_true(r.whole && r.seconds > 0);
    const icd_ncu_sum *s = &r.sum[1];
    assert_int_equal(s->kernels, 3);
    assert_int_equal(s->rejected, 0);
    assert_near(s->value[ICD_NCU_HIT_RATE], (25 * .1 + 80.5 + 90.5) / 2.1, 1e-9);
    assert_near(s->value[ICD_NCU_DRAM_READ], 1048576 + 19e6, 0);
    assert_near(s->value[ICD_NCU_DRAM_WRITE], 2097152 + 1e6, 0);
    assert_near(s->value[ICD_NCU_L2_READ], 32 * 1840000., 0);
    assert_int_equal(json_array_size(r.kernels), 2);
    json_t *first = json_array_get(r.kernels, 0);
    assert_int_equal(json_integer_value(json_object_get(first, "launches")), 2);
    assert_near(json_real_value(json_object_get(first, "l2_hit_pct")), 85.5, 1e-9);
    icd_i_ncu_result_release(ctx, &r);
}

static char *read_log(void)
{
    char *text = NULL;
    size_t size;
    assert_ok(ctx, icd_i_file_read(ctx, getenv("FAKE_NCU_LOG"), &text, &size));
    return text;
}

static void how_it_is_run_is_fixed_and_kept(void **state)
{
    static const char *const EXTRA[] = {
        "sm__throughput.avg.pct_of_peak_sustained_elapsed", "no__such_metric.sum",
        "l2_tex__t_sector_hit_rate.pct", "dram__bytes_read.sum"};
    icd_meter_opts o = options();
    char dir[512], *raw = NULL;
    size_t size;
    icd_ncu_result r;
    (void)state;
    snprintf(dir, sizeof dir, "%s", icd_test_dir());
    setenv("FAKE_NCU_LOG", icd_test_path("ncu.log"), 1);
    mood("");
    o.dir = dir;
    o.nvtx = "icd/";
    o.ncu_mode = ICD_NCU_SAMPLE;
    o.ncu_kernels = 3;
    o.ncu_metrics = (icd_strings){EXTRA, 4};
    icd_ncu n = open_ncu(&o);
    assert_ok(ctx, icd_i_ncu_measure(ctx, &n, "linear", COMMAND, 7, 1, &r));
    assert_false(r.whole); /* three kernels were asked for, three came */
    json_t *sm = json_object_get(r.extra, EXTRA[0]);
    assert_near(json_real_value(json_object_get(sm, "mean")), 37.5, 1e-9);
    assert_int_equal(json_object_size(r.extra), 1);
    char *log = read_log();
    assert_non_null(strstr(
        log,
        "LC_ALL=C --csv --page raw --print-units base --target-processes all "
        "--replay-mode application --cache-control none --clock-control none --metrics "
        "lts__t_sector_hit_rate.pct,lts__t_sectors.sum,lts__t_sectors_op_read.sum,"
        "dram__bytes_read.sum,dram__bytes_write.sum --nvtx --nvtx-include icd/ "
        "--launch-count 3 icd bench --steps 7\n"));
    assert_non_null(
        strstr(log, "--metrics sm__throughput.avg.pct_of_peak_sustained_elapsed --nvtx"));
    assert_null(strstr(log, "no__such"));
    icd_i_free(ctx, log);
    json_t *settings = icd_i_ncu_settings(&n, &r);
    assert_string_equal(json_string_value(json_object_get(settings, "clock_control")),
                        "none");
    json_decref(settings);
    assert_ok(ctx, icd_i_file_read(ctx, icd_test_path("ncu.csv"), &raw, &size));
    assert_non_null(strstr(raw, "==ICD== arm linear, exit code 0: env LC_ALL=C"));
    assert_non_null(strstr(raw, "\"ID\",\"Process ID\""));
    icd_i_free(ctx, raw);
    icd_i_ncu_result_release(ctx, &r);
    icd_i_ncu_close(ctx, &n);
    unsetenv("FAKE_NCU_LOG");
}

static void values_that_cannot_be_are_rejected(void **state)
{
    icd_meter_opts o = options();
    (void)state;
    mood("wrong");
    icd_ncu_result r = measure(&o, 1);
    const icd_ncu_sum *s = r.sum;
    assert_int_equal(s->rejected, 1);
    /* The tiny kernel holds 50 of two million sectors. */
    assert_near(s->value[ICD_NCU_HIT_RATE], 85, 1e-9);
    assert_near(s->value[ICD_NCU_DRAM_READ], .01e6 + 20e6, 1e-3);
    assert_true(isnan(s->value[ICD_NCU_DRAM_WRITE]));
    assert_string_equal(s->why[ICD_NCU_DRAM_WRITE],
                        "kernel 1, 'big', has a negative count");
    assert_true(
        json_is_null(json_object_get(json_array_get(r.kernels, 0), "dram_write_bytes")));
    icd_i_ncu_result_release(ctx, &r);
}

static void refusals_name_the_command_that_helps(void **state)
{
    static const char *const MOOD[][2] = {
        {"perm", "NVreg_RestrictProfilingToAdminUsers=0"},
        {"busy", "dcgmi profile --pause"},
        {"loader", "sandbox"},
        {"nokernels", "ran no kernel"}};
    icd_meter_opts o = options();
    (void)state;
    for (int i = 0; i < 4; i++) {
        mood(MOOD[i][0]);
        icd_ncu_result r = measure(&o, 3);
        if (!strstr(r.refused, MOOD[i][1]))
            fail_msg("'%s' lacks '%s'", r.refused, MOOD[i][1]);
        assert_int_equal(r.runs, 0);
        icd_i_ncu_result_release(ctx, &r);
    }
}

static void failures_are_errors(void **state)
{
    static const char *const MOOD[][2] = {
        {"crash", "exit code 11: The application returned an error code (11)."},
        {"cut", "line 10: found 9 fields, expected 16"},
        {"hang", "ran longer than 0.5 s"}};
    icd_meter_opts o = options();
    (void)state;
    for (int i = 0; i < 3; i++) {
        icd_ncu_result r;
        mood(MOOD[i][0]);
        o.timeout_s = strcmp(MOOD[i][0], "hang") == 0 ? .5 : 30;
        icd_ncu n = open_ncu(&o);
        assert_fails(ctx, ICD_EMEASURE, MOOD[i][1],
                     icd_i_ncu_measure(ctx, &n, "linear", COMMAND, 1, 1, &r));
        assert_null(r.sum);
        icd_i_ncu_close(ctx, &n);
    }
}

static void a_decimal_comma_is_no_number(void **state)
{
    icd_meter_opts o = options();
    (void)state;
    mood("decimal");
    icd_ncu_result r = measure(&o, 1);
    assert_true(isnan(r.sum->value[ICD_NCU_HIT_RATE]));
    assert_string_equal(r.sum->why[ICD_NCU_HIT_RATE],
                        "1 of 3 kernels do not tell it: found 80,50");
    icd_i_ncu_result_release(ctx, &r);
}

static void words_of_ncu(void **state)
{
    char text[64];
    (void)state;
    assert_int_equal(icd_i_ncu_passes(""), 1);
    assert_int_equal(
        icd_i_ncu_passes("==PROF== Profiling \"k - 9 passes\" - 0: 0%..100% - 3 passes\n"
                         "9 passes\n==PROF== Profiling \"k\": Application replay pass 2"),
        3);
    assert_true(
        icd_i_ncu_version("x\nVersion 2025.3.1.0 (build 1)\n", text, sizeof text));
    assert_string_equal(text, "2025.3.1.0");
    assert_false(icd_i_ncu_version("", text, sizeof text));
    /* The program may say what it likes. */
    assert_null(icd_i_ncu_refusal("my app: No kernels were profiled\n"));
    assert_non_null(icd_i_ncu_refusal("a\n==WARNING== No kernels were profiled.\n"));
}

static void counters_of_administrators(void **state)
{
    char params[512], status[512];
    (void)state;
    snprintf(params, sizeof params, "%s", icd_test_path("params"));
    snprintf(status, sizeof status, "%s", icd_test_path("status"));
    const char only[] = "EnableMSI: 1\nRmProfilingAdminOnly: 1\n";
    const char all[] = "RmProfilingAdminOnly: 0\n";
    const char user[] = "Name:\ticd\nCapEff:\t0000000000000000\n";
    const char admin[] = "CapEff:\t000001ffffffffff\n";
    assert_false(icd_i_ncu_admin_only("/no/such/file", "/proc/self/status"));
    assert_ok(ctx, icd_i_file_write(ctx, params, only, sizeof only - 1));
    assert_ok(ctx, icd_i_file_write(ctx, status, user, sizeof user - 1));
    assert_true(icd_i_ncu_admin_only(params, status));
    assert_ok(ctx, icd_i_file_write(ctx, status, admin, sizeof admin - 1));
    assert_false(icd_i_ncu_admin_only(params, status));
    assert_ok(ctx, icd_i_file_write(ctx, params, all, sizeof all - 1));
    assert_ok(ctx, icd_i_file_write(ctx, status, user, sizeof user - 1));
    assert_false(icd_i_ncu_admin_only(params, status));
}

static icd_status open_and_measure(icd_ctx *c, void *arg)
{
    icd_meter_opts o = options();
    icd_ncu n;
    icd_ncu_result r;
    (void)arg;
    icd_status status = icd_i_ncu_open(c, &o, &n);
    if (status != ICD_OK) return status;
    status = icd_i_ncu_measure(c, &n, "a", COMMAND, 1, 1, &r);
    icd_i_ncu_result_release(c, &r);
    icd_i_ncu_close(c, &n);
    return status;
}

static void allocations_may_fail(void **state)
{
    (void)state;
    mood("");
    icd_test_failing_allocations(open_and_measure, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_knows_is_asked),
        cmocka_unit_test(what_keeps_it_from_working_is_told),
        cmocka_unit_test(kernels_become_rates_and_bytes),
        cmocka_unit_test(how_it_is_run_is_fixed_and_kept),
        cmocka_unit_test(values_that_cannot_be_are_rejected),
        cmocka_unit_test(refusals_name_the_command_that_helps),
        cmocka_unit_test(failures_are_errors),
        cmocka_unit_test(a_decimal_comma_is_no_number),
        cmocka_unit_test(words_of_ncu),
        cmocka_unit_test(counters_of_administrators),
        cmocka_unit_test(allocations_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
