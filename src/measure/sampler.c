/* Interleaved bursts in whole Williams designs until a stopping rule is met. */
#include <icd/measure.h>

#include "base/cpu.h"
#include "base/threads.h"
#include "measure/clock.h"
#include "measure/design.h"
#include "measure/robust.h"
#include "measure/stats.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

enum { REPEATS_DEFAULT = 1000, BURST_STEPS_MAX = 1 << 20, LINE = 64 };
static const char CPUS[] = "/sys/devices/system/cpu";

typedef struct sampler {
    icd_ctx *ctx;
    const icd_arm *arm;
    icd_measure_opts opts;
    icd_samples *out;
    int64_t capacity;      /* blocks that fit into the arrays */
    int32_t *order;        /* [arms] of the current block */
    double *ratio, *batch; /* [blocks] scratch of the stopping rule */
    unsigned char *flush;  /* cold mode: what is walked to empty the caches */
    int64_t flush_bytes;
    double began;
    uint64_t began_ticks;
    double *block_mhz; /* [blocks] ticks per microsecond of each block */
    icd_pin pin;
} sampler;

void icd_samples_free(icd_ctx *ctx, icd_samples *s)
{
    if (!s) return;
    for (int64_t i = 0; s->name && i < s->arms; i++) icd_i_free(ctx, s->name[i]);
    icd_i_free(ctx, s->name);
    icd_i_free(ctx, s->lat_ms);
    icd_i_free(ctx, s->position);
    icd_i_free(ctx, s->t_start);
    icd_i_free(ctx, s->burst);
    icd_i_free(ctx, s->mhz);
    icd_i_free(ctx, s);
}

const char *icd_stop_name(icd_stop stop)
{
    static const char *const NAME[] = {"unknown", "interval", "repeats", "timeout"};
    return NAME[stop <= ICD_STOP_TIMEOUT ? stop : 0];
}

static icd_status step_many(sampler *s, int64_t arm, int64_t steps, double *seconds)
{
    double from = icd_i_raw_now();
    for (int64_t i = 0; i < steps; i++) {
        icd_status status = s->arm[arm].step(s->ctx, s->arm[arm].self);
        if (status != ICD_OK) return icd_i_fail_within(s->ctx, status, s->arm[arm].name);
    }
    *seconds = icd_i_raw_now() - from;
    return icd_i_check_cancel(s->ctx);
}

/* Warms every arm up and chooses the burst: as many steps as fill burst_ms with the
 * quickest arm. All arms take the same number: the first steps after another arm are the
 * slowest, and an arm of shorter bursts would pay for them more often. */
static icd_status warm_up(sampler *s)
{
    int64_t burst = 1;
    for (int64_t a = 0; a < s->out->arms; a++) {
        double seconds = 0;
        int64_t steps = s->opts.warmup_iter > 0 ? s->opts.warmup_iter : 1;
        if (s->arm[a].burst) continue;
        icd_i_progress(s->ctx, "warm-up", a, s->out->arms);
        icd_status status = step_many(s, a, steps, &seconds);
        if (status != ICD_OK) return status;
        double per_step = seconds / (double)steps;
        double fit =
            per_step > 0 ? ceil(s->opts.burst_ms * 1e-3 / per_step) : BURST_STEPS_MAX;
        burst = (int64_t)fmin(fmax(fit, (double)burst), BURST_STEPS_MAX);
    }
    if (s->opts.mode == ICD_MEASURE_COLD) burst = 1;
    for (int64_t a = 0; a < s->out->arms; a++) s->out->burst[a] = burst;
    return ICD_OK;
}

/* A sample that the arm takes itself. */
static icd_status take_burst(sampler *s, int64_t arm, double *lat_ms, int64_t *steps)
{
    icd_status status = s->arm[arm].burst(s->ctx, s->arm[arm].self, lat_ms, steps);
    if (status != ICD_OK) return icd_i_fail_within(s->ctx, status, s->arm[arm].name);
    return icd_i_check_cancel(s->ctx);
}

/* The first sample of an arm that takes them itself: it tells how long they are, and is
 * discarded. */
