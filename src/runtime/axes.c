/* Orders that a run solves: adding, finding, and solving one with the cache or a given
 * set. */
#include "runtime/job.h"

#include "base/hash.h"
#include "storage/cache.h"

#include <icd/graph.h>

#include <stdio.h>
#include <string.h>

icd_status icd_i_axis_add(icd_job *job, const char *name, bool local, icd_job_axis **out)
{
    icd_job_axis axis = {.local = local};
    *out = NULL;
    icd_status status = icd_i_strdup(job->ctx, name, &axis.name);
    if (status == ICD_OK)
        status = icd_i_grow(job->ctx, (void **)&job->axis, &job->axes_capacity,
                            job->axes + 1, sizeof axis);
    if (status != ICD_OK) {
        icd_i_free(job->ctx, axis.name);
        return status;
    }
    job->axis[job->axes] = axis;
    *out = &job->axis[job->axes++];
    return ICD_OK;
}

icd_job_axis *icd_i_axis_find(const icd_job *job, const char *name, bool local)
{
    for (int64_t i = 0; i < job->axes; i++)
        if (job->axis[i].local == local && !strcmp(job->axis[i].name, name))
            return &job->axis[i];
    return NULL;
}

static uint64_t hash_sets(const icd_access *a)
{
    uint64_t h = icd_i_hash(a->frame, a->event_ptr,
                            (size_t)(a->events + 1) * sizeof *a->event_ptr);
    h = icd_i_hash(h, a->index, (size_t)a->event_ptr[a->events] * sizeof *a->index);
    if (a->weight) h = icd_i_hash(h, a->weight, (size_t)a->events * sizeof *a->weight);
    return icd_i_hash(h, &a->n, sizeof a->n);
}

/* Everything that decides the result: W's bytes, the sets, the options by value, the
 * version. */
static uint64_t solve_key(const icd_job_axis *axis, const icd_solver_opts *opts)
{
    uint64_t h = icd_i_hash(0, icd_version(), strlen(icd_version()));
    uint64_t w = axis->w ? icd_csr_hash(axis->w) : 0, sets = hash_sets(axis->sets);
    const double real[] = {opts->time_budget_s, opts->lambda, opts->tau,
                           opts->gamma,         opts->alpha,  opts->mu,
                           opts->gamma_stab};
    const int64_t whole[] = {opts->objective, opts->effort, opts->refine_steps,
                             opts->k_blocks,  opts->seed,   opts->granule};
    h = icd_i_hash(h, &w, sizeof w);
    h = icd_i_hash(h, &sets, sizeof sets);
    h = icd_i_hash(h, real, sizeof real);
    h = icd_i_hash(h, whole, sizeof whole);
    return icd_i_hash(h, opts->method, strlen(opts->method));
}

/* A cached order is as good as its score: the figures of the report are computed anew. */
static icd_status score_cached(icd_job *job, icd_job_axis *axis,
                               const icd_problem *problem, const icd_solver_opts *opts)
{
    icd_status status = ICD_OK;
    icd_perm *identity = NULL;
    ICD_TRY(icd_perm_identity(job->ctx, axis->perm->n, axis->perm->from, &identity));
    ICD_TRY(icd_score_perm(job->ctx, problem, axis->perm, opts, &axis->stats.score));
    ICD_TRY(icd_score_perm(job->ctx, problem, identity, opts, &axis->stats.start));
    axis->stats.moved = icd_perm_moved(axis->perm, identity);
    snprintf(axis->stats.method, sizeof axis->stats.method, "%s", opts->method);
    snprintf(axis->stats.reason, sizeof axis->stats.reason,
             "found in the cache for exactly this problem");
    axis->cached = true;
done:
    icd_perm_free(job->ctx, identity);
    return status;
}

icd_status icd_i_axis_solve(icd_job *job, icd_job_axis *axis, const char *method)
{
    icd_solver_opts opts = job->config->solver;
    const icd_cache_opts *cache = &job->config->cache;
    const char *dir = cache->enabled ? cache->dir : NULL;
    icd_problem problem = {.w = axis->w, .sets = axis->sets};
    opts.granule = axis->granule;
    if (method) opts.method = method;
    uint64_t key = solve_key(axis, &opts);
    icd_status status = icd_i_cache_get(job->ctx, dir, key, axis->sets->n,
                                        axis->sets->frame, &axis->perm);
    if (status != ICD_OK) return status;
    if (axis->perm) return score_cached(job, axis, &problem, &opts);
    icd_i_progress_hold(job->ctx, true);
    status = icd_fit_permutation(job->ctx, &problem, &opts, &axis->perm, &axis->stats);
    icd_i_progress_hold(job->ctx, false);
    if (status == ICD_OK && !axis->stats.timed_out)
        status = icd_i_cache_put(job->ctx, dir, key, axis->perm);
    return status;
}
