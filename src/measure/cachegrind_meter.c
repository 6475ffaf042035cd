/* The meter `cachegrind`: the arm's command, run once with one step and once with more;
   what the further steps added is theirs. */
#include "measure/cachegrind.h"
#include "measure/meter.h"

#include "base/child.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Loading is most of a run's work, so a few steps more cost little. */
enum { FUNCTIONS_SHOWN = 10, STEPS_LEAST = 3 };
static const double VERSION_S = 60;
/* Misses while loading differ from run to run by about this share. */
static const double LOADING_VARIES = .03;

static const icd_meter_metric METRIC[] = {
    {"llc_hit_pct", "%"},        {"dram_read_bytes", "B"}, {"instructions", "count"},
    {"llc_references", "count"}, {"llc_misses", "count"},
};

typedef struct cachegrind {
    char version[40];
    icd_cache_model model;
} cachegrind;

/* "valgrind-3.19.0" as "3.19.0". */
static void read_version(cachegrind *c, const char *said)
{
    size_t n = strcspn(said, "\r\n");
    const char *dash = memchr(said, '-', n);
    if (dash) n -= (size_t)(dash + 1 - said);
    snprintf(c->version, sizeof c->version, "%.*s", (int)n, dash ? dash + 1 : said);
}

static icd_status open_meter(icd_ctx *ctx, icd_meter *meter)
{
    const char *argv[] = {meter->opts.valgrind, "--version", NULL};
    icd_child child = {0};
    cachegrind *c = icd_i_arena_alloc(ctx, meter->arena, sizeof *c);
    if (!c) return ICD_ENOMEM;
    meter->self = c;
    icd_i_cache_model("cpu", meter->opts.caches, &c->model);
    icd_status status = icd_i_child_run(ctx, argv, VERSION_S, 4096, &child);
    bool there = status == ICD_OK && child.exit_code == 0;
    if (there) read_version(c, child.out);
    icd_i_child_release(ctx, &child);
    if (status != ICD_OK && status != ICD_EMEASURE) return status;
    if (!there)
        return icd_i_meter_missing(ctx, meter,
                                   "sudo apt-get install valgrind, or set meter.valgrind",
                                   "%s cannot be started", meter->opts.valgrind);
    return icd_i_meter_found(ctx, meter,
                             "valgrind %s, which simulates a first and a last level only",
                             c->version);
}

/* What n further steps added, by step. */
typedef struct gain {
    const icd_cg_out *one, *more;
    double steps;
} gain;

static double added(const gain *g, int a, int b, int c)
{
    const int64_t *x = g->more->total, *y = g->one->total;
    return (double)(x[a] - y[a] + x[b] - y[b] + x[c] - y[c]) / g->steps;
}

/* Misses of the last level before the further steps: mostly those of loading. */
static double loading_misses(const gain *g)
{
    const int64_t *y = g->one->total;
    return (double)(y[ICD_CG_ILMR] + y[ICD_CG_DLMR] + y[ICD_CG_DLMW]);
}

/* No interval: threads take turns a little differently every time, which was not
 * repeated. */
static icd_status add(icd_ctx *ctx, icd_readings *r, int metric, double value)
{
    icd_metric m = {.name = METRIC[metric].name,
                    .unit = METRIC[metric].unit,
                    .value = value,
                    .low = NAN,
                    .high = NAN,
                    .count = 1,
                    .provenance = ICD_SIMULATED};
    return icd_i_readings_add(ctx, r, &m);
}

static icd_status add_all(icd_ctx *ctx, icd_readings *r, const gain *g, int32_t line)
{
    enum { RATE, READ, INSTRUCTIONS, REFERENCES, MISSES };
    icd_status status = ICD_OK;
    double asked = added(g, ICD_CG_I1MR, ICD_CG_D1MR, ICD_CG_D1MW),
           missed = added(g, ICD_CG_ILMR, ICD_CG_DLMR, ICD_CG_DLMW);
    ICD_TRY(
        add(ctx, r, INSTRUCTIONS,
            (double)(g->more->total[ICD_CG_IR] - g->one->total[ICD_CG_IR]) / g->steps));
    ICD_TRY(add(ctx, r, REFERENCES, asked));
    if (fabs(missed * g->steps) < LOADING_VARIES * loading_misses(g)) {
        status = icd_i_readings_absent(
            ctx, r,
            "%.0f steps added %.0f misses of the last level to %.0f of loading, which "
            "vary by more",
            g->steps, missed * g->steps, loading_misses(g));
        goto done;
    }
    ICD_TRY(add(ctx, r, MISSES, missed));
    ICD_TRY(add(ctx, r, READ, missed * line));
    if (asked > 0) ICD_TRY(add(ctx, r, RATE, 100 * (1 - missed / asked)));
    ICD_TRY(icd_i_readings_absent(ctx, r, "a step never left the first level"));
done:
    return status;
}

static int64_t misses(const icd_cg_function *f)
{
    return f->count[ICD_CG_D1MR] + f->count[ICD_CG_D1MW];
}

static int by_misses(const void *a, const void *b)
{
    const icd_cg_function *x = a, *y = b;
    return (misses(y) > misses(x)) - (misses(y) < misses(x));
}

