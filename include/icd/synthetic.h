/**
 * @file synthetic.h
 * Weights that are made up: true shapes of well-known models, for speed and memory where
 * the real weights cannot be had. Their quality means nothing, and every file says so.
 */
#ifndef ICD_SYNTHETIC_H
#define ICD_SYNTHETIC_H

#include <icd/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A shape by name: "bert-base", "mamba-2.8b"... */
typedef struct icd_synthetic_shape {
    const char *name;
    const char *type; /**< model_type of its config.json: bert, llama, mamba */
    icd_model_config config;
} icd_synthetic_shape;

/** All shapes that this version knows. */
const icd_synthetic_shape *icd_synthetic_shapes(int64_t *count);

typedef struct icd_synthetic_opts {
    size_t size;
    uint64_t seed;
    int64_t layers; /**< fewer or more of them than the shape has; 0: its own */
    int64_t vocab;  /**< rows of the embedding; 0: the shape's own */
    bool bf16;      /**< stored in bf16 instead of f32 */
    int64_t shard;  /**< bytes of a file, and so of memory, at most, if no tensor is
                       larger; 0: 1 GiB */
} icd_synthetic_opts;

typedef struct icd_synthetic_result {
    int64_t tensors, parameters, bytes, files;
} icd_synthetic_result;

/**
 * Writes a folder as Hugging Face has it: config.json and model.safetensors, or shards
 * and their index. The metadata of every file says `icd.synthetic` = "true". Each file
 * appears whole or not at all, config.json last, so that a folder that was not finished
 * does not open, and writing it again goes on where names agree.
 * @param shape [in] a name of icd_synthetic_shapes
 * @param dir   [in] made where missing
 * @return ICD_OK | ICD_EINVAL unknown shape, sizes out of range, the folder holds a model
 * | ICD_EIO | ICD_ENOMEM | ICD_ECANCELLED
 * @det    same shape, options and seed: same bytes, any thread count; a tensor's values
 * depend on its name, its shape, the number of layers and the seed only
 * @cost   memory: one file
 */
icd_status icd_synthetic_write(icd_ctx *ctx, const char *shape,
                               const icd_synthetic_opts *opts, const char *dir,
                               icd_synthetic_result *result);

#ifdef __cplusplus
}
#endif
#endif
