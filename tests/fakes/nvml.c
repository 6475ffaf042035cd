/*
 * A fake libnvidia-ml.so for tests: one board whose energy is watts times the time that
 * went by, in the units and with the codes that NVIDIA documents (NVML API reference).
 * Not recorded from a device. FAKE_NVML_OLD: the names that a driver of 2016 had.
 */
#include "nvml.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { FAKE_NOT_SUPPORTED = 3, FAKE_INVALID = 2 };

typedef struct fake_utilization {
    unsigned gpu, memory;
} fake_utilization;
typedef struct fake_field {
    unsigned id, scope;
    long long timestamp, latency_us;
    int value_type, result;
    union {
        double d;
        unsigned u;
        unsigned long long ull;
    } value;
} fake_field;

fake_nvml *fake_nvml_device(void);
void fake_nvml_reset(void);
void fake_nvml_load(double watts);
int nvmlInit(void);
int nvmlInit_v2(void);
int nvmlShutdown(void);
const char *nvmlErrorString(int code);
int nvmlSystemGetDriverVersion(char *text, unsigned size);
int nvmlDeviceGetCount(unsigned *count);
int nvmlDeviceGetCount_v2(unsigned *count);
int nvmlDeviceGetHandleByIndex(unsigned index, void **device);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device);
int nvmlDeviceGetName(void *device, char *text, unsigned size);
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *mj);
int nvmlDeviceGetPowerUsage(void *device, unsigned *mw);
int nvmlDeviceGetFieldValues(void *device, int count, fake_field *field);
int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz);
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius);
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *mask);
int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *mask);
int nvmlDeviceGetUtilizationRates(void *device, fake_utilization *busy);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static fake_nvml board;
static double joules, seen_at, shown, shown_at;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void advance(void)
{
    double t = now();
    joules += board.watts * (t - seen_at);
    seen_at = t;
}

fake_nvml *fake_nvml_device(void)
{
    return &board;
}

void fake_nvml_reset(void)
{
    pthread_mutex_lock(&lock);
    board = (fake_nvml){.devices = 1,
                        .watts = 60,
                        .tick_s = .02,
                        .start_mj = 123456789,
                        .sm_mhz = 1980,
                        .mem_mhz = 2619,
                        .celsius = 41,
                        .busy_pct = 97};
    joules = shown = 0;
    seen_at = shown_at = now();
    pthread_mutex_unlock(&lock);
}

void fake_nvml_load(double watts)
{
    pthread_mutex_lock(&lock);
    advance();
    board.watts = watts;
    pthread_mutex_unlock(&lock);
}

#ifdef FAKE_NVML_OLD
int nvmlInit(void)
#else
int nvmlInit_v2(void)
#endif
{
    return board.init;
}

int nvmlShutdown(void)
{
    return 0;
}

const char *nvmlErrorString(int code)
{
    switch (code) {
    case 0:
        return "The operation was successful";
    case 3:
        return "Not Supported";
    case 4:
        return "Insufficient Permissions";
    case 9:
        return "Driver Not Loaded";
    case 15:
        return "GPU is lost";
    case 18:
        return "Driver/library version mismatch";
    default:
        return "Unknown Error";
    }
}

int nvmlSystemGetDriverVersion(char *text, unsigned size)
{
    snprintf(text, size, "580.95.05");
    return 0;
}

#ifdef FAKE_NVML_OLD
int nvmlDeviceGetCount(unsigned *count)
#else
int nvmlDeviceGetCount_v2(unsigned *count)
#endif
{
    *count = board.devices;
    return 0;
}

#ifdef FAKE_NVML_OLD
int nvmlDeviceGetHandleByIndex(unsigned index, void **device)
#else
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device)
#endif
{
    *device = &board;
    return index < board.devices ? board.handle : FAKE_INVALID;
}

int nvmlDeviceGetName(void *device, char *text, unsigned size)
{
    (void)device;
    snprintf(text, size, "Fake GPU");
    return 0;
}

#ifndef FAKE_NVML_OLD
/* The counter as of its last tick, in mJ. */
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *mj)
{
    int code = board.energy;
    (void)device;
    pthread_mutex_lock(&lock);
    advance();
    board.calls++;
    if (board.tick_s >= 0 && seen_at - shown_at >= board.tick_s) {
        shown = joules;
        shown_at = seen_at;
    }
    double value = board.start_mj + 1e3 * shown;
    if (board.wrap_mj > 0 && value >= board.wrap_mj) value -= board.wrap_mj;
    if (board.back_at && board.calls >= board.back_at) value = 1e3 * shown;
    *mj = (unsigned long long)value;
    if (board.fail_from && board.calls >= board.fail_from) code = board.fail_code;
    pthread_mutex_unlock(&lock);
    return code;
}

int nvmlDeviceGetFieldValues(void *device, int count, fake_field *field)
{
    (void)device;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < count; i++) {
        field[i].result = field[i].id == 186 ? board.instant : FAKE_NOT_SUPPORTED;
        field[i].value.u = (unsigned)(1e3 * board.watts);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}
#endif

int nvmlDeviceGetPowerUsage(void *device, unsigned *mw)
{
    (void)device;
    pthread_mutex_lock(&lock);
    *mw = (unsigned)(1e3 * board.watts);
    pthread_mutex_unlock(&lock);
    return board.power;
}

/* 1: multiprocessors, 2: memory */
int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz)
{
    (void)device;
    *mhz = type == 1 ? board.sm_mhz : type == 2 ? board.mem_mhz : 0;
    return board.clock;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius)
{
    (void)device;
    *celsius = board.celsius;
    return sensor == 0 ? board.temperature : FAKE_INVALID;
}

#ifdef FAKE_NVML_OLD
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *mask)
#else
int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *mask)
#endif
{
    (void)device;
    *mask = board.throttle;
    return board.reasons;
}

int nvmlDeviceGetUtilizationRates(void *device, fake_utilization *busy)
{
    (void)device;
    *busy = (fake_utilization){board.busy_pct, 10};
    return board.busy;
}
