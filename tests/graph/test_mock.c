#include "sets.h"

static icd_ctx *ctx;
static int warnings;

static void count_warning(void *user, const char *message)
{
    (void)user;
    (void)message;
    warnings++;
}

static int setup(void **state)
{
    (void)state;
    ctx = icd_ctx_new(NULL);
    if (ctx) icd_ctx_on_warning(ctx, count_warning, NULL);
    return ctx == NULL;
}

static int teardown(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    return 0;
}

static icd_mock_opts mock_of(int64_t d, int32_t blocks, double noise, int64_t seed)
{
    icd_mock_opts opts;
    icd_options_init(&icd_mock_table, &opts);
    opts.d = d;
    opts.blocks = blocks;
    opts.noise = noise;
    opts.seed = seed;
    return opts;
}

/* Entries inside and outside the planted blocks of equal size. */
typedef struct tally {
    int64_t inside, outside;
    double weight_inside, weight_outside;
} tally;

static tally count_blocks(const icd_csr *w, const int32_t *pos, int64_t size)
{
    tally t = {0};
    for (int64_t i = 0; i < w->n; i++)
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; k++)
            if (pos[i] / size == pos[w->col[k]] / size) {
                t.inside++;
                t.weight_inside += (double)w->val[k];
            } else {
                t.outside++;
                t.weight_outside += (double)w->val[k];
            }
    return t;
}

static int64_t diagonal_neighbours(const icd_csr *w, int64_t size)
{
    int64_t inside = 0;
    for (int64_t i = 0; i < w->n; i++)
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; k++)
            inside += i / size == w->col[k] / size;
    return inside;
}

static void test_distribution(void **state)
{
    (void)state;
    icd_csr *w = NULL;
    icd_perm *planted = NULL;
    icd_mock_opts opts = mock_of(1000, 4, .1, 42);
    assert_ok(ctx, icd_build_w_mock(ctx, &opts, &w, &planted));
    assert_ok(ctx, icd_csr_check(ctx, w, "mock"));
    assert_int_equal(w->nnz, 1000 * 1000 / 20);
    int32_t pos[1000];
    icd_perm_invert_into(planted, pos);
    tally t = count_blocks(w, pos, 250);
    assert_in_range(t.outside, 3375, 4125); /* three quarters of 5000 */
    assert_true(fabs(t.weight_inside / (double)t.inside - 1) < .03);
    assert_true(fabs(t.weight_outside / (double)t.outside - .5) < .02);
    int64_t unplanted = diagonal_neighbours(w, 250);
    assert_in_range(unplanted, w->nnz * 22 / 100, w->nnz * 28 / 100);
    icd_csr_free(ctx, w);
    icd_perm_free(ctx, planted);
}

static void test_no_noise_stays_inside(void **state)
{
    (void)state;
    icd_csr *w = NULL;
    icd_perm *planted = NULL;
    icd_mock_opts opts = mock_of(403, 4, 0, 1); /* blocks of 100, 100, 100, 103 */
    assert_ok(ctx, icd_build_w_mock(ctx, &opts, &w, &planted));
    int32_t pos[403];
    icd_perm_invert_into(planted, pos);
    for (int64_t i = 0; i < w->n; i++)
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; k++) {
            int32_t a = pos[i] / 100, b = pos[w->col[k]] / 100;
            assert_int_equal(a > 3 ? 3 : a, b > 3 ? 3 : b);
        }
    icd_csr_free(ctx, w);
    icd_perm_free(ctx, planted);
}

/* The bytes are part of the contract: they hold on every machine and compiler. */
static void test_bytes(void **state)
{
    (void)state;
    icd_csr *a = NULL, *b = NULL;
    icd_mock_opts opts = mock_of(256, 4, .02, 42);
    assert_ok(ctx, icd_build_w_mock(ctx, &opts, &a, NULL));
    assert_ok(ctx, icd_build_w_mock(ctx, &opts, &b, NULL));
    assert_true(test_same(a, b));
    assert_true(icd_csr_hash(a) == UINT64_C(0x6c7acb7a962771a5));
    icd_csr_free(ctx, b);
    opts.seed = 43;
    assert_ok(ctx, icd_build_w_mock(ctx, &opts, &b, NULL));
    assert_false(test_same(a, b));
    icd_csr_free(ctx, a);
    icd_csr_free(ctx, b);
}

