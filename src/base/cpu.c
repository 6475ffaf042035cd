#include "base/cpu.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const char *const NAME[ICD_ISA_COUNT] = {"ref", "avx2", "avx512", "vnni", "amx"};

#if defined(__x86_64__)
/* The processor's word, and the system's: arch_prctl(ARCH_REQ_XCOMP_PERM) lends the state
 * of the tiles to all threads of the process, and fails on kernels that do not keep it.
 */
static bool has_amx(void)
{
    enum { REQUEST = 0x1023, TILE_DATA = 18, TILE = 1 << 24, INT8 = 1 << 25 };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    if ((d & TILE) == 0 || (d & INT8) == 0) return false;
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

bool icd_i_cpu_has(icd_isa isa)
{
    switch (isa) {
    case ICD_ISA_REF:
        return true;
    case ICD_ISA_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case ICD_ISA_AVX512:
        return has_avx512();
    case ICD_ISA_VNNI:
        return has_avx512() && __builtin_cpu_supports("avx512vnni");
    case ICD_ISA_AMX:
        return icd_i_cpu_has(ICD_ISA_VNNI) && has_amx();
    case ICD_ISA_COUNT:
        break;
    }
    return false;
}
#else
bool icd_i_cpu_has(icd_isa isa)
{
    return isa == ICD_ISA_REF;
}
#endif

icd_isa icd_i_cpu_best(void)
{
    int best = ICD_ISA_COUNT - 1;
    while (!icd_i_cpu_has((icd_isa)best)) best--;
    return (icd_isa)best;
}

const char *icd_i_isa_name(icd_isa isa)
{
    int index = (int)isa;
    return index >= 0 && index < ICD_ISA_COUNT ? NAME[index] : "unknown";
}

static void find_model(FILE *cpuinfo, char *out, size_t size)
{
    char line[512];
    while (fgets(line, sizeof line, cpuinfo)) {
        char *value = strstr(line, ": ");
        if (strncmp(line, "model name", 10) != 0 || !value) continue;
        value[strcspn(value, "\n")] = 0;
        snprintf(out, size, "%s", value + 2);
        return;
    }
}

void icd_i_cpu_model(char *out, size_t size)
{
    snprintf(out, size, "unknown");
    FILE *cpuinfo = fopen("/proc/cpuinfo", "re");
    if (!cpuinfo) return;
    find_model(cpuinfo, out, size);
    fclose(cpuinfo);
}

int32_t icd_i_cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN); /* more CPUs than cpu_set_t holds */
    return online > 0 ? (int32_t)online : 1;
}

static bool read_cache_file(int index, const char *name, char *out, int size)
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index,
             name);
    FILE *file = fopen(path, "re");
    if (!file) return false;
    bool ok = fgets(out, size, file) != NULL;
    fclose(file);
    return ok;
}

int64_t icd_i_cpu_cache(int level)
{
    char text[32];
    for (int index = 0; read_cache_file(index, "level", text, sizeof text); index++) {
        long long size = 0;
        char unit = 0;
        if (text[0] - '0' != level) continue;
        if (!read_cache_file(index, "type", text, sizeof text)) continue;
        if (strncmp(text, "Instruction", 11) == 0) continue;
        if (!read_cache_file(index, "size", text, sizeof text)) continue;
        if (sscanf(text, "%lld%c", &size, &unit) < 1) continue;
        return size * (unit == 'K' ? 1024 : unit == 'M' ? 1024 * 1024 : 1);
    }
    return 0;
}
