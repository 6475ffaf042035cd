#include "solver/hyper_anneal.h"

#include "base/clock.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Offers between two looks at the clock: some tens of microseconds. */
#define STRETCH    1024
#define LOG_STEPS  4096
#define MAX_SWEEPS 64
/* Share of the cooling before the first vote. */
#define VOTE_FROM .2
/* Debug builds recompute small states after the 1st, 2nd, 4th, 8th... swap. */
#define CHECK_WORK 100000

static void list_free(icd_hyper_chain *c, const uint8_t *frozen)
{
    const icd_hyper *h = &c->h;
    for (int idle = 0; idle < 2; ++idle) {
        for (int32_t i = 0; i < h->n; ++i) {
            bool has_events = h->index_ptr[i + 1] > h->index_ptr[i];
            if (has_events != idle && !(frozen && frozen[h->global[i]]))
                c->free_index[c->free_count++] = i;
        }
        if (!idle) c->busy_count = c->free_count;
    }
}

icd_status icd_i_hyper_chain_init(icd_ctx *ctx, const icd_hyper_source *source,
                                  uint64_t stream, icd_hyper_chain *out)
{
    icd_status status;
    memset(out, 0, sizeof *out);
    ICD_TRY(icd_i_hyper_init(ctx, source->sets, source->granule, source->stride,
                             &source->window, &out->h));
    ICD_TRY(ICD_ALLOC(ctx, out->h.n, &out->free_index));
    ICD_TRY(ICD_ALLOC(ctx, out->h.n, &out->best_slot));
    ICD_TRY(ICD_ALLOC(ctx, LOG_STEPS, &out->threshold));
    if (source->votes) ICD_TRY(icd_i_hyper_votes_init(ctx, &out->h, &out->votes));
    list_free(out, source->frozen);
    for (int k = 0; k < LOG_STEPS; ++k) out->threshold[k] = -log((k + .5) / LOG_STEPS);
    icd_i_rng_init(&out->rng, source->seed, stream);
done:
    return status;
}

void icd_i_hyper_chain_release(icd_ctx *ctx, icd_hyper_chain *c)
{
    icd_i_hyper_release(ctx, &c->h);
    icd_i_hyper_votes_release(ctx, &c->votes);
    icd_i_free(ctx, c->free_index);
    icd_i_free(ctx, c->best_slot);
    icd_i_free(ctx, c->threshold);
    memset(c, 0, sizeof *c);
}

/* One of the first `count` free indices. */
static int32_t pick(icd_hyper_chain *c, int64_t count)
{
    uint64_t draw = icd_i_rng_u32(&c->rng);
    return c->free_index[draw * (uint64_t)count >> 32];
}

static void keep_best(icd_hyper_chain *c)
{
    if (c->h.cost >= c->best_cost) return;
    c->best_cost = c->h.cost;
    memcpy(c->best_slot, c->h.slot_of, (size_t)c->h.n * sizeof *c->best_slot);
}

#ifdef ICD_DEBUG_CHECKS
static bool worth_a_check(const icd_hyper_chain *c)
{
    bool power_of_two = !(c->accepted & (c->accepted - 1));
    return power_of_two && c->h.event_ptr[c->h.events] * c->h.granules < CHECK_WORK;
}
#endif

/* @return whether the swap was made */
static bool offer(icd_hyper_chain *c, int32_t i, int32_t j, double limit)
{
    icd_hyper *h = &c->h;
    if ((double)icd_i_hyper_swap_bound(h, i, j) > limit) return false;
    int64_t delta = icd_i_hyper_swap_delta(h, i, j);
    if ((double)delta > limit) return false;
    icd_i_hyper_swap(h, i, j, delta);
    c->accepted++;
#ifdef ICD_DEBUG_CHECKS
    assert(!worth_a_check(c) || icd_i_hyper_consistent(h));
#endif
    return true;
}

