/* Runs ncu: what it knows, then one child process for each set of metrics. */
#include "measure/ncu.h"

#include "base/child.h"
#include "base/clock.h"
#include "base/file.h"
#include "measure/ncu_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t OUTPUT_MOST = (int64_t)256 << 20;
static const double QUERY_S = 120;
static const double MB = 1048576;
/* Application replay leaves the caches in the state the program put them in; replaying
 * single kernels would warm each with its own data. Clocks stay as they are found. */
static const char REPLAY[] = "application", CACHES[] = "none", CLOCKS[] = "none";

bool icd_i_ncu_knows(const icd_ncu *ncu, const char *metric)
{
    size_t n = strcspn(metric, ".");
    if (strncmp(metric, "launch__", 8) == 0 || strncmp(metric, "device__", 8) == 0)
        return true;
    for (const char *line = ncu->listed; line && *line;) {
        if (strncmp(line, metric, n) == 0 && strchr(" \t\r\n", line[n])) return true;
        line = strchr(line, '\n');
        if (line) line++;
    }
    return false;
}

static void refuse(icd_ncu *ncu, const char *enable, const char *fmt, ...)
    ICD_PRINTF(3, 4);
static void refuse(icd_ncu *ncu, const char *enable, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(ncu->found, sizeof ncu->found, fmt, args);
    va_end(args);
    ncu->enable = enable;
}

/* Numbers in the form of the C locale, whatever the user's is. */
static icd_status run(icd_ctx *ctx, const char *const *argv, double timeout_s,
                      icd_child *child)
{
    return icd_i_child_run(ctx, argv, timeout_s, OUTPUT_MOST, child);
}

static icd_status ask_version(icd_ctx *ctx, icd_ncu *ncu, bool *there)
{
    const char *argv[] = {ncu->opts.ncu, "--version", NULL};
    icd_child child;
    *there = false;
    icd_status status = run(ctx, argv, QUERY_S, &child);
    if (status == ICD_EMEASURE) {
        refuse(ncu,
               "install Nsight Compute (part of the CUDA toolkit) and put ncu on the "
               "PATH, or set meter.ncu",
               "%s cannot be started", ncu->opts.ncu);
        return ICD_OK;
    }
    if (status != ICD_OK) return status;
    *there = icd_i_ncu_version(child.out, ncu->version, sizeof ncu->version);
    if (!*there)
        refuse(ncu, "set meter.ncu to Nsight Compute", "%s tells no version",
               ncu->opts.ncu);
    icd_i_child_release(ctx, &child);
    return ICD_OK;
}

/* The best name of each quantity that is listed. */
static void choose_names(icd_ncu *ncu)
{
    const icd_ncu_alias *a;
    for (int q = 0; q < ICD_NCU_QUANTITIES; q++)
        for (int64_t i = 0;
             !ncu->names.alias[q] && (a = icd_i_ncu_alias((icd_ncu_quantity)q, i)); i++)
            if (icd_i_ncu_knows(ncu, a->name)) ncu->names.alias[q] = a;
}

static icd_status ask_metrics(icd_ctx *ctx, icd_ncu *ncu)
{
    const char *argv[] = {"env", "LC_ALL=C", ncu->opts.ncu, "--query-metrics", NULL};
    char said[160];
    icd_child child;
    icd_status status = run(ctx, argv, QUERY_S, &child);
    if (status == ICD_EMEASURE) {
        refuse(ncu, "run ncu --query-metrics by hand", "ncu %s does not list its metrics",
               ncu->version);
        return ICD_OK;
    }
    if (status != ICD_OK) return status;
    ncu->listed = child.out;
    choose_names(ncu);
    icd_i_ncu_error(child.out, said, sizeof said);
    const icd_ncu_refusal *why = icd_i_ncu_refusal(child.out);
    if (why)
        refuse(ncu, why->enable, "ncu %s: %s", ncu->version, why->reason);
    else if (!ncu->names.alias[ICD_NCU_HIT_RATE] && !ncu->names.alias[ICD_NCU_DRAM_READ])
        refuse(ncu, "a GPU and an Nsight Compute that belong together",
               "ncu %s lists no metric of the L2 cache or of memory%s%s", ncu->version,
               *said ? ": " : "", said);
    else
        ncu->available = true;
    return ICD_OK;
}

/* The line of a small file that begins with `key`. */
static bool find_line(const char *path, const char *key, char *line, int size)
{
    bool found = false;
    FILE *file = fopen(path, "re");
    if (!file) return false;
    while (!found && fgets(line, size, file))
        found = strncmp(line, key, strlen(key)) == 0;
    fclose(file);
    return found;
}

