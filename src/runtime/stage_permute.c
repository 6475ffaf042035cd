/* graph and permute: W and pi0 of every true axis, applied to the model. */
#include "runtime/smooth.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/options.h"

#include <icd/graph.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* pi0 is solved before any transform, for f32 weights: one 64-byte line is 16 of them. */
enum { GRANULE_F32 = 16 };

static icd_status write_w(icd_job *job, const icd_job_axis *axis,
                          const icd_csr_meta *meta)
{
    icd_status status = ICD_OK;
    const char *path = NULL;
    const char *name = axis->local ? "W_after.csr.npz" : "W.csr.npz";
    char folder[512];
    if (axis->local) {
        snprintf(folder, sizeof folder, "axes/%s", axis->name);
        const char *own = icd_i_round_name(job, folder);
        if (!own) return ICD_ENOMEM;
        ICD_TRY(icd_i_rundir_folder_path(job->ctx, job->dir, own, name, &path));
        return icd_csr_write(job->ctx, axis->w, path);
    }
    ICD_TRY(icd_i_rundir_axis_path(job->ctx, job->dir, axis->name, name, &path));
    ICD_TRY(icd_csr_write(job->ctx, axis->w, path));
    ICD_TRY(icd_i_rundir_axis_path(job->ctx, job->dir, axis->name, "W.meta.json", &path));
    ICD_TRY(icd_csr_write_meta(job->ctx, axis->w, meta, path));
done:
    return status;
}

icd_status icd_i_axis_build_w(icd_job *job, icd_job_axis *axis)
{
    icd_csr_meta meta = {0};
    icd_i_progress_hold(job->ctx, true);
    icd_status status =
        icd_build_w(job->ctx, axis->sets, &job->config->graph, &axis->w, &meta);
    icd_i_progress_hold(job->ctx, false);
    return status == ICD_OK ? write_w(job, axis, &meta) : status;
}

icd_status icd_i_stage_graph(icd_job *job)
{
    icd_status status = ICD_OK;
    for (int64_t i = 0; i < job->axes; i++) {
        if (job->axis[i].local || job->axis[i].w) continue;
        icd_i_progress(job->ctx, "graph", i, job->axes);
        ICD_TRY(icd_i_axis_build_w(job, &job->axis[i]));
    }
done:
    return status;
}

/* Copies a given order instead of solving; false where the given set has none. */
static icd_status reuse(icd_job *job, const icd_perm_set *given, icd_job_axis *axis,
                        bool *done)
{
    const icd_perm *p = given ? icd_perm_set_get(given, axis->name) : NULL;
    *done = p != NULL;
    if (!p) return ICD_OK;
    if (p->n != axis->sets->n)
        return icd_i_fail(job->ctx, ICD_EINVAL, job->opts.reuse_perm, NULL,
                          "the order of %s has %lld indices, expected %lld", axis->name,
                          (long long)p->n, (long long)axis->sets->n);
    return icd_perm_copy(job->ctx, p, &axis->perm);
}

static icd_status read_given(icd_job *job, icd_perm_set **given)
{
    *given = NULL;
    if (!job->opts.reuse_perm) return ICD_OK;
    return icd_perm_set_read(job->ctx, job->opts.reuse_perm, given);
}

/* Every option of a section, by name and resolved value. */
static uint64_t hash_options(uint64_t h, const icd_option_table *table, const void *opts)
{
    for (int64_t i = 0; i < table->rows; i++) {
        json_t *value = icd_i_option_json(&table->row[i], opts);
        char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        h = icd_i_hash(h, table->row[i].name, strlen(table->row[i].name));
        if (text) h = icd_i_hash(h, text, strlen(text));
        free(text);
        json_decref(value);
    }
    return h;
}

/* tag = hash(model + task + S/Q/K + seed), as the seed asks. */
static void make_tag(icd_job *job)
{
    const icd_config *c = job->config;
    uint64_t h = icd_i_hash(job->state.model_hash, c->model.task ? c->model.task : "",
                            c->model.task ? strlen(c->model.task) : 0);
    h = hash_options(h, &icd_sparsity_table, &c->sparsity);
    h = hash_options(h, &icd_quant_table, &c->quant);
    h = hash_options(h, &icd_kv_table, &c->kv);
    icd_i_hash_hex(icd_i_hash(h, &c->solver.seed, sizeof c->solver.seed), job->tag);
}

static icd_status apply(icd_job *job)
{
    icd_status status = ICD_OK;
    make_tag(job);
    ICD_TRY(icd_i_smooth(job));
    ICD_TRY(icd_perm_set_new(job->ctx, &job->before));
    ICD_TRY(icd_i_strdup(job->ctx, job->tag, &job->before->tag));
    for (int64_t i = 0; i < job->axes; i++)
        if (!job->axis[i].local)
            ICD_TRY(icd_perm_set_put(job->ctx, job->before, job->axis[i].name,
                                     job->axis[i].perm, false));
    ICD_TRY(icd_model_apply(job->ctx, job->checkpoint, job->before, &job->permuted));
done:
    return status;
}

icd_status icd_i_stage_permute(icd_job *job)
{
    icd_status status = ICD_OK;
    icd_perm_set *given = NULL;
    const char *path = icd_i_job_path(job, "perm_before.json");
    if (!path) return ICD_ENOMEM;
    ICD_TRY(read_given(job, &given));
    for (int64_t i = 0; i < job->axes; i++) {
        icd_job_axis *axis = &job->axis[i];
        bool reused = false;
        axis->granule = GRANULE_F32;
        icd_i_progress(job->ctx, "permute", i, job->axes);
        ICD_TRY(reuse(job, given, axis, &reused));
        if (!reused) ICD_TRY(icd_i_axis_solve(job, axis, NULL));
    }
    ICD_TRY(apply(job));
    ICD_TRY(icd_perm_set_write(job->ctx, job->before, path));
done:
    icd_perm_set_free(job->ctx, given);
    return status;
}

icd_status icd_i_stage_permute_load(icd_job *job)
{
    icd_status status = ICD_OK;
    icd_perm_set *stored = NULL;
    const char *path = icd_i_job_path(job, "perm_before.json");
    if (!path) return ICD_ENOMEM;
    ICD_TRY(icd_perm_set_read(job->ctx, path, &stored));
    for (int64_t i = 0; i < job->axes; i++) {
        const icd_perm *p = icd_perm_set_get(stored, job->axis[i].name);
        if (!p) {
            status = icd_i_fail(job->ctx, ICD_EDATA, path, "remove it and run again",
                                "found no order of %s", job->axis[i].name);
            goto done;
        }
        job->axis[i].granule = GRANULE_F32;
        ICD_TRY(icd_perm_copy(job->ctx, p, &job->axis[i].perm));
    }
    ICD_TRY(apply(job));
done:
    icd_perm_set_free(job->ctx, stored);
    return status;
}
