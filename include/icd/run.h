/**
 * @file run.h
 * The whole loop: trace -> W -> pi0 -> apply -> S/Q -> W' -> pi1 -> measure -> keep or
 * roll back -> report.
 *
 *     READY -> W_BUILT -> PERMUTED -> TRANSFORMED -> REPERMUTED -> MEASURED -> REPORTED
 *     any failure or regression: -> ROLLBACK(pi_prev) -> REPORTED
 */
#ifndef ICD_RUN_H
#define ICD_RUN_H

#include <icd/ctx.h>
#include <icd/options.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum icd_pipeline_mode { ICD_MODE_LINEAR, ICD_MODE_ITERATIVE } icd_pipeline_mode;

/** Section `pipeline` (seed). */
typedef struct icd_pipeline_opts {
    size_t size;
    int32_t mode;     /**< icd_pipeline_mode: linear stops at pi0 */
    int64_t repeats;  /**< samples per arm at most */
    bool fixed_clock; /**< asks for locked clocks; without permission the run is tagged
                         "unlocked" */
    int64_t warmup_iter;
    int32_t retries;      /**< of a stage that failed in a transient way */
    icd_strings ablation; /**< arms beside the usual: identity, metis, true-axes,
                               transform-aware, block-tiles, block-quality, original */
    int32_t iterations;   /**< transform -> W' -> permute at most so often */
} icd_pipeline_opts;

/** Section `model`. */
typedef struct icd_model_opts {
    size_t size;
    const char *path;     /**< model folder, or a .safetensors block file */
    const char *fallback; /**< used, and said so, where `path` is not there */
    const char *input;    /**< text file, or .npy ids; `ffn`: NULL takes the block's own
                             input rows */
    const char *task;     /**< name that enters the tag of the permutations */
    int64_t calibration_tokens; /**< tokens traced at most */
} icd_model_opts;

typedef enum icd_repermute {
    ICD_REPERMUTE_SOLVE,
    ICD_REPERMUTE_RANDOM,
    ICD_REPERMUTE_SCATTER
} icd_repermute;

/** Section `layout`. */
typedef struct icd_layout_opts {
    size_t size;
    int32_t repermute; /**< icd_repermute: solve, or orders made bad on purpose to see the
                          rollback */
    bool local_orders; /**< give consumers their own input order after the transform */
    int32_t granule;   /**< 0: what the kernel takes together (int8: 4) */
    bool l2_pin; /**< on a GPU: keep the first weights in the part of the L2 that can
                    be set aside */
} icd_layout_opts;

/** Section `kernel`. */
typedef struct icd_kernel_opts {
    size_t size;
    int32_t kind;     /**< icd_kernel_kind of the linear and iterative arms */
    int32_t vector;   /**< rows of a kernel's row block */
    double threshold; /**< activations with |a| below it are taken as zero and skipped */
} icd_kernel_opts;

/** Section `trace`. */
typedef struct icd_trace_run_opts {
    size_t size;
    const char *axes; /**< "auto", "all", or shell patterns separated by commas */
    int64_t events;   /**< events kept per axis at most: every k-th one */
} icd_trace_run_opts;

/** Section `cache`. */
typedef struct icd_cache_opts {
    size_t size;
    bool enabled;
    const char *dir;
} icd_cache_opts;

/** Section `gates`: targets, iterative against linear (seed). */
typedef struct icd_gates_opts {
    size_t size;
    double latency_pct;         /**< -20 */
    double l2_pp;               /**< +10 */
    double ept_pct;             /**< -15 */
    double quality_pp;          /**< 0.1 */
    double quality_vs_dense_pp; /**< 1: of the transform itself */
    icd_strings
        require; /**< gates that --gate looks at; none: latency, l2, ept, quality */
} icd_gates_opts;

/** Section `rollback`. */
typedef struct icd_rollback_opts {
    size_t size;
    bool enabled;
} icd_rollback_opts;

/** Section `report` (seed). */
typedef struct icd_report_opts {
    size_t size;
    const char *out_dir;
} icd_report_opts;

extern const icd_option_table icd_pipeline_table, icd_model_table, icd_layout_table,
    icd_kernel_table, icd_trace_table, icd_cache_table, icd_gates_table,
    icd_rollback_table, icd_report_table;

struct icd_config;

/** How a run is started, beside its configuration. Zeroed = a full run. */
typedef struct icd_run_opts {
    size_t size;
    const char *out; /**< run directory; NULL: report.out_dir */
    const char *
        reuse_perm; /**< a perm set (perm_after.json of another run) instead of solving */
    bool dry_run; /**< check everything and predict; write only the report of the plan */
    bool no_measure; /**< stop before measuring; pi_prev stays active */
    bool gate;       /**< a gate that is not met makes the status ICD_EGATE */
    const char *const
        *worker; /**< argv prefix of the measuring process, NULL-terminated:
                      {"icd", "measure", "--worker"}; NULL: measure in this process */
} icd_run_opts;

