/* The sections of config.yaml that belong to the loop itself. */
#include <icd/quality.h>
#include <icd/run.h>

#define COUNT(array) (int32_t)(sizeof(array) / sizeof((array)[0]))

static const icd_option PIPELINE[] = {
    {"mode", offsetof(icd_pipeline_opts, mode), ICD_OPTION_ENUM, "iterative", 0, 0,
     "linear|iterative", NULL,
     "linear stops at pi0; iterative re-permutes after the transform"},
    {"repeats", offsetof(icd_pipeline_opts, repeats), ICD_OPTION_INT64, "1000", 30, 1e9,
     NULL, "samples", "samples per arm at most"},
    {"fixed_clock", offsetof(icd_pipeline_opts, fixed_clock), ICD_OPTION_BOOL, "false", 0,
     0, NULL, NULL,
     "ask for locked clocks; never done without permission, the run is then tagged"},
    {"warmup_iter", offsetof(icd_pipeline_opts, warmup_iter), ICD_OPTION_INT64, "50", 1,
     1e6, NULL, "steps", "steps of every arm before the first sample"},
    {"retries", offsetof(icd_pipeline_opts, retries), ICD_OPTION_INT, "1", 0, 10, NULL,
     NULL, "retries of a stage that failed in a transient way"},
    {"iterations", offsetof(icd_pipeline_opts, iterations), ICD_OPTION_INT, "1", 1, 16,
     NULL, "rounds",
     "transform -> W' -> permute at most so often; ends where the gain's interval "
     "includes zero or nothing changes (docs/iterations.md)"},
    {"ablation", offsetof(icd_pipeline_opts, ablation), ICD_OPTION_LIST, NULL, 0, 0,
     "identity|metis|true-axes|transform-aware|block-tiles|block-quality|original", NULL,
     "arms beside the usual: columns as in the checkpoint, METIS on W', only orders that "
     "a true axis carries, pi0 solved on the masks that the transform would make, block "
     "masks with as many live tiles or as much saliency kept, "
     "the f32 model without S and Q"},
};

static const icd_option MODEL[] = {
    {"path", offsetof(icd_model_opts, path), ICD_OPTION_STRING, NULL, 0, 0, NULL, NULL,
     "model folder (config.json and safetensors), or a .safetensors block file"},
    {"fallback", offsetof(icd_model_opts, fallback), ICD_OPTION_STRING, NULL, 0, 0, NULL,
     NULL, "used, and said so, where `path` is not there"},
    {"input", offsetof(icd_model_opts, input), ICD_OPTION_STRING, NULL, 0, 0, NULL, NULL,
     "real input: a UTF-8 text file, or ids as .npy"},
    {"task", offsetof(icd_model_opts, task), ICD_OPTION_STRING, "embedding", 0, 0, NULL,
     NULL, "name that enters the tag of the permutations"},
    {"calibration_tokens", offsetof(icd_model_opts, calibration_tokens), ICD_OPTION_INT64,
     "4096", 16, 1e9, NULL, "tokens", "tokens traced at most"},
};

static const icd_option LAYOUT[] = {
    {"repermute", offsetof(icd_layout_opts, repermute), ICD_OPTION_ENUM, "solve", 0, 0,
     "solve|random|scatter", NULL,
     "pi1: solved, or made bad on purpose to watch the rollback"},
    {"local_orders", offsetof(icd_layout_opts, local_orders), ICD_OPTION_BOOL, "true", 0,
     0, NULL, NULL, "give each linear its own input order after the transform"},
    {"granule", offsetof(icd_layout_opts, granule), ICD_OPTION_INT, "0", 0, 4096, NULL,
     "channels", "granule of pi1; 0: what the kernel takes together (int8: 4)"},
    {"l2_pin", offsetof(icd_layout_opts, l2_pin), ICD_OPTION_BOOL, "false", 0, 0, NULL,
     NULL, "GPU: keep the first weights in the part of the L2 that can be set aside"},
};

static const icd_option KERNEL[] = {
    {"kind", offsetof(icd_kernel_opts, kind), ICD_OPTION_ENUM, "tile", 0, 0,
     "tile|gather|dense|auto", NULL,
     "kernel of the linear and iterative arms; auto: measured on this machine, linear by "
     "linear, for every arm"},
    {"vector", offsetof(icd_kernel_opts, vector), ICD_OPTION_INT, "64", 16, 128, NULL,
     "rows", "output rows of one tile"},
    {"threshold", offsetof(icd_kernel_opts, threshold), ICD_OPTION_REAL, "0", 0, 1e9,
     NULL, NULL,
     "contextual sparsity: inputs of linears with |a| below it count as zero, so that "
     "kernels skip their granules; its error is measured and reported. 0: exact zeros "
     "only"},
};

