/**
 * @file quality_data.h
 * Examples that quality is judged on: token ids of equal length with their labels.
 */
#ifndef ICD_RUNTIME_QUALITY_DATA_H
#define ICD_RUNTIME_QUALITY_DATA_H

#include "runtime/job.h"

typedef struct icd_examples {
    int32_t *ids;     /**< [count x seq], 0 behind the length */
    int32_t *lengths; /**< [count] */
    int32_t *label;   /**< [count]; NULL: plain text */
    int64_t count, seq;
    int32_t classes;
} icd_examples;

/** Whether a file holds labelled sentences, by its name: .tsv or .json. */
bool icd_i_examples_labelled(const char *path);

/**
 * Labelled sentences of all files of quality.data: .tsv lines "LABEL<tab>TEXT" (labels
 * are whole numbers from 0), .json [{"text", "class"}] (class null: left out); evenly
 * thinned to quality.examples.
 */
icd_status icd_i_examples_labelled_read(icd_job *job, icd_examples *out);

/** Consecutive pieces of quality.seq tokens of all files. */
icd_status icd_i_examples_text_read(icd_job *job, icd_examples *out);

void icd_i_examples_release(icd_ctx *ctx, icd_examples *e);

#endif
