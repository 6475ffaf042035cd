/**
 * @file model.h
 * A trained model: its tensors, its axes, and applying a permutation to it exactly.
 */
#ifndef ICD_MODEL_H
#define ICD_MODEL_H

#include <icd/perm.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum icd_dtype {
    ICD_F64,
    ICD_F32,
    ICD_F16,
    ICD_BF16,
    ICD_I64,
    ICD_I32,
    ICD_I16,
    ICD_I8,
    ICD_U8,
    ICD_BOOL,
    ICD_DTYPES
} icd_dtype;

/** "F32", as safetensors spells it. */
const char *icd_dtype_name(icd_dtype dtype);
/** Bytes of one element. */
int64_t icd_dtype_size(icd_dtype dtype);

enum { ICD_TENSOR_DIMS = 8 };

/** A tensor, row-major; `data` is a view into its file or its model. */
typedef struct icd_tensor {
    const char *name;
    icd_dtype dtype;
    int32_t dims;
    int64_t shape[ICD_TENSOR_DIMS];
    int64_t count; /**< elements */
    const void *data;
} icd_tensor;

typedef struct icd_safetensors icd_safetensors;

/**
 * Maps a .safetensors file, or the shards that a model.safetensors.index.json names.
 * @return ICD_OK | ICD_EIO | ICD_EDATA naming file and tensor: a header that lies about
 * its length, overlapping or out-of-file data, unknown dtype, shape that does not fit |
 * ICD_ENOMEM
 */
icd_status icd_safetensors_open(icd_ctx *ctx, const char *path, icd_safetensors **out);
void icd_safetensors_close(icd_ctx *ctx, icd_safetensors *file);
int64_t icd_safetensors_count(const icd_safetensors *file);
/** Tensors sorted by name; borrowed. */
const icd_tensor *icd_safetensors_at(const icd_safetensors *file, int64_t i);
/** NULL where there is none of that name. */
const icd_tensor *icd_safetensors_get(const icd_safetensors *file, const char *name);
/** A text of `__metadata__` (of shards: the last that has it), borrowed; NULL where there
 * is none. */
const char *icd_safetensors_metadata(const icd_safetensors *file, const char *key);

/**
 * Writes tensors by falling element size, then by name, so that each is aligned; atomic;
 * the same tensors give the same bytes.
 * @param metadata [in] pairs key, value, ..., NULL; or NULL
 */
icd_status icd_safetensors_write(icd_ctx *ctx, const char *path, const icd_tensor *tensor,
                                 int64_t count, const char *const *metadata);

/** Copies a floating-point tensor to f32 (F16, BF16 exactly); `out` holds tensor->count.
 */
icd_status icd_tensor_to_f32(icd_ctx *ctx, const icd_tensor *tensor, float *out);

/** One tensor dimension bound to an axis: index i of the axis is entries
 *  offset + i * block ... + block - 1 of dimension `dim`. */
typedef struct icd_binding {
    const char *tensor;
    int32_t dim;
    int64_t offset, block;
} icd_binding;

/**
 * A named index space that may be permuted without changing what the model computes.
 *
 * `layer.L.head.H.qk` and `.v` belong to the head that is number H in the checkpoint,
 * wherever an order of `layer.L.heads` puts it: its bindings tell where it is.
 */
typedef struct icd_axis {
    const char *name; /**< "layer.3.ffn.inner" */
    int64_t n;
    const icd_binding *binding;
    int64_t bindings;
    bool reaches_output; /**< the order shows in the output and is undone on comparison */
} icd_axis;

typedef struct icd_model icd_model;

/** What a runner must know of an architecture; fields that do not apply are 0. */
typedef struct icd_model_config {
    int64_t layers, hidden, vocab;
    int64_t inner; /**< FFN; mamba: d_inner */
    int64_t heads, positions, types;
    int64_t kv_heads, head_dim;   /**< decoder */
    int64_t state, dt_rank, conv; /**< mamba: d_state, dt_rank, d_conv */
    double norm_eps, rope_theta;
    bool rotary, gated; /**< decoder: positions turn queries and keys, else they are a
                             table; the MLP has a gate */
    bool layer_norm;    /**< decoder: norms take off the mean and add a bias; linears have
                             biases */
    bool tied;          /**< the head is the embedding */
    bool labels_tokens; /**< bert: `classifier` reads every token, not what was pooled */
    char act[16];       /**< "gelu", "gelu_tanh", "relu" or "silu" */
} icd_model_config;

