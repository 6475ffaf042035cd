/* NVML by its binary interface: stable since 2012, so no header is needed. */
#include "measure/nvml.h"

#include "base/mem.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* nvmlReturn_t */
enum {
    OK = 0,
    NOT_SUPPORTED = 3,
    NO_PERMISSION = 4,
    DRIVER_NOT_LOADED = 9,
    GPU_IS_LOST = 15,
    MISMATCH = 18
};
/* nvmlClockType_t, nvmlTemperatureSensors_t, nvmlFieldValue_t.fieldId */
enum { CLOCK_SM = 1, CLOCK_MEM = 2, SENSOR_GPU = 0, FIELD_POWER_INSTANT = 186 };

typedef void *device_t;
typedef struct utilization {
    unsigned gpu, memory;
} utilization;
typedef struct field {
    unsigned id, scope;
    long long timestamp, latency_us;
    int value_type, result;
    union {
        double d;
        unsigned u;
        unsigned long long ull;
    } value;
} field;

/* Names of the library; NULL where this version has none. */
typedef struct functions {
    int (*init)(void);
    int (*shutdown)(void);
    const char *(*error)(int);
    int (*driver)(char *, unsigned);
    int (*count)(unsigned *);
    int (*handle)(unsigned, device_t *);
    int (*name)(device_t, char *, unsigned);
    int (*energy)(device_t, unsigned long long *); /* mJ since the driver was loaded */
    int (*power)(device_t, unsigned *);            /* mW */
    int (*fields)(device_t, int, field *);
    int (*clock)(device_t, int, unsigned *); /* MHz */
    int (*temperature)(device_t, int, unsigned *);
    int (*reasons)(device_t, unsigned long long *);
    int (*utilization)(device_t, utilization *);
} functions;

struct icd_nvml {
    void *library;
    functions f;
    bool initialised, counts, instant;
    device_t device;
    icd_nvml_state state;
    icd_power_counter counter;
    icd_power_row seen; /* what stands beside energy, read every STATE_S */
};

/* Calls take time (the energy counter: milliseconds): the rest is read less often. */
static const double STATE_S = .05;
/* Should a driver keep the counter in 32 bits. A real one has 64 and never ends. */
static const double RANGE_J = 4294967.296;

/* A function's newest name first; the places are those of `functions`. */
typedef struct symbol {
    size_t offset;
    bool needed;
    const char *name[2];
} symbol;

#define AT(member) offsetof(functions, member)
static const symbol SYMBOL[] = {
    {AT(init), true, {"nvmlInit_v2", "nvmlInit"}},
    {AT(shutdown), true, {"nvmlShutdown", NULL}},
    {AT(error), true, {"nvmlErrorString", NULL}},
    {AT(driver), false, {"nvmlSystemGetDriverVersion", NULL}},
    {AT(count), true, {"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount"}},
    {AT(handle), true, {"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex"}},
    {AT(name), false, {"nvmlDeviceGetName", NULL}},
    {AT(energy), false, {"nvmlDeviceGetTotalEnergyConsumption", NULL}},
    {AT(power), false, {"nvmlDeviceGetPowerUsage", NULL}},
    {AT(fields), false, {"nvmlDeviceGetFieldValues", NULL}},
    {AT(clock), false, {"nvmlDeviceGetClockInfo", NULL}},
    {AT(temperature), false, {"nvmlDeviceGetTemperature", NULL}},
    {AT(reasons),
     false,
     {"nvmlDeviceGetCurrentClocksEventReasons",
      "nvmlDeviceGetCurrentClocksThrottleReasons"}},
    {AT(utilization), false, {"nvmlDeviceGetUtilizationRates", NULL}},
};

static const char DRIVER_HINT[] =
    "install the NVIDIA driver; in a container: docker run "
    "--gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility";

static void refuse(icd_nvml *n, const char *enable, const char *fmt, ...)
    ICD_PRINTF(3, 4);
static void refuse(icd_nvml *n, const char *enable, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(n->state.found, sizeof n->state.found, fmt, args);
    va_end(args);
    n->state.enable = enable;
}

