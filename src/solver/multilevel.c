#include "solver/refine.h"
#include "solver/solve.h"

#include "base/mem.h"
#include "solver/anneal.h"
#include "solver/arrange.h"
#include "solver/cascade.h"
#include "solver/sketch.h"
#include <string.h>

/* Graphs so small that a whole annealing costs a millisecond get one by default. */
enum { SMALL = 512, SMALL_OFFERS = 20000, LOW_STEPS = 1 };

/* A cautious guess; it decides about nothing but the first temperature. */
static const double OFFERS_PER_S = 4e6;
static const double SECONDS_PER_ENTRY = 4e-6;

/* On meshes a cut is bettered by long rows of moves that pay late, and moves are cheap;
 * where nodes have many neighbours, swaps between all granules do that work afterwards.
 */
static icd_bisect_params bisect_params(icd_solve *s)
{
    static const icd_bisect_params MESH = {NULL, 4, 8, 400}, LOW = {NULL, 1, 2, 30},
                                   DEFAULT = {NULL, 2, 1, 25}, HIGH = {NULL, 4, 4, 100};
    icd_bisect_params params = s->o.effort == ICD_EFFORT_LOW    ? LOW
                               : icd_i_wgraph_is_mesh(&s->g)    ? MESH
                               : s->o.effort == ICD_EFFORT_HIGH ? HIGH
                                                                : DEFAULT;
    params.budget = &s->budget;
    return params;
}

/* Effort high cools as slowly as its share of the time that is left allows, and starts
 * the hotter the more often every node will be offered: heat that cannot be cooled away
 * only does harm. Other objectives need the time for searches of their own. */
static icd_anneal_params anneal_params(icd_solve *s, double share)
{
    icd_anneal_params params = {.budget = &s->budget, .seed = (uint64_t)s->o.seed};
    double now = icd_i_now(), seconds = share * (s->budget.deadline - now);
    double offers = seconds * OFFERS_PER_S / (s->n + 1);
    params.hot = offers < 6400 ? 0.4 + offers / 4000 : 2;
    params.cold = 0.1;
    if (s->o.effort == ICD_EFFORT_HIGH && s->stats->objective == ICD_OBJ_CUT)
        params.until = now + seconds;
    if (s->o.effort == ICD_EFFORT_DEFAULT && s->n <= SMALL) {
        params.offers = SMALL_OFFERS;
        params.hot = 2;
    }
    return params;
}

/* The graph of the solve with its nodes renamed, so that what was found to belong
 * together is together in memory. */
typedef struct view {
    icd_solve *s;
    icd_wgraph own;
    const icd_wgraph *g;
    int32_t *node; /* of the solve */
} view;

static icd_status view_init(icd_solve *s, view *v)
{
    icd_status status;
    *v = (view){.s = s, .g = &s->g};
    ICD_TRY(ICD_ALLOC(s->ctx, s->n, &v->node));
    for (int32_t i = 0; i < s->n; ++i) v->node[i] = i;
done:
    return status;
}

static void view_release(view *v)
{
    icd_i_wgraph_release(v->s->ctx, &v->own);
    icd_i_free(v->s->ctx, v->node);
}

/* order[i] in the view's names -> in those of the solve. */
static void translate(const view *v, int32_t *order)
{
    for (int32_t i = 0; i < v->s->n; ++i) order[i] = v->node[order[i]];
}

/* order[i] is renamed i; `order` becomes the identity. */
static icd_status view_rename(view *v, int32_t *order)
{
    icd_status status;
    icd_wgraph g = {0};
    ICD_TRY(icd_i_wgraph_rename(v->s->ctx, v->g, order, &g));
    icd_i_wgraph_release(v->s->ctx, &v->own);
    v->own = g;
    v->g = &v->own;
    translate(v, order);
    for (int32_t i = 0; i < v->s->n; ++i) {
        v->node[i] = order[i];
        order[i] = i;
    }
done:
    return status;
}

