#include "solver/hyper.h"

#include "base/clock.h"
#include "base/threads.h"
#include "solver/hyper_anneal.h"
#include "solver/hyper_pack.h"
#include "solver/hyper_split.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Slots solved together: join needs window^2 / g integers. */
#define WINDOW_SLOTS 8192
/* Cells of a window: 512 MiB. Beyond, the window learns from every k-th event. */
#define CELLS_MAX (INT64_C(1) << 26)

/* Share of the time for what is left over beside granules of equals. */
static const double REST_TIME = .25;

/* Mean events of an index up to which the objective is softened. */
#define FEW_EVENTS 64

icd_status icd_i_hyper_check(icd_ctx *ctx, const icd_access *sets, int32_t granule)
{
    if (granule < 1)
        return icd_i_fail(ctx, ICD_EINVAL, "granule", NULL,
                          "found %" PRId32 ", expected 1 or more", granule);
    if (sets->n > INT32_MAX)
        return icd_i_fail(ctx, ICD_EINVAL, "access sets", NULL,
                          "found %" PRId64 " indices, expected %" PRId32 " at most",
                          sets->n, INT32_MAX);
    return ICD_OK;
}

icd_status icd_i_hyper_touched(icd_ctx *ctx, const icd_access *sets, int32_t granule,
                               const int32_t *old_of_new, double *out)
{
    icd_status status;
    int32_t *granule_of = NULL;
    int64_t *seen = NULL;
    double sum = 0;
    ICD_TRY(icd_i_hyper_check(ctx, sets, granule));
    ICD_TRY(ICD_ALLOC(ctx, sets->n, &granule_of));
    ICD_TRY(ICD_ALLOC(ctx, sets->n / granule + 1, &seen));
    for (int64_t k = 0; k < sets->n; ++k)
        granule_of[old_of_new[k]] = (int32_t)(k / granule);
    for (int64_t e = 0; e < sets->events; ++e) {
        int64_t touched = 0;
        for (int64_t k = sets->event_ptr[e]; k < sets->event_ptr[e + 1]; ++k) {
            int64_t *mark = seen + granule_of[sets->index[k]];
            touched += *mark != e + 1;
            *mark = e + 1;
        }
        sum += (double)touched * (sets->weight ? (double)sets->weight[e] : 1);
    }
    *out = sum;
done:
    icd_i_free(ctx, granule_of);
    icd_i_free(ctx, seen);
    return status;
}

/* What the windows of one refinement share. */
typedef struct refinement {
    const icd_access *sets;
    const icd_hyper_params *params;
    int32_t *order;
    icd_hyper_stats *stats;
    uint64_t stream;
    double softness;   /* of events that are many */
    double window_end; /* effort high: when the present window's time is up */
} refinement;

#define STAGES_MAX 10
#define CHAINS_MAX 16

/* The stages of a window and how many chains run them; the best chain wins. */
typedef struct schedule {
    icd_hyper_stage stage[STAGES_MAX];
    int32_t stages, chains;
} schedule;

/* What an effort spends in a stage: passes over all pairs, offers and swaps at most. */
typedef struct spending {
    int64_t passes, offers, swaps;
    double warmth; /* of the first temperature */
    int32_t chains;
} spending;

static const spending spend_many[] = {[ICD_EFFORT_LOW] = {2, 1 << 21, 10000, .25, 1},
                                      [ICD_EFFORT_DEFAULT] = {16, 1 << 24, 150000, 1, 1},
                                      [ICD_EFFORT_HIGH] = {160, 1 << 27, 1000000, 1.5, 1},
                                      [ICD_HYPER_TRIAL] = {8, 1 << 23, 20000, 1, 1}};
static const spending spend_few[] = {[ICD_EFFORT_LOW] = {1, 1 << 18, 1 << 20, 1, 1},
                                     [ICD_EFFORT_DEFAULT] = {80, 1 << 20, 1 << 23, 1, 2},
                                     [ICD_EFFORT_HIGH] = {400, 1 << 25, 1 << 27, 1, 8},
                                     [ICD_HYPER_TRIAL] = {1, 1 << 18, 1 << 20, 1, 1}};

/* What an effort may spend on swaps, in memberships looked at: a swap walks the events of
   its two indices, and where a cell empties or fills it tells all members of the event.
 */
static const double work_of_effort[] = {[ICD_EFFORT_LOW] = 5e8,
                                        [ICD_EFFORT_DEFAULT] = 4e10,
                                        [ICD_EFFORT_HIGH] = 1e18,
                                        [ICD_HYPER_TRIAL] = 4e9};

