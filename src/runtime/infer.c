/* infer, verify and trace: running a model outside the loop. They use the loop's own
   reading of input and its trace stage, so that what they show is what a run would see.
 */
#include "runtime/packed.h"

#include "base/file.h"

#include <math.h>
#include <string.h>

/* A job without a run directory: model and input only. The configuration is copied,
   because path and input come from the caller. */
icd_status icd_i_job_open_model(icd_job *job, icd_config *config, const char *model,
                                const char *input)
{
    config->model.path = model;
    config->model.fallback = NULL;
    config->model.input = input;
    job->config = config;
    return icd_i_stage_open(job);
}

/* Runs every batch and collects hidden and pooled outputs in checkpoint order. */
typedef struct outputs {
    float *hidden, *pooled;
    int64_t width;
} outputs;

static icd_status keep(icd_job *job, const icd_output *out, int64_t batch, outputs *all)
{
    icd_status status = ICD_OK;
    const icd_job_input *in = &job->input;
    if (!all->hidden) {
        all->width = out->width;
        ICD_TRY(ICD_ALLOC(job->ctx, in->tokens * out->width, &all->hidden));
        if (out->pooled)
            ICD_TRY(ICD_ALLOC(job->ctx, in->sequences * out->width, &all->pooled));
    }
    int64_t row = batch * in->batch;
    memcpy(all->hidden + row * in->seq * out->width, out->hidden,
           (size_t)(out->tokens * out->width) * sizeof(float));
    if (out->pooled)
        memcpy(all->pooled + row * out->width, out->pooled,
               (size_t)(out->batch * out->width) * sizeof(float));
done:
    return status;
}

static icd_status run_all(icd_job *job, outputs *all)
{
    icd_status status = ICD_OK;
    icd_runner *runner = NULL;
    icd_layout *layout = NULL;
    icd_runner_opts opts = job->config->runner;
    icd_batch batch = icd_i_input_batch(&job->input, 0);
    int64_t batches = job->input.sequences / job->input.batch;
    opts.vector = job->config->kernel.vector;
    opts.threshold = job->config->kernel.threshold;
    opts.phase = ICD_PHASE_PREFILL; /* the output has a row for every token */
    opts.l2_pin = job->config->layout.l2_pin;
    ICD_TRY(icd_i_packed_layout(job, &layout, &opts.dtype));
    ICD_TRY(icd_runner_new(job->ctx, job->checkpoint, layout, &batch, &opts, &runner));
    for (int64_t b = 0; b < batches; b++) {
        icd_output out;
        icd_i_progress(job->ctx, "infer", b, batches);
        ICD_TRY(icd_i_check_cancel(job->ctx));
        batch = icd_i_input_batch(&job->input, b);
        ICD_TRY(icd_runner_step(job->ctx, runner, &batch, &out));
        ICD_TRY(keep(job, &out, b, all));
    }
done:
    icd_runner_free(job->ctx, runner);
    icd_i_layout_free(job->ctx, layout);
    return status;
}

static void release_outputs(icd_ctx *ctx, outputs *all)
{
    icd_i_free(ctx, all->hidden);
    icd_i_free(ctx, all->pooled);
}

static icd_status write_outputs(icd_job *job, const outputs *all, const char *path)
{
    const icd_job_input *in = &job->input;
    icd_tensor tensor[3];
    int64_t count = 0;
    if (in->ids)
        tensor[count++] = (icd_tensor){.name = "ids",
                                       .dtype = ICD_I32,
                                       .dims = 2,
                                       .shape = {in->sequences, in->seq},
                                       .count = in->tokens,
                                       .data = in->ids};
    tensor[count++] = (icd_tensor){.name = "hidden",
                                   .dtype = ICD_F32,
                                   .dims = 3,
                                   .shape = {in->sequences, in->seq, all->width},
                                   .count = in->tokens * all->width,
                                   .data = all->hidden};
    if (all->pooled)
        tensor[count++] = (icd_tensor){.name = "pooled",
                                       .dtype = ICD_F32,
                                       .dims = 2,
                                       .shape = {in->sequences, all->width},
                                       .count = in->sequences * all->width,
                                       .data = all->pooled};
    return icd_safetensors_write(job->ctx, path, tensor, count, NULL);
}

icd_status icd_infer(icd_ctx *ctx, const icd_config *config, const char *model,
                     const char *input, const char *out, icd_infer_result *result)
{
    icd_status status = ICD_OK;
    icd_config own = *config;
    icd_job job = {.ctx = ctx};
    outputs all = {0};
    ICD_TRY(icd_i_job_open_model(&job, &own, model, input));
    ICD_TRY(run_all(&job, &all));
    ICD_TRY(write_outputs(&job, &all, out));
    *result = (icd_infer_result){job.input.sequences, job.input.seq, all.width};
done:
    release_outputs(ctx, &all);
    icd_i_job_free(&job);
    return status;
}

void icd_i_difference(const float *a, const float *b, int64_t tokens, int64_t width,
                      double *max_rel, double *cosine)
{
    double top = 0, gap = 0, cosines = 0;
    for (int64_t t = 0; t < tokens; t++) {
        double dot = 0, aa = 0, bb = 0;
        for (int64_t i = t * width; i < (t + 1) * width; i++) {
            double x = (double)a[i], y = (double)b[i];
            top = fmax(top, fabs(x));
            gap = fmax(gap, isfinite(x) && isfinite(y) ? fabs(x - y) : INFINITY);
            dot += x * y;
            aa += x * x;
            bb += y * y;
        }
        cosines += aa * bb > 0 ? dot / sqrt(aa * bb) : 1;
    }
    *max_rel = top > 0 ? gap / top : gap;
    *cosine = tokens ? cosines / (double)tokens : 1;
}

static icd_status same_shape(icd_ctx *ctx, const icd_job *a, const icd_job *b,
                             const outputs *x, const outputs *y)
{
    if (a->input.tokens == b->input.tokens && x->width == y->width) return ICD_OK;
    return icd_i_fail(ctx, ICD_EINVAL, "verify", "compare models of one architecture",
                      "found outputs of %lld x %lld and %lld x %lld",
                      (long long)a->input.tokens, (long long)x->width,
                      (long long)b->input.tokens, (long long)y->width);
}

icd_status icd_verify(icd_ctx *ctx, const icd_config *config, const char *a,
                      const char *b, const char *input, icd_verify_result *result)
{
    icd_status status = ICD_OK;
    icd_config own_a = *config, own_b = *config;
    icd_job job_a = {.ctx = ctx}, job_b = {.ctx = ctx};
    outputs x = {0}, y = {0};
    bool f32 = config->runner.dtype == ICD_RUN_F32;
    *result = (icd_verify_result){.bound = f32 ? 1e-5 : 2e-2};
    ICD_TRY(icd_i_job_open_model(&job_a, &own_a, a, input));
    ICD_TRY(icd_i_job_open_model(&job_b, &own_b, b, input));
    ICD_TRY(run_all(&job_a, &x));
    ICD_TRY(run_all(&job_b, &y));
    ICD_TRY(same_shape(ctx, &job_a, &job_b, &x, &y));
    icd_i_difference(x.hidden, y.hidden, job_a.input.tokens, x.width, &result->max_rel,
                     &result->cosine);
    result->tokens = job_a.input.tokens;
    result->equal = result->max_rel <= result->bound && result->cosine >= .9995;
done:
    release_outputs(ctx, &x);
    release_outputs(ctx, &y);
    icd_i_job_free(&job_a);
    icd_i_job_free(&job_b);
    return status;
}
