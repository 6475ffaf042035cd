#include "solver/hyper.h"

#include "solver/hyper_anneal.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Slots solved together: join needs window^2 / g integers. */
#define WINDOW_SLOTS 8192
/* Cells of a window: 512 MiB. Beyond, the window learns from every k-th event. */
#define CELLS_MAX (INT64_C(1) << 26)

static icd_status check_params(icd_ctx *ctx, const icd_access *sets, int32_t granule)
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
    ICD_TRY(check_params(ctx, sets, granule));
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
} refinement;

static int64_t stride_of(const icd_access *sets, int64_t slots, int32_t granule)
{
    int64_t granules = (slots + granule - 1) / granule;
    return 1 + granules * sets->events / CELLS_MAX;
}

/* Passes and first temperature (as the share of worsening swaps accepted) of an effort.
 */
typedef struct effort_plan {
    int64_t passes;
    double rate;
} effort_plan;

static effort_plan plan_of_effort(int32_t effort)
{
    switch (effort) {
    case ICD_EFFORT_LOW:
        return (effort_plan){20, .0005};
    case ICD_EFFORT_HIGH:
        return (effort_plan){20000, .01};
    default:
        return (effort_plan){500, .003};
    }
}

static icd_status frozen_of_window(icd_ctx *ctx, const refinement *r, const icd_hyper *h,
                                   uint8_t **out)
{
    *out = NULL;
    if (!r->params->frozen) return ICD_OK;
    icd_status status = ICD_ALLOC(ctx, h->n, out);
    if (status != ICD_OK) return status;
    for (int32_t i = 0; i < h->n; ++i) (*out)[i] = r->params->frozen[h->global[i]];
    return ICD_OK;
}

static icd_status refine_window(icd_ctx *ctx, refinement *r, int64_t begin, int64_t end)
{
    icd_status status;
    icd_hyper h = {0};
    uint8_t *frozen = NULL;
    const icd_hyper_params *params = r->params;
    effort_plan effort = plan_of_effort(params->effort);
    icd_hyper_window window = {r->order, begin, end};
    int64_t stride = stride_of(r->sets, end - begin, params->granule);
    ICD_TRY(icd_i_hyper_init(ctx, r->sets, params->granule, stride, &window, &h));
    ICD_TRY(frozen_of_window(ctx, r, &h, &frozen));
    int64_t passes =
        params->refine_steps < effort.passes ? params->refine_steps : effort.passes;
    icd_hyper_plan plan = {.hot = icd_i_hyper_temperature(&h, effort.rate, params->seed),
                           .offers = passes * h.n * h.granules,
                           .deadline = params->deadline,
                           .seed = params->seed,
                           .stream = r->stream++};
    plan.cold = fmin(.1 * plan.hot, 1);
    ICD_TRY(icd_i_hyper_anneal(ctx, &h, &plan, frozen, r->stats));
    for (int32_t i = 0; i < h.n; ++i) r->order[begin + h.slot_of[i]] = h.global[i];
    r->stats->passes += passes;
    r->stats->events = (r->sets->events + stride - 1) / stride;
done:
    icd_i_free(ctx, frozen);
    icd_i_hyper_release(ctx, &h);
    return status;
}

/* Even windows; a second round is shifted by half a window so that granules meet new
 * neighbours. */
static icd_status refine_windows(icd_ctx *ctx, refinement *r)
{
    icd_status status = ICD_OK;
    int64_t g = r->params->granule, n = r->sets->n;
    int64_t granules = (n + g - 1) / g;
    int64_t per_window = WINDOW_SLOTS / g < 2 ? 2 : WINDOW_SLOTS / g;
    int64_t windows = (granules + per_window - 1) / per_window;
    int64_t size = windows ? (granules + windows - 1) / windows * g : 0;
    int64_t rounds = windows > 1 ? 2 : 1;
    for (int64_t round = 0; round < rounds; ++round)
        for (int64_t begin = round * (size / g / 2) * g; begin < n; begin += size) {
            int64_t end = begin + size < n ? begin + size : n;
            ICD_TRY(refine_window(ctx, r, begin, end));
        }
done:
    return status;
}

icd_status icd_i_hyper_refine(icd_ctx *ctx, const icd_access *sets,
                              const icd_hyper_params *params, int32_t *old_of_new,
                              icd_hyper_stats *stats)
{
    icd_status status;
    icd_hyper_stats local = {0};
    refinement r = {.sets = sets, .params = params, .stats = stats ? stats : &local};
    size_t bytes = (size_t)sets->n * sizeof *old_of_new;
    memset(r.stats, 0, sizeof *r.stats);
    ICD_TRY(check_params(ctx, sets, params->granule));
    ICD_TRY(ICD_ALLOC(ctx, sets->n, &r.order));
    if (bytes) memcpy(r.order, old_of_new, bytes);
    double before, after;
    ICD_TRY(icd_i_hyper_touched(ctx, sets, params->granule, old_of_new, &before));
    ICD_TRY(refine_windows(ctx, &r));
    ICD_TRY(icd_i_hyper_touched(ctx, sets, params->granule, r.order, &after));
    if (bytes && after < before) memcpy(old_of_new, r.order, bytes);
    r.stats->start = before;
    r.stats->touched = fmin(before, after);
done:
    icd_i_free(ctx, r.order);
    return status;
}
