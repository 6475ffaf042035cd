#include <icd/meter.h>

#include <math.h>

#define FIELD(name) offsetof(icd_meter_opts, name)

/* ncu_metrics and power_sample_hz are keys of `measure`, dir is the run's: no rows here.
 */
static const icd_option ROW[] = {
    {"ncu", FIELD(ncu), ICD_OPTION_STRING, "ncu", 0, 0, NULL, NULL,
     "Nsight Compute, looked up in PATH"},
    {"ncu_mode", FIELD(ncu_mode), ICD_OPTION_ENUM, "auto", 0, 0, "auto|sample|full", NULL,
     "the first kernels, or every kernel of the steps; auto: every one where the command "
     "marks its steps"},
    {"ncu_kernels", FIELD(ncu_kernels), ICD_OPTION_INT64, "200", 1, 1e6, NULL, "kernels",
     "kernels of a sample"},
    {"ncu_runs", FIELD(ncu_runs), ICD_OPTION_INT64, "5", 1, 1000, NULL, "runs",
     "an arm is profiled at most so often: every time its process starts anew"},
    {"arms", FIELD(arms), ICD_OPTION_LIST, NULL, 0, 0, NULL, NULL,
     "arms that are read; none given: linear, iterative, linear A/A, gather, dense, "
     "frequency, block tiles"},
    {"nvtx", FIELD(nvtx), ICD_OPTION_STRING, NULL, 0, 0, NULL, NULL,
     "only kernels inside this NVTX range"},
    {"valgrind", FIELD(valgrind), ICD_OPTION_STRING, "valgrind", 0, 0, NULL, NULL,
     "valgrind, looked up in PATH"},
    {"nvml", FIELD(nvml), ICD_OPTION_STRING, "libnvidia-ml.so.1", 0, 0, NULL, NULL,
     "the driver's management library"},
    {"device", FIELD(device), ICD_OPTION_INT, "0", 0, 1023, NULL, NULL,
     "GPU, as the management library counts"},
    {"powercap", FIELD(powercap), ICD_OPTION_STRING, "/sys/class/powercap", 0, 0, NULL,
     NULL, "folder of the RAPL domains"},
    {"pmu", FIELD(pmu), ICD_OPTION_STRING, "/sys/bus/event_source/devices", 0, 0, NULL,
     NULL, "folder of the kernel's performance counters"},
    {"caches", FIELD(caches), ICD_OPTION_STRING, "/sys/devices/system/cpu/cpu0/cache", 0,
     0, NULL, NULL, "folder in which the kernel describes the caches"},
    {"cache", FIELD(cache), ICD_OPTION_STRING, "auto", 0, 0, NULL, NULL,
     "caches that are simulated: cpu (this one), h100, a100; auto: those of the device "
     "that computes"},
    {"window_s", FIELD(window_s), ICD_OPTION_REAL, "2", 0.001, 3600, NULL, "s",
     "an energy window lasts at least this long"},
    {"idle_s", FIELD(idle_s), ICD_OPTION_REAL, "2", 0, 3600, NULL, "s",
     "idle time beside every energy window; 0: idling is not subtracted"},
    {"timeout_s", FIELD(timeout_s), ICD_OPTION_REAL, "600", 1, 86400, NULL, "s",
     "one pass of a child process lasts at most this long"},
};

const icd_option_table icd_meter_table = {
    .section = "meter",
    .help = "what reads cache hits, bytes and energy",
    .struct_size = sizeof(icd_meter_opts),
    .row = ROW,
    .rows = sizeof ROW / sizeof ROW[0],
};
