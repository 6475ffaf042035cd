/* Chunks of huge pages, cut first-fit into blocks; freed neighbours become one.
   base/mem.c stands on this file, which takes its own memory from the C library. */
#include "base/region.h"

#include "base/ctx_private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20, CHUNK = 32 << 20, LINE = 64 };

/* Stands in front of what was given out, one cache line; blocks of a chunk follow one
 * another by address. */
typedef struct block {
    struct block *next, *prev; /* neighbours in the chunk; NULL at its ends */
    icd_region *region;
    size_t bytes; /* behind this head */
    bool used;
    bool clean; /* never given out: the system's zeros */
    char pad[LINE - 5 * sizeof(void *) - 8];
    void *raw; /* NULL: see icd_i_free */
} block;
_Static_assert(sizeof(block) == LINE, "a head is a cache line");

typedef struct chunk {
    struct chunk *next;
    void *mapping;
    size_t mapped;
    block *first;
} chunk;

struct icd_region {
    pthread_mutex_t lock;
    chunk *first, *last;
    size_t bytes;
};

icd_status icd_i_region_new(icd_ctx *ctx, icd_region **out)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return icd_i_fail(ctx, ICD_ENOMEM, NULL, NULL, "not enough memory for a region");
    pthread_mutex_init(&(*out)->lock, NULL);
    return ICD_OK;
}

void icd_i_region_enter(icd_ctx *ctx, icd_region *region)
{
    if (ctx->libc) ctx->region = region;
}

void icd_i_region_leave(icd_ctx *ctx)
{
    ctx->region = NULL;
}

void icd_i_region_free(icd_region *region)
{
    if (!region) return;
    for (chunk *c = region->first, *next = NULL; c; c = next) {
        next = c->next;
        munmap(c->mapping, c->mapped);
        free(c);
    }
    pthread_mutex_destroy(&region->lock);
    free(region);
}

size_t icd_i_region_bytes(const icd_region *region)
{
    return region->bytes;
}

static size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

/* A chunk that holds at least `bytes` behind one head. Huge pages are a wish: a system
 * without them gives small ones. */
static block *add_chunk(icd_region *region, size_t bytes)
{
    size_t size = round_up(bytes + sizeof(block), HUGE_PAGE);
    if (size < CHUNK) size = CHUNK;
    chunk *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->mapped = size + HUGE_PAGE;
    c->mapping = mmap(NULL, c->mapped, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (c->mapping == MAP_FAILED) {
        free(c);
        return NULL;
    }
    c->first = (block *)round_up((uintptr_t)c->mapping, HUGE_PAGE);
    madvise(c->first, size, MADV_HUGEPAGE);
    *c->first = (block){.region = region, .bytes = size - sizeof(block), .clean = true};
    if (region->last)
        region->last->next = c;
    else
        region->first = c;
    region->last = c;
    region->bytes += size;
    return c->first;
}

static block *first_fit(const icd_region *region, size_t bytes)
{
    for (const chunk *c = region->first; c; c = c->next)
        for (block *b = c->first; b; b = b->next)
            if (!b->used && b->bytes >= bytes) return b;
    return NULL;
}

/* Leaves `bytes` in b; the rest becomes a block of its own. */
static void cut(block *b, size_t bytes)
{
    if (b->bytes - bytes < 2 * sizeof(block)) return;
    block *rest = (block *)((char *)(b + 1) + bytes);
    *rest = (block){.next = b->next,
                    .prev = b,
                    .region = b->region,
                    .bytes = b->bytes - bytes - sizeof(block),
                    .clean = b->clean};
    if (rest->next) rest->next->prev = rest;
    b->next = rest;
    b->bytes = bytes;
}

void *icd_i_region_give(icd_region *region, size_t bytes)
{
    if (bytes > PTRDIFF_MAX / 2) return NULL;
    bytes = round_up(bytes ? bytes : 1, LINE);
    pthread_mutex_lock(&region->lock);
    block *b = first_fit(region, bytes);
    if (!b) b = add_chunk(region, bytes);
    if (b) {
        cut(b, bytes);
        b->used = true;
    }
    pthread_mutex_unlock(&region->lock);
    if (!b) return NULL;
    if (!b->clean) memset(b + 1, 0, bytes);
    b->clean = false;
    return b + 1;
}

/* b and the block behind it become one. */
static void join(block *b)
{
    block *next = b->next;
    b->bytes += sizeof(block) + next->bytes;
    b->next = next->next;
    if (b->next) b->next->prev = b;
    b->clean = false; /* the head of `next` lies in it */
}

void icd_i_region_take(void *ptr)
{
    block *b = (block *)ptr - 1;
    pthread_mutex_t *lock = &b->region->lock;
    pthread_mutex_lock(lock);
    b->used = false;
    if (b->next && !b->next->used) join(b);
    if (b->prev && !b->prev->used) join(b->prev);
    pthread_mutex_unlock(lock);
}
