#include "graph/bits.h"
#include "graph/build.h"
#include "sets.h"

static icd_ctx *ctx;

static int setup(void **state)
{
    (void)state;
    ctx = icd_ctx_new(&(icd_ctx_opts){.size = sizeof(icd_ctx_opts), .threads = 2});
    return ctx == NULL;
}

static int teardown(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    return 0;
}

static const int64_t NO_CAP = 1 << 20;

/* Sorted descending. */
static int falling(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* The smallest weight that a cap of `pairs` keeps; 0: all are kept. */
static float cap_floor(const double *s, int64_t n, int64_t pairs)
{
    int64_t count = 0;
    float *value = malloc((size_t)(n * n + 1) * sizeof *value), floor = 0;
    assert_non_null(value);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i + 1; j < n; j++)
            if ((float)s[i * n + j] > 0) value[count++] = (float)s[i * n + j];
    qsort(value, (size_t)count, sizeof *value, falling);
    if (pairs < count) floor = pairs ? value[pairs - 1] : INFINITY;
    free(value);
    return floor;
}

static float entry(const icd_csr *w, int64_t i, int64_t j)
{
    for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; k++)
        if (w->col[k] == j) return w->val[k];
    return 0;
}

/* What is well above the floor must be there with its value, what is well below must not.
 */
static void check_against(const icd_csr *w, const double *s, int64_t pairs)
{
    const double near = 1e-6;
    float floor = cap_floor(s, w->n, pairs);
    for (int64_t i = 0; i < w->n; i++)
        for (int64_t j = 0; j < w->n; j++) {
            double want = s[i * w->n + j];
            float found = entry(w, i, j);
            if (found > 0)
                assert_true(fabs((double)found - want) <= near * want);
            else
                assert_true(want <= (double)floor * (1 + near));
            if (want < (double)floor * (1 - near)) assert_true(found == 0);
        }
}

static void check_definition(uint64_t seed, int64_t n, const icd_graph_opts *opts,
                             test_weights kind)
{
    icd_csr *w = NULL;
    icd_csr_meta meta = {0};
    icd_access *a = test_random_sets(ctx, seed, n, 60, .2, kind);
    double *s = test_definition(a, opts);
    assert_ok(ctx, icd_build_w(ctx, a, opts, &w, &meta));
    assert_ok(ctx, icd_csr_check(ctx, w, "W"));
    check_against(w, s, opts->nnz_cap / 2);
    int64_t positive = 0;
    for (int64_t k = 0; k < n * n; k++) positive += (float)s[k] > 0;
    assert_int_equal(w->nnz + meta.dropped_nnz, positive);
    assert_true(w->nnz == positive || w->nnz == opts->nnz_cap / 2 * 2);
    assert_int_equal(meta.events, 60);
    free(s);
    icd_csr_free(ctx, w);
    icd_access_free(ctx, a);
}

static void test_definitions(void **state)
{
    (void)state;
    static const int64_t CAP[] = {NO_CAP, 101, 40, 1};
    uint64_t seed = 7;
    for (int32_t weighting = 0; weighting < 3; weighting++)
        for (int32_t normalize = 0; normalize < 3; normalize++)
            for (int kind = 0; kind < 3; kind++)
                for (int c = 0; c < 4; c++, seed++) {
                    icd_graph_opts opts = test_opts(weighting, normalize, CAP[c]);
                    print_message("seed %llu\n", (unsigned long long)seed);
                    check_definition(seed, 25, &opts, (test_weights)kind);
                }
}

/* 0-1, 0-2, 1-2 and 3-4 once each: the cap keeps the first of equals. */
static void test_ties_fall_to_the_smaller_index(void **state)
{
    (void)state;
    int64_t ptr[] = {0, 3, 5};
    int32_t index[] = {0, 1, 2, 3, 4};
    icd_access a = {.n = 5, .events = 2, .event_ptr = ptr, .index = index};
    for (int64_t pairs = 0; pairs <= 4; pairs++) {
        icd_csr *w = NULL;
        icd_graph_opts opts = test_opts(ICD_WEIGHT_COUNT, ICD_NORM_NONE, 2 * pairs);
        if (pairs == 0) opts.nnz_cap = 1;
        assert_ok(ctx, icd_build_w(ctx, &a, &opts, &w, NULL));
        assert_int_equal(w->nnz, 2 * pairs);
        assert_true(entry(w, 0, 1) == (pairs > 0 ? 1.f : 0.f));
        assert_true(entry(w, 2, 0) == (pairs > 1 ? 1.f : 0.f));
        assert_true(entry(w, 1, 2) == (pairs > 2 ? 1.f : 0.f));
        assert_true(entry(w, 4, 3) == (pairs > 3 ? 1.f : 0.f));
        icd_csr_free(ctx, w);
    }
}