/* @return the name of a function that is needed and missing; NULL: all are there */
static const char *bind(icd_nvml *n)
{
    for (size_t i = 0; i < sizeof SYMBOL / sizeof SYMBOL[0]; i++) {
        void *address = dlsym(n->library, SYMBOL[i].name[0]);
        if (!address && SYMBOL[i].name[1]) address = dlsym(n->library, SYMBOL[i].name[1]);
        if (!address && SYMBOL[i].needed) return SYMBOL[i].name[0];
        memcpy((char *)&n->f + SYMBOL[i].offset, &address, sizeof address);
    }
    return NULL;
}

static const char *hint_of(int code)
{
    if (code == NO_PERMISSION)
        return "let this user open /dev/nvidiactl and /dev/nvidia0: sudo usermod -aG "
               "video "
               "$USER, then log in again";
    if (code == MISMATCH)
        return "driver and library differ: sudo rmmod nvidia_uvm nvidia && sudo modprobe "
               "nvidia, or reboot";
    if (code == DRIVER_NOT_LOADED) return "sudo modprobe nvidia";
    if (code == GPU_IS_LOST) return "the GPU fell off the bus: sudo reboot";
    return DRIVER_HINT;
}

static bool begin(icd_nvml *n, int32_t device)
{
    unsigned count = 0;
    int code = n->f.init();
    if (code != OK) {
        refuse(n, hint_of(code), "NVML does not start: %s", n->f.error(code));
        return false;
    }
    n->initialised = true;
    code = n->f.count(&count);
    if (code == OK && (device < 0 || (unsigned)device >= count)) {
        refuse(n, count ? "set meter.device to a GPU that is there" : DRIVER_HINT,
               "there is no GPU %d: NVML counts %u", device, count);
        return false;
    }
    if (code == OK) code = n->f.handle((unsigned)device, &n->device);
    if (code == OK) return true;
    refuse(n, hint_of(code), "GPU %d cannot be opened: %s", device, n->f.error(code));
    return false;
}

/* Power at this moment; else the sensor's mean (of 1 s on recent devices). */
static int read_instant(const icd_nvml *n, double *watts)
{
    field f = {.id = FIELD_POWER_INSTANT};
    if (!n->f.fields) return NOT_SUPPORTED;
    int code = n->f.fields(n->device, 1, &f);
    if (code == OK) code = f.result;
    if (code == OK) *watts = 1e-3 * f.value.u;
    return code;
}

static int read_mean_power(const icd_nvml *n, double *watts)
{
    unsigned mw = 0;
    if (!n->f.power) return NOT_SUPPORTED;
    int code = n->f.power(n->device, &mw);
    if (code == OK) *watts = 1e-3 * mw;
    return code;
}

static int read_watts(const icd_nvml *n, double *watts)
{
    return n->instant ? read_instant(n, watts) : read_mean_power(n, watts);
}

static int read_energy(const icd_nvml *n, double *joules)
{
    unsigned long long mj = 0;
    if (!n->f.energy) return NOT_SUPPORTED;
    int code = n->f.energy(n->device, &mj);
    if (code == OK) *joules = 1e-3 * (double)mj;
    return code;
}

/* Which of the two this device tells. */
static void look(icd_nvml *n)
{
    double value = 0;
    char name[96] = "NVIDIA GPU", driver[80] = "unknown";
    int energy = read_energy(n, &value);
    n->counts = energy == OK;
    n->instant = read_instant(n, &value) == OK;
    int power = read_watts(n, &value);
    if (n->f.name) n->f.name(n->device, name, sizeof name);
    if (n->f.driver) n->f.driver(driver, sizeof driver);
    name[sizeof name - 1] = driver[sizeof driver - 1] = 0;
    if (!n->counts && power != OK) {
        refuse(n, hint_of(power == NOT_SUPPORTED ? energy : power),
               "%s, driver %s, tells neither energy (%s) nor power (%s)", name, driver,
               n->f.error(energy), n->f.error(power));
        if (energy == NOT_SUPPORTED && power == NOT_SUPPORTED)
            n->state.enable = "a data-centre GPU, or a driver of the host: virtual GPUs "
                              "and older boards have no power sensor";
        return;
    }
    n->state.available = true;
    snprintf(n->state.found, sizeof n->state.found, "%s, driver %s, %s", name, driver,
             n->counts ? "total-energy counter" : "power samples, no energy counter");
}

