/* Verdicts over several metrics, gates, and the decision to keep. */
#include <icd/gates.h>

#include "base/mem.h"
#include "measure/paired.h"
#include "measure/stats.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { RESAMPLES = 10000, EVIDENCE_MOST = 16, QUALITY_LEAST = 10 };

static const double ALPHA = .05, BAND = 1;

const char *icd_verdict_word(icd_verdict v)
{
    static const char *const WORD[] = {"not evaluated", "SAME", "BETTER", "WORSE",
                                       "UNDECIDED"};
    return WORD[v <= ICD_VERDICT_UNDECIDED ? v : 0];
}

const char *icd_gate_result_name(icd_gate_result r)
{
    static const char *const NAME[] = {"not evaluated", "met", "not met"};
    return NAME[r <= ICD_GATE_NOT_MET ? r : 0];
}

icd_evidence icd_evidence_latency(const icd_comparison *c)
{
    return (icd_evidence){.name = "latency",
                          .unit = "%",
                          .change = 100 * c->delta,
                          .low = 100 * c->low,
                          .high = 100 * c->high,
                          .band = BAND,
                          .p = c->p_value,
                          .p_holm = NAN,
                          .count = c->blocks,
                          .provenance = ICD_MEASURED};
}

static icd_evidence absent(const char *name, const char *unit, bool more_is_better,
                           const char *reason)
{
    return (icd_evidence){.name = name,
                          .unit = unit,
                          .more_is_better = more_is_better,
                          .change = NAN,
                          .low = NAN,
                          .high = NAN,
                          .band = BAND,
                          .p = NAN,
                          .p_holm = NAN,
                          .reason = reason};
}

/* MODELLED says less than SIMULATED, that less than MEASURED. */
static icd_provenance weaker(icd_provenance a, icd_provenance b)
{
    if (a == ICD_ABSENT || b == ICD_ABSENT) return ICD_ABSENT;
    return a > b ? a : b;
}

static double normal_sd(double low, double high)
{
    return (high - low) / (2 * icd_i_normal_quantile(.975));
}

icd_evidence icd_evidence_metrics(const char *name, const icd_metric *a,
                                  const icd_metric *b, bool relative, bool more_is_better)
{
    const char *unit = relative ? "%" : "pp";
    const icd_metric *missing = a->provenance == ICD_ABSENT ? a : b;
    icd_evidence e = absent(name, unit, more_is_better, missing->reason);
    e.provenance = weaker(a->provenance, b->provenance);
    if (e.provenance == ICD_ABSENT) return e;
    if (!isfinite(a->high - a->low) || !isfinite(b->high - b->low)) {
        e.reason = "a value without an interval: it was read once only";
        e.provenance = ICD_ABSENT;
        return e;
    }
    if (relative && !(a->value > 0 && b->value > 0 && a->low > 0 && b->low > 0)) {
        e.reason = a->value == 0 && b->value == 0
                       ? "both are 0: no ratio"
                       : "a value or its interval is not positive";
        e.provenance = ICD_ABSENT;
        return e;
    }
    double change = relative ? log(b->value / a->value) : b->value - a->value;
    double sa =
        relative ? normal_sd(log(a->low), log(a->high)) : normal_sd(a->low, a->high);
    double sb =
        relative ? normal_sd(log(b->low), log(b->high)) : normal_sd(b->low, b->high);
    double sd = hypot(sa, sb), half = icd_i_normal_quantile(.975) * sd;
    e.change = relative ? 100 * expm1(change) : change;
    e.low = relative ? 100 * expm1(change - half) : change - half;
    e.high = relative ? 100 * expm1(change + half) : change + half;
    e.p = sd > 0 ? 2 * icd_i_normal_cdf(-fabs(change) / sd) : change != 0 ? 0 : 1;
    if (e.provenance != ICD_MEASURED) e.p = NAN; /* nothing was drawn */
    e.count = a->count < b->count ? a->count : b->count;
    return e;
}

static bool right_or_wrong(const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (x[i] != 0 && x[i] != 1) return false;
    return true;
}

/* Of d = 100 (b - a). Examples that all agree are no proof that every example does: the
 * score interval of pairs knows that, a bootstrap of equal values does not. */