/* Dense traces are sampled: every stride-th event, so that memory and work stay bounded.
 */
static int64_t stride_of(const icd_access *sets, int64_t slots, int32_t granule,
                         int32_t effort)
{
    int64_t granules = (slots + granule - 1) / granule;
    if (!sets->events || !sets->n) return 1;
    double members = (double)sets->event_ptr[sets->events];
    double a_swap = 2 * members / (double)sets->n * members / (double)sets->events;
    double work = a_swap * (double)spend_many[effort].swaps;
    int64_t for_memory = 1 + granules * sets->events / CELLS_MAX;
    int64_t for_work = (int64_t)ceil(work / work_of_effort[effort]);
    return for_work > for_memory ? for_work : for_memory;
}

static int64_t offers_of(const spending *s, const icd_hyper_chain *c, int64_t steps)
{
    int64_t pairs = c->free_count * (c->free_count - 1) / 2;
    int64_t passes = s->passes < steps ? s->passes : steps;
    return passes * pairs < s->offers ? passes * pairs : s->offers;
}

/* Where an index has few events, a swap changes few of them: deltas are small integers,
 * the plain objective is all plateaus, and only a softened one knows the way. */
static bool few_events(const icd_access *sets)
{
    return sets->event_ptr[sets->events] <= FEW_EVENTS * sets->n;
}

static double mean_weight(const icd_hyper *h)
{
    double sum = 0;
    for (int64_t e = 0; e < h->events; ++e) sum += h->weight[e];
    return h->events ? sum / (double)h->events : 0;
}

/* From nearly linear to plain, barely warm: enough to walk along plateaus. How warm is
 * best differs from mask to mask, so each chain has a temperature of its own. */
static void plan_few(const icd_hyper_chain *c, schedule *s)
{
    s->stages = STAGES_MAX;
    for (int32_t k = 0; k < STAGES_MAX; ++k) {
        double p = (double)(k + 1) / STAGES_MAX;
        double hot = .06 * mean_weight(&c->h) * (p < 1 ? p * ICD_HYPER_WHOLE : 1);
        s->stage[k] = (icd_hyper_stage){.p = p, .hot = hot, .cold = .5 * hot};
    }
}

static double warmth_of_chain(int64_t k)
{
    static const double warmth[] = {1, 2, .5, 3};
    return warmth[k % 4];
}

static double mean_index_weight(const icd_hyper *h)
{
    double sum = 0;
    for (int64_t e = 0; e < h->events; ++e)
        sum += (double)h->weight[e] * (double)(h->event_ptr[e + 1] - h->event_ptr[e]);
    return h->n ? sum / h->n : 0;
}

/* From a temperature (found by trial on real traces) that keeps the structure of the
 * start. Soft to the end where the events are a sample: one that touches a granule
 * through a single index may not do so the next time. */
static void plan_many(const icd_hyper_chain *c, double warmth, double softness,
                      schedule *s)
{
    double p = fmin(softness, ICD_HYPER_SOFTNESS);
    double hot = warmth * p * ICD_HYPER_WHOLE * mean_index_weight(&c->h) /
                 fmax(60, 14 * sqrt(c->h.granule));
    s->stage[0] = (icd_hyper_stage){.p = p, .hot = hot, .cold = .4 * hot, .vote = true};
    s->stage[1] = (icd_hyper_stage){.p = softness};
    s->stages = softness > p ? 2 : 1;
}

static void plan_window(const icd_ctx *ctx, const refinement *r, icd_hyper_chain *c,
                        schedule *s)
{
    const icd_hyper_params *params = r->params;
    bool few = few_events(r->sets), clocked = r->window_end > 0;
    const spending *spend = (few ? spend_few : spend_many) + params->effort;
    double begin = icd_i_now();
    if (few)
        plan_few(c, s);
    else
        plan_many(c, spend->warmth, r->softness, s);
    s->chains = clocked ? icd_ctx_threads(ctx) : spend->chains;
    if (s->chains > CHAINS_MAX) s->chains = CHAINS_MAX;
    for (int32_t k = 0; k < s->stages; ++k) {
        icd_hyper_stage *stage = s->stage + k;
        stage->offers = offers_of(spend, c, params->refine_steps);
        stage->swaps = spend->swaps;
        if (!stage->offers) stage->hot = 0;
        stage->vote = stage->vote && stage->hot > 0;
        stage->deadline = params->deadline;
        if (clocked)
            stage->cool_until =
                begin + (r->window_end - begin) * (few ? (k + 1.) / s->stages : 1);
    }
}

typedef struct chain_run {
    const icd_ctx *ctx;
    icd_hyper_chain *chain;
    const schedule *schedule;
} chain_run;

