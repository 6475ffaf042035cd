/* Keep or roll back, and the three lines that say so. Only MEASURED values decide. */
#include "runtime/rounds.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Writes "31.2 % faster" / "4.0 % slower" for a share. */
static void in_words(double delta, char out[32])
{
    snprintf(out, 32, "%.1f %% %s", 100 * fabs(delta), delta < 0 ? "faster" : "slower");
}

/* The alternative with the lowest mean among what is neither of the two contestants nor a
 * control. */
static const char *strongest_alternative(icd_job *job, double *ms)
{
    const char *best = NULL;
    *ms = INFINITY;
    for (int64_t i = 0; i < job->arms; i++) {
        if (strcmp(job->arm[i].role, "alternative") != 0) continue;
        double mean = icd_samples_mean(job->samples, job->arm[i].name);
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
static void quality(const icd_job *job, char out[96])
{
    const icd_evidence *e = &job->quality_vs_dense;
    icd_gate gate =
        icd_gate_quality("quality_vs_dense", e, job->config->gates.quality_vs_dense_pp);
    bool measured = e->provenance == ICD_MEASURED;
    if (gate.result == ICD_GATE_NOT_MET || (!measured && job->cosine_vs_dense < .9))
        snprintf(out, 96, "layout result on an unusable model");
    else if (measured)
        snprintf(out, 96, "quality %+.2f pp [%+.2f, %+.2f] against dense", e->change,
                 e->low, e->high);
    else
        snprintf(out, 96, "quality not evaluated");
}

/* The second half of the headline: what the model still computes. */
static void outputs_words(const icd_job *job, char out[192])
{
    char quality_words[96];
    quality(job, quality_words);
    if (isfinite(job->cosine_vs_dense))
        snprintf(out, 192, "outputs have cosine %.3f to the dense f32 model: %s",
                 job->cosine_vs_dense, quality_words);
    else
        snprintf(out, 192, "outputs are the commands' own: %s", quality_words);
}

/* The mean whose ratios are the deltas; one slow sample cannot turn it round. */
static icd_status geometric_ms(icd_job *job, const char *arm, double *ms)
{
    icd_log_mean m;
    icd_status status = icd_samples_log_mean(job->ctx, job->samples, arm, NULL, &m);
    *ms = exp(m.mean);
    return status;
}

static bool control_failed(const icd_comparison *aa)
{
    return aa->low < -.01 || aa->high > .01;
}

/* The verdict is that of the evidence: after Holm, as it decides. Where the control
   failed no word of success: what was measured is told, and that it decides nothing. */
static icd_status first_line(icd_job *job, const icd_comparison *c,
                             const icd_comparison *aa)
{
    icd_status status = ICD_OK;
    char words[32], outputs[192];
    double pi0 = 0, pi1 = 0;
    const char *outcome = job->outcome == ICD_OUTCOME_KEPT ? "KEPT" : "ROLLED BACK";
    ICD_TRY(geometric_ms(job, "linear", &pi0));
    ICD_TRY(geometric_ms(job, "iterative", &pi1));
    in_words(c->delta, words);
    outputs_words(job, outputs);
    if (control_failed(aa))
        snprintf(
            job->verdict[0], sizeof job->verdict[0],
            "UNDECIDED, the A/A control failed (%s): iterative measured %s than "
            "linear, 95 %% CI %+.1f to %+.1f %%, %.2f ms against %.2f ms a step, but "
            "two copies of linear differed by %+.1f to %+.1f %%; %s",
            outcome, words, 100 * c->low, 100 * c->high, pi1, pi0, 100 * aa->low,
            100 * aa->high, outputs);
    else
        snprintf(job->verdict[0], sizeof job->verdict[0],
                 "%s: iterative is %s than linear (%s, 95 %% CI %+.1f to %+.1f %%), %.2f "
                 "ms against %.2f ms a step (geometric means); %s",
                 outcome, words, icd_verdict_name(job->evidence[0].verdict), 100 * c->low,
                 100 * c->high, pi1, pi0, outputs);
done:
    return status;
}

static icd_status second_line(icd_job *job, bool trusted)
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
        best, ms, words, icd_verdict_name(trusted ? c.verdict : ICD_VERDICT_UNDECIDED));
    return ICD_OK;
}

