/* Interleaved bursts in whole Williams designs until a stopping rule is met. */
#include <icd/measure.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "measure/design.h"
#include "measure/stats.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { REPEATS_DEFAULT = 1000, BURST_STEPS_MAX = 1 << 20 };

typedef struct sampler {
    icd_ctx *ctx;
    const icd_arm *arm;
    icd_measure_opts opts;
    icd_samples *out;
    int64_t capacity;     /* blocks that fit into the arrays */
    int32_t *order;       /* [arms] of the current block */
    double *ratio;        /* [blocks] scratch of the stopping rule */
    unsigned char *flush; /* cold mode: twice the last-level cache */
    size_t flush_bytes;
    double began;
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
    icd_i_free(ctx, s);
}

static icd_status step_many(sampler *s, int64_t arm, int64_t steps, double *seconds)
{
    double from = icd_i_now();
    for (int64_t i = 0; i < steps; i++) {
        icd_status status = s->arm[arm].step(s->ctx, s->arm[arm].self);
        if (status != ICD_OK) return icd_i_fail_within(s->ctx, status, s->arm[arm].name);
    }
    *seconds = icd_i_now() - from;
    return icd_i_check_cancel(s->ctx);
}

/* Warms every arm up and chooses its burst: as many steps as fill burst_ms. */
static icd_status warm_up(sampler *s)
{
    for (int64_t a = 0; a < s->out->arms; a++) {
        double seconds = 0;
        int64_t steps = s->opts.warmup_iter > 0 ? s->opts.warmup_iter : 1;
        icd_i_progress(s->ctx, "warm-up", a, s->out->arms);
        icd_status status = step_many(s, a, steps, &seconds);
        if (status != ICD_OK) return status;
        double per_step = seconds / (double)steps;
        double fit =
            per_step > 0 ? ceil(s->opts.burst_ms * 1e-3 / per_step) : BURST_STEPS_MAX;
        s->out->burst[a] = s->opts.mode == ICD_MEASURE_COLD
                               ? 1
                               : (int64_t)fmin(fmax(fit, 1), BURST_STEPS_MAX);
    }
    return ICD_OK;
}

/* Reads and writes more than the last-level cache holds. */
static void flush_caches(sampler *s)
{
    for (size_t i = 0; i < s->flush_bytes; i += 64) s->flush[i]++;
}

static icd_status take_sample(sampler *s, int64_t block, int32_t position)
{
    int64_t arm = s->order[position], at = block * s->out->arms + arm;
    double seconds = 0;
    icd_status status = ICD_OK;
    if (s->opts.mode == ICD_MEASURE_COLD)
        flush_caches(s);
    else
        status =
            step_many(s, arm, 1, &seconds); /* discarded: it pays for the arm before */
    if (status != ICD_OK) return status;
    s->out->t_start[at] = icd_i_now() - s->began;
    status = step_many(s, arm, s->out->burst[arm], &seconds);
    s->out->lat_ms[at] = seconds * 1e3 / (double)s->out->burst[arm];
    s->out->position[at] = position;
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
        widest = fmax(widest, icd_i_normal_half_width(s->ratio, blocks));
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
        snprintf(why, size, "every interval is within +-%.2g %%",
                 100 * s->opts.ci_half_width);
        return true;
    }
    if (s->out->blocks + design > s->opts.repeats) {
        snprintf(why, size, "the largest number of samples, %lld, was reached",
                 (long long)s->opts.repeats);
        return true;
    }
    if (elapsed >= s->opts.timeout_s) {
        snprintf(why, size, "the time limit of %.0f s was reached", s->opts.timeout_s);
        return true;
    }
    return false;
}

static icd_status grow(sampler *s)
{
    icd_status status = ICD_OK;
    int64_t arms = s->out->arms, blocks = s->out->blocks + icd_i_design_rows(arms);
    int64_t a = s->capacity * arms, b = a, c = a, d = s->capacity;
    if (blocks <= s->capacity) return ICD_OK;
    blocks = 2 * blocks;
    ICD_TRY(
        icd_i_grow(s->ctx, (void **)&s->out->lat_ms, &a, blocks * arms, sizeof(double)));
    ICD_TRY(
        icd_i_grow(s->ctx, (void **)&s->out->t_start, &b, blocks * arms, sizeof(double)));
    ICD_TRY(icd_i_grow(s->ctx, (void **)&s->out->position, &c, blocks * arms,
                       sizeof(int32_t)));
    ICD_TRY(icd_i_grow(s->ctx, (void **)&s->ratio, &d, blocks, sizeof(double)));
    s->capacity = blocks;
done:
    return status;
}

static icd_status run_design(sampler *s)
{
    int64_t rows = icd_i_design_rows(s->out->arms);
    for (int64_t r = 0; r < rows; r++) {
        icd_i_design_row(s->out->arms, r, s->order);
        for (int32_t p = 0; p < s->out->arms; p++) {
            icd_status status = take_sample(s, s->out->blocks, p);
            if (status != ICD_OK) return status;
        }
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

static icd_status sample(sampler *s)
{
    icd_status status = ICD_OK;
    ICD_TRY(warm_up(s));
    s->began = icd_i_now();
    do {
        ICD_TRY(grow(s));
        ICD_TRY(run_design(s));
        s->out->elapsed_s = icd_i_now() - s->began;
        tell(s, s->out->elapsed_s);
    } while (!should_stop(s, s->out->elapsed_s));
done:
    return status;
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
    if (s->opts.mode == ICD_MEASURE_COLD) {
        int64_t cache = icd_i_cpu_cache(3);
        s->flush_bytes = 2 * (size_t)(cache > 0 ? cache : 64 << 20);
        ICD_TRY(ICD_ALLOC(s->ctx, (int64_t)s->flush_bytes, &s->flush));
    }
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
    icd_samples_free(ctx, s.out);
    icd_i_free(ctx, s.order);
    icd_i_free(ctx, s.ratio);
    icd_i_free(ctx, s.flush);
    return status;
}
