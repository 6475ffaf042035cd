/**
 * @file perm_io.h
 * Permutations from memory: what icd_perm_read and icd_perm_set_read do once they have
 * the text.
 */
#ifndef ICD_CORE_PERM_IO_H
#define ICD_CORE_PERM_IO_H

#include "base/error.h"
#include <icd/perm.h>

icd_status icd_i_perm_parse(icd_ctx *ctx, const char *text, size_t size,
                            const char *place, icd_perm **out);
icd_status icd_i_perm_set_parse(icd_ctx *ctx, const char *text, size_t size,
                                const char *place, icd_perm_set **out);

/** hash(from, old_of_new), or `from` if p is the identity: what applying p to its frame
 * makes. */
uint64_t icd_i_perm_frame_made(const icd_perm *p);

#endif
