/* Evidence of every metric, gates, and the root cause of a rollback. */
#include "runtime/judgement.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS_NAMED = 3 };

/* What is known of arm b against arm a. */
typedef struct pair {
    icd_job *job;
    const char *a, *b;
    icd_evidence *evidence; /* [ICD_EVIDENCE_MAX] */
    int64_t count;
} pair;

static void add(pair *p, icd_evidence e)
{
    p->evidence[p->count] = e;
    if (p->count + 1 < ICD_EVIDENCE_MAX) p->count++;
}

/* Two copies of linear must read alike: their whole interval inside of what counts as the
 * same, or of half of the change that is claimed.
 * @return why the reading is not trusted; NULL: it is */
static const char *control_failed(pair *p, const char *key, const icd_evidence *claim,
                                  bool relative)
{
    icd_metric a = icd_i_reading(p->job, "linear", key),
               b = icd_i_reading(p->job, "linear A/A", key);
    icd_evidence aa = icd_evidence_metrics("control", &a, &b, relative, false);
    double most = fmax(aa.band, fabs(claim->change) / 2);
    if (aa.provenance != ICD_MEASURED) return "its A/A control was not read";
    return aa.low >= -most && aa.high <= most
               ? NULL
               : "its A/A control failed: two copies of linear read differently";
}

static void add_reading(pair *p, const char *name, const char *key, bool relative,
                        bool more_is_better)
{
    icd_metric a = icd_i_reading(p->job, p->a, key), b = icd_i_reading(p->job, p->b, key);
    icd_evidence e = icd_evidence_metrics(name, &a, &b, relative, more_is_better);
    if (e.provenance == ICD_MEASURED)
        if ((e.reason = control_failed(p, key, &e, relative))) e.distrusted = true;
    add(p, e);
}

/* Scores of one model per example; false where the list is missing or holds else. */
static icd_status read_scores(icd_job *job, const json_t *list, double **out)
{
    const json_t *value = NULL;
    size_t i = 0;
    icd_status status = ICD_ALLOC(job->ctx, (int64_t)json_array_size(list), out);
    if (status != ICD_OK) return status;
    json_array_foreach(list, i, value)(*out)[i] = json_number_value(value);
    return ICD_OK;
}

/* {"scores": {"dense": [...], "linear": [...], "iterative": [...]}}, example by example;
 * more is better. */
static icd_status quality(icd_job *job, const json_t *scores, const char *a,
                          const char *b, icd_evidence *out)
{
    icd_status status = ICD_OK;
    double *x = NULL, *y = NULL;
    const json_t *xs = json_object_get(scores, a), *ys = json_object_get(scores, b);
    size_t n = json_array_size(xs);
    if (n != json_array_size(ys)) n = 0;
    ICD_TRY(read_scores(job, xs, &x));
    ICD_TRY(read_scores(job, ys, &y));
    ICD_TRY(
        icd_evidence_quality(job->ctx, x, y, (int64_t)n, job->config->measure.seed, out));
    if (n == 0) out->reason = "no labelled examples (quality.json) for these models";
done:
    icd_i_free(job->ctx, x);
    icd_i_free(job->ctx, y);
    return status;
}

/* Outputs that agree to the last bit cannot differ in quality; examples, where there are
 * any, must agree as well. */
static void equal_outputs(const icd_job *job, icd_evidence *e)
{
    if (e->provenance != ICD_ABSENT && e->change != 0) return;
    for (int64_t i = 0; i < job->checks; i++)
        if (!strncmp(job->check[i].what, "iterative against linear", 24) &&
            job->check[i].max_rel == 0)
            *e = (icd_evidence){.name = "quality",
                                .unit = "pp",
                                .more_is_better = true,
                                .provenance = ICD_MEASURED,
                                .p = NAN,
                                .p_holm = NAN,
                                .count = job->input.tokens,
                                .reason = "outputs are equal to the last bit"};
}

static icd_status add_quality(pair *p)
{
    icd_status status = ICD_OK;
    icd_job *job = p->job;
    json_t *root = NULL;
    icd_evidence e;
    const char *path = icd_i_round_path(job, "quality.json");
    if (!path) return ICD_ENOMEM;
    if (icd_i_file_exists(path)) ICD_TRY(icd_i_json_read(job->ctx, path, &root));
    const json_t *scores = json_object_get(root, "scores");
    ICD_TRY(quality(job, scores, p->a, p->b, &e));
    if (!strcmp(p->a, "linear") && !strcmp(p->b, "iterative")) equal_outputs(job, &e);
    add(p, e);
    ICD_TRY(quality(job, scores, "dense", "linear", &job->quality_vs_dense));
done:
    json_decref(root);
    return status;
}

