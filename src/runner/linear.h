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

void icd_i_linear_unload(icd_ctx *ctx, icd_loaded *l);

#endif
