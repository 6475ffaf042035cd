/**
 * @file icdt.h
 * The ICD binary trace, byte by byte (docs/formats.md has it in words); little-endian
 * throughout.
 *
 *     header  magic 8 | version u32 | axis bytes u32 | n u64 | frame u64 | axis | XXH64
 * u64 chunk*  "CHNK" | flags u32 | events u32 | indices u32 | raw bytes u32 | stored
 * bytes u32 | XXH64 u64 | zstd frame index   "INDX" | 0 u32 | chunks u64 | events u64 |
 * (offset u64, first event u64)* | XXH64 u64 end     offset of the index u64 | magic 8
 *
 * Raw bytes of a chunk: per event its number of indices; then per index its distance to
 * the one before (the first: to -1), less 1; both as LEB128; then, with ICDT_WEIGHTS, a
 * float32 per event.
 */
#ifndef ICD_CORE_ICDT_H
#define ICD_CORE_ICDT_H

#include <stdint.h>

enum {
    ICDT_VERSION = 1,
    ICDT_MAGIC = 8,
    ICDT_HEADER = 32,     /**< bytes in front of the axis */
    ICDT_AXIS_MAX = 4096, /**< bytes of an axis name */
    ICDT_CHUNK = 32,      /**< bytes of a chunk's head */
    ICDT_CHECKED = 24,    /**< of them under the checksum, with the stored bytes */
    ICDT_INDEX = 24,      /**< bytes of the index's head */
    ICDT_ENTRY = 16,
    ICDT_SUM = 8,
    ICDT_END = 16,
    ICDT_VARINT_MAX = 5, /**< bytes of a LEB128 number below 2^32 */
    ICDT_WEIGHTS = 1     /**< flag of a chunk */
};

/** Bytes that a text-mode copy or a cut would change, as PNG's do. */
#define ICDT_MAGIC_HEAD "\x89ICDT\r\n\x1a"
#define ICDT_MAGIC_END  "\x89ICDEND\n"
/** The tags "CHNK" and "INDX" as little-endian numbers. */
#define ICDT_TAG_CHUNK UINT32_C(0x4b4e4843)
#define ICDT_TAG_INDEX UINT32_C(0x58444e49)

/** No zstd frame expands by more: a block of 128 KiB takes 4 bytes at least. */
#define ICDT_EXPANSION_MAX UINT64_C(32768)

static inline uint32_t icd_i_get_u32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

static inline uint64_t icd_i_get_u64(const unsigned char *p)
{
    return icd_i_get_u32(p) | (uint64_t)icd_i_get_u32(p + 4) << 32;
}

static inline void icd_i_put_u32(unsigned char *p, uint32_t value)
{
    for (int i = 0; i < 4; ++i) p[i] = (unsigned char)(value >> (8 * i));
}

static inline void icd_i_put_u64(unsigned char *p, uint64_t value)
{
    icd_i_put_u32(p, (uint32_t)value);
    icd_i_put_u32(p + 4, (uint32_t)(value >> 32));
}

#endif
