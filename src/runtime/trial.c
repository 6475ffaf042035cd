/* A trial permutes axes at random and compares outputs: of our runner on random input, or
   of a user's command that runs the written model. */
#include <icd/trial.h>

#include "runtime/job.h"

#include "base/file.h"
#include "base/rng.h"
#include "base/scratch.h"

#include <icd/exec.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 2, TOKENS = 12 };

typedef struct trial {
    icd_ctx *ctx;
    const icd_model *model;
    const icd_trial_opts *opts;
    icd_rng rng;
    icd_exec_result expected; /* what the model computes as it is */
} trial;

static icd_status random_input(trial *t, int32_t *ids, float **rows, icd_batch *batch)
{
    const icd_model_config *c = icd_model_get_config(t->model);
    icd_rng rng;
    icd_i_rng_init(&rng, (uint64_t)t->opts->seed, 1);
    *batch = (icd_batch){.batch = BATCH, .seq = TOKENS};
    if (c->positions > 0 && c->positions < TOKENS) batch->seq = c->positions;
    if (c->vocab > 0) {
        for (int i = 0; i < BATCH * TOKENS; i++)
            ids[i] = (int32_t)icd_i_rng_below(&rng, c->vocab);
        batch->ids = ids;
        return ICD_OK;
    }
    icd_status status = ICD_ALLOC(t->ctx, BATCH * TOKENS * c->hidden, rows);
    for (int64_t i = 0; status == ICD_OK && i < BATCH * TOKENS * c->hidden; i++)
        (*rows)[i] = (float)icd_i_rng_below(&rng, 2001) / 1000 - 1;
    batch->rows = *rows;
    batch->width = c->hidden;
    return status;
}

/* Hidden states, then head outputs where there is a head. */
static icd_status collect(trial *t, icd_runner *r, const icd_output *out,
                          icd_exec_result *result)
{
    icd_status status = ICD_OK;
    float *logits = NULL;
    int64_t hidden = out->tokens * out->width, outputs = icd_runner_outputs(r),
            head = outputs * out->batch;
    ICD_TRY(ICD_ALLOC(t->ctx, hidden + head, &result->value));
    result->count = hidden + head;
    for (int64_t i = 0; i < hidden; i++) result->value[i] = (double)out->hidden[i];
    if (head == 0) goto done;
    ICD_TRY(ICD_ALLOC(t->ctx, head, &logits));
    ICD_TRY(icd_runner_logits(t->ctx, r, 0, out->batch, logits));
    for (int64_t i = 0; i < head; i++) result->value[hidden + i] = (double)logits[i];
done:
    icd_i_free(t->ctx, logits);
    return status;
}

static icd_status run_here(trial *t, const icd_model *model, icd_exec_result *result)
{
    icd_status status = ICD_OK;
    int32_t ids[BATCH * TOKENS];
    float *rows = NULL;
    icd_runner *r = NULL;
    icd_runner_opts opts;
    icd_batch batch;
    icd_output out;
    icd_options_init(&icd_runner_table, &opts);
    opts.dtype = ICD_RUN_F32;
    ICD_TRY(random_input(t, ids, &rows, &batch));
    ICD_TRY(icd_runner_new(t->ctx, model, NULL, &batch, &opts, &r));
    ICD_TRY(icd_runner_step(t->ctx, r, &batch, &out));
    ICD_TRY(collect(t, r, &out, result));
done:
    icd_runner_free(t->ctx, r);
    icd_i_free(t->ctx, rows);
    return status;
}

/* The command reads the source itself before anything was changed, else a written copy.
 */
static icd_status run_command(trial *t, const icd_model *model, icd_exec_result *result)
{
    const char *path = icd_model_path(model);
    char *scratch = NULL;
    icd_status status = ICD_OK;
    if (!path[0]) {
        ICD_TRY(icd_i_scratch_new(t->ctx, "trial", &scratch));
        ICD_TRY(icd_model_write(t->ctx, model, icd_model_path(t->model), scratch));
        path = scratch;
    }
    status = icd_exec_numbers(t->ctx, t->opts->command, path, t->opts->timeout_s, result);
done:
    icd_i_scratch_remove(t->ctx, scratch);
    return status;
}

static icd_status compute(trial *t, const icd_model *model, icd_exec_result *result)
{
    *result = (icd_exec_result){0};
    return t->opts->command ? run_command(t, model, result) : run_here(t, model, result);
}

