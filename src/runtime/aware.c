/* transform-aware linear: pi0 solved on the masks that the transform would make, then the
   same transform. What one order of every true axis can do that knows the transform, and
   so the strongest baseline without a second permutation. */
#include "runtime/variant.h"

#include <icd/graph.h>

#include <string.h>

/* Masks of the linears that read an axis whole, as access sets; *out NULL: there are
   none. */
static icd_status axis_sets(icd_job *job, const icd_job_axis *axis, icd_access **out,
                            int32_t *granule)
{
    icd_status status = ICD_OK;
    icd_mask **mask = NULL;
    int64_t count = 0;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(job->ctx, job->linears, &mask));
    for (int64_t i = 0; i < job->linears; i++) {
        const icd_linear *l = job->linear[i].linear;
        const icd_layout_entry *e = &job->layout->entry[i];
        if (!e->mask || strcmp(l->in_axis, axis->name) || l->cols != axis->perm->n)
            continue;
        ICD_TRY(icd_i_mask_coarsen(job->ctx, e->mask, job->config->kernel.vector,
                                   &mask[count]));
        *granule = e->granule;
        count++;
    }
    if (count)
        ICD_TRY(icd_i_mask_access(job->ctx, (const icd_mask *const *)mask, count,
                                  icd_model_frame(job->permuted, axis->name), axis->name,
                                  out));
done:
    for (int64_t i = 0; mask && i < job->linears; i++) icd_i_mask_free(job->ctx, mask[i]);
    icd_i_free(job->ctx, mask);
    return status;
}

static icd_status solve(icd_job *job, const icd_access *sets, int32_t granule,
                        icd_perm **out)
{
    icd_csr *w = NULL;
    icd_csr_meta meta = {0};
    icd_solver_opts opts = job->config->solver;
    opts.granule = granule;
    icd_i_progress_hold(job->ctx, true);
    icd_status status = icd_build_w(job->ctx, sets, &job->config->graph, &w, &meta);
    icd_problem problem = {.w = w, .sets = sets};
    if (status == ICD_OK)
        status = icd_fit_permutation(job->ctx, &problem, &opts, out, NULL);
    icd_i_progress_hold(job->ctx, false);
    icd_csr_free(job->ctx, w);
    return status;
}

/* pi0 of one axis, then what its masks ask for. */
static icd_status add_axis(icd_job *job, const icd_job_axis *axis, icd_perm_set *set,
                           bool *any)
{
    icd_status status = ICD_OK;
    icd_access *sets = NULL;
    icd_perm *d = NULL, *whole = NULL;
    int32_t granule = 4;
    ICD_TRY(axis_sets(job, axis, &sets, &granule));
    if (sets) {
        ICD_TRY(solve(job, sets, granule, &d));
        ICD_TRY(icd_perm_compose(job->ctx, axis->perm, d, &whole));
        *any = true;
    }
    status =
        icd_perm_set_put(job->ctx, set, axis->name, whole ? whole : axis->perm, false);
done:
    icd_access_free(job->ctx, sets);
    icd_perm_free(job->ctx, d);
    icd_perm_free(job->ctx, whole);
    return status;
}

static icd_status transform(icd_job *job, icd_model *permuted, icd_variant **out)
{
    icd_model *own = job->permuted;
    job->permuted = permuted;
    icd_status status =
        icd_i_variant_make(job, &job->config->sparsity, &job->config->quant, out);
    job->permuted = own;
    return status;
}

icd_status icd_i_variant_aware(icd_job *job, icd_variant **out)
{
    icd_status status = ICD_OK;
    icd_perm_set *set = NULL;
    icd_model *permuted = NULL;
    bool any = false;
    *out = NULL;
    ICD_TRY(icd_perm_set_new(job->ctx, &set));
    for (int64_t i = 0; i < job->axes; i++)
        if (!job->axis[i].local) ICD_TRY(add_axis(job, &job->axis[i], set, &any));
    if (!any) goto done;
    ICD_TRY(icd_model_apply(job->ctx, job->checkpoint, set, &permuted));
    ICD_TRY(transform(job, permuted, out));
    (*out)->source = permuted;
    permuted = NULL;
done:
    icd_model_free(job->ctx, permuted);
    icd_perm_set_free(job->ctx, set);
    return status;
}
