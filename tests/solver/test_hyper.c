#include "hyper_support.h"

#include "base/clock.h"
#include "solver/hyper_anneal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED 20240611

static icd_ctx *make_ctx(int32_t threads)
{
    icd_ctx_opts opts = {.size = sizeof opts, .threads = threads};
    icd_ctx *ctx = icd_ctx_new(&opts);
    assert_non_null(ctx);
    return ctx;
}

static void assert_bijection(icd_ctx *ctx, const int32_t *order, int64_t n)
{
    icd_perm *p = NULL;
    assert_ok(ctx, icd_perm_from_array(ctx, order, n, 0, "test", &p));
    icd_perm_free(ctx, p);
}

static void test_touched_by_hand(void **state)
{
    (void)state;
    icd_ctx *ctx = make_ctx(1);
    int64_t ptr[] = {0, 2, 2, 5};
    int32_t index[] = {0, 4, 0, 1, 2}, identity[] = {0, 1, 2, 3, 4},
            order[] = {0, 4, 1, 2, 3};
    float weight[] = {2, 5, .5f};
    icd_access a = {.n = 5, .events = 3, .event_ptr = ptr, .index = index};
    assert_true(touched(ctx, &a, 2, identity) == 2 + 0 + 2);
    assert_true(touched(ctx, &a, 2, order) == 1 + 0 + 2);
    a.weight = weight;
    assert_true(touched(ctx, &a, 2, order) == 2 + 0 + .5 * 2);
    assert_true(touched(ctx, &a, 8, order) == 2 + 0 + .5);
    icd_ctx_free(ctx);
}

/* Bounds, exact gains and the kept state, against recomputation, for every softness. */
static void check_gains(icd_ctx *ctx, const icd_access *a, int32_t g, double p)
{
    icd_rng rng;
    icd_hyper h;
    int32_t *order = calloc((size_t)a->n, sizeof *order);
    shuffled(order, a->n, 3);
    icd_hyper_window window = {order, 0, a->n};
    assert_ok(ctx, icd_i_hyper_init(ctx, a, g, 1, &window, &h));
    assert_true(fabs((double)h.cost * h.unit - touched(ctx, a, g, order)) < 1e-3);
    icd_i_hyper_soften(&h, p);
    icd_i_rng_init(&rng, SEED, 1);
    for (int k = 0; k < 200; ++k) {
        int32_t i = (int32_t)icd_i_rng_below(&rng, a->n);
        int32_t j = (int32_t)icd_i_rng_below(&rng, a->n);
        if (h.granule_of[i] == h.granule_of[j]) continue;
        int64_t before = icd_i_hyper_cost(&h), delta = icd_i_hyper_swap_delta(&h, i, j);
        assert_true(icd_i_hyper_swap_bound(&h, i, j) <= delta);
        icd_i_hyper_swap(&h, i, j, delta);
        assert_int_equal(icd_i_hyper_cost(&h) - before, delta);
    }
    assert_true(icd_i_hyper_consistent(&h));
    h.leave[0]++;
    assert_false(icd_i_hyper_consistent(&h));
    icd_i_hyper_release(ctx, &h);
    free(order);
}

static void test_gains_equal_recompute(void **state)
{
    (void)state;
    icd_ctx *ctx = make_ctx(1);
    for (uint64_t seed = SEED; seed < SEED + 4; ++seed) {
        icd_access *a = random_sets(ctx, 29, 40, 5, .7, .1, seed % 2, seed);
        print_message("seed %llu\n", (unsigned long long)seed);
        check_gains(ctx, a, 4, 1);
        check_gains(ctx, a, 4, .5);
        check_gains(ctx, a, 7, .1);
        icd_access_free(ctx, a);
    }
    icd_ctx_free(ctx);
}

static void refine(icd_ctx *ctx, const icd_access *a, icd_hyper_params p, int32_t *order,
                   icd_hyper_stats *stats)
{
    assert_ok(ctx, icd_i_hyper_refine(ctx, a, &p, order, stats));
    assert_bijection(ctx, order, a->n);
}

