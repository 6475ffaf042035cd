/**
 * @file options.h
 * The part of the options mechanism that readers of whole configurations use: sections are tables
 * with a place in one big struct.
 */
#ifndef ICD_BASE_OPTIONS_H
#define ICD_BASE_OPTIONS_H

#include "base/json.h"
#include "base/yaml.h"
#include <icd/options.h>

/** Where a section's struct lies inside the whole configuration. */
typedef struct icd_section {
    const icd_option_table *table; /**< table->section is its dotted prefix */
    size_t offset;
} icd_section;

/** All sections of a configuration; prefixes are unique. */
typedef struct icd_schema {
    const icd_section *section;
    int32_t sections;
    const char *title;
} icd_schema;

/** Defaults everywhere. */
void icd_i_config_init(const icd_schema *schema, void *config);

/**
 * Applies a parsed document: unknown keys are errors with their line and the nearest valid name;
 * types and ranges are checked. Strings and lists are copied to the arena.
 */
icd_status icd_i_config_apply(icd_ctx *ctx, const icd_schema *schema, icd_arena *arena,
                              const icd_node *root, const char *place, void *config);

/** Applies "a.b=c" (`--override`). Lists: comma-separated, [a,b] accepted. */
icd_status icd_i_config_override(icd_ctx *ctx, const icd_schema *schema, icd_arena *arena,
                                 const char *assignment, void *config);

/** Resolved values as nested objects (config.lock.json); new reference. */
icd_status icd_i_config_json(icd_ctx *ctx, const icd_schema *schema, const void *config,
                             json_t **out);

/** JSON Schema (2020-12) of the whole configuration; new reference. */
icd_status icd_i_config_schema(icd_ctx *ctx, const icd_schema *schema, json_t **out);

/** The candidate nearest to `name` by edit distance, NULL if none is near. */
const char *icd_i_nearest(const char *name, const char *const *candidate, int64_t count);

#endif
