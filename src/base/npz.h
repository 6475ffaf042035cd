/**
 * @file npz.h
 * NumPy arrays: .npy headers, .npz archives (libzip), read with full checking, written so
 * that the same arrays give the same bytes.
 */
#ifndef ICD_BASE_NPZ_H
#define ICD_BASE_NPZ_H

#include "base/error.h"

/** kind: 'f' float, 'i' signed, 'u' unsigned, 'b' bool, 'S' bytes, 'U' UCS-4 text. */
typedef struct icd_array {
    char kind;
    int32_t item; /**< bytes per element (U: 4 per character) */
    int32_t dims;
    int64_t shape[4];
    int64_t count; /**< product of shape; 1 for a scalar */
    bool fortran;
    void *data; /**< host byte order; owned (icd_i_array_release) */
} icd_array;

void icd_i_array_release(icd_ctx *ctx, icd_array *a);

/** Element i as int64, whatever the dtype: floats are cut towards zero, values beyond
 * int64 become its ends, NaN, S and U become 0. */
int64_t icd_i_array_int(const icd_array *a, int64_t i);
/** Element i as double, whatever the dtype (S, U: 0). */
double icd_i_array_real(const icd_array *a, int64_t i);

/**
 * Decodes an .npy image (header versions 1 to 3, both byte orders, at most four
 * dimensions). Objects (pickles), structures, complex and long double are refused, and so
 * is data that is shorter or longer than the shape says.
 * @return ICD_OK | ICD_EDATA with byte offset | ICD_ENOMEM. The array is never larger
 * than the bytes that are really there.
 */
icd_status icd_i_npy_decode(icd_ctx *ctx, const void *bytes, size_t size,
                            const char *place, icd_array *out);

typedef struct icd_npz icd_npz;

/** Opens from a file, or from memory that outlives it. */
icd_status icd_i_npz_open(icd_ctx *ctx, const char *path, icd_npz **out);
icd_status icd_i_npz_open_memory(icd_ctx *ctx, const void *bytes, size_t size,
                                 const char *place, icd_npz **out);
bool icd_i_npz_has(const icd_npz *npz, const char *name);
/**
 * Reads member NAME.npy, stored or deflated; its CRC is checked. What is allocated is
 * bounded by the shape, by the size the archive states and by what its compressed bytes
 * can expand to.
 * @param out [out] owned by the caller (icd_i_array_release); zeroed on error
 * @return ICD_OK | ICD_EDATA "W.csr.npz: no member 'indptr.npy' ..." | ICD_ENOMEM
 */
icd_status icd_i_npz_get(icd_ctx *ctx, icd_npz *npz, const char *name, icd_array *out);
void icd_i_npz_close(icd_ctx *ctx, icd_npz *npz);

/** One member to write; `data` is borrowed. */
typedef struct icd_npz_member {
    const char *name; /**< without .npy */
    char kind;
    int32_t item;
    int32_t dims;
    int64_t shape[4];
    const void *data; /**< row-major, host byte order */
} icd_npz_member;

/** Writes `count` >= 1 stored members with fixed time stamps; atomic. @return ICD_OK |
 * ICD_EIO | ICD_ENOMEM */
icd_status icd_i_npz_write(icd_ctx *ctx, const char *path, const icd_npz_member *member,
                           int32_t count);
/** Writes one .npy file; atomic. */
icd_status icd_i_npy_write(icd_ctx *ctx, const char *path, const icd_npz_member *member);

/* What npz_*.c share. */

/** Where .npy bytes come from: `read` delivers exactly `bytes` or fails with ICD_EDATA.
 */
typedef struct icd_npy_source icd_npy_source;
struct icd_npy_source {
    icd_status (*read)(icd_ctx *ctx, icd_npy_source *source, void *out, size_t bytes);
    const char *place; /**< file, or file and member */
    const char *unit;  /**< between place and offset: "" or "member data.npy" */
    uint64_t offset;   /**< bytes read so far */
    uint64_t left;     /**< bytes that are still there */
    void *user;
};

/** Reads header and data of one array, which must be all there is. */
icd_status icd_i_npy_read(icd_ctx *ctx, icd_npy_source *source, icd_array *out);

/** The header that precedes an array's data, padded to 64 bytes. */
enum { ICD_NPY_HEADER = 256 };
size_t icd_i_npy_header(const icd_npz_member *member, unsigned char out[ICD_NPY_HEADER]);

/** Bytes of a member's data; false on overflow. */
bool icd_i_npy_bytes(int32_t dims, const int64_t *shape, int32_t item, int64_t *count,
                     size_t *bytes);

#endif
