/**
 * @file rundir.h
 * A run directory: its lock, its paths, and the state that lets a killed run go on.
 */
#ifndef ICD_STORAGE_RUNDIR_H
#define ICD_STORAGE_RUNDIR_H

#include "base/mem.h"

typedef struct icd_rundir icd_rundir;

/**
 * Makes the directory where it is missing and takes its lock.
 * @return ICD_OK | ICD_EBUSY naming the holder | ICD_EIO
 */
icd_status icd_i_rundir_open(icd_ctx *ctx, const char *path, icd_rundir **out);
void icd_i_rundir_close(icd_ctx *ctx, icd_rundir *dir);

const char *icd_i_rundir_root(const icd_rundir *dir);

/** Root + name, living as long as `dir`; NULL: memory is short (recorded in ctx). */
const char *icd_i_rundir_path(icd_ctx *ctx, icd_rundir *dir, const char *name);

/** FOLDER/NAME; makes the folder, and clears it of what killed processes left
 * half-written. */
icd_status icd_i_rundir_folder_path(icd_ctx *ctx, icd_rundir *dir, const char *folder,
                                    const char *name, const char **out);

/** axes/AXIS/NAME; makes the folder, and clears it of what killed processes left
 * half-written. */
icd_status icd_i_rundir_axis_path(icd_ctx *ctx, icd_rundir *dir, const char *axis,
                                  const char *name, const char **out);

/** What state.json says: the last completed stage, and for which settings. */
typedef struct icd_run_state {
    int32_t stage;        /**< number of completed stages */
    uint64_t config_hash; /**< of config.lock.json */
    uint64_t model_hash;  /**< of the model's weights and the input */
} icd_run_state;

/** A missing state file is a fresh run: all zero. A damaged one is too, with a warning.
 */
icd_status icd_i_rundir_read_state(icd_ctx *ctx, icd_rundir *dir, icd_run_state *out);
icd_status icd_i_rundir_write_state(icd_ctx *ctx, icd_rundir *dir,
                                    const icd_run_state *state);

/** Removes a file of the directory if it is there. */
icd_status icd_i_rundir_remove(icd_ctx *ctx, icd_rundir *dir, const char *name);

/**
 * Shows the files of a folder of the run directory, and of its folders, at the top, too:
 * as links where the file system has them, else as copies. Files of the same names are
 * replaced, one by one and each at once; doing it again changes nothing.
 * @param folder [in] "rounds/2"
 * @return ICD_OK | ICD_EIO | ICD_ENOMEM
 */
icd_status icd_i_rundir_publish(icd_ctx *ctx, icd_rundir *dir, const char *folder);

#endif