/* What the further steps added to a function. */
static icd_cg_function function_added(const gain *g, const icd_cg_function *f)
{
    icd_cg_function d = *f;
    const icd_cg_function *before = icd_i_cg_find(g->one, f->name);
    for (int e = 0; before && e < ICD_CG_EVENTS; e++) d.count[e] -= before->count[e];
    return d;
}

static json_t *function_json(const gain *g, const icd_cg_function *f)
{
    double last = (double)(f->count[ICD_CG_DLMR] + f->count[ICD_CG_DLMW]);
    return json_pack("{s:s,s:f,s:f,s:f}", "name", f->name, "instructions",
                     (double)f->count[ICD_CG_IR] / g->steps, "first_misses",
                     (double)misses(f) / g->steps, "last_misses", last / g->steps);
}

/* The functions that missed the first level most, by step. */
static json_t *functions_json(icd_ctx *ctx, const gain *g)
{
    int64_t n = g->more->functions;
    icd_cg_function *sorted = NULL;
    if (ICD_ALLOC(ctx, n, &sorted) != ICD_OK) return NULL;
    json_t *list = json_array();
    for (int64_t i = 0; i < n; i++) sorted[i] = function_added(g, &g->more->function[i]);
    qsort(sorted, (size_t)n, sizeof *sorted, by_misses);
    for (int64_t i = 0; i < n && i < FUNCTIONS_SHOWN; i++)
        json_array_append_new(list, function_json(g, &sorted[i]));
    icd_i_free(ctx, sorted);
    return list;
}

static json_t *detail_json(icd_ctx *ctx, const cachegrind *c, const gain *g,
                           double seconds)
{
    return json_pack("{s:s,s:s,s:s,s:I,s:f,s:o}", "version", c->version, "first_level",
                     g->more->cache[1], "last_level", g->more->cache[2], "steps",
                     (json_int_t)g->steps, "seconds", seconds, "functions",
                     functions_json(ctx, g));
}

/* Where cachegrind writes: beside the other raw files, else into `scratch`. */
static icd_status make_path(icd_ctx *ctx, const char *dir, const char *arm,
                            char **scratch, char path[512])
{
    char name[64];
    snprintf(name, sizeof name, "%.40s", arm);
    for (char *c = name; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-_", *c)) *c = '-';
    icd_status status = dir ? ICD_OK : icd_i_scratch_new(ctx, "cachegrind", scratch);
    if (status == ICD_OK)
        snprintf(path, 512, "%.400s/cachegrind.%s.out", dir ? dir : *scratch, name);
    return status;
}

static icd_status measure_one(icd_ctx *ctx, const icd_meter *meter,
                              const icd_meter_subject *subject, icd_readings *into)
{
    icd_status status = ICD_OK;
    const cachegrind *c = meter->self;
    char path[512], *scratch = NULL;
    icd_cg_out *one = NULL, *more = NULL;
    int64_t steps = subject->steps > STEPS_LEAST ? subject->steps : STEPS_LEAST;
    double from = icd_i_now();
    ICD_TRY(make_path(ctx, meter->opts.dir, subject->name, &scratch, path));
    icd_cachegrind how = {meter->opts.valgrind, path, meter->opts.timeout_s,
                          icd_i_cg_cache(&c->model, 0),
                          icd_i_cg_cache(&c->model, c->model.levels - 1)};
    ICD_TRY(icd_i_cachegrind_run(ctx, &how, subject->command, 1, &one));
    ICD_TRY(icd_i_cachegrind_run(ctx, &how, subject->command, 1 + steps, &more));
    gain g = {one, more, (double)steps};
    ICD_TRY(add_all(ctx, into, &g, how.last.line));
    ICD_TRY(icd_i_readings_method(
        ctx, into,
        "cachegrind (valgrind %s): a run of %lld steps without what a run of 1 took; a "
        "first level (%s) and a last one (%s), LRU, no level between them, no "
        "prefetcher; valgrind has no AVX-512, so the AVX2 kernels run",
        c->version, (long long)(1 + steps), more->cache[1], more->cache[2]));
    ICD_TRY(
        icd_i_readings_detail(ctx, into, detail_json(ctx, c, &g, icd_i_now() - from)));
done:
    icd_i_scratch_remove(ctx, scratch);
    icd_i_cg_out_free(ctx, one);
    icd_i_cg_out_free(ctx, more);
    return status;
}

static icd_status measure(icd_ctx *ctx, icd_meter *meter,
                          const icd_meter_subject *const *subject,
                          icd_readings *const *into, int64_t subjects, int64_t windows)
{
    icd_status status = ICD_OK;
    (void)windows;
    for (int64_t i = 0; status == ICD_OK && i < subjects; i++)
        status = measure_one(ctx, meter, subject[i], into[i]);
    return status;
}

const icd_meter_kind icd_i_meter_cachegrind = {
    .name = "cachegrind",
    .area = "counters",
    .help = "a first and a last cache level simulated under valgrind",
    .needs = ICD_METER_COMMAND,
    .device = ICD_METER_CPU,
    .metric = METRIC,
    .metrics = sizeof METRIC / sizeof METRIC[0],
    .open = open_meter,
    .measure = measure,
};
