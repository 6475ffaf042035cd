#include <icd/exec.h>
#include <icd/runner.h>

/* `vector`, `threshold` and `l2_pin` have no rows: they follow kernel.vector,
   kernel.threshold and layout.l2_pin. */
static const icd_option ROW[] = {
    {"kind", offsetof(icd_runner_opts, kind), ICD_OPTION_ENUM, "auto", 0, 0, "auto|exec",
     NULL, "what executes the arms: the model's engine, or commands (runner.exec)"},
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
    {"wgmma", offsetof(icd_runner_opts, wgmma), ICD_OPTION_BOOL, "true", 0, 0, NULL, NULL,
     "cuda: use the kernels for compute capability 9.0 where they prove right and "
     "faster"},
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

#define EXEC(name) offsetof(icd_exec_opts, name)

static const icd_option EXEC_ROW[] = {
    {"command", EXEC(command), ICD_OPTION_STRING, NULL, 0, 0, NULL, NULL,
     "of every arm without one of its own; {arm}, {model}, {perm}, {run} and {threads} "
     "in "
     "it are replaced"},
    {"linear", EXEC(linear), ICD_OPTION_STRING, NULL, 0, 0, NULL, NULL,
     "command of linear, and of the A/A control"},
    {"iterative", EXEC(iterative), ICD_OPTION_STRING, NULL, 0, 0, NULL, NULL,
     "command of the candidate"},
    {"arms", EXEC(arms), ICD_OPTION_LIST, NULL, 0, 0, NULL, NULL,
     "further arms, each NAME=COMMAND"},
    {"timeout_s", EXEC(timeout_s), ICD_OPTION_REAL, "300", 0.01, 86400, NULL, "s",
     "a command that runs longer is ended with all its children, and is an error"},
    {"discard", EXEC(discard), ICD_OPTION_INT64, "0", 0, 1e6, NULL, "latencies",
     "left out at the beginning of what a command prints: its own warm-up"},
    {"lines", EXEC(lines), ICD_OPTION_INT64, "1", 1, 1e6, NULL, "latencies",
     "that a command has to print at least, beside those left out; a sample is their "
     "mean"},
};

const icd_option_table icd_exec_table = {
    .section = "runner.exec",
    .help = "commands that are timed in the place of an engine (runner.kind: exec)",
    .struct_size = sizeof(icd_exec_opts),
    .row = EXEC_ROW,
    .rows = sizeof EXEC_ROW / sizeof EXEC_ROW[0],
};
