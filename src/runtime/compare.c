/* compare: what several measured runs say next to each other, and against a baseline. */
#include <icd/compare.h>

#include "base/json.h"
#include "base/text.h"

#include <icd/measure.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS_MOST = 16 };

/* What counts as the same where nothing else was asked for. */
static const double BAND = .01, LEVEL = .95;

typedef struct one_run {
    const char *dir;
    json_t *metrics;
    icd_samples *samples;
    bool control_failed; /* its two copies of linear differ */
} one_run;

typedef struct comparer {
    icd_ctx *ctx;
    one_run run[RUNS_MOST];
    int64_t runs;
    icd_compare_opts opts;
    json_t *differences;
    json_t *baseline;
    icd_text worst;
    double worst_delta;
    bool regression;
} comparer;

/* Of which comparisons a member of metrics.json must agree. */
typedef enum scope {
    TIMES,   /* of milliseconds: those of one machine and one task */
    TASK,    /* and of multiples of linear, which any machine may judge */
    BASELINE /* what a baseline, too, says nothing about when it changes */
} scope;

static const struct {
    const char *section, *member;
    scope scope;
} SAME[] = {
    {"environment", "cpu", TIMES},
    {"environment", "isa", TIMES},
    {"environment", "threads", TIMES},
    {"environment", "clocks", TIMES},
    {"environment", "gpu", TIMES},
    {"environment", "gpu_module", TIMES},
    {"environment", "governor", TIMES},
    {"environment", "boost", TIMES},
    {"environment", "kernel", TIMES},
    {"environment", "machine", TIMES},
    {"clock", "mode", TIMES},
    {"input", "name", TASK},
    {"input", "batch", TASK},
    {"input", "seq", TASK},
    {"model", "name", TASK},
    {"model", "arch", TASK},
    {"model", "hash", TASK},
    {"transform", "sparsity", BASELINE},
    {"transform", "quant", BASELINE},
    {"transform", "kv", BASELINE},
};
enum { SAMES = sizeof SAME / sizeof SAME[0] };

static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static const json_t *member(const json_t *root, int i)
{
    return json_object_get(json_object_get(root, SAME[i].section), SAME[i].member);
}

/* A JSON value in words: strings as they are. */
static void words(const json_t *value, char out[160])
{
    if (json_is_string(value))
        snprintf(out, 160, "%s", json_string_value(value));
    else if (json_is_integer(value))
        snprintf(out, 160, "%lld", (long long)json_integer_value(value));
    else if (json_is_number(value))
        snprintf(out, 160, "%g", json_number_value(value));
    else if (json_object_size(value)) {
        char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);
        snprintf(out, 160, "%.156s", text ? text : "");
        free(text);
    } else
        snprintf(out, 160, "nothing");
}

static bool is_missing(const json_t *value)
{
    return !value || json_is_null(value);
}

/* SPEC section 7: beyond +-1 % no time of the run decides. */
static bool control_failed(comparer *c, const icd_samples *s, icd_comparison *aa)
{
    if (icd_samples_find(s, "linear A/A") < 0 || icd_samples_find(s, "linear") < 0)
        return false;
    if (icd_samples_compare(c->ctx, s, "linear", "linear A/A", 42, aa) != ICD_OK) {
        icd_ctx_clear(c->ctx);
        return false;
    }
    return aa->low < -BAND || aa->high > BAND;
}

static icd_status read_run(comparer *c, one_run *run)
{
    icd_status status = ICD_OK;
    icd_text path = {0};
    icd_comparison aa;
    ICD_TRY(icd_i_text_printf(c->ctx, &path, "%s/metrics.json", run->dir));
    ICD_TRY(icd_i_json_read(c->ctx, path.data, &run->metrics));
    path.size = 0;
    ICD_TRY(icd_i_text_printf(c->ctx, &path, "%s/samples.csv", run->dir));
    ICD_TRY(icd_samples_read(c->ctx, path.data, &run->samples));
    run->control_failed = control_failed(c, run->samples, &aa);
done:
    icd_i_text_release(c->ctx, &path);
    return status;
}

/* Every member of SAME from scope `first` to `last` in which `b` is not like `a`. */
static void note_differences(comparer *c, scope first, scope last, const json_t *a,
                             const char *name_a, const json_t *b, const char *name_b)
{
    for (int i = 0; i < SAMES; i++) {
        char x[160], y[160];
        const json_t *in_a = member(a, i), *in_b = member(b, i);
        if (SAME[i].scope < first || SAME[i].scope > last || json_equal(in_a, in_b) ||
            (is_missing(in_a) && is_missing(in_b)))
            continue;
        words(in_a, x);
        words(in_b, y);
        json_array_append_new(c->differences,
                              json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "what",
                                        SAME[i].section, "member", SAME[i].member, "a", x,
                                        "b", y, "run_a", name_a, "run_b", name_b));
    }
}

