/* repermute: W' from the transformed model, and pi1 as a local order for every group of
 * linears. */
#include "runtime/rounds.h"

#include <stdio.h>
#include <string.h>

/* The weights of a group whose outliers the layout may bring together: those without
   scales that belong to neighbours. NULL: none. */
static const icd_quantized *outliers_of(const icd_job *job, const char *group)
{
    for (int64_t i = 0; i < job->layout->count; i++) {
        const icd_layout_entry *e = &job->layout->entry[i];
        if (!strcmp(e->group, group) && e->quant && e->quant->outliers &&
            !e->quant->group)
            return e->quant;
    }
    return NULL;
}

/* What kernels in int8 touch of a mask, which is all but the outliers. */
static void clear_outliers(const icd_quantized *q, icd_mask *mask)
{
    for (int64_t b = 0; q && b < mask->blocks; b++)
        for (int64_t i = 0; i < q->outliers; i++)
            mask->bits[b * mask->words + q->outlier[i] / 64] &=
                ~(UINT64_C(1) << (q->outlier[i] % 64));
}

/* A set of its own: what the kernel of the outliers touches together. */
static icd_status outlier_mask(icd_ctx *ctx, const icd_quantized *q, icd_mask **out)
{
    icd_status status = icd_i_mask_new(ctx, 1, q->cols, 1, out);
    for (int64_t i = 0; status == ICD_OK && i < q->outliers; i++)
        icd_i_mask_set(*out, 0, q->outlier[i]);
    return status;
}

/* Masks of the linears that share an input become one list of access sets. */
static icd_status group_sets(icd_job *job, const char *group, uint64_t frame,
                             icd_access **out)
{
    icd_status status = ICD_OK;
    const icd_mask **mask = NULL;
    icd_mask **coarse = NULL;
    int64_t count = 0;
    const icd_quantized *wide = outliers_of(job, group);
    *out = NULL;
    ICD_TRY(ICD_ALLOC(job->ctx, job->layout->count + 1, &mask));
    ICD_TRY(ICD_ALLOC(job->ctx, job->layout->count + 1, &coarse));
    for (int64_t i = 0; i < job->layout->count; i++) {
        const icd_layout_entry *e = &job->layout->entry[i];
        if (strcmp(e->group, group) != 0 || !e->mask) continue;
        ICD_TRY(icd_i_mask_coarsen(job->ctx, e->mask, job->config->kernel.vector,
                                   &coarse[count]));
        clear_outliers(wide, coarse[count]);
        mask[count] = coarse[count];
        count++;
    }
    if (wide) {
        ICD_TRY(outlier_mask(job->ctx, wide, &coarse[count]));
        mask[count] = coarse[count];
        count++;
    }
    if (count) ICD_TRY(icd_i_mask_access(job->ctx, mask, count, frame, group, out));
done:
    for (int64_t i = 0; coarse && i < count; i++) icd_i_mask_free(job->ctx, coarse[i]);
    icd_i_free(job->ctx, coarse);
    icd_i_free(job->ctx, mask);
    return status;
}

/* The frame in which a linear's input stands in the transformed model. */
static uint64_t input_frame(const icd_job *job, const icd_linear *linear)
{
    return icd_model_axis(job->transformed, linear->in_axis)
               ? icd_model_frame(job->transformed, linear->in_axis)
               : ICD_FRAME_CHECKPOINT;
}

/* A layout made bad on purpose: the frequency order is dealt out over all granules in
   turn, so that each holds live and dead columns. */
static icd_status scatter(icd_job *job, icd_perm **perm, int32_t granule)
{
    icd_status status = ICD_OK;
    int32_t *dealt = NULL;
    int64_t n = (*perm)->n, granules = (n + granule - 1) / granule, at = 0;
    icd_perm *out = NULL;
    ICD_TRY(ICD_ALLOC(job->ctx, n, &dealt));
    for (int64_t lane = 0; lane < granule; lane++)
        for (int64_t g = 0; g < granules; g++)
            if (g * granule + lane < n)
                dealt[g * granule + lane] = (*perm)->old_of_new[at++];
    ICD_TRY(icd_perm_from_array(job->ctx, dealt, n, (*perm)->from, "scatter", &out));
    icd_perm_free(job->ctx, *perm);
    *perm = out;
done:
    icd_i_free(job->ctx, dealt);
    return status;
}

static icd_status solve_group(icd_job *job, icd_job_axis *axis)
{
    int32_t how = job->config->layout.repermute;
    if (how == ICD_REPERMUTE_RANDOM) return icd_i_axis_solve(job, axis, "random");
    if (how == ICD_REPERMUTE_SOLVE) return icd_i_axis_solve(job, axis, NULL);
    icd_status status = icd_i_axis_solve(job, axis, "frequency");
    return status == ICD_OK ? scatter(job, &axis->perm, axis->granule) : status;
}