/* By hand: f = 2, 2, 1; n_01 = n_02 = 1; the single set {1} counts in f_1. */
static void test_single_sets_count_in_frequency(void **state)
{
    (void)state;
    int64_t ptr[] = {0, 2, 4, 5, 5};
    int32_t index[] = {0, 1, 0, 2, 1};
    icd_access a = {.n = 3, .events = 4, .event_ptr = ptr, .index = index};
    icd_csr *w = NULL;
    icd_graph_opts opts = test_opts(ICD_WEIGHT_JACCARD, ICD_NORM_NONE, NO_CAP);
    assert_ok(ctx, icd_build_w(ctx, &a, &opts, &w, NULL));
    assert_true(entry(w, 0, 1) == 1.f / 3);
    assert_true(entry(w, 0, 2) == 1.f / 2);
    icd_csr_free(ctx, w);
}

static void test_small(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 3; n++)
        for (int64_t events = 0; events < 3; events++) {
            icd_csr *w = NULL;
            icd_access *a = test_random_sets(ctx, 3, n, events, 1, TEST_ONES);
            icd_graph_opts opts = test_opts(ICD_WEIGHT_JACCARD, ICD_NORM_SYM, NO_CAP);
            assert_ok(ctx, icd_build_w(ctx, a, &opts, &w, NULL));
            assert_ok(ctx, icd_csr_check(ctx, w, "W"));
            assert_int_equal(w->n, n);
            icd_csr_free(ctx, w);
            assert_ok(ctx, icd_build_w(ctx, a, NULL, &w, NULL));
            assert_int_equal(w->nnz, 0);
            icd_csr_free(ctx, w);
            icd_access_free(ctx, a);
        }
}

static icd_csr *build_with(int32_t threads, const icd_access *a,
                           const icd_graph_opts *opts, icd_tuning tuning)
{
    icd_csr *w = NULL;
    icd_ctx *c =
        icd_ctx_new(&(icd_ctx_opts){.size = sizeof(icd_ctx_opts), .threads = threads});
    assert_non_null(c);
    assert_ok(c, icd_i_build_w(c, a, opts, &tuning, &w, NULL));
    assert_ok(c, icd_csr_check(c, w, "W"));
    icd_ctx_free(c);
    return w;
}

static void test_threads_do_not_matter(void **state)
{
    (void)state;
    static const int64_t DENSE_BELOW[] = {0, 1};
    icd_access *a = test_random_sets(ctx, 11, 300, 400, .05, TEST_ANY);
    for (int32_t weighting = 0; weighting < 3; weighting++)
        for (int d = 0; d < 2; d++) {
            icd_graph_opts opts = test_opts(weighting, ICD_NORM_SYM, 5000);
            icd_tuning tuning = {.dense_below = DENSE_BELOW[d]};
            icd_csr *one = build_with(1, a, &opts, tuning);
            for (int32_t threads = 2; threads <= 4; threads *= 2) {
                icd_csr *w = build_with(threads, a, &opts, tuning);
                assert_true(test_same(one, w));
                icd_csr_free(ctx, w);
            }
            icd_csr_free(ctx, one);
        }
    icd_access_free(ctx, a);
}

/* Sums that are exact are the same whatever the way and the cut into blocks. */
static void check_ways_agree(const icd_access *a, const icd_graph_opts *opts)
{
    static const icd_tuning WAY[] = {{.path = ICD_PATH_LISTS},
                                     {.path = ICD_PATH_BITS},
                                     {.path = ICD_PATH_BITS, .block_indices = 1500},
                                     {.path = ICD_PATH_LISTS, .block_indices = 1},
                                     {.dense_below = 1}};
    icd_csr *first = build_with(2, a, opts, (icd_tuning){0});
    for (size_t k = 0; k < sizeof WAY / sizeof WAY[0]; k++) {
        icd_csr *w = build_with(2, a, opts, WAY[k]);
        assert_true(test_same(first, w));
        icd_csr_free(ctx, w);
    }
    icd_csr_free(ctx, first);
}

