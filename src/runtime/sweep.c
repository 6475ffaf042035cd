/* sweep: one run for every combination of a grid, and one table of them. */
#include <icd/sweep.h>

#include "base/file.h"
#include "base/hash.h"
#include "runtime/exec_arms.h"
#include "runtime/job.h"

#include <icd/report.h>
#include <icd/run.h>

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { KEYS = 16, VALUES = 64, MOST_POINTS = 10000, LABEL = 240 };

/* One key of the grid and its values, as texts. */
typedef struct grid_key {
    char *text; /* owned: cut into the parts below */
    const char *key, *value[VALUES];
    int64_t values;
} grid_key;

typedef struct sweep {
    icd_ctx *ctx;
    const icd_sweep_opts *opts;
    const char *base; /* settings of all points, a file */
    grid_key grid[KEYS];
    json_t *points;
} sweep;

static icd_status bad_grid(icd_ctx *ctx, const char *text, const char *why)
{
    return icd_i_fail(ctx, ICD_EINVAL, "grid", "for example sparsity.rate=.5,.75",
                      "'%.200s': %s", text, why);
}

/* Commas between values; those inside brackets belong to a list. */
static icd_status cut_values(icd_ctx *ctx, grid_key *g, const char *all, char *at)
{
    int depth = 0;
    g->value[g->values++] = at;
    for (; *at; at++) {
        depth += (*at == '[') - (*at == ']');
        if (*at != ',' || depth) continue;
        *at = 0;
        if (g->values == VALUES) return bad_grid(ctx, all, "more than 64 values");
        g->value[g->values++] = at + 1;
    }
    for (int64_t i = 0; i < g->values; i++)
        if (!*g->value[i]) return bad_grid(ctx, all, "a value is empty");
    return ICD_OK;
}

static icd_status cut_grid(sweep *s, int64_t i)
{
    const char *all = s->opts->grid[i];
    grid_key *g = &s->grid[i];
    icd_status status = icd_i_strdup(s->ctx, all, &g->text);
    if (status != ICD_OK) return status;
    char *equals = strchr(g->text, '=');
    if (!equals || equals == g->text)
        return bad_grid(s->ctx, all, "expected KEY=VALUE,VALUE");
    *equals = 0;
    g->key = g->text;
    return cut_values(s->ctx, g, all, equals + 1);
}

/* "sparsity.rate" is short for "transform.sparsity.rate". */
static icd_status assign(icd_ctx *ctx, icd_config *config, const char *key,
                         const char *value)
{
    static const char *const SHORT[] = {"sparsity.", "quant.", "kv."};
    char text[512];
    const char *prefix = "";
    for (size_t i = 0; i < sizeof SHORT / sizeof *SHORT; i++)
        if (!strncmp(key, SHORT[i], strlen(SHORT[i]))) prefix = "transform.";
    if (snprintf(text, sizeof text, "%s%s=%s", prefix, key, value) >= (int)sizeof text)
        return bad_grid(ctx, key, "key and value are too long");
    return icd_config_override(ctx, config, text);
}

/* Which value of each key a point has: digits of its number, the last key fastest. */
static int64_t digit(const sweep *s, int64_t point, int64_t key)
{
    for (int64_t k = s->opts->grids - 1; k > key; k--) point /= s->grid[k].values;
    return point % s->grid[key].values;
}

static icd_status count_points(sweep *s, int64_t *points)
{
    *points = 1;
    for (int64_t k = 0; k < s->opts->grids; k++) {
        *points *= s->grid[k].values;
        if (*points > MOST_POINTS)
            return bad_grid(s->ctx, s->opts->grid[k], "more than 10,000 combinations");
    }
    return ICD_OK;
}

static icd_status point_config(sweep *s, int64_t point, icd_config **out)
{
    icd_status status = ICD_OK;
    icd_config *config = NULL;
    *out = NULL;
    ICD_TRY(icd_config_new(s->ctx, &config));
    ICD_TRY(icd_config_read(s->ctx, config, s->base));
    for (int64_t k = 0; k < s->opts->grids; k++)
        ICD_TRY(
            assign(s->ctx, config, s->grid[k].key, s->grid[k].value[digit(s, point, k)]));
    *out = config;
    config = NULL;
done:
    icd_config_free(s->ctx, config);
    return status;
}