static void test_never_worse_and_truthful(void **state)
{
    (void)state;
    icd_ctx *ctx = make_ctx(2);
    int32_t order[100];
    for (int64_t n = 0; n < 100; n += n < 3 ? 1 : 19)
        for (int32_t g = 1; g <= 16; g *= 4)
            for (int32_t effort = ICD_EFFORT_LOW; effort <= ICD_EFFORT_DEFAULT;
                 ++effort) {
                icd_access *a =
                    random_sets(ctx, n, 30, 4, .6, .1, n % 2, SEED + (uint64_t)n);
                icd_hyper_stats stats;
                shuffled(order, n, (uint64_t)n);
                double before = touched(ctx, a, g, order);
                refine(ctx, a,
                       (icd_hyper_params){
                           .granule = g, .effort = effort, .refine_steps = 1, .seed = 7},
                       order, &stats);
                assert_true(stats.start == before);
                assert_true(stats.touched == touched(ctx, a, g, order));
                assert_true(stats.touched <= before);
                icd_access_free(ctx, a);
            }
    icd_ctx_free(ctx);
}

/* The least cost over all ways to fill granules of two with eight indices. */
static double brute_force(icd_ctx *ctx, const icd_access *a, int32_t *order, int64_t at)
{
    if (at == a->n) return touched(ctx, a, 2, order);
    double best = INFINITY;
    for (int64_t k = at; k < a->n; ++k) {
        if (k > at && at % 2 == 0) break; /* the first of a granule may be any */
        int32_t swap = order[at];
        order[at] = order[k];
        order[k] = swap;
        best = fmin(best, brute_force(ctx, a, order, at + 1));
        order[k] = order[at];
        order[at] = swap;
    }
    return best;
}

static void test_brute_force(void **state)
{
    (void)state;
    icd_ctx *ctx = make_ctx(2);
    int optimal = 0;
    for (uint64_t seed = 0; seed < 20; ++seed) {
        int32_t order[8] = {0, 1, 2, 3, 4, 5, 6, 7};
        icd_access *a = random_sets(ctx, 8, 9, 3, .6, .2, seed % 2, seed);
        icd_hyper_stats stats;
        double least = brute_force(ctx, a, order, 0);
        icd_hyper_params p = {.granule = 2,
                              .effort = ICD_EFFORT_DEFAULT,
                              .refine_steps = 2000,
                              .seed = seed};
        refine(ctx, a, p, order, &stats);
        assert_true(stats.touched >= least - 1e-9);
        optimal += stats.touched <= least + 1e-9;
        icd_access_free(ctx, a);
    }
    print_message("%d of 20 optimal\n", optimal);
    assert_int_equal(optimal, 20);
    icd_ctx_free(ctx);
}

/* Planted topics, hidden: every event of one topic can be served by one granule. */
static void test_recovers_topics(void **state)
{
    (void)state;
    icd_ctx *ctx = make_ctx(2);
    int32_t order[128];
    icd_access *a = random_sets(ctx, 128, 600, 8, .8, 0, false, SEED);
    icd_hyper_params p = {
        .granule = 16, .effort = ICD_EFFORT_DEFAULT, .refine_steps = 2000, .seed = 1};
    shuffled(order, 128, 5);
    assert_ok(ctx, icd_i_hyper_order(ctx, a, &p, order));
    assert_bijection(ctx, order, 128);
    refine(ctx, a, p, order, NULL);
    assert_true(touched(ctx, a, 16, order) <= 600);
    icd_access_free(ctx, a);
    icd_ctx_free(ctx);
}

static void test_same_bytes_for_any_threads(void **state)
{
    (void)state;
    int32_t order[3][90];
    for (int t = 0; t < 3; ++t) {
        icd_ctx *ctx = make_ctx(1 << t);
        icd_access *a = random_sets(ctx, 90, 50, 6, .5, .1, true, SEED);
        icd_hyper_params p = {
            .granule = 8, .effort = ICD_EFFORT_DEFAULT, .refine_steps = 3, .seed = 11};
        assert_ok(ctx, icd_i_hyper_order(ctx, a, &p, order[t]));
        refine(ctx, a, p, order[t], NULL);
        icd_access_free(ctx, a);
        icd_ctx_free(ctx);
    }
    assert_memory_equal(order[0], order[1], sizeof order[0]);
    assert_memory_equal(order[0], order[2], sizeof order[0]);
}