static void test_ways_agree(void **state)
{
    (void)state;
    static const double DENSITY[] = {.02, .2, .9};
    for (int d = 0; d < 3; d++)
        for (int kind = TEST_ONES; kind <= TEST_QUARTERS; kind++) {
            icd_access *a =
                test_random_sets(ctx, 5, 70, 700, DENSITY[d], (test_weights)kind);
            icd_graph_opts count = test_opts(ICD_WEIGHT_COUNT, ICD_NORM_ROW, 3000);
            icd_graph_opts jaccard = test_opts(ICD_WEIGHT_JACCARD, ICD_NORM_SYM, 3000);
            check_ways_agree(a, &count);
            check_ways_agree(a, &jaccard);
            icd_access_free(ctx, a);
        }
}

/* More than one panel of ICD_BITS_WORDS words per row of bits. */
static void test_bits_over_several_panels(void **state)
{
    (void)state;
    icd_graph_opts opts = test_opts(ICD_WEIGHT_COUNT, ICD_NORM_NONE, NO_CAP);
    icd_access *a = test_random_sets(ctx, 8, 70, 20000, .1, TEST_ONES);
    check_ways_agree(a, &opts);
    icd_access_free(ctx, a);
}

/* Sums of any doubles depend on their order: asking for bits must not change them. */
static void test_bits_step_back_from_inexact_sums(void **state)
{
    (void)state;
    icd_graph_opts opts = test_opts(ICD_WEIGHT_CLIQUE, ICD_NORM_NONE, NO_CAP);
    icd_access *a = test_random_sets(ctx, 6, 40, 12, .5, TEST_ONES);
    icd_csr *lists = build_with(2, a, &opts, (icd_tuning){.path = ICD_PATH_LISTS});
    icd_csr *bits = build_with(2, a, &opts, (icd_tuning){.path = ICD_PATH_BITS});
    assert_true(test_same(lists, bits));
    icd_csr_free(ctx, lists);
    icd_csr_free(ctx, bits);
    icd_access_free(ctx, a);
}

static void test_order_of_events_does_not_matter(void **state)
{
    (void)state;
    int64_t ptr[] = {0, 3, 5, 9}, rev_ptr[] = {0, 4, 6, 9};
    int32_t index[] = {0, 1, 2, 2, 3, 0, 1, 3, 4}, rev[] = {0, 1, 3, 4, 2, 3, 0, 1, 2};
    icd_access a = {.n = 5, .events = 3, .event_ptr = ptr, .index = index};
    icd_access b = {.n = 5, .events = 3, .event_ptr = rev_ptr, .index = rev};
    icd_graph_opts opts = test_opts(ICD_WEIGHT_JACCARD, ICD_NORM_SYM, NO_CAP);
    icd_csr *x = build_with(1, &a, &opts, (icd_tuning){0});
    icd_csr *y = build_with(1, &b, &opts, (icd_tuning){0});
    assert_true(test_same(x, y));
    icd_csr_free(ctx, x);
    icd_csr_free(ctx, y);
}

static void test_popcount(void **state)
{
    (void)state;
    uint64_t a[ICD_BITS_WORDS], b[ICD_BITS_WORDS];
    icd_rng rng;
    icd_i_rng_init(&rng, 9, 0);
    for (int64_t words = 0; words <= ICD_BITS_WORDS; words += 4) {
        for (int64_t k = 0; k < words; k++) {
            a[k] = words % 8 ? UINT64_MAX : icd_i_rng_u64(&rng);
            b[k] = words % 8 ? UINT64_MAX : icd_i_rng_u64(&rng);
        }
        assert_int_equal(icd_i_popcount_best()(a, b, words),
                         icd_i_popcount_ref(a, b, words));
    }
}

