/**
 * @file taps.h
 * Access sets of true axes, recorded while a model runs: which linears show which indices
 * of an axis, and the trace files that the events go to.
 *
 * An axis is seen where a linear reads it (its columns are bound to the axis): an index
 * weighs sum |x_c| ||w_c|| over the columns it binds. An axis that no linear reads (query
 * and key dimensions, d_state) is seen where linears write it, and weighs sum |y_r|.
 */
#ifndef ICD_RUNTIME_TAPS_H
#define ICD_RUNTIME_TAPS_H

#include "runtime/job.h"

typedef struct icd_taps icd_taps;

/**
 * Opens a trace for every selected axis that some linear shows.
 * @param select [in] "auto": axes that belong to one layer and are read whole by a
 * linear; "all"; or a list of shell patterns ("layer.*.heads,residual")
 * @return ICD_OK | ICD_EINVAL no axis matches | ICD_EIO | ICD_ENOMEM
 */
icd_status icd_i_taps_new(icd_job *job, const char *select, icd_taps **out);

/** Records what linear number `linear` read (output false) or wrote (true). */
icd_status icd_i_taps_record(icd_taps *taps, int64_t linear, bool output, const float *x,
                             int64_t tokens, int64_t width);

/** Publishes the traces where `status` is ICD_OK; frees; returns the first error. */
icd_status icd_i_taps_close(icd_taps *taps, icd_status status);

/** Visits the traced axes and how many events each has; NULL past the end. */
const icd_axis *icd_i_taps_axis(const icd_taps *taps, int64_t i, int64_t *events);

/** Whether `select` takes this axis of the model. */
bool icd_i_axis_selected(const icd_job *job, const char *select, const icd_axis *axis);

#endif
