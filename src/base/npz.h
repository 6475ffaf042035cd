/**
 * @file npz.h
 * NumPy arrays: .npy headers, .npz archives (libzip), read with full checking, written so that the
 * same arrays give the same bytes.
 */
#ifndef ICD_BASE_NPZ_H
#define ICD_BASE_NPZ_H

#include "base/error.h"

/** kind: 'f' float, 'i' signed, 'u' unsigned, 'b' bool, 'S' bytes, 'U' UCS-4 text. */
typedef struct icd_array {
    char kind;
    int32_t item;     /**< bytes per element (U: 4 per character) */
    int32_t dims;
    int64_t shape[4];
    int64_t count;    /**< product of shape */
    bool fortran;
    void *data;       /**< host byte order; owned (icd_i_array_release) */
} icd_array;

void icd_i_array_release(icd_ctx *ctx, icd_array *a);

/** Element i as int64 / double, whatever the dtype (S, U: 0). */
int64_t icd_i_array_int(const icd_array *a, int64_t i);
double icd_i_array_real(const icd_array *a, int64_t i);

/**
 * Decodes an .npy image (header versions 1 to 3, both byte orders).
 * @return ICD_OK | ICD_EDATA with byte offset | ICD_ENOMEM. The array is never larger than the
 *         bytes that are really there.
 */
icd_status icd_i_npy_decode(icd_ctx *ctx, const void *bytes, size_t size, const char *place,
                            icd_array *out);

typedef struct icd_npz icd_npz;

/** Opens from a file, or from memory that outlives it. */
icd_status icd_i_npz_open(icd_ctx *ctx, const char *path, icd_npz **out);
icd_status icd_i_npz_open_memory(icd_ctx *ctx, const void *bytes, size_t size, const char *place,
                                 icd_npz **out);
bool icd_i_npz_has(const icd_npz *npz, const char *name);
/** Reads member NAME.npy. @return ICD_EDATA "W.csr.npz: no member 'indptr.npy' ..." */
icd_status icd_i_npz_get(icd_ctx *ctx, icd_npz *npz, const char *name, icd_array *out);
void icd_i_npz_close(icd_ctx *ctx, icd_npz *npz);

/** One member to write; `data` is borrowed. */
typedef struct icd_npz_member {
    const char *name; /**< without .npy */
    char kind;
    int32_t item;
    int32_t dims;
    int64_t shape[4];
    const void *data;
} icd_npz_member;

/** Writes stored members with fixed time stamps; atomic. */
icd_status icd_i_npz_write(icd_ctx *ctx, const char *path, const icd_npz_member *member,
                           int32_t count);
/** Writes one .npy file; atomic. */
icd_status icd_i_npy_write(icd_ctx *ctx, const char *path, const icd_npz_member *member);

#endif