static icd_status refuse(comparer *c)
{
    const json_t *d = json_array_get(c->differences, 0);
    return icd_i_fail(
        c->ctx, ICD_EINVAL, json_string_value(json_object_get(d, "run_b")),
        "--anyway shows both without deltas",
        "%s %s is '%s', but '%s' in %s: their times cannot be compared%s",
        json_string_value(json_object_get(d, "what")),
        json_string_value(json_object_get(d, "member")),
        json_string_value(json_object_get(d, "b")),
        json_string_value(json_object_get(d, "a")),
        json_string_value(json_object_get(d, "run_a")),
        json_array_size(c->differences) > 1 ? " (there are more differences)" : "");
}

/* Iterative against linear inside one run; null where it has no such arms. */
static json_t *gain_of(comparer *c, const one_run *run)
{
    icd_comparison g;
    if (icd_samples_find(run->samples, "iterative") < 0 ||
        icd_samples_compare(c->ctx, run->samples, "linear", "iterative", 42, &g) !=
            ICD_OK) {
        icd_ctx_clear(c->ctx);
        return json_null();
    }
    bool failed = run->control_failed;
    return json_pack("{s:o,s:o,s:o,s:s,s:I,s:b}", "delta", real(g.delta), "low",
                     real(g.low), "high", real(g.high), "verdict",
                     icd_verdict_name(failed ? ICD_VERDICT_UNDECIDED : g.verdict),
                     "blocks", (json_int_t)g.blocks, "control_failed", (int)failed);
}

static json_t *run_row(comparer *c, const one_run *run)
{
    const json_t *m = run->metrics, *env = json_object_get(m, "environment");
    const char *outcome = json_string_value(json_object_get(m, "outcome"));
    const char *first =
        json_string_value(json_array_get(json_object_get(m, "verdict"), 0));
    const char *hash = json_string_value(json_object_get(env, "config_hash"));
    const char *version = json_string_value(json_object_get(env, "version"));
    json_t *row = json_pack("{s:s,s:s,s:s,s:s,s:s,s:o}", "run", run->dir, "outcome",
                            outcome ? outcome : "", "verdict", first ? first : "",
                            "config_hash", hash ? hash : "", "version",
                            version ? version : "", "gain", gain_of(c, run));
    static const char *const COPY[] = {"model", "input", "environment"};
    for (size_t i = 0; row && i < sizeof COPY / sizeof COPY[0]; i++)
        if (json_object_get(m, COPY[i]))
            json_object_set(row, COPY[i], json_object_get(m, COPY[i]));
    return row;
}

/* A word for a change needs the interval widened for all arms that are looked at
 * (Bonferroni), and two runs whose controls held. */
static json_t *delta_json(const icd_log_mean *a, const icd_log_mean *b, int64_t arms,
                          bool trusted)
{
    icd_comparison d, wide;
    icd_log_mean_compare(a, b, LEVEL, &d);
    icd_log_mean_compare(a, b, 1 - (1 - LEVEL) / (double)arms, &wide);
    if (!trusted || (d.verdict != ICD_VERDICT_SAME && wide.verdict != d.verdict))
        d.verdict = ICD_VERDICT_UNDECIDED;
    return json_pack("{s:o,s:o,s:o,s:s}", "delta", real(d.delta), "low", real(d.low),
                     "high", real(d.high), "verdict", icd_verdict_name(d.verdict));
}

/* One arm in every run: its mean, and its change against the first run that has it. */
static icd_status arm_row(comparer *c, const char *name, json_t *rows)
{
    icd_status status = ICD_OK;
    icd_log_mean first = {0}, here;
    bool trusted = true;
    bool comparable = json_array_size(c->differences) == 0;
    json_t *list = json_array();
    json_array_append_new(rows, json_pack("{s:s,s:o}", "arm", name, "runs", list));
    for (int64_t r = 0; r < c->runs; r++) {
        const one_run *run = &c->run[r];
        icd_summary s;
        if (icd_samples_find(run->samples, name) < 0) {
            json_array_append_new(list, json_null());
            continue;
        }
        ICD_TRY(icd_samples_summary(c->ctx, run->samples, name, 42, &s));
        ICD_TRY(icd_samples_log_mean(c->ctx, run->samples, name, NULL, &here));
        json_array_append_new(
            list,
            json_pack("{s:o,s:o,s:o,s:I,s:o}", "ms", real(s.mean), "low", real(s.low),
                      "high", real(s.high), "count", (json_int_t)s.count, "against_first",
                      first.count && comparable
                          ? delta_json(&first, &here, run->samples->arms,
                                       trusted && !run->control_failed)
                          : json_null()));
        if (!first.count) {
            first = here;
            trusted = !run->control_failed;
        }
    }
done:
    return status;
}