/**
 * Opens a Hugging Face model folder (config.json and safetensors; BertModel, with or
 * without the "bert." prefix, also below a masked-word, question-answering or classifier
 * head; LlamaForCausalLM, GPT2LMHeadModel, MambaForCausalLM), or a .safetensors block
 * file of layer.N.ffn.{w1,b1,w2,b2}. Every tensor that the architecture needs is checked
 * for its shape. A folder that icd_model_write made stands in the frames of its
 * icd.axes.json. With a tensor of unknown use the axis `residual` is not offered, and a
 * warning says so.
 * @return ICD_OK | ICD_EIO | ICD_EDATA naming tensor, found and expected shape, or an
 * icd.axes.json that the weights were not written with | ICD_EUNSUPPORTED an architecture
 * that this version does not know | ICD_ENOMEM
 */
icd_status icd_model_open(icd_ctx *ctx, const char *path, icd_model **out);
void icd_model_free(icd_ctx *ctx, icd_model *model);

/**
 * The same with axes that the user declares in a YAML file, for an architecture that this
 * version does not know: any folder or file of safetensors, of architecture "map" (a
 * known one keeps its name, and so its runner). Whether the axes are right is not checked
 * here: see icd_axis_trial.
 * @param map [in] NULL: as icd_model_open
 * @return as icd_model_open | ICD_EDATA file and line of the map: an unknown tensor,
 * bindings that do not fit or overlap
 */
icd_status icd_model_open_mapped(icd_ctx *ctx, const char *path, const char *map,
                                 icd_model **out);

const char *icd_model_arch(const icd_model *model); /**< "bert", "decoder", "ffn"... */
const char *icd_model_name(const icd_model *model); /**< last part of its path */
const char *
icd_model_path(const icd_model *model); /**< as opened; "" once changed in memory */
const icd_model_config *icd_model_get_config(const icd_model *model);
int64_t icd_model_parameters(const icd_model *model);
/** Whether the weights were made up (metadata `icd.synthetic` = "true"): shapes are true,
 * quality means nothing. */
bool icd_model_synthetic(const icd_model *model);
/** Content hash of all tensors (XXH64). @cost reads every byte once */
uint64_t icd_model_hash(const icd_model *model);

/** A tensor under its checkpoint name without the "bert." prefix (of GPT-2: under the
 * names and in the shapes of Llama, docs/decoder.md); NULL where there is none. */
const icd_tensor *icd_model_tensor(const icd_model *model, const char *name);

/** A tensor as f32 in the caller's memory (icd_mem_free). */
icd_status icd_model_tensor_f32(icd_ctx *ctx, const icd_model *model, const char *name,
                                float **out);

/** The axes, in a stable order. */
int64_t icd_model_axes(const icd_model *model);
const icd_axis *icd_model_axis_at(const icd_model *model, int64_t i);
/** NULL for an unknown name. */
const icd_axis *icd_model_axis(const icd_model *model, const char *name);

/** The frame in which an axis stands now (perm.h); the checkpoint's when nothing was
 * applied. */
uint64_t icd_model_frame(const icd_model *model, const char *axis);

/** From the checkpoint's order of an axis to today's; NULL: still the checkpoint's. */
const icd_perm *icd_model_order(const icd_model *model, const char *axis);

/**
 * Applies permutations of true axes: every bound tensor is gathered exactly, and the
 * order of the entries does not matter. Tensors that no axis touches stay views of the
 * source, which must outlive the result.
 * @param set [in] entries whose frame is the one the axis stands in; local orders are
 * refused
 * @return ICD_OK | ICD_EINVAL unknown axis, wrong size, wrong frame, local order |
 * ICD_ENOMEM
 */
icd_status icd_model_apply(icd_ctx *ctx, const icd_model *model, const icd_perm_set *set,
                           icd_model **out);

/** One tensor to put in the place of another of the same shape (f32). */
typedef struct icd_replacement {
    const char *name;
    const float *data;
} icd_replacement;

/** A model with some tensors replaced by f32 copies; the others stay views of the source.
 */
icd_status icd_model_replace(icd_ctx *ctx, const icd_model *model,
                             const icd_replacement *with, int64_t count, icd_model **out);

/**
 * Writes a folder that `transformers` loads: model.safetensors with the original tensor
 * names, the configuration and tokenizer files of the source folder, and icd.axes.json
 * with the orders applied, whose hash stands in the weights' metadata as `icd.axes`.
 * @param source [in] folder the model was opened from; its small files are copied
 */
icd_status icd_model_write(icd_ctx *ctx, const icd_model *model, const char *source,
                           const char *dir);

#ifdef __cplusplus
}
#endif
#endif
