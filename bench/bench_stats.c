/* What the statistics claim, against simulated experiments whose truth is known.
 *
 *     bench_stats [-n EXPERIMENTS] [-s SEED]
 *
 * Coverage: share of 95 % intervals that hold the true change. False verdicts: share of
 * FASTER or SLOWER where nothing differs. The judge is the one of a run:
 * icd_samples_compare. */
#include "base/mem.h"
#include "base/rng.h"
#include "measure/design.h"
#include "measure/stats.h"

#include <icd/measure.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARMS_MOST = 9, BLOCKS_MOST = 2048 };

/* One kind of world. */
typedef struct world {
    const char *name;
    int arms, blocks;
    double sigma;     /* of ln t, each arm of its own */
    double rho;       /* memory of each arm's noise from block to block */
    int tail;         /* degrees of freedom of Student's t; 0: normal */
    double burst;     /* chance per block that a burst of 5 begins, x 3 on one arm */
    double carry;     /* what the arm before leaves behind: ln, times its index */
    bool fixed_order; /* always arm 0, 1, 2, ...: what the designs are there against */
    bool stopping;    /* blocks are added until the rule of a run ends it */
    double delta;     /* true ln ratio of arm 1 to arm 0 */
} world;

static const world WORLD[] = {
    /* what the issue asks for: independent paired log-ratios, sigma <= .3, shared drift
     */
    {.name = "lognormal .02", .arms = 2, .blocks = 30, .sigma = .02, .delta = -.1},
    {.name = "lognormal .10", .arms = 2, .blocks = 30, .sigma = .10, .delta = -.1},
    {.name = "lognormal .30", .arms = 2, .blocks = 30, .sigma = .30, .delta = -.1},
    {.name = "lognormal .30", .arms = 2, .blocks = 60, .sigma = .30, .delta = -.1},
    {.name = "lognormal .30", .arms = 2, .blocks = 240, .sigma = .30, .delta = -.1},
    {.name = "A/A .01", .arms = 2, .blocks = 30, .sigma = .01},
    {.name = "A/A .03", .arms = 2, .blocks = 30, .sigma = .03},
    {.name = "A/A .10", .arms = 2, .blocks = 30, .sigma = .10},
    {.name = "A/A .30", .arms = 2, .blocks = 60, .sigma = .30},
    {.name = "A/A, run's stopping", .arms = 2, .blocks = 30, .sigma = .03, .stopping = 1},
    {.name = "3 arms, carry-over", .arms = 3, .blocks = 30, .sigma = .02, .carry = .03},
    {.name = "4 arms, carry-over", .arms = 4, .blocks = 32, .sigma = .02, .carry = .03},
    {.name = "9 arms, carry-over", .arms = 9, .blocks = 36, .sigma = .02, .carry = .03},
    /* worse than that: told as it is */
    {.name = "3 arms, fixed order",
     .arms = 3,
     .blocks = 30,
     .sigma = .02,
     .carry = .03,
     .fixed_order = 1},
    {.name = "memory .3", .arms = 2, .blocks = 60, .sigma = .10, .rho = .3},
    {.name = "memory .6", .arms = 2, .blocks = 60, .sigma = .10, .rho = .6},
    {.name = "memory .6", .arms = 2, .blocks = 480, .sigma = .10, .rho = .6},
    {.name = "tails t(3)", .arms = 2, .blocks = 60, .sigma = .10, .tail = 3},
    {.name = "tails t(2)", .arms = 2, .blocks = 60, .sigma = .10, .tail = 2},
    {.name = "outlier bursts 2 %", .arms = 2, .blocks = 60, .sigma = .05, .burst = .02},
};

static double student(icd_rng *rng, int df)
{
    double z = icd_i_rng_normal(rng), chi = 0;
    if (!df) return z;
    for (int i = 0; i < df; i++) {
        double x = icd_i_rng_normal(rng);
        chi += x * x;
    }
    return z / sqrt(chi / df);
}

/* Samples in memory of our own: names, orders and times of a world. */
typedef struct bench {
    icd_ctx *ctx;
    icd_rng rng;
    icd_samples s;
    char name[ARMS_MOST][8];
    char *names[ARMS_MOST];
    double lat[BLOCKS_MOST * ARMS_MOST], start[BLOCKS_MOST * ARMS_MOST];
    double noise[ARMS_MOST];
    int bursting, burst_arm, before;
} bench;

