/**
 * @file runner.h
 * Runs a model: what is executed, traced, checked and measured.
 */
#ifndef ICD_RUNNER_H
#define ICD_RUNNER_H

#include <icd/access.h>
#include <icd/model.h>
#include <icd/options.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Type of the linears. Weights that a layout entry brings keep their own type, except in
 * F32; the others are rounded to this one (INT4: in groups of 32). */
typedef enum icd_run_dtype {
    ICD_RUN_F32,
    ICD_RUN_INT8,
    ICD_RUN_BF16,
    ICD_RUN_INT4,
    ICD_RUN_FP8 /**< e4m3, one scale a row; on a GPU only */
} icd_run_dtype;

/** Where a model runs. A GPU multiplies int8, e4m3 or, in runs of another type, bf16 with
 * sums in f32 (docs/gpu.md); runs in f32, which tracing and checks against the checkpoint
 * ask for, stay on the CPU. */
typedef enum icd_run_device { ICD_RUN_CPU, ICD_RUN_CUDA } icd_run_device;

/** What a step of a generative model (mamba, decoder) does. */
typedef enum icd_run_phase {
    ICD_PHASE_PREFILL, /**< all tokens of the batch from an empty state */
    ICD_PHASE_DECODE /**< the last token of every sequence, after the state of the tokens
                        before it; the state is made once and kept as it is, so that every
                        step does the same work */
} icd_run_phase;

/** One batch of real input: token ids for `bert`, rows of activations for `ffn`.
 * Borrowed. */
typedef struct icd_batch {
    const int32_t *ids;     /**< [batch x seq], bert */
    const int32_t *lengths; /**< [batch] tokens that count; NULL: all seq */
    int64_t batch, seq;
    const float *rows; /**< [batch * seq x width], ffn */
    int64_t width;
} icd_batch;

/** What a step computed; borrowed from the runner, valid until its next step. */
typedef struct icd_output {
    const float *hidden; /**< [tokens x width], last hidden state in checkpoint order of
                            its axis (language models: after the final norm); decode: one
                            token a sequence */
    int64_t tokens, width;
    const float *pooled; /**< [batch x width]; NULL where the model has no pooler */
    int64_t batch;
} icd_output;

/** What executes the arms of a measurement. */
typedef enum icd_runner_kind {
    ICD_RUNNER_AUTO, /**< the engine of the model's architecture */
    ICD_RUNNER_EXEC  /**< commands of the user's (icd/exec.h) */
} icd_runner_kind;

/** Section `runner`. */
typedef struct icd_runner_opts {
    size_t size;
    int32_t dtype;  /**< icd_run_dtype: type of the linears; norms, softmax, embeddings
                       stay f32 */
    int64_t batch;  /**< sequences per step */
    int64_t seq;    /**< tokens per sequence */
    int32_t vector; /**< rows of a kernel's row block; set from kernel.vector, 0: 64 */
    int32_t phase;  /**< icd_run_phase */
    int64_t page;   /**< decoder: tokens of one page of the KV cache */
    int32_t device; /**< icd_run_device */
    bool l2_pin;    /**< set from layout.l2_pin */
    bool wgmma;     /**< a GPU of compute capability 9.0: try its own kernels */
    const char *driver;   /**< library of the CUDA driver; NULL: libcuda.so.1 */
    const char *cublaslt; /**< a GPU's dense baseline: library of cuBLASLt; NULL: that of
                             CUDA 13, else 12; "none": our kernels only */
    const char *cusparselt; /**< weights of which two of any four are live: library of
                               cuSPARSELt; NULL: libcusparseLt.so.0; "none": as dense */
    int32_t kind;     /**< icd_runner_kind: read by the loop, not by icd_runner_new */
    double threshold; /**< set from kernel.threshold: staged activations with |a| below it
                         are zero; 0: as they are */
} icd_runner_opts;

extern const icd_option_table icd_runner_table;

