#include "base/memory_left.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

static const double KIB = 1024, SHADOW = 1e12;

/* A missing line leaves -1. */
static double available(void)
{
    char line[128];
    double kib = -1;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && kib < 0 && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %lf kB", &kib) != 1) kib = -1;
    if (file) fclose(file);
    return kib < 0 ? -1 : kib * KIB;
}

/* Data and stack, less the pages that are there; -1: unknown. */
static double untouched(void)
{
    double resident = 0, shared = 0, data = -1, page = (double)sysconf(_SC_PAGESIZE);
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) return -1;
    if (fscanf(file, "%*f %lf %lf %*f %*f %lf", &resident, &shared, &data) != 3)
        data = -1;
    fclose(file);
    return data < 0 ? -1 : fmax(0, data - (resident - shared)) * page;
}

double icd_i_memory_left(void)
{
    double there = available(), promised = untouched();
    if (there < 0 || promised < 0 || promised > SHADOW) return INFINITY;
    return fmax(0, there - promised);
}
