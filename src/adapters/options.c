#include <icd/adapters.h>

#define FIELD(struct_name, field) offsetof(struct_name, field)

static const icd_option SPARSITY[] = {
    {"type", FIELD(icd_sparsity_opts, type), ICD_OPTION_ENUM, "none", 0, 0,
     "none|hds|unstructured|block|channel|2:4|1:4|4:8|nm", NULL,
     "which weights may be zeroed together"},
    {"rate", FIELD(icd_sparsity_opts, rate), ICD_OPTION_REAL, "0.75", 0, 0.999, NULL,
     NULL, "share of the weights that are zeroed (N:M: 1 - N/M)"},
    {"vector", FIELD(icd_sparsity_opts, vector), ICD_OPTION_INT, "64", 1, 1024, NULL,
     "rows", "hds, block: output rows that share one decision per input channel"},
    {"granule", FIELD(icd_sparsity_opts, granule), ICD_OPTION_INT, "16", 1, 4096, NULL,
     "channels", "block: input channels of a tile"},
    {"n", FIELD(icd_sparsity_opts, n), ICD_OPTION_INT, "2", 1, 31, NULL, NULL,
     "type nm: how many of m neighbours survive"},
    {"m", FIELD(icd_sparsity_opts, m), ICD_OPTION_INT, "4", 2, 32, NULL, NULL,
     "type nm: neighbours of a row that share a budget"},
    {"saliency", FIELD(icd_sparsity_opts, saliency), ICD_OPTION_ENUM, "activation", 0, 0,
     "magnitude|activation", NULL,
     "|w|, or |w| times the norm of its input on real tokens"},
    {"scope", FIELD(icd_sparsity_opts, scope), ICD_OPTION_ENUM, "matrix", 0, 0,
     "matrix|global", NULL, "what competes for the rate: one matrix, or all of them"},
    {"anneal", FIELD(icd_sparsity_opts, anneal), ICD_OPTION_INT, "0", 0, 1000, NULL,
     "steps",
     "raise the rate in so many steps, each with activations measured anew; 0: at once"},
    {"refill", FIELD(icd_sparsity_opts, refill), ICD_OPTION_BOOL, "false", 0, 0, NULL,
     NULL, "keep masked weights that live tiles hold anyway (a new model)"},
    {"exclude", FIELD(icd_sparsity_opts, exclude), ICD_OPTION_LIST, NULL, 0, 0, NULL,
     NULL, "patterns of linears that are left alone, like layer.0.*"},
};

static const icd_option QUANT[] = {
    {"dtype", FIELD(icd_quant_opts, dtype), ICD_OPTION_ENUM, "none", 0, 0,
     "none|int8|int4|fp8|fp8-e5m2|bf16", NULL, "type in which weights are stored"},
    {"method", FIELD(icd_quant_opts, method), ICD_OPTION_ENUM, "ptq-minmax", 0, 0,
     "ptq-minmax|ptq-kld|ptq-percentile", NULL, "how scales are chosen"},
    {"group", FIELD(icd_quant_opts, group), ICD_OPTION_INT, "0", 0, 4096, NULL,
     "channels", "neighbouring channels of a row that share a scale; 0: the whole row"},
    {"percentile", FIELD(icd_quant_opts, percentile), ICD_OPTION_REAL, "99.9", 50, 100,
     NULL, "%", "percentile: share of the magnitudes that is not cut"},
    {"outliers", FIELD(icd_quant_opts, outliers), ICD_OPTION_REAL, "0", 0, 0.5, NULL,
     NULL, "share of the input channels, those of the largest activations, kept in bf16"},
    {"outlier_threshold", FIELD(icd_quant_opts, outlier_threshold), ICD_OPTION_REAL, "0",
     0, 1e9, NULL, NULL,
     "only channels whose activations reach this magnitude; without outliers: all of "
     "them"},
    {"activation", FIELD(icd_quant_opts, activation), ICD_OPTION_ENUM, "dynamic", 0, 0,
     "dynamic|static", NULL,
     "int8, int4: scale of activations by each token, or once, from calibration"},
    {"activation_range", FIELD(icd_quant_opts, activation_range), ICD_OPTION_ENUM,
     "minmax", 0, 0, "minmax|kld|percentile", NULL,
     "static: which magnitude of the calibration rows becomes 127"},
    {"smooth", FIELD(icd_quant_opts, smooth), ICD_OPTION_ENUM, "off", 0, 0, "off|on|auto",
     NULL,
     "int8, int4: move factors of channels from activations into weights, where what "
     "produces them can take the inverse; auto: where that loses less"},
    {"smooth_alpha", FIELD(icd_quant_opts, smooth_alpha), ICD_OPTION_REAL, "0.5", 0, 1,
     NULL, NULL, "smooth on: factors are max|x|^alpha / max|w|^(1 - alpha)"},
    {"exclude", FIELD(icd_quant_opts, exclude), ICD_OPTION_LIST, NULL, 0, 0, NULL, NULL,
     "patterns of linears that are left alone, like layer.0.*"},
};

static const icd_option KV[] = {
    {"block", FIELD(icd_kv_opts, block), ICD_OPTION_INT64, "0", 0, 1024, NULL, "tokens",
     "tokens of a page of the cache; 0: runner.page"},
    {"drop", FIELD(icd_kv_opts, drop), ICD_OPTION_REAL, "0", 0, 0.999, NULL, NULL,
     "share of the cached tokens that is dropped"},
    {"policy", FIELD(icd_kv_opts, policy), ICD_OPTION_ENUM, "mass", 0, 0, "mass|recency",
     NULL, "which tokens survive: those that drew attention, or the latest"},
    {"window", FIELD(icd_kv_opts, window), ICD_OPTION_INT64, "16", 0, 1e9, NULL, "tokens",
     "latest tokens that always survive"},
    {"sinks", FIELD(icd_kv_opts, sinks), ICD_OPTION_INT64, "4", 0, 1e9, NULL, "tokens",
     "first tokens that always survive"},
    {"compact", FIELD(icd_kv_opts, compact), ICD_OPTION_BOOL, "true", 0, 0, NULL, NULL,
     "move survivors together, so that pages become free"},
    {"int8", FIELD(icd_kv_opts, int8), ICD_OPTION_BOOL, "false", 0, 0, NULL, NULL,
     "store keys and values in int8"},
};

const icd_option_table icd_kv_table = {
    .section = "transform.kv",
    .help = "K: fewer tokens in the KV cache, in whole pages",
    .struct_size = sizeof(icd_kv_opts),
    .row = KV,
    .rows = sizeof KV / sizeof KV[0],
};

const icd_option_table icd_sparsity_table = {
    .section = "transform.sparsity",
    .help = "S: weights of least saliency become zero",
    .struct_size = sizeof(icd_sparsity_opts),
    .row = SPARSITY,
    .rows = sizeof SPARSITY / sizeof SPARSITY[0],
};

const icd_option_table icd_quant_table = {
    .section = "transform.quant",
    .help = "Q: weights and activations in fewer bits",
    .struct_size = sizeof(icd_quant_opts),
    .row = QUANT,
    .rows = sizeof QUANT / sizeof QUANT[0],
};
