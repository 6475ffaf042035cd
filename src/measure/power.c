/* Windows of energy: the thread that polls, and the order in which arms run. */
#include "measure/power.h"

#include "base/clock.h"
#include "measure/design.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum {
    RING = 8192,         /* rows between two visits of the caller */
    WINDOW_PERIODS = 10, /* a window is at least this many ticks long */
    IDLE_PERIODS = 6,
    EDGE_PERIODS = 2, /* steps before and behind a window */
    MISSES_MOST = 3   /* readings in a row that fail before the source is given up */
};
static const double SLICE_S = .05; /* between looks at the cancel flag */

/* What the thread and the caller share; `lock` guards everything but `stop`. */
typedef struct recorder {
    const icd_power_source *source;
    pthread_t thread;
    pthread_mutex_t lock;
    atomic_bool stop;
    atomic_int used;
    icd_power_row *ring; /* [RING] */
    char why[160];       /* of the source's end */
    int misses;          /* readings in a row that failed */
    double reading_s;    /* spent in reading so far */
    bool full;
} recorder;

typedef struct run {
    icd_ctx *ctx;
    const icd_power_source *source;
    const icd_arm *const *arm;
    icd_power_record *out;
    recorder rec;
    double window_s, idle_s, edge_s;
} run;

static void sleep_s(double seconds)
{
    if (!(seconds > 0)) return;
    struct timespec t = {(time_t)seconds, (long)(1e9 * (seconds - floor(seconds)))};
    nanosleep(&t, NULL);
}

/* One row into the ring; where the source does not know better, its time is the middle of
 * the reading. */
static void poll_once(recorder *rec)
{
    char why[160] = "";
    double from = icd_i_now();
    icd_power_row row = {.joules = NAN,
                         .watts = NAN,
                         .sm_mhz = NAN,
                         .mem_mhz = NAN,
                         .celsius = NAN,
                         .busy_pct = NAN,
                         .throttle = -1};
    row.t = from;
    bool ok = rec->source->read(rec->source->self, &row, why);
    double to = icd_i_now();
    if (!(row.t > from)) row.t = .5 * (from + to);
    pthread_mutex_lock(&rec->lock);
    int used = atomic_load(&rec->used);
    rec->reading_s += to - from;
    rec->misses = ok ? 0 : rec->misses + 1;
    if (rec->misses >= MISSES_MOST && !rec->why[0]) memcpy(rec->why, why, sizeof why);
    if (ok && used == RING) rec->full = true;
    if (ok && used < RING) {
        rec->ring[used] = row;
        atomic_store(&rec->used, used + 1);
    }
    pthread_mutex_unlock(&rec->lock);
}

static void *poll_thread(void *arg)
{
    recorder *rec = arg;
    while (!atomic_load(&rec->stop)) {
        double from = icd_i_now();
        poll_once(rec);
        sleep_s(rec->source->poll_s - (icd_i_now() - from));
    }
    return NULL;
}

/* Moves the ring's rows behind those of the record. */
static icd_status drain(run *r)
{
    icd_power_record *out = r->out;
    recorder *rec = &r->rec;
    icd_status status = icd_i_grow(r->ctx, (void **)&out->row, &out->capacity[0],
                                   out->rows + RING, sizeof *out->row);
    if (status != ICD_OK) return status;
    pthread_mutex_lock(&rec->lock);
    int used = atomic_exchange(&rec->used, 0);
    memcpy(out->row + out->rows, rec->ring, (size_t)used * sizeof *rec->ring);
    out->rows += used;
    out->reading_s = rec->reading_s;
    bool failed = rec->why[0] != 0, full = rec->full;
    pthread_mutex_unlock(&rec->lock);
    if (failed) return icd_i_fail(r->ctx, ICD_EMEASURE, "energy", NULL, "%s", rec->why);
    if (full)
        return icd_i_fail(r->ctx, ICD_EMEASURE, "energy", "measure a shorter step",
                          "one step ran longer than %d readings of the counter", RING);
    return ICD_OK;
}

static icd_status pause_s(run *r, double seconds)
{
    double end = icd_i_now() + seconds;
    icd_status status = ICD_OK;
    while (status == ICD_OK && icd_i_now() < end) {
        sleep_s(fmin(SLICE_S, end - icd_i_now()));
        status = icd_i_check_cancel(r->ctx);
    }
    return status;
}

/* Whole steps for at least `seconds`, at least one. */
static icd_status step_for(run *r, const icd_arm *arm, double seconds, int64_t *steps)
{
    double end = icd_i_now() + seconds;
    *steps = 0;
    do {
        icd_status status = arm->step(r->ctx, arm->self);
        if (status != ICD_OK) return icd_i_fail_within(r->ctx, status, arm->name);
        ++*steps;
        if (atomic_load(&r->rec.used) > RING / 2) status = drain(r);
        if (status == ICD_OK) status = icd_i_check_cancel(r->ctx);
        if (status != ICD_OK) return status;
    } while (icd_i_now() < end);
    return ICD_OK;
}

