/**
 * @file json.h
 * Jansson with our errors: every getter names the file and the path of the member it
 * missed.
 */
#ifndef ICD_BASE_JSON_H
#define ICD_BASE_JSON_H

#include "base/error.h"
#include <jansson.h>

/**
 * Parses a file; duplicate keys, NaN and trailing text are errors.
 * @param out [out] new reference (json_decref); NULL on error
 * @return ICD_OK | ICD_EIO | ICD_EDATA "place:line:column: not JSON: ..." | ICD_ENOMEM
 */
icd_status icd_i_json_read(icd_ctx *ctx, const char *path, json_t **out);
icd_status icd_i_json_parse(icd_ctx *ctx, const char *text, size_t size,
                            const char *place, json_t **out);

/**
 * Writes with sorted keys, two-space indent, numbers in the fewest digits that read back
 * the same, arrays of plain values on one line, newline at the end; atomic.
 */
icd_status icd_i_json_write(icd_ctx *ctx, const json_t *value, const char *path);
/** The same as a string (icd_i_free); `compact`: one line without spaces and newline. */
icd_status icd_i_json_print(icd_ctx *ctx, const json_t *value, bool compact, char **text);

/** A member of the wrong type or missing: ICD_EDATA "place: member 'D': found string,
 * expected integer". */
icd_status icd_i_json_int(icd_ctx *ctx, const json_t *object, const char *key,
                          const char *place, int64_t low, int64_t high, int64_t *out);
icd_status icd_i_json_real(icd_ctx *ctx, const json_t *object, const char *key,
                           const char *place, double *out);
/** Borrowed from the object. */
icd_status icd_i_json_string(icd_ctx *ctx, const json_t *object, const char *key,
                             const char *place, const char **out);
/** Borrowed from the object. */
icd_status icd_i_json_member(icd_ctx *ctx, const json_t *object, const char *key,
                             json_type type, const char *place, json_t **out);

#endif
