/**
 * @file synth.h
 * What a synthetic model consists of, and the values of one tensor.
 */
#ifndef ICD_MODEL_SYNTH_H
#define ICD_MODEL_SYNTH_H

#include "base/json.h"
#include "base/mem.h"

#include <icd/synthetic.h>

/** What a tensor is to a model: its spectrum (docs/engines.md). */
typedef enum icd_synth_kind {
    ICD_SYNTH_EMBEDDING,
    ICD_SYNTH_QKV,
    ICD_SYNTH_ATTENTION_OUT,
    ICD_SYNTH_UP,
    ICD_SYNTH_DOWN,
    ICD_SYNTH_SQUARE, /**< pooler */
    ICD_SYNTH_MAMBA_IN,
    ICD_SYNTH_MAMBA_X,
    ICD_SYNTH_MAMBA_DT,
    ICD_SYNTH_MAMBA_OUT,
    ICD_SYNTH_GAIN,
    ICD_SYNTH_BIAS,
    ICD_SYNTH_CONV,
    ICD_SYNTH_STEP,  /**< bias of dt: steps of 0.001 to 0.1 */
    ICD_SYNTH_DECAY, /**< A_log: ln 1, ln 2, ... */
    ICD_SYNTH_KINDS
} icd_synth_kind;

/** One tensor: `rows` x `cols`, where cols is the product of all sides but the first, and
 * the first where a matrix lies turned, [in x out]. */
typedef struct icd_synth_tensor {
    char name[96];
    icd_synth_kind kind;
    int32_t dims;
    int64_t shape[3], rows, cols;
    bool turned;
} icd_synth_tensor;

/** All tensors of a shape, layer after layer (icd_i_free). */
icd_status icd_i_synth_list(icd_ctx *ctx, const icd_synthetic_shape *shape,
                            icd_synth_tensor **list, int64_t *count);

/** Its config.json; new reference. */
icd_status icd_i_synth_config(icd_ctx *ctx, const icd_synthetic_shape *shape,
                              json_t **out);

/** The values of a tensor; the same for any number of threads. `layers`: of the model. */
icd_status icd_i_synth_fill(icd_ctx *ctx, const icd_synth_tensor *tensor, uint64_t seed,
                            int64_t layers, float *out);

#endif
