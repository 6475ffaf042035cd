/* L2 hit rate and energy: what could read them here, or why nothing can. */
#include <icd/measure.h>

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int perf_errno(void)
{
    struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
                                   .size = sizeof attr,
                                   .config = PERF_COUNT_HW_CACHE_REFERENCES,
                                   .exclude_kernel = 1};
    int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
    if (fd < 0) return errno;
    close(fd);
    return 0;
}

icd_status icd_measure_l2(icd_ctx *ctx, icd_metric *out)
{
    (void)ctx;
    int err = perf_errno();
    *out = (icd_metric){.name = "l2_hit_pct", .unit = "%"};
    if (err == 0)
        out->reason = "hardware counters are here, but this version does not read them";
    else if (err == EACCES || err == EPERM)
        out->reason = "the kernel refuses hardware counters (kernel.perf_event_paranoid)";
    else
        out->reason =
            "this machine exposes no hardware cache counters and has no NVIDIA GPU";
    return ICD_OK;
}

icd_status icd_measure_energy(icd_ctx *ctx, icd_metric *out)
{
    (void)ctx;
    int fd = open("/sys/class/powercap/intel-rapl:0/energy_uj", O_RDONLY | O_CLOEXEC);
    int err = errno;
    *out = (icd_metric){.name = "ept_j_per_tok", .unit = "J/token"};
    if (fd >= 0) {
        close(fd);
        out->reason = "RAPL is here, but this version does not read it";
    } else if (err == EACCES) {
        out->reason = "RAPL is here, but energy_uj may not be read by this user";
    } else {
        out->reason = "this machine has neither RAPL nor an NVIDIA GPU";
    }
    return ICD_OK;
}
