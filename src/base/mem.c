#include "base/mem.h"

#include "base/ctx_private.h"
#include "base/memory_left.h"
#include "base/region.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    ALIGNMENT = 64,
    ARENA_ALIGNMENT = 16,
    ARENA_FIRST = 4096,
    ARENA_LARGEST = 1 << 20,
    LARGE = 256 << 20 /* bytes from which a block is first compared with what is left */
};

bool icd_i_mul_size(size_t a, size_t b, size_t *out)
{
    if (b && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}

bool icd_i_add_size(size_t a, size_t b, size_t *out)
{
    if (a > SIZE_MAX - b) return false;
    *out = a + b;
    return true;
}

/* calloc gets large blocks as untouched zero pages from the system; memset would touch
 * them all. */
static void *raw_block(icd_ctx *ctx, size_t bytes, bool zeroed)
{
    if (ctx->libc && zeroed) return calloc(1, bytes);
    void *raw = ctx->allocator.realloc(ctx->allocator.user, NULL, bytes);
    if (raw && zeroed) memset(raw, 0, bytes);
    return raw;
}

/* The allocator promises no alignment beyond malloc's: the block starts at the next
 * multiple of 64 that leaves room for the allocator's own pointer in front of it. */
static void *aligned_block(icd_ctx *ctx, size_t bytes, bool zeroed)
{
    size_t total = 0;
    if (!icd_i_add_size(bytes, ALIGNMENT + sizeof(void *), &total)) return NULL;
    if (total > PTRDIFF_MAX) return NULL; /* pointer differences would not fit any more */
    if (ctx->region) return icd_i_region_give(ctx->region, bytes);
    char *raw = raw_block(ctx, total, zeroed);
    if (!raw) return NULL;
    uintptr_t first = (uintptr_t)raw + sizeof(void *);
    size_t skip = sizeof(void *) + (ALIGNMENT - first % ALIGNMENT) % ALIGNMENT;
    memcpy(raw + skip - sizeof(void *), &raw, sizeof raw);
    return raw + skip;
}

/* The kernel promises more than it has, and ends the process when it is filled. */
static icd_status check_room(icd_ctx *ctx, size_t bytes)
{
    double left = bytes >= LARGE ? icd_i_memory_left() : INFINITY;
    if ((double)bytes <= left) return ICD_OK;
    return icd_i_fail(
        ctx, ICD_ENOMEM, NULL, "smaller batches and shorter sequences take less",
        "not enough memory: %.1f GiB are asked for at once, %.1f GiB are left",
        ldexp((double)bytes, -30), ldexp(left, -30));
}

static icd_status alloc(icd_ctx *ctx, int64_t count, size_t elem, bool zeroed, void **out)
{
    size_t bytes = 0;
    void *ptr = NULL;
    /* memcpy: *out is a T * under another name (ICD_ALLOC), which must not be written as
     * void *. */
    memcpy(out, &ptr, sizeof ptr);
    if (count < 0)
        return icd_i_fail(ctx, ICD_EINVAL, NULL, NULL,
                          "cannot allocate a negative number of elements (%lld)",
                          (long long)count);
    if (icd_i_mul_size((size_t)count, elem, &bytes)) {
        icd_status status = check_room(ctx, bytes);
        if (status != ICD_OK) return status;
        ptr = aligned_block(ctx, bytes, zeroed);
    }
    if (!ptr)
        return icd_i_fail(ctx, ICD_ENOMEM, NULL, NULL,
                          "not enough memory for %lld elements of %zu bytes",
                          (long long)count, elem);
    memcpy(out, &ptr, sizeof ptr);
    return ICD_OK;
}

icd_status icd_i_alloc(icd_ctx *ctx, int64_t count, size_t elem, void **out)
{
    return alloc(ctx, count, elem, true, out);
}

icd_status icd_i_alloc_unset(icd_ctx *ctx, int64_t count, size_t elem, void **out)
{
    return alloc(ctx, count, elem, false, out);
}

void icd_i_free(icd_ctx *ctx, void *ptr)
{
    if (!ptr) return;
    void *raw = NULL;
    memcpy(&raw, (char *)ptr - sizeof raw, sizeof raw);
    if (raw)
        ctx->allocator.free(ctx->allocator.user, raw);
    else
        icd_i_region_take(ptr);
}

icd_status icd_i_grow(icd_ctx *ctx, void **ptr, int64_t *capacity, int64_t need,
                      size_t elem)
{
    if (need <= *capacity) return ICD_OK;
    void *old = NULL, *fresh = NULL;
    int64_t larger = *capacity < INT64_MAX / 2 ? *capacity * 2 : INT64_MAX;
    if (larger < 16) larger = 16;
    if (larger < need) larger = need;
    icd_status status = icd_i_alloc(ctx, larger, elem, &fresh);
    if (status != ICD_OK) return status;
    memcpy(&old, ptr, sizeof old);
    if (old) memcpy(fresh, old, (size_t)*capacity * elem);
    icd_i_free(ctx, old);
    memcpy(ptr, &fresh, sizeof fresh);
    *capacity = larger;
    return ICD_OK;
}

icd_status icd_i_strdup(icd_ctx *ctx, const char *text, char **out)
{
    size_t bytes = strlen(text) + 1;
    icd_status status = ICD_ALLOC(ctx, (int64_t)bytes, out);
    if (status == ICD_OK) memcpy(*out, text, bytes);
    return status;
}

/* A block's memory follows its head. */
typedef struct arena_block arena_block;
struct arena_block {
    arena_block *next;
    size_t used, size;
    size_t pad; /* keeps what follows 16-byte aligned */
};
_Static_assert(sizeof(arena_block) % ARENA_ALIGNMENT == 0, "blocks start aligned");

struct icd_arena {
    arena_block *block; /* newest first */
    size_t next_size;
};

icd_status icd_i_arena_new(icd_ctx *ctx, icd_arena **out)
{
    icd_status status = ICD_ALLOC(ctx, 1, out);
    if (status == ICD_OK) (*out)->next_size = ARENA_FIRST;
    return status;
}

void icd_i_arena_free(icd_ctx *ctx, icd_arena *arena)
{
    if (!arena) return;
    for (arena_block *b = arena->block, *next = NULL; b; b = next) {
        next = b->next;
        icd_i_free(ctx, b);
    }
    icd_i_free(ctx, arena);
}

static arena_block *add_block(icd_ctx *ctx, icd_arena *arena, size_t bytes)
{
    size_t size = bytes > arena->next_size ? bytes : arena->next_size;
    size_t total = 0;
    void *memory = NULL;
    if (!icd_i_add_size(size, sizeof(arena_block), &total)) total = SIZE_MAX;
    if (icd_i_alloc(ctx, 1, total, &memory) != ICD_OK) return NULL;
    arena_block *block = memory;
    block->size = size;
    block->next = arena->block;
    arena->block = block;
    if (arena->next_size < ARENA_LARGEST) arena->next_size *= 2;
    return block;
}

void *icd_i_arena_alloc(icd_ctx *ctx, icd_arena *arena, size_t bytes)
{
    arena_block *block = arena->block;
    size_t rounded = SIZE_MAX;
    if (icd_i_add_size(bytes, ARENA_ALIGNMENT - 1, &rounded))
        rounded -= rounded % ARENA_ALIGNMENT;
    if (!block || block->size - block->used < rounded)
        block = add_block(ctx, arena, rounded);
    if (!block) return NULL;
    void *ptr = (char *)(block + 1) + block->used;
    block->used += rounded;
    return ptr;
}

char *icd_i_arena_strdup(icd_ctx *ctx, icd_arena *arena, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = icd_i_arena_alloc(ctx, arena, bytes);
    if (copy) memcpy(copy, text, bytes);
    return copy;
}