static icd_status add_span(run *r, icd_power_span span)
{
    icd_power_record *out = r->out;
    icd_status status = icd_i_grow(r->ctx, (void **)&out->span, &out->capacity[1],
                                   out->spans + 1, sizeof *out->span);
    if (status == ICD_OK) out->span[out->spans++] = span;
    return status;
}

/* The first third of an idle stretch lets clocks and sensors come down, the last period
 * belongs to what follows: neither counts. */
static icd_status idle(run *r)
{
    double from = icd_i_now();
    if (!(r->idle_s > 0)) return ICD_OK;
    icd_status status = pause_s(r, r->idle_s);
    if (status != ICD_OK) return status;
    return add_span(r, (icd_power_span){.from = from + r->idle_s / 3,
                                        .to = icd_i_now() - r->source->period_s,
                                        .phase = ICD_POWER_IDLE,
                                        .arm = -1});
}

static icd_status load(run *r, int32_t arm, int64_t block, int phase, double seconds)
{
    icd_power_span span = {
        .from = icd_i_now(), .phase = phase, .arm = arm, .block = block};
    icd_status status = step_for(r, r->arm[arm], seconds, &span.steps);
    span.to = icd_i_now();
    return status == ICD_OK ? add_span(r, span) : status;
}

static icd_status one_window(run *r, int32_t arm, int64_t block)
{
    icd_status status = load(r, arm, block, ICD_POWER_LEAD, r->edge_s);
    if (status == ICD_OK) status = load(r, arm, block, ICD_POWER_WINDOW, r->window_s);
    if (status == ICD_OK) status = load(r, arm, block, ICD_POWER_TAIL, r->edge_s);
    if (status == ICD_OK) status = idle(r);
    return status;
}

static icd_status all_windows(run *r, int64_t windows, int64_t arms)
{
    int32_t *order = NULL;
    icd_status status = ICD_ALLOC(r->ctx, arms, &order);
    if (status == ICD_OK) status = idle(r);
    for (int64_t b = 0; status == ICD_OK && b < windows; b++) {
        icd_i_design_row(arms, b, order);
        for (int64_t p = 0; status == ICD_OK && p < arms; p++)
            status = one_window(r, order[p], b);
        if (status == ICD_OK) status = drain(r);
        icd_i_progress(r->ctx, "energy", b + 1, windows);
    }
    icd_i_free(r->ctx, order);
    return status;
}

static icd_status start(run *r)
{
    recorder *rec = &r->rec;
    rec->source = r->source;
    icd_status status = ICD_ALLOC(r->ctx, RING, &rec->ring);
    if (status != ICD_OK) return status;
    pthread_mutex_init(&rec->lock, NULL);
    int err = pthread_create(&rec->thread, NULL, poll_thread, rec);
    if (err == 0) return ICD_OK;
    pthread_mutex_destroy(&rec->lock);
    icd_i_free(r->ctx, rec->ring);
    return icd_i_fail_errno(r->ctx, ICD_EMEASURE, "energy", err, "no thread to poll");
}

static void stop(run *r)
{
    atomic_store(&r->rec.stop, true);
    pthread_join(r->rec.thread, NULL);
    pthread_mutex_destroy(&r->rec.lock);
    icd_i_free(r->ctx, r->rec.ring);
}

static void read_off(icd_power_record *out)
{
    for (int64_t i = 0; i < out->spans; i++) {
        icd_power_span *s = &out->span[i];
        s->joules = icd_i_power_joules(out->row, out->rows, out->counts, s->from, s->to);
        s->watts = s->to > s->from ? s->joules / (s->to - s->from) : (double)NAN;
    }
}

icd_status icd_i_power_run(icd_ctx *ctx, const icd_power_source *source,
                           const icd_power_plan *plan, const icd_arm *const *arm,
                           int64_t arms, icd_power_record *out)
{
    double period = source->period_s;
    run r = {.ctx = ctx,
             .source = source,
             .arm = arm,
             .out = out,
             .window_s = fmax(plan->window_s, WINDOW_PERIODS * period),
             .idle_s = plan->idle_s > 0 ? fmax(plan->idle_s, IDLE_PERIODS * period) : 0,
             .edge_s = EDGE_PERIODS * period};
    *out = (icd_power_record){.counts = source->counts};
    icd_status status = start(&r);
    if (status != ICD_OK) return status;
    int64_t rows = icd_i_design_rows(arms);
    status = all_windows(&r, (plan->windows + rows - 1) / rows * rows, arms);
    /* A last idle stretch ends with a reading behind it. */
    if (status == ICD_OK) status = pause_s(&r, r.edge_s);
    if (status == ICD_OK) status = drain(&r);
    stop(&r);
    if (status == ICD_OK)
        read_off(out);
    else
        icd_i_power_record_release(ctx, out);
    return status;
}

void icd_i_power_record_release(icd_ctx *ctx, icd_power_record *record)
{
    icd_i_free(ctx, record->row);
    icd_i_free(ctx, record->span);
    *record = (icd_power_record){0};
}
