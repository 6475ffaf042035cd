/* The meter `perf`: arms step in turn, counters are read before and behind the steps. */
#include "measure/perf_pmu_meter.h"

#include "base/clock.h"
#include "measure/design.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const double WINDOW_S = .1, SHORTEST_S = 1e-7, MULTIPLEX_SLACK = .02;

static const icd_meter_metric METRIC[] = {
    {"cycles", "count"},         {"instructions", "count"}, {"l2_hit_pct", "%"},
    {"l2_references", "count"},  {"l2_misses", "count"},    {"llc_hit_pct", "%"},
    {"llc_references", "count"}, {"llc_misses", "count"},
};

icd_status icd_i_perf_look(icd_ctx *ctx, icd_meter *meter)
{
    const icd_perf_meter *p = meter->self;
    int err = icd_i_perf_probe(p->ops);
    if (err == 0)
        return icd_i_meter_found(ctx, meter,
                                 "perf_event_open counts cycles, instructions "
                                 "and cache misses of this process");
    if (err == EACCES)
        return icd_i_meter_missing(ctx, meter, "sudo sysctl kernel.perf_event_paranoid=2",
                                   "the kernel refuses hardware counters to this user "
                                   "(kernel.perf_event_paranoid)");
    if (err == EPERM)
        return icd_i_meter_missing(
            ctx, meter,
            "docker run --cap-add PERFMON --security-opt seccomp=unconfined ..., or "
            "outside of a container: sudo sysctl kernel.perf_event_paranoid=2",
            "perf_event_open is not permitted, as in a container");
    return icd_i_meter_missing(
        ctx, meter,
        "run on the host itself, or give the virtual machine counters (qemu -cpu "
        "host,pmu=on)",
        "this machine exposes no hardware counters (perf_event_open: %s)", strerror(err));
}

static icd_status open_meter(icd_ctx *ctx, icd_meter *meter)
{
    icd_perf_meter *p = icd_i_arena_alloc(ctx, meter->arena, sizeof *p);
    if (!p) return ICD_ENOMEM;
    *p = (icd_perf_meter){&icd_i_perf_system, icd_i_perf_cache(), WINDOW_S};
    meter->self = p;
    return icd_i_perf_look(ctx, meter);
}

/* Per-step counts, [arm][event][window]. */
typedef struct counts {
    double *x;
    int64_t *steps; /* [arms] of one window */
    int64_t arms, windows;
    double ran, wanted; /* ns over all windows and counters */
} counts;

static double *series(const counts *c, int64_t arm, int event)
{
    return c->x + (arm * ICD_PERF_EVENTS + event) * c->windows;
}

static icd_status step(icd_ctx *ctx, const icd_meter_subject *s, int64_t times)
{
    icd_status status = ICD_OK;
    for (int64_t i = 0; status == ICD_OK && i < times; i++) {
        status = s->arm->step(ctx, s->arm->self);
        if (status == ICD_OK) status = icd_i_check_cancel(ctx);
    }
    return status;
}

/* Steps of a window, from the time of one after another that warms up. */
static icd_status plan_steps(icd_ctx *ctx, const icd_meter_subject *s, double window_s,
                             int64_t *out)
{
    icd_status status = step(ctx, s, 1);
    double from = icd_i_now();
    if (status == ICD_OK) status = step(ctx, s, 1);
    double took = icd_i_now() - from;
    *out = (int64_t)(window_s / (took > SHORTEST_S ? took : SHORTEST_S)) + 1;
    return status;
}

/* One window of one arm; its first step is not counted, because it finds the caches of
 * another arm. */
static icd_status window(icd_ctx *ctx, const icd_perf *perf, const icd_meter_subject *s,
                         counts *c, int64_t arm, int64_t w)
{
    icd_perf_value from[ICD_PERF_EVENTS], to[ICD_PERF_EVENTS];
    icd_status status = step(ctx, s, 1);
    if (status != ICD_OK) return status;
    bool told = icd_i_perf_read(perf, from);
    status = step(ctx, s, c->steps[arm]);
    if (status != ICD_OK) return status;
    if (!told || !icd_i_perf_read(perf, to))
        return icd_i_fail(ctx, ICD_EMEASURE, "perf", NULL, "a counter cannot be read");
    for (int e = 0; e < ICD_PERF_EVENTS; e++) {
        series(c, arm, e)[w] =
            icd_i_perf_between(&from[e], &to[e]) / (double)c->steps[arm];
        c->ran += (double)(to[e].running - from[e].running);
        c->wanted += (double)(to[e].enabled - from[e].enabled);
    }
    return ICD_OK;
}

static icd_status all_windows(icd_ctx *ctx, const icd_perf *perf,
                              const icd_meter_subject *const *subject, counts *c)
{
    icd_status status = ICD_OK;
    int32_t *order = NULL;
    ICD_TRY(ICD_ALLOC(ctx, c->arms, &order));
    for (int64_t w = 0; w < c->windows; w++) {
        icd_i_design_row(c->arms, w, order);
        for (int64_t i = 0; i < c->arms; i++)
            ICD_TRY(window(ctx, perf, subject[order[i]], c, order[i], w));
    }
done:
    icd_i_free(ctx, order);
    return status;
}