static void run_chain(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    chain_run *run = arg;
    (void)chunks;
    (void)worker;
    for (int32_t k = 0; k < run->schedule->stages; ++k) {
        icd_hyper_stage stage = run->schedule->stage[k];
        stage.hot *= warmth_of_chain(chunk);
        stage.cold *= warmth_of_chain(chunk);
        icd_i_hyper_chain_run(run->ctx, run->chain + chunk, &stage);
    }
}

/* Takes over the best chain, the first of several, unless the window was better before.
 */
static void take_best(refinement *r, icd_hyper_chain *chain, int32_t chains,
                      const icd_hyper_window *window, int64_t before)
{
    icd_hyper_chain *best = NULL;
    for (int32_t k = 0; k < chains; ++k) {
        icd_hyper_chain *c = chain + k;
        r->stats->offered += c->offered;
        r->stats->accepted += c->accepted;
        r->stats->timed_out |= c->stopped;
        icd_i_hyper_soften(&c->h, 1);
        if (c->h.cost < (best ? best->h.cost : before)) best = c;
    }
    if (!best) return;
    for (int32_t i = 0; i < best->h.n; ++i)
        r->order[window->begin + best->h.slot_of[i]] = best->h.global[i];
}

static icd_status refine_window(icd_ctx *ctx, refinement *r, int64_t begin, int64_t end)
{
    icd_status status;
    icd_hyper_chain chain[CHAINS_MAX] = {0};
    schedule plan = {0};
    int32_t started = 1;
    icd_hyper_source source = {.sets = r->sets,
                               .frozen = r->params->frozen,
                               .window = {r->order, begin, end},
                               .granule = r->params->granule,
                               .seed = r->params->seed,
                               .votes = !few_events(r->sets)};
    source.stride = stride_of(r->sets, end - begin, source.granule, r->params->effort);
    ICD_TRY(icd_i_hyper_chain_init(ctx, &source, r->stream++, chain));
    int64_t before = chain->h.cost;
    plan_window(ctx, r, chain, &plan);
    for (; started < plan.chains; ++started)
        ICD_TRY(icd_i_hyper_chain_init(ctx, &source, r->stream++, chain + started));
    chain_run run = {ctx, chain, &plan};
    icd_i_parallel(ctx, plan.chains, run_chain, &run);
    ICD_TRY(icd_i_check_cancel(ctx));
    take_best(r, chain, plan.chains, &source.window, before);
    r->stats->events = (r->sets->events + source.stride - 1) / source.stride;
done:
    for (int32_t k = 0; k < CHAINS_MAX; ++k) icd_i_hyper_chain_release(ctx, chain + k);
    return status;
}

/* The slots of all windows. The second round is shifted by half a window, so that
 * granules meet new neighbours. */
typedef struct tiling {
    int64_t size, half, windows, rounds;
} tiling;

static tiling tile_slots(int64_t n, int64_t g)
{
    tiling t = {0};
    int64_t granules = (n + g - 1) / g,
            most = WINDOW_SLOTS / g < 2 ? 2 : WINDOW_SLOTS / g;
    t.windows = (granules + most - 1) / most;
    if (!t.windows) return t;
    t.size = (granules + t.windows - 1) / t.windows * g;
    t.half = t.size / g / 2 * g;
    t.rounds = t.windows > 1 ? 2 : 1;
    return t;
}

static icd_status refine_windows(icd_ctx *ctx, refinement *r)
{
    icd_status status = ICD_OK;
    int64_t n = r->sets->n, done = 0;
    tiling t = tile_slots(n, r->params->granule);
    bool clocked = r->params->effort == ICD_EFFORT_HIGH && r->params->deadline > 0;
    for (int64_t round = 0; round < t.rounds; ++round)
        for (int64_t begin = round * t.half; begin < n; begin += t.size, ++done) {
            double now = icd_i_now();
            double left = (double)(t.rounds * t.windows - done);
            /* the last tenth is for the descent */
            if (clocked)
                r->window_end = now + .9 * (r->params->deadline - now) / fmax(left, 1);
            int64_t end = begin + t.size < n ? begin + t.size : n;
            ICD_TRY(refine_window(ctx, r, begin, end));
        }
done:
    return status;
}

/* Takes over an order if it is the better one. */
static icd_status keep_better(icd_ctx *ctx, const refinement *r, const int32_t *order)
{
    icd_status status;
    double given, found;
    ICD_TRY(icd_i_hyper_touched(ctx, r->sets, r->params->granule, r->order, &given));
    ICD_TRY(icd_i_hyper_touched(ctx, r->sets, r->params->granule, order, &found));
    if (found < given) memcpy(r->order, order, (size_t)r->sets->n * sizeof *order);
done:
    return status;
}

