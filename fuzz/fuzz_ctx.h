/**
 * @file fuzz_ctx.h
 * A context whose allocator refuses large blocks: a target must not run out of memory
 * because its input states sizes that a real file could have.
 */
#ifndef ICD_FUZZ_CTX_H
#define ICD_FUZZ_CTX_H

#include <icd/ctx.h>
#include <stdlib.h>

enum { FUZZ_LARGEST = 16 << 20 };

static void *fuzz_realloc(void *user, void *ptr, size_t bytes)
{
    (void)user;
    return bytes > FUZZ_LARGEST ? NULL : realloc(ptr, bytes);
}

static void fuzz_free(void *user, void *ptr)
{
    (void)user;
    free(ptr);
}

static inline icd_ctx *fuzz_ctx_new(void)
{
    icd_ctx_opts opts = {
        .size = sizeof opts, .allocator = {fuzz_realloc, fuzz_free, NULL}, .threads = 1};
    return icd_ctx_new(&opts);
}

/** What every failed call promises: a message, and a status that fits damaged input. */
static inline void fuzz_check_error(const icd_ctx *ctx, icd_status status,
                                    const void *out)
{
    bool expected = status == ICD_EDATA || status == ICD_EINVAL || status == ICD_ENOMEM;
    if (!expected || out || !*icd_ctx_message(ctx)) abort();
}

#endif
