/**
 * @file job.h
 * One run in progress: what its stages hand to each other. Only the runtime knows the
 * order.
 *
 *     trace -> graph -> permute -> transform -> repermute -> check -> measure -> report
 */
#ifndef ICD_RUNTIME_JOB_H
#define ICD_RUNTIME_JOB_H

#include "base/json.h"
#include "base/mem.h"
#include "core/layout.h"
#include "runtime/evict.h"
#include "storage/rundir.h"

#include <icd/adapters.h>
#include <icd/config.h>
#include <icd/gates.h>
#include <icd/measure.h>
#include <icd/model.h>
#include <icd/run.h>
#include <icd/runner.h>

/** An order that was solved: of a true axis (pi0) or of a group of linears (pi1, local).
 */
typedef struct icd_job_axis {
    char *name;
    bool local;
    int32_t granule;
    icd_access *sets; /**< what is touched together */
    icd_csr *w;       /**< W of those sets */
    icd_perm *perm;   /**< from the frame of the sets */
    icd_solver_stats stats;
    bool cached;
} icd_job_axis;

/** What moving factors out of a linear's input bought. */
typedef struct icd_job_smooth {
    bool tried, applied;
    double alpha;           /**< of those that were applied */
    icd_loss before, after; /**< of Q without and with the best factors tried */
    char into[256];         /**< the tensor that took the inverse */
    const char *reason;     /**< why there are none; NULL: there are */
} icd_job_smooth;

/** A linear with what calibration and the transforms found. */
typedef struct icd_job_linear {
    const icd_linear *linear;
    double *x_sq; /**< [cols] sum of squares of its input over the calibration tokens */
    float *x;     /**< [x_rows x cols] a sample of its input */
    float *x_max; /**< [cols] largest magnitude over the calibration tokens */
    int64_t x_rows, seen; /**< rows kept, tokens seen */
    icd_transform_meta s, q;
    icd_job_smooth smooth;
    icd_quantized *quant;
} icd_job_linear;

/** Real input, as ids or as rows of activations. */
typedef struct icd_job_input {
    char *name;       /**< file name without folders */
    int32_t *ids;     /**< [sequences x seq] */
    int32_t *lengths; /**< [sequences] */
    float *rows;      /**< [sequences x seq x width], block files */
    int64_t sequences, batch, seq, width, tokens;
    uint64_t hash;
} icd_job_input;

/** The arms of a measurement, in the order of icd_i_arm_spec. */
typedef struct icd_job_arm {
    const char *name, *role;
    icd_layout *layout;
    struct icd_variant *variant; /**< its own model; NULL: the loop's */
    bool borrowed;               /**< the variant is that of the round before */
    int32_t dtype;               /**< icd_run_dtype of its linears */
    int32_t kv;                  /**< icd_arm_kv */
    icd_kv_effect kv_effect;     /**< where the job has `kv` */
} icd_job_arm;

enum { ICD_ROUNDS_MAX = 16, ICD_ARMS_MAX = 24, ICD_CHECKS_MAX = 40 };
enum { ICD_STAGES_MAX = 8 * ICD_ROUNDS_MAX };
enum { ICD_EVIDENCE_MAX = 6, ICD_GATES_MAX = 6 };

/** One equality that must hold. */
typedef struct icd_job_check {
    char what[96];
    double max_rel, cosine, bound, min_cosine;
    bool ok;
} icd_job_check;

/** Contextual sparsity of linear on the batch that is timed. */
typedef struct icd_job_contextual {
    double exact;           /**< share of the inputs of linears that are exactly zero */
    double cut;             /**< share below kernel.threshold, those included */
    double max_rel, cosine; /**< of the outputs, against threshold 0 */
    bool there;
} icd_job_contextual;

typedef struct icd_job_stage_record {
    const char *stage;
    double seconds;
    bool ok, cached;
    int32_t round;
} icd_job_stage_record;

typedef struct icd_places icd_places;     /* variant.h */
typedef struct icd_put_away icd_put_away; /* rounds.h */
typedef struct icd_job_rounds icd_job_rounds;

