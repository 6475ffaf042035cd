/**
 * @file exec.h
 * Models that another program runs: a command of the user's that prints latencies, or the
 * numbers that the model computes.
 *
 * The command is given to `sh -c`; `{model}` in it is replaced by the quoted path of a
 * model folder, and other such places by what the caller has for them. It prints
 * latencies in ms, one a line, or JSON: {"lat_ms": 1.25},
 * {"lat_ms": [1.25, 1.24]}, a list, or one such value a line. Empty lines and lines that
 * begin with # are skipped.
 */
#ifndef ICD_EXEC_H
#define ICD_EXEC_H

#include <icd/model.h>
#include <icd/options.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Numbers that a command printed; owned (icd_exec_result_release). */
typedef struct icd_exec_result {
    double *value;
    int64_t count;
} icd_exec_result;

/**
 * Runs a command and reads its latencies.
 * @param model     [in] path for {model}; NULL: the command names none
 * @param timeout_s [in] 0: none
 * @return ICD_OK with at least one value | ICD_EMEASURE it failed (its last words are in
 * the message), ran too long, printed nothing, or something that is no latency (line
 * named), or a latency that is not above zero and finite | ICD_EINVAL {model} without a
 * model | ICD_ECANCELLED | ICD_ENOMEM
 */
icd_status icd_exec_latencies(icd_ctx *ctx, const char *command, const char *model,
                              double timeout_s, icd_exec_result *out);

/** The same for a command that prints what a model computes: any numbers, separated by
 * white space or as JSON lists. */
icd_status icd_exec_numbers(icd_ctx *ctx, const char *command, const char *model,
                            double timeout_s, icd_exec_result *out);

/** Latencies in text that a command printed; `place` is for messages. */
icd_status icd_exec_parse(icd_ctx *ctx, const char *text, int64_t size, const char *place,
                          icd_exec_result *out);

void icd_exec_result_release(icd_ctx *ctx, icd_exec_result *result);

/** Section `runner.exec`: commands that stand in the place of an engine. */
typedef struct icd_exec_opts {
    size_t size;
    const char *command;   /**< of every arm without one of its own */
    const char *linear;    /**< of linear and of the A/A control */
    const char *iterative; /**< of the candidate */
    icd_strings arms;      /**< further arms, each NAME=COMMAND */
    double timeout_s;      /**< of one command; 0: none */
    int64_t discard;       /**< latencies left out at the beginning of its output */
    int64_t lines;         /**< latencies at least, beside those left out */
} icd_exec_opts;

extern const icd_option_table icd_exec_table;

/** A place in a command: {name} becomes the quoted value. */
typedef struct icd_exec_place {
    const char *name;  /**< "model", without the braces */
    const char *value; /**< NULL: there is none, so that the place is an error */
} icd_exec_place;

/**
 * Fills the places of a command; other braces stay as they are.
 * @param out [out] icd_mem_free; NULL on error
 * @return ICD_OK | ICD_EINVAL a place whose value is NULL | ICD_ENOMEM
 */
icd_status icd_exec_fill(icd_ctx *ctx, const char *command, const icd_exec_place *place,
                         int64_t places, char **out);

/**
 * One sample of a command whose places are filled: it runs once, and the mean of what it
 * prints is taken.
 * @param steps [out] how many latencies that were
 * @return as icd_exec_latencies | ICD_EMEASURE fewer than opts->lines
 */
icd_status icd_exec_sample(icd_ctx *ctx, const char *command, const icd_exec_opts *opts,
                           double *lat_ms, int64_t *steps);

#ifdef __cplusplus
}
#endif
#endif
