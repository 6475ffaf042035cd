/**
 * @file runner_private.h
 * What the engines share: linears ready to run, buffers, and passes over rows.
 */
#ifndef ICD_RUNNER_PRIVATE_H
#define ICD_RUNNER_PRIVATE_H

#include "base/mem.h"
#include "core/layout.h"
#include "core/plan.h"
#include "kernels/kernels.h"

#include <icd/runner.h>

/** What the weights of a linear are packed as. */
typedef enum icd_form {
    ICD_FORM_F32,
    ICD_FORM_BF16,
    ICD_FORM_INT8,
    ICD_FORM_INT4,       /**< in groups with a scale */
    ICD_FORM_TWO_OF_FOUR /**< int8, two of any four channels */
} icd_form;

/** The outlier channels of a linear, which are multiplied in f32 by weights in bf16. */
typedef struct icd_wide {
    int64_t outliers;
    int32_t *column; /**< [plan->slots] of the input; -1: padding */
    bool together;   /**< they are neighbours in the input: nothing is gathered */
    icd_plan *plan;  /**< [rows x outliers], all of it */
    uint16_t *packed;
    int32_t *list;
} icd_wide;

/** A linear ready to run. */
typedef struct icd_loaded {
    const icd_linear *info;
    const float *bias; /**< [rows]; NULL: none */
    int32_t form;      /**< icd_form */
    bool ordered;      /**< its input has a local order */
    icd_plan *plan;
    void *packed;
    int32_t *comp; /**< INT8, TWO_OF_FOUR */
    int32_t *list; /**< F32, BF16: live slots; INT4, TWO_OF_FOUR: live steps */
    int64_t per;   /**< INT4: steps of a scale */
    float *scale;
    float input_scale; /**< staged values are round(x / input_scale); 0: by each token */
    icd_wide *wide;    /**< what is added to the sums in int8; NULL: no outliers */
} icd_loaded;

/** How one architecture runs. */
typedef struct icd_engine {
    const char *arch;
    int32_t device; /**< icd_run_device; one of a device loads its linears itself */
    /** Lists the linears; names are written into the list's own block. */
    icd_status (*linears)(icd_ctx *ctx, const icd_model *model, icd_linear **list,
                          int64_t *count);
    icd_status (*start)(icd_ctx *ctx, icd_runner *runner);
    icd_status (*check)(icd_ctx *ctx, const icd_runner *runner, const icd_batch *batch);
    icd_status (*step)(icd_ctx *ctx, icd_runner *runner, const icd_batch *batch,
                       icd_output *out);
    void (*stop)(icd_ctx *ctx, icd_runner *runner);

    /** Width of its head's output (vocabulary, classes). NULL: no model of this kind has
     * a head; 0: this one has none. */
    int64_t (*outputs)(const icd_runner *runner);
    /** Head outputs of the rows first .. first + count - 1 of the last step. */
    icd_status (*logits)(icd_ctx *ctx, icd_runner *runner, int64_t first, int64_t count,
                         float *out);
    /** One token more of every sequence after the tokens that the state holds. NULL: the
     * architecture keeps no state. */
    icd_status (*decode)(icd_ctx *ctx, icd_runner *runner, const int32_t *ids, bool keep,
                         icd_output *out);
    /** The KV cache of a layer. NULL: the architecture has none. */
    struct icd_kv **(*kv)(icd_runner *runner, int64_t layer);
    /** The same without its keys and values: to be thinned and permuted, which the engine
     * then does with them where they lie. NULL: `kv` costs nothing. */
    struct icd_kv **(*places)(icd_runner *runner, int64_t layer);
} icd_engine;

extern const icd_engine icd_i_engine_bert_cuda, icd_i_engine_decoder_cuda,
    icd_i_engine_mamba_cuda;
extern const icd_engine icd_i_engine_bert, icd_i_engine_ffn, icd_i_engine_decoder,
    icd_i_engine_mamba;

