/**
 * @file activation.h
 * What the activations decide: which channels are outliers, and the scale of the others.
 */
#ifndef ICD_ADAPTERS_Q_ACTIVATION_H
#define ICD_ADAPTERS_Q_ACTIVATION_H

#include "adapters/adapter.h"

/** What a linear's input was found to need. */
typedef struct icd_quant_choice {
    int32_t *outlier; /**< [outliers] ascending */
    int64_t outliers;
    float input_scale; /**< 0: by each token */
} icd_quant_choice;

/** Whether linears of these options multiply activations in int8. */
bool icd_i_quant_runs_int8(const icd_quant_opts *opts);

/**
 * Chooses from calibration. Without input nothing is chosen, and `lacks` says what was
 * asked for in vain.
 * @param out   [out] icd_i_quant_choice_release
 * @param lacks [out] NULL: nothing
 */
icd_status icd_i_quant_choose(icd_ctx *ctx, const icd_calibration *cal, int64_t cols,
                              const icd_quant_opts *opts, icd_quant_choice *out,
                              const char **lacks);
void icd_i_quant_choice_release(icd_ctx *ctx, icd_quant_choice *choice);

/**
 * The calibration rows as a kernel in int8 reads them: outliers whole, the rest rounded
 * by the fixed scale, or by that of the token.
 * @param out [out] [tokens x q->cols] of the caller
 */
void icd_i_quant_inputs(const icd_quantized *q, const float *x, int64_t tokens,
                        float *out);

#endif