static const icd_evidence *evidence(const icd_job *job, const char *name)
{
    static const icd_evidence NONE = {.unit = "", .change = NAN};
    for (int64_t i = 0; i < job->evidences; i++)
        if (!strcmp(job->evidence[i].name, name)) return &job->evidence[i];
    return &NONE;
}

/* Without a list, all targets of the seed. */
static bool required(const icd_job *job, const char *gate)
{
    const icd_strings *list = &job->config->gates.require;
    for (int64_t i = 0; i < list->count; i++)
        if (!strcmp(list->item[i], gate)) return true;
    return list->count == 0 && strcmp(gate, "quality_vs_dense") != 0;
}

static void add_gate(icd_job *job, icd_gate gate)
{
    gate.required = required(job, gate.name);
    job->gate[job->gates++] = gate;
}

static void make_gates(icd_job *job)
{
    const icd_gates_opts *g = &job->config->gates;
    job->gates = 0;
    add_gate(job, icd_gate_change("latency", evidence(job, "latency"), g->latency_pct));
    add_gate(job, icd_gate_change("l2", evidence(job, "l2"), g->l2_pp));
    add_gate(job, icd_gate_change("ept", evidence(job, "ept"), g->ept_pct));
    add_gate(job, icd_gate_quality("quality", evidence(job, "quality"), g->quality_pp));
    add_gate(job, icd_gate_quality("quality_vs_dense", &job->quality_vs_dense,
                                   g->quality_vs_dense_pp));
}

static icd_evidence no_latency(const char *why)
{
    return (icd_evidence){.name = "latency",
                          .unit = "%",
                          .change = NAN,
                          .low = NAN,
                          .high = NAN,
                          .p = NAN,
                          .p_holm = NAN,
                          .reason = why};
}

icd_status icd_i_evidence_between(icd_job *job, const char *a, const char *b,
                                  const icd_comparison *latency, bool trusted,
                                  icd_evidence *out, int64_t *count)
{
    pair p = {job, a, b, out, 0};
    icd_status status = icd_i_readings_read(job);
    if (status != ICD_OK) return status;
    if (latency && trusted)
        add(&p, icd_evidence_latency(latency));
    else
        add(&p, no_latency(latency ? "the A/A control is outside +-1 %"
                                   : "nothing was measured"));
    add_reading(&p, "l2", "l2_hit_pct", false, true);
    add_reading(&p, "dram", "dram_bytes", true, false);
    add_reading(&p, "ept", "ept_j_per_tok", true, false);
    status = add_quality(&p);
    if (status == ICD_OK) icd_evidence_judge(out, p.count);
    *count = p.count;
    return status;
}

icd_status icd_i_judge(icd_job *job, const icd_comparison *latency)
{
    icd_status status = icd_i_evidence_between(job, "linear", "iterative", latency, true,
                                               job->evidence, &job->evidences);
    if (status == ICD_OK) make_gates(job);
    return status;
}

icd_status icd_i_gates_check(icd_job *job)
{
    for (int64_t i = 0; i < job->gates; i++) {
        const icd_gate *g = &job->gate[i];
        char place[64];
        if (!g->required || g->result == ICD_GATE_MET) continue;
        snprintf(place, sizeof place, "gates: %s", g->name);
        if (g->result == ICD_GATE_NOT_MET)
            return icd_i_fail(job->ctx, ICD_EGATE, place, NULL, "found %s, expected %s",
                              g->found, g->target);
        return icd_i_fail(job->ctx, ICD_EGATE, place,
                          "list the gates that count in gates.require",
                          "was not evaluated (%s), expected %s", g->reason, g->target);
    }
    return job->gates ? ICD_OK
                      : icd_i_fail(job->ctx, ICD_EGATE, "gates", NULL,
                                   "were not evaluated: nothing was measured");
}

/* A layer that touches more than before. */
typedef struct layer_change {
    const char *name;
    int64_t linear, iterative;
} layer_change;

