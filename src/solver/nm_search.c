#include "solver/nm_search.h"

#include "base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DRAWS 4096
/* Temperatures of an annealing at most. */
#define STAGES 100
/* In units of what a random exchange loses; found by trial on random and trained
 * matrices. */
#define HOT  .15
#define COLD .1
/* In a good order a random exchange loses so much more than in a random one: temperatures
   that start from there are in units of the latter. */
#define WARM_LOSS 3.6
/* The rest of the time is for the descent. */
#define ANNEAL_TIME .9

/* An exchange that would pay. */
typedef struct icd_nm_offer {
    int32_t gain, c, x;
} offer;

void icd_i_nm_search_release(icd_ctx *ctx, icd_nm_search *s)
{
    icd_i_nm_state_release(ctx, &s->state);
    icd_i_free(ctx, s->best);
    icd_i_free(ctx, s->draw);
    icd_i_free(ctx, s->noise);
    icd_i_free(ctx, s->offer);
}

/* -ln u where u stands at the middle of each of DRAWS equal parts of (0, 1). */
static void fill_draws(icd_nm_search *s)
{
    for (int64_t k = 0; k < DRAWS; ++k) {
        int64_t other = icd_i_rng_below(&s->rng, k + 1);
        s->draw[k] = s->draw[other];
        s->draw[other] = -log(((double)k + .5) / DRAWS);
    }
}

/* Brings the tables up to date and remembers the best groups. */
static void renew(icd_ctx *ctx, icd_nm_search *s)
{
    if (!icd_i_nm_refresh(ctx, &s->state)) {
        s->stopped = true;
        return;
    }
    int64_t kept = icd_i_nm_kept(&s->state);
    if (kept <= s->best_kept) return;
    s->best_kept = kept;
    memcpy(s->best, s->state.member, (size_t)s->state.cols * sizeof *s->best);
}

icd_status icd_i_nm_search_init(icd_ctx *ctx, const icd_nm_source *source, icd_rng rng,
                                icd_nm_search *out)
{
    icd_status status;
    memset(out, 0, sizeof *out);
    ICD_TRY(icd_i_nm_state_init(ctx, source, &out->state));
    ICD_TRY(ICD_ALLOC(ctx, source->cols, &out->best));
    ICD_TRY(ICD_ALLOC(ctx, DRAWS, &out->draw));
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)DRAWS + source->cols, &out->noise));
    ICD_TRY(ICD_ALLOC(ctx, source->cols, &out->offer));
    out->rng = rng;
    fill_draws(out);
    memcpy(out->best, out->state.member, (size_t)out->state.cols * sizeof *out->best);
    renew(ctx, out);
done:
    return status;
}

static bool must_stop(const icd_ctx *ctx, icd_nm_search *s)
{
    if (s->state.deadline > 0 && icd_i_now() >= s->state.deadline) s->stopped = true;
    if (icd_i_cancelled(ctx)) s->stopped = true;
    return s->stopped;
}

static void set_temperature(icd_nm_search *s, double temperature)
{
    temperature = fmin(temperature, -ICD_NM_NEVER / 64);
    for (int64_t k = 0; k < DRAWS; ++k) s->noise[k] = (int32_t)(temperature * s->draw[k]);
    for (int32_t k = 0; k < s->state.cols; ++k) s->noise[DRAWS + k] = s->noise[k % DRAWS];
}

static int32_t *line(int32_t *table, const icd_nm_state *s, int64_t c)
{
    return table + c * s->cols;
}

/* The best exchange for column c, with noise. @return whether it is to be made */
static bool find(const icd_nm_search *s, int32_t c, const int32_t *noise, offer *out)
{
    const icd_nm_state *st = &s->state;
    int64_t x = 0;
    out->gain = st->maxima.best(line(st->change, st, c), line(st->reverse, st, c), noise,
                                st->cols, &x);
    out->c = c;
    out->x = (int32_t)x;
    return out->gain > 0;
}