static bool seen(const json_t *rows, const char *name)
{
    const json_t *row = NULL;
    size_t i = 0;
    json_array_foreach(rows, i,
                       row) if (!strcmp(json_string_value(json_object_get(row, "arm")),
                                        name)) return true;
    return false;
}

static icd_status arm_rows(comparer *c, json_t *rows)
{
    for (int64_t r = 0; r < c->runs; r++)
        for (int64_t a = 0; a < c->run[r].samples->arms; a++) {
            const char *name = c->run[r].samples->name[a];
            icd_status status = seen(rows, name) ? ICD_OK : arm_row(c, name, rows);
            if (status != ICD_OK) return status;
        }
    return ICD_OK;
}

static icd_status log_mean_json(icd_ctx *ctx, const icd_samples *s, const char *arm,
                                const char *reference, json_t **out)
{
    icd_log_mean m;
    icd_status status = icd_samples_log_mean(ctx, s, arm, reference, &m);
    *out = status == ICD_OK ? json_pack("{s:f,s:f,s:I}", "mean", m.mean, "se", m.se,
                                        "count", (json_int_t)m.count)
                            : NULL;
    return status;
}

static icd_status log_mean_read(comparer *c, const json_t *row, const char *key,
                                icd_log_mean *out)
{
    icd_status status = ICD_OK;
    json_t *m = NULL;
    const char *place = c->opts.baseline;
    ICD_TRY(icd_i_json_member(c->ctx, row, key, JSON_OBJECT, place, &m));
    ICD_TRY(icd_i_json_real(c->ctx, m, "mean", place, &out->mean));
    ICD_TRY(icd_i_json_real(c->ctx, m, "se", place, &out->se));
    ICD_TRY(icd_i_json_int(c->ctx, m, "count", place, 1, INT64_C(1) << 40, &out->count));
done:
    return status;
}

static double allowed(const comparer *c)
{
    return c->opts.max_regression > 0 ? c->opts.max_regression : BAND;
}

/* A regression that is proved is worse than one that cannot be ruled out. */
static icd_status note_worst(comparer *c, const char *arm, const icd_comparison *d,
                             bool proved)
{
    double rank = d->delta + (proved ? 1e6 : 0);
    if (c->regression && rank <= c->worst_delta) return ICD_OK;
    c->regression = true;
    c->worst_delta = rank;
    c->worst.size = 0;
    return icd_i_text_printf(
        c->ctx, &c->worst,
        "%s is %+.2f %% [%+.2f, %+.2f] against the baseline%s, at most %+.2f %% "
        "allowed%s",
        arm, 100 * d->delta, 100 * d->low, 100 * d->high,
        c->opts.relative ? " (as a multiple of linear)" : "", 100 * allowed(c),
        proved ? ""
        : c->run[0].control_failed
            ? ": its A/A control failed; measure again"
            : ": the interval is too wide to tell; measure longer");
}

/* What was not measured is no pass. */
static icd_status note_missing(comparer *c, const char *arm)
{
    if (c->regression) return ICD_OK;
    c->regression = true;
    c->worst_delta = -1;
    return icd_i_text_printf(c->ctx, &c->worst,
                             "%s is in the baseline, but was not measured", arm);
}

/* Random orders and second copies are there for the measurement, nobody runs them. */
static bool is_control(const char *arm)
{
    static const char *const NAME[] = {"linear A/A", "random", "dense pi1",
                                       "dense random"};
    for (size_t i = 0; i < sizeof NAME / sizeof NAME[0]; i++)
        if (!strcmp(arm, NAME[i])) return true;
    return false;
}

static bool is_judged(const comparer *c, const char *arm)
{
    return !is_control(arm) && !(c->opts.relative && !strcmp(arm, "linear"));
}

/* "ok" needs the whole interval inside of what is allowed; "regression" the whole
 * interval beyond it, widened for the number of arms that were looked at (Bonferroni). */
static const char *judge(const comparer *c, const icd_log_mean *then,
                         const icd_log_mean *now, int64_t arms, icd_comparison *d)
{
    icd_comparison wide;
    icd_log_mean_compare(then, now, 1 - (1 - LEVEL) / (double)arms, &wide);
    icd_log_mean_compare(then, now, LEVEL, d);
    if (c->run[0].control_failed) return "undecided";
    if (d->high <= allowed(c)) return "ok";
    return wide.low > allowed(c) ? "regression" : "undecided";
}

