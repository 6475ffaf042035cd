/**
 * @file access_pattern.h
 * Small patterns of accesses, the same for a program under cachegrind and for the
 * simulator.
 */
#ifndef ICD_TEST_ACCESS_PATTERN_H
#define ICD_TEST_ACCESS_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PATTERN_SEQUENTIAL, /**< line by line over 256 KiB, reading */
    PATTERN_RANDOM,     /**< reads of any byte of 128 KiB */
    PATTERN_COLUMNS,    /**< down the columns of a 96 x 1024 matrix of bytes, reading */
    PATTERN_TILES,      /**< a tile of 6 KiB read again and again beside a stream */
    PATTERN_WRITES,     /**< random reads and writes over 96 KiB */
    PATTERNS
};
enum { PATTERN_BYTES = 256 * 1024, PATTERN_ACCESSES = 20000 };

typedef struct pattern_access {
    uint32_t offset;
    bool write;
} pattern_access;

/** The i-th access of a round; `state` begins as 1 and is kept between calls. */
static inline pattern_access pattern_at(int pattern, uint32_t i, uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    uint32_t random = (uint32_t)(*state >> 33);
    switch (pattern) {
    case PATTERN_SEQUENTIAL:
        return (pattern_access){i * 64 % PATTERN_BYTES, false};
    case PATTERN_RANDOM:
        return (pattern_access){random % (128 * 1024), false};
    case PATTERN_COLUMNS:
        return (pattern_access){i % 96 * 1024 + i / 96 * 16 % 1024, false};
    case PATTERN_TILES:
        return (pattern_access){
            i % 8 ? i % 96 * 64 : 8192 + i * 8 % (PATTERN_BYTES - 8192), false};
    default:
        return (pattern_access){random % (96 * 1024), random >> 28 & 1};
    }
}

#endif