/** A matrix that multiplies activations, as the runner executes it. */
typedef struct icd_linear {
    const char *name;     /**< "layer.3.ffn.down" */
    const char *group;    /**< linears with one input buffer: "layer.3.attn.qkv" */
    const char *tensor;   /**< name of the weight in the checkpoint */
    const char *in_axis;  /**< true axis of the columns: "layer.3.ffn.inner", "residual";
                             "" none */
    const char *out_axis; /**< true axis of the rows */
    int64_t rows, cols;
} icd_linear;

typedef struct icd_runner icd_runner;
struct icd_layout;

/**
 * Makes a runner: loads and packs every weight as `layout` says. The model must outlive
 * it; the layout is copied from. Linears of a group share one input buffer, so their
 * local orders must be the same; kernels and granules may differ. While a
 * runner lives the process's OpenBLAS uses one thread: the context's threads split the
 * work in fixed parts.
 * @param layout [in] masks, local orders, kernels per linear; NULL: dense, identity
 * @param capacity [in] largest batch that will be run (sizes the buffers)
 * @return ICD_OK | ICD_EINVAL unknown linear, wrong frame or shape, orders of a group
 * that differ, more tokens than the model has positions | ICD_EDATA weights that are not
 * finite (int8) | ICD_EUNSUPPORTED | ICD_ENOMEM
 */
icd_status icd_runner_new(icd_ctx *ctx, const icd_model *model,
                          const struct icd_layout *layout, const icd_batch *capacity,
                          const icd_runner_opts *opts, icd_runner **out);
void icd_runner_free(icd_ctx *ctx, icd_runner *runner);

/**
 * One inference; allocates nothing.
 * @param ctx [in] the context the runner was made with
 * @return ICD_OK | ICD_EINVAL more than the capacity, ids outside the vocabulary, lengths
 * outside 1..seq, rows of another width | ICD_ECANCELLED | what an observer returned
 * @det same input: same bits for any thread count on one ISA level
 */
icd_status icd_runner_step(icd_ctx *ctx, icd_runner *runner, const icd_batch *batch,
                           icd_output *out);

/** Width of the head's output: vocabulary or classes; 0 where the model has no head. */
int64_t icd_runner_outputs(const icd_runner *runner);

/**
 * Head outputs (logits) of rows first .. first + count - 1 of the last step's `hidden`
 * (encoder classifiers: of its sequences).
 * @param out [out] [count x icd_runner_outputs], in checkpoint order
 * @return ICD_OK | ICD_EUNSUPPORTED no head | ICD_EINVAL rows that the last step did not
 * compute
 */
icd_status icd_runner_logits(icd_ctx *ctx, icd_runner *runner, int64_t first,
                             int64_t count, float *out);

/**
 * Decodes one more token of every sequence of the last step (a prefill, or the decode
 * before).
 * @param ids  [in] [batch]
 * @param keep [in] false: the state stays as it was before this token
 * @return ICD_OK | ICD_EUNSUPPORTED the architecture keeps no state | ICD_EINVAL no
 * prefill yet, ids outside the vocabulary, sequences longer than the capacity
 * @det    the same values as a prefill of the longer sequences, up to f32 rounding
 */
icd_status icd_runner_decode(icd_ctx *ctx, icd_runner *runner, const int32_t *ids,
                             bool keep, icd_output *out);

/** The linears of a model, in order of execution; one block of the caller's
 * (icd_mem_free). */
icd_status icd_runner_linears(icd_ctx *ctx, const icd_model *model,
                              const icd_linear **list, int64_t *count);

/** What executing one linear of a layout costs: granules, and bytes of packed weights. */
typedef struct icd_linear_cost {
    int32_t granule;
    int64_t live, all; /**< granules of `vector` rows x g columns under its order */
    int64_t bytes;     /**< packed weights and indices that one step reads */
} icd_linear_cost;
struct icd_layout_entry;

/** Costs of an entry, in f32 where it has no weights of a smaller type; those of dense
 * where the kernel is yet to be measured (auto). */
icd_status icd_runner_linear_cost(icd_ctx *ctx, const struct icd_layout_entry *entry,
                                  int32_t vector, icd_linear_cost *out);

