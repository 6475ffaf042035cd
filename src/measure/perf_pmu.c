#include "measure/perf_pmu.h"

#include <dirent.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <math.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_system(void *self, icd_perf_event event, int32_t tid)
{
    static const uint64_t CONFIG[] = {
        PERF_COUNT_HW_CPU_CYCLES, PERF_COUNT_HW_INSTRUCTIONS,
        PERF_COUNT_HW_CACHE_REFERENCES, PERF_COUNT_HW_CACHE_MISSES};
    struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
                                   .size = sizeof attr,
                                   .config = CONFIG[event],
                                   .read_format = PERF_FORMAT_TOTAL_TIME_ENABLED |
                                                  PERF_FORMAT_TOTAL_TIME_RUNNING,
                                   .exclude_kernel = 1,
                                   .exclude_hv = 1};
    (void)self;
    int fd = (int)syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
    return fd >= 0 ? fd : -errno;
}

static bool read_system(void *self, int fd, icd_perf_value *out)
{
    uint64_t told[3];
    (void)self;
    if (read(fd, told, sizeof told) != (ssize_t)sizeof told) return false;
    *out = (icd_perf_value){told[0], told[1], told[2]};
    return true;
}

static void close_system(void *self, int fd)
{
    (void)self;
    close(fd);
}

const icd_perf_ops icd_i_perf_system = {open_system, read_system, close_system, NULL};

/* PERF_COUNT_HW_CACHE_* in the kernel's tables: 0xff60 and 0x0964 (requests to the second
 * level and its misses) on AMD, the architectural LLC events on Intel. */
icd_perf_cache icd_i_perf_cache(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_is("amd")) return ICD_PERF_L2;
    if (__builtin_cpu_is("intel")) return ICD_PERF_LLC;
#endif
    return ICD_PERF_NO_CACHE;
}

int icd_i_perf_probe(const icd_perf_ops *ops)
{
    int fd = ops->open(ops->self, ICD_PERF_INSTRUCTIONS, 0);
    if (fd < 0) return -fd;
    ops->close(ops->self, fd);
    return 0;
}

/* Adds the counters of one thread; those that cannot be opened are -1. @return whether
 * any is there; `*why`: -errno of the last that is not */
static icd_status open_thread(icd_ctx *ctx, icd_perf *p, int64_t *capacity, int32_t tid,
                              int events, int *why)
{
    int fd[ICD_PERF_EVENTS];
    bool any = false;
    icd_status status = icd_i_grow(ctx, (void **)&p->fd, capacity,
                                   (p->threads + 1) * ICD_PERF_EVENTS, sizeof *p->fd);
    if (status != ICD_OK) return status;
    for (int e = 0; e < ICD_PERF_EVENTS; e++) {
        fd[e] = e < events ? p->ops->open(p->ops->self, (icd_perf_event)e, tid) : -1;
        any = any || fd[e] >= 0;
        if (e < events && fd[e] < 0) *why = fd[e];
        p->fd[p->threads * ICD_PERF_EVENTS + e] = fd[e] < 0 ? -1 : fd[e];
    }
    p->threads += any;
    return ICD_OK;
}

icd_status icd_i_perf_open(icd_ctx *ctx, const icd_perf_ops *ops, bool cache,
                           icd_perf *out)
{
    icd_status status = ICD_OK;
    int64_t capacity = 0;
    int why = 0;
    const struct dirent *entry;
    *out = (icd_perf){.ops = ops};
    DIR *dir = opendir("/proc/self/task");
    while (status == ICD_OK && dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            status = open_thread(ctx, out, &capacity, (int32_t)atol(entry->d_name),
                                 cache ? ICD_PERF_EVENTS : ICD_PERF_REFERENCES, &why);
    if (dir) closedir(dir);
    if (status == ICD_OK && out->threads == 0)
        status = icd_i_fail_errno(ctx, ICD_EMEASURE, "perf_event_open", -why,
                                  "no counter of any thread can be opened");
    if (status != ICD_OK) icd_i_perf_close(ctx, out);
    return status;
}

void icd_i_perf_close(icd_ctx *ctx, icd_perf *perf)
{
    for (int64_t i = 0; i < perf->threads * ICD_PERF_EVENTS; i++)
        if (perf->fd[i] >= 0) perf->ops->close(perf->ops->self, perf->fd[i]);
    icd_i_free(ctx, perf->fd);
    *perf = (icd_perf){0};
}

bool icd_i_perf_read(const icd_perf *perf, icd_perf_value out[ICD_PERF_EVENTS])
{
    for (int e = 0; e < ICD_PERF_EVENTS; e++) out[e] = (icd_perf_value){0};
    for (int64_t i = 0; i < perf->threads * ICD_PERF_EVENTS; i++) {
        icd_perf_value value;
        icd_perf_value *sum = &out[i % ICD_PERF_EVENTS];
        if (perf->fd[i] < 0) continue;
        if (!perf->ops->read(perf->ops->self, perf->fd[i], &value)) return false;
        sum->count += value.count;
        sum->enabled += value.enabled;
        sum->running += value.running;
    }
    return true;
}

double icd_i_perf_between(const icd_perf_value *from, const icd_perf_value *to)
{
    double running = (double)(to->running - from->running),
           enabled = (double)(to->enabled - from->enabled);
    if (to->running <= from->running || to->count < from->count) return NAN;
    return (double)(to->count - from->count) * (enabled / running);
}
