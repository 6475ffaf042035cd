/**
 * @file child.h
 * Runs a program and reads what it prints.
 */
#ifndef ICD_BASE_CHILD_H
#define ICD_BASE_CHILD_H

#include "base/mem.h"

/** What a program left behind; zeroed before use. */
typedef struct icd_child {
    char *out; /**< standard output, terminated by 0; owned (icd_i_child_release) */
    int64_t size;
    char error[512]; /**< the end of its standard error, without a last newline */
    int exit_code;   /**< -1: ended by a signal */
    int signal;      /**< that ended it; 0: none */
} icd_child;

/**
 * Runs `argv` (argv[0] is looked up in PATH) in a process group of its own, and waits. On
 * timeout and on cancellation the whole group is killed.
 * @param timeout_s [in] 0: none
 * @param most      [in] bytes of standard output at most; more is an error
 * @return ICD_OK, whatever the program's exit code | ICD_EMEASURE it could not be
 * started, ran too long or printed too much (`error` is then what it said before) |
 * ICD_ECANCELLED | ICD_ENOMEM
 */
icd_status icd_i_child_run(icd_ctx *ctx, const char *const *argv, double timeout_s,
                           int64_t most, icd_child *out);
void icd_i_child_release(icd_ctx *ctx, icd_child *child);

#endif