typedef struct icd_job {
    icd_ctx *ctx;
    const icd_config *config;
    icd_run_opts opts;
    icd_rundir *dir;
    icd_run_state state;

    icd_model *checkpoint, *permuted, *transformed;
    icd_model *unsmoothed; /**< what `checkpoint` views after icd_i_smooth; or NULL */
    bool fallback;
    icd_job_input input;
    icd_job_linear *linear;
    int64_t linears;

    double trace_overhead; /**< share of the traced run that recording took */
    icd_job_axis *axis;    /**< pi0's axes, then pi1's groups */
    int64_t axes, axes_capacity;
    icd_layout *layout; /**< masks and weights after the transform, identity orders */
    icd_perm_set *before, *after;
    char tag[17];

    int32_t round;      /**< of the iteration, from 1 */
    icd_places *places; /**< the orders in which this round's transforms were chosen */
    icd_put_away *previous; /**< the round before, as it was kept; NULL: none */
    icd_job_rounds *rounds; /**< what every round came to; NULL: none has begun */

    json_t *break_even; /**< of the shapes that kernel: auto met; NULL: it was not used */

    bool kv; /**< K is applied: a cache is there, and it is read back */
    icd_transform_meta kv_meta; /**< K as applied to linear; type NULL: not wanted */
    icd_job_arm arm[ICD_ARMS_MAX];
    int64_t arms;
    icd_samples *samples;
    json_t *readings; /**< meters.json; NULL: no meter left anything */
    icd_evidence evidence[ICD_EVIDENCE_MAX], quality_vs_dense;
    int64_t evidences;
    icd_gate gate[ICD_GATES_MAX];
    int64_t gates;
    json_t *root_cause; /**< of a rollback; NULL: none, or before anything was timed */

    icd_job_check check[ICD_CHECKS_MAX];
    int64_t checks;
    double cosine_vs_dense;
    icd_job_contextual contextual;
    icd_job_stage_record record[ICD_STAGES_MAX];
    int64_t records;
    const char *reached[ICD_STAGES_MAX]; /**< states of SPEC section 1 */
    int64_t reached_count;

    icd_outcome outcome;
    char cause[512];
    char verdict[3][640];
} icd_job;

/** Opens model and input of a job without a loop; `config` is changed and must outlive
 * it.
 */
icd_status icd_i_job_open_model(icd_job *job, icd_config *config, const char *model,
                                const char *input);

/** The first part of opening: the model and its linears, no input. */
icd_status icd_i_job_open_weights(icd_job *job);

/** Why pi1 is not kept; the first cause stands. */
void icd_i_job_roll_back(icd_job *job, const char *fmt, ...) ICD_PRINTF(2, 3);

/** A path in the run directory. */
const char *icd_i_job_path(icd_job *job, const char *name);
/** Whether there may be more than one round, each with a folder of its own. */
bool icd_i_job_iterates(const icd_job *job);
/** A name of this round's as seen from the run directory: "rounds/2/NAME", or NAME where
 * there is only one. Lives as long as the job; NULL: memory is short. */
const char *icd_i_round_name(icd_job *job, const char *name);
/** The path of that. */
const char *icd_i_round_path(icd_job *job, const char *name);

/* The stages. Each either computes its result and writes its artifacts, or (load) reads
 * them. */
icd_status icd_i_stage_open(icd_job *job);

/** Of what an open job reads: the weights of the model and the input. */
uint64_t icd_i_job_hash(const icd_job *job);
icd_status icd_i_stage_trace(icd_job *job);
icd_status icd_i_stage_trace_load(icd_job *job);
/** The part of stage trace that runs the model and writes the traces.
 * @param kv [in] also where queries look (taps.h) */
icd_status icd_i_trace_record(icd_job *job, bool kv, icd_trace_result *result);
/** The part that runs the model and keeps what the adapters need to know of activations.
 */
icd_status icd_i_calibrate(icd_job *job);
/** Takes the sums of squares anew, from a model with the same linears and from one of
 * `parts` parts of the calibration batches. */
icd_status icd_i_recalibrate(icd_job *job, const icd_model *model, int64_t part,
                             int64_t parts);
icd_status icd_i_stage_graph(icd_job *job);
icd_status icd_i_stage_permute(icd_job *job);
icd_status icd_i_stage_permute_load(icd_job *job);
icd_status icd_i_stage_transform(icd_job *job);
/** transform_meta.json: what was done to each linear and what it cost. */
icd_status icd_i_transform_meta_write(icd_job *job, const char *path);
icd_status icd_i_stage_repermute(icd_job *job);
icd_status icd_i_stage_repermute_load(icd_job *job);
icd_status icd_i_stage_check(icd_job *job);
icd_status icd_i_stage_quality(icd_job *job);
icd_status icd_i_stage_measure(icd_job *job);
icd_status icd_i_stage_measure_load(icd_job *job);