/* "L2 +12.0 pp (BETTER)" or "L2 absent". */
static void reading_words(const icd_job *job, const char *name, const char *label,
                          char out[64])
{
    snprintf(out, 64, "%s absent", label);
    for (int64_t i = 0; i < job->evidences; i++) {
        const icd_evidence *e = &job->evidence[i];
        if (strcmp(e->name, name) != 0 || e->provenance == ICD_ABSENT) continue;
        snprintf(out, 64, "%s %+.1f %s (%s)", label, e->change, e->unit,
                 e->provenance == ICD_MEASURED ? icd_verdict_word(e->verdict)
                                               : icd_provenance_name(e->provenance));
    }
}

static icd_status third_line(icd_job *job, const icd_comparison *aa)
{
    char l2[64], energy[64], negative[128] = "";
    if (icd_i_arm_find(job, "dense random")) {
        icd_comparison dense;
        icd_status status = compare(job, "dense random", "dense pi1", &dense);
        if (status != ICD_OK) return status;
        snprintf(negative, sizeof negative,
                 " dense under pi1 against dense under a random order %+.2f %% (%s);",
                 100 * dense.delta, icd_verdict_name(dense.verdict));
    }
    reading_words(job, "l2", "L2", l2);
    reading_words(job, "ept", "energy", energy);
    snprintf(job->verdict[2], sizeof job->verdict[2],
             "Controls: A/A %+.2f %% (%s);%s %s, %s", 100 * aa->delta,
             icd_verdict_name(aa->verdict), negative, l2, energy);
    return ICD_OK;
}

/* Where two equal arms differ, no time, count or energy of this measurement means
 * anything. */
static void distrust_latency(icd_job *job)
{
    static const char WHY[] = "the A/A control is outside +-1 %";
    for (int64_t i = 0; i < job->evidences; i++) {
        icd_evidence *e = &job->evidence[i];
        if (e->provenance != ICD_MEASURED || !strcmp(e->name, "quality")) continue;
        e->verdict = ICD_VERDICT_UNDECIDED;
        e->reason = WHY;
    }
    for (int64_t i = 0; i < job->gates; i++) {
        icd_gate *g = &job->gate[i];
        bool timed = !strcmp(g->name, "latency") || !strcmp(g->name, "l2") ||
                     !strcmp(g->name, "ept");
        if (!timed || (i > 0 && g->result == ICD_GATE_NOT_EVALUATED)) continue;
        g->result = ICD_GATE_NOT_EVALUATED;
        snprintf(g->reason, sizeof g->reason, "%s", WHY);
    }
}

/* What a user may do about an A/A control outside of its bounds. */
static void advise(const icd_job *job, const icd_comparison *aa, char *out, size_t size)
{
    const icd_samples *s = job->samples;
    if (aa->low > 0 || aa->high < 0)
        snprintf(out, size,
                 "two copies of one arm really differed; `icd measure` builds "
                 "them anew");
    else
        snprintf(
            out, size,
            "other programs interrupted %lld of %lld samples: measure again on an idle "
            "machine, or raise measure.timeout_s",
            (long long)s->clock.interrupted, (long long)(s->blocks * s->arms));
}

/* SPEC section 1: kept only if better; SAME and UNDECIDED keep pi_prev. */
static icd_status decide(icd_job *job, const icd_comparison *aa)
{
    icd_decision decision = icd_decide(job->evidence, job->evidences);
    char advice[160];
    if (control_failed(aa)) {
        advise(job, aa, advice, sizeof advice);
        icd_i_job_roll_back(
            job,
            "the A/A control differs by %+.2f %% [%+.2f, %+.2f], outside +-1 %%: this "
            "measurement is UNDECIDED, whatever it says (%s)",
            100 * aa->delta, 100 * aa->low, 100 * aa->high, advice);
    }
    return decision.keep && !control_failed(aa) ? ICD_OK
                                                : icd_i_root_cause(job, &decision);
}

icd_status icd_i_pi1_holds(icd_job *job, bool *trusted, bool *holds)
{
    icd_status status = ICD_OK;
    icd_comparison c, aa;
    *holds = true;
    *trusted = true;
    if (icd_i_arm_find(job, "linear A/A")) {
        ICD_TRY(compare(job, "linear", "linear A/A", &aa));
        *trusted = !control_failed(&aa);
    }
    if (!icd_i_arm_find(job, "iterative") || !job->config->rollback.enabled)
        return ICD_OK;
    ICD_TRY(compare(job, "linear", "iterative", &c));
    ICD_TRY(icd_i_judge(job, &c));
    if (!*trusted) distrust_latency(job);
    *holds = icd_decide(job->evidence, job->evidences).keep;
done:
    return status;
}

