/**
 * @file cache.h
 * Solved permutations by content: the key is a hash of everything that mattered (W's
 * bytes, access sets, options, seed). What does not fit its key is ignored with a
 * warning, never trusted.
 */
#ifndef ICD_STORAGE_CACHE_H
#define ICD_STORAGE_CACHE_H

#include "base/mem.h"
#include <icd/perm.h>

/**
 * Looks a permutation up.
 * @param dir [in] cache folder; NULL: always a miss
 * @param n   [in] expected size; an entry of another size is damaged
 * @param out [out] NULL on a miss
 * @return ICD_OK (hit or miss) | ICD_ENOMEM
 */
icd_status icd_i_cache_get(icd_ctx *ctx, const char *dir, uint64_t key, int64_t n,
                           uint64_t frame, icd_perm **out);

/** Stores a permutation; a cache that cannot be written is a warning. */
icd_status icd_i_cache_put(icd_ctx *ctx, const char *dir, uint64_t key,
                           const icd_perm *perm);

#endif