/**
 * The type that the linears of a transformed model are executed in. Small types that the
 * device has no kernel for run in f32 on a CPU and in bf16 on a GPU, with the values that
 * they hold; so does, on a GPU, what is f32.
 */
int32_t icd_i_run_dtype(const icd_sparsity_opts *sparsity, const icd_quant_opts *quant,
                        int32_t device);
/** True where kernels read the weights as Q stored them. */
bool icd_i_runs_small(const icd_sparsity_opts *sparsity, const icd_quant_opts *quant,
                      int32_t device);
/** The same two for the whole configuration. */
int32_t icd_i_config_dtype(const icd_config *config);
bool icd_i_config_small(const icd_config *config);
/** "f32", "int8", "bf16", "int4", "fp8"; and back, F32 for any other text. */
const char *icd_i_run_dtype_name(int32_t dtype);
int32_t icd_i_run_dtype_of(const char *name);

/** Reads the configured input and cuts it into sequences. */
icd_status icd_i_input_read(icd_job *job);
void icd_i_input_release(icd_ctx *ctx, icd_job_input *input);
/** Batch `i` of the input (the last one wraps); borrowed. */
icd_batch icd_i_input_batch(const icd_job_input *input, int64_t i);

/** max |a-b| / max |a| and the mean cosine over tokens; NaN and infinity count as
 * infinite gaps. */
void icd_i_difference(const float *a, const float *b, int64_t tokens, int64_t width,
                      double *max_rel, double *cosine);

/** Whether a file can carry the local order of a group: its input is an axis of one layer
 * that this group alone reads whole. */
bool icd_i_on_true_axis(const icd_job *job, const char *group);

/** Makes the arms' layouts from the transformed layout and the orders found. */
icd_status icd_i_arms_make(icd_job *job);

/** Makes the runner of an arm, in the state that it is timed in. */
icd_status icd_i_arm_runner(icd_job *job, const icd_model *model,
                            const icd_layout *layout, int32_t dtype, int32_t kv,
                            icd_kv_effect *effect, icd_transform_meta *meta,
                            icd_runner **out);

/**
 * Measures kernels where the layouts of arms say auto, writes the choices into them, and
 * the break-even shares of every shape into the job. The A/A control takes linear's.
 */
icd_status icd_i_kernels_choose(icd_job *job);

/** Takes the choices of arms.json: what the samples of an earlier process were taken
 * with. */
icd_status icd_i_kernels_load(icd_job *job, const char *path);

/** A choice as in arms.json, {"kind", "granule"} and the times; new reference. */
json_t *icd_i_kernel_json(const icd_layout_entry *entry);

/** Kernels of a layout in words: "tile", "auto: 20 tile, 4 dense". */
void icd_i_kernel_words(const icd_layout *layout, char *out, size_t size);

/**
 * Counts zeros among the inputs of linears, and compares the outputs under
 * kernel.threshold with those of linear without it; cosine_vs_dense follows.
 * @param dense, linear [in] hidden states of the checkpoint and of linear, threshold 0
 */
icd_status icd_i_contextual(icd_job *job, const float *dense, const float *linear);

void icd_i_job_axis_release(icd_ctx *ctx, icd_job_axis *axis);

/** Solves one axis: cache, reuse_perm, solver; fills perm, stats, cached. */
icd_status icd_i_axis_solve(icd_job *job, icd_job_axis *axis, const char *method);
icd_status icd_i_axis_add(icd_job *job, const char *name, bool local, icd_job_axis **out);
/** W of the axis's sets, written beside its trace (W.csr.npz; local: W_after.csr.npz). */
icd_status icd_i_axis_build_w(icd_job *job, icd_job_axis *axis);
icd_job_axis *icd_i_axis_find(const icd_job *job, const char *name, bool local);

/** Fills outcome, cause and the three lines from the samples. */
icd_status icd_i_verdict(icd_job *job);

/** metrics.json of whatever was reached. */
icd_status icd_i_metrics_write(icd_job *job);

void icd_i_job_free(icd_job *job);

#endif
