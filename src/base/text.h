/**
 * @file text.h
 * Strings that grow, and numbers as text whatever the process's locale is.
 */
#ifndef ICD_BASE_TEXT_H
#define ICD_BASE_TEXT_H

#include "base/mem.h"

/** A growing string; zeroed = empty. Once something was added, data[size] is 0. */
typedef struct icd_text {
    char *data; /**< from icd_i_alloc: may be handed to a caller who frees it with
                   icd_i_free */
    int64_t size, capacity;
} icd_text;

void icd_i_text_release(icd_ctx *ctx, icd_text *text);
icd_status icd_i_text_add(icd_ctx *ctx, icd_text *text, const char *bytes, int64_t size);
icd_status icd_i_text_puts(icd_ctx *ctx, icd_text *text, const char *string);
icd_status icd_i_text_printf(icd_ctx *ctx, icd_text *text, const char *fmt, ...)
    ICD_PRINTF(3, 4);

/** The fewest digits (15 to 17) that read back as the same double: "0.1", "2147483647",
 * "1e-09". */
void icd_i_real_print(double value, char out[32]);

/** The whole of `text` as a decimal integer: [-+]?[0-9]+. @return false: no integer, or
 * too big */
bool icd_i_int_parse(const char *text, int64_t *out);

/** The whole of `text` as a finite decimal number. @return false: no number, NaN,
 * infinite */
bool icd_i_real_parse(const char *text, double *out);

#endif