/* "rate=.5 dtype=int8": the last part of every key. */
static void label_of(const sweep *s, int64_t point, char out[LABEL])
{
    size_t at = 0;
    out[0] = 0;
    for (int64_t k = 0; k < s->opts->grids && at < LABEL; k++) {
        const char *dot = strrchr(s->grid[k].key, '.');
        at += (size_t)snprintf(out + at, LABEL - at, "%s%s=%s", k ? " " : "",
                               dot ? dot + 1 : s->grid[k].key,
                               s->grid[k].value[digit(s, point, k)]);
    }
}

/* The same as a folder's name. */
static void folder_of(const char *label, char out[LABEL + 8])
{
    char *to = out + snprintf(out, LABEL + 8, "runs/");
    for (; *label; label++, to++)
        *to = isalnum((unsigned char)*label) || strchr("=.-", *label) ? *label : '_';
    *to = 0;
}

/* Every combination is checked before the first is run. */
static icd_status check_points(sweep *s, int64_t points)
{
    for (int64_t p = 0; p < points; p++) {
        icd_config *config = NULL;
        icd_status status = point_config(s, p, &config);
        icd_config_free(s->ctx, config);
        if (status != ICD_OK) return status;
    }
    return ICD_OK;
}

static icd_status read_beside(icd_ctx *ctx, const char *dir, const char *name,
                              json_t **out)
{
    char *path = NULL;
    icd_status status = icd_i_path_join(ctx, dir, name, &path);
    *out = NULL;
    if (status == ICD_OK && icd_i_file_exists(path))
        status = icd_i_json_read(ctx, path, out);
    icd_i_free(ctx, path);
    return status;
}

/* What stands in a run directory: nothing of these settings, a part, or all of it. */
typedef enum found { FOUND_NOTHING, FOUND_PART, FOUND_ALL } found;

/* Whether a finished run read the weights and the input that are there now. */
static bool is_current(sweep *s, const icd_config *config, const json_t *metrics)
{
    char now[17] = "";
    icd_job job = {.ctx = s->ctx, .config = config};
    const json_t *model = json_object_get(metrics, "model");
    const char *then = json_string_value(json_object_get(model, "hash"));
    icd_status status = icd_i_exec_alone(config) ? ICD_OK : icd_i_stage_open(&job);
    if (status == ICD_OK)
        icd_i_hash_hex(icd_i_job_hash(&job), now);
    else
        icd_ctx_clear(s->ctx); /* the run will say so */
    icd_i_job_free(&job);
    return then && !strcmp(now, then);
}

static icd_status look(sweep *s, const icd_config *config, const char *dir, found *out)
{
    icd_status status = ICD_OK;
    char *text = NULL;
    json_t *now = NULL, *then = NULL, *metrics = NULL;
    *out = FOUND_NOTHING;
    ICD_TRY(icd_config_print(s->ctx, config, &text));
    ICD_TRY(icd_i_json_parse(s->ctx, text, strlen(text), "settings", &now));
    if (read_beside(s->ctx, dir, "config.lock.json", &then) != ICD_OK || !then) {
        icd_ctx_clear(s->ctx);
        goto done;
    }
    if (!json_equal(now, then)) goto done;
    *out = FOUND_PART;
    if (read_beside(s->ctx, dir, "metrics.json", &metrics) != ICD_OK)
        icd_ctx_clear(s->ctx);
    const char *outcome = json_string_value(json_object_get(metrics, "outcome"));
    bool measured = json_array_size(json_object_get(metrics, "arms")) > 0;
    if (outcome && measured && (s->opts->no_measure || strcmp(outcome, "not_measured")) &&
        is_current(s, config, metrics))
        *out = FOUND_ALL;
done:
    icd_mem_free(s->ctx, text);
    json_decref(now);
    json_decref(then);
    json_decref(metrics);
    return status;
}

static icd_status run_point(sweep *s, const icd_config *config, const char *dir,
                            bool *reused)
{
    icd_run_summary *summary = NULL;
    icd_run_opts opts = {.size = sizeof opts,
                         .out = dir,
                         .worker = s->opts->worker,
                         .no_measure = s->opts->no_measure};
    found state = FOUND_NOTHING;
    icd_status status = look(s, config, dir, &state);
    *reused = state == FOUND_ALL;
    if (status != ICD_OK || *reused) return status;
    status = state == FOUND_PART ? icd_resume(s->ctx, dir, &opts, &summary)
                                 : icd_run(s->ctx, config, &opts, &summary);
    icd_run_summary_free(s->ctx, summary);
    return status;
}

