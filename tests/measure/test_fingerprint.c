#include "support.h"

#include "base/child.h"
#include "measure/fingerprint.h"
#include <icd/meter.h>

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static icd_ctx *ctx;

static int set_up(void **state)
{
    void *library = dlopen(ICD_FAKE_NVML, RTLD_NOW);
    void *address = library ? dlsym(library, "fake_nvml_reset") : NULL;
    void (*reset)(void) = NULL;
    (void)state;
    memcpy(&reset, &address, sizeof reset);
    if (!reset) return -1;
    reset();
    ctx = icd_ctx_new(NULL);
    return ctx ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    return 0;
}

static char root[512];

/* Writes ROOT/path and its folders. */
static void plant(const char *path, const char *text)
{
    char full[1024];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *c = full + strlen(root) + 1; *c; c++)
        if (*c == '/') {
            *c = 0;
            mkdir(full, 0755);
            *c = '/';
        }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void plant_server(const char *name)
{
    snprintf(root, sizeof root, "%s", icd_test_path(name));
    mkdir(root, 0755);
    plant("/proc/cpuinfo", "processor\t: 0\nmodel name\t: AMD EPYC 7B13\n"
                           "cpu MHz\t\t: 2400.0\nmicrocode\t: 0xa001\n"
                           "flags\t\t: fpu avx2 hypervisor\n\nprocessor\t: 1\n"
                           "model name\t: AMD EPYC 7B13\ncpu MHz\t\t: 2600.0\n");
    plant("/proc/meminfo", "MemFree: 1 kB\nMemTotal:       16777216 kB\n");
    plant("/proc/1/cgroup", "0::/kubepods/pod7/x\n");
    plant("/etc/os-release", "NAME=x\nPRETTY_NAME=\"Some Linux 12\"\n");
    plant("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
    plant("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "3500000\n");
    plant("/sys/devices/system/cpu/intel_pstate/no_turbo", "1\n");
    plant("/sys/fs/cgroup/cpu.max", "200000 100000\n");
}

static json_t *look(const char *git)
{
    icd_fingerprint_opts opts = {root, git, ICD_FAKE_NVML, "00ff"};
    json_t *out = NULL;
    assert_ok(ctx, icd_i_fingerprint(ctx, &opts, &out));
    return out;
}

static void check(const json_t *f, const char *key, const char *value)
{
    const char *text = json_string_value(json_object_get(f, key));
    assert_non_null(text);
    assert_string_equal(text, value);
}

static void test_server(void **state)
{
    const char *key;
    json_t *value;
    (void)state;
    plant_server("server");
    json_t *f = look(NULL);
    check(f, "cpu", "AMD EPYC 7B13");
    check(f, "microcode", "0xa001");
    check(f, "container", "kubepods");
    check(f, "os", "Some Linux 12");
    check(f, "governor", "performance");
    check(f, "boost", "off");
    check(f, "cpu_quota", "200000 100000");
    check(f, "version", icd_version());
    check(f, "config_hash", "00ff");
    assert_true(json_is_true(json_object_get(f, "virtual_machine")));
    assert_near(json_number_value(json_object_get(f, "core_mhz")), 2500, 1e-9);
    assert_near(json_number_value(json_object_get(f, "highest_mhz")), 3500, 1e-9);
    assert_near(json_number_value(json_object_get(f, "memory_gib")), 16, 1e-9);
    assert_true(json_is_null(json_object_get(f, "huge_pages")));
    assert_non_null(strstr(json_string_value(json_object_get(f, "gpu")), "driver"));
    json_object_foreach(f, key, value) assert_false(json_is_object(value));
    json_decref(f);
}

/* Clocks of the moment are not the machine; the governor is. */
static void test_machine(void **state)
{
    (void)state;
    plant_server("same");
    json_t *a = look(NULL);
    plant("/proc/cpuinfo", "model name\t: AMD EPYC 7B13\ncpu MHz\t\t: 1700.0\n"
                           "microcode\t: 0xa001\nflags\t\t: hypervisor\n");
    json_t *b = look(NULL);
    plant("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
    json_t *c = look(NULL);
    check(b, "machine", json_string_value(json_object_get(a, "machine")));
    assert_string_not_equal(json_string_value(json_object_get(c, "machine")),
                            json_string_value(json_object_get(a, "machine")));
    json_decref(a);
    json_decref(b);
    json_decref(c);
}

static void test_nothing_told(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "%s", icd_test_path("empty"));
    mkdir(root, 0755);
    icd_fingerprint_opts opts = {root, icd_test_dir(), "/nowhere/libnvidia-ml.so", NULL};
    json_t *f = NULL;
    assert_ok(ctx, icd_i_fingerprint(ctx, &opts, &f));
    assert_true(json_is_null(json_object_get(f, "cpu")));
    assert_true(json_is_null(json_object_get(f, "gpu")));
    assert_true(json_is_null(json_object_get(f, "container")));
    assert_true(json_is_null(json_object_get(f, "git")));
    json_decref(f);
}

static bool git(const char *dir, const char *a, const char *b)
{
    const char *argv[] = {
        "git", "-C", dir,  "-c", "user.name=a", "-c", "user.email=a@b.c",
        a,     b,    "-m", "x",  NULL};
    if (strcmp(a, "commit") != 0) argv[9] = NULL;
    icd_child child = {0};
    bool fine =
        icd_i_child_run(ctx, argv, 30, 1 << 20, &child) == ICD_OK && child.exit_code == 0;
    icd_i_child_release(ctx, &child);
    icd_ctx_clear(ctx);
    return fine;
}

static void test_sources(void **state)
{
    char path[600];
    (void)state;
    plant_server("sources");
    if (!git(root, "init", "-q") || !git(root, "commit", "--allow-empty")) {
        print_message("skipped: git is not here\n");
        skip();
    }
    snprintf(path, sizeof path, "%s", root);
    json_t *f = look(path);
    assert_int_equal(strlen(json_string_value(json_object_get(f, "git"))), 40);
    assert_true(json_is_true(json_object_get(f, "git_dirty"))); /* files lie about */
    json_decref(f);
}

static void test_text(void **state)
{
    char *json = NULL;
    (void)state;
    assert_ok(ctx, icd_fingerprint(ctx, NULL, &json));
    assert_non_null(strstr(json, "\"machine\""));
    icd_mem_free(ctx, json);
}

static icd_status allocate(icd_ctx *c, void *arg)
{
    json_t *out = NULL;
    icd_fingerprint_opts opts = {arg, NULL, ICD_FAKE_NVML, "1"};
    icd_status status = icd_i_fingerprint(c, &opts, &out);
    json_decref(out);
    return status;
}

static void test_memory(void **state)
{
    (void)state;
    plant_server("memory");
    icd_test_failing_allocations(allocate, root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server),       cmocka_unit_test(test_machine),
        cmocka_unit_test(test_nothing_told), cmocka_unit_test(test_sources),
        cmocka_unit_test(test_text),         cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
