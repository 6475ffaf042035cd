#include "solver_support.h"

static double solve_j(icd_ctx *ctx, const icd_csr *w, const icd_perm *prev, double stay,
                      int32_t objective, icd_solver_stats *stats, icd_perm **out)
{
    icd_solver_opts opts = solver_defaults();
    icd_problem problem = {.w = w, .prev = prev};
    icd_perm *perm = NULL;
    opts.granule = 8;
    opts.objective = objective;
    opts.gamma_stab = stay;
    opts.k_blocks = 6;
    assert_ok(ctx, icd_fit_permutation(ctx, &problem, &opts, &perm, stats));
    assert_bijection(perm);
    if (out)
        *out = perm;
    else
        icd_perm_free(ctx, perm);
    return stats->score.J;
}

/* Debug builds assert every change of J against its reverse; here: J is what falls. */
static void test_j_falls(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    (void)state;
    for (uint64_t seed = 1; seed < 6; ++seed) {
        int32_t hidden[180];
        icd_solver_stats by_cut, by_j;
        icd_csr *w = planted_graph(ctx, 180, 6, 0.3, 0.05, seed, hidden);
        solve_j(ctx, w, NULL, 0, ICD_OBJ_CUT, &by_cut, NULL);
        solve_j(ctx, w, NULL, 0, ICD_OBJ_J, &by_j, NULL);
        assert_int_equal(by_j.objective, ICD_OBJ_J);
        assert_true(by_j.score.J <= by_cut.score.J + 1e-12);
        assert_true(by_j.score.J < by_j.start.J);
        icd_csr_free(ctx, w);
    }
    icd_ctx_free(ctx);
}

static void test_stability(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    int32_t hidden[180];
    icd_solver_stats stats;
    icd_perm *first = NULL;
    (void)state;
    icd_csr *w = planted_graph(ctx, 180, 6, 0.3, 0.05, 1, hidden);
    icd_csr *other = planted_graph(ctx, 180, 6, 0.28, 0.06, 1, hidden);
    solve_j(ctx, w, NULL, 0, ICD_OBJ_J, &stats, &first);
    solve_j(ctx, other, first, 0, ICD_OBJ_J, &stats, NULL);
    int64_t free_moves = stats.moved;
    solve_j(ctx, other, first, 5, ICD_OBJ_J, &stats, NULL);
    assert_true(stats.moved < free_moves);
    assert_true(stats.score.J <= stats.start.J + 1e-12);
    solve_j(ctx, other, first, 1e6, ICD_OBJ_J, &stats, NULL);
    assert_true(stats.score.R_stab == 0);
    icd_perm_free(ctx, first);
    icd_csr_free(ctx, w);
    icd_csr_free(ctx, other);
    icd_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_j_falls),
        cmocka_unit_test(test_stability),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
