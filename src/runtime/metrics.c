/* metrics.json: everything the report says (docs/artifacts.md), of whatever stage was
 * reached. */
#include "runtime/exec_arms.h"
#include "runtime/rounds.h"

#include "base/cpu.h"
#include "base/hash.h"
#include "measure/fingerprint.h"
#include <icd/meter.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A number, or null where there is none: JSON knows no NaN. */
static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *measured(const char *unit, double value, double low, double high,
                        int64_t count)
{
    return json_pack("{s:s,s:o,s:o,s:o,s:I,s:s,s:n}", "unit", unit, "value", real(value),
                     "low", real(low), "high", real(high), "count", (json_int_t)count,
                     "provenance", icd_provenance_name(ICD_MEASURED), "reason");
}

/* A reading of a meter, whatever its provenance. */
static json_t *reading(const icd_metric *m)
{
    bool there = m->provenance != ICD_ABSENT;
    return json_pack("{s:s,s:o,s:o,s:o,s:I,s:s,s:s?}", "unit", m->unit ? m->unit : "",
                     "value", real(there ? m->value : NAN), "low",
                     real(there ? m->low : NAN), "high", real(there ? m->high : NAN),
                     "count", (json_int_t)(there ? m->count : 0), "provenance",
                     icd_provenance_name(m->provenance), "reason",
                     m->reason ? m->reason
                     : there   ? NULL
                               : "");
}

static json_t *strings(const char *const *text, int64_t count)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < count; i++) json_array_append_new(list, json_string(text[i]));
    return list;
}

static json_t *verdict_lines(const icd_job *job)
{
    json_t *list = json_array();
    for (int i = 0; i < 3; i++)
        if (job->verdict[i][0]) json_array_append_new(list, json_string(job->verdict[i]));
    return list;
}

static const char *outcome_name(icd_outcome outcome)
{
    static const char *const NAME[] = {"kept", "rolled_back", "not_measured", "dry_run"};
    return NAME[outcome];
}

/* Tokens that one step computes: in decoding, one for each sequence. */
static int64_t step_tokens(const icd_job *job)
{
    bool decode = job->config->runner.phase == ICD_PHASE_DECODE;
    return decode ? job->input.batch : job->input.batch * job->input.seq;
}

static void add_times(icd_job *job, int64_t a, json_t *row)
{
    icd_summary s;
    double tokens = (double)step_tokens(job);
    const char *name = job->arm[a].name;
    if (icd_samples_summary(job->ctx, job->samples, name, job->config->measure.seed,
                            &s) != ICD_OK)
        return;
    json_object_set_new(row, "lat_ms", measured("ms", s.mean, s.low, s.high, s.count));
    json_object_set_new(row, "p50_ms", real(s.p50));
    json_object_set_new(row, "p95_ms", real(s.p95));
    if (tokens > 0)
        json_object_set_new(row, "toks_per_s",
                            measured("tokens/s", 1e3 * tokens / s.mean,
                                     1e3 * tokens / s.high, 1e3 * tokens / s.low,
                                     s.count));
    json_object_set_new(row, "repeats", json_integer(s.count));
    json_object_set_new(row, "outliers", json_integer(s.outliers));
    json_object_set_new(
        row, "burst",
        json_integer(job->samples->burst[icd_samples_find(job->samples, name)]));
}

static void add_readings(icd_job *job, const char *arm, json_t *row)
{
    static const char *const KEY[] = {"l2_hit_pct", "dram_bytes", "ept_j_per_tok"};
    for (size_t i = 0; i < sizeof KEY / sizeof KEY[0]; i++) {
        icd_metric m = icd_i_reading(job, arm, KEY[i]);
        json_object_set_new(row, KEY[i], reading(&m));
    }
}

static json_t *arm_row(icd_job *job, int64_t a)
{
    char cpu[128], kernel[96] = "command";
    icd_arm_cost cost;
    const icd_job_arm *arm = &job->arm[a];
    if (!icd_i_exec_wanted(job->config))
        icd_i_kernel_words(arm->layout, kernel, sizeof kernel);
    icd_i_cpu_model(cpu, sizeof cpu);
    if (icd_i_arm_cost(job, arm->layout, &cost) != ICD_OK) return NULL;
    json_t *row =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:s,s:I,s:I,s:I}", "name", arm->name, "role",
                  arm->role, "kernel", kernel, "hw", cpu, "driver", "none", "seed",
                  (json_int_t)job->config->solver.seed, "clock cap", "unlocked", "live",
                  (json_int_t)cost.live, "all", (json_int_t)cost.all, "bytes",
                  (json_int_t)cost.bytes);
    if (job->kv)
        json_object_set_new(row, "kv",
                            json_pack("{s:s,s:I,s:I,s:I}", "order",
                                      icd_i_arm_kv_name(arm->kv), "tokens",
                                      (json_int_t)arm->kv_effect.tokens_after, "pages",
                                      (json_int_t)arm->kv_effect.pages_after, "bytes",
                                      (json_int_t)arm->kv_effect.bytes_after));
    add_readings(job, arm->name, row);
    if (job->samples) add_times(job, a, row);
    return row;
}