static void test_frozen_indices_stay(void **state)
{
    (void)state;
    icd_ctx *ctx = make_ctx(2);
    int32_t order[64], before[64];
    uint8_t frozen[64] = {0};
    icd_access *a = random_sets(ctx, 64, 60, 4, .5, .05, false, SEED);
    for (int k = 0; k < 64; k += 5) frozen[k] = 1;
    icd_hyper_params p = {
        .granule = 8, .effort = ICD_EFFORT_DEFAULT, .refine_steps = 2, .frozen = frozen};
    assert_ok(ctx, icd_i_hyper_order(ctx, a, &p, order));
    for (int k = 0; k < 64; k += 5) assert_int_equal(order[k], k);
    shuffled(order, 64, 2);
    memcpy(before, order, sizeof order);
    refine(ctx, a, p, order, NULL);
    for (int k = 0; k < 64; ++k)
        if (frozen[before[k]]) assert_int_equal(order[k], before[k]);
    assert_memory_not_equal(order, before, sizeof order);
    icd_access_free(ctx, a);
    icd_ctx_free(ctx);
}

/* Many events of topics: the softness used is told, and 1 is kept to. */
static void test_softness_is_told(void **state)
{
    (void)state;
    icd_ctx *ctx = make_ctx(2);
    int32_t order[24];
    icd_hyper_stats stats;
    icd_access *a = random_sets(ctx, 24, 400, 6, .6, .1, false, SEED);
    icd_hyper_params p = {
        .granule = 4, .effort = ICD_EFFORT_DEFAULT, .refine_steps = 1, .softness = 1};
    shuffled(order, 24, 1);
    refine(ctx, a, p, order, &stats);
    assert_true(stats.softness == 1);
    double exact = stats.touched;
    for (int32_t i = 0; i < 24; ++i) /* no single swap betters an exact order */
        for (int32_t j = 0; j < i; ++j) {
            int32_t other[24];
            memcpy(other, order, sizeof other);
            other[i] = order[j];
            other[j] = order[i];
            assert_true(touched(ctx, a, 4, other) >= exact);
        }
    p.softness = 0;
    shuffled(order, 24, 1);
    refine(ctx, a, p, order, &stats);
    assert_true(stats.softness >= .5 && stats.softness < 1);
    icd_access_free(ctx, a);
    icd_ctx_free(ctx);
}

static void test_clock_and_cancellation(void **state)
{
    (void)state;
    icd_ctx *ctx = make_ctx(2);
    int32_t order[512], before[512];
    icd_hyper_stats stats;
    icd_access *a = random_sets(ctx, 512, 64, 16, .5, .05, false, SEED);
    shuffled(order, 512, 1);
    icd_hyper_params p = {.granule = 16,
                          .effort = ICD_EFFORT_DEFAULT,
                          .refine_steps = 2000,
                          .deadline = icd_i_now() - 1};
    refine(ctx, a, p, order, &stats);
    assert_true(stats.timed_out);
    p.effort = ICD_EFFORT_HIGH;
    p.deadline = icd_i_now() + .2;
    refine(ctx, a, p, order, &stats);
    assert_true(stats.touched < stats.start);
    memcpy(before, order, sizeof order);
    icd_ctx_cancel(ctx);
    assert_int_equal(icd_i_hyper_refine(ctx, a, &p, order, &stats), ICD_ECANCELLED);
    assert_memory_equal(order, before, sizeof order);
    icd_access_free(ctx, a);
    icd_ctx_free(ctx);
}

static void test_bad_granule(void **state)
{
    (void)state;
    icd_ctx *ctx = make_ctx(1);
    int32_t order[4] = {0, 1, 2, 3};
    icd_access *a = random_sets(ctx, 4, 2, 2, .5, .5, false, SEED);
    icd_hyper_params p = {.granule = 0};
    assert_fails(ctx, ICD_EINVAL, "found 0, expected 1",
                 icd_i_hyper_refine(ctx, a, &p, order, NULL));
    assert_fails(ctx, ICD_EINVAL, "found 0, expected 1",
                 icd_i_hyper_order(ctx, a, &p, order));
    icd_access_free(ctx, a);
    icd_ctx_free(ctx);
}

