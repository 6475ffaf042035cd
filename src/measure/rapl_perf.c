/* RAPL through perf: the PMU "power" counts joules of a package from the moment an event
 * is opened; the kernel keeps 64 bits and sees to wraps itself. */
#include "measure/rapl.h"

#include "base/text.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char FOLDER[] = "power";
static const char PARANOID[] = "sudo sysctl kernel.perf_event_paranoid=0, or run as root";

/* "event=0x02" -> 2 */
static bool parse_event(const char *line, uint64_t *config)
{
    char *end = NULL;
    if (strncmp(line, "event=", 6) != 0) return false;
    *config = strtoull(line + 6, &end, 16);
    return end != line + 6 && (*end == 0 || *end == ',');
}

/* The next CPU of a list such as "0,18-19". @return -1: no more */
static int next_cpu(const char **list, int *upto, int last)
{
    char *end = NULL;
    if (last >= 0 && last < *upto) return last + 1;
    if (**list == 0) return -1;
    long from = strtol(*list, &end, 10), to = from;
    if (end == *list || from < 0) return -1;
    if (*end == '-') to = strtol(end + 1, &end, 10);
    if (*end == ',') end++;
    *list = end;
    *upto = (int)to;
    return (int)from;
}

static int open_event(uint32_t type, uint64_t config, int cpu)
{
    struct perf_event_attr attr = {.type = type, .size = sizeof attr, .config = config};
    return (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

typedef struct event {
    const char *file, *what; /* "energy-pkg", "package" */
    uint64_t config;
    double scale;
} event;

/* @return 0; ENOENT: this processor has no such domain; else errno */
static int read_event(const char *pmu, event *e)
{
    char file[64], line[96];
    snprintf(file, sizeof file, "events/%s", e->file);
    int err = icd_i_rapl_line(pmu, FOLDER, file, line, sizeof line);
    if (err) return err;
    if (!parse_event(line, &e->config)) return EINVAL;
    snprintf(file, sizeof file, "events/%s.scale", e->file);
    err = icd_i_rapl_line(pmu, FOLDER, file, line, sizeof line);
    if (err) return err;
    return icd_i_real_parse(line, &e->scale) && e->scale > 0 ? 0 : EINVAL;
}

/* One counter per CPU of the mask, that is, per package. @return 0, or errno */
static int open_everywhere(const event *e, uint32_t type, const char *cpus, icd_rapl *out)
{
    int upto = -1, cpu = -1;
    while ((cpu = next_cpu(&cpus, &upto, cpu)) >= 0 && out->domains < ICD_RAPL_DOMAINS) {
        icd_rapl_domain *d = &out->domain[out->domains];
        int fd = open_event(type, e->config, cpu);
        if (fd < 0) return errno;
        *d = (icd_rapl_domain){.fd = fd, .scale = e->scale};
        snprintf(d->name, sizeof d->name, "%s of CPU %d", e->what, cpu);
        out->domains++;
    }
    return 0;
}

static int open_all(const char *pmu, icd_rapl *out)
{
    char line[96], cpus[256];
    int64_t type = 0;
    event e[2] = {{.file = "energy-pkg", .what = "package"},
                  {.file = "energy-ram", .what = "memory"}};
    int err = icd_i_rapl_line(pmu, FOLDER, "type", line, sizeof line);
    if (err) return err;
    if (!icd_i_int_parse(line, &type) || type < 0 || type > UINT32_MAX) return EINVAL;
    err = icd_i_rapl_line(pmu, FOLDER, "cpumask", cpus, sizeof cpus);
    for (int i = 0; err == 0 && i < 2; i++) {
        err = read_event(pmu, &e[i]);
        if (err == ENOENT && i > 0) return 0;
        if (err == 0) err = open_everywhere(&e[i], (uint32_t)type, cpus, out);
    }
    return err;
}

bool icd_i_rapl_open_perf(const char *pmu, icd_rapl *out)
{
    *out = (icd_rapl){.perf = true};
    int err = open_all(pmu, out);
    if (err == 0 && out->domains > 0) return true;
    icd_i_rapl_close(out);
    if (err == ENOENT)
        snprintf(out->found, sizeof out->found, "no power PMU under %.120s", pmu);
    else if (err == EACCES || err == EPERM) {
        snprintf(out->found, sizeof out->found, "the kernel refuses the power PMU");
        out->enable = PARANOID;
    } else
        snprintf(out->found, sizeof out->found, "the power PMU cannot be opened: %s",
                 err ? strerror(err) : "it names no CPU");
    return false;
}