bool icd_i_ncu_admin_only(const char *params, const char *status)
{
    enum { CAP_ADMIN_BIT = 21 };
    static const char KEY[] = "RmProfilingAdminOnly:", CAPS[] = "CapEff:";
    char line[160];
    if (!find_line(params, KEY, line, sizeof line)) return false;
    if (strtol(line + sizeof KEY - 1, NULL, 10) == 0) return false;
    if (!find_line(status, CAPS, line, sizeof line)) return false;
    return !(strtoull(line + sizeof CAPS - 1, NULL, 16) >> CAP_ADMIN_BIT & 1);
}

icd_status icd_i_ncu_open(icd_ctx *ctx, const icd_meter_opts *opts, icd_ncu *out)
{
    bool there = false;
    *out = (icd_ncu){.opts = *opts};
    icd_status status = ask_version(ctx, out, &there);
    if (status == ICD_OK && there) status = ask_metrics(ctx, out);
    if (status != ICD_OK) {
        icd_i_ncu_close(ctx, out);
        return status;
    }
    if (out->available &&
        icd_i_ncu_admin_only("/proc/driver/nvidia/params", "/proc/self/status")) {
        const icd_ncu_refusal *why = icd_i_ncu_refusal_permission();
        out->available = false;
        refuse(out, why->enable, "ncu %s: %s", out->version, why->reason);
    }
    if (out->available)
        snprintf(out->found, sizeof out->found, "ncu %s, %s", out->version,
                 out->names.alias[ICD_NCU_HIT_RATE]
                     ? out->names.alias[ICD_NCU_HIT_RATE]->name
                     : "no metric of the hit rate");
    return ICD_OK;
}

void icd_i_ncu_close(icd_ctx *ctx, icd_ncu *ncu)
{
    icd_i_free(ctx, ncu->listed);
    icd_i_text_release(ctx, &ncu->raw);
    ncu->listed = NULL;
}

/* A command line that grows in an arena. */
typedef struct line {
    icd_ctx *ctx;
    icd_arena *memory;
    const char **argv;
    int64_t count, capacity;
    icd_status status;
} line;

static void add(line *l, const char *argument)
{
    if (l->status == ICD_OK)
        l->status = icd_i_grow(l->ctx, (void **)&l->argv, &l->capacity, l->count + 2,
                               sizeof *l->argv);
    if (l->status == ICD_OK) l->argv[l->count++] = argument;
}

static void add_number(line *l, const char *option, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    const char *copy = icd_i_arena_strdup(l->ctx, l->memory, text);
    if (!copy) l->status = ICD_ENOMEM;
    if (option) add(l, option);
    add(l, copy);
}

/* Only the first kernels: where nobody marks the steps, the whole program would be read.
 */
static bool samples(const icd_meter_opts *o)
{
    return o->ncu_mode == ICD_NCU_SAMPLE ||
           (o->ncu_mode == ICD_NCU_AUTO && !o->ncu_range);
}

static void add_options(line *l, const icd_ncu *ncu, const char *metrics)
{
    const icd_meter_opts *o = &ncu->opts;
    const char *fixed[] = {"env",
                           "LC_ALL=C",
                           o->ncu,
                           "--csv",
                           "--page",
                           "raw",
                           "--print-units",
                           "base",
                           "--target-processes",
                           "all",
                           "--replay-mode",
                           REPLAY,
                           "--cache-control",
                           CACHES,
                           "--clock-control",
                           CLOCKS,
                           "--metrics",
                           metrics};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) add(l, fixed[i]);
    if (o->ncu_range) {
        add(l, "--profile-from-start");
        add(l, "off");
    }
    if (o->nvtx && *o->nvtx) {
        add(l, "--nvtx");
        add(l, "--nvtx-include");
        add(l, o->nvtx);
    }
    if (samples(o)) add_number(l, "--launch-count", o->ncu_kernels);
}

static void add_command(line *l, const char *const *command, int64_t steps)
{
    for (; *command; command++)
        if (strcmp(*command, "{steps}") == 0)
            add_number(l, NULL, steps);
        else
            add(l, *command);
}

/* Names of the set of caches and memory: few enough that one pass tells them on the GPUs
 * since Volta. */
static icd_status name_cache(icd_ctx *ctx, const icd_ncu *ncu, icd_text *out)
{
    icd_status status = ICD_OK;
    for (int q = 0; status == ICD_OK && q < ICD_NCU_QUANTITIES; q++)
        if (ncu->names.alias[q])
            status = icd_i_text_printf(ctx, out, "%s%s", out->size ? "," : "",
                                       ncu->names.alias[q]->name);
    return status;
}

static bool is_collected(const icd_ncu *ncu, const char *name)
{
    const icd_ncu_alias *a;
    for (int q = 0; q < ICD_NCU_QUANTITIES; q++)
        if (ncu->names.alias[q] && strcmp(ncu->names.alias[q]->name, name) == 0)
            return true;
    /* Another name of the hit rate asks for the one that is there. */
    for (int64_t i = 0; (a = icd_i_ncu_alias(ICD_NCU_HIT_RATE, i)); i++)
        if (ncu->names.alias[ICD_NCU_HIT_RATE] && strcmp(a->name, name) == 0 &&
            !icd_i_ncu_knows(ncu, name))
            return true;
    return false;
}