static void test_strength(void **state)
{
    (void)state;
    double outside[2];
    for (int k = 0; k < 2; k++) {
        icd_csr *w = NULL;
        icd_perm *planted = NULL;
        icd_mock_opts opts = mock_of(400, 4, .2, 3);
        opts.strength = k ? 8 : 1;
        int32_t pos[400];
        assert_ok(ctx, icd_build_w_mock(ctx, &opts, &w, &planted));
        icd_perm_invert_into(planted, pos);
        outside[k] = count_blocks(w, pos, 100).weight_outside;
        icd_csr_free(ctx, w);
        icd_perm_free(ctx, planted);
    }
    assert_true(fabs(outside[0] / outside[1] - 8) < 1e-3);
}

static void test_small(void **state)
{
    (void)state;
    for (int64_t d = 1; d < 12; d++) {
        icd_csr *w = NULL;
        icd_perm *planted = NULL;
        icd_mock_opts opts = mock_of(d, 1, .5, 1);
        assert_ok(ctx, icd_build_w_mock(ctx, &opts, &w, &planted));
        assert_ok(ctx, icd_csr_check(ctx, w, "mock"));
        assert_int_equal(w->nnz, d * d / 40 * 2);
        assert_int_equal(planted->n, d);
        icd_csr_free(ctx, w);
        icd_perm_free(ctx, planted);
    }
}

static void test_all_noise(void **state)
{
    (void)state;
    icd_csr *w = NULL;
    icd_mock_opts opts = mock_of(300, 5, 1, 1);
    assert_ok(ctx, icd_build_w_mock(ctx, &opts, &w, NULL));
    assert_int_equal(w->nnz, 300 * 300 / 20);
    icd_csr_free(ctx, w);
}

/* 40 blocks of 8 hold 40 * 28 = 1120 pairs, fewer than .05 D^2 / 2 = 2560. */
static void test_blocks_that_are_full(void **state)
{
    (void)state;
    icd_csr *w = NULL;
    icd_perm *planted = NULL;
    icd_mock_opts opts = mock_of(320, 40, .2, 1);
    warnings = 0;
    assert_ok(ctx, icd_build_w_mock(ctx, &opts, &w, &planted));
    assert_int_equal(warnings, 1);
    assert_ok(ctx, icd_csr_check(ctx, w, "mock"));
    assert_int_equal(w->nnz, 2 * (1120 + 280));
    int32_t pos[320];
    icd_perm_invert_into(planted, pos);
    assert_int_equal(count_blocks(w, pos, 8).inside, 2 * 1120);
    icd_csr_free(ctx, w);
    icd_perm_free(ctx, planted);
}

static void test_infeasible(void **state)
{
    (void)state;
    icd_csr *w = (icd_csr *)1;
    icd_perm *planted = (icd_perm *)1;
    icd_mock_opts opts = mock_of(100, 101, .02, 1);
    assert_fails(ctx, ICD_EINVAL, "101 blocks for D = 100",
                 icd_build_w_mock(ctx, &opts, &w, &planted));
    assert_null(w);
    assert_null(planted);
    opts = mock_of(100, 4, 1.5, 1);
    assert_fails(ctx, ICD_EINVAL, "graph.mock.noise",
                 icd_build_w_mock(ctx, &opts, &w, NULL));
    opts = mock_of(0, 4, .5, 1);
    assert_fails(ctx, ICD_EINVAL, "graph.mock.d", icd_build_w_mock(ctx, &opts, &w, NULL));
}

static icd_status mock_again(icd_ctx *c, void *arg)
{
    icd_csr *w = NULL;
    icd_perm *planted = NULL;
    icd_status status = icd_build_w_mock(c, arg, &w, &planted);
    icd_csr_free(c, w);
    icd_perm_free(c, planted);
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    icd_mock_opts opts = mock_of(60, 3, .1, 5);
    icd_test_failing_allocations(mock_again, &opts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distribution),
        cmocka_unit_test(test_no_noise_stays_inside),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_strength),
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_all_noise),
        cmocka_unit_test(test_blocks_that_are_full),
        cmocka_unit_test(test_infeasible),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
