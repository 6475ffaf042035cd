/* Each probe looks at one thing and says what it saw; nothing is changed, nothing is
 * started. */
#include <icd/doctor.h>
#include <icd/solver.h>

#include "base/cpu.h"
#include "base/mem.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum { CAPABILITIES_MAX = 32 };

struct icd_doctor_report {
    icd_arena *arena;
    icd_capability row[CAPABILITIES_MAX];
    int64_t count;
};

/* Adds a row; `found` is formatted into the report's memory. */
static icd_status add(icd_ctx *ctx, icd_doctor_report *r, icd_capability row,
                      const char *fmt, ...) ICD_PRINTF(4, 5);

static icd_status add(icd_ctx *ctx, icd_doctor_report *r, icd_capability row,
                      const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    row.found = icd_i_arena_strdup(ctx, r->arena, text);
    if (!row.found) return ICD_ENOMEM;
    if (row.available) row.enable = NULL;
    r->row[r->count++] = row;
    return ICD_OK;
}

static icd_status probe_cpu(icd_ctx *ctx, icd_doctor_report *r)
{
    static const struct {
        icd_isa isa;
        const char *name, *use;
    } LEVEL[] = {
        {ICD_ISA_AVX2, "AVX2", "int8 and f32 kernels"},
        {ICD_ISA_AVX512, "AVX-512", "wider f32 kernels"},
        {ICD_ISA_VNNI, "AVX-512 VNNI", "int8 dot products in one instruction"},
    };
    char model[128];
    icd_i_cpu_model(model, sizeof model);
    icd_status status = add(
        ctx, r, (icd_capability){.area = "cpu", .name = "processor", .available = true},
        "%s, %d usable CPUs, L2 %lld KiB, L3 %lld KiB", model, icd_i_cpu_count(),
        (long long)(icd_i_cpu_cache(2) / 1024), (long long)(icd_i_cpu_cache(3) / 1024));
    for (size_t i = 0; status == ICD_OK && i < sizeof LEVEL / sizeof LEVEL[0]; i++)
        status = add(ctx, r,
                     (icd_capability){"cpu", LEVEL[i].name, icd_i_cpu_has(LEVEL[i].isa),
                                      NULL, "a processor that has it"},
                     "%s", LEVEL[i].use);
    return status;
}

static icd_status probe_memory(icd_ctx *ctx, icd_doctor_report *r)
{
    struct sysinfo info;
    if (sysinfo(&info) != 0) return ICD_OK;
    double gib = (double)info.mem_unit / (1 << 30);
    return add(ctx, r,
               (icd_capability){.area = "cpu", .name = "memory", .available = true},
               "%.1f GiB, %.1f GiB free", (double)info.totalram * gib,
               (double)(info.freeram + info.bufferram) * gib);
}

static icd_status probe_peer(icd_ctx *ctx, icd_doctor_report *r, const char *method,
                             const char *package)
{
    bool there = icd_solver_method_help(method) != NULL;
    return add(ctx, r, (icd_capability){"solver", method, there, NULL, package},
               there ? "built in as a peer method" : "this build was made without it");
}

static icd_status probe_perf(icd_ctx *ctx, icd_doctor_report *r)
{
    struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
                                   .size = sizeof attr,
                                   .config = PERF_COUNT_HW_INSTRUCTIONS,
                                   .exclude_kernel = 1};
    int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
    int err = errno;
    const char *enable =
        err == EACCES || err == EPERM
            ? "sysctl kernel.perf_event_paranoid=1 (as root), or CAP_PERFMON"
            : "a machine (or a virtual machine with a vPMU) that exposes hardware "
              "counters";
    icd_status status = add(
        ctx, r, (icd_capability){"counters", "perf events", fd >= 0, NULL, enable},
        fd >= 0 ? "cache and instruction counters can be read" : "perf_event_open: %s",
        strerror(err));
    if (fd >= 0) close(fd);
    return status;
}

