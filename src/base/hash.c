#include "base/hash.h"

#include <string.h>
#include <xxhash.h>

static const char DIGIT[] = "0123456789abcdef";

uint64_t icd_i_hash(uint64_t seed, const void *data, size_t bytes)
{
    return XXH64(data, bytes, seed);
}

void icd_i_hash_hex(uint64_t hash, char out[17])
{
    for (int i = 0; i < 16; i++) out[i] = DIGIT[hash >> (60 - 4 * i) & 15];
    out[16] = 0;
}

bool icd_i_hash_parse(const char *text, uint64_t *out)
{
    uint64_t hash = 0;
    if (strlen(text) != 16) return false;
    for (int i = 0; i < 16; i++) {
        const char *digit = strchr(DIGIT, text[i]);
        if (!digit) return false;
        hash = hash << 4 | (uint64_t)(digit - DIGIT);
    }
    *out = hash;
    return true;
}