/* Names that the user asked for beyond it; what ncu does not know is told. */
static icd_status name_extra(icd_ctx *ctx, const icd_ncu *ncu, icd_text *out)
{
    icd_status status = ICD_OK;
    for (int64_t i = 0; status == ICD_OK && i < ncu->opts.ncu_metrics.count; i++) {
        const char *name = ncu->opts.ncu_metrics.item[i];
        if (is_collected(ncu, name)) continue;
        if (icd_i_ncu_knows(ncu, name))
            status = icd_i_text_printf(ctx, out, "%s%s", out->size ? "," : "", name);
        else
            icd_i_warn(ctx, "ncu %s does not know the metric %s: it is left out",
                       ncu->version, name);
    }
    return status;
}

/* Keeps what ncu printed, under a line that says how it was run. */
static icd_status keep_raw(icd_ctx *ctx, icd_ncu *ncu, const line *l, const char *arm,
                           const icd_child *child)
{
    icd_status status = icd_i_text_printf(
        ctx, &ncu->raw, "==ICD== arm %s, exit code %d:", arm, child->exit_code);
    for (int64_t i = 0; status == ICD_OK && i < l->count; i++)
        status = icd_i_text_printf(ctx, &ncu->raw, " %s", l->argv[i]);
    if (status == ICD_OK) status = icd_i_text_puts(ctx, &ncu->raw, "\n");
    if (status == ICD_OK)
        status = icd_i_text_add(ctx, &ncu->raw, child->out, child->size);
    return status;
}

/* What the output says: a table, a refusal, or an error. */
static icd_status judge(icd_ctx *ctx, const icd_child *child, icd_ncu_result *out,
                        icd_ncu_table **table)
{
    char said[200];
    const icd_ncu_refusal *why = icd_i_ncu_refusal(child->out);
    if (!why) why = icd_i_ncu_refusal(child->error);
    if (why) {
        snprintf(out->refused, sizeof out->refused, "%s; %s", why->reason, why->enable);
        return ICD_OK;
    }
    icd_i_ncu_error(child->out, said, sizeof said);
    if (!*said) icd_i_ncu_error(child->error, said, sizeof said);
    if (*said || child->exit_code != 0)
        return icd_i_fail(ctx, ICD_EMEASURE, "ncu", NULL, "exit code %d: %s",
                          child->exit_code, *said ? said : child->error);
    icd_status status =
        icd_i_ncu_parse(ctx, child->out, (size_t)child->size, "ncu's output", table);
    return status == ICD_EDATA ? ICD_EMEASURE : status;
}

/* One child process. @param table [out] NULL when refused */
static icd_status collect(icd_ctx *ctx, icd_ncu *ncu, const char *arm,
                          const char *const *command, int64_t steps, const char *metrics,
                          icd_ncu_result *out, icd_ncu_table **table)
{
    line l = {.ctx = ctx};
    icd_child child = {0};
    *table = NULL;
    icd_status status = icd_i_arena_new(ctx, &l.memory);
    if (status != ICD_OK) return status;
    add_options(&l, ncu, metrics);
    add_command(&l, command, steps);
    double from = icd_i_now();
    status = l.status;
    if (status == ICD_OK) status = run(ctx, l.argv, ncu->opts.timeout_s, &child);
    out->seconds += icd_i_now() - from;
    if (status == ICD_OK) status = keep_raw(ctx, ncu, &l, arm, &child);
    if (status == ICD_OK) status = judge(ctx, &child, out, table);
    if (status == ICD_OK) {
        int64_t passes = icd_i_ncu_passes(child.out);
        if (passes > out->passes) out->passes = passes;
    }
    icd_i_child_release(ctx, &child);
    icd_i_free(ctx, l.argv);
    icd_i_arena_free(ctx, l.memory);
    return status;
}

/* Mean and sum of a column over the kernels that tell it. */
static icd_status add_extra(icd_ctx *ctx, const icd_ncu_table *t, int64_t c, json_t *to)
{
    double sum = 0;
    int64_t n = 0;
    for (int64_t k = 0; k < t->kernels; k++) {
        double x = t->value[k * t->columns + c];
        if (isnan(x)) continue;
        sum += x;
        n++;
    }
    json_t *one = n ? json_pack("{s:f,s:f,s:I,s:s}", "mean", sum / (double)n, "sum", sum,
                                "kernels", (json_int_t)n, "unit", t->column[c].unit)
                    : json_pack("{s:i,s:s}", "kernels", 0, "unit", t->column[c].unit);
    return json_object_set_new(to, t->column[c].name, one) == 0
               ? ICD_OK
               : icd_i_fail(ctx, ICD_ENOMEM, "ncu", NULL, "no memory for a metric");
}

