/* Each probe looks at one thing and says what it saw; nothing is changed. */
#include <icd/doctor.h>
#include <icd/solver.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "measure/fingerprint.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
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
    char text[800];
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
        {ICD_ISA_AMX, "AMX", "int8 products of 16 tokens by 16 rows in one instruction"},
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

/* Texts of a meter end with it. */
static icd_status add_meter(icd_ctx *ctx, icd_doctor_report *r, const char *area,
                            const icd_meter_state *here)
{
    const char *enable = NULL;
    if (here->enable && !(enable = icd_i_arena_strdup(ctx, r->arena, here->enable)))
        return ICD_ENOMEM;
    return add(ctx, r, (icd_capability){area, here->name, here->available, NULL, enable},
               "%s", here->found);
}

/* What a meter looked at; areas are listed one after the other. */
static icd_status probe_meters(icd_ctx *ctx, icd_doctor_report *r,
                               const icd_meter_opts *opts, const char *area)
{
    icd_status status = ICD_OK;
    const char *name;
    for (int64_t i = 0; status == ICD_OK && (name = icd_meter_name(i)); i++) {
        icd_meter *meter = NULL;
        status = icd_meter_open(ctx, name, opts, &meter);
        if (status != ICD_OK) break;
        const icd_meter_state *here = icd_meter_probe(meter);
        if (!strcmp(here->area, area)) status = add_meter(ctx, r, area, here);
        icd_meter_free(ctx, meter);
    }
    return status;
}

static bool is_intel_pstate(void)
{
    return access("/sys/devices/system/cpu/intel_pstate/no_turbo", F_OK) == 0;
}

/* Clocks that move make samples scatter; they are only looked at. */
static icd_status probe_clocks(icd_ctx *ctx, icd_doctor_report *r, const json_t *facts)
{
    const char *governor = json_string_value(json_object_get(facts, "governor")),
               *boost = json_string_value(json_object_get(facts, "boost"));
    const char *unknown = "the kernel does not tell, as in most virtual machines";
    icd_status status =
        add(ctx, r,
            (icd_capability){"clocks", "steady governor",
                             governor && !strcmp(governor, "performance"), NULL,
                             governor ? "sudo cpupower frequency-set -g performance"
                                      : "measure on the host itself"},
            "%s", governor ? governor : unknown);
    if (status != ICD_OK) return status;
    return add(
        ctx, r,
        (icd_capability){"clocks", "boost switched off", boost && !strcmp(boost, "off"),
                         NULL,
                         !boost ? "measure on the host itself"
                         : is_intel_pstate()
                             ? "echo 1 | sudo tee "
                               "/sys/devices/system/cpu/intel_pstate/no_turbo"
                             : "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost"},
        "%s",
        !boost                  ? unknown
        : !strcmp(boost, "off") ? "clocks do not depend on the heat"
                                : "on: clocks follow load and heat; samples take turns "
                                  "because of it");
}

static icd_status probe_overhead(icd_ctx *ctx, icd_doctor_report *r)
{
    icd_overhead cost;
    icd_status status = icd_overhead_measure(ctx, NULL, &cost);
    if (status != ICD_OK) return status;
    icd_metric events = icd_overhead_events(&cost, 1000, 1),
               clock = icd_overhead_clock(&cost, 1000, 0, 1);
    status = add(ctx, r,
                 (icd_capability){"overhead", "event log", icd_overhead_fits(&events),
                                  NULL, "a machine that is less busy"},
                 "one event %.2f us: 1000 of them in a second would be %.3f %%",
                 1e6 * cost.event_s, events.value);
    if (status != ICD_OK) return status;
    return add(ctx, r,
               (icd_capability){"overhead", "clock readings", icd_overhead_fits(&clock),
                                NULL,
                                "echo tsc | sudo tee /sys/devices/system/clocksource/"
                                "clocksource0/current_clocksource"},
               "one reading %.0f ns: two around each of 1000 bursts in a second would be "
               "%.4f %%",
               1e9 * cost.clock_s, clock.value);
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

static icd_status probe_measuring(icd_ctx *ctx, icd_doctor_report *r,
                                  const icd_meter_opts *opts)
{
    icd_status status = ICD_OK;
    json_t *facts = NULL;
    ICD_TRY(icd_i_fingerprint(ctx, NULL, &facts));
    ICD_TRY(probe_clocks(ctx, r, facts));
    ICD_TRY(probe_meters(ctx, r, opts, "counters"));
    ICD_TRY(probe_meters(ctx, r, opts, "energy"));
    ICD_TRY(probe_library(ctx, r,
                          (icd_capability){.area = "gpu",
                                           .name = "CUDA driver",
                                           .enable = "an NVIDIA GPU and its driver; in a "
                                                     "container docker run --gpus all"},
                          "libcuda.so.1"));
    ICD_TRY(probe_overhead(ctx, r));
done:
    json_decref(facts);
    return status;
}

static icd_status probe_all(icd_ctx *ctx, icd_doctor_report *r,
                            const icd_meter_opts *opts)
{
    icd_status status = ICD_OK;
    ICD_TRY(probe_cpu(ctx, r));
    ICD_TRY(probe_memory(ctx, r));
    ICD_TRY(probe_measuring(ctx, r, opts));
    ICD_TRY(probe_peer(ctx, r, "metis",
                       "sudo apt-get install libmetis-dev, then build again"));
    ICD_TRY(probe_peer(ctx, r, "scotch",
                       "sudo apt-get install libscotch-dev, then build again"));
done:
    return status;
}

icd_status icd_doctor(icd_ctx *ctx, const icd_meter_opts *opts, icd_doctor_report **out)
{
    icd_status status = ICD_OK;
    icd_doctor_report *report = NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, 1, &report));
    ICD_TRY(icd_i_arena_new(ctx, &report->arena));
    ICD_TRY(probe_all(ctx, report, opts));
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