/* What is left once granules are full of equals: few indices, so a search of its own is
 * cheap. Where the clock rules it has a share of the time. */
static icd_status refine_rest(icd_ctx *ctx, const refinement *r, int32_t *order,
                              const uint8_t *settled)
{
    icd_hyper_params params = *r->params;
    refinement rest = *r;
    double now = icd_i_now();
    params.frozen = settled;
    if (params.effort == ICD_EFFORT_HIGH && params.deadline > 0)
        params.deadline = now + REST_TIME * (params.deadline - now);
    rest.params = &params;
    rest.order = order;
    return refine_windows(ctx, &rest);
}

/* A second start where events are few: granules of equals, and the rest refined. */
static icd_status refine_packed(icd_ctx *ctx, const refinement *r, int32_t *order)
{
    icd_status status;
    uint8_t *settled = NULL;
    int64_t granules;
    bool timed_out = r->stats->timed_out;
    ICD_TRY(ICD_ALLOC(ctx, r->sets->n, &settled));
    ICD_TRY(icd_i_hyper_pack(ctx, r->sets, r->params->granule, r->params->frozen, order,
                             settled, &granules));
    if (granules) ICD_TRY(refine_rest(ctx, r, order, settled));
    if (r->params->effort == ICD_EFFORT_HIGH) r->stats->timed_out = timed_out;
done:
    icd_i_free(ctx, settled);
    return status;
}

/* Both searches start from the order given; the better one stays. */
static icd_status refine_few(icd_ctx *ctx, refinement *r)
{
    icd_status status;
    int32_t *packed = NULL;
    ICD_TRY(ICD_ALLOC(ctx, r->sets->n, &packed));
    if (r->sets->n) memcpy(packed, r->order, (size_t)r->sets->n * sizeof *packed);
    ICD_TRY(refine_packed(ctx, r, packed));
    ICD_TRY(refine_windows(ctx, r));
    ICD_TRY(keep_better(ctx, r, packed));
done:
    icd_i_free(ctx, packed);
    return status;
}

/* Where several windows are needed, trials would cost too much. */
static icd_status settle_softness(icd_ctx *ctx, refinement *r)
{
    const icd_hyper_params *params = r->params;
    r->softness = params->softness > 0 ? params->softness : ICD_HYPER_SOFTNESS;
    if (few_events(r->sets)) return ICD_OK;
    if (params->softness > 0 || params->effort == ICD_EFFORT_LOW ||
        tile_slots(r->sets->n, params->granule).windows != 1)
        goto chosen;
    icd_status status =
        icd_i_hyper_choose_softness(ctx, r->sets, params, &r->softness, r->stats);
    if (status != ICD_OK) return status;
chosen:
    r->stats->softness = r->softness;
    return ICD_OK;
}

/* Passes over all pairs that the offers amount to. */
static int64_t passes_of(const icd_hyper_stats *stats, int64_t n)
{
    int64_t pairs = n * (n - 1) / 2;
    return pairs ? (stats->offered + pairs - 1) / pairs : 0;
}

icd_status icd_i_hyper_refine(icd_ctx *ctx, const icd_access *sets,
                              const icd_hyper_params *params, int32_t *old_of_new,
                              icd_hyper_stats *stats)
{
    icd_status status;
    icd_hyper_stats local = {0};
    refinement r = {.sets = sets, .params = params, .stats = stats ? stats : &local};
    size_t bytes = (size_t)sets->n * sizeof *old_of_new;
    double before, after;
    memset(r.stats, 0, sizeof *r.stats);
    ICD_TRY(icd_i_hyper_check(ctx, sets, params->granule));
    ICD_TRY(ICD_ALLOC(ctx, sets->n, &r.order));
    if (bytes) memcpy(r.order, old_of_new, bytes);
    ICD_TRY(icd_i_hyper_touched(ctx, sets, params->granule, old_of_new, &before));
    ICD_TRY(settle_softness(ctx, &r));
    ICD_TRY(few_events(sets) ? refine_few(ctx, &r) : refine_windows(ctx, &r));
    ICD_TRY(icd_i_hyper_touched(ctx, sets, params->granule, r.order, &after));
    if (bytes && after < before) memcpy(old_of_new, r.order, bytes);
    r.stats->start = before;
    r.stats->touched = fmin(before, after);
    r.stats->passes = passes_of(r.stats, sets->n);
done:
    icd_i_free(ctx, r.order);
    return status;
}