static icd_status probe_rapl(icd_ctx *ctx, icd_doctor_report *r)
{
    static const char PATH[] = "/sys/class/powercap/intel-rapl:0/energy_uj";
    int fd = open(PATH, O_RDONLY | O_CLOEXEC);
    int err = errno;
    icd_status status =
        add(ctx, r,
            (icd_capability){"energy", "RAPL", fd >= 0, NULL,
                             err == EACCES ? "chmod a+r that file (as root)"
                                           : "bare metal with a powercap driver"},
            "%s: %s", PATH, fd >= 0 ? "readable" : strerror(err));
    if (fd >= 0) close(fd);
    return status;
}

static icd_status probe_library(icd_ctx *ctx, icd_doctor_report *r, icd_capability row,
                                const char *soname)
{
    void *handle = dlopen(soname, RTLD_LAZY | RTLD_LOCAL);
    row.available = handle != NULL;
    icd_status status =
        add(ctx, r, row, "%s %s", soname, handle ? "loads" : "is not on this machine");
    if (handle) dlclose(handle);
    return status;
}

/* Looks for a program in a PATH list, as execvp would. */
static bool find_program(const char *list, const char *name, char *out, size_t size)
{
    while (list && *list) {
        size_t length = strcspn(list, ":");
        snprintf(out, size, "%.*s/%s", (int)length, list, name);
        if (length && access(out, X_OK) == 0) return true;
        list += length + (list[length] == ':');
    }
    return false;
}

static icd_status probe_program(icd_ctx *ctx, icd_doctor_report *r, icd_capability row,
                                const char *program)
{
    char path[512];
    static const char DIRS[] =
        "/usr/local/bin:/usr/bin:/bin:/usr/local/cuda/bin:/opt/nvidia/"
        "nsight-compute";
    row.available = find_program(DIRS, program, path, sizeof path);
    return add(ctx, r, row, row.available ? "%s" : "no %s in the usual folders",
               row.available ? path : program);
}

static icd_status probe_all(icd_ctx *ctx, icd_doctor_report *r)
{
    icd_status status = ICD_OK;
    ICD_TRY(probe_cpu(ctx, r));
    ICD_TRY(probe_memory(ctx, r));
    ICD_TRY(
        probe_peer(ctx, r, "metis", "apt-get install libmetis-dev, then build again"));
    ICD_TRY(
        probe_peer(ctx, r, "scotch", "apt-get install libscotch-dev, then build again"));
    ICD_TRY(probe_perf(ctx, r));
    ICD_TRY(probe_program(ctx, r,
                          (icd_capability){.area = "counters",
                                           .name = "cachegrind",
                                           .enable = "apt-get install valgrind"},
                          "valgrind"));
    ICD_TRY(probe_rapl(ctx, r));
    ICD_TRY(probe_library(
        ctx, r,
        (icd_capability){.area = "energy", .name = "NVML", .enable = "an NVIDIA driver"},
        "libnvidia-ml.so.1"));
    ICD_TRY(probe_library(ctx, r,
                          (icd_capability){.area = "gpu",
                                           .name = "CUDA driver",
                                           .enable = "an NVIDIA GPU and its driver"},
                          "libcuda.so.1"));
    ICD_TRY(probe_program(ctx, r,
                          (icd_capability){.area = "gpu",
                                           .name = "Nsight Compute",
                                           .enable = "install nsight-compute"},
                          "ncu"));
done:
    return status;
}

icd_status icd_doctor(icd_ctx *ctx, icd_doctor_report **out)
{
    icd_status status = ICD_OK;
    icd_doctor_report *report = NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, 1, &report));
    ICD_TRY(icd_i_arena_new(ctx, &report->arena));
    ICD_TRY(probe_all(ctx, report));
    *out = report;
    report = NULL;
done:
    icd_doctor_free(ctx, report);
    return status;
}

void icd_doctor_free(icd_ctx *ctx, icd_doctor_report *report)
{
    if (!report) return;
    icd_i_arena_free(ctx, report->arena);
    icd_i_free(ctx, report);
}

int64_t icd_doctor_count(const icd_doctor_report *report)
{
    return report->count;
}

const icd_capability *icd_doctor_get(const icd_doctor_report *report, int64_t i)
{
    return i >= 0 && i < report->count ? &report->row[i] : NULL;
}
