/* RAPL through powercap: /sys/class/powercap/intel-rapl:0/energy_uj and its kin (AMD's
 * counters stand under the same name). */
#include "measure/rapl.h"

#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 512 };

static const char CHMOD[] =
    "sudo chmod a+r /sys/class/powercap/intel-rapl*/energy_uj, or run as root";
static const char MODULE[] =
    "sudo modprobe intel_rapl_msr; a virtual machine has no counters of its own: measure "
    "on its host";

int icd_i_rapl_line(const char *root, const char *folder, const char *file, char *line,
                    size_t size)
{
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s/%s/%s", root, folder, file);
    if (n < 0 || n >= (int)sizeof path) return ENAMETOOLONG;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    ssize_t got = read(fd, line, size - 1);
    int err = got < 0 ? errno : 0;
    close(fd);
    line[got > 0 ? got : 0] = 0;
    line[strcspn(line, "\n")] = 0;
    return err;
}

/* "intel-rapl:0:2" is a domain inside "intel-rapl:0". */
static bool is_zone(const char *name, const char *kind)
{
    size_t n = strlen(kind);
    return strncmp(name, kind, n) == 0 && name[n] == ':';
}

/* Packages and memory; cores and uncore are parts of the package, psys holds it. */
static bool is_summed(const char *name)
{
    return strncmp(name, "package", 7) == 0 || strcmp(name, "dram") == 0;
}

/* "dram of package-0": memory is told once per package. */
static void full_name(const char *root, const char *zone, const char *name, char out[48])
{
    char parent[64] = "", holder[32] = "";
    const char *colon = strrchr(zone, ':');
    snprintf(out, 48, "%s", name);
    if (strcmp(name, "dram") != 0 || !colon) return;
    snprintf(parent, sizeof parent, "%.*s", (int)(colon - zone), zone);
    if (icd_i_rapl_line(root, parent, "name", holder, sizeof holder) == 0)
        snprintf(out, 48, "%.8s of %.30s", name, holder);
}

/* @return 0, or errno */
static int add_zone(const char *root, const char *zone, icd_rapl *out)
{
    char name[32], line[64], path[PATH_BYTES];
    int64_t range = 0;
    icd_rapl_domain *d = &out->domain[out->domains];
    int err = icd_i_rapl_line(root, zone, "name", name, sizeof name);
    if (err || !is_summed(name)) return err;
    err = icd_i_rapl_line(root, zone, "max_energy_range_uj", line, sizeof line);
    if (err == 0 && !icd_i_int_parse(line, &range)) err = EINVAL;
    if (err == 0) err = icd_i_rapl_line(root, zone, "energy_uj", line, sizeof line);
    if (err) return err;
    snprintf(path, sizeof path, "%s/%s/energy_uj", root, zone);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    *d = (icd_rapl_domain){
        .fd = fd, .text = true, .scale = 1e-6, .counter.range = 1e-6 * (double)range};
    full_name(root, zone, name, d->name);
    out->domains++;
    return 0;
}

static void drop_all(icd_rapl *out)
{
    for (int i = 0; i < out->domains; i++) close(out->domain[i].fd);
    out->domains = 0;
}

/* Every zone of one kind; half a sum would be read as the whole. */
static bool add_kind(const char *root, struct dirent **entry, int entries,
                     const char *kind, icd_rapl *out)
{
    for (int i = 0; i < entries && out->domains < ICD_RAPL_DOMAINS; i++) {
        const char *zone = entry[i]->d_name;
        int err = is_zone(zone, kind) ? add_zone(root, zone, out) : 0;
        if (err == 0) continue;
        drop_all(out);
        snprintf(out->found, sizeof out->found, "%.120s/%.60s cannot be read: %s", root,
                 zone, strerror(err));
        out->enable = err == EACCES || err == EPERM ? CHMOD : MODULE;
        return false;
    }
    return true;
}

static void list_domains(icd_rapl *out, const char *by)
{
    int n = snprintf(out->found, sizeof out->found, "%s: ", by);
    for (int i = 0; i < out->domains && n < (int)sizeof out->found; i++)
        n += snprintf(out->found + n, sizeof out->found - (size_t)n, "%s%s",
                      i ? ", " : "", out->domain[i].name);
    out->enable = NULL;
}

bool icd_i_rapl_open_powercap(const char *root, icd_rapl *out)
{
    struct dirent **entry = NULL;
    *out = (icd_rapl){0};
    int entries = scandir(root, &entry, NULL, alphasort);
    bool readable = entries < 0 || add_kind(root, entry, entries, "intel-rapl", out);
    if (readable && entries > 0 && out->domains == 0)
        readable = add_kind(root, entry, entries, "intel-rapl-mmio", out);
    for (int i = 0; i < entries; i++) free(entry[i]);
    free(entry);
    if (out->domains > 0) {
        list_domains(out, "powercap");
        return true;
    }
    if (readable) {
        snprintf(out->found, sizeof out->found, "no RAPL domain under %.200s", root);
        out->enable = MODULE;
    }
    return false;
}

void icd_i_rapl_open(const char *powercap, const char *pmu, icd_rapl *out)
{
    icd_rapl perf;
    if (icd_i_rapl_open_powercap(powercap, out)) return;
    if (icd_i_rapl_open_perf(pmu, &perf)) {
        *out = perf;
        list_domains(out, "perf");
        return;
    }
    size_t n = strlen(out->found);
    snprintf(out->found + n, sizeof out->found - n, "; %s", perf.found);
    /* Where both are refused, reading a file is the smaller right. */
    if (out->enable == MODULE && perf.enable) out->enable = perf.enable;
}

void icd_i_rapl_close(icd_rapl *rapl)
{
    drop_all(rapl);
}

/* Joules of one counter. @return 0, or errno */
static int read_domain(const icd_rapl_domain *d, double *joules)
{
    char line[64] = "";
    uint64_t count = 0;
    int64_t value = 0;
    if (!d->text) {
        if (read(d->fd, &count, sizeof count) != (ssize_t)sizeof count)
            return errno ? errno : EIO;
        *joules = d->scale * (double)count;
        return 0;
    }
    if (pread(d->fd, line, sizeof line - 1, 0) < 0) return errno;
    line[strcspn(line, "\n")] = 0;
    if (!icd_i_int_parse(line, &value)) return EIO;
    *joules = d->scale * (double)value;
    return 0;
}

static bool read_row(void *self, icd_power_row *row, char why[160])
{
    icd_rapl *rapl = self;
    double sum = 0, value = 0;
    for (int i = 0; i < rapl->domains; i++) {
        icd_rapl_domain *d = &rapl->domain[i];
        errno = 0;
        int err = read_domain(d, &value);
        if (err) {
            snprintf(why, 160, "RAPL no longer tells %s: %s", d->name, strerror(err));
            return false;
        }
        if (!icd_i_power_count(&d->counter, row->t, value)) {
            snprintf(why, 160, "RAPL's counter of %s went from %.6f J to %.6f J", d->name,
                     d->counter.last, value);
            return false;
        }
        sum += d->counter.total;
    }
    row->joules = sum;
    return true;
}

icd_power_source icd_i_rapl_source(icd_rapl *rapl)
{
    return (icd_power_source){
        .read = read_row, .self = rapl, .counts = true, .period_s = .01, .poll_s = .01};
}
