/**
 * @file hyper_support.h
 * Random access sets for the tests of T.
 */
#ifndef ICD_TEST_HYPER_SUPPORT_H
#define ICD_TEST_HYPER_SUPPORT_H

#include "support.h"

#include "base/mem.h"
#include "base/rng.h"
#include "solver/hyper.h"

/* Each event draws a topic; its indices are i % topics == topic with chance `in`, others
 * `out`. */
static inline icd_access *random_sets(icd_ctx *ctx, int64_t n, int64_t events,
                                      int32_t topics, double in, double out,
                                      bool weighted, uint64_t seed)
{
    icd_access *a = NULL;
    icd_rng rng;
    icd_i_rng_init(&rng, seed, 0);
    assert_ok(ctx, ICD_ALLOC(ctx, 1, &a));
    assert_ok(ctx, ICD_ALLOC(ctx, events + 1, &a->event_ptr));
    assert_ok(ctx, ICD_ALLOC(ctx, events * n, &a->index));
    if (weighted) assert_ok(ctx, ICD_ALLOC(ctx, events, &a->weight));
    a->n = n;
    a->events = events;
    for (int64_t e = 0; e < events; ++e) {
        int64_t count = a->event_ptr[e], topic = icd_i_rng_below(&rng, topics);
        for (int64_t i = 0; i < n; ++i)
            if (icd_i_rng_unit(&rng) < (i % topics == topic ? in : out))
                a->index[count++] = (int32_t)i;
        a->event_ptr[e + 1] = count;
        if (weighted) a->weight[e] = (float)icd_i_rng_below(&rng, 4) * .75f;
    }
    return a;
}

static inline void shuffled(int32_t *order, int64_t n, uint64_t seed)
{
    icd_rng rng;
    icd_i_rng_init(&rng, seed, 9);
    for (int64_t k = 0; k < n; ++k) order[k] = (int32_t)k;
    icd_i_rng_shuffle(&rng, order, n);
}

static inline double touched(icd_ctx *ctx, const icd_access *a, int32_t g,
                             const int32_t *order)
{
    double t = -1;
    assert_ok(ctx, icd_i_hyper_touched(ctx, a, g, order, &t));
    return t;
}

#endif
