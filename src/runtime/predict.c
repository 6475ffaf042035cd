/* What the cost model expects of an arm before anything is timed. */
#include "runtime/judgement.h"

#include "base/cpu.h"
#include "measure/costmodel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

icd_status icd_i_arm_cost(icd_job *job, const icd_layout *layout, icd_arm_cost *out)
{
    int32_t vector = job->config->kernel.vector;
    *out = (icd_arm_cost){0};
    for (int64_t i = 0; layout && i < layout->count; i++) {
        icd_linear_cost cost;
        icd_status status =
            icd_runner_linear_cost(job->ctx, &layout->entry[i], vector, &cost);
        if (status != ICD_OK) return status;
        out->live += cost.live;
        out->all += cost.all;
        out->bytes += cost.bytes;
    }
    return ICD_OK;
}

icd_job_arm *icd_i_arm_find(icd_job *job, const char *name)
{
    for (int64_t i = 0; i < job->arms; i++)
        if (!strcmp(job->arm[i].name, name)) return &job->arm[i];
    return NULL;
}

void icd_i_cost_setting(const icd_config *config, const char *model, char out[256])
{
    const icd_runner_opts *r = &config->runner;
    snprintf(out, 256, "%.96s, %s, %lld threads, %s, %lld x %lld %s", model,
             r->device == ICD_RUN_CUDA ? "cuda" : "cpu",
             (long long)config->measure.threads,
             icd_i_run_dtype_name(icd_i_config_dtype(config)), (long long)r->batch,
             (long long)r->seq, r->phase == ICD_PHASE_DECODE ? "decode" : "prefill");
}

/* False, with the reason, where its times are of something else, or its line of no use.
 */
static bool usable(const icd_job *job, const icd_cost_model *m, char why[640])
{
    char cpu[sizeof m->cpu], setting[sizeof m->setting];
    const char *flaw = icd_i_cost_model_flaw(m);
    icd_i_cpu_model(cpu, sizeof cpu);
    icd_i_cost_setting(job->config,
                       job->checkpoint ? icd_model_name(job->checkpoint) : "", setting);
    *why = 0;
    if (strcmp(cpu, m->cpu) != 0)
        snprintf(why, 640, "it was fitted on '%s', this is '%s'", m->cpu, cpu);
    else if (strcmp(setting, m->setting) != 0)
        snprintf(why, 640, "it was fitted for '%s', this run is '%s'", m->setting,
                 setting);
    else if (flaw)
        snprintf(why, 640, "%s", flaw);
    return !*why;
}

void icd_i_cost_model_check(icd_job *job)
{
    char why[640];
    icd_cost_model m;
    const char *path = job->config->measure.cost_model;
    if (path && icd_i_cost_model_read(job->ctx, path, &m) == ICD_OK &&
        !usable(job, &m, why))
        icd_i_warn(job->ctx, "%s is ignored: %s; `icd calibrate` fits one", path, why);
}

/* Within 1 % two arms count as the same: where not even the near end of the interval is
 * beyond that, nothing can be gained. */
static const char *advise(double low, double high)
{
    if (!isfinite(low) || !isfinite(high)) return "measure it";
    if (low >= .99) return "do not bother";
    return high < .99 ? "worth it" : "measure it";
}

icd_status icd_i_predict(icd_job *job, icd_prediction *out)
{
    return icd_i_predict_between(job, icd_i_arm_find(job, "linear"),
                                 icd_i_arm_find(job, "iterative"), out);
}

icd_status icd_i_predict_between(icd_job *job, const icd_job_arm *linear,
                                 const icd_job_arm *iterative, icd_prediction *out)
{
    icd_status status = ICD_OK;
    icd_arm_cost a, b;
    icd_cost_model model;
    char why[640];
    const char *path = job->config->measure.cost_model;
    *out = (icd_prediction){NAN, NAN, NAN, NAN, NAN, ""};
    if (!linear || !iterative) return ICD_OK;
    ICD_TRY(icd_i_arm_cost(job, linear->layout, &a));
    ICD_TRY(icd_i_arm_cost(job, iterative->layout, &b));
    if (a.live > 0) out->live = (double)b.live / (double)a.live;
    if (a.bytes > 0) out->bytes = (double)b.bytes / (double)a.bytes;
    if (path) {
        ICD_TRY(icd_i_cost_model_read(job->ctx, path, &model));
        if (usable(job, &model, why))
            icd_i_cost_model_ratio(&model, (double)a.bytes, (double)b.bytes, &out->time,
                                   &out->low, &out->high);
    }
    if (!isfinite(out->low) || !isfinite(out->high)) {
        out->time = NAN;
        out->low = fmin(out->live, 1);
        out->high = fmax(out->live, 1);
    }
    out->advice = advise(out->low, out->high);
done:
    return status;
}
