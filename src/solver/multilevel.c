#include "solver/refine.h"
#include "solver/solve.h"

#include "solver/arrange.h"

static icd_bisect_params bisect_params(icd_solve *s)
{
    static const icd_bisect_params BY_EFFORT[] = {
        [ICD_EFFORT_LOW] = {NULL, 1, 2, 30},
        [ICD_EFFORT_DEFAULT] = {NULL, 4, 4, 100},
        [ICD_EFFORT_HIGH] = {NULL, 8, 8, 400},
    };
    icd_bisect_params params = BY_EFFORT[s->o.effort];
    params.budget = &s->budget;
    return params;
}

/* Divides the blocks of `coarse` into those of `fine`, then lets nodes change places. */
static icd_status nest(icd_solve *s, const icd_bounds *coarse, const icd_bounds *fine,
                       int32_t *order)
{
    icd_status status;
    icd_bisect_params bisect = bisect_params(s);
    icd_refine_params refine = {.zones = coarse,
                                .bounds = fine,
                                .budget = &s->budget,
                                .steps = s->o.refine_steps,
                                .seed = (uint64_t)s->o.seed};
    ICD_TRY(
        icd_i_split(s->ctx, &s->g, coarse, fine, &bisect, (uint64_t)s->o.seed, order));
    ICD_TRY(icd_i_refine(s->ctx, &s->g, &refine, order, &s->stats->iters));
done:
    return status;
}

/* k_blocks slices of indices, in nodes. */
static icd_status slice_bounds(icd_solve *s, icd_bounds *slices)
{
    int32_t k = s->o.k_blocks > 0 ? s->o.k_blocks : 1;
    return icd_i_bounds_slices(s->ctx, s->n, k, slices);
}

icd_status icd_i_multilevel(icd_solve *s, int32_t *order)
{
    icd_status status;
    icd_bounds slices = {0}, granules = {0}, quarters = {0};
    int32_t quarter = s->granule > 4 ? s->granule / 4 : 1;
    for (int32_t v = 0; v < s->n; ++v) order[v] = v;
    if (s->n == 0) return ICD_OK;
    ICD_TRY(slice_bounds(s, &slices));
    ICD_TRY(icd_i_bounds_cross(s->ctx, &slices, s->granule, &granules));
    ICD_TRY(icd_i_bounds_nest(s->ctx, &granules, s->n, quarter, &quarters));
    if (slices.count > 1) ICD_TRY(nest(s, NULL, &slices, order));
    ICD_TRY(nest(s, &slices, &granules, order));
    ICD_TRY(icd_i_arrange(s->ctx, &s->g, &slices, &granules, &s->o, order));
    if (quarter < s->granule) ICD_TRY(nest(s, &granules, &quarters, order));
done:
    icd_i_bounds_release(s->ctx, &slices);
    icd_i_bounds_release(s->ctx, &granules);
    icd_i_bounds_release(s->ctx, &quarters);
    return status;
}
