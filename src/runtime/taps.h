/**
 * @file taps.h
 * Access sets of true axes, recorded while a model runs: which linears show which indices
 * of an axis, and the trace files that the events go to.
 *
 * An axis is seen where a linear reads it (its columns are bound to the axis): an index
 * weighs sum |x_c| ||w_c|| over the columns it binds. An axis that no linear reads (query
 * and key dimensions, d_state) is seen where linears write it, and weighs sum |y_r|.
 *
 * The tokens of a KV cache are an axis of the run, "layer.L.kv": token p of sequence s of
 * the input is index s * seq + p, and a query's set holds activity_mass of its attention
 * (mean over the heads).
 */
#ifndef ICD_RUNTIME_TAPS_H
#define ICD_RUNTIME_TAPS_H

#include "runtime/job.h"

typedef struct icd_taps icd_taps;

/**
 * Opens a trace for every selected axis that some linear shows.
 * @param select [in] "auto": axes that belong to one layer and are read whole by a
 * linear; "all"; or a list of shell patterns ("layer.*.heads,residual")
 * @return ICD_OK, also with no axis (icd_i_taps_check) | ICD_EIO | ICD_ENOMEM
 */
icd_status icd_i_taps_new(icd_job *job, const char *select, icd_taps **out);

/** Adds the KV tokens of the layers that `select` names ("auto", "all": every layer) to
 * taps that may have no other axis; nothing where the model has no KV cache. */
icd_status icd_i_taps_add_kv(icd_taps *taps, const char *select);

/** Whether attention has to be shown to icd_i_taps_attention. */
bool icd_i_taps_kv(const icd_taps *taps);

/** Records where a query of the step looked. @param first [in] number of the step's first
 * sequence in the input */
icd_status icd_i_taps_attention(icd_taps *taps, const icd_attention *seen, int64_t first);

/** ICD_EINVAL where nothing is traced. */
icd_status icd_i_taps_check(icd_taps *taps, const char *select);

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
