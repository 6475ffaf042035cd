#include <icd/adapters.h>

#define FIELD(struct_name, field) offsetof(struct_name, field)

static const icd_option SPARSITY[] = {
    {"type", FIELD(icd_sparsity_opts, type), ICD_OPTION_ENUM, "none", 0, 0,
     "none|hds|unstructured", NULL, "which weights may be zeroed together"},
    {"rate", FIELD(icd_sparsity_opts, rate), ICD_OPTION_REAL, "0.75", 0, 0.999, NULL,
     NULL, "share of the weights that are zeroed"},
    {"vector", FIELD(icd_sparsity_opts, vector), ICD_OPTION_INT, "64", 1, 1024, NULL,
     "rows", "hds: output rows that share one decision per input channel"},
    {"saliency", FIELD(icd_sparsity_opts, saliency), ICD_OPTION_ENUM, "activation", 0, 0,
     "magnitude|activation", NULL,
     "|w|, or |w| times the norm of its input on real tokens"},
};

static const icd_option QUANT[] = {
    {"dtype", FIELD(icd_quant_opts, dtype), ICD_OPTION_ENUM, "none", 0, 0, "none|int8",
     NULL, "type in which weights are stored and multiplied"},
    {"method", FIELD(icd_quant_opts, method), ICD_OPTION_ENUM, "ptq-minmax", 0, 0,
     "ptq-minmax", NULL, "how scales are chosen"},
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
