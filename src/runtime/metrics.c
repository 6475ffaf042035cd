/* metrics.json: everything the report says (docs/artifacts.md), of whatever stage was
 * reached. */
#include "runtime/job.h"

#include "base/cpu.h"
#include "base/hash.h"

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

static json_t *absent(const icd_metric *m)
{
    return json_pack("{s:s,s:n,s:n,s:n,s:i,s:s,s:s}", "unit", m->unit, "value", "low",
                     "high", "count", 0, "provenance", icd_provenance_name(ICD_ABSENT),
                     "reason", m->reason ? m->reason : "");
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

/* Totals of an arm: live and all granules, bytes of packed weights. */
typedef struct arm_cost {
    int64_t live, all, bytes;
} arm_cost;

static icd_status layout_cost(icd_job *job, const icd_layout *layout, arm_cost *out)
{
    int32_t vector = job->config->kernel.vector;
    *out = (arm_cost){0};
    for (int64_t i = 0; layout && i < layout->count; i++) {
        const icd_layout_entry *e = &layout->entry[i];
        icd_linear_cost cost;
        icd_status status = icd_runner_linear_cost(job->ctx, e, vector, &cost);
        if (status != ICD_OK) return status;
        out->live += cost.live;
        out->all += cost.all;
        out->bytes += cost.bytes;
    }
    return ICD_OK;
}

static const char *kernel_name(int32_t kind)
{
    static const char *const NAME[] = {"auto", "dense", "gather", "tile"};
    return NAME[kind & 3];
}

static void add_times(icd_job *job, int64_t a, json_t *row)
{
    icd_summary s;
    double tokens = (double)(job->input.batch * job->input.seq);
    const char *name = job->arm[a].name;
    if (icd_samples_summary(job->ctx, job->samples, name, job->config->measure.seed,
                            &s) != ICD_OK)
        return;
    json_object_set_new(row, "lat_ms", measured("ms", s.mean, s.low, s.high, s.count));
    json_object_set_new(row, "p50_ms", real(s.p50));
    json_object_set_new(row, "p95_ms", real(s.p95));
    json_object_set_new(row, "toks_per_s",
                        measured("tokens/s", 1e3 * tokens / s.mean, 1e3 * tokens / s.high,
                                 1e3 * tokens / s.low, s.count));
    json_object_set_new(row, "repeats", json_integer(s.count));
    json_object_set_new(
        row, "burst",
        json_integer(job->samples->burst[icd_samples_find(job->samples, name)]));
}

static json_t *arm_row(icd_job *job, int64_t a)
{
    char cpu[128];
    icd_metric l2, energy;
    arm_cost cost;
    const icd_job_arm *arm = &job->arm[a];
    icd_measure_l2(job->ctx, &l2);
    icd_measure_energy(job->ctx, &energy);
    icd_i_cpu_model(cpu, sizeof cpu);
    if (layout_cost(job, arm->layout, &cost) != ICD_OK) return NULL;
    json_t *row =
        json_pack("{s:s,s:s,s:s,s:o,s:o,s:s,s:s,s:I,s:s,s:I,s:I,s:I}", "name", arm->name,
                  "role", arm->role, "kernel",
                  kernel_name(arm->layout->count ? arm->layout->entry[0].kernel : 0),
                  "l2_hit_pct", absent(&l2), "ept_j_per_tok", absent(&energy), "hw", cpu,
                  "driver", "none", "seed", (json_int_t)job->config->solver.seed,
                  "clock cap", "unlocked", "live", (json_int_t)cost.live, "all",
                  (json_int_t)cost.all, "bytes", (json_int_t)cost.bytes);
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
    return json_pack("{s:s,s:s,s:o,s:o,s:o,s:s,s:o,s:o,s:I}", "a", a, "b", b, "delta",
                     real(c.delta), "low", real(c.low), "high", real(c.high), "verdict",
                     icd_verdict_name(c.verdict), "p_value", real(c.p_value), "hedges_g",
                     real(c.hedges_g), "blocks", (json_int_t)c.blocks);
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
    if (job->arms == ICD_ARMS_MAX)
        json_array_append_new(list, comparison_row(job, "dense random", "dense pi1"));
    icd_ctx_clear(job->ctx);
    return list;
}

static const icd_job_arm *find_arm(const icd_job *job, const char *name)
{
    for (int64_t i = 0; i < job->arms; i++)
        if (!strcmp(job->arm[i].name, name)) return &job->arm[i];
    return NULL;
}

/* Live granules and bytes of one linear under the arms that matter. */
static void linear_costs(icd_job *job, const char *linear, json_t *row)
{
    static const char *const ARM[] = {"linear",    "iterative", "random",
                                      "frequency", "gather",    "dense"};
    json_t *live = json_object(), *bytes = json_object();
    for (size_t i = 0; i < sizeof ARM / sizeof ARM[0]; i++) {
        const icd_job_arm *arm = find_arm(job, ARM[i]);
        const icd_layout_entry *e = arm ? icd_i_layout_get(arm->layout, linear) : NULL;
        icd_linear_cost cost;
        if (!e || icd_runner_linear_cost(job->ctx, e, job->config->kernel.vector,
                                         &cost) != ICD_OK)
            continue;
        if (i < 4) json_object_set_new(live, ARM[i], json_integer(cost.live));
        if (i < 4) json_object_set_new(row, "all", json_integer(cost.all));
        if (i < 4) json_object_set_new(row, "granule", json_integer(cost.granule));
        json_object_set_new(bytes, ARM[i], json_integer(cost.bytes));
    }
    json_object_set_new(row, "live", live);
    json_object_set_new(row, "bytes", bytes);
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

static json_t *transform_row(const icd_job *job)
{
    static const char *const TYPE[] = {"none", "hds", "unstructured"};
    const icd_sparsity_opts *s = &job->config->sparsity;
    double alive = 0, all = 0, kept = 0, saliency = 0;
    for (int64_t i = 0; i < job->linears; i++) {
        const icd_job_linear *l = &job->linear[i];
        double size = (double)(l->linear->rows * l->linear->cols);
        all += size;
        alive += size * (l->s.applied ? 1 - l->s.rate : 1);
        saliency += size;
        kept += size * (l->s.applied ? l->s.retained : 1);
    }
    return json_pack(
        "{s:{s:s,s:f,s:i,s:s},s:{s:s,s:s},s:o,s:o,s:o}", "sparsity", "type",
        TYPE[s->type], "rate", s->rate, "vector", s->vector, "saliency",
        s->saliency == ICD_SALIENCY_ACTIVATION ? "activation" : "magnitude", "quant",
        "dtype", job->config->quant.dtype == ICD_Q_INT8 ? "int8" : "none", "method",
        "ptq-minmax", "density", real(alive / all), "retained", real(kept / saliency),
        "cosine_vs_dense", real(job->cosine_vs_dense));
}

static json_t *gate_row(const char *name, const char *target, const char *found,
                        const char *result, const char *reason)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:s}", "name", name, "target", target, "found",
                     found, "result", result, "reason", reason);
}