/* N:M keeps its columns in groups of M, each with N survivors: no order of the groups
   leaves out a granule, so there is nothing to solve. */
static bool in_groups(const icd_job *job, const char *group)
{
    for (int64_t i = 0; i < job->linears; i++)
        if (!strcmp(job->linear[i].linear->group, group) && job->linear[i].s.unit > 1)
            return true;
    return false;
}

/* Adds the axis of a group once, with its sets and its W'. */
static icd_status add_group(icd_job *job, const icd_linear *linear, icd_job_axis **out)
{
    icd_access *sets = NULL;
    const icd_layout_entry *entry = icd_i_layout_get(job->layout, linear->name);
    *out = NULL;
    if (icd_i_axis_find(job, linear->group, true) || in_groups(job, linear->group))
        return ICD_OK;
    icd_status status = group_sets(job, linear->group, input_frame(job, linear), &sets);
    if (status != ICD_OK || !sets) return status;
    status = icd_i_axis_add(job, linear->group, true, out);
    if (status != ICD_OK) {
        icd_access_free(job->ctx, sets);
        return status;
    }
    (*out)->sets = sets;
    (*out)->granule = entry->granule;
    return icd_i_axis_build_w(job, *out);
}

/* pi1 in the frame of the checkpoint: pi0 of the input's axis, then the local order. */
static icd_status store_group(icd_job *job, const icd_linear *linear,
                              const icd_job_axis *axis)
{
    icd_status status = ICD_OK;
    icd_perm *whole = NULL;
    const icd_perm *pi0 = icd_model_order(job->transformed, linear->in_axis);
    if (pi0)
        ICD_TRY(icd_perm_compose(job->ctx, pi0, axis->perm, &whole));
    else
        ICD_TRY(icd_perm_copy(job->ctx, axis->perm, &whole));
    ICD_TRY(icd_perm_set_put(job->ctx, job->after, axis->name, whole, true));
done:
    icd_perm_free(job->ctx, whole);
    return status;
}

/* after = before, then one local order per group. */
static icd_status begin_after(icd_job *job)
{
    icd_status status = icd_perm_set_new(job->ctx, &job->after);
    if (status == ICD_OK) status = icd_i_strdup(job->ctx, job->tag, &job->after->tag);
    for (int64_t i = 0; status == ICD_OK && i < job->before->count; i++)
        status = icd_perm_set_put(job->ctx, job->after, job->before->entry[i].axis,
                                  job->before->entry[i].perm, false);
    return status;
}

static bool wanted(const icd_job *job)
{
    return job->config->pipeline.mode == ICD_MODE_ITERATIVE &&
           job->config->layout.local_orders;
}

/* A stored order is in the checkpoint's frame; the local part is what follows pi0. */
static icd_status local_part(icd_job *job, const icd_perm *stored,
                             const icd_linear *linear, icd_perm **out)
{
    icd_status status = ICD_OK;
    icd_perm *back = NULL;
    const icd_perm *pi0 = icd_model_order(job->transformed, linear->in_axis);
    if (!pi0) return icd_perm_copy(job->ctx, stored, out);
    if (stored->n != pi0->n)
        return icd_i_fail(job->ctx, ICD_EINVAL, linear->group, NULL,
                          "found an order of %lld indices, expected %lld",
                          (long long)stored->n, (long long)pi0->n);
    ICD_TRY(icd_perm_inverse(job->ctx, pi0, &back));
    ICD_TRY(icd_perm_compose(job->ctx, back, stored, out));
done:
    icd_perm_free(job->ctx, back);
    return status;
}

static icd_status take_stored(icd_job *job, const icd_perm_set *stored,
                              const icd_linear *linear, icd_job_axis *axis, bool *taken)
{
    const icd_perm *p = stored ? icd_perm_set_get(stored, linear->group) : NULL;
    *taken = p != NULL;
    if (!p) return ICD_OK;
    if (p->n != axis->sets->n)
        return icd_i_fail(job->ctx, ICD_EINVAL, linear->group, NULL,
                          "found an order of %lld indices, expected %lld",
                          (long long)p->n, (long long)axis->sets->n);
    icd_status status = local_part(job, p, linear, &axis->perm);
    if (status != ICD_OK) return status;
    icd_problem problem = {.w = axis->w, .sets = axis->sets};
    icd_solver_opts opts = job->config->solver;
    opts.granule = axis->granule;
    axis->cached = true;
    snprintf(axis->stats.method, sizeof axis->stats.method, "given");
    return icd_score_perm(job->ctx, &problem, axis->perm, &opts, &axis->stats.score);
}