static const icd_option TRACE[] = {
    {"axes", offsetof(icd_trace_run_opts, axes), ICD_OPTION_STRING, "auto", 0, 0, NULL,
     NULL,
     "axes whose access sets are recorded: auto (of one layer, read whole by a linear), "
     "all, or patterns like layer.*.heads,residual"},
    {"events", offsetof(icd_trace_run_opts, events), ICD_OPTION_INT64, "200000", 1, 1e9,
     NULL, "events", "events kept per axis at most: every k-th one"},
};

static const icd_option QUALITY[] = {
    {"task", offsetof(icd_quality_opts, task), ICD_OPTION_ENUM, "auto", 0, 0,
     "auto|none|classification|next-token|masked-word", NULL,
     "how quality is judged; auto: by what the model and the data allow"},
    {"data", offsetof(icd_quality_opts, data), ICD_OPTION_LIST, NULL, 0, 0, NULL, NULL,
     "labelled sentences (.tsv, .json) or text files; none: not evaluated"},
    {"examples", offsetof(icd_quality_opts, examples), ICD_OPTION_INT64, "1000", 5, 1e9,
     NULL, "examples", "examples at most, evenly from the data"},
    {"seq", offsetof(icd_quality_opts, seq), ICD_OPTION_INT64, "64", 8, 65536, NULL,
     "tokens", "tokens of an example; longer ones are cut"},
};

const icd_option_table icd_quality_table = {
    .section = "quality",
    .help = "what the transform costs, example by example",
    .struct_size = sizeof(icd_quality_opts),
    .row = QUALITY,
    .rows = COUNT(QUALITY),
};

static const icd_option CACHE[] = {
    {"enabled", offsetof(icd_cache_opts, enabled), ICD_OPTION_BOOL, "true", 0, 0, NULL,
     NULL, "reuse permutations solved for exactly the same problem"},
    {"dir", offsetof(icd_cache_opts, dir), ICD_OPTION_STRING, ".cache/icd", 0, 0, NULL,
     NULL, "where they are kept"},
};

static const icd_option GATES[] = {
    {"latency_pct", offsetof(icd_gates_opts, latency_pct), ICD_OPTION_REAL, "-20", -100,
     1000, NULL, "%", "latency, iterative against linear, at most"},
    {"l2_pp", offsetof(icd_gates_opts, l2_pp), ICD_OPTION_REAL, "10", -100, 100, NULL,
     "pp", "L2 hit rate, at least"},
    {"ept_pct", offsetof(icd_gates_opts, ept_pct), ICD_OPTION_REAL, "-15", -100, 1000,
     NULL, "%", "energy per token, at most"},
    {"quality_pp", offsetof(icd_gates_opts, quality_pp), ICD_OPTION_REAL, "0.1", 0, 100,
     NULL, "pp", "quality lost at most"},
    {"quality_vs_dense_pp", offsetof(icd_gates_opts, quality_vs_dense_pp),
     ICD_OPTION_REAL, "1", 0, 100, NULL, "pp",
     "quality that the transform itself may lose against the dense model"},
    {"require", offsetof(icd_gates_opts, require), ICD_OPTION_LIST, NULL, 0, 0,
     "latency|l2|ept|quality|quality_vs_dense", NULL,
     "gates that --gate looks at; none given: latency, l2, ept and quality"},
};

static const icd_option ROLLBACK[] = {
    {"enabled", offsetof(icd_rollback_opts, enabled), ICD_OPTION_BOOL, "true", 0, 0, NULL,
     NULL, "return to pi_prev unless the measurement says that pi1 is better"},
};

static const icd_option REPORT[] = {
    {"out_dir", offsetof(icd_report_opts, out_dir), ICD_OPTION_STRING, "runs/exp001", 0,
     0, NULL, NULL, "run directory"},
};

const icd_option_table icd_trace_table = {
    .section = "trace",
    .help = "what is recorded while the model runs",
    .struct_size = sizeof(icd_trace_run_opts),
    .row = TRACE,
    .rows = COUNT(TRACE),
};

#define TABLE(name, section_, help_, rows_)                                              \
    const icd_option_table icd_##name##_table = {.section = section_,                    \
                                                 .help = help_,                          \
                                                 .struct_size =                          \
                                                     sizeof(icd_##name##_opts),          \
                                                 .row = rows_,                           \
                                                 .rows = COUNT(rows_)}

TABLE(pipeline, "pipeline", "how far the loop goes and how often it measures", PIPELINE);
TABLE(model, "model", "what is run, on which input", MODEL);
TABLE(layout, "layout", "which orders are changed", LAYOUT);
TABLE(kernel, "kernel", "which kernels execute the linears", KERNEL);
TABLE(cache, "cache", "solved permutations by content", CACHE);
TABLE(gates, "gates", "targets, iterative against linear", GATES);
TABLE(rollback, "rollback", "what happens when pi1 is not better", ROLLBACK);
TABLE(report, "report", "where artifacts go", REPORT);