/* Parts found on graphs of clusters, then blocks. */
static icd_status divide_all(view *v, const icd_split_params *split, int32_t *order)
{
    icd_status status;
    icd_solve *s = v->s;
    icd_bounds reached = {0};
    int32_t *part = NULL, *fresh = NULL;
    ICD_TRY(ICD_ALLOC(s->ctx, s->n, &part));
    ICD_TRY(ICD_ALLOC(s->ctx, s->n, &fresh));
    ICD_TRY(icd_i_cascade(s->ctx, v->g, split, &reached, part, fresh));
    if (!reached.at) {
        ICD_TRY(icd_i_split(s->ctx, v->g, NULL, split->fine, split->bisect, split->seed,
                            order, NULL));
        goto done;
    }
    for (int32_t i = 0; i < s->n; ++i) order[i] = part[fresh[i]];
    ICD_TRY(view_rename(v, fresh));
    ICD_TRY(icd_i_cascade_end(s->ctx, v->g, split, &reached, order, fresh));
    memcpy(order, fresh, (size_t)s->n * sizeof *order);
done:
    icd_i_bounds_release(s->ctx, &reached);
    icd_i_free(s->ctx, part);
    icd_i_free(s->ctx, fresh);
    return status;
}

static icd_status divide(view *v, const icd_bounds *coarse, const icd_bounds *fine,
                         int32_t *order)
{
    icd_solve *s = v->s;
    icd_bisect_params bisect = bisect_params(s);
    icd_split_params split = {fine, &bisect, (uint64_t)s->o.seed};
    if (!coarse && !icd_i_wgraph_is_mesh(v->g)) return divide_all(v, &split, order);
    return icd_i_split(s->ctx, v->g, coarse, fine, &bisect, split.seed, order, NULL);
}

/* Divides the blocks of `coarse` into those of `fine` (effort low: as the sketch left
 * them), then lets nodes change places. */
static icd_status nest(view *v, const icd_bounds *coarse, const icd_bounds *fine,
                       double share, int32_t *order)
{
    icd_status status = ICD_OK;
    icd_solve *s = v->s;
    if (icd_i_budget_over(&s->budget)) return ICD_OK;
    icd_anneal_params anneal = anneal_params(s, share);
    icd_refine_params refine = {
        .zones = coarse,
        .bounds = fine,
        .budget = &s->budget,
        .steps = s->o.effort == ICD_EFFORT_LOW ? LOW_STEPS : s->o.refine_steps,
        .anneal = anneal.until > 0 || anneal.offers ? &anneal : NULL};
    if (s->o.effort > ICD_EFFORT_LOW) ICD_TRY(divide(v, coarse, fine, order));
    if (!icd_i_budget_over(&s->budget))
        ICD_TRY(icd_i_refine(s->ctx, v->g, &refine, order, &s->stats->iters));
done:
    return status;
}

/* Where the budget may end the recursion, what it leaves undivided should be no random
 * order. A generous guess of the time it takes; it is a matter of the options, not of the
 * clock. */
static bool wants_sketch(const icd_solve *s)
{
    double seconds = SECONDS_PER_ENTRY * (double)s->g.ptr[s->g.n];
    return s->o.effort == ICD_EFFORT_LOW || s->o.time_budget_s < seconds;
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
    view v = {.s = s};
    int32_t quarter = s->granule > 4 ? s->granule / 4 : 1;
    for (int32_t i = 0; i < s->n; ++i) order[i] = i;
    if (s->n == 0) return ICD_OK;
    ICD_TRY(view_init(s, &v));
    ICD_TRY(slice_bounds(s, &slices));
    ICD_TRY(icd_i_bounds_cross(s->ctx, &slices, s->granule, &granules));
    ICD_TRY(icd_i_bounds_nest(s->ctx, &granules, s->n, quarter, &quarters));
    if (wants_sketch(s) ||
        (s->o.effort > ICD_EFFORT_LOW && icd_i_wgraph_is_mesh(&s->g))) {
        ICD_TRY(icd_i_sketch(s->ctx, &s->g, &s->budget, (uint64_t)s->o.seed, order));
        ICD_TRY(view_rename(&v, order));
    }
    if (slices.count > 1) ICD_TRY(nest(&v, NULL, &slices, 0.1, order));
    ICD_TRY(nest(&v, slices.count > 1 ? &slices : NULL, &granules, 0.8, order));
    if (s->o.effort > ICD_EFFORT_LOW && !icd_i_budget_over(&s->budget))
        ICD_TRY(icd_i_arrange(s->ctx, v.g, &slices, &granules, &s->o, order));
    if (quarter < s->granule) ICD_TRY(nest(&v, &granules, &quarters, 0.9, order));
    translate(&v, order);
done:
    if (s->n) view_release(&v);
    icd_i_bounds_release(s->ctx, &slices);
    icd_i_bounds_release(s->ctx, &granules);
    icd_i_bounds_release(s->ctx, &quarters);
    return status;
}
