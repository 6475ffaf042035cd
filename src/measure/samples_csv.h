/**
 * @file samples_csv.h
 * samples.csv from memory: what icd_samples_read does once it has the text.
 */
#ifndef ICD_MEASURE_SAMPLES_CSV_H
#define ICD_MEASURE_SAMPLES_CSV_H

#include "base/error.h"
#include <icd/measure.h>

/**
 * @param text  [in] `size` bytes; a zero byte among them is an error
 * @param place [in] how errors name the text
 * @param out   [out] owned by the caller (icd_samples_free); NULL on error
 * @return ICD_OK | ICD_EDATA naming the line | ICD_ENOMEM
 */
icd_status icd_i_samples_parse(icd_ctx *ctx, const char *text, size_t size,
                               const char *place, icd_samples **out);

#endif
