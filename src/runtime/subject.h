/**
 * @file subject.h
 * A linear as the transforms see it: weights and calibration in the order of the permuted
 * model.
 */
#ifndef ICD_RUNTIME_SUBJECT_H
#define ICD_RUNTIME_SUBJECT_H

#include "runtime/job.h"

typedef struct icd_subject {
    icd_matrix w;
    icd_calibration cal; /**< zeroed without input: magnitudes alone */
    float *weights, *x;
    double *x_sq;
    float *x_max;
} icd_subject;

/** @param out [out] icd_i_subject_release; zeroed on error */
icd_status icd_i_subject_open(icd_job *job, const icd_job_linear *l, icd_subject *out);
void icd_i_subject_release(icd_ctx *ctx, icd_subject *s);

/** Linears i .. end - 1, which read one input. */
icd_status icd_i_subjects_open(icd_job *job, int64_t i, int64_t end, icd_subject **out);
void icd_i_subjects_free(icd_ctx *ctx, icd_subject *s, int64_t count);

/** The end of the linears that read the input of linear i. */
int64_t icd_i_group_end(const icd_job *job, int64_t i);

/** The frame in which a linear's input stands in the permuted model. */
uint64_t icd_i_input_frame(const icd_job *job, const icd_linear *linear);

/** N:M order of a group: the search runs on |w| s of all its rows.
 * @param start [in] order to begin with; NULL: as the columns stand
 * @param turn  [in] another number, another course of the search
 * @param out   [out] NULL where the columns do not come in groups of M */
icd_status icd_i_search_nm(icd_job *job, const icd_subject *s, int64_t count,
                           const icd_sparsity_opts *opts, const icd_perm *start,
                           int32_t turn, uint64_t frame, icd_perm **out);

#endif
