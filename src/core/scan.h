/**
 * @file scan.h
 * A cursor over text in memory that reads numbers fast and knows its line; no locale, no
 * copies.
 */
#ifndef ICD_CORE_SCAN_H
#define ICD_CORE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct icd_scan {
    const char *at, *end;
    int64_t line; /**< 1-based line of `at` */
} icd_scan;

/** What stands at the cursor, for messages: "'abc'", "the end of the line", "the end of
 * the file". */
typedef struct icd_token {
    char text[40];
} icd_token;
icd_token icd_i_scan_token(const icd_scan *scan);

/** Skips spaces and tabs, and a carriage return before the line feed. */
void icd_i_scan_blanks(icd_scan *scan);

/** True at a line feed or the end of the text. */
bool icd_i_scan_at_line_end(const icd_scan *scan);

/** Moves behind the next line feed. */
void icd_i_scan_next_line(icd_scan *scan);

/**
 * A decimal integer with an optional sign. Its last digit may be followed by anything
 * that no number continues with.
 * @return false, cursor unmoved, if there is none or it does not fit
 */
bool icd_i_scan_int(icd_scan *scan, int64_t *out);

/**
 * A decimal number: digits, point, exponent; no NaN, no infinity, no hexadecimal.
 * Correctly rounded up to 15 digits and an exponent of 22, else within one unit in the
 * last place.
 * @return false, cursor unmoved, if there is none
 */
bool icd_i_scan_real(icd_scan *scan, double *out);

#endif
