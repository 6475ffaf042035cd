/**
 * @file mem.h
 * Checked allocation through the context's allocator, and an arena for many small
 * lifetimes.
 */
#ifndef ICD_BASE_MEM_H
#define ICD_BASE_MEM_H

#include "base/error.h"

/** a * b and a + b with overflow check. @return false on overflow (out untouched) */
bool icd_i_mul_size(size_t a, size_t b, size_t *out);
bool icd_i_add_size(size_t a, size_t b, size_t *out);

/**
 * `count` zeroed elements of `elem` bytes, 64-byte aligned; *out is NULL on error. A
 * count of 0 yields a valid pointer.
 * @return ICD_OK | ICD_EINVAL negative count | ICD_ENOMEM naming the size
 */
icd_status icd_i_alloc(icd_ctx *ctx, int64_t count, size_t elem, void **out);

/** Typed form: ICD_ALLOC(ctx, n, &p) */
#define ICD_ALLOC(ctx, count, out)                                                       \
    icd_i_alloc((ctx), (count), sizeof **(out), (void **)(out))

/** The same, but the elements have no values yet: for large arrays that are written
 * before they are read. */
icd_status icd_i_alloc_unset(icd_ctx *ctx, int64_t count, size_t elem, void **out);
#define ICD_ALLOC_UNSET(ctx, count, out)                                                 \
    icd_i_alloc_unset((ctx), (count), sizeof **(out), (void **)(out))

/** Grows *ptr (from icd_i_alloc) to at least `need` elements, doubling; the new tail is
 * zero. */
icd_status icd_i_grow(icd_ctx *ctx, void **ptr, int64_t *capacity, int64_t need,
                      size_t elem);

void icd_i_free(icd_ctx *ctx, void *ptr);

/** A copy of a string in the context's memory. */
icd_status icd_i_strdup(icd_ctx *ctx, const char *text, char **out);

/** Memory that is freed as a whole. */
typedef struct icd_arena icd_arena;
icd_status icd_i_arena_new(icd_ctx *ctx, icd_arena **out);
void icd_i_arena_free(icd_ctx *ctx, icd_arena *arena);

/** `bytes` zeroed bytes, 16-byte aligned, living as long as the arena. NULL: memory is
 * short (the error is recorded in ctx). */
void *icd_i_arena_alloc(icd_ctx *ctx, icd_arena *arena, size_t bytes);
char *icd_i_arena_strdup(icd_ctx *ctx, icd_arena *arena, const char *text);

#endif
