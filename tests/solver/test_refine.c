#include "solver_support.h"

#include "solver/anneal.h"
#include "solver/pulls.h"
#include "solver/repair.h"

enum { N = 96, ROUNDS = 40 };

typedef struct setting {
    icd_ctx *ctx;
    icd_csr *w;
    icd_wgraph g;
    icd_bounds zones, blocks;
    icd_budget budget;
    int32_t order[N];
    uint8_t frozen[N];
} setting;

static void set_up(setting *s, uint64_t seed, double density)
{
    icd_rng rng;
    memset(s, 0, sizeof *s);
    icd_i_rng_init(&rng, seed, 1);
    s->ctx = ctx_of_threads(1);
    s->budget.ctx = s->ctx;
    s->w = random_graph(s->ctx, N, density, true, &rng);
    assert_ok(s->ctx, icd_i_wgraph_build(s->ctx, s->w, NULL, N, &s->g));
    assert_ok(s->ctx, icd_i_bounds_slices(s->ctx, N, 3, &s->zones));
    assert_ok(s->ctx, icd_i_bounds_cross(s->ctx, &s->zones, 10, &s->blocks));
    for (int32_t i = 0; i < N; ++i) {
        s->order[i] = i;
        s->frozen[i] = icd_i_rng_below(&rng, 5) == 0;
    }
    icd_i_rng_shuffle(&rng, s->order, N);
}

static void tear_down(setting *s)
{
    icd_i_bounds_release(s->ctx, &s->zones);
    icd_i_bounds_release(s->ctx, &s->blocks);
    icd_i_wgraph_release(s->ctx, &s->g);
    icd_csr_free(s->ctx, s->w);
    icd_ctx_free(s->ctx);
}

static icd_refine_params params_of(setting *s, bool zones, bool frozen)
{
    return (icd_refine_params){.zones = zones ? &s->zones : NULL,
                               .bounds = &s->blocks,
                               .frozen = frozen ? s->frozen : NULL,
                               .budget = &s->budget,
                               .steps = 100};
}

static void assert_own(const icd_blocks *b)
{
    for (int32_t v = 0; v < b->g.n; ++v) {
        int32_t own = 0;
        for (int64_t k = b->g.ptr[v]; k < b->g.ptr[v + 1]; ++k)
            if (b->block_of[b->g.edge[k].to] == b->block_of[v]) own += b->g.edge[k].w;
        assert_int_equal(own, b->own[v]);
        assert_int_equal(b->at[b->slot_of[v]], v);
        assert_in_range(b->slot_of[v], b->bounds->at[b->block_of[v]],
                        b->bounds->at[b->block_of[v] + 1] - 1);
    }
}

/* Gains of both tables equal the difference of two full counts, for random swaps. */
static void test_gains(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 6; ++seed) {
        setting s;
        icd_blocks b = {0};
        icd_pulls p = {0};
        icd_rng rng;
        bool table = seed % 2;
        set_up(&s, seed, 0.2);
        icd_refine_params params = params_of(&s, seed > 2, false);
        assert_ok(s.ctx, icd_i_blocks_init(s.ctx, &s.g, &params, s.order, &b));
        if (table) assert_ok(s.ctx, icd_i_pulls_init(s.ctx, &b, &p));
        icd_i_rng_init(&rng, seed, 2);
        for (int i = 0; i < 200; ++i) {
            int32_t v = (int32_t)icd_i_rng_below(&rng, N);
            int32_t u = (int32_t)icd_i_rng_below(&rng, N);
            if (b.block_of[v] == b.block_of[u]) continue;
            if (b.zone_of[b.block_of[v]] != b.zone_of[b.block_of[u]]) continue;
            int64_t before = icd_i_blocks_cut(&b), gain = icd_i_blocks_gain(&b, v, u);
            if (table) {
                assert_int_equal(gain, icd_i_pulls_gain(&p, v, u));
                icd_i_pulls_swap(&p, v, u);
            } else {
                icd_i_blocks_swap(&b, v, u);
            }
            assert_int_equal(before - gain, icd_i_blocks_cut(&b));
        }
        if (table) icd_i_pulls_release(s.ctx, &p);
        assert_own(&b);
        icd_i_blocks_release(s.ctx, &b);
        tear_down(&s);
    }
}

static void test_never_worse(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < ROUNDS; ++seed) {
        setting s;
        int32_t before[N];
        int64_t passes = 0;
        set_up(&s, seed, seed % 2 ? 0.05 : 0.4);
        icd_anneal_params anneal = {.budget = &s.budget,
                                    .offers = seed % 4 > 1 ? 2000 : 0,
                                    .until = 1,
                                    .hot = 1,
                                    .cold = 0.1};
        icd_refine_params params = params_of(&s, seed % 3 == 0, seed % 5 == 0);
        params.anneal = anneal.offers ? &anneal : NULL;
        memcpy(before, s.order, sizeof before);
        assert_ok(s.ctx, icd_i_refine(s.ctx, &s.g, &params, s.order, &passes));
        double old = 0, now = 0;
        int32_t block_of[N], part[2][N];
        icd_i_bounds_spread(&s.blocks, block_of);
        for (int32_t k = 0; k < N; ++k) {
            part[0][before[k]] = block_of[k];
            part[1][s.order[k]] = block_of[k];
            if (params.frozen && s.frozen[before[k]])
                assert_int_equal(before[k], s.order[k]);
        }
        old = (double)icd_i_wgraph_cut(&s.g, part[0]);
        now = (double)icd_i_wgraph_cut(&s.g, part[1]);
        assert_true(now <= old);
        if (params.zones) {
            int32_t zone_of[N];
            icd_i_bounds_spread(&s.zones, zone_of);
            for (int32_t k = 0; k < N; ++k)
                for (int32_t j = 0; j < N; ++j)
                    if (before[k] == s.order[j]) assert_int_equal(zone_of[k], zone_of[j]);
        }
        tear_down(&s);
    }
}

static void test_repair(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < ROUNDS; ++seed) {
        setting s;
        icd_rng rng;
        int32_t part[N];
        set_up(&s, seed, 0.1);
        icd_i_rng_init(&rng, seed, 4);
        int64_t used = 1 + icd_i_rng_below(&rng, s.blocks.count);
        for (int32_t v = 0; v < N; ++v) part[v] = (int32_t)icd_i_rng_below(&rng, used);
        assert_ok(s.ctx, icd_i_repair(s.ctx, &s.g, &s.blocks, part, s.order));
        for (int32_t b = 0; b < s.blocks.count; ++b)
            for (int32_t k = s.blocks.at[b]; k < s.blocks.at[b + 1]; ++k)
                assert_int_equal(part[s.order[k]], b);
        tear_down(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gains),
        cmocka_unit_test(test_never_worse),
        cmocka_unit_test(test_repair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