/* Makes an exchange unless one of its groups has changed since it was offered. */
static bool make(icd_nm_search *s, const offer *o)
{
    const uint8_t *stale = s->state.stale;
    if (stale[icd_i_nm_group_of(&s->state, o->c)] ||
        stale[icd_i_nm_group_of(&s->state, o->x)])
        return false;
    icd_i_nm_exchange(&s->state, o->c, o->x);
    s->swaps++;
    return true;
}

static void anneal_round(icd_ctx *ctx, icd_nm_search *s)
{
    int32_t cols = s->state.cols, c = (int32_t)icd_i_rng_below(&s->rng, cols);
    offer o;
    for (int32_t k = 0; k < cols; ++k, c = c + 1 < cols ? c + 1 : 0) {
        uint32_t shift = icd_i_rng_u32(&s->rng) % DRAWS;
        if (s->state.stale[icd_i_nm_group_of(&s->state, c)]) continue;
        if (find(s, c, s->noise + shift, &o)) make(s, &o);
    }
    renew(ctx, s);
}

/* Mean loss of an exchange that loses. */
static double mean_loss(const icd_nm_state *s)
{
    double loss = 0;
    int64_t count = 0;
    for (int64_t k = 0; k < (int64_t)s->cols * s->cols; ++k) {
        int32_t gain = s->change[k] + s->reverse[k];
        if (gain >= 0 || gain == 2 * ICD_NM_NEVER) continue;
        loss -= (double)gain;
        count++;
    }
    return count ? loss / (double)count : 0;
}

/* Share of the annealing that is done after k rounds. */
static double progress(icd_nm_search *s, const icd_nm_cooling *cooling, int64_t k,
                       double begun)
{
    double done = fmax((double)k / (double)cooling->rounds,
                       (double)s->swaps / (double)cooling->swaps);
    if (!cooling->by_clock || s->state.deadline <= 0) return done;
    double time = ANNEAL_TIME * (s->state.deadline - begun);
    double passed = (icd_i_now() - begun) / time;
    s->clocked |= passed > done;
    return fmax(done, passed);
}

void icd_i_nm_anneal(icd_ctx *ctx, icd_nm_search *s, const icd_nm_cooling *cooling)
{
    double unit = mean_loss(&s->state) / (cooling->warm ? WARM_LOSS : 1);
    double begun = icd_i_now();
    int64_t stage = cooling->rounds / STAGES + 1;
    if (s->stopped || !cooling->rounds || unit <= 0) return;
    for (int64_t k = 0; !must_stop(ctx, s); ++k) {
        double done = progress(s, cooling, k, begun);
        if (done >= 1) break;
        if (k % stage == 0) set_temperature(s, HOT * unit * pow(COLD / HOT, done));
        anneal_round(ctx, s);
    }
    icd_i_nm_regroup(&s->state, s->best);
    if (!s->stopped) renew(ctx, s);
}

static int by_gain_falling(const void *x, const void *y)
{
    const offer *a = x, *b = y;
    if (a->gain != b->gain) return a->gain < b->gain ? 1 : -1;
    return a->c < b->c ? -1 : 1;
}

/* @return whether an exchange was made */
static bool descend_round(icd_ctx *ctx, icd_nm_search *s)
{
    int32_t offers = 0;
    for (int32_t c = 0; c < s->state.cols; ++c)
        offers += find(s, c, s->noise, s->offer + offers);
    if (!offers) return false;
    qsort(s->offer, (size_t)offers, sizeof *s->offer, by_gain_falling);
    for (int32_t k = 0; k < offers; ++k) make(s, s->offer + k);
    renew(ctx, s);
    return true;
}

void icd_i_nm_descend(icd_ctx *ctx, icd_nm_search *s)
{
    set_temperature(s, 0);
    while (!must_stop(ctx, s) && descend_round(ctx, s)) continue;
}
