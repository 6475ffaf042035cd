#include "fixture.h"

#include "base/clock.h"
#include "base/file.h"
#include "measure/rapl.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NOBODY = 65534 };

/* folder/name = text, under a fresh folder of this test. */
static void put(const char *root, const char *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, folder);
    assert_ok(ctx, icd_i_mkdirs(ctx, path));
    snprintf(path, sizeof path, "%s/%s/%s", root, folder, name);
    assert_ok(ctx, icd_i_file_write(ctx, path, text, strlen(text)));
}

static void put_zone(const char *root, const char *zone, const char *name,
                     const char *energy, const char *range)
{
    put(root, zone, "name", name);
    put(root, zone, "energy_uj", energy);
    put(root, zone, "max_energy_range_uj", range);
}

/* Two packages as a server of 2023 shows them: memory apart, cores inside. */
static const char *server(const char *name)
{
    const char *root = icd_test_path(name);
    put(root, "intel-rapl", "enabled", "1\n");
    put_zone(root, "intel-rapl:0", "package-0\n", "262143000000\n", "262143328850\n");
    put_zone(root, "intel-rapl:0:0", "core\n", "5\n", "262143328850\n");
    put_zone(root, "intel-rapl:0:1", "dram\n", "1000000\n", "65712999613\n");
    put_zone(root, "intel-rapl:1", "package-1\n", "2000000\n", "262143328850\n");
    put_zone(root, "intel-rapl:2", "psys\n", "7\n", "262143328850\n");
    put_zone(root, "intel-rapl-mmio:0", "package-0\n", "9\n", "262143328850\n");
    return root;
}

static void packages_and_memory_are_summed_and_wraps_followed(void **state)
{
    const char *root = server("server");
    icd_rapl rapl;
    icd_power_row row = {.t = 1};
    char why[160] = "";
    (void)state;
    assert_true(icd_i_rapl_open_powercap(root, &rapl));
    assert_int_equal(rapl.domains, 3);
    assert_string_equal(rapl.found, "powercap: package-0, dram of package-0, package-1");
    assert_null(rapl.enable);
    icd_power_source source = icd_i_rapl_source(&rapl);
    assert_true(source.read(source.self, &row, why));
    assert_near(row.joules, 0, 0);
    put(root, "intel-rapl:0", "energy_uj", "1000000\n"); /* wrapped */
    put(root, "intel-rapl:0:1", "energy_uj", "3500000\n");
    put(root, "intel-rapl:1", "energy_uj", "12000000\n");
    icd_i_rapl_close(&rapl);
    /* A file that was replaced is another one: open again, count on. */
    assert_true(icd_i_rapl_open_powercap(root, &rapl));
    rapl.domain[0].counter = (icd_power_counter){
        .range = 262143.328850, .last = 262143, .t = 1, .begun = true};
    rapl.domain[1].counter =
        (icd_power_counter){.range = 65712.9, .last = 1, .t = 1, .begun = true};
    rapl.domain[2].counter =
        (icd_power_counter){.range = 262143.3, .last = 2, .t = 1, .begun = true};
    row.t = 1.1;
    assert_true(source.read(&rapl, &row, why));
    assert_near(row.joules, 1.32885 + 2.5 + 10, 1e-6);
    icd_i_rapl_close(&rapl);
}

static void a_counter_that_goes_back_is_told(void **state)
{
    const char *root = icd_test_path("back");
    icd_rapl rapl;
    icd_power_row row = {.t = 1};
    char why[160] = "";
    (void)state;
    put_zone(root, "intel-rapl:0", "package-0\n", "5000000\n", "262143328850\n");
    assert_true(icd_i_rapl_open_powercap(root, &rapl));
    icd_power_source source = icd_i_rapl_source(&rapl);
    assert_true(source.read(source.self, &row, why));
    rapl.domain[0].counter.last = 9;
    assert_false(source.read(source.self, &row, why));
    assert_non_null(strstr(why, "package-0 went from 9.000000 J to 5.000000 J"));
    icd_i_rapl_close(&rapl);
}

static void the_mmio_tree_serves_where_it_is_alone(void **state)
{
    const char *root = icd_test_path("mmio");
    icd_rapl rapl;
    (void)state;
    put_zone(root, "intel-rapl-mmio:0", "package-0\n", "9\n", "262143328850\n");
    assert_true(icd_i_rapl_open_powercap(root, &rapl));
    assert_int_equal(rapl.domains, 1);
    icd_i_rapl_close(&rapl);
}