/* Masks that were not made anew keep their order: W' is the same. */
static icd_status take_standing(icd_job *job, const icd_linear *linear,
                                icd_job_axis *axis)
{
    icd_status status = ICD_OK;
    icd_perm *identity = NULL;
    icd_problem problem = {.w = axis->w, .sets = axis->sets};
    icd_solver_opts opts = job->config->solver;
    ICD_TRY(icd_i_round_standing(job, linear, &axis->perm));
    if (!axis->perm) return ICD_OK;
    opts.granule = axis->granule;
    axis->cached = true;
    snprintf(axis->stats.method, sizeof axis->stats.method, "round before");
    ICD_TRY(icd_perm_identity(job->ctx, axis->perm->n, axis->perm->from, &identity));
    ICD_TRY(icd_score_perm(job->ctx, &problem, axis->perm, &opts, &axis->stats.score));
    ICD_TRY(icd_score_perm(job->ctx, &problem, identity, &opts, &axis->stats.start));
    axis->stats.moved = icd_perm_moved(axis->perm, identity);
done:
    icd_perm_free(job->ctx, identity);
    return status;
}

/* Precision classes: outliers fill granules of their own, behind all others. */
static icd_status set_outliers_last(icd_job *job, const icd_linear *linear,
                                    icd_job_axis *axis)
{
    icd_perm *order = NULL;
    const icd_quantized *q = outliers_of(job, linear->group);
    if (!q) return ICD_OK;
    icd_status status = icd_i_order_outliers_last(job->ctx, axis->perm, axis->perm->from,
                                                  q, axis->granule, &order);
    if (status != ICD_OK) return status;
    icd_problem problem = {.w = axis->w, .sets = axis->sets};
    icd_solver_opts opts = job->config->solver;
    opts.granule = axis->granule;
    icd_perm_free(job->ctx, axis->perm);
    axis->perm = order;
    return icd_score_perm(job->ctx, &problem, axis->perm, &opts, &axis->stats.score);
}

/* Nothing but outliers to bring together: no solver is asked. */
static icd_status start_from_identity(icd_job *job, const icd_linear *linear,
                                      icd_job_axis *axis)
{
    for (int64_t i = 0; i < job->layout->count; i++)
        if (!strcmp(job->layout->entry[i].group, linear->group) &&
            job->layout->entry[i].mask)
            return ICD_OK;
    snprintf(axis->stats.method, sizeof axis->stats.method, "precision classes");
    return icd_perm_identity(job->ctx, axis->sets->n, axis->sets->frame, &axis->perm);
}

static icd_status repermute(icd_job *job, const icd_perm_set *stored)
{
    icd_status status = ICD_OK;
    ICD_TRY(begin_after(job));
    for (int64_t i = 0; wanted(job) && i < job->linears; i++) {
        const icd_linear *linear = job->linear[i].linear;
        icd_job_axis *axis = NULL;
        bool taken = false;
        icd_i_progress(job->ctx, "repermute", i, job->linears);
        ICD_TRY(add_group(job, linear, &axis));
        if (!axis) continue;
        ICD_TRY(take_stored(job, stored, linear, axis, &taken));
        if (!taken) ICD_TRY(take_standing(job, linear, axis));
        if (!axis->perm) ICD_TRY(start_from_identity(job, linear, axis));
        if (!axis->perm) ICD_TRY(solve_group(job, axis));
        ICD_TRY(set_outliers_last(job, linear, axis));
        ICD_TRY(store_group(job, linear, axis));
    }
done:
    return status;
}

icd_status icd_i_stage_repermute(icd_job *job)
{
    icd_status status = ICD_OK;
    icd_perm_set *given = NULL;
    const char *path = icd_i_round_path(job, "perm_after.json");
    if (!path) return ICD_ENOMEM;
    if (job->opts.reuse_perm)
        ICD_TRY(icd_perm_set_read(job->ctx, job->opts.reuse_perm, &given));
    ICD_TRY(repermute(job, given));
    ICD_TRY(icd_perm_set_write(job->ctx, job->after, path));
done:
    icd_perm_set_free(job->ctx, given);
    return status;
}

icd_status icd_i_stage_repermute_load(icd_job *job)
{
    icd_perm_set *stored = NULL;
    const char *path = icd_i_round_path(job, "perm_after.json");
    if (!path) return ICD_ENOMEM;
    icd_status status = icd_perm_set_read(job->ctx, path, &stored);
    if (status == ICD_OK) status = repermute(job, stored);
    icd_perm_set_free(job->ctx, stored);
    return status;
}