/* A block-diagonal mask under hidden orders of rows and columns. */
static void test_cocluster_finds_blocks(void **state)
{
    (void)state;
    icd_ctx *ctx = make_ctx(2);
    int32_t rows[32], cols[64], hidden_row[32], hidden_col[64];
    icd_mask *mask = NULL;
    icd_hyper_stats stats;
    assert_ok(ctx, icd_i_mask_new(ctx, 32, 64, 1, &mask));
    shuffled(hidden_row, 32, 1);
    shuffled(hidden_col, 64, 2);
    shuffled(rows, 32, 3);
    shuffled(cols, 64, 4);
    for (int r = 0; r < 32; ++r)
        for (int c = 0; c < 64; ++c)
            if (r / 8 == c / 16) icd_i_mask_set(mask, hidden_row[r], hidden_col[c]);
    icd_hyper_params p = {
        .granule = 16, .effort = ICD_EFFORT_DEFAULT, .refine_steps = 2000};
    assert_ok(ctx, icd_i_hyper_cocluster(ctx, mask, 8, &p, rows, cols, &stats));
    assert_bijection(ctx, rows, 32);
    assert_bijection(ctx, cols, 64);
    assert_true(stats.start == 16);
    assert_true(stats.touched == 4);
    icd_i_mask_free(ctx, mask);
    icd_ctx_free(ctx);
}

static icd_status refine_small(icd_ctx *ctx, void *arg)
{
    icd_status status;
    int64_t ptr[] = {0, 2, 4, 6};
    int32_t index[] = {0, 4, 1, 5, 2, 3}, order[6] = {0};
    icd_access a = {.n = 6, .events = 3, .event_ptr = ptr, .index = index};
    icd_hyper_params p = {.granule = 2, .refine_steps = 1};
    (void)arg;
    ICD_TRY(icd_i_hyper_order(ctx, &a, &p, order));
    ICD_TRY(icd_i_hyper_refine(ctx, &a, &p, order, NULL));
done:
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(refine_small, NULL);
}

/* Learned on the first two thirds of a real trace, judged on the rest. */
static void check_held_out(icd_ctx *ctx, const char *path, int32_t g)
{
    icd_access *all = NULL, *learn = NULL, *held = NULL;
    icd_trace_opts opts = {.size = sizeof opts, .limit = 2400};
    assert_ok(ctx, icd_access_read(ctx, path, &opts, &all));
    int64_t first = all->events / 3 * 2;
    assert_ok(ctx, icd_access_slice(ctx, all, 0, first, &learn));
    assert_ok(ctx, icd_access_slice(ctx, all, first, all->events - first, &held));
    int32_t *order = calloc((size_t)all->n, sizeof *order);
    int32_t *sorted = calloc((size_t)all->n, sizeof *order);
    icd_hyper_params p = {.granule = g, .effort = ICD_EFFORT_LOW, .refine_steps = 1};
    assert_ok(ctx, icd_i_hyper_order(ctx, learn, &p, order));
    refine(ctx, learn, p, order, NULL);
    double *frequency = calloc((size_t)all->n, sizeof *frequency);
    icd_access_frequency(learn, frequency);
    for (int32_t i = 0; i < all->n; ++i) {
        int32_t rank = 0;
        for (int32_t j = 0; j < all->n; ++j)
            rank +=
                frequency[j] > frequency[i] || (frequency[j] == frequency[i] && j < i);
        sorted[rank] = i;
    }
    double ours = touched(ctx, held, g, order), theirs = touched(ctx, held, g, sorted);
    print_message("g %d: frequency sort %.0f, ours %.0f\n", g, theirs, ours);
    assert_true(ours < .9 * theirs);
    free(order);
    free(sorted);
    free(frequency);
    icd_access_free(ctx, all);
    icd_access_free(ctx, learn);
    icd_access_free(ctx, held);
}

static void test_real_traces_held_out(void **state)
{
    (void)state;
    static const char *const name[] = {"use-lite-ffn0.access.npz",
                                       "use-lite-ffn1.access.npz"};
    icd_ctx *ctx = make_ctx(2);
    for (int k = 0; k < 2; ++k) {
        char path[1024];
        snprintf(path, sizeof path, "%s/data/%s", ICD_SOURCE_DIR, name[k]);
        check_held_out(ctx, path, 16);
        check_held_out(ctx, path, 32);
    }
    icd_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_touched_by_hand),
        cmocka_unit_test(test_gains_equal_recompute),
        cmocka_unit_test(test_never_worse_and_truthful),
        cmocka_unit_test(test_brute_force),
        cmocka_unit_test(test_recovers_topics),
        cmocka_unit_test(test_same_bytes_for_any_threads),
        cmocka_unit_test(test_frozen_indices_stay),
        cmocka_unit_test(test_softness_is_told),
        cmocka_unit_test(test_clock_and_cancellation),
        cmocka_unit_test(test_bad_granule),
        cmocka_unit_test(test_cocluster_finds_blocks),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_real_traces_held_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
