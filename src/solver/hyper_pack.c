#include "solver/hyper_pack.h"

#include "base/mem.h"
#include "base/rng.h"

#include <stdlib.h>
#include <string.h>

/* A free index: the exclusive or of its events' random numbers, and where it stands. */
typedef struct key {
    uint64_t events;
    int32_t slot;
} key;

typedef struct packing {
    const icd_access *sets;
    const uint8_t *frozen;
    int32_t granule;
    int32_t *order;   /* of the caller */
    uint8_t *settled; /* of the caller */
    uint64_t *events; /* of an index */
    key *free;        /* by events, then by slot */
    int32_t *equals;  /* granule by granule */
    int32_t *before;  /* the order given */
    int64_t free_count, room;
    int64_t filled; /* granules */
} packing;

static int by_events(const void *a, const void *b)
{
    const key *x = a, *y = b;
    if (x->events != y->events) return x->events < y->events ? -1 : 1;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

static bool is_frozen(const packing *p, int64_t slot)
{
    return p->frozen && p->frozen[p->order[slot]];
}

static bool all_free(const packing *p, int64_t granule)
{
    int64_t begin = granule * p->granule, end = begin + p->granule;
    for (int64_t k = begin; k < end; ++k)
        if (is_frozen(p, k)) return false;
    return true;
}

static void release(icd_ctx *ctx, packing *p)
{
    icd_i_free(ctx, p->events);
    icd_i_free(ctx, p->free);
    icd_i_free(ctx, p->equals);
    icd_i_free(ctx, p->before);
}

static icd_status init(icd_ctx *ctx, packing *p)
{
    icd_status status;
    int64_t n = p->sets->n;
    ICD_TRY(ICD_ALLOC(ctx, n, &p->events));
    ICD_TRY(ICD_ALLOC(ctx, n, &p->free));
    ICD_TRY(ICD_ALLOC(ctx, n, &p->equals));
    ICD_TRY(ICD_ALLOC(ctx, n, &p->before));
    if (n) memcpy(p->before, p->order, (size_t)n * sizeof *p->before);
    for (int64_t k = 0; k < n; ++k) p->settled[k] = p->frozen && p->frozen[k];
    for (int64_t g = 0; g < n / p->granule; ++g) p->room += all_free(p, g);
done:
    return status;
}

/* Two that differ get the same number with a chance of 2^-64: a worse order, not a wrong
 * one. */
static void number_events(packing *p)
{
    const icd_access *a = p->sets;
    icd_rng rng;
    icd_i_rng_init(&rng, 0, 0);
    for (int64_t e = 0; e < a->events; ++e) {
        uint64_t number = icd_i_rng_u64(&rng);
        for (int64_t k = a->event_ptr[e]; k < a->event_ptr[e + 1]; ++k)
            p->events[a->index[k]] ^= number;
    }
}

static void sort_free(packing *p)
{
    for (int64_t k = 0; k < p->sets->n; ++k)
        if (!is_frozen(p, k))
            p->free[p->free_count++] = (key){p->events[p->order[k]], (int32_t)k};
    if (p->free_count > 1)
        qsort(p->free, (size_t)p->free_count, sizeof *p->free, by_events);
}

/* Whole granules of the keys first..end-1, which are equals. */
static void take_run(packing *p, int64_t first, int64_t end)
{
    for (; end - first >= p->granule && p->filled < p->room; first += p->granule) {
        for (int32_t k = 0; k < p->granule; ++k) {
            int32_t index = p->order[p->free[first + k].slot];
            p->equals[p->filled * p->granule + k] = index;
            p->settled[index] = 1;
        }
        p->filled++;
    }
}

static void take_equals(packing *p)
{
    for (int64_t first = 0, end; first < p->free_count; first = end) {
        for (end = first + 1; end < p->free_count; ++end)
            if (p->free[end].events != p->free[first].events) break;
        take_run(p, first, end);
    }
}

/* Granules of equals come first, as far as frozen slots allow. */
static void place(packing *p)
{
    int64_t n = p->sets->n, placed = 0, next = 0;
    for (int64_t g = 0; g * p->granule < n; ++g) {
        int64_t begin = g * p->granule, end = begin + p->granule;
        bool equals = end <= n && placed < p->filled && all_free(p, g);
        for (int64_t k = begin; k < end && k < n; ++k) {
            if (equals) {
                p->order[k] = p->equals[placed * p->granule + k - begin];
            } else if (!is_frozen(p, k)) {
                while (p->settled[p->before[next]]) ++next;
                p->order[k] = p->before[next++];
            }
        }
        placed += equals;
    }
}

icd_status icd_i_hyper_pack(icd_ctx *ctx, const icd_access *sets, int32_t granule,
                            const uint8_t *frozen, int32_t *old_of_new, uint8_t *settled,
                            int64_t *granules)
{
    icd_status status;
    packing p = {.sets = sets,
                 .frozen = frozen,
                 .granule = granule,
                 .order = old_of_new,
                 .settled = settled};
    *granules = 0;
    ICD_TRY(init(ctx, &p));
    number_events(&p);
    sort_free(&p);
    take_equals(&p);
    if (p.filled) place(&p);
    *granules = p.filled;
done:
    release(ctx, &p);
    return status;
}
