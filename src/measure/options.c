#include <icd/measure.h>

#define FIELD(name) offsetof(icd_measure_opts, name)

/* repeats and warmup_iter are the seed's keys of `pipeline` and have no row here. */
static const icd_option ROW[] = {
    {"mode", FIELD(mode), ICD_OPTION_ENUM, "warm", 0, 0, "warm|cold", NULL,
     "warm bursts, or one inference after the caches were flushed"},
    {"min_blocks", FIELD(min_blocks), ICD_OPTION_INT64, "30", 30, 1e6, NULL, "blocks",
     "interleaving blocks at least"},
    {"burst_ms", FIELD(burst_ms), ICD_OPTION_REAL, "20", 0, 60000, NULL, "ms",
     "a burst lasts about this long"},
    {"ci_half_width", FIELD(ci_half_width), ICD_OPTION_REAL, "0.005", 0, 1, NULL, NULL,
     "stop when every compared interval is narrower than this share"},
    {"timeout_s", FIELD(timeout_s), ICD_OPTION_REAL, "120", 0.001, 86400, NULL, "s",
     "stop then, once the least number of blocks is in"},
    {"seed", FIELD(seed), ICD_OPTION_INT64, "42", 0, 9e15, NULL, NULL,
     "seed of the bootstrap"},
    {"threads", FIELD(threads), ICD_OPTION_INT, "0", 0, 1024, NULL, NULL,
     "threads of the measuring process; 0: one per CPU. A CPU left free makes quieter "
     "samples"},
    {"pin", FIELD(pin), ICD_OPTION_STRING, "off", 0, 0, NULL, NULL,
     "CPUs of the measuring threads: off, auto or a list such as 0,2-3"},
    {"cost_model", FIELD(cost_model), ICD_OPTION_STRING, NULL, 0, 0, NULL, NULL,
     "calibration.json of `icd calibrate`: predictions in time, not only in bytes"},
    {"meters", FIELD(meters), ICD_OPTION_LIST, "auto", 0, 0,
     "auto|ncu|nvml|rapl|perf|cachegrind|cachesim", NULL,
     "what reads counters and energy once the times are taken; auto: perf, rapl, nvml, "
     "cachesim. ncu and cachegrind run the arms again, slowly"},
    {"ncu_metrics", FIELD(ncu_metrics), ICD_OPTION_LIST, "lts__t_sector_hit_rate.pct", 0,
     0, NULL, NULL, "metrics read by Nsight Compute"},
    {"power_sample_hz", FIELD(power_sample_hz), ICD_OPTION_REAL, "10", 0.1, 1000, NULL,
     "Hz", "rate of power samples"},
};

const icd_option_table icd_measure_table = {
    .section = "measure",
    .help = "how arms are timed against each other",
    .struct_size = sizeof(icd_measure_opts),
    .row = ROW,
    .rows = sizeof ROW / sizeof ROW[0],
};