static json_t *arm_rows(icd_job *job)
{
    json_t *list = json_array();
    for (int64_t a = 0; a < job->arms; a++) json_array_append_new(list, arm_row(job, a));
    return list;
}

static json_t *comparison_row(icd_job *job, const char *a, const char *b)
{
    icd_comparison c;
    if (icd_samples_compare(job->ctx, job->samples, a, b, job->config->measure.seed,
                            &c) != ICD_OK)
        return NULL;
    return json_pack("{s:s,s:s,s:o,s:o,s:o,s:s,s:o,s:o,s:o,s:o,s:o,s:I,s:I,s:I}", "a", a,
                     "b", b, "delta", real(c.delta), "low", real(c.low), "high",
                     real(c.high), "verdict", icd_verdict_name(c.verdict), "p_value",
                     real(c.p_value), "p_wilcoxon", real(c.p_wilcoxon), "hedges_g",
                     real(c.hedges_g), "delta_cycles", real(c.delta_cycles),
                     "autocorrelation", real(c.autocorrelation), "outliers",
                     (json_int_t)c.outliers, "batches", (json_int_t)c.batches, "blocks",
                     (json_int_t)c.blocks);
}

/* Everything against linear, then iterative against its alternatives, then dense against
 * itself. */
static json_t *comparison_rows(icd_job *job)
{
    json_t *list = json_array();
    if (!job->samples) return list;
    for (int64_t i = 0; i < job->arms; i++)
        if (strcmp(job->arm[i].name, "linear") != 0)
            json_array_append_new(list, comparison_row(job, "linear", job->arm[i].name));
    for (int64_t i = 0; i < job->arms; i++)
        if (!strcmp(job->arm[i].role, "alternative"))
            json_array_append_new(list,
                                  comparison_row(job, job->arm[i].name, "iterative"));
    if (icd_i_arm_find(job, "dense random"))
        json_array_append_new(list, comparison_row(job, "dense random", "dense pi1"));
    icd_ctx_clear(job->ctx);
    return list;
}

/* Live granules and bytes of one linear under the arms that matter. */
static void linear_costs(icd_job *job, const char *linear, json_t *row)
{
    static const char *const ARM[] = {"linear",    "iterative", "random",
                                      "frequency", "gather",    "dense"};
    json_t *live = json_object(), *bytes = json_object(), *choice = json_object();
    for (size_t i = 0; i < sizeof ARM / sizeof ARM[0]; i++) {
        const icd_job_arm *arm = icd_i_arm_find(job, ARM[i]);
        const icd_layout_entry *e = arm ? icd_i_layout_get(arm->layout, linear) : NULL;
        icd_linear_cost cost;
        if (!e || icd_runner_linear_cost(job->ctx, e, job->config->kernel.vector,
                                         &cost) != ICD_OK)
            continue;
        if (i < 4) json_object_set_new(live, ARM[i], json_integer(cost.live));
        if (i < 4) json_object_set_new(row, "all", json_integer(cost.all));
        if (i < 4) json_object_set_new(row, "granule", json_integer(cost.granule));
        json_object_set_new(bytes, ARM[i], json_integer(cost.bytes));
        if (e->choice.kernel) json_object_set_new(choice, ARM[i], icd_i_kernel_json(e));
    }
    json_object_set_new(row, "live", live);
    json_object_set_new(row, "bytes", bytes);
    if (json_object_size(choice)) json_object_set(row, "kernels", choice);
    json_decref(choice);
}

static json_t *linear_rows(icd_job *job)
{
    json_t *list = json_array();
    for (int64_t i = 0; job->layout && i < job->linears; i++) {
        const icd_job_linear *l = &job->linear[i];
        const icd_layout_entry *e = icd_i_layout_get(job->layout, l->linear->name);
        double density = e && e->mask ? icd_i_mask_density(e->mask) : 1;
        json_t *row =
            json_pack("{s:s,s:s,s:I,s:I,s:o,s:o}", "linear", l->linear->name, "group",
                      l->linear->group, "rows", (json_int_t)l->linear->rows, "cols",
                      (json_int_t)l->linear->cols, "density", real(density), "retained",
                      real(l->s.applied ? l->s.retained : 1));
        linear_costs(job, l->linear->name, row);
        json_array_append_new(list, row);
    }
    return list;
}

