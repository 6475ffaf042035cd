/* What the cost model expects of an arm before anything is timed. */
#include "runtime/judgement.h"

#include "measure/costmodel.h"

#include <math.h>
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

/* Within 1 % two arms count as the same: where not even the near end of the interval is
 * beyond that, nothing can be gained. */
static const char *advise(double low, double high)
{
    if (!(low < .99)) return "do not bother";
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
    const char *path = job->config->measure.cost_model;
    *out = (icd_prediction){NAN, NAN, NAN, NAN, NAN, ""};
    if (!linear || !iterative) return ICD_OK;
    ICD_TRY(icd_i_arm_cost(job, linear->layout, &a));
    ICD_TRY(icd_i_arm_cost(job, iterative->layout, &b));
    if (a.live > 0) out->live = (double)b.live / (double)a.live;
    if (a.bytes > 0) out->bytes = (double)b.bytes / (double)a.bytes;
    if (path) {
        ICD_TRY(icd_i_cost_model_read(job->ctx, path, &model));
        icd_i_cost_model_ratio(&model, (double)a.bytes, (double)b.bytes, &out->time,
                               &out->low, &out->high);
    } else {
        out->low = fmin(out->live, 1);
        out->high = fmax(out->live, 1);
    }
    out->advice = advise(out->low, out->high);
done:
    return status;
}
