/**
 * @file options.h
 * One table per options struct drives validation, YAML, command line, JSON Schema and
 * help.
 *
 * Every options struct begins with `size_t size`. A struct that is all zero (or a NULL
 * pointer) means "all defaults". Otherwise start from icd_options_init() and change
 * fields: every field is then taken literally, so that zero is a value like any other.
 */
#ifndef ICD_OPTIONS_H
#define ICD_OPTIONS_H

#include <icd/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The type of the field in the struct is given in brackets. */
typedef enum icd_option_type {
    ICD_OPTION_BOOL,   /**< [bool] */
    ICD_OPTION_INT,    /**< [int32_t] */
    ICD_OPTION_INT64,  /**< [int64_t] */
    ICD_OPTION_REAL,   /**< [double] */
    ICD_OPTION_ENUM,   /**< [int32_t] index into `choices` */
    ICD_OPTION_STRING, /**< [const char *], borrowed; NULL and "" mean unset */
    ICD_OPTION_LIST    /**< [icd_strings], borrowed */
} icd_option_type;

/** A list of strings, borrowed from whoever filled it. */
typedef struct icd_strings {
    const char *const *item;
    int64_t count;
} icd_strings;

typedef struct icd_option {
    const char *name; /**< as in YAML: "time_budget_s" */
    size_t offset;    /**< of the field in its struct */
    icd_option_type type;
    const char *def; /**< default as text; NULL: zero, unset; LIST: NULL or one item */
    double min,
        max; /**< inclusive range of numbers, INFINITY: open; min == max: no range */
    const char *choices; /**< ENUM: "auto|T|cut|J"; LIST: the items allowed, NULL: any */
    const char *unit;    /**< "s", "Hz"; NULL: none */
    const char *help;    /**< half a sentence */
} icd_option;

typedef struct icd_option_table {
    const char *section; /**< dotted YAML prefix: "solver", "graph.mock" */
    const char *help;    /**< one sentence */
    size_t struct_size;
    const icd_option *row;
    int32_t rows;
} icd_option_table;

/** Fills `opts` (table->struct_size bytes) with the defaults and sets its `size`. */
void icd_options_init(const icd_option_table *table, void *opts);

/**
 * Copies `in` to `out` (not the same struct) with the rule above (NULL or all zero:
 * defaults) and checks every range. A struct of a smaller `size` comes from an older
 * header: what it lacks gets its defaults.
 * @return ICD_OK | ICD_EINVAL naming section.field, what was found, what is allowed
 */
icd_status icd_options_resolve(icd_ctx *ctx, const icd_option_table *table,
                               const void *in, void *out);

/**
 * Sets one field from text (command line, --override). Strings and lists stay borrowed
 * from `text` where the type is STRING; LIST is refused here (see icd/config.h).
 * @param place [in] how errors name the source: "--time-budget", "config.yaml:7"
 * @return ICD_OK | ICD_EINVAL with what was found, what was expected
 */
icd_status icd_options_set(icd_ctx *ctx, const icd_option_table *table, void *opts,
                           const char *name, const char *text, const char *place);

#ifdef __cplusplus
}
#endif
#endif