static icd_status warm_up_bursts(sampler *s)
{
    for (int64_t a = 0; a < s->out->arms; a++) {
        double discarded = 0;
        if (!s->arm[a].burst) continue;
        icd_i_progress(s->ctx, "warm-up", a, s->out->arms);
        icd_status status = take_burst(s, a, &discarded, &s->out->burst[a]);
        if (status != ICD_OK) return status;
    }
    return ICD_OK;
}

/* Every thread rewrites a part of a buffer that is larger than its own caches; together
 * the parts are larger than the shared one. */
static void flush_part(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    const sampler *s = arg;
    int64_t from, to;
    (void)worker;
    icd_i_chunk_range(s->flush_bytes / LINE, chunk, chunks, &from, &to);
    for (int64_t i = from; i < to; i++) s->flush[i * LINE]++;
}

static void flush_caches(sampler *s)
{
    icd_i_parallel(s->ctx, icd_ctx_threads(s->ctx), flush_part, s);
}

/* What comes before a sample and is not in it: emptied caches, or one step that pays for
 * the arm before. */
static icd_status prepare(sampler *s, int64_t arm)
{
    double discarded = 0;
    const icd_arm *a = &s->arm[arm];
    bool cold = s->opts.mode == ICD_MEASURE_COLD;
    if (cold && a->flush) {
        icd_status status = a->flush(s->ctx, a->self);
        if (status != ICD_OK) return icd_i_fail_within(s->ctx, status, a->name);
    } else if (cold)
        flush_caches(s);
    else if (!s->arm[arm].burst)
        return step_many(s, arm, 1, &discarded);
    return ICD_OK;
}

static icd_status take_sample(sampler *s, int64_t block, int32_t position)
{
    int64_t arm = s->order[position], at = block * s->out->arms + arm, steps = 0;
    double seconds = 0;
    icd_status status = prepare(s, arm);
    if (status != ICD_OK) return status;
    double from = icd_i_raw_now();
    s->out->mhz[at] = s->arm[arm].elsewhere ? 0 : icd_i_core_mhz();
    s->out->position[at] = position;
    int64_t interruptions = icd_i_interruptions();
    double began = icd_i_raw_now();
    s->out->t_start[at] = began - s->began;
    s->out->clock.observing_s += began - from;
    if (s->arm[arm].burst) return take_burst(s, arm, &s->out->lat_ms[at], &steps);
    status = step_many(s, arm, s->out->burst[arm], &seconds);
    from = icd_i_raw_now();
    s->out->clock.interrupted += icd_i_interruptions() != interruptions;
    s->out->clock.observing_s += icd_i_raw_now() - from;
    s->out->lat_ms[at] = seconds * 1e3 / (double)s->out->burst[arm];
    return status;
}

/* Widest interval of arm 0 against any other, as a share. */
static double widest_interval(const sampler *s)
{
    double widest = 0;
    int64_t arms = s->out->arms, blocks = s->out->blocks;
    for (int64_t a = 1; a < arms; a++) {
        for (int64_t b = 0; b < blocks; b++)
            s->ratio[b] = log(s->out->lat_ms[b * arms + a] / s->out->lat_ms[b * arms]);
        int64_t count = icd_i_batch(s->ratio, blocks, s->opts.min_blocks, s->batch);
        widest = fmax(widest, icd_i_normal_half_width(s->batch, count));
    }
    return widest;
}

/* Decides only between whole designs, so that every arm has followed every other equally
 * often. */
static bool should_stop(sampler *s, double elapsed)
{
    char *why = s->out->stopped;
    size_t size = sizeof s->out->stopped;
    int64_t design = icd_i_design_rows(s->out->arms);
    if (s->out->blocks < s->opts.min_blocks) return false;
    if (s->out->arms > 1 && widest_interval(s) <= s->opts.ci_half_width) {
        s->out->stop = ICD_STOP_INTERVAL;
        snprintf(why, size, "every interval is within +-%.2g %%",
                 100 * s->opts.ci_half_width);
        return true;
    }
    if (s->out->blocks + design > s->opts.repeats) {
        s->out->stop = ICD_STOP_REPEATS;
        snprintf(why, size, "the largest number of samples, %lld, was reached",
                 (long long)s->opts.repeats);
        return true;
    }
    if (elapsed >= s->opts.timeout_s) {
        s->out->stop = ICD_STOP_TIMEOUT;
        if (s->out->blocks < s->opts.min_blocks + design &&
            elapsed > s->opts.timeout_s + 1)
            snprintf(why, size,
                     "the least number of blocks took %.3g s: the limit was %g s",
                     elapsed, s->opts.timeout_s);
        else
            snprintf(why, size, "the time limit of %g s was reached", s->opts.timeout_s);
        return true;
    }
    return false;
}