static icd_status baseline_row(comparer *c, const json_t *row, int64_t arms, json_t *rows)
{
    icd_status status = ICD_OK;
    const char *arm = NULL, *reference = c->opts.relative ? "linear" : NULL;
    icd_log_mean then, now;
    icd_comparison d;
    const one_run *run = &c->run[0];
    ICD_TRY(icd_i_json_string(c->ctx, row, "arm", c->opts.baseline, &arm));
    if (!is_judged(c, arm)) return ICD_OK;
    ICD_TRY(log_mean_read(c, row, c->opts.relative ? "ln_ratio" : "ln_ms", &then));
    if (icd_samples_find(run->samples, arm) < 0) {
        json_array_append_new(rows,
                              json_pack("{s:s,s:s}", "arm", arm, "result", "missing"));
        return note_missing(c, arm);
    }
    ICD_TRY(icd_samples_log_mean(c->ctx, run->samples, arm, reference, &now));
    const char *result = judge(c, &then, &now, arms, &d);
    if (strcmp(result, "ok") != 0)
        ICD_TRY(note_worst(c, arm, &d, !strcmp(result, "regression")));
    json_array_append_new(rows, json_pack("{s:s,s:f,s:f,s:o,s:o,s:o,s:s}", "arm", arm,
                                          "then", exp(then.mean), "now", exp(now.mean),
                                          "delta", real(d.delta), "low", real(d.low),
                                          "high", real(d.high), "result", result));
done:
    return status;
}

static int64_t judged_arms(const comparer *c, const json_t *arms)
{
    const json_t *row = NULL;
    int64_t count = 0;
    size_t i = 0;
    json_array_foreach(arms, i, row)
    {
        const char *arm = json_string_value(json_object_get(row, "arm"));
        count += arm && is_judged(c, arm);
    }
    return count;
}

/* Arms that are missing count as regressions: what was not measured is no pass. */
static const char *overall(const json_t *rows)
{
    const json_t *row = NULL;
    const char *worst = "ok";
    size_t i = 0;
    json_array_foreach(rows, i, row)
    {
        const char *result = json_string_value(json_object_get(row, "result"));
        if (!strcmp(result, "ok")) continue;
        worst = !strcmp(result, "undecided") && strcmp(worst, "regression") != 0
                    ? "undecided"
                    : "regression";
    }
    return worst;
}

static icd_status check_baseline(comparer *c, json_t **out)
{
    icd_status status = ICD_OK;
    json_t *rows = json_array(), *arms = NULL;
    const json_t *row = NULL;
    size_t i = 0;
    *out = json_pack("{s:s,s:f,s:b,s:o}", "file", c->opts.baseline, "max_regression",
                     allowed(c), "relative", (int)c->opts.relative, "arms", rows);
    ICD_TRY(icd_i_json_member(c->ctx, c->baseline, "arms", JSON_ARRAY, c->opts.baseline,
                              &arms));
    int64_t judged = judged_arms(c, arms);
    if (judged == 0)
        return icd_i_fail(c->ctx, ICD_EDATA, c->opts.baseline,
                          "store one by --save-baseline",
                          "found no arm that could be judged%s",
                          c->opts.relative ? " as a multiple of linear" : "");
    json_array_foreach(arms, i, row) ICD_TRY(baseline_row(c, row, judged, rows));
    json_object_set_new(*out, "result", json_string(overall(rows)));
done:
    return status;
}

static icd_status read_all(comparer *c, const char *const *dir)
{
    icd_status status = ICD_OK;
    for (int64_t r = 0; r < c->runs; r++) {
        c->run[r].dir = dir[r];
        ICD_TRY(read_run(c, &c->run[r]));
        if (r)
            note_differences(c, TIMES, TASK, c->run[0].metrics, dir[0], c->run[r].metrics,
                             dir[r]);
    }
    if (c->opts.baseline) {
        ICD_TRY(icd_i_json_read(c->ctx, c->opts.baseline, &c->baseline));
        note_differences(c, c->opts.relative ? TASK : TIMES, BASELINE,
                         json_object_get(c->baseline, "metrics"), c->opts.baseline,
                         c->run[0].metrics, dir[0]);
    }
    if (json_array_size(c->differences) && !c->opts.anyway) status = refuse(c);
done:
    return status;
}

