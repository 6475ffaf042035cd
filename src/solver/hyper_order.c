#include "solver/hyper.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* Greedy union sweeps all sets once a granule; beyond this many entries frequency sort
 * stands. */
#define GREEDY_WORK (INT64_C(1) << 31)

typedef struct ranked {
    double frequency;
    int32_t index;
} ranked;

static int by_frequency_falling(const void *x, const void *y)
{
    const ranked *a = x, *b = y;
    if (a->frequency != b->frequency) return a->frequency < b->frequency ? 1 : -1;
    return a->index < b->index ? -1 : 1;
}

static icd_status rank_free(icd_ctx *ctx, const icd_access *sets, const uint8_t *frozen,
                            ranked **out, int64_t *count)
{
    icd_status status;
    double *frequency = NULL;
    ranked *rank = NULL;
    *out = NULL;
    *count = 0;
    ICD_TRY(ICD_ALLOC(ctx, sets->n, &frequency));
    ICD_TRY(ICD_ALLOC(ctx, sets->n, &rank));
    icd_access_frequency(sets, frequency);
    for (int64_t i = 0; i < sets->n; ++i)
        if (!frozen || !frozen[i]) rank[(*count)++] = (ranked){frequency[i], (int32_t)i};
    if (*count > 1) qsort(rank, (size_t)*count, sizeof *rank, by_frequency_falling);
    *out = rank;
    rank = NULL;
done:
    icd_i_free(ctx, frequency);
    icd_i_free(ctx, rank);
    return status;
}

/* Frozen indices stand at their own number; the others fill the gaps in the order given.
 */
static void place(const uint8_t *frozen, int64_t n, const ranked *rank, int32_t *order)
{
    int64_t next = 0;
    for (int64_t k = 0; k < n; ++k)
        order[k] = frozen && frozen[k] ? (int32_t)k : rank[next++].index;
}

typedef struct greedy {
    const icd_access *sets;
    int64_t *index_ptr; /* events of an index */
    int32_t *index_event;
    double *growth;   /* by how much an index would enlarge the union */
    int64_t *covered; /* 1 + the last granule that covered an event */
    uint8_t *used;
} greedy;

static double weight_of(const icd_access *sets, int64_t e)
{
    return sets->weight ? (double)sets->weight[e] : 1;
}

static icd_status greedy_init(icd_ctx *ctx, const icd_access *sets, greedy *u)
{
    icd_status status;
    int64_t entries = sets->event_ptr[sets->events];
    u->sets = sets;
    ICD_TRY(ICD_ALLOC(ctx, sets->n + 2, &u->index_ptr));
    ICD_TRY(ICD_ALLOC(ctx, entries, &u->index_event));
    ICD_TRY(ICD_ALLOC(ctx, sets->n, &u->growth));
    ICD_TRY(ICD_ALLOC(ctx, sets->events, &u->covered));
    ICD_TRY(ICD_ALLOC(ctx, sets->n, &u->used));
    int64_t *fill = u->index_ptr + 1;
    for (int64_t k = 0; k < entries; ++k) fill[sets->index[k] + 1]++;
    for (int64_t i = 0; i < sets->n; ++i) fill[i + 1] += fill[i];
    for (int64_t e = 0; e < sets->events; ++e)
        for (int64_t k = sets->event_ptr[e]; k < sets->event_ptr[e + 1]; ++k)
            u->index_event[fill[sets->index[k]]++] = (int32_t)e;
done:
    return status;
}

static void greedy_release(icd_ctx *ctx, greedy *u)
{
    icd_i_free(ctx, u->index_ptr);
    icd_i_free(ctx, u->index_event);
    icd_i_free(ctx, u->growth);
    icd_i_free(ctx, u->covered);
    icd_i_free(ctx, u->used);
}

/* Takes an index into the union of granule number `mark` (1-based). */
static void greedy_take(greedy *u, int32_t i, int64_t mark)
{
    const icd_access *sets = u->sets;
    u->used[i] = 1;
    for (int64_t k = u->index_ptr[i]; k < u->index_ptr[i + 1]; ++k) {
        int32_t e = u->index_event[k];
        if (u->covered[e] == mark) continue;
        u->covered[e] = mark;
        for (int64_t m = sets->event_ptr[e]; m < sets->event_ptr[e + 1]; ++m)
            u->growth[sets->index[m]] -= weight_of(sets, e);
    }
}

/* The unused index of least growth; ties go to the rarer one. */
static int64_t greedy_pick(const greedy *u, const ranked *rank, int64_t count)
{
    int64_t best = -1;
    for (int64_t k = count; k-- > 0;) {
        int32_t i = rank[k].index;
        if (u->used[i]) continue;
        if (best < 0 || u->growth[i] < u->growth[rank[best].index]) best = k;
    }
    return best;
}

/* Granules are filled from the rarest index up and laid down from the last slot back. */
static icd_status greedy_union(icd_ctx *ctx, const icd_access *sets, int32_t granule,
                               const ranked *rank, int64_t count, ranked *out)
{
    icd_status status;
    greedy u = {0};
    int64_t mark = 0, left = count;
    ICD_TRY(greedy_init(ctx, sets, &u));
    while (left) {
        /* the short granule is the last one */
        int64_t size = left == count && count % granule ? count % granule : granule;
        for (int64_t k = 0; k < count; ++k) u.growth[rank[k].index] = rank[k].frequency;
        ++mark;
        for (; size; --size) {
            int64_t k = greedy_pick(&u, rank, count);
            greedy_take(&u, rank[k].index, mark);
            out[--left] = rank[k];
        }
        ICD_TRY(icd_i_check_cancel(ctx));
    }
done:
    greedy_release(ctx, &u);
    return status;
}

icd_status icd_i_hyper_order(icd_ctx *ctx, const icd_access *sets,
                             const icd_hyper_params *params, int32_t *old_of_new)
{
    icd_status status;
    ranked *rank = NULL, *united = NULL;
    int32_t *order = NULL;
    int64_t count = 0, entries = sets->event_ptr[sets->events];
    double sorted, greedy_cost;
    ICD_TRY(icd_i_hyper_check(ctx, sets, params->granule));
    ICD_TRY(rank_free(ctx, sets, params->frozen, &rank, &count));
    place(params->frozen, sets->n, rank, old_of_new);
    if (entries * (sets->n / params->granule + 1) > GREEDY_WORK) goto done;
    ICD_TRY(ICD_ALLOC(ctx, count, &united));
    ICD_TRY(ICD_ALLOC(ctx, sets->n, &order));
    ICD_TRY(greedy_union(ctx, sets, params->granule, rank, count, united));
    place(params->frozen, sets->n, united, order);
    ICD_TRY(icd_i_hyper_touched(ctx, sets, params->granule, old_of_new, &sorted));
    ICD_TRY(icd_i_hyper_touched(ctx, sets, params->granule, order, &greedy_cost));
    if (greedy_cost < sorted) memcpy(old_of_new, order, (size_t)sets->n * sizeof *order);
done:
    icd_i_free(ctx, rank);
    icd_i_free(ctx, united);
    icd_i_free(ctx, order);
    return status;
}