static icd_status grow(sampler *s)
{
    icd_status status = ICD_OK;
    int64_t arms = s->out->arms, blocks = s->out->blocks + icd_i_design_rows(arms);
    int64_t a = s->capacity * arms, b = a, c = a, m = a, d = s->capacity, e = d, f = d;
    if (blocks <= s->capacity) return ICD_OK;
    blocks = 2 * blocks;
    ICD_TRY(
        icd_i_grow(s->ctx, (void **)&s->out->lat_ms, &a, blocks * arms, sizeof(double)));
    ICD_TRY(
        icd_i_grow(s->ctx, (void **)&s->out->t_start, &b, blocks * arms, sizeof(double)));
    ICD_TRY(icd_i_grow(s->ctx, (void **)&s->out->position, &c, blocks * arms,
                       sizeof(int32_t)));
    ICD_TRY(icd_i_grow(s->ctx, (void **)&s->out->mhz, &m, blocks * arms, sizeof(double)));
    ICD_TRY(icd_i_grow(s->ctx, (void **)&s->ratio, &d, blocks, sizeof(double)));
    ICD_TRY(icd_i_grow(s->ctx, (void **)&s->block_mhz, &e, blocks, sizeof(double)));
    ICD_TRY(icd_i_grow(s->ctx, (void **)&s->batch, &f, blocks, sizeof(double)));
    s->capacity = blocks;
done:
    return status;
}

static icd_status run_design(sampler *s)
{
    int64_t rows = icd_i_design_rows(s->out->arms);
    for (int64_t r = 0; r < rows; r++) {
        double from = icd_i_raw_now();
        uint64_t ticks = icd_i_ticks();
        icd_i_design_row(s->out->arms, r, s->order);
        for (int32_t p = 0; p < s->out->arms; p++) {
            icd_status status = take_sample(s, s->out->blocks, p);
            if (status != ICD_OK) return status;
        }
        ticks = icd_i_ticks() - ticks;
        s->block_mhz[s->out->blocks] = 1e-6 * (double)ticks / (icd_i_raw_now() - from);
        s->out->blocks++;
    }
    return ICD_OK;
}

/* Progress towards whichever comes first: the interval, the count or the clock. */
static void tell(const sampler *s, double elapsed)
{
    double by_time = elapsed / s->opts.timeout_s;
    double by_count = (double)s->out->blocks / (double)s->opts.repeats;
    double least = (double)s->out->blocks / (double)s->opts.min_blocks;
    double share = fmin(fmax(by_time, by_count), least);
    icd_i_progress(s->ctx, "measure", (int64_t)(1000 * fmin(share, 1)), 1000);
}

/* Two clocks that count the same time: how far any block is from their mean ratio. */
static void confirm_ticks(sampler *s)
{
    icd_clock *c = &s->out->clock;
    double seconds = icd_i_raw_now() - s->began;
    c->tsc_invariant = icd_i_ticks_invariant();
    c->tsc_mhz = 1e-6 * (double)(icd_i_ticks() - s->began_ticks) / seconds;
    for (int64_t b = 0; c->tsc_mhz > 0 && b < s->out->blocks; b++)
        c->tsc_worst_ppm =
            fmax(c->tsc_worst_ppm, 1e6 * fabs(s->block_mhz[b] / c->tsc_mhz - 1));
}