static json_t *copy(const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);
    return value ? json_incref(value) : json_null();
}

static const json_t *comparison(const json_t *metrics, const char *arm)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(metrics, "comparisons"), i, row)
    {
        const char *a = json_string_value(json_object_get(row, "a"));
        const char *b = json_string_value(json_object_get(row, "b"));
        if (a && b && !strcmp(a, "linear") && !strcmp(b, arm)) return row;
    }
    return NULL;
}

/* No time of a run whose two copies of linear differ decides anything. */
static json_t *verdict_of(const json_t *metrics, const json_t *c)
{
    const json_t *aa = comparison(metrics, "linear A/A");
    bool failed = json_number_value(json_object_get(aa, "low")) < -.01 ||
                  json_number_value(json_object_get(aa, "high")) > .01;
    return failed && c ? json_string("UNDECIDED") : copy(c, "verdict");
}

/* Every arm of the loop computes what linear computes; a model of its own has a score of
   its own. */
static json_t *arm_quality(const json_t *means, const json_t *arm, const json_t *cosine)
{
    const char *name = json_string_value(json_object_get(arm, "name"));
    const char *role = json_string_value(json_object_get(arm, "role"));
    bool own = role && !strcmp(role, "other model");
    if (name && !strcmp(name, "original")) name = "dense";
    if (json_object_size(means)) return copy(means, own ? name : "linear");
    return own || !cosine ? json_null() : json_incref((json_t *)(uintptr_t)cosine);
}

static json_t *arm_row(const json_t *metrics, const json_t *arm, const json_t *means)
{
    const json_t *lat = json_object_get(arm, "lat_ms");
    const json_t *input = json_object_get(metrics, "input");
    const char *name = json_string_value(json_object_get(arm, "name"));
    const json_t *c = comparison(metrics, name ? name : "");
    double tokens = json_number_value(json_object_get(input, "tokens_per_step"));
    double bytes =
        json_number_value(json_object_get(arm, "bytes")) +
        json_number_value(json_object_get(json_object_get(arm, "kv"), "bytes"));
    const json_t *cosine =
        json_object_get(json_object_get(metrics, "transform"), "cosine_vs_dense");
    return json_pack(
        "{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "arm", copy(arm, "name"),
        "role", copy(arm, "role"), "lat_ms", copy(lat, "value"), "lat_low",
        copy(lat, "low"), "lat_high", copy(lat, "high"), "change", copy(c, "delta"),
        "change_low", copy(c, "low"), "change_high", copy(c, "high"), "verdict",
        verdict_of(metrics, c), "live", copy(arm, "live"), "all", copy(arm, "all"),
        "bytes_per_token", tokens > 0 ? json_real(bytes / tokens) : json_null(),
        "quality", arm_quality(means, arm, cosine));
}

static json_t *arm_rows(const json_t *metrics, const json_t *quality)
{
    size_t i;
    json_t *arm, *list = json_array();
    const json_t *means = json_object_get(quality, "mean");
    json_array_foreach(json_object_get(metrics, "arms"), i, arm)
        json_array_append_new(list, arm_row(metrics, arm, means));
    return list;
}

static icd_status add_point(sweep *s, int64_t point, const char *label,
                            const char *folder, const char *dir, const char *error)
{
    icd_status status = ICD_OK;
    json_t *metrics = NULL, *quality = NULL, *values = json_object();
    for (int64_t k = 0; k < s->opts->grids; k++)
        json_object_set_new(values, s->grid[k].key,
                            json_string(s->grid[k].value[digit(s, point, k)]));
    if (!error) {
        ICD_TRY(read_beside(s->ctx, dir, "metrics.json", &metrics));
        ICD_TRY(read_beside(s->ctx, dir, "quality.json", &quality));
    }
    const json_t *transform = json_object_get(metrics, "transform");
    bool scored = json_object_size(json_object_get(quality, "mean")) > 0;
    json_t *row = json_pack(
        "{s:s,s:O,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:s?,s:o}", "config", label, "values",
        values, "run", folder, "outcome", copy(metrics, "outcome"), "cause",
        copy(metrics, "cause"), "retained", copy(transform, "retained"), "cosine",
        copy(transform, "cosine_vs_dense"), "quality_name",
        scored ? copy(quality, "task") : json_string("cosine to the dense model"),
        "quality_examples", copy(quality, "examples"), "error", error, "arms",
        arm_rows(metrics, quality));
    if (!row || json_array_append_new(s->points, row)) status = ICD_ENOMEM;
done:
    json_decref(metrics);
    json_decref(quality);
    json_decref(values);
    return status;
}

