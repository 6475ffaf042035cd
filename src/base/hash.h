/**
 * @file hash.h
 * XXH64 over several pieces (libxxhash); for caches, frames and checksums, not for
 * security.
 */
#ifndef ICD_BASE_HASH_H
#define ICD_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Hash of one buffer, chained: pass the previous result as `seed` (0 to start). */
uint64_t icd_i_hash(uint64_t seed, const void *data, size_t bytes);

/** 16 lower-case hex digits and a terminating zero. */
void icd_i_hash_hex(uint64_t hash, char out[17]);

/** Reads what icd_i_hash_hex wrote; false if `text` is anything else. */
bool icd_i_hash_parse(const char *text, uint64_t *out);

#endif
