/* Keep or roll back, and the three lines that say so. Only MEASURED values decide. */
#include "runtime/job.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Writes "31.2 % faster" / "4.0 % slower" for a share. */
static void in_words(double delta, char out[32])
{
    snprintf(out, 32, "%.1f %% %s", 100 * fabs(delta), delta < 0 ? "faster" : "slower");
}

static double mean_ms(icd_job *job, const char *arm)
{
    icd_summary summary;
    icd_status status = icd_samples_summary(job->ctx, job->samples, arm, 1, &summary);
    return status == ICD_OK ? summary.mean : NAN;
}

static bool has_arm(const icd_job *job, const char *name)
{
    for (int64_t i = 0; i < job->arms; i++)
        if (!strcmp(job->arm[i].name, name)) return true;
    return false;
}

/* The alternative with the lowest mean among what is neither of the two contestants nor a
 * control. */
static const char *strongest_alternative(icd_job *job, double *ms)
{
    const char *best = NULL;
    *ms = INFINITY;
    for (int64_t i = 0; i < job->arms; i++) {
        if (strcmp(job->arm[i].role, "alternative") != 0) continue;
        double mean = mean_ms(job, job->arm[i].name);
        if (mean < *ms) {
            *ms = mean;
            best = job->arm[i].name;
        }
    }
    return best;
}

static icd_status compare(icd_job *job, const char *a, const char *b, icd_comparison *out)
{
    return icd_samples_compare(job->ctx, job->samples, a, b, job->config->measure.seed,
                               out);
}

/* SPEC section 7: beyond the quality gate a speed is a layout result only. Without
   labelled examples the outputs' cosine to the untransformed model stands in; below .9
   nobody would ship it. */
static const char *quality(const icd_job *job)
{
    return job->cosine_vs_dense < .9 ? "layout result on an unusable model"
                                     : "quality not evaluated";
}

static void first_line(icd_job *job, const icd_comparison *c)
{
    char words[32];
    in_words(c->delta, words);
    snprintf(job->verdict[0], sizeof job->verdict[0],
             "%s: iterative is %s than linear (%s, 95 %% CI %+.1f to %+.1f %%), %.2f ms "
             "against "
             "%.2f ms a step; outputs have cosine %.3f to the dense f32 model: %s",
             job->outcome == ICD_OUTCOME_KEPT ? "KEPT" : "ROLLED BACK", words,
             icd_verdict_name(c->verdict), 100 * c->low, 100 * c->high,
             mean_ms(job, "iterative"), mean_ms(job, "linear"), job->cosine_vs_dense,
             quality(job));
}

static icd_status second_line(icd_job *job)
{
    double ms = 0;
    char words[32];
    icd_comparison c;
    const char *best = strongest_alternative(job, &ms);
    if (!best) return ICD_OK;
    icd_status status = compare(job, best, "iterative", &c);
    if (status != ICD_OK) return status;
    in_words(c.delta, words);
    snprintf(
        job->verdict[1], sizeof job->verdict[1],
        "Strongest alternative: %s with %.2f ms a step; iterative is %s than it (%s)",
        best, ms, words, icd_verdict_name(c.verdict));
    return ICD_OK;
}

static icd_status third_line(icd_job *job, const icd_comparison *aa)
{
    icd_comparison dense;
    icd_status status = compare(job, "dense random", "dense pi1", &dense);
    if (status != ICD_OK) return status;
    snprintf(job->verdict[2], sizeof job->verdict[2],
             "Controls: A/A %+.2f %% (%s); dense under pi1 against dense under a random "
             "order %+.2f %% (%s); L2 and energy absent here (see the report)",
             100 * aa->delta, icd_verdict_name(aa->verdict), 100 * dense.delta,
             icd_verdict_name(dense.verdict));
    return ICD_OK;
}

/* SPEC section 1: kept only if better; SAME and UNDECIDED keep pi_prev. */
static void decide(icd_job *job, const icd_comparison *c, const icd_comparison *aa)
{
    if (aa->low < -.01 || aa->high > .01)
        icd_i_job_roll_back(
            job,
            "the A/A control differs by %+.2f %% [%+.2f, %+.2f], outside +-1 %%: this "
            "measurement is UNDECIDED, whatever it says",
            100 * aa->delta, 100 * aa->low, 100 * aa->high);
    else if (c->verdict != ICD_VERDICT_FASTER)
        icd_i_job_roll_back(
            job,
            "latency of iterative against linear is %s (%+.2f %% [%+.2f, %+.2f]), "
            "expected FASTER",
            icd_verdict_name(c->verdict), 100 * c->delta, 100 * c->low, 100 * c->high);
}

icd_status icd_i_verdict(icd_job *job)
{
    icd_status status = ICD_OK;
    icd_comparison c, aa;
    if (!has_arm(job, "iterative")) {
        snprintf(
            job->verdict[0], sizeof job->verdict[0],
            "LINEAR: %.2f ms a step; nothing was re-permuted (pipeline.mode is linear)",
            mean_ms(job, "linear"));
        return ICD_OK;
    }
    ICD_TRY(compare(job, "linear", "iterative", &c));
    ICD_TRY(compare(job, "linear", "linear A/A", &aa));
    if (job->outcome == ICD_OUTCOME_KEPT && job->config->rollback.enabled)
        decide(job, &c, &aa);
    first_line(job, &c);
    ICD_TRY(second_line(job));
    ICD_TRY(third_line(job, &aa));
done:
    return status;
}