static void test_bad_input(void **state)
{
    (void)state;
    icd_csr *w = (icd_csr *)1;
    int64_t ptr[] = {0, 2};
    int32_t index[] = {1, 0}, far[] = {0, 7};
    float negative[] = {-1};
    icd_access a = {.n = 3, .events = 1, .event_ptr = ptr, .index = index};
    assert_fails(ctx, ICD_EDATA, "event 0", icd_build_w(ctx, &a, NULL, &w, NULL));
    assert_null(w);
    a.index = far;
    assert_fails(ctx, ICD_EDATA, "found index 7", icd_build_w(ctx, &a, NULL, &w, NULL));
    far[1] = 2;
    a.weight = negative;
    assert_fails(ctx, ICD_EDATA, "weight", icd_build_w(ctx, &a, NULL, &w, NULL));
    icd_graph_opts opts = test_opts(7, 0, 0);
    a.weight = NULL;
    assert_fails(ctx, ICD_EINVAL, "weighting", icd_build_w(ctx, &a, &opts, &w, NULL));
}

static void test_weights_beyond_float32(void **state)
{
    (void)state;
    int64_t ptr[] = {0, 2, 4};
    int32_t index[] = {0, 1, 0, 1};
    float weight[] = {3e38f, 3e38f};
    icd_csr *w = NULL;
    icd_access a = {2, 2, ptr, index, weight, 0, NULL};
    icd_graph_opts opts = test_opts(ICD_WEIGHT_COUNT, ICD_NORM_NONE, NO_CAP);
    assert_fails(ctx, ICD_EDATA, "row 0, column 1",
                 icd_build_w(ctx, &a, &opts, &w, NULL));
    assert_null(w);
}

static void test_cancel(void **state)
{
    (void)state;
    icd_csr *w = NULL;
    icd_access *a = test_random_sets(ctx, 1, 20, 20, .5, TEST_ONES);
    icd_ctx_cancel(ctx);
    assert_int_equal(icd_build_w(ctx, a, NULL, &w, NULL), ICD_ECANCELLED);
    assert_null(w);
    icd_ctx_uncancel(ctx);
    icd_access_free(ctx, a);
}

static icd_tuning failing_tuning;

static icd_status build_again(icd_ctx *c, void *arg)
{
    icd_csr *w = NULL;
    icd_graph_opts opts = test_opts(ICD_WEIGHT_JACCARD, ICD_NORM_SYM, 30);
    icd_status status = icd_i_build_w(c, arg, &opts, &failing_tuning, &w, NULL);
    if (status != ICD_OK) assert_null(w);
    icd_csr_free(c, w);
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    static const icd_tuning WAY[] = {{.path = ICD_PATH_LISTS, .block_indices = 20},
                                     {.path = ICD_PATH_BITS},
                                     {.dense_below = 1}};
    icd_access *a = test_random_sets(ctx, 2, 12, 30, .4, TEST_QUARTERS);
    for (int k = 0; k < 3; k++) {
        failing_tuning = WAY[k];
        icd_test_failing_allocations(build_again, a);
    }
    icd_access_free(ctx, a);
}

static void test_real_trace(void **state)
{
    (void)state;
    const char *path = icd_test_shared("use-lite-ffn1.access.npz");
    if (!path) skip_shared();
    icd_access *a = NULL;
    icd_trace_opts few = {.size = sizeof few, .limit = 600};
    icd_graph_opts opts = test_opts(ICD_WEIGHT_JACCARD, ICD_NORM_SYM, 0);
    assert_ok(ctx, icd_access_read(ctx, path, &few, &a));
    assert_int_equal(a->n, 1536);
    icd_csr *w = build_with(1, a, &opts, (icd_tuning){.path = ICD_PATH_LISTS});
    assert_int_equal(w->nnz, 1536 * 1536 / 20 / 2 * 2);
    icd_csr *bits = build_with(2, a, &opts, (icd_tuning){.path = ICD_PATH_BITS});
    assert_true(test_same(w, bits));
    icd_csr_free(ctx, w);
    icd_csr_free(ctx, bits);
    icd_access_free(ctx, a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definitions),
        cmocka_unit_test(test_ties_fall_to_the_smaller_index),
        cmocka_unit_test(test_single_sets_count_in_frequency),
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_threads_do_not_matter),
        cmocka_unit_test(test_ways_agree),
        cmocka_unit_test(test_bits_over_several_panels),
        cmocka_unit_test(test_bits_step_back_from_inexact_sums),
        cmocka_unit_test(test_order_of_events_does_not_matter),
        cmocka_unit_test(test_popcount),
        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_weights_beyond_float32),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_real_trace),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
