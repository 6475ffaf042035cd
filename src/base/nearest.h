/**
 * @file nearest.h
 * "Did you mean ...?": the nearest of several names by Damerau-Levenshtein distance, case
 * ignored.
 */
#ifndef ICD_BASE_NEAREST_H
#define ICD_BASE_NEAREST_H

#include <stdint.h>

/** Insertions, deletions, replacements and swaps of neighbours between two names (optimal
 * string alignment); INT32_MAX when one is longer than 63 bytes. */
int32_t icd_i_edit_distance(const char *a, const char *b);

/** The distance up to which a typing error is likely: a third of the name, rounded up. */
int32_t icd_i_edit_limit(const char *name);

/** The candidate nearest to `name` by edit distance (the first of equals), NULL if none
 * is near. */
const char *icd_i_nearest(const char *name, const char *const *candidate, int64_t count);

#endif