/* The second line ends with what became of the rounds. */
static void add_rounds(icd_job *job)
{
    char words[384] = "";
    size_t used = strlen(job->verdict[1]);
    icd_i_rounds_words(job, words, sizeof words);
    if (*words)
        snprintf(job->verdict[1] + used, sizeof job->verdict[1] - used, "%s%s",
                 used ? ". " : "", words);
}

static const char *why_linear(const icd_job *job)
{
    if (job->config->pipeline.mode == ICD_MODE_LINEAR) return "pipeline.mode is linear";
    if (!job->config->layout.local_orders) return "layout.local_orders is off";
    for (int64_t i = 0; i < job->linears; i++)
        if (job->linear[i].s.unit > 1)
            return "N:M keeps its columns in groups of M: no order leaves out a granule";
    return "the transform left no zeros that a kernel could skip";
}

icd_status icd_i_verdict(icd_job *job)
{
    icd_status status = ICD_OK;
    icd_comparison c, aa;
    if (!icd_i_arm_find(job, "iterative")) {
        snprintf(job->verdict[0], sizeof job->verdict[0],
                 "LINEAR: %.2f ms a step; nothing was re-permuted (%s)",
                 icd_samples_mean(job->samples, "linear"), why_linear(job));
        add_rounds(job);
        return icd_i_judge(job, NULL);
    }
    ICD_TRY(compare(job, "linear", "iterative", &c));
    ICD_TRY(compare(job, "linear", "linear A/A", &aa));
    ICD_TRY(icd_i_judge(job, &c));
    if (control_failed(&aa)) distrust_latency(job);
    if (job->outcome == ICD_OUTCOME_KEPT && job->config->rollback.enabled)
        ICD_TRY(decide(job, &aa));
    ICD_TRY(first_line(job, &c, &aa));
    ICD_TRY(second_line(job, !control_failed(&aa)));
    add_rounds(job);
    ICD_TRY(third_line(job, &aa));
done:
    return status;
}

/* A dry run has layouts, but nobody built its arms. */
static icd_status arms_of_dry_run(icd_job *job)
{
    bool ready = job->opts.dry_run && job->layout && job->arms == 0 &&
                 job->outcome == ICD_OUTCOME_DRY_RUN;
    return ready ? icd_i_arms_make(job) : ICD_OK;
}

/* "time -31.0 % [-33.0, -29.0]", or what may be said without a model of this machine. */
static void expected_words(const icd_prediction *p, char out[160])
{
    if (isfinite(p->time))
        snprintf(out, 160, "time %+.1f %% [%+.1f, %+.1f] by the cost model",
                 100 * (p->time - 1), 100 * (p->low - 1), 100 * (p->high - 1));
    else
        snprintf(out, 160,
                 "time between %+.1f and %+.1f %% if it follows granules at all (no cost "
                 "model of this machine: see `icd calibrate`)",
                 100 * (p->low - 1), 100 * (p->high - 1));
}

icd_status icd_i_verdict_untimed(icd_job *job)
{
    char expected[160];
    icd_prediction p;
    icd_status status = arms_of_dry_run(job);
    if (status == ICD_OK) status = icd_i_predict(job, &p);
    if (status != ICD_OK) return status;
    bool dry = job->outcome == ICD_OUTCOME_DRY_RUN;
    if (job->outcome == ICD_OUTCOME_ROLLED_BACK)
        snprintf(job->verdict[0], sizeof job->verdict[0],
                 "ROLLED BACK to pi_prev before anything was timed: %.180s", job->cause);
    else if (dry && job->layout && !icd_i_arm_find(job, "iterative"))
        snprintf(job->verdict[0], sizeof job->verdict[0],
                 "DRY RUN: do not bother; no linear is masked, so no order skips "
                 "anything");
    else if (dry && *p.advice)
        snprintf(job->verdict[0], sizeof job->verdict[0],
                 "DRY RUN: %s; nothing was timed, so pi_prev stays active", p.advice);
    else
        snprintf(job->verdict[0], sizeof job->verdict[0],
                 "%s: nothing was timed, so pi_prev stays active",
                 dry ? "DRY RUN" : "NOT MEASURED");
    if (!isfinite(p.live)) {
        add_rounds(job);
        return ICD_OK;
    }
    expected_words(&p, expected);
    snprintf(
        job->verdict[1], sizeof job->verdict[1],
        "MODELLED: live granules %+.1f %%, bytes %+.1f %% with pi1%s against pi0; %s",
        100 * (p.live - 1), 100 * (p.bytes - 1), dry ? " (quick orders)" : "", expected);
    add_rounds(job);
    return ICD_OK;
}