/* Swaps of two indices without events change nothing and are not offered. */
static void anneal_stretch(icd_hyper_chain *c, double temperature)
{
    const icd_hyper *h = &c->h;
    for (int k = 0; k < STRETCH; ++k) {
        int32_t i = pick(c, c->busy_count), j = pick(c, c->free_count);
        uint32_t u = icd_i_rng_u32(&c->rng) / (UINT32_MAX / LOG_STEPS + 1);
        if (h->granule_of[i] != h->granule_of[j])
            offer(c, i, j, temperature * c->threshold[u]);
    }
    c->offered += STRETCH;
    keep_best(c);
}

static bool must_stop(const icd_ctx *ctx, icd_hyper_chain *c,
                      const icd_hyper_stage *stage)
{
    if (stage->deadline > 0 && icd_i_now() >= stage->deadline) c->stopped = true;
    if (icd_i_cancelled(ctx)) c->stopped = true;
    return c->stopped;
}

/* What a stage had behind it when it began. */
typedef struct beginning {
    double time;
    int64_t offered, accepted;
} beginning;

/* Share of the cooling that is done, by what was offered and made or by the clock. */
static double progress(const icd_hyper_chain *c, const icd_hyper_stage *stage,
                       const beginning *from)
{
    if (stage->cool_until <= 0)
        return (double)(c->offered - from->offered) / (double)stage->offers +
               (double)(c->accepted - from->accepted) / (double)stage->swaps;
    double now = icd_i_now();
    return now < stage->cool_until ? (now - from->time) / (stage->cool_until - from->time)
                                   : 1;
}

static void cool(const icd_ctx *ctx, icd_hyper_chain *c, const icd_hyper_stage *stage)
{
    beginning from = {icd_i_now(), c->offered, c->accepted};
    double next_vote = stage->vote ? VOTE_FROM : 2;
    for (double done = 0; done < 1; done = progress(c, stage, &from)) {
        if (must_stop(ctx, c, stage)) return;
        anneal_stretch(c, stage->hot * pow(stage->cold / stage->hot, done));
        if (done < next_vote) continue;
        icd_i_hyper_votes_count(&c->votes, &c->h);
        next_vote = done + (1 - VOTE_FROM) / ICD_HYPER_VOTES;
    }
}

/* @return whether some swap with one index bettered the order */
static bool descend_from(icd_hyper_chain *c, int64_t first)
{
    int32_t i = c->free_index[first];
    bool improved = false;
    for (int64_t k = first + 1; k < c->free_count; ++k) {
        int32_t j = c->free_index[k];
        if (c->h.granule_of[i] != c->h.granule_of[j]) improved |= offer(c, i, j, -.5);
    }
    c->offered += c->free_count - first - 1;
    return improved;
}

/* All pairs, until no swap helps. */
static void descend(const icd_ctx *ctx, icd_hyper_chain *c, const icd_hyper_stage *stage)
{
    bool improved = true;
    for (int sweep = 0; sweep < MAX_SWEEPS && improved; ++sweep) {
        improved = false;
        for (int64_t k = 0; k < c->free_count; ++k) {
            if (must_stop(ctx, c, stage)) return;
            improved |= descend_from(c, k);
        }
    }
}

void icd_i_hyper_chain_run(const icd_ctx *ctx, icd_hyper_chain *c,
                           const icd_hyper_stage *stage)
{
    if (c->stopped || !c->busy_count || c->free_count < 2 || c->h.granules < 2) return;
    icd_i_hyper_soften(&c->h, stage->p);
    c->best_cost = INT64_MAX;
    keep_best(c);
    if (stage->vote) icd_i_hyper_votes_clear(&c->votes, &c->h);
    if (stage->hot > 0) cool(ctx, c, stage);
    if (stage->vote && !c->stopped)
        icd_i_hyper_votes_settle(&c->votes, &c->h, c->free_index, c->free_count);
    descend(ctx, c, stage);
    keep_best(c);
    if (c->best_cost < c->h.cost) icd_i_hyper_place(&c->h, c->best_slot);
}
