/**
 * @file rapl.h
 * Energy of the CPU packages and their memory, by the processor's own counters (RAPL):
 * through the kernel's powercap tree, else through the power PMU of perf.
 */
#ifndef ICD_MEASURE_RAPL_H
#define ICD_MEASURE_RAPL_H

#include "measure/power.h"

enum { ICD_RAPL_DOMAINS = 64 };

/** One counter: a package, or the memory behind it. */
typedef struct icd_rapl_domain {
    char name[48]; /**< "package-0", "dram of package-0" */
    int fd;
    bool text;    /**< the file is a decimal number; else 8 bytes of a perf event */
    double scale; /**< joules per count */
    icd_power_counter counter;
} icd_rapl_domain;

typedef struct icd_rapl {
    icd_rapl_domain domain[ICD_RAPL_DOMAINS];
    int32_t domains; /**< 0: cannot be read; `found` says why */
    bool perf;       /**< through the power PMU */
    char found[320];
    const char *enable; /**< NULL when it can be read */
} icd_rapl;

/**
 * Looks for counters; never fails: where there are none, domains is 0.
 * @param powercap [in] "/sys/class/powercap"
 * @param pmu      [in] "/sys/bus/event_source/devices"
 */
void icd_i_rapl_open(const char *powercap, const char *pmu, icd_rapl *out);
void icd_i_rapl_close(icd_rapl *rapl);

/** The two ways by themselves. @return false: `found` and `enable` say why */
bool icd_i_rapl_open_powercap(const char *root, icd_rapl *out);
bool icd_i_rapl_open_perf(const char *pmu, icd_rapl *out);

/** The sum of all domains. */
icd_power_source icd_i_rapl_source(icd_rapl *rapl);

/** The first line of root/folder/file without its newline. @return 0, or errno */
int icd_i_rapl_line(const char *root, const char *folder, const char *file, char *line,
                    size_t size);

#endif
