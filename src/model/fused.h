/**
 * @file fused.h
 * Tensors that a checkpoint holds side by side and [in x out], where the model has them
 * one by one and [out x in]: taking them apart, and putting them together again.
 */
#ifndef ICD_MODEL_FUSED_H
#define ICD_MODEL_FUSED_H

#include "model/model_private.h"

/**
 * Makes slot `out` of part `home.part` of a tensor; a matrix is turned (out owns the
 * copy), a vector stays a view.
 * @param name [in] what the part is called in the model
 * @return ICD_OK | ICD_EDATA a tensor that is neither matrix nor vector, or whose last
 * dimension is no multiple of the parts | ICD_ENOMEM
 */
icd_status icd_i_part_take(icd_ctx *ctx, const icd_model *model, const icd_slot *whole,
                           const icd_home *home, const char *name, icd_slot *out);

/** The tensors of a file of a model, under the names of the checkpoint. */
typedef struct icd_stored {
    icd_tensor *tensor;
    int64_t count;
    void **owned; /**< data of those that were put together */
    int64_t owned_count;
} icd_stored;

/**
 * Lists the tensors of a model as its checkpoint has them; where a part of a tensor is
 * left out, its other parts stay by themselves, under the model's names.
 * @param without [in] [slots] those to leave out; NULL: none
 * @param more    [in] room for so many further tensors at the end
 */
icd_status icd_i_stored_new(icd_ctx *ctx, const icd_model *model, const bool *without,
                            int64_t more, icd_stored *out);
void icd_i_stored_release(icd_ctx *ctx, icd_stored *stored);

#endif