static icd_status quality_interval(icd_ctx *ctx, const double *d, int64_t n, bool binary,
                                   int64_t seed, icd_interval *out)
{
    int64_t gains = 0, losses = 0;
    for (int64_t i = 0; i < n; i++) {
        gains += d[i] > 0;
        losses += d[i] < 0;
    }
    if (!binary && gains + losses > 0)
        return icd_i_bca_mean(ctx, d, n, icd_i_expanded_level(.95, n), RESAMPLES,
                              (uint64_t)seed, out);
    *out = icd_i_paired_proportions(gains, losses, n);
    out->low *= 100;
    out->high *= 100;
    return ICD_OK;
}

icd_status icd_evidence_quality(icd_ctx *ctx, const double *a, const double *b, int64_t n,
                                int64_t seed, icd_evidence *out)
{
    icd_status status = ICD_OK;
    double *d = NULL;
    icd_interval ci;
    *out = absent("quality", "pp", true, "fewer than ten labelled examples");
    if (n < QUALITY_LEAST) return ICD_OK;
    ICD_TRY(ICD_ALLOC(ctx, n, &d));
    for (int64_t i = 0; i < n; i++) d[i] = 100 * (b[i] - a[i]);
    ICD_TRY(quality_interval(ctx, d, n, right_or_wrong(a, n) && right_or_wrong(b, n),
                             seed, &ci));
    out->change = icd_i_mean(d, n);
    out->low = ci.low;
    out->high = ci.high;
    out->count = n;
    out->provenance = ICD_MEASURED;
    out->reason = NULL;
done:
    icd_i_free(ctx, d);
    return status;
}

static const icd_evidence *find(const icd_evidence *e, int64_t n, const char *name)
{
    for (int64_t i = 0; i < n; i++)
        if (!strcmp(e[i].name, name)) return &e[i];
    return NULL;
}

/* Bytes and quality have gates of their own. */
static bool decides(const icd_evidence *e)
{
    return e->provenance == ICD_MEASURED && !e->distrusted && isfinite(e->change) &&
           isfinite(e->low) && isfinite(e->high) && strcmp(e->name, "dram") != 0 &&
           strcmp(e->name, "quality") != 0;
}

static icd_verdict judge_one(const icd_evidence *e, int64_t deciders)
{
    double low = e->more_is_better ? -e->high : e->low,
           high = e->more_is_better ? -e->low : e->high;
    if (!isfinite(e->low) || !isfinite(e->high)) return ICD_VERDICT_NOT_EVALUATED;
    if (e->distrusted) return ICD_VERDICT_UNDECIDED;
    if (low >= -e->band && high <= e->band) return ICD_VERDICT_SAME;
    if (low > 0) return ICD_VERDICT_SLOWER;
    bool survives = deciders < 2 || !decides(e) || e->p_holm <= ALPHA;
    return high < 0 && survives ? ICD_VERDICT_FASTER : ICD_VERDICT_UNDECIDED;
}

/* SPEC section 7: L2 regression = rate down AND DRAM bytes not down. */
static void excuse_l2(icd_evidence *e, int64_t n)
{
    const icd_evidence *dram = find(e, n, "dram");
    for (int64_t i = 0; i < n; i++) {
        if (strcmp(e[i].name, "l2") != 0 || e[i].verdict != ICD_VERDICT_SLOWER) continue;
        if (!dram || dram->provenance != ICD_MEASURED || !(dram->high < 0)) continue;
        e[i].verdict = ICD_VERDICT_UNDECIDED;
        e[i].reason = "the rate fell, but so did the bytes from DRAM: no regression";
    }
}

void icd_evidence_judge(icd_evidence *e, int64_t n)
{
    double p[EVIDENCE_MOST] = {0}, holm[EVIDENCE_MOST];
    int64_t deciders = 0;
    if (n > EVIDENCE_MOST) n = EVIDENCE_MOST;
    for (int64_t i = 0; i < n; i++) {
        p[i] = decides(&e[i]) ? e[i].p : NAN;
        deciders += decides(&e[i]);
    }
    icd_holm(p, n, holm);
    for (int64_t i = 0; i < n; i++) {
        e[i].p_holm = holm[i];
        e[i].verdict = judge_one(&e[i], deciders);
    }
    excuse_l2(e, n);
}

