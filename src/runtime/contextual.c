/* Contextual sparsity: how many inputs of linears are zero, and what taking small ones as
   zero costs. */
#include "runtime/job.h"

#include <math.h>

typedef struct counter {
    double threshold;
    int64_t values, zeros, below;
} counter;

static icd_status count(icd_ctx *ctx, void *user, const icd_linear *linear,
                        const float *x, int64_t tokens, int64_t cols)
{
    counter *c = user;
    (void)ctx, (void)linear;
    for (int64_t i = 0; i < tokens * cols; i++) {
        c->zeros += x[i] == 0;
        c->below += x[i] == 0 || fabsf(x[i]) < c->threshold;
    }
    c->values += tokens * cols;
    return ICD_OK;
}

/* Linear as it will be timed; the observer sees inputs before anything is cut. */
static icd_status run_linear(icd_job *job, icd_output *out, icd_runner **runner)
{
    icd_status status = ICD_OK;
    icd_job own = *job;
    icd_config config = *job->config;
    icd_job_contextual *found = &job->contextual;
    icd_batch batch = icd_i_input_batch(&job->input, 0);
    counter c = {.threshold = config.kernel.threshold};
    const icd_job_arm *arm = &job->arm[0];
    config.runner.threshold = config.kernel.threshold;
    own.config = &config;
    ICD_TRY(icd_i_arm_runner(&own, job->transformed, arm->layout, arm->dtype, arm->kv,
                             NULL, NULL, runner));
    icd_runner_observe(*runner, count, &c);
    ICD_TRY(icd_runner_step(job->ctx, *runner, &batch, out));
    found->there = c.values > 0;
    found->exact = (double)c.zeros / fmax((double)c.values, 1);
    found->cut = (double)c.below / fmax((double)c.values, 1);
done:
    return status;
}

icd_status icd_i_contextual(icd_job *job, const float *dense, const float *linear)
{
    icd_status status = ICD_OK;
    icd_runner *runner = NULL;
    icd_output out;
    double unused;
    icd_job_contextual *found = &job->contextual;
    if (job->config->runner.device != ICD_RUN_CPU) return ICD_OK;
    ICD_TRY(run_linear(job, &out, &runner));
    icd_i_difference(linear, out.hidden, out.tokens, out.width, &found->max_rel,
                     &found->cosine);
    if (job->config->kernel.threshold > 0)
        icd_i_difference(dense, out.hidden, out.tokens, out.width, &unused,
                         &job->cosine_vs_dense);
done:
    icd_runner_free(job->ctx, runner);
    return status;
}