static json_t *axis_rows(const icd_job *job)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < job->axes; i++) {
        const icd_job_axis *a = &job->axis[i];
        const icd_solver_stats *s = &a->stats;
        if (!a->perm) continue;
        json_array_append_new(
            list,
            json_pack("{s:s,s:b,s:I,s:I,s:i,s:o,s:o,s:o,s:o,s:I,s:s,s:s,s:o,s:b}", "axis",
                      a->name, "local", (int)a->local, "D", (json_int_t)a->perm->n, "nnz",
                      (json_int_t)(a->w ? a->w->nnz : 0), "granule", a->granule,
                      "T_before", real(s->start.T), "T_after", real(s->score.T),
                      "cut_before", real(s->start.cut), "cut_after", real(s->score.cut),
                      "moved", (json_int_t)s->moved, "method", s->method, "reason",
                      s->reason, "elapsed_s", real(s->elapsed_s), "cached",
                      (int)a->cached));
    }
    return list;
}

static json_t *check_rows(const icd_job *job)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < job->checks; i++) {
        const icd_job_check *c = &job->check[i];
        json_array_append_new(list, json_pack("{s:s,s:o,s:o,s:o,s:b}", "what", c->what,
                                              "max_rel", real(c->max_rel), "cosine",
                                              real(c->cosine), "bound", real(c->bound),
                                              "ok", (int)c->ok));
    }
    return list;
}

/* The sections of the configuration as they were resolved. */
static json_t *transform_options(const icd_job *job)
{
    char *text = NULL;
    json_t *root = NULL, *section = NULL;
    if (icd_config_print(job->ctx, job->config, &text) == ICD_OK)
        root = json_loads(text, 0, NULL);
    section = json_incref(json_object_get(root, "transform"));
    json_decref(root);
    icd_mem_free(job->ctx, text);
    return section ? section : json_object();
}

static json_t *transform_row(const icd_job *job)
{
    double alive = 0, all = 0, kept = 0;
    json_t *row = transform_options(job);
    for (int64_t i = 0; i < job->linears; i++) {
        const icd_job_linear *l = &job->linear[i];
        double size = (double)(l->linear->rows * l->linear->cols);
        all += size;
        alive += size * (l->s.applied ? 1 - l->s.rate : 1);
        kept += size * (l->s.applied ? l->s.retained : 1);
    }
    if (job->kv_meta.type) {
        json_t *kv = json_object_get(row, "kv");
        bool refused = !job->kv || *job->kv_meta.reason;
        json_object_set_new(kv, "applied", json_boolean(!refused));
        json_object_set_new(kv, "reason", json_string(job->kv_meta.reason));
        json_object_set_new(kv, "retained", real(job->kv_meta.retained));
    }
    json_object_set_new(row, "density", real(alive / all));
    json_object_set_new(row, "retained", real(kept / all));
    json_object_set_new(row, "cosine_vs_dense", real(job->cosine_vs_dense));
    return row;
}

static json_t *gate_rows(const icd_job *job)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < job->gates; i++) {
        const icd_gate *g = &job->gate[i];
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:s,s:s,s:s,s:b}", "name", g->name,
                                        "target", g->target, "found", g->found, "result",
                                        icd_gate_result_name(g->result), "reason",
                                        g->reason, "required", (int)g->required));
    }
    return list;
}

static json_t *evidence_rows(const icd_job *job)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < job->evidences; i++) {
        const icd_evidence *e = &job->evidence[i];
        json_array_append_new(
            list,
            json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:s,s:s,s:I,s:s?}", "name", e->name,
                      "unit", e->unit, "change", real(e->change), "low", real(e->low),
                      "high", real(e->high), "p_value", real(e->p), "p_holm",
                      real(e->p_holm), "verdict", icd_verdict_word(e->verdict),
                      "provenance", icd_provenance_name(e->provenance), "count",
                      (json_int_t)e->count, "reason", e->reason));
    }
    return list;
}

