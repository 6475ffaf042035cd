/**
 * @file variant.h
 * The permuted model after one choice of S and Q: the loop's own, or that of a baseline
 * which is a model of its own (`block`).
 */
#ifndef ICD_RUNTIME_VARIANT_H
#define ICD_RUNTIME_VARIANT_H

#include "runtime/job.h"

typedef struct icd_variant {
    icd_ctx *ctx;
    int64_t linears;
    icd_layout
        *layout;      /**< masks, int8 weights, orders that the masks were chosen under */
    icd_model *model; /**< f32 weights with zeros where masks say so */
    icd_model *source; /**< what `model` views, where that is not the job's; or NULL */
    icd_transform_meta *s, *q; /**< [linears] */
    icd_quantized **quant;     /**< [linears] */
} icd_variant;

/** In which order of its input each linear is transformed: which columns are neighbours
 * of an N:M group, of a tile, of a scale's group. From the permuted model's frame. */
struct icd_places {
    icd_perm **order; /**< [linears] owned; NULL: as the columns stand */
    int64_t linears;
};

icd_status icd_i_places_new(icd_job *job, icd_places **out);
void icd_i_places_free(icd_ctx *ctx, icd_places *places);
/** Sets the order of linears i .. end - 1 (copies; NULL: none). */
icd_status icd_i_places_set(icd_ctx *ctx, icd_places *places, int64_t i, int64_t end,
                            const icd_perm *order);

/** The orders that a variant chose for itself: those of its layout. */
icd_status icd_i_places_of(icd_job *job, const icd_layout *layout, icd_places **out);

/** A variant without layout, model and weights. */
icd_status icd_i_variant_new(icd_job *job, icd_variant **out);

/**
 * Transforms every linear of job->permuted.
 *
 * Linears that read one input share the order under which N:M or block masks are chosen:
 * N:M by a permutation search over their rows together, block by saliency. With scope
 * global all linears compete. A transform that cannot be applied is a no-op with its
 * reason.
 * @param out [out] icd_i_variant_free; NULL on error
 */
icd_status icd_i_variant_make(icd_job *job, const icd_sparsity_opts *s,
                              const icd_quant_opts *q, icd_variant **out);

/** The same in orders that are given instead of found; NULL: icd_i_variant_make. */
icd_status icd_i_variant_make_at(icd_job *job, const icd_sparsity_opts *s,
                                 const icd_quant_opts *q, const icd_places *places,
                                 icd_variant **out);

/**
 * sparsity.anneal: prunes in steps of a rising rate, and measures before each what the
 * activations are in the model as it is pruned by then, on another part of the
 * calibration batches. What it changes is the calibration that the next
 * icd_i_variant_make sees. Nothing to do without activation saliency or with N:M.
 * @source Zhu, Gupta (2017), arXiv:1710.01878: the cubic schedule
 */
icd_status icd_i_variant_anneal(icd_job *job, const icd_sparsity_opts *s);
void icd_i_variant_free(icd_variant *variant);

/** The variant becomes the loop's own: the job takes metadata, weights, layout, model. */
void icd_i_variant_take(icd_job *job, icd_variant *variant);

/**
 * Brings back masked weights that the live tiles of `layout` hold anyway: a new model.
 * @param layout [in] of an arm: its orders and granules decide which tiles are live
 */
icd_status icd_i_variant_refill(icd_job *job, const icd_layout *layout,
                                icd_variant **out);

/**
 * The same transform after a pi0 that was solved on the masks it made (`transform-aware`
 * of pipeline.ablation): true axes only, no local orders.
 * @param out [out] `source` is the permuted f32 model; NULL: no true axis is read whole
 * by a masked linear
 */
icd_status icd_i_variant_aware(icd_job *job, icd_variant **out);

/** Puts the values that the small type holds into the variant's model, as f32. */
icd_status icd_i_variant_dense(icd_job *job, icd_variant *variant);

/** N:M weights keep their promise in the order that they are executed in. */
void icd_i_promise_nm(const icd_sparsity_opts *sparsity, icd_quantized *q);

/** The kernel that section `kernel` asks for masked linears with small weights. */
int32_t icd_i_kernel_kind(const icd_kernel_opts *kernel);

#endif
