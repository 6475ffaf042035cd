/**
 * @file scratch.h
 * Folders for files that are gone when the work is done.
 */
#ifndef ICD_BASE_SCRATCH_H
#define ICD_BASE_SCRATCH_H

#include "base/error.h"

/**
 * Makes an empty folder "icd-NAME-XXXXXX" that only this user may enter, in $TMPDIR or
 * /tmp.
 * @param out [out] its path, icd_i_scratch_remove; NULL on error
 * @return ICD_OK | ICD_EIO with the system's reason | ICD_ENOMEM
 */
icd_status icd_i_scratch_new(icd_ctx *ctx, const char *name, char **out);

/** Removes the folder with all that is in it, following no links; NULL is legal. */
void icd_i_scratch_remove(icd_ctx *ctx, char *dir);

#endif