static icd_status put_random(trial *t, icd_perm_set *set, const icd_axis *axis)
{
    icd_status status = ICD_OK;
    icd_perm *identity = NULL, *p = NULL;
    uint64_t frame = icd_model_frame(t->model, axis->name);
    ICD_TRY(icd_perm_identity(t->ctx, axis->n, frame, &identity));
    icd_i_rng_shuffle(&t->rng, identity->old_of_new, axis->n);
    ICD_TRY(
        icd_perm_from_array(t->ctx, identity->old_of_new, axis->n, frame, "trial", &p));
    ICD_TRY(icd_perm_set_put(t->ctx, set, axis->name, p, false));
done:
    icd_perm_free(t->ctx, identity);
    icd_perm_free(t->ctx, p);
    return status;
}

static icd_status compare(trial *t, const icd_exec_result *found, double *max_rel)
{
    double gap = 0, top = 0;
    if (found->count != t->expected.count)
        return icd_i_fail(t->ctx, ICD_EMEASURE, "trial", NULL,
                          "the command printed %lld numbers for the permuted model and "
                          "%lld for the model as it is",
                          (long long)found->count, (long long)t->expected.count);
    for (int64_t i = 0; i < found->count; i++) {
        double a = t->expected.value[i], b = found->value[i];
        top = fmax(top, fabs(a));
        gap = fmax(gap, isfinite(a) && isfinite(b) ? fabs(a - b) : INFINITY);
    }
    *max_rel = top > 0 ? gap / top : gap;
    return ICD_OK;
}

/* One axis, or (NULL) all of them. */
static icd_status try_axes(trial *t, const icd_axis *only, double *max_rel)
{
    icd_status status = ICD_OK;
    icd_perm_set *set = NULL;
    icd_model *changed = NULL;
    icd_exec_result found = {0};
    ICD_TRY(icd_perm_set_new(t->ctx, &set));
    for (int64_t i = 0; i < icd_model_axes(t->model); i++) {
        const icd_axis *axis = icd_model_axis_at(t->model, i);
        if (!only || only == axis) ICD_TRY(put_random(t, set, axis));
    }
    ICD_TRY(icd_model_apply(t->ctx, t->model, set, &changed));
    ICD_TRY(compute(t, changed, &found));
    status = compare(t, &found, max_rel);
done:
    icd_exec_result_release(t->ctx, &found);
    icd_model_free(t->ctx, changed);
    icd_perm_set_free(t->ctx, set);
    return status;
}

static icd_status check_possible(const trial *t)
{
    const icd_linear *list = NULL;
    int64_t count = 0;
    if (t->opts->command) return ICD_OK;
    icd_status status = icd_runner_linears(t->ctx, t->model, &list, &count);
    icd_mem_free(t->ctx, (void *)(uintptr_t)list);
    if (status != ICD_EUNSUPPORTED) return status;
    return icd_i_fail(t->ctx, ICD_EUNSUPPORTED, icd_model_name(t->model),
                      "name a command that prints what {model} computes (--trial)",
                      "no runner knows this architecture, so its axes cannot be tried");
}

static icd_status try_each(trial *t, icd_trial_row *rows, double bound)
{
    int64_t n = icd_model_axes(t->model);
    for (int64_t i = 0; i < n; i++) {
        icd_i_progress(t->ctx, "trial", i, n);
        icd_status status = try_axes(t, icd_model_axis_at(t->model, i), &rows[i].max_rel);
        if (status == ICD_OK) status = icd_i_check_cancel(t->ctx);
        if (status != ICD_OK) return status;
        rows[i].ok = rows[i].max_rel <= bound;
    }
    return ICD_OK;
}

static icd_status run_trial(trial *t, icd_trial_row *rows, bool *ok)
{
    double together = 0, bound = t->opts->bound > 0 ? t->opts->bound : 1e-5;
    int64_t n = icd_model_axes(t->model);
    icd_status status = check_possible(t);
    if (status == ICD_OK) status = compute(t, t->model, &t->expected);
    if (status == ICD_OK) status = try_axes(t, NULL, &together);
    if (status != ICD_OK) return status;
    *ok = together <= bound;
    for (int64_t i = 0; i < n; i++)
        rows[i] = (icd_trial_row){icd_model_axis_at(t->model, i)->name, together, *ok};
    return *ok ? ICD_OK : try_each(t, rows, bound);
}

icd_status icd_axis_trial(icd_ctx *ctx, const icd_model *model,
                          const icd_trial_opts *opts, icd_trial_row **rows, bool *ok)
{
    trial t = {.ctx = ctx, .model = model, .opts = opts};
    icd_trial_row *list = NULL;
    *rows = NULL;
    *ok = false;
    icd_i_rng_init(&t.rng, (uint64_t)opts->seed, 2);
    icd_status status = ICD_ALLOC(ctx, icd_model_axes(model), &list);
    if (status == ICD_OK) status = run_trial(&t, list, ok);
    icd_exec_result_release(ctx, &t.expected);
    if (status == ICD_OK) {
        *rows = list;
        list = NULL;
    }
    icd_i_free(ctx, list);
    return status;
}
