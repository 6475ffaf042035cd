#include "measure/fingerprint.h"

#include "base/child.h"
#include "base/cpu.h"
#include "base/hash.h"
#include "base/text.h"
#include "measure/nvml.h"

#include <cblas.h>
#include <dlfcn.h>
#include <icd/meter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#endif

enum { LINE = 512 };
static const double GIT_S = 10;
static const double GIB = 1073741824;

/* The object that grows, and where the system is looked up. */
typedef struct teller {
    icd_ctx *ctx;
    const icd_fingerprint_opts *opts;
    json_t *object;
} teller;

static void put(const teller *t, const char *key, json_t *value)
{
    json_object_set_new(t->object, key, value ? value : json_null());
}

static void put_text(const teller *t, const char *key, const char *text)
{
    put(t, key, text && *text ? json_string(text) : json_null());
}

static FILE *open_file(const teller *t, const char *path)
{
    char full[LINE];
    snprintf(full, sizeof full, "%s%s", t->opts->root ? t->opts->root : "", path);
    return fopen(full, "re");
}

static bool is_there(const teller *t, const char *path)
{
    char full[LINE];
    snprintf(full, sizeof full, "%s%s", t->opts->root ? t->opts->root : "", path);
    return access(full, F_OK) == 0;
}

/* The first line of a small file without its newline. */
static bool read_line(const teller *t, const char *path, char line[LINE])
{
    FILE *file = open_file(t, path);
    if (!file) return false;
    bool read = fgets(line, LINE, file) != NULL;
    fclose(file);
    if (read) line[strcspn(line, "\n")] = 0;
    return read;
}

/* What stands behind "key:" or "key=" on the first line that begins with `key`. */
static bool find_value(const teller *t, const char *path, const char *key,
                       char line[LINE])
{
    size_t n = strlen(key);
    bool found = false;
    FILE *file = open_file(t, path);
    if (!file) return false;
    while (!found && fgets(line, LINE, file)) {
        const char *at = line + n;
        if (strncmp(line, key, n) != 0) continue;
        at += strspn(at, " \t");
        if (*at != ':' && *at != '=') continue;
        at += 1 + strspn(at + 1, " \t\"");
        memmove(line, at, strlen(at) + 1);
        line[strcspn(line, "\"\n")] = 0;
        found = true;
    }
    fclose(file);
    return found;
}

static void put_line(const teller *t, const char *key, const char *path)
{
    char line[LINE];
    put_text(t, key, read_line(t, path, line) ? line : NULL);
}

/* A decimal number divided by `unit`. */
static void put_number(const teller *t, const char *key, const char *path, double unit)
{
    char line[LINE];
    double value;
    bool told = read_line(t, path, line) && icd_i_real_parse(line, &value);
    put(t, key, told ? json_real(value / unit) : NULL);
}

static void tell_cpu(const teller *t)
{
    char line[LINE];
    put_text(t, "cpu", find_value(t, "/proc/cpuinfo", "model name", line) ? line : NULL);
    put_text(t, "microcode",
             find_value(t, "/proc/cpuinfo", "microcode", line) ? line : NULL);
    put(t, "virtual_machine",
        json_boolean(find_value(t, "/proc/cpuinfo", "flags", line) &&
                     strstr(line, "hypervisor") != NULL));
    put(t, "cpus", json_integer(icd_i_cpu_count()));
    put_text(t, "isa", icd_i_isa_name(icd_i_cpu_best()));
    put_line(t, "l1d", "/sys/devices/system/cpu/cpu0/cache/index0/size");
    put_line(t, "l2", "/sys/devices/system/cpu/cpu0/cache/index2/size");
    put_line(t, "l3", "/sys/devices/system/cpu/cpu0/cache/index3/size");
    put_line(t, "smt", "/sys/devices/system/cpu/smt/active");
    put_line(t, "numa_nodes", "/sys/devices/system/node/online");
}

/* Mean of the cores' clocks right now. */
static json_t *core_mhz(const teller *t)
{
    char line[LINE];
    double sum = 0;
    int64_t n = 0;
    FILE *file = open_file(t, "/proc/cpuinfo");
    while (file && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "cpu MHz", 7) != 0 || !colon) continue;
        sum += strtod(colon + 1, NULL);
        n++;
    }
    if (file) fclose(file);
    return n ? json_real(sum / (double)n) : NULL;
}

static void tell_clocks(const teller *t)
{
    char line[LINE];
    const char *boost = NULL;
    put_line(t, "governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    put_line(t, "clock_driver", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver");
    put_number(t, "highest_mhz", "/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq",
               1000);
    if (read_line(t, "/sys/devices/system/cpu/intel_pstate/no_turbo", line))
        boost = *line == '1' ? "off" : "on";
    else if (read_line(t, "/sys/devices/system/cpu/cpufreq/boost", line))
        boost = *line == '1' ? "on" : "off";
    put_text(t, "boost", boost);
    put(t, "core_mhz", core_mhz(t));
}

static void tell_memory(const teller *t)
{
    char line[LINE];
    double kib =
        find_value(t, "/proc/meminfo", "MemTotal", line) ? strtod(line, NULL) : 0;
    put(t, "memory_gib", kib > 0 ? json_real(kib * 1024 / GIB) : NULL);
    put_line(t, "huge_pages", "/sys/kernel/mm/transparent_hugepage/enabled");
}

