/**
 * @file exec_arms.h
 * Arms that commands of the user's execute (runner.kind: exec): the same loop, designs,
 * statistics and report, with programs in the place of an engine.
 *
 * With a model, the loop transforms and permutes as usual, and every command is given a
 * model folder and the orders of its arm. Without one, the run only measures.
 */
#ifndef ICD_RUNTIME_EXEC_ARMS_H
#define ICD_RUNTIME_EXEC_ARMS_H

#include "runtime/job.h"

#include <icd/exec.h>

/** A command as an arm of the measuring process. */
typedef struct icd_exec_arm {
    const char *command; /**< borrowed, its places filled */
    const icd_exec_opts *opts;
} icd_exec_arm;

bool icd_i_exec_wanted(const icd_config *config);

/** Commands and nothing else: no model, hence no loop. */
bool icd_i_exec_alone(const icd_config *config);

/** The command of an arm as it is configured; NULL: it has none. */
const char *icd_i_exec_command(const icd_config *config, const char *arm);

/**
 * Adds what `runner.exec` names to the job's arms: alone linear, iterative and the
 * control too, else only further ones.
 * @return ICD_OK | ICD_EINVAL linear or iterative has no command, or a further arm is not
 * NAME=COMMAND with a name of its own | ICD_ENOMEM
 */
icd_status icd_i_exec_arms(icd_job *job);

/** Writes model and orders for every arm and its filled command into `list`, the rows of
 * arms.json. */
icd_status icd_i_exec_write(icd_job *job, json_t *list);

/** icd_arm.burst and icd_arm.step of an icd_exec_arm. */
icd_status icd_i_exec_burst(icd_ctx *ctx, void *self, double *lat_ms, int64_t *steps);
icd_status icd_i_exec_step(icd_ctx *ctx, void *self);

#endif
