/**
 * @file redo.h
 * Transforms that depend on the layout, done again under the layout that was found:
 * N:M groups, tiles, groups that share a scale.
 */
#ifndef ICD_RUNTIME_REDO_H
#define ICD_RUNTIME_REDO_H

#include "runtime/variant.h"

/** What redoing the transforms of the linears that read one input did. */
typedef struct icd_redo_group {
    const char *group;    /**< borrowed from the model's linears */
    const char *what;     /**< "N:M groups", "tiles", "scale groups" */
    double before, after; /**< loss (icd_i_loss): as it was, as redone */
    bool taken;           /**< redone; false: the old transform stayed */
} icd_redo_group;

/**
 * Share of the weights' energy that S and Q of linears i .. end - 1 lose: what masks zero
 * (of the saliency that S chose by), and of the rest what rounding changes.
 */
double icd_i_loss(const icd_job *job, const icd_transform_meta *s,
                  const icd_transform_meta *q, int64_t i, int64_t end);
/** The same of the linears as the job holds them. */
double icd_i_job_loss(const icd_job *job, int64_t i, int64_t end);

/** What of a linear's transform depends on the layout; NULL: nothing. */
const char *icd_i_redo_what(const icd_job *job, int64_t linear);

/** Share by which a loss must fall to count as less. */
#define ICD_REDO_LEAST 1e-6

/**
 * Tries the transforms of job->linear again: N:M groups by a search that begins with the
 * order they have, tiles along an order solved on the vectors that would survive, scale
 * groups along the layout as it is executed and along the same layout with its units
 * sorted by magnitude.
 * @param layout [in]  as executed in the round before
 * @param places [in]  the orders in which job's transforms were chosen
 * @param group  [out] what was tried, in the order of the linears; icd_i_free
 * @param made   [out] places of what is to be done now; NULL: nothing is less
 * @return ICD_OK | errors of the adapters and the solver
 */
icd_status icd_i_redo(icd_job *job, const icd_layout *layout, const icd_places *places,
                      icd_redo_group **group, int64_t *groups, icd_places **made);

#endif