icd_status icd_i_nvml_open(icd_ctx *ctx, const char *library, int32_t device,
                           icd_nvml **out)
{
    icd_nvml *n = NULL;
    *out = NULL;
    icd_status status = ICD_ALLOC(ctx, 1, &n);
    if (status != ICD_OK) return status;
    *out = n;
    n->counter.range = RANGE_J;
    n->seen.t = -1;
    n->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!n->library) {
        const char *why = dlerror();
        refuse(n, DRIVER_HINT, "NVML cannot be loaded: %s", why ? why : library);
        return ICD_OK;
    }
    const char *missing = bind(n);
    if (missing)
        refuse(n, DRIVER_HINT, "%s has no %s", library, missing);
    else if (begin(n, device))
        look(n);
    return ICD_OK;
}

void icd_i_nvml_close(icd_ctx *ctx, icd_nvml *n)
{
    if (!n) return;
    if (n->initialised) n->f.shutdown();
    if (n->library) dlclose(n->library);
    icd_i_free(ctx, n);
}

const icd_nvml_state *icd_i_nvml_state(const icd_nvml *n)
{
    return &n->state;
}

static double clock_mhz(const icd_nvml *n, int type)
{
    unsigned mhz = 0;
    return n->f.clock && n->f.clock(n->device, type, &mhz) == OK ? mhz : (double)NAN;
}

/* What stands beside energy: not told is no failure. */
static void read_beside(const icd_nvml *n, icd_power_row *row)
{
    unsigned celsius = 0;
    unsigned long long reasons = 0;
    utilization busy = {0};
    row->sm_mhz = clock_mhz(n, CLOCK_SM);
    row->mem_mhz = clock_mhz(n, CLOCK_MEM);
    if (n->f.temperature && n->f.temperature(n->device, SENSOR_GPU, &celsius) == OK)
        row->celsius = celsius;
    if (n->f.reasons && n->f.reasons(n->device, &reasons) == OK)
        row->throttle = (int64_t)(reasons & INT64_MAX);
    if (n->f.utilization && n->f.utilization(n->device, &busy) == OK)
        row->busy_pct = busy.gpu;
}

static bool gone(const icd_nvml *n, int code, char why[160])
{
    snprintf(why, 160, "NVML no longer tells %s: %s", n->counts ? "energy" : "power",
             n->f.error(code));
    return false;
}

static bool count_energy(icd_nvml *n, icd_power_row *row, char why[160])
{
    double value = 0;
    int code = read_energy(n, &value);
    if (code != OK) return gone(n, code, why);
    if (icd_i_power_count(&n->counter, row->t, value)) {
        row->joules = n->counter.total;
        return true;
    }
    snprintf(
        why, 160,
        "the energy counter went from %.3f J to %.3f J: the driver was loaded again, "
        "or it is broken",
        n->counter.last, value);
    return false;
}

/* With a counter, power is only shown; without, every sample counts. */
static bool read_row(void *self, icd_power_row *row, char why[160])
{
    icd_nvml *n = self;
    icd_power_row *seen = &n->seen;
    if (n->counts && !count_energy(n, row, why)) return false;
    if (!n->counts) {
        int code = read_watts(n, &row->watts);
        if (code != OK) return gone(n, code, why);
    }
    if (!(row->t - seen->t < STATE_S)) {
        *seen = *row;
        if (n->counts) read_watts(n, &seen->watts);
        read_beside(n, seen);
    }
    if (n->counts) row->watts = seen->watts;
    row->sm_mhz = seen->sm_mhz;
    row->mem_mhz = seen->mem_mhz;
    row->celsius = seen->celsius;
    row->busy_pct = seen->busy_pct;
    row->throttle = seen->throttle;
    return true;
}

icd_power_source icd_i_nvml_source(icd_nvml *n)
{
    return (icd_power_source){.read = read_row,
                              .self = n,
                              .counts = n->counts,
                              .period_s = n->counts || n->instant ? .1 : 1,
                              .poll_s = n->counts ? .02 : .05};
}

const char *icd_i_nvml_method(const icd_nvml *n)
{
    if (n->counts) return "NVML's total-energy counter of the whole board";
    if (n->instant)
        return "NVML's instantaneous power of the whole board, integrated: this driver "
               "has "
               "no energy counter";
    return "NVML's power of the whole board, a running mean of up to 1 s, integrated: "
           "this "
           "driver has no energy counter";
}