/* A metric of one counter; nothing where it never ran. */
static icd_status add(icd_ctx *ctx, icd_readings *r, const char *name, const char *unit,
                      const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return ICD_OK;
    icd_metric m = icd_i_meter_mean(name, unit, x, n, ICD_MEASURED);
    return icd_i_readings_add(ctx, r, &m);
}

/* Hits of every window in the place of references; a counter that was multiplexed may say
 * more misses than references by a little, beyond that it is nonsense.
 * @return the largest share of misses */
static double make_rates(double *references, const double *misses, int64_t n)
{
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double missed = misses[i] / references[i]; /* NaN stays NaN */
        worst = fmax(worst, missed);
        references[i] = references[i] > 0 ? 100 * (1 - (missed > 1 ? 1 : missed)) : NAN;
    }
    return worst;
}

static icd_status impossible(icd_ctx *ctx, icd_readings *r, const char *name,
                             double missed)
{
    char why[120];
    icd_metric m = {.name = name, .unit = "%", .reason = why};
    snprintf(why, sizeof why,
             "the counters say %.0f %% as many misses as references, which cannot be",
             100 * missed);
    return icd_i_readings_add(ctx, r, &m);
}

static icd_status add_cache(icd_ctx *ctx, icd_readings *r, const counts *c, int64_t arm,
                            bool l2)
{
    icd_status status = ICD_OK;
    double *references = series(c, arm, ICD_PERF_REFERENCES),
           *misses = series(c, arm, ICD_PERF_MISSES);
    ICD_TRY(add(ctx, r, l2 ? "l2_references" : "llc_references", "count", references,
                c->windows));
    ICD_TRY(add(ctx, r, l2 ? "l2_misses" : "llc_misses", "count", misses, c->windows));
    const char *rate = l2 ? "l2_hit_pct" : "llc_hit_pct";
    double missed = make_rates(references, misses, c->windows);
    ICD_TRY(missed > 1 + MULTIPLEX_SLACK
                ? impossible(ctx, r, rate, missed)
                : add(ctx, r, rate, "%", references, c->windows));
done:
    return status;
}

static icd_status fill(icd_ctx *ctx, const icd_perf_meter *p, icd_readings *r,
                       const counts *c, int64_t arm, int64_t threads)
{
    icd_status status = ICD_OK;
    ICD_TRY(add(ctx, r, "cycles", "count", series(c, arm, ICD_PERF_CYCLES), c->windows));
    ICD_TRY(add(ctx, r, "instructions", "count", series(c, arm, ICD_PERF_INSTRUCTIONS),
                c->windows));
    if (p->cache != ICD_PERF_NO_CACHE)
        ICD_TRY(add_cache(ctx, r, c, arm, p->cache == ICD_PERF_L2));
    ICD_TRY(icd_i_readings_absent(
        ctx, r, "the kernel's generic events of this processor do not count it"));
    ICD_TRY(icd_i_readings_method(
        ctx, r,
        "perf_event_open on %lld threads, user code only, %lld windows of %lld steps in "
        "turn with the other arms%s",
        (long long)threads, (long long)c->windows, (long long)c->steps[arm],
        p->cache == ICD_PERF_L2 ? "; this processor's cache events are the second level's"
                                : ""));
    ICD_TRY(icd_i_readings_detail(
        ctx, r,
        json_pack("{s:I,s:I,s:I,s:o}", "threads", (json_int_t)threads, "windows",
                  (json_int_t)c->windows, "steps", (json_int_t)c->steps[arm],
                  "share_counted",
                  icd_i_meter_real(c->wanted > 0 ? c->ran / c->wanted : NAN))));
done:
    return status;
}

static icd_status measure(icd_ctx *ctx, icd_meter *meter,
                          const icd_meter_subject *const *subject,
                          icd_readings *const *into, int64_t subjects, int64_t windows)
{
    icd_status status = ICD_OK;
    const icd_perf_meter *p = meter->self;
    icd_perf perf = {0};
    counts c = {.arms = subjects, .windows = windows};
    ICD_TRY(ICD_ALLOC(ctx, subjects * ICD_PERF_EVENTS * windows, &c.x));
    ICD_TRY(ICD_ALLOC(ctx, subjects, &c.steps));
    for (int64_t i = 0; i < subjects; i++)
        ICD_TRY(plan_steps(ctx, subject[i], p->window_s, &c.steps[i]));
    ICD_TRY(icd_i_perf_open(ctx, p->ops, p->cache != ICD_PERF_NO_CACHE, &perf));
    ICD_TRY(all_windows(ctx, &perf, subject, &c));
    for (int64_t i = 0; i < subjects; i++)
        ICD_TRY(fill(ctx, p, into[i], &c, i, perf.threads));
done:
    icd_i_perf_close(ctx, &perf);
    icd_i_free(ctx, c.x);
    icd_i_free(ctx, c.steps);
    return status;
}

const icd_meter_kind icd_i_meter_perf = {
    .name = "perf",
    .area = "counters",
    .help = "the processor's counters around steps in this process",
    .needs = ICD_METER_ARM,
    .device = ICD_METER_CPU,
    .metric = METRIC,
    .metrics = sizeof METRIC / sizeof METRIC[0],
    .open = open_meter,
    .measure = measure,
};