/* What was expected of iterative against linear, and what was found. */
static json_t *prediction(icd_job *job)
{
    icd_prediction p;
    icd_comparison c = {.delta = NAN, .low = NAN, .high = NAN};
    if (icd_i_predict(job, &p) != ICD_OK || !isfinite(p.live)) return NULL;
    if (job->samples)
        icd_samples_compare(job->ctx, job->samples, "linear", "iterative",
                            job->config->measure.seed, &c);
    return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:s?}", "advice", p.advice,
                     "live_ratio", real(p.live), "bytes_ratio", real(p.bytes),
                     "time_ratio", real(p.time), "time_low", real(p.low), "time_high",
                     real(p.high), "measured_ratio", real(1 + c.delta), "measured_low",
                     real(1 + c.low), "measured_high", real(1 + c.high), "cost_model",
                     job->config->measure.cost_model);
}

/* How the clocks stood, and whether the samples drifted. */
static json_t *clock_row(icd_job *job)
{
    icd_drift d;
    const icd_samples *s = job->samples;
    const icd_clock *c = &s->clock;
    if (icd_samples_drift(job->ctx, s, &d) != ICD_OK) return NULL;
    return json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:b,s:o,s:o,s:[o,o,o],s:{s:o,s:o,s:o,s:b},s:f}",
        "mode", s->mode == ICD_MEASURE_COLD ? "cold" : "warm", "criterion",
        icd_stop_name((icd_stop)s->stop), "governor", c->governor, "boost", c->boost,
        "pinned", c->pinned, "throttled", (json_int_t)c->throttled, "interrupted",
        (json_int_t)c->interrupted, "tsc_invariant", (int)c->tsc_invariant, "tsc_mhz",
        real(c->tsc_mhz), "tsc_worst_ppm", real(c->tsc_worst_ppm), "core_mhz",
        real(c->mhz_low), real(c->mhz_mean), real(c->mhz_high), "drift", "change",
        real(d.change), "low", real(d.low), "high", real(d.high), "drifting",
        (int)d.drifting, "elapsed_s", s->elapsed_s);
}

static json_t *stage_rows(const icd_job *job)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < job->records; i++)
        json_array_append_new(
            list, json_pack("{s:s,s:f,s:b,s:b}", "stage", job->record[i].stage, "seconds",
                            job->record[i].seconds, "ok", (int)job->record[i].ok,
                            "cached", (int)job->record[i].cached));
    return list;
}

/* What the run knows by itself, over what the machine tells. */
static json_t *environment(const icd_job *job)
{
    char cpu[128], hash[17];
    json_t *all = NULL;
    icd_i_cpu_model(cpu, sizeof cpu);
    icd_i_hash_hex(job->state.config_hash, hash);
    icd_fingerprint_opts opts = {
        .git = ".", .nvml = job->config->meter.nvml, .config_hash = hash};
    if (icd_i_fingerprint(job->ctx, &opts, &all) != ICD_OK) all = json_object();
    json_t *own =
        json_pack("{s:s,s:s,s:i,s:s,s:s,s:s}", "cpu", cpu, "isa",
                  icd_i_isa_name(icd_i_cpu_best()), "threads",
                  (int)(job->config->measure.threads ? job->config->measure.threads
                                                     : icd_ctx_threads(job->ctx)),
                  "version", icd_version(), "clocks", "unlocked", "config_hash", hash);
    json_object_update(all, own);
    json_decref(own);
    return all;
}

/* Seconds that recording access sets took, at most: its share of the traced steps, taken
 * of the whole stage. */
static double recording_seconds(const icd_job *job)
{
    double seconds = 0;
    for (int64_t i = 0; i < job->records; i++)
        if (!strcmp(job->record[i].stage, "trace") && !job->record[i].cached)
            seconds += job->record[i].seconds;
    return seconds * job->trace_overhead;
}

/* What observing took of the run: events as they were timed and by their unit cost,
 * readings of the clock around bursts, recording of access sets. */
static json_t *overhead(const icd_job *job)
{
    int64_t events = 0, bursts = 0;
    double seconds = 0, total = icd_i_ctx_now(job->ctx),
           recording = recording_seconds(job);
    icd_overhead cost;
    icd_i_emit_cost(job->ctx, &events, &seconds);
    if (icd_overhead_measure(job->ctx, NULL, &cost) != ICD_OK) cost = (icd_overhead){0};
    if (job->samples) bursts = job->samples->arms * job->samples->blocks;
    double observing = job->samples ? job->samples->clock.observing_s : 0;
    icd_metric log = icd_overhead_events(&cost, events, total),
               clock = icd_overhead_clock(&cost, bursts, observing,
                                          job->samples ? job->samples->elapsed_s : 0);
    double all = seconds + 2 * cost.clock_s * (double)bursts + observing + recording;
    return json_pack("{s:I,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:o,s:o}", "events",
                     (json_int_t)events, "event_seconds", seconds, "event_share",
                     total > 0 ? seconds / total : 0, "event_cost_us", 1e6 * cost.event_s,
                     "clock_cost_ns", 1e9 * cost.clock_s, "observing_seconds", observing,
                     "recording_seconds", recording, "instrumentation_share",
                     total > 0 ? all / total : 0, "event_overhead", reading(&log),
                     "clock_overhead", reading(&clock));
}