static void sum_up_mhz(icd_samples *s)
{
    int64_t n = s->blocks * s->arms, known = 0;
    double sum = 0, low = INFINITY, high = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!(s->mhz[i] > 0)) continue; /* not known, or another device's */
        sum += s->mhz[i];
        known++;
        low = fmin(low, s->mhz[i]);
        high = fmax(high, s->mhz[i]);
    }
    s->clock.mhz_mean = known ? sum / (double)known : 0;
    s->clock.mhz_low = known ? low : 0;
    s->clock.mhz_high = high;
}

/* Takes the samples, and watches the clocks meanwhile. */
static icd_status sample(sampler *s)
{
    icd_status status = ICD_OK;
    int cpu = sched_getcpu();
    icd_clock *clock = &s->out->clock;
    ICD_TRY(warm_up(s));
    ICD_TRY(warm_up_bursts(s));
    icd_i_clock_state(CPUS, cpu, clock);
    int64_t throttled = icd_i_throttle_count(CPUS, cpu);
    s->began = icd_i_raw_now();
    s->began_ticks = icd_i_ticks();
    do {
        ICD_TRY(grow(s));
        ICD_TRY(run_design(s));
        s->out->elapsed_s = icd_i_raw_now() - s->began;
        tell(s, s->out->elapsed_s);
    } while (!should_stop(s, s->out->elapsed_s));
    confirm_ticks(s);
    sum_up_mhz(s->out);
    clock->throttled = throttled < 0 ? -1 : icd_i_throttle_count(CPUS, cpu) - throttled;
done:
    return status;
}

/* Cold mode: twice the last-level cache, and no thread's part below four times its own
 * second level. */
static icd_status set_up_flush(sampler *s)
{
    int64_t shared = icd_i_cpu_cache(3), own = icd_i_cpu_cache(2);
    int64_t parts = 4 * (own > 0 ? own : 2 << 20) * icd_ctx_threads(s->ctx);
    if (s->opts.mode != ICD_MEASURE_COLD) return ICD_OK;
    s->flush_bytes = 2 * (shared > 0 ? shared : 64 << 20);
    if (s->flush_bytes < parts) s->flush_bytes = parts;
    return ICD_ALLOC(s->ctx, s->flush_bytes, &s->flush);
}

static icd_status set_up(sampler *s, const icd_arm *arm, int64_t arms)
{
    icd_status status = ICD_OK;
    ICD_TRY(ICD_ALLOC(s->ctx, 1, &s->out));
    s->out->arms = arms;
    ICD_TRY(ICD_ALLOC(s->ctx, arms, &s->out->name));
    ICD_TRY(ICD_ALLOC(s->ctx, arms, &s->out->burst));
    ICD_TRY(ICD_ALLOC(s->ctx, arms, &s->order));
    for (int64_t a = 0; a < arms; a++)
        ICD_TRY(icd_i_strdup(s->ctx, arm[a].name, &s->out->name[a]));
    s->out->mode = s->opts.mode;
    ICD_TRY(set_up_flush(s));
    ICD_TRY(icd_i_pin(s->ctx, s->opts.pin, icd_ctx_threads(s->ctx), &s->pin,
                      s->out->clock.pinned, sizeof s->out->clock.pinned));
done:
    return status;
}

icd_status icd_measure_arms(icd_ctx *ctx, const icd_arm *arm, int64_t arms,
                            const icd_measure_opts *in, icd_samples **out)
{
    icd_status status = ICD_OK;
    sampler s = {.ctx = ctx, .arm = arm};
    *out = NULL;
    if (arms < 1)
        return icd_i_fail(ctx, ICD_EINVAL, "measure", NULL,
                          "found no arm, expected at least one");
    ICD_TRY(icd_options_resolve(ctx, &icd_measure_table, in, &s.opts));
    if (s.opts.repeats <= 0) s.opts.repeats = REPEATS_DEFAULT;
    ICD_TRY(set_up(&s, arm, arms));
    ICD_TRY(sample(&s));
    *out = s.out;
    s.out = NULL;
done:
    icd_i_unpin(&s.pin);
    icd_samples_free(ctx, s.out);
    icd_i_free(ctx, s.order);
    icd_i_free(ctx, s.block_mhz);
    icd_i_free(ctx, s.batch);
    icd_i_free(ctx, s.ratio);
    icd_i_free(ctx, s.flush);
    return status;
}
