/**
 * @file smooth.h
 * transform.quant.smooth: activations that are easier to round, by factors that move into
 * the weights.
 */
#ifndef ICD_RUNTIME_SMOOTH_H
#define ICD_RUNTIME_SMOOTH_H

#include "runtime/job.h"

/**
 * Replaces job->checkpoint by a model that computes the same and whose calibration is
 * smoother: channel c of a linear's input is divided by s_c where it is produced
 * (model/fold.h) and column c of every matrix that reads it multiplied by it. All s_c are
 * powers of two, so that no bit of an f32 output changes; that is tried on the first
 * batch, and whatever differs is a no-op with a warning. `auto` keeps what brings the
 * mean distance (1 - cosine) of a group's outputs down by a tenth at least. Nothing to do
 * where section transform.quant asks for none, where linears do not round their input, or
 * when it was done before.
 * @source Xiao et al. (2023), SmoothQuant, arXiv:2211.10438
 */
icd_status icd_i_smooth(icd_job *job);

#endif