static void what_is_missing_is_told(void **state)
{
    icd_rapl rapl;
    const char *empty = icd_test_path("empty"), *bent = icd_test_path("bent");
    (void)state;
    icd_i_rapl_open("/no/such/tree", "/no/such/pmu", &rapl);
    assert_int_equal(rapl.domains, 0);
    assert_non_null(strstr(rapl.found, "no RAPL domain under /no/such/tree"));
    assert_non_null(strstr(rapl.found, "no power PMU under /no/such/pmu"));
    assert_non_null(strstr(rapl.enable, "modprobe"));
    put(empty, "dtpm", "x", "");
    assert_false(icd_i_rapl_open_powercap(empty, &rapl));
    put(bent, "intel-rapl:0", "name", "package-0\n");
    put(bent, "intel-rapl:0", "energy_uj", "many\n");
    put(bent, "intel-rapl:0", "max_energy_range_uj", "no number\n");
    assert_false(icd_i_rapl_open_powercap(bent, &rapl));
    assert_non_null(strstr(rapl.found, "intel-rapl:0 cannot be read"));
}

static void no_permission_names_the_command(void **state)
{
    const char *root = icd_test_path("locked");
    char path[512];
    icd_rapl rapl;
    (void)state;
    put_zone(root, "intel-rapl:0", "package-0\n", "5000000\n", "262143328850\n");
    snprintf(path, sizeof path, "%s/intel-rapl:0/energy_uj", root);
    chmod(path, 0);
    bool root_user = geteuid() == 0;
    chmod(icd_test_dir(), 0711);
    if (root_user && seteuid(NOBODY) != 0) {
        print_message("skipped: root may read everything\n");
        skip();
    }
    icd_i_rapl_open(root, "/no/such/pmu", &rapl);
    if (root_user) assert_int_equal(seteuid(0), 0);
    assert_int_equal(rapl.domains, 0);
    assert_non_null(strstr(rapl.found, "Permission denied"));
    assert_non_null(strstr(rapl.enable, "sudo chmod a+r"));
}

/* The PMU is the kernel's software one: its event 0 counts nanoseconds of a CPU, so that
 * "joules" are seconds. */
static void the_power_pmu_counts(void **state)
{
    const char *root = icd_test_path("pmu");
    icd_rapl rapl;
    icd_power_row row = {0};
    char why[160] = "";
    (void)state;
    put(root, "power", "type", "1\n");
    put(root, "power", "cpumask", "0\n");
    put(root, "power/events", "energy-pkg", "event=0x00\n");
    put(root, "power/events", "energy-pkg.scale", "1e-9\n");
    if (!icd_i_rapl_open_perf(root, &rapl)) {
        assert_non_null(strstr(rapl.found, "power PMU"));
        print_message("skipped: %s\n", rapl.found);
        skip();
    }
    assert_string_equal(rapl.domain[0].name, "package of CPU 0");
    icd_power_source source = icd_i_rapl_source(&rapl);
    row.t = icd_i_now();
    assert_true(source.read(source.self, &row, why));
    usleep(20000);
    row.t = icd_i_now();
    assert_true(source.read(source.self, &row, why));
    assert_true(row.joules >= 0 && row.joules < 60);
    icd_i_rapl_close(&rapl);
    icd_i_rapl_open("/no/such/tree", root, &rapl);
    assert_true(rapl.perf);
    assert_string_equal(rapl.found, "perf: package of CPU 0");
    assert_null(rapl.enable);
    icd_i_rapl_close(&rapl);
}

static void a_bent_pmu_is_told(void **state)
{
    const char *root = icd_test_path("bent-pmu");
    icd_rapl rapl;
    (void)state;
    put(root, "power", "type", "1\n");
    put(root, "power", "cpumask", "\n");
    put(root, "power/events", "energy-pkg", "event=zero\n");
    assert_false(icd_i_rapl_open_perf(root, &rapl));
    assert_non_null(strstr(rapl.found, "Invalid argument"));
    put(root, "power/events", "energy-pkg", "event=0x02\n");
    put(root, "power/events", "energy-pkg.scale", "2.3283064365386962890625e-10\n");
    assert_false(icd_i_rapl_open_perf(root, &rapl));
    assert_non_null(strstr(rapl.found, "names no CPU"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packages_and_memory_are_summed_and_wraps_followed),
        cmocka_unit_test(a_counter_that_goes_back_is_told),
        cmocka_unit_test(the_mmio_tree_serves_where_it_is_alone),
        cmocka_unit_test(what_is_missing_is_told),
        cmocka_unit_test(no_permission_names_the_command),
        cmocka_unit_test(the_power_pmu_counts),
        cmocka_unit_test(a_bent_pmu_is_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