static icd_status build(comparer *c, json_t **out)
{
    icd_status status = ICD_OK;
    json_t *runs = json_array(), *arms = json_array(), *baseline = NULL;
    *out = json_pack("{s:s,s:O,s:o,s:o}", "version", "icd/1", "differences",
                     c->differences, "runs", runs, "arms", arms);
    for (int64_t r = 0; r < c->runs; r++)
        json_array_append_new(runs, run_row(c, &c->run[r]));
    ICD_TRY(arm_rows(c, arms));
    if (c->baseline) {
        status = check_baseline(c, &baseline);
        json_object_set_new(*out, "baseline", baseline);
    }
done:
    return status;
}

static void release(comparer *c)
{
    for (int64_t r = 0; r < c->runs; r++) {
        json_decref(c->run[r].metrics);
        icd_samples_free(c->ctx, c->run[r].samples);
    }
    json_decref(c->differences);
    json_decref(c->baseline);
    icd_i_text_release(c->ctx, &c->worst);
}

void icd_compare_result_free(icd_ctx *ctx, icd_compare_result *result)
{
    if (!result) return;
    icd_i_free(ctx, result->json);
    icd_i_free(ctx, result->regression_text);
    icd_i_free(ctx, result);
}

icd_status icd_compare_runs(icd_ctx *ctx, const char *const *dir, int64_t count,
                            const icd_compare_opts *opts, icd_compare_result **out)
{
    icd_status status = ICD_OK;
    comparer c = {.ctx = ctx, .runs = count, .differences = json_array()};
    json_t *root = NULL;
    icd_compare_result *result = NULL;
    *out = NULL;
    if (opts) c.opts = *opts;
    if (count < 1 || count > RUNS_MOST || (count < 2 && !c.opts.baseline)) {
        c.runs = 0;
        status = icd_i_fail(ctx, ICD_EINVAL, "compare", NULL,
                            "found %lld runs, expected 2 to %d, or 1 and a baseline",
                            (long long)count, RUNS_MOST);
        goto done;
    }
    ICD_TRY(read_all(&c, dir));
    ICD_TRY(build(&c, &root));
    ICD_TRY(ICD_ALLOC(ctx, 1, &result));
    ICD_TRY(icd_i_json_print(ctx, root, false, &result->json));
    result->regression = c.regression;
    if (c.regression) ICD_TRY(icd_i_strdup(ctx, c.worst.data, &result->regression_text));
    *out = result;
    result = NULL;
done:
    icd_compare_result_free(ctx, result);
    json_decref(root);
    release(&c);
    return status;
}

/* The members of metrics.json that must agree later. */
static json_t *fingerprint(const json_t *metrics)
{
    json_t *out = json_object();
    for (int i = 0; i < SAMES; i++) {
        json_t *section = json_object_get(out, SAME[i].section);
        if (!section) {
            section = json_object();
            json_object_set_new(out, SAME[i].section, section);
        }
        if (member(metrics, i))
            json_object_set(section, SAME[i].member, (json_t *)member(metrics, i));
    }
    return out;
}

icd_status icd_baseline_write(icd_ctx *ctx, const char *dir, const char *path)
{
    icd_status status = ICD_OK;
    comparer c = {.ctx = ctx, .runs = 1, .run = {{.dir = dir}}};
    json_t *arms = json_array(), *root = NULL;
    ICD_TRY(read_run(&c, &c.run[0]));
    const icd_samples *s = c.run[0].samples;
    icd_comparison aa;
    if (control_failed(&c, s, &aa)) {
        status = icd_i_fail(ctx, ICD_EMEASURE, dir, "measure again on a quieter machine",
                            "two copies of linear differ by [%+.2f, %+.2f] %%, expected "
                            "inside +-1 %%: a baseline of it would judge by noise",
                            100 * aa.low, 100 * aa.high);
        goto done;
    }
    bool linear = icd_samples_find(s, "linear") >= 0;
    for (int64_t a = 0; a < s->arms; a++) {
        json_t *ms = NULL, *ratio = NULL;
        ICD_TRY(log_mean_json(ctx, s, s->name[a], NULL, &ms));
        if (linear) ICD_TRY(log_mean_json(ctx, s, s->name[a], "linear", &ratio));
        json_array_append_new(arms,
                              json_pack("{s:s,s:o,s:o}", "arm", s->name[a], "ln_ms", ms,
                                        "ln_ratio", ratio ? ratio : json_null()));
    }
    root = json_pack("{s:s,s:o,s:O}", "version", "icd/1", "metrics",
                     fingerprint(c.run[0].metrics), "arms", arms);
    ICD_TRY(icd_i_json_write(ctx, root, path));
done:
    json_decref(arms);
    json_decref(root);
    release(&c);
    return status;
}