struct icd_runner {
    const icd_engine *engine;
    const icd_model *model;
    const icd_kernels *k;
    icd_runner_opts opts;
    icd_batch capacity;
    icd_linear *list;
    icd_loaded *linear;
    int64_t linears;
    icd_kernel_choice *choice; /**< [linears]; NULL: every entry named its kernel */
    int32_t workers;
    float **owned; /**< f32 copies of tensors that are stored in another type */
    int64_t owned_count, owned_capacity;
    int8_t *q;              /**< staged input of the next linears: [tokens x slots] */
    float *q_scale;         /**< [tokens] */
    float *staged;          /**< the same in f32: panels (kernels.h) */
    unsigned char *scratch; /**< workers x scratch_bytes */
    int64_t scratch_bytes;
    int64_t rows_done; /**< rows of the last step's output; 0: none */
    icd_observe_fn *observe;
    void *observe_user;
    icd_attention_fn *attention;
    void *attention_user;
    float *mass; /**< [tokens x seq] attention of a layer; NULL: nobody asked for it */
    icd_observe_fn *observe_output;
    void *observe_output_user;
    icd_status observed;      /**< what the observer of outputs returned; ends the step */
    icd_ctx *ctx;             /**< it was made with */
    const icd_layout *layout; /**< while the runner is made */
    void *state;              /**< the engine's */
};

/** `check` of engines that read token ids: ids in the vocabulary, lengths in the batch.
 */
icd_status icd_i_check_tokens(icd_ctx *ctx, const icd_runner *r, const icd_batch *batch);

/** Whether the model has positions for the longest sequence of the runner. */
icd_status icd_i_check_positions(icd_ctx *ctx, const icd_runner *r);

/** Residual axis: today's slot -> checkpoint; NULL: as the checkpoint. */
const int32_t *icd_i_residual_order(const icd_runner *r);

/** Rows of a residual stream as the checkpoint orders them, so that outputs compare
 * across layouts: out[t][order[i]] = x[t][i]. */
void icd_i_undo_order(const int32_t *order, const float *x, int64_t rows, int64_t n,
                      float *out);

/** A tensor as f32: a view where it is stored so, else a copy that the runner owns. */
icd_status icd_i_runner_tensor(icd_ctx *ctx, icd_runner *r, const char *name,
                               const float **out);

/** The bytes of `count` names behind the rows of a list of linears, in one block. */
icd_status icd_i_linear_list_new(icd_ctx *ctx, int64_t count, icd_linear **list,
                                 char **text);

/** Writes one name of a layer into the list's text and moves on. @param fmt [in] with a
 * %d for the layer and a %s for `what` */
const char *icd_i_linear_text(char **text, const char *fmt, int64_t layer,
                              const char *what);

/** One linear of a layer; `text` takes its names. */
typedef void icd_fill_linear_fn(const icd_model_config *c, int64_t layer, int which,
                                char **text, icd_linear *out);

/** The list of an architecture whose layers all have `per_layer` linears. */
icd_status icd_i_linear_list(icd_ctx *ctx, const icd_model *model, int64_t per_layer,
                             icd_fill_linear_fn *fill, icd_linear **list, int64_t *count);

struct icd_row_pass;

/** Changes row t of a pass in place. */
typedef void icd_row_fn(const icd_kernels *k, const struct icd_row_pass *p, int64_t t);

/** What happens to a row before it is staged as the input of the next linears. */
typedef struct icd_row_pass {
    icd_row_fn *fn; /**< NULL: nothing */
    float *x;       /**< [tokens x n], changed in place */
    int64_t tokens, n;
    const float *residual; /**< norms: added first; NULL: none */
    const float *gain, *bias;
    float eps;
    const void *user; /**< what an engine's own function needs */
} icd_row_pass;

/** Row functions of several engines; `bias` is read by the first only. */
icd_row_fn icd_i_row_layer_norm, icd_i_row_rms_norm, icd_i_row_gelu, icd_i_row_relu;

/**
 * Runs the pass and, in the same sweep over each row, stages the row as the input of
 * `next`: quantised (int8) or in panels (f32), in that linear's local order.
 * @param next [in] first linear of the group that reads x; NULL: nobody
 */
icd_status icd_i_rows(icd_ctx *ctx, icd_runner *r, const icd_row_pass *pass,
                      const icd_loaded *next);

/** y [tokens x rows] = staged input times the weights + bias; x is the unstaged input. */
void icd_i_linear_apply(icd_ctx *ctx, icd_runner *r, const icd_loaded *l, const float *x,
                        int64_t tokens, float *y);

/** Shows the input of `count` linears to the observer, if there is one. */
icd_status icd_i_observe(icd_ctx *ctx, icd_runner *r, const icd_loaded *l, int64_t count,
                         const float *x, int64_t tokens);

#endif
