#include "solver/hyper_anneal.h"

#include "base/clock.h"
#include "base/rng.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Offers between two looks at the clock: some tens of microseconds. */
#define STRETCH    4096
#define LOG_STEPS  4096
#define PROBES     2048
#define MAX_SWEEPS 64

typedef struct annealer {
    icd_hyper *h;
    const icd_hyper_plan *plan;
    icd_hyper_stats *stats;
    int32_t *free_index; /* the indices that may move */
    int64_t free_count;
    int32_t *best_slot;
    int64_t best_cost;
    double *threshold; /* -ln u at LOG_STEPS even values of u */
    icd_rng rng;
    double begun;
    bool stopped;
} annealer;

static int32_t pick(annealer *a)
{
    uint64_t draw = icd_i_rng_u32(&a->rng);
    return a->free_index[draw * (uint64_t)a->free_count >> 32];
}

double icd_i_hyper_temperature(icd_hyper *h, double rate, uint64_t seed)
{
    icd_rng rng;
    double delta[PROBES], low = 0, high = 0;
    int64_t count = 0;
    icd_i_rng_init(&rng, seed, 0);
    for (int64_t k = 0; k < PROBES; ++k) {
        int32_t i = (int32_t)icd_i_rng_below(&rng, h->n);
        int32_t j = (int32_t)icd_i_rng_below(&rng, h->n);
        if (h->granule_of[i] == h->granule_of[j]) continue;
        double d = (double)icd_i_hyper_swap_delta(h, i, j);
        if (d <= 0) continue;
        delta[count++] = d;
        high = fmax(high, d / -log(rate));
    }
    for (int step = 0; step < 40; ++step) {
        double middle = .5 * (low + high), accepted = 0;
        for (int64_t k = 0; k < count; ++k) accepted += exp(-delta[k] / middle);
        if (accepted < rate * (double)count)
            low = middle;
        else
            high = middle;
    }
    return high;
}

static void keep_best(annealer *a)
{
    if (a->h->cost >= a->best_cost) return;
    a->best_cost = a->h->cost;
    memcpy(a->best_slot, a->h->slot_of, (size_t)a->h->n * sizeof *a->best_slot);
}

/* @return whether the swap was made */
static bool offer(annealer *a, int32_t i, int32_t j, double limit)
{
    icd_hyper *h = a->h;
    if ((double)icd_i_hyper_swap_bound(h, i, j) > limit) return false;
    int64_t delta = icd_i_hyper_swap_delta(h, i, j);
    if ((double)delta > limit) return false;
    icd_i_hyper_swap(h, i, j, delta);
#ifdef ICD_DEBUG_CHECKS
    assert((a->stats->accepted & (a->stats->accepted - 1)) || icd_i_hyper_consistent(h));
#endif
    a->stats->accepted++;
    return true;
}

static void anneal_stretch(annealer *a, double temperature, int64_t offers)
{
    icd_hyper *h = a->h;
    for (int64_t k = 0; k < offers; ++k) {
        int32_t i = pick(a), j = pick(a);
        uint32_t u = icd_i_rng_u32(&a->rng) / (UINT32_MAX / LOG_STEPS + 1);
        if (h->granule_of[i] == h->granule_of[j]) continue;
        offer(a, i, j, temperature * a->threshold[u]);
    }
    a->stats->offered += offers;
    keep_best(a);
}

/* Share of the plan that is done, by offers or by the clock. */
static double progress(annealer *a, int64_t offered)
{
    if (!a->plan->clocked) return (double)offered / (double)a->plan->offers;
    return (icd_i_now() - a->begun) / (a->plan->deadline - a->begun);
}

static icd_status check_clock(icd_ctx *ctx, annealer *a)
{
    if (a->plan->deadline > 0 && icd_i_now() >= a->plan->deadline) a->stopped = true;
    return icd_i_check_cancel(ctx);
}

static icd_status cool(icd_ctx *ctx, annealer *a)
{
    icd_status status = ICD_OK;
    const icd_hyper_plan *plan = a->plan;
    double done = 0;
    for (int64_t offered = 0; done < 1; offered += STRETCH) {
        ICD_TRY(check_clock(ctx, a));
        if (a->stopped) break;
        anneal_stretch(a, plan->hot * pow(plan->cold / plan->hot, done), STRETCH);
        done = progress(a, offered + STRETCH);
    }
done:
    return status;
}

/* @return whether some swap with i bettered the order */
static bool descend_from(annealer *a, int64_t first)
{
    icd_hyper *h = a->h;
    int32_t i = a->free_index[first];
    bool improved = false;
    for (int64_t k = first + 1; k < a->free_count; ++k) {
        int32_t j = a->free_index[k];
        if (h->granule_of[i] != h->granule_of[j]) improved |= offer(a, i, j, -.5);
    }
    a->stats->offered += a->free_count - first - 1;
    return improved;
}

/* All pairs, until no swap helps. */
static icd_status descend(icd_ctx *ctx, annealer *a)
{
    icd_status status = ICD_OK;
    bool improved = true;
    for (int sweep = 0; sweep < MAX_SWEEPS && improved && !a->stopped; ++sweep) {
        improved = false;
        for (int64_t k = 0; k < a->free_count && !a->stopped; ++k) {
            improved |= descend_from(a, k);
            ICD_TRY(check_clock(ctx, a));
        }
    }
    keep_best(a);
done:
    return status;
}

static icd_status prepare(icd_ctx *ctx, annealer *a, const uint8_t *frozen)
{
    icd_status status;
    ICD_TRY(ICD_ALLOC(ctx, a->h->n, &a->free_index));
    ICD_TRY(ICD_ALLOC(ctx, a->h->n, &a->best_slot));
    ICD_TRY(ICD_ALLOC(ctx, LOG_STEPS, &a->threshold));
    for (int32_t i = 0; i < a->h->n; ++i)
        if (!frozen || !frozen[i]) a->free_index[a->free_count++] = i;
    for (int k = 0; k < LOG_STEPS; ++k) a->threshold[k] = -log((k + .5) / LOG_STEPS);
    icd_i_rng_init(&a->rng, a->plan->seed, a->plan->stream);
    a->begun = icd_i_now();
    a->best_cost = INT64_MAX;
    keep_best(a);
done:
    return status;
}

icd_status icd_i_hyper_anneal(icd_ctx *ctx, icd_hyper *h, const icd_hyper_plan *plan,
                              const uint8_t *frozen, icd_hyper_stats *stats)
{
    icd_status status;
    annealer a = {.h = h, .plan = plan, .stats = stats};
    ICD_TRY(prepare(ctx, &a, frozen));
    if (a.free_count >= 2 && h->granules >= 2) {
        if (plan->hot > 0 && plan->offers > 0) ICD_TRY(cool(ctx, &a));
        if (!a.stopped || plan->clocked) a.stopped = false;
        ICD_TRY(descend(ctx, &a));
    }
    if (a.stopped) stats->timed_out = true;
    memcpy(h->slot_of, a.best_slot, (size_t)h->n * sizeof *a.best_slot);
    h->cost = a.best_cost;
done:
    icd_i_free(ctx, a.free_index);
    icd_i_free(ctx, a.best_slot);
    icd_i_free(ctx, a.threshold);
    return status;
}
