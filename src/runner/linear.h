/**
 * @file linear.h
 * Loading one linear as a layout entry says.
 */
#ifndef ICD_RUNNER_LINEAR_H
#define ICD_RUNNER_LINEAR_H

#include "runner/runner_private.h"

enum { ICD_LINEAR_TEXT = 384 }; /**< bytes for the five names of one linear */

/** Loads weights and bias. @param entry [in] NULL: dense, identity */
icd_status icd_i_linear_load(icd_ctx *ctx, icd_runner *r, icd_loaded *l,
                             const icd_layout_entry *entry);

/**
 * Makes the linears of one group read one staged buffer: their kernels may differ, so the
 * narrower inputs are padded to the widest.
 * @return ICD_OK | ICD_EINVAL their local orders differ | ICD_ENOMEM
 */
icd_status icd_i_linear_join(icd_ctx *ctx, icd_loaded *group, int64_t count);

/** Shapes and frames of a layout entry against the linear. @param entry [in] NULL: sound
 */
icd_status icd_i_linear_check(icd_ctx *ctx, const icd_runner *r, const icd_linear *info,
                              const icd_layout_entry *entry);

/** Int8 weights of a linear whose layout has none, by the rule of the adapters. */
icd_status icd_i_linear_quantize(icd_ctx *ctx, icd_runner *r, const icd_linear *info,
                                 icd_quantized **out);

/** Its bias [rows]; *out stays as it is where the model has none. */
icd_status icd_i_linear_bias(icd_ctx *ctx, icd_runner *r, const icd_linear *info,
                             const float **out);

/** Makes the packed weights of a linear whose entry is checked: what the type of the run
 * and of the entry's weights ask for. */
icd_status icd_i_linear_pack_as(icd_ctx *ctx, icd_runner *r, icd_loaded *l,
                                const icd_layout_entry *entry);

/**
 * Packs an entry whose kernel is AUTO: dense, tiles and (not with 4 bits) gathered
 * channels are timed in turns on this CPU, and the fastest is kept; dense, unless another
 * is 3 % faster. Nothing but time depends on which: all give the same bits. Sends the
 * event "kernel" with the times.
 */
icd_status icd_i_linear_pack_fastest(icd_ctx *ctx, icd_runner *r, icd_loaded *l,
                                     const icd_layout_entry *entry);

/** y = staged input times the weights + bias, on the calling thread. */
void icd_i_linear_once(const icd_runner *r, const icd_loaded *l, int64_t tokens,
                       float *y);

/** Its input is staged in f32, not in int8. */
bool icd_i_linear_reads_f32(const icd_loaded *l);

/**
 * What is left of an entry for its small type: without its outlier channels, whose
 * granules are dead where all of them are outliers. @param mask [out] icd_i_mask_free;
 * what out->mask points to where there are outliers
 */
icd_status icd_i_linear_regular(icd_ctx *ctx, const icd_layout_entry *entry,
                                icd_layout_entry *out, icd_mask **mask);

/** Packs the outlier channels. @param out [out] NULL: there are none */
icd_status icd_i_wide_new(icd_ctx *ctx, const icd_linear *info, const icd_quantized *q,
                          int32_t vector, icd_wide **out);
void icd_i_wide_free(icd_ctx *ctx, icd_wide *wide);

/** Bytes of the packed outlier channels. */
int64_t icd_i_wide_bytes(int64_t rows, int64_t outliers, int32_t vector);

/** Stages `count` rows of [n] for the outliers, in panels. */
void icd_i_wide_stage(const icd_kernels *k, const icd_wide *wide, const float *x,
                      int64_t n, int64_t count, float *staged);

/** y += outliers times their weights, for row blocks first .. last - 1. @param staged
 * [in] icd_i_wide_stage */
void icd_i_wide_add(const icd_kernels *k, const icd_wide *wide, const float *staged,
                    int64_t tokens, int64_t first, int64_t last, float *y, int64_t ldy,
                    void *scratch);

/** Whether two linears stage the same outliers in the same way. */
bool icd_i_wide_same(const icd_wide *a, const icd_wide *b);

/** Bytes of scratch that a thread needs for it. */
int64_t icd_i_linear_needs(const icd_loaded *l);

void icd_i_linear_unload(icd_ctx *ctx, icd_loaded *l);

#endif