static int by_increase(const void *a, const void *b)
{
    const layer_change *x = a, *y = b;
    int64_t dx = x->iterative - x->linear, dy = y->iterative - y->linear;
    return (dy > dx) - (dy < dx);
}

static icd_status layer_changes(icd_job *job, layer_change **out, int64_t *count)
{
    icd_status status = ICD_OK;
    const icd_job_arm *a = icd_i_arm_find(job, "linear"),
                      *b = icd_i_arm_find(job, "iterative");
    int32_t vector = job->config->kernel.vector;
    *count = 0;
    if (!a->layout || !b->layout) return ICD_OK; /* commands without a model */
    ICD_TRY(ICD_ALLOC(job->ctx, a->layout->count, out));
    for (int64_t i = 0; i < a->layout->count && i < b->layout->count; i++) {
        icd_linear_cost x, y;
        ICD_TRY(icd_runner_linear_cost(job->ctx, &a->layout->entry[i], vector, &x));
        ICD_TRY(icd_runner_linear_cost(job->ctx, &b->layout->entry[i], vector, &y));
        if (y.live > x.live)
            (*out)[(*count)++] =
                (layer_change){a->layout->entry[i].linear, x.live, y.live};
    }
    qsort(*out, (size_t)*count, sizeof **out, by_increase);
done:
    return status;
}

static double percent_more(const layer_change *l)
{
    return l->linear ? 100 * ((double)l->iterative / (double)l->linear - 1) : 100;
}

static json_t *layer_rows(const layer_change *layer, int64_t count)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:s,s:I,s:I}", "linear", layer[i].name,
                                              "live_linear", (json_int_t)layer[i].linear,
                                              "live_iterative",
                                              (json_int_t)layer[i].iterative));
    return list;
}

static void append(char *text, size_t size, const char *fmt, ...) ICD_PRINTF(3, 4);
static void append(char *text, size_t size, const char *fmt, ...)
{
    size_t used = strlen(text);
    va_list args;
    va_start(args, fmt);
    vsnprintf(text + used, size - used, fmt, args);
    va_end(args);
}

static void name_layers(icd_job *job, const layer_change *layer, int64_t count)
{
    char *text = job->cause;
    size_t size = sizeof job->cause;
    if (count == 0) append(text, size, "; no layer touches more granules than before");
    for (int64_t i = 0; i < count && i < LAYERS_NAMED; i++)
        append(text, size, "%s%s (%+.0f %%)",
               i ? ", " : "; layers that touch more granules: ", layer[i].name,
               percent_more(&layer[i]));
    if (count > LAYERS_NAMED)
        append(text, size, " and %lld more", (long long)(count - LAYERS_NAMED));
}

static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

icd_status icd_i_root_cause(icd_job *job, const icd_decision *decision)
{
    icd_status status = ICD_OK;
    layer_change *layer = NULL;
    int64_t count = 0;
    icd_prediction p;
    const icd_evidence *e = evidence(job, decision->metric ? decision->metric : "");
    ICD_TRY(icd_i_predict(job, &p));
    ICD_TRY(layer_changes(job, &layer, &count));
    if (!job->cause[0]) {
        icd_i_job_roll_back(
            job, "%s %s: iterative against linear %+.2f %s [%+.2f, %+.2f], %s%s%s",
            decision->metric ? decision->metric : "no metric", decision->why, e->change,
            e->unit, e->low, e->high, icd_verdict_word(e->verdict), e->reason ? ": " : "",
            e->reason ? e->reason : "");
        if (isfinite(p.live)) {
            append(job->cause, sizeof job->cause,
                   "; the cost model predicted %+.1f %% live granules and %+.1f %% bytes",
                   100 * (p.live - 1), 100 * (p.bytes - 1));
            name_layers(job, layer, count);
        }
    }
    job->root_cause = json_pack("{s:s?,s:s,s:s,s:o,s:{s:o,s:o,s:o},s:o}", "metric",
                                decision->metric, "verdict", icd_verdict_word(e->verdict),
                                "unit", e->unit, "change", real(e->change), "predicted",
                                "live", real(p.live), "bytes", real(p.bytes), "time",
                                real(p.time), "layers", layer_rows(layer, count));
done:
    icd_i_free(job->ctx, layer);
    return status;
}
