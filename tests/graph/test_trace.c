#include "graph/build.h"
#include "graph/edges.h"
#include "graph/pairs.h"
#include "sets.h"

#include <stdio.h>

static icd_ctx *ctx;
static int warnings;

static void count_warning(void *user, const char *message)
{
    (void)user;
    assert_non_null(strstr(message, "graph.on_bad_trace"));
    warnings++;
}

static int setup(void **state)
{
    (void)state;
    ctx = icd_ctx_new(NULL);
    return ctx == NULL;
}

static int teardown(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    return 0;
}

static const char *write_file(const char *name, const char *text)
{
    const char *path = icd_test_path(name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* Streamed from a file in blocks or built from memory: the same bytes. */
static void test_stream_equals_memory(void **state)
{
    (void)state;
    const char *path = icd_test_path("stream.icdt");
    icd_access *a = test_random_sets(ctx, 17, 120, 500, .2, TEST_ANY);
    icd_trace_writer *writer = NULL;
    assert_ok(ctx, icd_trace_writer_open(ctx, path, "layer.0", a->n, &writer));
    for (int64_t e = 0; e < a->events; e++)
        assert_ok(ctx, icd_trace_writer_add(ctx, writer, a->index + a->event_ptr[e],
                                            a->event_ptr[e + 1] - a->event_ptr[e],
                                            a->weight[e]));
    assert_ok(ctx, icd_trace_writer_close(ctx, writer, true));
    for (int32_t weighting = 0; weighting < 3; weighting++) {
        icd_csr *memory = NULL, *streamed = NULL;
        icd_csr_meta meta = {0};
        icd_graph_opts opts = test_opts(weighting, ICD_NORM_SYM, 0);
        assert_ok(ctx, icd_build_w(ctx, a, &opts, &memory, NULL));
        assert_ok(ctx, icd_build_w_from_trace(ctx, path, &opts, &streamed, &meta));
        assert_true(test_same(memory, streamed));
        assert_int_equal(meta.events, 500);
        assert_string_equal(meta.source, "trace");
        icd_csr_free(ctx, memory);
        icd_csr_free(ctx, streamed);
    }
    icd_access_free(ctx, a);
}

static void test_large_index_space(void **state)
{
    (void)state;
    const char *path = write_file("large.jsonl", "{\"set\":[3,70000,99999]}\n"
                                                 "{\"set\":[3,99999]}\n"
                                                 "{\"set\":[5]}\n");
    icd_csr *w = NULL;
    icd_graph_opts opts = test_opts(ICD_WEIGHT_COUNT, ICD_NORM_NONE, 0);
    opts.d = 100000;
    assert_ok(ctx, icd_build_w_from_trace(ctx, path, &opts, &w, NULL));
    assert_ok(ctx, icd_csr_check(ctx, w, "W"));
    assert_int_equal(w->nnz, 6);
    assert_int_equal(w->col[w->row_ptr[3]], 70000);
    assert_true(w->val[w->row_ptr[3] + 1] == 2.f);
    icd_csr_free(ctx, w);
}

static void test_pairs_are_summed(void **state)
{
    (void)state;
    const char *path = write_file("pairs.csv", "src,dst,w\n0,1,0.5\n1,0,0.25\n2,1,4\n");
    icd_csr *w = NULL;
    icd_csr_meta meta = {0};
    icd_graph_opts opts = test_opts(ICD_WEIGHT_JACCARD, ICD_NORM_NONE, 100);
    opts.d = 3;
    assert_ok(ctx, icd_build_w_from_trace(ctx, path, &opts, &w, &meta));
    assert_ok(ctx, icd_csr_check(ctx, w, "W"));
    assert_int_equal(w->nnz, 4);
    assert_true(w->val[0] == .75f);
    assert_true(w->val[w->row_ptr[2]] == 4.f);
    assert_string_equal(meta.weighting, "edges");
    assert_int_equal(meta.events, 3);
    icd_csr_free(ctx, w);
}

static void test_pairs_are_normalised(void **state)
{
    (void)state;
    const char *path = write_file("norm.csv", "0,1,3\n1,2,1\n");
    icd_csr *w = NULL;
    icd_graph_opts opts = test_opts(ICD_WEIGHT_COUNT, ICD_NORM_ROW, 100);
    opts.d = 3;
    assert_ok(ctx, icd_build_w_from_trace(ctx, path, &opts, &w, NULL));
    assert_true(w->val[0] == (1.f + .75f) / 2);
    icd_csr_free(ctx, w);
    opts.normalize = ICD_NORM_SYM;
    assert_ok(ctx, icd_build_w_from_trace(ctx, path, &opts, &w, NULL));
    assert_true(fabs((double)w->val[0] - 3 / sqrt(12)) < 1e-7);
    icd_csr_free(ctx, w);
}

/* Many more repeats than distinct pairs, over several merges. */
static void test_edges_against_dense(void **state)
{
    (void)state;
    enum { N = 40, MANY = 300000 };
    static double dense[N][N];
    icd_edges e = {.n = N};
    icd_rng rng;
    icd_i_rng_init(&rng, 21, 0);
    for (int64_t k = 0; k < MANY; k++) {
        int64_t a = icd_i_rng_below(&rng, N), b = icd_i_rng_below(&rng, N);
        if (a == b) continue;
        double w = (double)icd_i_rng_below(&rng, 4);
        dense[a < b ? a : b][a < b ? b : a] += w;
        assert_ok(ctx, icd_i_edges_add(ctx, &e, (int32_t)a, (int32_t)b, w));
    }
    assert_true(e.capacity < MANY / 2);
    assert_ok(ctx, icd_i_edges_seal(ctx, &e));
    assert_int_equal(e.count, N * (N - 1) / 2);
    for (int64_t k = 0; k < e.count; k++)
        assert_true(e.edge[k].sum == dense[e.edge[k].i][e.edge[k].j]);
    icd_i_edges_release(ctx, &e);
}

/* A long stream of pairs with few different weights keeps the same as a sort would. */
static void test_pairs_keep_the_strongest(void **state)
{
    (void)state;
    enum { N = 300, KEEP = 5000 };
    icd_pairs p = {.keep = KEEP};
    int64_t above[8] = {0}, kept[8] = {0}, all = 0;
    icd_rng rng;
    icd_i_rng_init(&rng, 4, 0);
    for (int32_t i = 0; i < N; i++)
        for (int32_t j = i + 1; j < N; j++, all++) {
            int64_t v = 1 + icd_i_rng_below(&rng, 7);
            above[v]++;
            assert_ok(ctx, icd_i_pairs_add(ctx, &p, (icd_pair){i, j, (float)v}));
        }
    assert_true(p.capacity < 3 * KEEP);
    assert_ok(ctx, icd_i_pairs_trim(ctx, &p));
    assert_int_equal(p.count, KEEP);
    assert_int_equal(p.dropped, all - KEEP);
    for (int64_t k = 0; k < p.count; k++) kept[(int)p.item[k].weight]++;
    assert_int_equal(kept[7], KEEP); /* about 6400 of the highest weight */
    assert_true(above[7] > KEEP);
    icd_i_pairs_release(ctx, &p);
}

static void test_bad_traces(void **state)
{
    (void)state;
    static const char *const TEXT[] = {"", "{\"set\":[0,1]}\n{\"set\":[0,"};
    icd_graph_opts opts = test_opts(ICD_WEIGHT_JACCARD, ICD_NORM_SYM, 0);
    opts.d = 200;
    for (int k = 0; k < 2; k++) {
        const char *path = write_file("bad.jsonl", TEXT[k]);
        icd_csr *w = NULL, *mock = NULL;
        icd_csr_meta meta = {0};
        icd_mock_opts defaults;
        opts.on_bad_trace = ICD_BAD_ABORT;
        assert_fails(ctx, ICD_EDATA, "bad.jsonl",
                     icd_build_w_from_trace(ctx, path, &opts, &w, NULL));
        assert_null(w);
        opts.on_bad_trace = ICD_BAD_MOCK;
        warnings = 0;
        icd_ctx_on_warning(ctx, count_warning, NULL);
        assert_ok(ctx, icd_build_w_from_trace(ctx, path, &opts, &w, &meta));
        assert_int_equal(warnings, 1);
        assert_string_equal(icd_ctx_message(ctx), "");
        assert_string_equal(meta.source, "mock");
        icd_options_init(&icd_mock_table, &defaults);
        defaults.d = 200;
        assert_ok(ctx, icd_build_w_mock(ctx, &defaults, &mock, NULL));
        assert_true(test_same(w, mock));
        icd_csr_free(ctx, w);
        icd_csr_free(ctx, mock);
    }
}

static void test_a_missing_file_is_no_bad_trace(void **state)
{
    (void)state;
    icd_csr *w = NULL;
    icd_graph_opts opts = test_opts(0, 0, 0);
    opts.on_bad_trace = ICD_BAD_MOCK;
    assert_fails(
        ctx, ICD_EIO, "absent.icdt",
        icd_build_w_from_trace(ctx, icd_test_path("absent.icdt"), &opts, &w, NULL));
    assert_null(w);
}

static void test_unstated_size(void **state)
{
    (void)state;
    icd_csr *w = NULL;
    const char *path = write_file("unstated.csv", "0,1\n");
    assert_int_equal(icd_build_w_from_trace(ctx, path, NULL, &w, NULL), ICD_EINVAL);
    assert_null(w);
}

static icd_status stream_again(icd_ctx *c, void *arg)
{
    icd_csr *w = NULL;
    icd_graph_opts opts = test_opts(ICD_WEIGHT_JACCARD, ICD_NORM_SYM, 0);
    opts.d = 50;
    icd_status status = icd_build_w_from_trace(c, arg, &opts, &w, NULL);
    icd_csr_free(c, w);
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    const char *sets = write_file("f.jsonl", "{\"set\":[0,1,2]}\n{\"set\":[2,7]}\n");
    icd_test_failing_allocations(stream_again, (void *)(uintptr_t)sets);
    const char *pairs = write_file("f.csv", "0,1,2\n4,3,1\n");
    icd_test_failing_allocations(stream_again, (void *)(uintptr_t)pairs);
}

static void test_real_lines(void **state)
{
    (void)state;
    const char *lines = icd_test_shared("use-lite-ffn1.first500.jsonl");
    const char *matrix = icd_test_shared("use-lite-ffn1.access.npz");
    if (!lines || !matrix) skip_shared();
    icd_csr *streamed = NULL, *memory = NULL;
    icd_access *a = NULL;
    icd_graph_opts opts = test_opts(ICD_WEIGHT_JACCARD, ICD_NORM_SYM, 0);
    icd_trace_opts first = {.size = sizeof first, .limit = 500};
    opts.d = 1536;
    assert_ok(ctx, icd_build_w_from_trace(ctx, lines, &opts, &streamed, NULL));
    assert_ok(ctx, icd_access_read(ctx, matrix, &first, &a));
    assert_ok(ctx, icd_build_w(ctx, a, &opts, &memory, NULL));
    assert_true(test_same(streamed, memory));
    icd_csr_free(ctx, streamed);
    icd_csr_free(ctx, memory);
    icd_access_free(ctx, a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_equals_memory),
        cmocka_unit_test(test_large_index_space),
        cmocka_unit_test(test_pairs_are_summed),
        cmocka_unit_test(test_pairs_are_normalised),
        cmocka_unit_test(test_edges_against_dense),
        cmocka_unit_test(test_pairs_keep_the_strongest),
        cmocka_unit_test(test_bad_traces),
        cmocka_unit_test(test_a_missing_file_is_no_bad_trace),
        cmocka_unit_test(test_unstated_size),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_real_lines),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
