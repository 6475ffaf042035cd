/**
 * @file spot.h
 * The place of an error as text: "W.mtx: line 7".
 */
#ifndef ICD_CORE_SPOT_H
#define ICD_CORE_SPOT_H

#include "base/error.h"

/** Short enough to pass by value: icd_i_fail(ctx, status, icd_i_spot(...).text, ...). */
typedef struct icd_spot {
    char text[320];
} icd_spot;

/** "FILE: " and the formatted rest; a long file name keeps its end. `file` NULL: the rest
 * only. */
icd_spot icd_i_spot(const char *file, const char *fmt, ...) ICD_PRINTF(2, 3);

#endif
