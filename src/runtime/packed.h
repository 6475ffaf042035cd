/**
 * @file packed.h
 * A model that is stored transformed, as the runner is told to execute it.
 */
#ifndef ICD_RUNTIME_PACKED_H
#define ICD_RUNTIME_PACKED_H

#include "runtime/job.h"

/**
 * The layout of job->checkpoint: masks, small weights and orders as they are stored.
 * @param out   [out] NULL where nothing is packed; borrows from the model
 * @param dtype [out] what its linears are executed in; left alone where nothing is packed
 */
icd_status icd_i_packed_layout(icd_job *job, icd_layout **out, int32_t *dtype);

#endif