/** What `kernel: auto` found for linear number `linear` (core/layout.h); kernel 0 where
 * its entry named one. */
struct icd_kernel_choice;
void icd_runner_choice(const icd_runner *runner, int64_t linear,
                       struct icd_kernel_choice *out);

/** Shares of live granules (tile) or channels (gather) at which a kernel takes as long as
 * dense: above it is slower. 0: never faster, 1: always, NaN: no such kernel. */
typedef struct icd_break_even {
    double tile, gather;
} icd_break_even;

/**
 * Times the kernels on the shape, type and granule of an entry: dense, and two random
 * masks for each of the others, with a line through them.
 * @return ICD_OK | ICD_EUNSUPPORTED the runner is not on a CPU | ICD_ENOMEM
 */
icd_status icd_runner_break_even(icd_ctx *ctx, icd_runner *runner,
                                 const struct icd_layout_entry *entry,
                                 icd_break_even *out);

/**
 * Sees the input of a linear during a step (f32, tokens x cols in the frame of the model,
 * before any local order): used by tracing and calibration.
 */
typedef icd_status icd_observe_fn(icd_ctx *ctx, void *user, const icd_linear *linear,
                                  const float *x, int64_t tokens, int64_t cols);
void icd_runner_observe(icd_runner *runner, icd_observe_fn *fn, void *user);

/** The same for what a linear wrote (tokens x rows, bias included); an error ends the
 * step. */
void icd_runner_observe_outputs(icd_runner *runner, icd_observe_fn *fn, void *user);

struct icd_kv;

/** The KV cache of a layer (core/kv.h), to be read, or thinned between steps; NULL: the
 * architecture has none. */
struct icd_kv *icd_runner_kv(icd_runner *runner, int64_t layer);

/**
 * Puts a copy of a cache in the place of a layer's; it may hold the other type (int8).
 * @return ICD_OK | ICD_EINVAL another shape than the layer's | ICD_EUNSUPPORTED no KV
 * cache | ICD_ENOMEM
 */
icd_status icd_runner_put_kv(icd_ctx *ctx, icd_runner *runner, int64_t layer,
                             const struct icd_kv *kv);

/** The same where only the places, positions and masses of tokens are asked for; keys and
 * values in it may be old. On a GPU that saves their way to the CPU and back. */
struct icd_kv *icd_runner_kv_places(icd_runner *runner, int64_t layer);

/**
 * Drops and moves the tokens of a layer's cache as `kv`, made from icd_runner_kv_places,
 * has them; keys and values are the runner's own and follow (on a GPU: on the device, no
 * later than with the next token).
 * @return as icd_runner_put_kv
 */
icd_status icd_runner_move_kv(icd_ctx *ctx, icd_runner *runner, int64_t layer,
                              const struct icd_kv *kv);

/** Where one query looked: shares of its attention, mean over the heads. */
typedef struct icd_attention {
    int64_t layer, sequence;
    int64_t query;           /**< its position */
    const int32_t *position; /**< [count] of the tokens */
    const float *mass;       /**< [count] their shares; the sum is 1 */
    int64_t count;
} icd_attention;

/** Called in the order of layers, sequences and queries, on the thread that steps. */
typedef icd_status icd_attention_fn(icd_ctx *ctx, void *user, const icd_attention *seen);

/**
 * From now on steps add the attention that every cached token draws to its `mass`, and
 * show every query to `fn`.
 * @param fn [in] NULL: masses only
 * @return ICD_OK | ICD_EUNSUPPORTED no KV cache | ICD_ENOMEM
 * @cost   memory: tokens x seq floats; steps keep their results bit for bit
 */
icd_status icd_runner_attention(icd_ctx *ctx, icd_runner *runner, icd_attention_fn *fn,
                                void *user);

/** Steps no longer look at attention; masses that were added stay in the caches. */
void icd_runner_attention_stop(icd_ctx *ctx, icd_runner *runner);

#ifdef __cplusplus
}
#endif
#endif