static json_t *model_row(const icd_job *job)
{
    char hash[17];
    icd_i_hash_hex(job->state.model_hash, hash);
    const icd_model *m = job->checkpoint;
    return json_pack("{s:s,s:s,s:b,s:b,s:s,s:I}", "name", m ? icd_model_name(m) : "",
                     "arch", m ? icd_model_arch(m) : "", "synthetic",
                     m && icd_model_synthetic(m), "fallback", (int)job->fallback, "hash",
                     hash, "parameters", (json_int_t)(m ? icd_model_parameters(m) : 0));
}

static json_t *contextual(const icd_job *job)
{
    const icd_job_contextual *c = &job->contextual;
    return json_pack("{s:f,s:o,s:o,s:o,s:o}", "threshold", job->config->kernel.threshold,
                     "zeros", real(c->exact), "below", real(c->cut), "max_rel",
                     real(c->max_rel), "cosine", real(c->cosine));
}

static json_t *all(icd_job *job)
{
    static const char *const AGAIN[] = {
        "icd run -c config.lock.json --out ANOTHER_DIRECTORY",
        "icd measure RUN_DIRECTORY", "icd report RUN_DIRECTORY"};
    json_t *root = json_pack(
        "{s:s,s:s,s:s?,s:s}", "version", "icd/1", "outcome", outcome_name(job->outcome),
        "cause", job->cause[0] ? job->cause : NULL, "stopped",
        job->samples ? job->samples->stopped : "nothing was measured");
    json_object_set_new(root, "verdict", verdict_lines(job));
    json_object_set_new(root, "state", strings(job->reached, job->reached_count));
    json_object_set_new(root, "model", model_row(job));
    json_object_set_new(
        root, "input",
        json_pack("{s:s,s:I,s:I,s:I,s:I}", "name", job->input.name ? job->input.name : "",
                  "tokens", (json_int_t)job->input.tokens, "batch",
                  (json_int_t)job->input.batch, "seq", (json_int_t)job->input.seq,
                  "tokens_per_step", (json_int_t)step_tokens(job)));
    if (job->layout) json_object_set_new(root, "transform", transform_row(job));
    json_object_set_new(root, "exactness", check_rows(job));
    json_object_set_new(root, "arms", arm_rows(job));
    json_object_set_new(root, "comparisons", comparison_rows(job));
    json_object_set_new(root, "linears", linear_rows(job));
    if (job->contextual.there) json_object_set_new(root, "contextual", contextual(job));
    if (job->break_even) json_object_set(root, "break_even", job->break_even);
    json_object_set_new(root, "axes", axis_rows(job));
    json_object_set_new(root, "gates", gate_rows(job));
    json_object_set_new(root, "evidence", evidence_rows(job));
    json_object_set_new(root, "prediction", prediction(job));
    json_t *rounds = icd_i_rounds_json(job);
    if (rounds) json_object_set_new(root, "rounds", rounds);
    if (job->root_cause) json_object_set(root, "root_cause", job->root_cause);
    if (job->samples) {
        json_t *samples = NULL;
        json_object_set_new(root, "clock", clock_row(job));
        if (icd_i_distributions(job, &samples) == ICD_OK)
            json_object_set_new(root, "samples", samples);
    }
    json_object_set_new(root, "stages", stage_rows(job));
    json_object_set_new(root, "environment", environment(job));
    json_object_set_new(root, "overhead", overhead(job));
    json_object_set_new(root, "reproduce", strings(AGAIN, 3));
    return root;
}

icd_status icd_i_metrics_write(icd_job *job)
{
    const char *path = icd_i_job_path(job, "metrics.json");
    if (!path) return ICD_ENOMEM;
    if (job->gates == 0) {
        icd_status judged = icd_i_judge(job, NULL); /* an ending without samples */
        if (judged != ICD_OK) return judged;
    }
    json_t *root = all(job);
    icd_status status = root ? icd_i_json_write(job->ctx, root, path) : ICD_ENOMEM;
    json_decref(root);
    return status;
}
