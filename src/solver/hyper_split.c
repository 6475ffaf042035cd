#include "solver/hyper_split.h"

#include "base/clock.h"
#include "base/mem.h"

/* Fewer events are not split. */
#define EVENTS_MIN 256

/* Ever softer: the search ends with the first that does not better the one before. */
static const double candidate[] = {ICD_HYPER_SOFTNESS, .65, .5};
enum { CANDIDATES = sizeof candidate / sizeof *candidate };

/* Searches of a candidate: one alone differs by .2 % from seed to seed. */
enum { TRIES = 2 };

/* By how much a candidate must better the one before: less is chance. */
#define MARGIN 1e-3

/* Share of the time that is left for one candidate, where effort high goes by the clock.
 */
static const double TRIAL_TIME = .03;

typedef struct halves {
    icd_access *learn, *judge;
} halves;

static icd_status split(icd_ctx *ctx, const icd_access *sets, halves *out)
{
    int64_t first = sets->events - sets->events / 4;
    icd_status status = icd_access_slice(ctx, sets, 0, first, &out->learn);
    if (status != ICD_OK) return status;
    return icd_access_slice(ctx, sets, first, sets->events - first, &out->judge);
}

/* One search: granules touched by the events held back, under the order learned. */
static icd_status try_once(icd_ctx *ctx, const halves *h, const icd_hyper_params *trial,
                           int32_t *order, double *touched, icd_hyper_stats *stats)
{
    icd_status status;
    ICD_TRY(icd_i_hyper_order(ctx, h->learn, trial, order));
    ICD_TRY(icd_i_hyper_refine(ctx, h->learn, trial, order, stats));
    ICD_TRY(icd_i_hyper_touched(ctx, h->judge, trial->granule, order, touched));
done:
    return status;
}

/* The sum over all tries with softness p. */
static icd_status try_softness(icd_ctx *ctx, const halves *h,
                               const icd_hyper_params *params, double p, int32_t *order,
                               double *sum, icd_hyper_stats *stats)
{
    icd_status status = ICD_OK;
    bool clocked = params->effort == ICD_EFFORT_HIGH && params->deadline > 0;
    icd_hyper_params trial = *params;
    trial.effort = ICD_HYPER_TRIAL;
    trial.softness = p;
    *sum = 0;
    for (int k = 0; k < TRIES; ++k, ++trial.seed) {
        icd_hyper_stats found;
        double touched, now = icd_i_now();
        if (clocked) trial.deadline = now + TRIAL_TIME * (params->deadline - now);
        ICD_TRY(try_once(ctx, h, &trial, order, &touched, &found));
        *sum += touched;
        stats->offered += found.offered;
        stats->accepted += found.accepted;
        stats->timed_out |= found.timed_out && !clocked;
    }
done:
    return status;
}

icd_status icd_i_hyper_choose_softness(icd_ctx *ctx, const icd_access *sets,
                                       const icd_hyper_params *params, double *out,
                                       icd_hyper_stats *stats)
{
    icd_status status = ICD_OK;
    halves h = {0};
    int32_t *order = NULL;
    double least = 0;
    *out = ICD_HYPER_SOFTNESS;
    if (sets->events < EVENTS_MIN) goto done;
    ICD_TRY(split(ctx, sets, &h));
    ICD_TRY(ICD_ALLOC(ctx, sets->n, &order));
    for (int k = 0; k < CANDIDATES; ++k) {
        double touched;
        ICD_TRY(try_softness(ctx, &h, params, candidate[k], order, &touched, stats));
        if (k && touched >= least * (1 - MARGIN)) break;
        least = touched;
        *out = candidate[k];
    }
done:
    icd_i_free(ctx, order);
    icd_access_free(ctx, h.learn);
    icd_access_free(ctx, h.judge);
    return status;
}
