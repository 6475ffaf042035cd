/**
 * @file gates.h
 * From measured differences to verdicts, gates and the decision to keep a layout.
 *
 * Only MEASURED values decide; what is SIMULATED or MODELLED is shown beside them, and
 * what is missing is "not evaluated", never a pass.
 */
#ifndef ICD_GATES_H
#define ICD_GATES_H

#include <icd/measure.h>
#include <icd/metric.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How one metric of arm b (iterative) differs from arm a (linear). */
typedef struct icd_evidence {
    const char *name;         /**< "latency", "l2", "dram", "ept", "quality" */
    const char *unit;         /**< of change: "%" (relative) or "pp" (difference) */
    bool more_is_better;      /**< L2 hit rate, quality */
    double change, low, high; /**< b against a, 95 % interval; NaN: none */
    double band;              /**< +-band counts as the same */
    double p, p_holm;         /**< two-sided; adjusted for all metrics that decide */
    int64_t count;            /**< blocks, windows or examples behind it */
    icd_provenance provenance;
    bool distrusted;     /**< its control failed: shown, but decides nothing */
    const char *reason;  /**< why it is absent, or why its verdict is what it is */
    icd_verdict verdict; /**< FASTER reads "better", SLOWER "worse" */
} icd_evidence;

/** "BETTER", "WORSE", "SAME", "UNDECIDED" or "not evaluated": a verdict on any metric. */
const char *icd_verdict_word(icd_verdict v);

/** Latency, from paired samples: percent, band 1 %. */
icd_evidence icd_evidence_latency(const icd_comparison *c);

/**
 * Two metrics of the same name, measured independently of each other: the interval of
 * the change follows from theirs (normal, on the log scale where it is relative).
 * Provenance is the weaker of the two; ABSENT where either is, or has no interval.
 * @param relative [in] percent of a, else the difference b - a
 */
icd_evidence icd_evidence_metrics(const char *name, const icd_metric *a,
                                  const icd_metric *b, bool relative,
                                  bool more_is_better);

/**
 * Quality per example (more is better), in pp of the mean, paired. Scores of 1 and 0, and
 * scores that are all equal, get Tango's score interval, others BCa over examples: that
 * no difference was seen is never a proof that there is none.
 * @return ICD_OK (n < 10: not evaluated) | ICD_ENOMEM
 */
icd_status icd_evidence_quality(icd_ctx *ctx, const double *a, const double *b, int64_t n,
                                int64_t seed, icd_evidence *out);

/**
 * Verdicts of metrics that were judged together: SAME inside the band, else BETTER or
 * WORSE where the interval excludes zero, else UNDECIDED. BETTER must also survive Holm's
 * adjustment over all MEASURED metrics; WORSE need not: a suspicion is enough to stay
 * with what is known. A lower L2 hit rate is a regression only where DRAM bytes did not
 * fall (evidence named "dram"), which itself decides nothing.
 */
void icd_evidence_judge(icd_evidence *e, int64_t n);

typedef enum icd_gate_result {
    ICD_GATE_NOT_EVALUATED = 0,
    ICD_GATE_MET,
    ICD_GATE_NOT_MET
} icd_gate_result;
const char *icd_gate_result_name(icd_gate_result r);

/** A target and what was found. */
typedef struct icd_gate {
    const char *name;
    char target[48], found[64], reason[192];
    icd_gate_result result;
    bool required; /**< --gate looks at it */
} icd_gate;

/**
 * A change must reach a target: met or not where the whole interval says so. Where it
 * reaches across, the point estimate decides about an improvement whose verdict (of
 * icd_evidence_judge) is beyond doubt, and the reason says so; else not evaluated. Only
 * MEASURED evidence is evaluated.
 */
icd_gate icd_gate_change(const char *name, const icd_evidence *e, double target);

/** Quality must not fall by more than `lost` pp: met where the whole interval says so,
 * not met where the whole interval says the opposite, else not evaluated: the examples
 * are too few to tell. */
icd_gate icd_gate_quality(const char *name, const icd_evidence *e, double lost);

/** What was decided from all evidence, as one sentence's worth of reason. */
typedef struct icd_decision {
    bool keep;
    const char *metric; /**< the one that settled it; NULL: none was measured */
    const char *why;    /**< "is worse", "none is better", "the A/A control..." */
} icd_decision;

/** Keep only if at least one of the MEASURED metrics is better and none is worse. */
icd_decision icd_decide(const icd_evidence *e, int64_t n);

#ifdef __cplusplus
}
#endif
#endif
