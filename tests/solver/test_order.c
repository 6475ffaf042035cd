#include "solver_support.h"

#include "solver/arrange.h"

enum { GRANULE = 4, GRANULES = 41, N = GRANULE * (GRANULES - 1) + 2 };

/* A chain of cliques of GRANULE indices, the last one short. */
static icd_csr *chain(icd_ctx *ctx)
{
    float *a = calloc((size_t)N * N, sizeof *a);
    for (int i = 0; i < N; ++i)
        for (int j = 0; j < N; ++j) {
            int far = abs(i / GRANULE - j / GRANULE);
            if (i != j && far <= 1) a[i * N + j] = far ? 1 : 8;
        }
    icd_csr *w = csr_of_dense(ctx, a, N);
    free(a);
    return w;
}

static double cost_of(icd_ctx *ctx, const icd_csr *w, const int32_t *order)
{
    icd_solver_opts opts = solver_defaults();
    icd_assessment verdict;
    icd_problem problem = {.w = w};
    opts.granule = GRANULE;
    assert_ok(ctx, icd_i_score(ctx, &problem, order, &opts, &verdict));
    return verdict.score.C;
}

/* Whole granules, shuffled; the last place holds the short one. */
static void shuffle(int32_t *order, uint64_t seed)
{
    int32_t granule[GRANULES - 1];
    icd_rng rng;
    icd_i_rng_init(&rng, seed, 1);
    for (int32_t k = 0; k < GRANULES - 1; ++k) granule[k] = k;
    icd_i_rng_shuffle(&rng, granule, GRANULES - 1);
    for (int32_t slot = 0; slot < N; ++slot)
        order[slot] = slot < GRANULE * (GRANULES - 1)
                          ? GRANULE * granule[slot / GRANULE] + slot % GRANULE
                          : slot;
}

static void arrange(icd_ctx *ctx, const icd_csr *w, int32_t zone, int32_t effort,
                    int32_t *order)
{
    icd_wgraph g = {0};
    icd_bounds zones = {0}, blocks = {0};
    icd_solver_opts opts = solver_defaults();
    opts.effort = effort;
    opts.granule = GRANULE;
    assert_ok(ctx, icd_i_wgraph_build(ctx, w, NULL, N, &g));
    assert_ok(ctx, icd_i_bounds_nest(ctx, NULL, N, zone, &zones));
    assert_ok(ctx, icd_i_bounds_nest(ctx, &zones, N, GRANULE, &blocks));
    assert_ok(ctx, icd_i_arrange(ctx, &g, &zones, &blocks, &opts, order));
    icd_i_bounds_release(ctx, &zones);
    icd_i_bounds_release(ctx, &blocks);
    icd_i_wgraph_release(ctx, &g);
}

/* C falls, a good deal of it by far exchanges (half in the mean of five, at least), and
 * no granule is torn. */
static void test_shuffled_chain(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    icd_csr *w = chain(ctx);
    double share = 0;
    (void)state;
    for (uint64_t seed = 1; seed < 6; ++seed) {
        int32_t order[N], low[N];
        shuffle(order, seed);
        memcpy(low, order, sizeof low);
        double before = cost_of(ctx, w, order), cut = naive_cut(w, order, GRANULE);
        arrange(ctx, w, N, ICD_EFFORT_LOW, low);
        arrange(ctx, w, N, ICD_EFFORT_DEFAULT, order);
        assert_true(cost_of(ctx, w, low) <= before);
        share += cost_of(ctx, w, order) / before / 5;
        assert_near(naive_cut(w, order, GRANULE), cut, 1e-6);
        for (int32_t slot = 0; slot < N; ++slot)
            assert_int_equal(order[slot] / GRANULE,
                             order[slot - slot % GRANULE] / GRANULE);
        assert_int_equal(order[N - 1], N - 1);
    }
    assert_true(share < 0.5);
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

/* What is in order stays, and nothing leaves its zone. */
static void test_order_and_zones(void **state)
{
    enum { ZONE = 10 * GRANULE };
    icd_ctx *ctx = ctx_of_threads(1);
    icd_csr *w = chain(ctx);
    int32_t order[N], before[N];
    (void)state;
    for (int32_t slot = 0; slot < N; ++slot) order[slot] = slot;
    double best = cost_of(ctx, w, order);
    arrange(ctx, w, N, ICD_EFFORT_HIGH, order);
    assert_near(cost_of(ctx, w, order), best, 1e-9);
    shuffle(order, 9);
    memcpy(before, order, sizeof before);
    arrange(ctx, w, ZONE, ICD_EFFORT_HIGH, order);
    for (int32_t k = 0; k < N; ++k) {
        int32_t slot = 0;
        while (before[slot] != order[k]) slot++;
        assert_int_equal(slot / ZONE, k / ZONE);
    }
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shuffled_chain),
        cmocka_unit_test(test_order_and_zones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