static json_t *latency_gate(icd_job *job)
{
    char target[64], found[96];
    icd_comparison c;
    double limit = job->config->gates.latency_pct;
    snprintf(target, sizeof target, "%+.1f %% or less", limit);
    if (!job->samples ||
        icd_samples_compare(job->ctx, job->samples, "linear", "iterative",
                            job->config->measure.seed, &c) != ICD_OK)
        return gate_row("latency", target, "-", "not evaluated", "nothing was measured");
    snprintf(found, sizeof found, "%+.1f %% [%+.1f, %+.1f]", 100 * c.delta, 100 * c.low,
             100 * c.high);
    return gate_row("latency", target, found, 100 * c.delta <= limit ? "met" : "not met",
                    "point estimate against the target");
}

static json_t *gate_rows(icd_job *job)
{
    char target[3][64];
    icd_metric l2, energy;
    const icd_gates_opts *g = &job->config->gates;
    json_t *list = json_array();
    icd_measure_l2(job->ctx, &l2);
    icd_measure_energy(job->ctx, &energy);
    snprintf(target[0], sizeof target[0], "%+.1f pp or more", g->l2_pp);
    snprintf(target[1], sizeof target[1], "%+.1f %% or less", g->ept_pct);
    snprintf(target[2], sizeof target[2], "at most %.2f pp lost", g->quality_pp);
    json_array_append_new(list, latency_gate(job));
    json_array_append_new(list,
                          gate_row("l2", target[0], "-", "not evaluated", l2.reason));
    json_array_append_new(
        list, gate_row("ept", target[1], "-", "not evaluated", energy.reason));
    json_array_append_new(
        list, gate_row("quality", target[2], "-", "not evaluated",
                       "no labelled examples; iterative and linear give the same "
                       "outputs (see exactness)"));
    icd_ctx_clear(job->ctx);
    return list;
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

static json_t *environment(const icd_job *job)
{
    char cpu[128], hash[17];
    icd_i_cpu_model(cpu, sizeof cpu);
    icd_i_hash_hex(job->state.config_hash, hash);
    return json_pack("{s:s,s:s,s:i,s:s,s:s,s:s}", "cpu", cpu, "isa",
                     icd_i_isa_name(icd_i_cpu_best()), "threads",
                     (int)(job->config->measure.threads ? job->config->measure.threads
                                                        : icd_ctx_threads(job->ctx)),
                     "version", icd_version(), "clocks", "unlocked", "config_hash", hash);
}

static json_t *overhead(const icd_job *job)
{
    int64_t events = 0;
    double seconds = 0, total = icd_i_ctx_now(job->ctx);
    icd_i_emit_cost(job->ctx, &events, &seconds);
    return json_pack("{s:I,s:f,s:f}", "events", (json_int_t)events, "event_seconds",
                     seconds, "event_share", total > 0 ? seconds / total : 0);
}

static json_t *model_row(const icd_job *job)
{
    char hash[17];
    icd_i_hash_hex(job->state.model_hash, hash);
    const icd_model *m = job->checkpoint;
    return json_pack("{s:s,s:s,s:b,s:b,s:s,s:I}", "name", m ? icd_model_name(m) : "",
                     "arch", m ? icd_model_arch(m) : "", "synthetic", 0, "fallback",
                     (int)job->fallback, "hash", hash, "parameters",
                     (json_int_t)(m ? icd_model_parameters(m) : 0));
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
        json_pack("{s:s,s:I,s:I,s:I}", "name", job->input.name ? job->input.name : "",
                  "tokens", (json_int_t)job->input.tokens, "batch",
                  (json_int_t)job->input.batch, "seq", (json_int_t)job->input.seq));
    if (job->layout) json_object_set_new(root, "transform", transform_row(job));
    json_object_set_new(root, "exactness", check_rows(job));
    json_object_set_new(root, "arms", arm_rows(job));
    json_object_set_new(root, "comparisons", comparison_rows(job));
    json_object_set_new(root, "linears", linear_rows(job));
    json_object_set_new(root, "axes", axis_rows(job));
    json_object_set_new(root, "gates", gate_rows(job));
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
    json_t *root = all(job);
    icd_status status = root ? icd_i_json_write(job->ctx, root, path) : ICD_ENOMEM;
    json_decref(root);
    return status;
}
