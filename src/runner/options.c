#include <icd/runner.h>

/* `vector` and `l2_pin` have no rows: they follow kernel.vector and layout.l2_pin. */
static const icd_option ROW[] = {
    {"dtype", offsetof(icd_runner_opts, dtype), ICD_OPTION_ENUM, "int8", 0, 0,
     "f32|int8|bf16|int4|fp8", NULL,
     "type of the linears outside the loop (infer); the loop follows transform.quant"},
    {"batch", offsetof(icd_runner_opts, batch), ICD_OPTION_INT64, "1", 1, 65536, NULL,
     "sequences", "sequences per step"},
    {"seq", offsetof(icd_runner_opts, seq), ICD_OPTION_INT64, "128", 3, 65536, NULL,
     "tokens", "tokens per sequence"},
    {"phase", offsetof(icd_runner_opts, phase), ICD_OPTION_ENUM, "prefill", 0, 0,
     "prefill|decode", NULL,
     "generative models: all tokens, or the last of each sequence"},
    {"page", offsetof(icd_runner_opts, page), ICD_OPTION_INT64, "16", 8, 1024, NULL,
     "tokens", "decoder: tokens of one page of the KV cache"},
    {"device", offsetof(icd_runner_opts, device), ICD_OPTION_ENUM, "cpu", 0, 0,
     "cpu|cuda", NULL, "where the model runs"},
    {"driver", offsetof(icd_runner_opts, driver), ICD_OPTION_STRING, "", 0, 0, NULL, NULL,
     "cuda: library of the driver; empty: libcuda.so.1"},
    {"cublaslt", offsetof(icd_runner_opts, cublaslt), ICD_OPTION_STRING, "", 0, 0, NULL,
     NULL,
     "cuda: library of cuBLASLt, the dense baseline; empty: libcublasLt.so.13, else .12; "
     "none: our own kernels only"},
    {"cusparselt", offsetof(icd_runner_opts, cusparselt), ICD_OPTION_STRING, "", 0, 0,
     NULL, NULL,
     "cuda: library of cuSPARSELt for 2:4 weights; empty: libcusparseLt.so.0; none: they "
     "run as dense"},
};

const icd_option_table icd_runner_table = {
    .section = "runner",
    .help = "how a model is run",
    .struct_size = sizeof(icd_runner_opts),
    .row = ROW,
    .rows = sizeof ROW / sizeof ROW[0],
};