static void block(bench *b, const world *w, int64_t row)
{
    int32_t order[ARMS_MOST];
    double drift = .3 * sin(.05 * (double)row) + .002 * (double)row;
    icd_i_design_row(w->arms, w->fixed_order ? 0 : row, order);
    if (w->fixed_order)
        for (int p = 0; p < w->arms; p++) order[p] = p;
    if (b->bursting == 0 && icd_i_rng_unit(&b->rng) < w->burst) {
        b->bursting = 5;
        b->burst_arm = (int)icd_i_rng_below(&b->rng, w->arms);
    }
    for (int p = 0; p < w->arms; p++) {
        int arm = order[p];
        b->noise[arm] = w->rho * b->noise[arm] +
                        sqrt(1 - w->rho * w->rho) * w->sigma * student(&b->rng, w->tail);
        double ln =
            drift + b->noise[arm] + (arm == 1 ? w->delta : 0) + w->carry * b->before;
        if (b->bursting && arm == b->burst_arm) ln += log(3);
        b->lat[row * w->arms + arm] = 5 * exp(ln);
        b->before = arm;
    }
    b->bursting -= b->bursting > 0;
}

static double half_width(const bench *b, int64_t blocks)
{
    double d[BLOCKS_MOST];
    for (int64_t i = 0; i < blocks; i++) d[i] = log(b->lat[2 * i + 1] / b->lat[2 * i]);
    return icd_i_normal_half_width(d, blocks);
}

static void experiment(bench *b, const world *w)
{
    int64_t n = 0;
    memset(b->noise, 0, sizeof b->noise);
    b->bursting = 0;
    b->before = (int)icd_i_rng_below(&b->rng, w->arms);
    while (n < w->blocks) block(b, w, n++);
    while (w->stopping && n + 2 <= BLOCKS_MOST && half_width(b, n) > .005) {
        block(b, w, n++);
        block(b, w, n++);
    }
    b->s.arms = w->arms;
    b->s.blocks = n;
}

typedef struct tally {
    double covered, faster_or_slower, flip, ranks, undecided, blocks, bias;
} tally;

static icd_status judge(bench *b, const world *w, int64_t i, tally *t)
{
    icd_comparison c;
    experiment(b, w);
    icd_status status = icd_samples_compare(b->ctx, &b->s, "0", "1", i, &c);
    if (status != ICD_OK) return status;
    double truth = expm1(w->delta);
    t->covered += c.low <= truth && truth <= c.high;
    t->faster_or_slower +=
        c.verdict == ICD_VERDICT_FASTER || c.verdict == ICD_VERDICT_SLOWER;
    t->undecided += c.verdict == ICD_VERDICT_UNDECIDED;
    t->flip += c.p_value < .05;
    t->ranks += c.p_wilcoxon < .05;
    t->blocks += (double)c.blocks;
    t->bias += c.delta - truth;
    return ICD_OK;
}

static icd_status run_world(bench *b, const world *w, int64_t experiments)
{
    tally t = {0};
    double n = (double)experiments;
    for (int64_t i = 0; i < experiments; i++) {
        icd_status status = judge(b, w, i, &t);
        if (status != ICD_OK) return status;
    }
    printf("%-20s %4d %7.1f %6.2f %6.1f %9.1f %9.1f %9.1f %9.1f %+8.3f\n", w->name,
           w->arms, t.blocks / n, w->delta, 100 * t.covered / n,
           100 * t.faster_or_slower / n, 100 * t.undecided / n, 100 * t.flip / n,
           100 * t.ranks / n, 100 * t.bias / n);
    fflush(stdout);
    return ICD_OK;
}

static void set_up(bench *b, uint64_t seed)
{
    icd_i_rng_init(&b->rng, seed, 9);
    for (int a = 0; a < ARMS_MOST; a++) {
        snprintf(b->name[a], sizeof b->name[a], "%d", a);
        b->names[a] = b->name[a];
    }
    b->s.name = b->names;
    b->s.lat_ms = b->lat;
    b->s.t_start = b->start;
}

int main(int argc, char **argv)
{
    static bench b;
    int64_t experiments = 2000;
    uint64_t seed = 20261123;
    icd_status status = ICD_OK;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "-n")) experiments = atoll(argv[i + 1]);
        if (!strcmp(argv[i], "-s")) seed = (uint64_t)atoll(argv[i + 1]);
    }
    b.ctx = icd_ctx_new(NULL);
    if (!b.ctx || experiments < 1) return 2;
    set_up(&b, seed);
    printf("# %lld experiments a row, seed %llu; all shares in %%; a share of 95 has a "
           "standard error of %.1f\n",
           (long long)experiments, (unsigned long long)seed,
           100 * sqrt(.95 * .05 / (double)experiments));
    printf("%-20s %4s %7s %6s %6s %9s %9s %9s %9s %8s\n", "world", "arms", "blocks", "ln",
           "cover", "verdicts", "undecided", "flip<.05", "rank<.05", "bias");
    for (size_t i = 0; status == ICD_OK && i < sizeof WORLD / sizeof WORLD[0]; i++)
        status = run_world(&b, &WORLD[i], experiments);
    if (status != ICD_OK) fprintf(stderr, "%s\n", icd_ctx_message(b.ctx));
    icd_ctx_free(b.ctx);
    return status == ICD_OK ? 0 : 1;
}