static const char *container_of(const teller *t)
{
    static const char *const WORD[] = {"docker", "kubepods", "containerd", "lxc"};
    char line[LINE];
    if (is_there(t, "/.dockerenv")) return "docker";
    if (is_there(t, "/run/.containerenv")) return "podman";
    if (!read_line(t, "/proc/1/cgroup", line)) return NULL;
    for (size_t i = 0; i < sizeof WORD / sizeof WORD[0]; i++)
        if (strstr(line, WORD[i])) return WORD[i];
    return "none";
}

static void tell_system(const teller *t)
{
    struct utsname system;
    char line[LINE];
    if (uname(&system) == 0) {
        put_text(t, "kernel", system.release);
        put_text(t, "machine_type", system.machine);
    }
    put_text(t, "os",
             find_value(t, "/etc/os-release", "PRETTY_NAME", line) ? line : NULL);
    put_text(t, "container", container_of(t));
    put_line(t, "cpu_quota", "/sys/fs/cgroup/cpu.max");
    put_line(t, "memory_quota", "/sys/fs/cgroup/memory.max");
    put_line(t, "perf_event_paranoid", "/proc/sys/kernel/perf_event_paranoid");
}

/* "12.8": of the driver, whatever toolkit is installed. */
static json_t *cuda_version(void)
{
    int version = 0;
    void *library = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (!library) return NULL;
    void *symbol = dlsym(library, "cuDriverGetVersion");
    int (*ask)(int *) = NULL;
    memcpy(&ask, &symbol, sizeof ask);
    bool told = ask && ask(&version) == 0 && version > 0;
    dlclose(library);
    return told ? json_sprintf("%d.%d", version / 1000, version % 1000 / 10) : NULL;
}

static icd_status tell_gpu(const teller *t)
{
    icd_nvml *nvml = NULL;
    const char *library = t->opts->nvml ? t->opts->nvml : "libnvidia-ml.so.1";
    icd_status status = icd_i_nvml_open(t->ctx, library, 0, &nvml);
    if (status != ICD_OK) return status;
    const icd_nvml_state *gpu = icd_i_nvml_state(nvml);
    put_text(t, "gpu", gpu->available ? gpu->found : NULL);
    put(t, "cuda", cuda_version());
    put_line(t, "gpu_module", "/proc/driver/nvidia/version");
    icd_i_nvml_close(t->ctx, nvml);
    return ICD_OK;
}

static void tell_libraries(const teller *t)
{
    put_text(t, "version", icd_version());
    put_text(t, "compiler", __VERSION__);
#if defined(__GLIBC__)
    put_text(t, "libc", gnu_get_libc_version());
#endif
    put_text(t, "openblas", openblas_get_config());
    put_text(t, "jansson", jansson_version_str());
}

/* The output of a git command, without its newline. @return false: git says no */
static bool ask_git(const teller *t, const char *command, const char *option,
                    char line[LINE])
{
    const char *argv[] = {"git", "-C", t->opts->git, command, option, NULL};
    icd_child child = {0};
    bool answered = icd_i_child_run(t->ctx, argv, GIT_S, 1 << 20, &child) == ICD_OK &&
                    child.exit_code == 0;
    if (answered) {
        snprintf(line, LINE, "%s", child.out);
        line[strcspn(line, "\n")] = 0;
    } else
        icd_ctx_clear(t->ctx); /* no git is no error */
    icd_i_child_release(t->ctx, &child);
    return answered;
}

static icd_status tell_sources(const teller *t)
{
    char commit[LINE], changed[LINE];
    put_text(t, "config_hash", t->opts->config_hash);
    if (!t->opts->git) return ICD_OK;
    bool there = ask_git(t, "rev-parse", "HEAD", commit);
    put_text(t, "git", there ? commit : NULL);
    there = there && ask_git(t, "status", "--porcelain", changed);
    put(t, "git_dirty", there ? json_boolean(*changed != 0) : NULL);
    return icd_i_check_cancel(t->ctx);
}

/* A hash of all that was told so far, but for what changes by itself. */
static icd_status tell_machine(const teller *t)
{
    char *text = NULL, hex[17];
    json_t *steady = json_copy(t->object);
    if (!steady)
        return icd_i_fail(t->ctx, ICD_ENOMEM, "fingerprint", NULL, "no memory for it");
    json_object_del(steady, "core_mhz");
    icd_status status = icd_i_json_print(t->ctx, steady, true, &text);
    json_decref(steady);
    if (status != ICD_OK) return status;
    icd_i_hash_hex(icd_i_hash(0, text, strlen(text)), hex);
    icd_i_free(t->ctx, text);
    put_text(t, "machine", hex);
    return ICD_OK;
}

icd_status icd_i_fingerprint(icd_ctx *ctx, const icd_fingerprint_opts *opts, json_t **out)
{
    static const icd_fingerprint_opts NONE;
    icd_status status = ICD_OK;
    teller t = {ctx, opts ? opts : &NONE, json_object()};
    *out = NULL;
    tell_cpu(&t);
    tell_clocks(&t);
    tell_memory(&t);
    tell_system(&t);
    ICD_TRY(tell_gpu(&t));
    tell_libraries(&t);
    ICD_TRY(tell_machine(&t));
    ICD_TRY(tell_sources(&t));
    *out = json_incref(t.object);
done:
    json_decref(t.object);
    return status;
}

icd_status icd_fingerprint(icd_ctx *ctx, const char *sources, char **json)
{
    icd_fingerprint_opts opts = {.git = sources};
    json_t *object = NULL;
    *json = NULL;
    icd_status status = icd_i_fingerprint(ctx, &opts, &object);
    if (status == ICD_OK) status = icd_i_json_print(ctx, object, false, json);
    json_decref(object);
    return status;
}