static json_t *grid_json(const sweep *s)
{
    json_t *list = json_array();
    for (int64_t k = 0; k < s->opts->grids; k++) {
        json_t *values = json_array();
        for (int64_t i = 0; i < s->grid[k].values; i++)
            json_array_append_new(values, json_string(s->grid[k].value[i]));
        json_array_append_new(
            list, json_pack("{s:s,s:o}", "key", s->grid[k].key, "values", values));
    }
    return list;
}

static icd_status write_table(sweep *s, int64_t points)
{
    icd_status status = ICD_OK;
    char *path = NULL;
    json_t *root =
        json_pack("{s:s,s:o,s:I,s:O}", "version", "icd/1", "grid", grid_json(s),
                  "combinations", (json_int_t)points, "points", s->points);
    ICD_TRY(icd_i_path_join(s->ctx, s->opts->dir, "sweep.json", &path));
    ICD_TRY(icd_i_json_write(s->ctx, root, path));
    status = icd_report_sweep(s->ctx, s->opts->dir);
done:
    icd_i_free(s->ctx, path);
    json_decref(root);
    return status;
}

static icd_status do_point(sweep *s, int64_t point, icd_sweep_result *result)
{
    icd_status status = ICD_OK;
    icd_config *config = NULL;
    char label[LABEL], folder[LABEL + 8], error[512] = "";
    char *dir = NULL;
    bool reused = false;
    label_of(s, point, label);
    folder_of(label, folder);
    ICD_TRY(icd_i_path_join(s->ctx, s->opts->dir, folder, &dir));
    ICD_TRY(point_config(s, point, &config));
    status = run_point(s, config, dir, &reused);
    if (status == ICD_ECANCELLED) goto done;
    if (status != ICD_OK) {
        snprintf(error, sizeof error, "%s: %s", icd_status_code(status),
                 icd_ctx_message(s->ctx));
        icd_i_warn(s->ctx, "%s: %s", label, error);
        icd_ctx_clear(s->ctx);
        result->failed++;
    }
    result->reused += reused;
    status = add_point(s, point, label, folder, dir, *error ? error : NULL);
done:
    icd_config_free(s->ctx, config);
    icd_i_free(s->ctx, dir);
    return status;
}

static icd_status run_all(sweep *s, icd_sweep_result *result)
{
    for (int64_t p = 0; p < result->points; p++) {
        icd_i_progress(s->ctx, "sweep", p, result->points);
        icd_status status = do_point(s, p, result);
        if (status == ICD_OK) status = write_table(s, result->points);
        if (status != ICD_OK) return status;
    }
    icd_i_progress(s->ctx, "sweep", result->points, result->points);
    return ICD_OK;
}

static icd_status open_sweep(sweep *s, const icd_config *config, char **base,
                             icd_sweep_result *result)
{
    icd_status status = ICD_OK;
    if (s->opts->grids < 1 || s->opts->grids > KEYS)
        return icd_i_fail(s->ctx, ICD_EINVAL, "grid", "for example sparsity.rate=.5,.75",
                          "found %lld keys, expected 1 to 16", (long long)s->opts->grids);
    for (int64_t k = 0; k < s->opts->grids; k++) ICD_TRY(cut_grid(s, k));
    ICD_TRY(count_points(s, &result->points));
    ICD_TRY(icd_i_mkdirs(s->ctx, s->opts->dir));
    ICD_TRY(icd_i_path_join(s->ctx, s->opts->dir, "base.lock.json", base));
    ICD_TRY(icd_config_write(s->ctx, config, *base));
    s->base = *base;
    status = check_points(s, result->points);
done:
    return status;
}

icd_status icd_sweep_run(icd_ctx *ctx, const icd_config *config,
                         const icd_sweep_opts *opts, icd_sweep_result *result)
{
    sweep s = {.ctx = ctx, .opts = opts, .points = json_array()};
    char *base = NULL;
    *result = (icd_sweep_result){0};
    icd_status status = open_sweep(&s, config, &base, result);
    if (status == ICD_OK) status = run_all(&s, result);
    for (int64_t k = 0; k < KEYS; k++) icd_i_free(ctx, s.grid[k].text);
    icd_i_free(ctx, base);
    json_decref(s.points);
    return status;
}
