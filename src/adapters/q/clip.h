/**
 * @file clip.h
 * How far the largest weights of a group are cut off before it is quantised.
 */
#ifndef ICD_ADAPTERS_Q_CLIP_H
#define ICD_ADAPTERS_Q_CLIP_H

#include "base/mem.h"

#include <stdint.h>

/** The `percentile` (0..100) of |w|, by linear interpolation. @param work [in] n floats
 */
float icd_i_clip_percentile(const float *w, int64_t n, double percentile, float *work);

/**
 * The cut at which the histogram of |w| and that of its quantised self differ least
 * (Kullback-Leibler), among cuts from the largest magnitude down to a third of it.
 * @param levels [in] values of one sign that the type has (int8: 127)
 * @source Migacz (2017), 8-bit inference with TensorRT
 */
float icd_i_clip_kld(const float *w, int64_t n, int32_t levels);

#endif