typedef enum icd_outcome {
    ICD_OUTCOME_KEPT,
    ICD_OUTCOME_ROLLED_BACK,
    ICD_OUTCOME_NOT_MEASURED,
    ICD_OUTCOME_DRY_RUN
} icd_outcome;

/** What a run came to; texts are owned by the summary (icd_run_summary_free). */
typedef struct icd_run_summary {
    icd_outcome outcome;
    char *dir;        /**< run directory */
    char *report;     /**< path of report.html */
    char *verdict[3]; /**< three lines for a terminal */
    char *cause;      /**< why it was rolled back; NULL otherwise */
} icd_run_summary;

/**
 * Runs the loop in a run directory: takes its lock, writes every artifact atomically,
 * ends in REPORTED whatever happens.
 * @param out [out] icd_run_summary_free; also set where the loop failed and a report was
 *                  written about that
 * @return ICD_OK (a rollback included) | ICD_EINVAL | ICD_EBUSY the directory is in use |
 * ICD_EGATE with opts->gate | ICD_ECANCELLED | what the machine lacked or refused, after
 * a rollback: ICD_EIO, ICD_EDATA, ICD_ENOMEM, ICD_EUNSUPPORTED, ICD_EMEASURE,
 * ICD_ETIMEOUT
 */
icd_status icd_run(icd_ctx *ctx, const struct icd_config *config,
                   const icd_run_opts *opts, icd_run_summary **out);

/** Continues a run after its last completed stage, from its config.lock.json. */
icd_status icd_resume(icd_ctx *ctx, const char *dir, const icd_run_opts *opts,
                      icd_run_summary **out);

/**
 * Measures the arms that a run directory describes (arms.json) and writes its
 * samples.csv, and meters.json (measure.meters).
 * @param worker [in] argv prefix of a process that calls icd_step_run: {"icd", "measure",
 * "--worker"} gets "--arm NAME --steps N DIR"; NULL: meters that need one read nothing
 */
icd_status icd_measure_run(icd_ctx *ctx, const char *dir, const char *const *worker);

/** Steps one arm of a run directory, for meters that watch a process from outside. */
icd_status icd_step_run(icd_ctx *ctx, const char *dir, const char *arm, int64_t steps);

/** Writes report.html and report.csv of a run directory anew from its artifacts. */
icd_status icd_report_run(icd_ctx *ctx, const char *dir);

/** What icd_infer wrote. */
typedef struct icd_infer_result {
    int64_t sequences, seq, width;
} icd_infer_result;

/**
 * Runs a model on all of the input and writes ids, hidden [sequences, seq, width] and,
 * where the model has one, pooled [sequences, width] as safetensors. Section `runner`
 * gives dtype and seq.
 * @param input [in] text file or ids.npy; block files: NULL takes their own rows
 */
icd_status icd_infer(icd_ctx *ctx, const struct icd_config *config, const char *model,
                     const char *input, const char *out, icd_infer_result *result);

/** How two models differ on one input; outputs are compared in checkpoint order. */
typedef struct icd_verify_result {
    double max_rel; /**< max |a-b| / max |a| */
    double cosine;  /**< mean over tokens */
    double bound;   /**< 1e-5 in f32, 2e-2 with int8 linears */
    bool equal;
    int64_t tokens;
} icd_verify_result;

icd_status icd_verify(icd_ctx *ctx, const struct icd_config *config, const char *a,
                      const char *b, const char *input, icd_verify_result *result);

/** What icd_trace_model recorded. */
typedef struct icd_trace_result {
    int64_t axes, tokens, events;
    double overhead; /**< share of the time of the traced run that recording took */
} icd_trace_result;

/**
 * Records access sets of the axes that section `trace` selects as
 * DIR/axes/AXIS/trace.icdt, from the activations of a run on real input; of decoders also
 * the tokens that queries attend to (axes layer.L.kv, index sequence * seq + position).
 */
icd_status icd_trace_model(icd_ctx *ctx, const struct icd_config *config,
                           const char *model, const char *input, const char *dir,
                           icd_trace_result *result);

/**
 * The same from the weights of a model that was pruned: what the row blocks of `vector`
 * rows of every linear with zeros keep, as DIR/axes/LINEAR/trace.icdt.
 * @return ICD_OK | ICD_EINVAL no linear has a zero share of at least 1 %
 */
icd_status icd_trace_masks(icd_ctx *ctx, const struct icd_config *config,
                           const char *model, const char *dir, icd_trace_result *result);

void icd_run_summary_free(icd_ctx *ctx, icd_run_summary *summary);

#ifdef __cplusplus
}
#endif
#endif
