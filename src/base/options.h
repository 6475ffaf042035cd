/**
 * @file options.h
 * The part of the options mechanism that readers of whole configurations use: sections
 * are tables with a place in one big struct.
 */
#ifndef ICD_BASE_OPTIONS_H
#define ICD_BASE_OPTIONS_H

#include "base/json.h"
#include "base/nearest.h"
#include "base/yaml.h"
#include <icd/options.h>

/** Where a section's struct lies inside the whole configuration. */
typedef struct icd_section {
    const icd_option_table
        *table; /**< table->section is its dotted prefix; "": the top level */
    size_t offset;
} icd_section;

/** All sections of a configuration; prefixes are unique, and no option is named like a
 * section. */
typedef struct icd_schema {
    const icd_section *section;
    int32_t sections;
    const char *title;
} icd_schema;

/** Defaults everywhere. */
void icd_i_config_init(const icd_schema *schema, void *config);

/**
 * Applies a parsed document: unknown keys are errors with their line and the nearest
 * valid name; types and ranges are checked. Strings and lists are copied to the arena.
 * @return ICD_OK | ICD_EINVAL 'config.yaml:7: unknown key "sover"; did you mean
 * "solver"?' | ICD_EINVAL "config.yaml:7: solver.granule: found '0', expected ..." |
 * ICD_ENOMEM
 */
icd_status icd_i_config_apply(icd_ctx *ctx, const icd_schema *schema, icd_arena *arena,
                              const icd_node *root, const char *place, void *config);

/** Applies "a.b=c" (`--override`). Lists: comma-separated, [a,b] accepted. */
icd_status icd_i_config_override(icd_ctx *ctx, const icd_schema *schema, icd_arena *arena,
                                 const char *assignment, void *config);

/** Resolved values as nested objects (config.lock.json), unset strings as null; new
 * reference. icd_i_config_apply of the printed text gives the same values. */
icd_status icd_i_config_json(icd_ctx *ctx, const icd_schema *schema, const void *config,
                             json_t **out);

/** JSON Schema (2020-12) of the whole configuration; new reference. */
icd_status icd_i_config_schema(icd_ctx *ctx, const icd_schema *schema, json_t **out);

/* One row; what the functions above and icd/options.h share. */

/** Room for "section.name". */
enum { ICD_OPTION_NAME = 128 };

/** "solver.granule" of a row; just the name where the section is "". */
void icd_i_option_name(const icd_option_table *table, const icd_option *row,
                       char out[ICD_OPTION_NAME]);

/** The row called `name`; NULL: none. */
const icd_option *icd_i_option_find(const icd_option_table *table, const char *name);

/** Choice `i` of "a|b|c" and its length; NULL past the end. */
const char *icd_i_option_choice(const icd_option *row, int64_t i, int *length);

/**
 * Stores a value given as text into the row's field; not for lists. Strings stay
 * borrowed.
 * @return false: wrong type or out of range, the field is untouched
 */
bool icd_i_option_store(const icd_option *row, const char *text, void *opts);

/** ICD_EINVAL "place: section.name: found FOUND, expected an integer in 1..9; HINT". */
icd_status icd_i_option_refuse(icd_ctx *ctx, const icd_option_table *table,
                               const icd_option *row, const char *place,
                               const char *found, const char *hint);

/** Like refuse for text that did not parse: quotes it and finds the hint that fits. */
icd_status icd_i_option_refuse_text(icd_ctx *ctx, const icd_option_table *table,
                                    const icd_option *row, const char *place,
                                    const char *text);

/** Whether `item` is among the row's choices (always, where it has none). */
bool icd_i_option_allows(const icd_option *row, const char *item);

/** The field's value as JSON; new reference, NULL: memory is short. */
json_t *icd_i_option_json(const icd_option *row, const void *opts);

/** The object at a dotted path below `root` ("": root itself), made where it is missing;
 * borrowed, NULL: memory is short. `child` names the member between two levels
 * ("properties"), or NULL. */
json_t *icd_i_option_object(json_t *root, const char *path, const char *child);

#endif
