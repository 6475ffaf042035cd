#include "solver/touched.h"

#include "base/mem.h"
#include "solver/hyper.h"

/* The sets in units; the problem's own where a unit is one index. */
typedef struct unit_sets {
    icd_access *owned;
    const icd_access *sets;
} unit_sets;

static int64_t push_event(const icd_access *a, int64_t e, int32_t unit, int32_t *out)
{
    int64_t count = 0;
    for (int64_t k = a->event_ptr[e]; k < a->event_ptr[e + 1]; ++k) {
        int32_t u = a->index[k] / unit;
        if (!count || out[count - 1] != u) out[count++] = u;
    }
    return count;
}

static icd_status unit_sets_init(icd_solve *s, unit_sets *u)
{
    icd_status status;
    const icd_access *a = s->problem->sets;
    *u = (unit_sets){.sets = a};
    if (s->space.unit == 1) return ICD_OK;
    ICD_TRY(icd_access_slice(s->ctx, a, 0, a->events, &u->owned));
    u->owned->n = s->space.units;
    u->owned->event_ptr[0] = 0;
    for (int64_t e = 0; e < a->events; ++e)
        u->owned->event_ptr[e + 1] =
            u->owned->event_ptr[e] +
            push_event(a, e, s->space.unit, u->owned->index + u->owned->event_ptr[e]);
    u->sets = u->owned;
done:
    return status;
}

static icd_hyper_params hyper_params(const icd_solve *s)
{
    return (icd_hyper_params){.granule = s->granule,
                              .effort = s->o.effort,
                              .refine_steps = s->o.refine_steps,
                              .deadline = s->budget.deadline,
                              .seed = (uint64_t)s->o.seed,
                              .frozen = s->space.frozen};
}

icd_status icd_i_touched_order(icd_solve *s, int32_t *old_of_new)
{
    icd_status status;
    unit_sets u = {0};
    int32_t *unit_at = NULL;
    icd_hyper_params params = hyper_params(s);
    ICD_TRY(unit_sets_init(s, &u));
    ICD_TRY(ICD_ALLOC(s->ctx, s->space.units, &unit_at));
    ICD_TRY(icd_i_hyper_order(s->ctx, u.sets, &params, unit_at));
    icd_i_space_expand(&s->space, unit_at, old_of_new);
done:
    icd_i_free(s->ctx, unit_at);
    icd_access_free(s->ctx, u.owned);
    return status;
}

icd_status icd_i_touched_refine(icd_solve *s, int32_t *old_of_new)
{
    icd_status status;
    unit_sets u = {0};
    int32_t *unit_at = NULL;
    icd_hyper_stats stats = {0};
    icd_hyper_params params = hyper_params(s);
    ICD_TRY(unit_sets_init(s, &u));
    ICD_TRY(ICD_ALLOC(s->ctx, s->space.units, &unit_at));
    for (int32_t k = 0; k < s->space.units; ++k)
        unit_at[k] = old_of_new[k * s->space.unit] / s->space.unit;
    ICD_TRY(icd_i_hyper_refine(s->ctx, u.sets, &params, unit_at, &stats));
    icd_i_space_expand(&s->space, unit_at, old_of_new);
    s->stats->iters += stats.passes;
    if (stats.timed_out) atomic_store(&s->budget.over, true);
done:
    icd_i_free(s->ctx, unit_at);
    icd_access_free(s->ctx, u.owned);
    return status;
}
