/* A run in progress: opening what every stage needs, and letting go of everything. */
#include "runtime/rounds.h"

#include "base/file.h"
#include "base/hash.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *icd_i_job_path(icd_job *job, const char *name)
{
    return icd_i_rundir_path(job->ctx, job->dir, name);
}

void icd_i_job_roll_back(icd_job *job, const char *fmt, ...)
{
    va_list args;
    if (job->outcome == ICD_OUTCOME_ROLLED_BACK) return;
    va_start(args, fmt);
    vsnprintf(job->cause, sizeof job->cause, fmt, args);
    va_end(args);
    job->outcome = ICD_OUTCOME_ROLLED_BACK;
}

/* Model, input and the list of linears: what every stage needs, and what a wrong
   configuration breaks. */
icd_status icd_i_job_open_weights(icd_job *job)
{
    icd_status status = ICD_OK;
    const icd_linear *list = NULL;
    const char *path = job->config->model.path;
    if (!path)
        return icd_i_fail(job->ctx, ICD_EINVAL, "model.path", "name a model folder",
                          "found nothing");
    if (!icd_i_file_exists(path) && job->config->model.fallback) {
        icd_i_warn(job->ctx, "%s is not there; running on %s instead", path,
                   job->config->model.fallback);
        path = job->config->model.fallback;
        job->fallback = true;
    }
    ICD_TRY(icd_model_open(job->ctx, path, &job->checkpoint));
    ICD_TRY(icd_runner_linears(job->ctx, job->checkpoint, &list, &job->linears));
    ICD_TRY(ICD_ALLOC(job->ctx, job->linears, &job->linear));
    for (int64_t i = 0; i < job->linears; i++) job->linear[i].linear = &list[i];
done:
    if (!job->linear) icd_mem_free(job->ctx, (void *)(uintptr_t)list);
    return status;
}

uint64_t icd_i_job_hash(const icd_job *job)
{
    return icd_i_hash(job->checkpoint ? icd_model_hash(job->checkpoint) : 0,
                      &job->input.hash, sizeof job->input.hash);
}

icd_status icd_i_stage_open(icd_job *job)
{
    icd_status status = icd_i_job_open_weights(job);
    return status == ICD_OK ? icd_i_input_read(job) : status;
}

static void release_linear(icd_ctx *ctx, icd_job_linear *l)
{
    icd_i_free(ctx, l->x_sq);
    icd_i_free(ctx, l->x);
    icd_i_free(ctx, l->x_max);
}

void icd_i_job_axis_release(icd_ctx *ctx, icd_job_axis *a)
{
    icd_i_free(ctx, a->name);
    icd_access_free(ctx, a->sets);
    icd_csr_free(ctx, a->w);
    icd_perm_free(ctx, a->perm);
}

void icd_i_job_free(icd_job *job)
{
    icd_ctx *ctx = job->ctx;
    const icd_linear *list = job->linear && job->linears ? job->linear[0].linear : NULL;
    icd_i_round_release(job);
    icd_i_put_away_free(ctx, job->previous);
    icd_i_rounds_free(ctx, job->rounds);
    icd_perm_set_free(ctx, job->before);
    for (int64_t i = 0; i < job->axes; i++) icd_i_job_axis_release(ctx, &job->axis[i]);
    icd_i_free(ctx, job->axis);
    for (int64_t i = 0; job->linear && i < job->linears; i++)
        release_linear(ctx, &job->linear[i]);
    icd_i_free(ctx, job->linear);
    json_decref(job->break_even);
    icd_mem_free(ctx, (void *)list);
    icd_i_input_release(ctx, &job->input);
    icd_model_free(ctx, job->permuted);
    icd_model_free(ctx, job->checkpoint);
    icd_model_free(ctx, job->unsmoothed);
    icd_i_rundir_close(ctx, job->dir);
}

/* Kernels of both devices take one scale a row. int4 has some on a CPU, where no mask
   takes its groups apart; fp8 on a GPU. F32: none. */
static int32_t small_dtype(const icd_sparsity_opts *sparsity, const icd_quant_opts *quant,
                           int32_t device)
{
    bool masked = sparsity->type != ICD_S_NONE, gpu = device == ICD_RUN_CUDA;
    if (quant->dtype == ICD_Q_BF16) return ICD_RUN_BF16;
    if (quant->dtype == ICD_Q_INT8 && quant->group == 0) return ICD_RUN_INT8;
    if (quant->dtype == ICD_Q_FP8 && quant->group == 0 && gpu) return ICD_RUN_FP8;
    if (quant->dtype == ICD_Q_INT4 && !masked && quant->group % 32 == 0 && !gpu)
        return ICD_RUN_INT4;
    return ICD_RUN_F32;
}

bool icd_i_runs_small(const icd_sparsity_opts *sparsity, const icd_quant_opts *quant,
                      int32_t device)
{
    return small_dtype(sparsity, quant, device) != ICD_RUN_F32;
}

int32_t icd_i_run_dtype(const icd_sparsity_opts *sparsity, const icd_quant_opts *quant,
                        int32_t device)
{
    int32_t small = small_dtype(sparsity, quant, device);
    return small == ICD_RUN_F32 && device == ICD_RUN_CUDA ? ICD_RUN_BF16 : small;
}

int32_t icd_i_config_dtype(const icd_config *config)
{
    return icd_i_run_dtype(&config->sparsity, &config->quant, config->runner.device);
}

bool icd_i_config_small(const icd_config *config)
{
    return icd_i_runs_small(&config->sparsity, &config->quant, config->runner.device);
}

static const char *const DTYPE[] = {"f32", "int8", "bf16", "int4", "fp8"};

const char *icd_i_run_dtype_name(int32_t dtype)
{
    return DTYPE[dtype];
}

int32_t icd_i_run_dtype_of(const char *name)
{
    for (int32_t i = ICD_RUN_FP8; name && i > ICD_RUN_F32; i--)
        if (!strcmp(DTYPE[i], name)) return i;
    return ICD_RUN_F32;
}
