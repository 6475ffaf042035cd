#include "measure/clock.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

double icd_i_raw_now(void)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int64_t icd_i_interruptions(void)
{
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nivcsw;
}

#if defined(__x86_64__)
uint64_t icd_i_ticks(void)
{
    _mm_lfence(); /* everything before has finished */
    return __rdtsc();
}

bool icd_i_ticks_invariant(void)
{
    unsigned a, b, c, d = 0;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && d >> 8 & 1;
}

enum { CHAIN = 8192, CHAIN_CYCLES = 3, PIECES = 3 };

/* The empty asm keeps the compiler from seeing through the chain; the pointer keeps the
 * result alive. */
static void multiply_on(uint64_t *value)
{
    uint64_t x = *value;
    for (int i = 0; i < CHAIN; i++) {
        x *= 0x9E3779B97F4A7C15u;
        __asm__ volatile("" : "+r"(x));
    }
    *value = x;
}

double icd_i_core_mhz(void)
{
    double fastest = INFINITY;
    uint64_t value = 1;
    for (int i = 0; i < PIECES; i++) {
        double from = icd_i_raw_now();
        multiply_on(&value);
        fastest = fmin(fastest, icd_i_raw_now() - from);
    }
    return fastest > 0 ? 1e-6 * CHAIN * CHAIN_CYCLES / fastest : 0;
}
#else
uint64_t icd_i_ticks(void)
{
    return 0;
}

bool icd_i_ticks_invariant(void)
{
    return false;
}

double icd_i_core_mhz(void)
{
    return 0;
}
#endif

/* First line of ROOT/NAME without its end; false: not there. */
static bool read_line(const char *root, const char *name, char *out, int size)
{
    char path[256];
    if (snprintf(path, sizeof path, "%s/%s", root, name) >= (int)sizeof path)
        return false;
    FILE *file = fopen(path, "re");
    if (!file) return false;
    bool ok = fgets(out, size, file) != NULL;
    fclose(file);
    if (ok) out[strcspn(out, "\n")] = 0;
    return ok && *out;
}

int64_t icd_i_throttle_count(const char *root, int cpu)
{
    static const char *const NAME[] = {"core_throttle_count", "package_throttle_count"};
    char name[96], text[32];
    int64_t sum = -1;
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "cpu%d/thermal_throttle/%s", cpu, NAME[i]);
        if (!read_line(root, name, text, sizeof text)) continue;
        sum = (sum < 0 ? 0 : sum) + strtoll(text, NULL, 10);
    }
    return sum;
}

/* intel_pstate says "no turbo", the others "boost". */
static void read_boost(const char *root, char out[8])
{
    char text[8];
    if (read_line(root, "intel_pstate/no_turbo", text, sizeof text))
        snprintf(out, 8, "%s", *text == '0' ? "on" : "off");
    else if (read_line(root, "cpufreq/boost", text, sizeof text))
        snprintf(out, 8, "%s", *text == '0' ? "off" : "on");
}

void icd_i_clock_state(const char *root, int cpu, icd_clock *out)
{
    char name[64];
    snprintf(name, sizeof name, "cpu%d/cpufreq/scaling_governor", cpu);
    if (!read_line(root, name, out->governor, sizeof out->governor)) out->governor[0] = 0;
    read_boost(root, out->boost);
}

/* Every thread that the process has now; those made later inherit. */
static int bind_all(const cpu_set_t *set)
{
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks) return sched_setaffinity(0, sizeof *set, set) ? errno : 0;
    int err = 0;
    for (struct dirent *e; (e = readdir(tasks));)
        if (isdigit((unsigned char)e->d_name[0]) &&
            sched_setaffinity(atoi(e->d_name), sizeof *set, set))
            err = errno;
    closedir(tasks);
    return err;
}

/* "0,2-3" into a set; false where the text is none or names a CPU that is not allowed. */
static bool parse_list(const char *text, const cpu_set_t *allowed, cpu_set_t *set)
{
    CPU_ZERO(set);
    while (*text) {
        char *end;
        if (!isdigit((unsigned char)*text)) return false;
        long from = strtol(text, &end, 10), to = from;
        if (*end == '-' && isdigit((unsigned char)end[1])) to = strtol(end + 1, &end, 10);
        if (from > to || to >= CPU_SETSIZE) return false;
        for (long cpu = from; cpu <= to; cpu++) {
            if (!CPU_ISSET((size_t)cpu, allowed)) return false;
            CPU_SET((size_t)cpu, set);
        }
        if (*end && (*end != ',' || !end[1])) return false;
        text = *end ? end + 1 : end;
    }
    return CPU_COUNT(set) > 0;
}

static void choose_last(const cpu_set_t *allowed, int32_t count, cpu_set_t *set)
{
    CPU_ZERO(set);
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0 && count > 0; cpu--)
        if (CPU_ISSET((size_t)cpu, allowed)) {
            CPU_SET((size_t)cpu, set);
            count--;
        }
}

static void print_list(const cpu_set_t *set, char *out, size_t size)
{
    size_t used = 0;
    out[0] = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE && used < size; cpu++)
        if (CPU_ISSET((size_t)cpu, set))
            used +=
                (size_t)snprintf(out + used, size - used, "%s%d", used ? "," : "", cpu);
}

icd_status icd_i_pin(icd_ctx *ctx, const char *cpus, int32_t threads, icd_pin *pin,
                     char *chosen, size_t size)
{
    cpu_set_t allowed, set;
    _Static_assert(sizeof(cpu_set_t) <= sizeof pin->before, "room for a cpu_set_t");
    *pin = (icd_pin){0};
    snprintf(chosen, size, "not pinned");
    if (!cpus || !strcmp(cpus, "off")) return ICD_OK;
    if (sched_getaffinity(0, sizeof allowed, &allowed))
        return icd_i_fail_errno(ctx, ICD_EUNSUPPORTED, "measure.pin", errno,
                                "the CPUs of this process cannot be read");
    if (!strcmp(cpus, "auto"))
        choose_last(&allowed, threads, &set);
    else if (!parse_list(cpus, &allowed, &set))
        return icd_i_fail(ctx, ICD_EINVAL, "measure.pin",
                          "off, auto or a list like 0,2-3",
                          "found '%s', expected CPUs that this process may use", cpus);
    int err = bind_all(&set);
    if (err)
        return icd_i_fail_errno(ctx, ICD_EUNSUPPORTED, "measure.pin", err,
                                "the kernel refuses to bind threads to CPUs");
    memcpy(pin->before, &allowed, sizeof allowed);
    pin->pinned = true;
    print_list(&set, chosen, size);
    return ICD_OK;
}

void icd_i_unpin(icd_pin *pin)
{
    cpu_set_t before;
    if (!pin->pinned) return;
    memcpy(&before, pin->before, sizeof before);
    (void)bind_all(&before);
    pin->pinned = false;
}