static icd_gate start(const char *name, const icd_evidence *e)
{
    icd_gate g = {.name = name};
    snprintf(g.found, sizeof g.found, "-");
    if (isfinite(e->change))
        snprintf(g.found, sizeof g.found, "%+.1f %s [%+.1f, %+.1f]", e->change, e->unit,
                 e->low, e->high);
    if (e->provenance == ICD_ABSENT)
        snprintf(g.reason, sizeof g.reason, "%s",
                 e->reason ? e->reason : "nothing was measured");
    else if (e->provenance != ICD_MEASURED)
        snprintf(g.reason, sizeof g.reason, "%s values never decide a gate",
                 icd_provenance_name(e->provenance));
    else if (e->distrusted)
        snprintf(g.reason, sizeof g.reason, "%s",
                 e->reason ? e->reason : "its control failed");
    return g;
}

static bool may_judge(const icd_evidence *e)
{
    return e->provenance == ICD_MEASURED && !e->distrusted && isfinite(e->change);
}

/* An interval that reaches across the target lets the point estimate speak only for an
 * improvement that is one beyond doubt; that something is no worse than allowed needs
 * the whole interval. */
static bool point_may_decide(const icd_evidence *e, double target)
{
    bool improvement = e->more_is_better ? target > 0 : target < 0;
    return improvement && e->verdict != ICD_VERDICT_UNDECIDED &&
           e->verdict != ICD_VERDICT_NOT_EVALUATED;
}

icd_gate icd_gate_change(const char *name, const icd_evidence *e, double target)
{
    icd_gate g = start(name, e);
    bool more = e->more_is_better;
    snprintf(g.target, sizeof g.target, "%+.1f %s or %s", target, e->unit,
             more ? "more" : "less");
    if (!may_judge(e)) return g;
    bool met = more ? e->change >= target : e->change <= target;
    double end = more == met ? e->low : e->high; /* the end that might say otherwise */
    bool sure = met == (more ? end >= target : end <= target);
    if (sure || point_may_decide(e, target))
        g.result = met ? ICD_GATE_MET : ICD_GATE_NOT_MET;
    snprintf(g.reason, sizeof g.reason, "%s",
             sure       ? "the whole interval agrees"
             : g.result ? "by the point estimate; the interval reaches across the target"
                        : "undecided: the interval reaches across the target");
    return g;
}

icd_gate icd_gate_quality(const char *name, const icd_evidence *e, double lost)
{
    icd_gate g = start(name, e);
    snprintf(g.target, sizeof g.target, "at most %.2f pp lost", lost);
    if (!may_judge(e)) return g;
    if (e->low >= -lost) {
        g.result = ICD_GATE_MET;
        if (e->reason)
            snprintf(g.reason, sizeof g.reason, "%s", e->reason);
        else
            snprintf(g.reason, sizeof g.reason,
                     "the whole interval agrees (%lld examples)", (long long)e->count);
    } else if (e->high < -lost) {
        g.result = ICD_GATE_NOT_MET;
        snprintf(g.reason, sizeof g.reason, "the whole interval is beyond it");
    } else {
        snprintf(g.reason, sizeof g.reason,
                 "%lld examples are too few to tell %.2f pp apart", (long long)e->count,
                 lost);
    }
    return g;
}

icd_decision icd_decide(const icd_evidence *e, int64_t n)
{
    icd_decision d = {.why = "nothing was measured"};
    for (int64_t i = 0; i < n; i++) {
        if (!decides(&e[i])) continue;
        if (e[i].verdict == ICD_VERDICT_SLOWER)
            return (icd_decision){false, e[i].name, "is worse"};
        if (e[i].verdict == ICD_VERDICT_FASTER) {
            if (!d.keep) d = (icd_decision){true, e[i].name, "is better"};
        } else if (!d.metric) {
            d = (icd_decision){false, e[i].name, "is not better"};
        }
    }
    return d;
}
