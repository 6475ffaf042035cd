/* What observing costs, by doing it many times. */
#include <icd/meter.h>

#include "base/clock.h"
#include "base/error.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EVENTS = 200, CLOCKS = 2000, BATCHES = 9 };

static const double EVENTS_MOST_PCT = 1, CLOCK_MOST_PCT = 5;

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Seconds of one event, by one batch. */
static double emit_batch(icd_ctx *scratch)
{
    static const icd_event EVENT = {
        "overhead", 0, 1, true,
        "{\"axis\":\"layer.0.ffn.up\",\"D\":1536,\"nnz\":120000}"};
    double from = icd_i_now();
    for (int i = 0; i < EVENTS; i++) icd_ctx_emit(scratch, &EVENT);
    return (icd_i_now() - from) / EVENTS;
}

static double clock_batch(icd_ctx *scratch)
{
    volatile double last = 0;
    double from = icd_i_now();
    (void)scratch;
    for (int i = 0; i < CLOCKS; i++) last = icd_i_now();
    return (last - from) / CLOCKS;
}

/* The median of batches: one that was interrupted does not count. */
static double cost_of(double batch(icd_ctx *), icd_ctx *scratch)
{
    double cost[BATCHES];
    for (int i = 0; i < BATCHES; i++) cost[i] = batch(scratch);
    qsort(cost, BATCHES, sizeof cost[0], by_size);
    return cost[BATCHES / 2];
}

static icd_status measure(icd_ctx *ctx, icd_ctx *scratch, const char *log,
                          icd_overhead *out)
{
    icd_status status = icd_ctx_log_open(scratch, log);
    if (status != ICD_OK)
        return icd_i_fail(ctx, status, log, NULL, "a scratch event log cannot be opened");
    out->event_s = cost_of(emit_batch, scratch);
    out->clock_s = cost_of(clock_batch, scratch);
    return ICD_OK;
}

icd_status icd_overhead_measure(icd_ctx *ctx, const char *dir, icd_overhead *out)
{
    char log[600];
    icd_ctx_opts opts = {.size = sizeof opts, .threads = 1};
    icd_ctx *scratch = icd_ctx_new(&opts);
    *out = (icd_overhead){0};
    if (!scratch)
        return icd_i_fail(ctx, ICD_ENOMEM, "overhead", NULL, "no memory for a context");
    snprintf(log, sizeof log, "%.500s/.overhead.%ld.log", dir ? dir : "", (long)getpid());
    icd_status status = measure(ctx, scratch, dir ? log : "/dev/null", out);
    icd_ctx_free(scratch);
    if (dir) unlink(log);
    return status;
}

static icd_metric share(const char *name, double cost_s, int64_t count, double run_s)
{
    icd_metric m = {.name = name, .unit = "%", .low = NAN, .high = NAN, .count = count};
    if (run_s > 0) {
        m.value = 100 * cost_s / run_s;
        m.provenance = ICD_MODELLED;
    } else {
        m.reason = "nothing ran";
    }
    return m;
}

icd_metric icd_overhead_events(const icd_overhead *cost, int64_t events, double run_s)
{
    return share("event_overhead", cost->event_s * (double)events, events, run_s);
}

icd_metric icd_overhead_clock(const icd_overhead *cost, int64_t samples,
                              double observing_s, double run_s)
{
    return share("clock_overhead", 2 * cost->clock_s * (double)samples + observing_s,
                 samples, run_s);
}

bool icd_overhead_fits(const icd_metric *overhead)
{
    double most =
        strcmp(overhead->name, "event_overhead") == 0 ? EVENTS_MOST_PCT : CLOCK_MOST_PCT;
    return overhead->provenance != ICD_ABSENT && overhead->value < most;
}
