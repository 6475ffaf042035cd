/**
 * @file exec.h
 * Models that another program runs: a command of the user's that prints latencies, or the
 * numbers that the model computes.
 *
 * The command is given to `sh -c`; `{model}` in it is replaced by the quoted path of a
 * model folder. It prints latencies in ms, one a line, or JSON: {"lat_ms": 1.25},
 * {"lat_ms": [1.25, 1.24]}, a list, or one such value a line. Empty lines and lines that
 * begin with # are skipped.
 */
#ifndef ICD_EXEC_H
#define ICD_EXEC_H

#include <icd/model.h>

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

#ifdef __cplusplus
}
#endif
#endif