static icd_status collect_extra(icd_ctx *ctx, icd_ncu *ncu, const char *arm,
                                const char *const *command, int64_t steps,
                                icd_ncu_result *out)
{
    icd_text names = {0};
    icd_ncu_table *t = NULL;
    int64_t passes = out->passes;
    icd_status status = name_extra(ctx, ncu, &names);
    if (status == ICD_OK && names.size)
        status = collect(ctx, ncu, arm, command, steps, names.data, out, &t);
    out->passes = passes; /* of the set that is reported */
    if (status == ICD_OK && t) {
        out->extra = json_object();
        for (int64_t c = 0; status == ICD_OK && c < t->columns; c++)
            status = add_extra(ctx, t, c, out->extra);
    }
    icd_i_ncu_table_free(ctx, t);
    icd_i_text_release(ctx, &names);
    return status;
}

static icd_status one_run(icd_ctx *ctx, icd_ncu *ncu, const char *arm,
                          const char *const *command, int64_t steps, const char *metrics,
                          icd_ncu_result *out)
{
    icd_ncu_table *t = NULL;
    icd_status status = collect(ctx, ncu, arm, command, steps, metrics, out, &t);
    if (status == ICD_OK && t) {
        icd_i_ncu_sum(t, &ncu->names, &out->sum[out->runs]);
        bool sampled = samples(&ncu->opts) && t->kernels >= ncu->opts.ncu_kernels;
        if (sampled) out->whole = false;
        if (out->runs++ == 0)
            status = icd_i_ncu_kernels(ctx, t, &ncu->names, &out->kernels);
    }
    icd_i_ncu_table_free(ctx, t);
    return status;
}

static icd_status write_raw(icd_ctx *ctx, const icd_ncu *ncu)
{
    char *path = NULL;
    if (!ncu->opts.dir || !*ncu->opts.dir || !ncu->raw.size) return ICD_OK;
    icd_status status = icd_i_path_join(ctx, ncu->opts.dir, "ncu.csv", &path);
    if (status == ICD_OK)
        status = icd_i_file_write(ctx, path, ncu->raw.data, (size_t)ncu->raw.size);
    icd_i_free(ctx, path);
    return status;
}

icd_status icd_i_ncu_measure(icd_ctx *ctx, icd_ncu *ncu, const char *arm,
                             const char *const *command, int64_t steps, int64_t runs,
                             icd_ncu_result *out)
{
    icd_text metrics = {0};
    *out = (icd_ncu_result){.whole = true, .passes = 1};
    icd_status status = ICD_ALLOC(ctx, runs, &out->sum);
    if (status == ICD_OK) status = name_cache(ctx, ncu, &metrics);
    for (int64_t r = 0; status == ICD_OK && r < runs && !*out->refused; r++)
        status = one_run(ctx, ncu, arm, command, steps, metrics.data, out);
    if (status == ICD_OK && !*out->refused)
        status = collect_extra(ctx, ncu, arm, command, steps, out);
    icd_i_text_release(ctx, &metrics);
    /* What was printed is worth most where something failed. */
    icd_status written =
        status == ICD_OK || status == ICD_EMEASURE ? write_raw(ctx, ncu) : ICD_OK;
    if (status == ICD_OK) status = written;
    if (status != ICD_OK) icd_i_ncu_result_release(ctx, out);
    return status;
}

void icd_i_ncu_result_release(icd_ctx *ctx, icd_ncu_result *r)
{
    icd_i_free(ctx, r->sum);
    json_decref(r->kernels);
    json_decref(r->extra);
    *r = (icd_ncu_result){0};
}

json_t *icd_i_ncu_settings(const icd_ncu *ncu, const icd_ncu_result *r)
{
    json_t *names = json_object();
    static const char *const QUANTITY[] = {"l2_hit_pct", "sectors", "l2_read_bytes",
                                           "dram_read_bytes", "dram_write_bytes"};
    for (int q = 0; q < ICD_NCU_QUANTITIES; q++)
        json_object_set_new(names, QUANTITY[q],
                            ncu->names.alias[q] ? json_string(ncu->names.alias[q]->name)
                                                : json_null());
    return json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:s*,s:o,s:I,s:b,s:f,s:f}", "version", ncu->version,
        "replay_mode", REPLAY, "cache_control", CACHES, "clock_control", CLOCKS, "mode",
        samples(&ncu->opts) ? "sample" : "full", "nvtx", ncu->opts.nvtx, "metrics", names,
        "passes", (json_int_t)r->passes, "whole", (int)r->whole, "seconds", r->seconds,
        "output_mb", (double)ncu->raw.size / MB);
}
