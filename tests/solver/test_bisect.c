#include "solver_support.h"

#include "solver/coarsen.h"
#include "solver/fm.h"
#include "solver/split.h"

enum { N = 300 };

typedef struct bench {
    icd_ctx *ctx;
    icd_csr *w;
    icd_wgraph g;
    icd_work work;
    icd_budget budget;
    icd_rng rng;
} bench;

static void set_up(bench *b, int64_t n, double density, uint64_t seed)
{
    memset(b, 0, sizeof *b);
    icd_i_rng_init(&b->rng, seed, 9);
    b->ctx = ctx_of_threads(2);
    b->budget.ctx = b->ctx;
    b->w = random_graph(b->ctx, n, density, true, &b->rng);
    assert_ok(b->ctx, icd_i_wgraph_build(b->ctx, b->w, NULL, (int32_t)n, &b->g));
    b->work.size = icd_i_bisect_bytes(n, b->w->nnz);
    assert_ok(b->ctx, ICD_ALLOC(b->ctx, (int64_t)b->work.size, &b->work.base));
}

static void tear_down(bench *b)
{
    icd_i_free(b->ctx, b->work.base);
    icd_i_wgraph_release(b->ctx, &b->g);
    icd_csr_free(b->ctx, b->w);
    icd_ctx_free(b->ctx);
}

static int64_t weight_of(const icd_wgraph *g)
{
    int64_t total = 0;
    for (int64_t k = 0; k < g->ptr[g->n]; ++k) total += g->edge[k].w;
    return total / 2;
}

/* Clusters keep to the cap, and contraction keeps sizes and the weight between clusters.
 */
static void test_coarsen(void **state)
{
    static const int32_t CAP[] = {1, 2, 5, 64};
    (void)state;
    for (int i = 0; i < 4; ++i) {
        bench b;
        icd_wgraph coarse;
        int32_t map[N], size[N] = {0};
        set_up(&b, N, i % 2 ? 0.005 : 0.1, 3);
        int32_t n = icd_i_coarsen(&b.g, NULL, CAP[i], &b.rng, &b.work, map);
        assert_in_range(n, 1, N);
        for (int32_t v = 0; v < N; ++v) size[map[v]]++;
        assert_true(icd_i_wgraph_contract(&b.g, map, n, &b.work, &coarse));
        for (int32_t c = 0; c < n; ++c) {
            assert_in_range(size[c], 1, CAP[i]);
            assert_int_equal(coarse.size[c], size[c]);
        }
        assert_int_equal(weight_of(&coarse), icd_i_wgraph_cut(&b.g, map));
        tear_down(&b);
    }
}

static void test_workspace_full(void **state)
{
    bench b;
    icd_wgraph coarse;
    int32_t map[N] = {0};
    (void)state;
    set_up(&b, N, 0.1, 3);
    b.work.size = 4096;
    assert_false(icd_i_wgraph_contract(&b.g, map, 1, &b.work, &coarse));
    assert_int_equal(b.work.used, 0);
    tear_down(&b);
}

/* FM in debug builds counts everything again after its passes; here: it never harms. */
static void test_fm(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; ++seed) {
        bench b;
        uint8_t side[N];
        int32_t gain[N], out[N];
        set_up(&b, N, 0.02, seed);
        icd_sides s = {
            .g = &b.g, .side = side, .gain = gain, .out = out, .target = N / 2};
        for (int32_t v = 0; v < N; ++v) side[v] = v >= N / 2;
        icd_i_sides_count(&s);
        int64_t before = s.cut;
        icd_i_fm(&s, 4, 20, &b.work);
        assert_true(s.cut < before && s.left == s.target);
        tear_down(&b);
    }
}

static void test_exact_sides(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; ++seed) {
        bench b;
        uint8_t side[N];
        int64_t n = 1 + (int64_t)(seed * 37 % N);
        set_up(&b, n, seed % 3 ? 0.05 : 0, seed);
        icd_bisect_params params = {&b.budget, 2, 2, 20};
        int32_t target = (int32_t)(n / 3), left = 0;
        icd_i_bisect(&b.g, target, &params, &b.rng, &b.work, side);
        for (int64_t v = 0; v < n; ++v) left += !side[v];
        assert_int_equal(left, target);
        assert_int_equal(b.work.used, 0);
        tear_down(&b);
    }
}

static void test_bounds(void **state)
{
    static const int32_t CROSS[] = {0, 4, 6, 8, 12, 14};
    icd_ctx *ctx = ctx_of_threads(1);
    icd_bounds slices = {0}, cross = {0}, nested = {0};
    (void)state;
    assert_ok(ctx, icd_i_bounds_slices(ctx, 14, 3, &slices));
    assert_int_equal(slices.count, 3);
    assert_int_equal(slices.at[1], 4);
    assert_int_equal(slices.at[2], 9);
    icd_i_bounds_release(ctx, &slices);
    assert_ok(ctx, icd_i_bounds_slices(ctx, 2, 5, &slices));
    assert_int_equal(slices.count, 2);
    icd_i_bounds_release(ctx, &slices);
    assert_ok(ctx, icd_i_bounds_nest(ctx, NULL, 14, 6, &slices));
    assert_ok(ctx, icd_i_bounds_cross(ctx, &slices, 4, &cross));
    assert_int_equal(cross.count, 5);
    assert_memory_equal(cross.at, CROSS, sizeof CROSS);
    assert_ok(ctx, icd_i_bounds_nest(ctx, &slices, 14, 4, &nested));
    assert_int_equal(nested.count, 5);
    assert_int_equal(nested.at[2], 6);
    icd_i_bounds_release(ctx, &slices);
    icd_i_bounds_release(ctx, &cross);
    icd_i_bounds_release(ctx, &nested);
    icd_ctx_free(ctx);
}

/* Splitting again inside blocks leaves every node in its block. */
static void test_nesting(void **state)
{
    bench b;
    icd_bounds coarse = {0}, fine = {0};
    int32_t order[N], block[N], block_of[N];
    (void)state;
    set_up(&b, N, 0.05, 1);
    icd_bisect_params params = {&b.budget, 2, 2, 20};
    assert_ok(b.ctx, icd_i_bounds_nest(b.ctx, NULL, N, 64, &coarse));
    assert_ok(b.ctx, icd_i_bounds_nest(b.ctx, &coarse, N, 16, &fine));
    for (int32_t v = 0; v < N; ++v) order[v] = v;
    assert_ok(b.ctx, icd_i_split(b.ctx, &b.g, NULL, &coarse, &params, 1, order, block));
    assert_ok(b.ctx, icd_i_split(b.ctx, &b.g, &coarse, &fine, &params, 1, order, NULL));
    icd_i_bounds_spread(&coarse, block_of);
    for (int32_t k = 0; k < N; ++k) assert_int_equal(block[order[k]], block_of[k]);
    icd_i_bounds_release(b.ctx, &coarse);
    icd_i_bounds_release(b.ctx, &fine);
    tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_coarsen), cmocka_unit_test(test_workspace_full),
        cmocka_unit_test(test_fm),      cmocka_unit_test(test_exact_sides),
        cmocka_unit_test(test_bounds),  cmocka_unit_test(test_nesting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
