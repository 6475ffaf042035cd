#include "solver_support.h"

#include "base/json.h"
#include "base/rng.h"
#include "solver/laplacian.h"
#include "solver/lobpcg.h"
#include "solver/multigrid.h"

static double rayleigh(icd_ctx *ctx, const icd_csr *w, const double *x)
{
    icd_laplacian l = {0};
    double *y = calloc((size_t)w->n, sizeof *y);
    assert_ok(ctx, icd_i_laplacian_init(ctx, w, NULL, false, NULL, &l));
    icd_i_laplacian_apply(ctx, &l, x, y);
    double q = icd_i_dot(l.n, x, NULL, y) / icd_i_dot(l.n, x, NULL, x);
    icd_i_laplacian_release(ctx, &l);
    free(y);
    return q;
}

static icd_csr *mesh(icd_ctx *ctx, int32_t rows, int32_t cols)
{
    icd_csr *w = NULL;
    int64_t nnz = 0, edges = (int64_t)rows * (cols - 1) + (int64_t)cols * (rows - 1);
    assert_ok(ctx, icd_csr_new(ctx, (int64_t)rows * cols, 2 * edges, &w));
    for (int32_t i = 0; i < rows * cols; ++i) {
        if (i >= cols) w->col[nnz++] = i - cols;
        if (i % cols) w->col[nnz++] = i - 1;
        if ((i + 1) % cols) w->col[nnz++] = i + 1;
        if (i + cols < rows * cols) w->col[nnz++] = i + cols;
        w->row_ptr[i + 1] = nnz;
    }
    for (int64_t k = 0; k < nnz; ++k) w->val[k] = 1;
    return w;
}

/* lambda_2 of a long mesh is that of a path of its longer side: 4 sin^2(pi / 2 cols). */
static void test_long_mesh(void **state)
{
    static const int32_t SHAPE[][2] = {{1, 100}, {4, 300}, {8, 1024}};
    icd_ctx *ctx = ctx_of_threads(2);
    (void)state;
    for (int i = 0; i < 3; ++i) {
        icd_csr *w = mesh(ctx, SHAPE[i][0], SHAPE[i][1]);
        double *x = calloc((size_t)w->n, sizeof *x), value = 0;
        double s = sin(3.14159265358979323846 / 2 / SHAPE[i][1]), exact = 4 * s * s;
        assert_ok(ctx, icd_fiedler(ctx, w, false, x, &value));
        assert_true(value >= exact * (1 - 1e-9) && value <= exact * 1.01);
        assert_true(fabs(rayleigh(ctx, w, x) - value) <= 1e-6 * value);
        assert_true(fabs(icd_i_dot((int32_t)w->n, x, NULL, x) - 1) < 1e-9);
        free(x);
        icd_csr_free(ctx, w);
    }
    icd_ctx_free(ctx);
}

static icd_csr *graph_of_json(icd_ctx *ctx, const json_t *c)
{
    int64_t n = json_integer_value(json_object_get(c, "n"));
    const json_t *i = json_object_get(c, "i"), *j = json_object_get(c, "j");
    float *a = calloc((size_t)(n * n), sizeof *a);
    for (size_t k = 0; k < json_array_size(i); ++k) {
        int64_t p = json_integer_value(json_array_get(i, k));
        int64_t q = json_integer_value(json_array_get(j, k));
        double w = json_number_value(json_array_get(json_object_get(c, "w"), k));
        a[p * n + q] = a[q * n + p] = (float)w;
    }
    icd_csr *w = csr_of_dense(ctx, a, n);
    free(a);
    return w;
}

static void compare(icd_ctx *ctx, const icd_csr *w, const json_t *c, bool normalized)
{
    const char *name = normalized ? "normalized" : "plain";
    const json_t *want =
        json_object_get(c, normalized ? "normalized_vector" : "plain_vector");
    double exact = json_number_value(json_object_get(c, name)), value = 0, dot = 0;
    double *x = calloc((size_t)w->n, sizeof *x);
    assert_ok(ctx, icd_fiedler(ctx, w, normalized, x, &value));
    for (int64_t i = 0; i < w->n; ++i)
        dot += x[i] * json_number_value(json_array_get(want, (size_t)i));
    print_message("n %d %s: value off by %.1e, vector by %.1e\n", (int)w->n, name,
                  fabs(value - exact) / exact, fabs(1 - dot));
    assert_true(fabs(value - exact) <= 1e-6 * exact);
    assert_true(dot > 1 - 1e-5);
    free(x);
}

static void test_scipy(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    json_t *cases = NULL;
    (void)state;
    assert_ok(ctx, icd_i_json_read(ctx, ICD_TEST_DATA "/fiedler_oracle.json", &cases));
    for (size_t i = 0; i < json_array_size(cases); ++i) {
        const json_t *c = json_array_get(cases, i);
        icd_csr *w = graph_of_json(ctx, c);
        compare(ctx, w, c, false);
        compare(ctx, w, c, true);
        icd_csr_free(ctx, w);
    }
    json_decref(cases);
    icd_ctx_free(ctx);
}

/* Eigenvalues of a ring with random chords lie close above lambda_2: without gap, the
 * Rayleigh quotient must still be that of the bottom of the spectrum. The reference is
 * the same iteration, ten times as long, without the grids. */
static void test_expander(void **state)
{
    enum { N = 1500 };
    icd_ctx *ctx = ctx_of_threads(1);
    icd_laplacian l = {0};
    icd_rng rng;
    float *a = calloc((size_t)N * N, sizeof *a);
    double x[N], y[N], value = 0, want = 0;
    (void)state;
    icd_i_rng_init(&rng, 3, 1);
    for (int i = 0; i < N; ++i) {
        int j = (i + 1) % N, k = (int)icd_i_rng_below(&rng, N);
        a[i * N + j] = a[j * N + i] = 1;
        if (k != i) a[i * N + k] = a[k * N + i] = 1;
    }
    icd_csr *w = csr_of_dense(ctx, a, N);
    assert_ok(ctx, icd_fiedler(ctx, w, false, x, &value));
    assert_ok(ctx, icd_i_laplacian_init(ctx, w, NULL, false, NULL, &l));
    icd_lobpcg_params params = {10000, 1e-12, NULL};
    for (int i = 0; i < N; ++i) y[i] = icd_i_rng_unit(&rng);
    assert_ok(ctx, icd_i_lobpcg(ctx, &l, &params, y, &want));
    assert_true(fabs(value - want) <= 1e-6 * want);
    icd_i_laplacian_release(ctx, &l);
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
    free(a);
}

/* T is symmetric and positive, on the finest grid and above. */
static void test_precondition(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    icd_csr *w = mesh(ctx, 9, 31);
    icd_wgraph g = {0};
    icd_multigrid m;
    icd_rng rng;
    double mass[9 * 31], r[9 * 31], s[9 * 31], tr[9 * 31], ts[9 * 31];
    (void)state;
    icd_i_rng_init(&rng, 1, 1);
    for (int i = 0; i < 9 * 31; ++i) {
        mass[i] = 1;
        r[i] = icd_i_rng_unit(&rng) - 0.5;
        s[i] = icd_i_rng_unit(&rng) - 0.5;
    }
    assert_ok(ctx, icd_i_wgraph_build(ctx, w, NULL, (int32_t)w->n, &g));
    assert_ok(ctx, icd_i_multigrid_init(ctx, &g, mass, &m));
    assert_true(m.depth > 3);
    for (int32_t level = 0; level <= m.depth; ++level) {
        int32_t n = m.grid[level].g.n;
        icd_i_multigrid_precondition(&m, level, r, tr);
        icd_i_multigrid_precondition(&m, level, s, ts);
        double a = icd_i_dot(n, s, NULL, tr), b = icd_i_dot(n, r, NULL, ts);
        assert_true(fabs(a - b) <= 1e-12 * (fabs(a) + icd_i_dot(n, r, NULL, tr)));
        assert_true(icd_i_dot(n, r, NULL, tr) > 0);
        double total = 0;
        for (int32_t v = 0; v < n; ++v) total += m.grid[level].l.mass[v];
        assert_true(total == 9 * 31);
    }
    icd_i_multigrid_release(&m);
    icd_i_wgraph_release(ctx, &g);
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

static void test_disconnected(void **state)
{
    float a[25] = {0};
    double x[5], value = 1;
    icd_ctx *ctx = ctx_of_threads(1);
    (void)state;
    a[1] = a[5] = 2;
    a[2 * 5 + 3] = a[3 * 5 + 2] = 1;
    icd_csr *w = csr_of_dense(ctx, a, 5);
    for (int normalized = 0; normalized < 2; ++normalized) {
        assert_ok(ctx, icd_fiedler(ctx, w, normalized, x, &value));
        assert_true(value == 0 && x[0] > 0 && x[1] > 0 && x[2] < 0 && x[3] < 0 &&
                    x[4] < 0);
    }
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

static void test_two_and_fewer(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    double x[2], value = 0;
    (void)state;
    icd_csr *w = path_graph(ctx, 2, false);
    assert_ok(ctx, icd_fiedler(ctx, w, false, x, &value));
    assert_true(fabs(value - 2) < 1e-12 && fabs(x[0] + x[1]) < 1e-12 && x[0] > 0);
    icd_csr_free(ctx, w);
    assert_ok(ctx, icd_csr_new(ctx, 1, 0, &w));
    assert_fails(ctx, ICD_EINVAL, "2 or more", icd_fiedler(ctx, w, false, x, &value));
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

static void test_same_bits(void **state)
{
    icd_ctx *one = ctx_of_threads(1), *four = ctx_of_threads(4);
    icd_csr *w = mesh(one, 40, 900);
    double *x = calloc((size_t)w->n, sizeof *x), *y = calloc((size_t)w->n, sizeof *y), a,
           b;
    (void)state;
    assert_ok(one, icd_fiedler(one, w, true, x, &a));
    assert_ok(four, icd_fiedler(four, w, true, y, &b));
    assert_memory_equal(x, y, (size_t)w->n * sizeof *x);
    assert_true(a == b);
    free(x);
    free(y);
    icd_csr_free(one, w);
    icd_ctx_free(one);
    icd_ctx_free(four);
}

static icd_status fiedler_of(icd_ctx *ctx, void *arg)
{
    double x[120], value;
    return icd_fiedler(ctx, arg, true, x, &value);
}

static void test_failing_allocations(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    icd_csr *w = mesh(ctx, 8, 15);
    (void)state;
    icd_test_failing_allocations(fiedler_of, w);
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_mesh),    cmocka_unit_test(test_scipy),
        cmocka_unit_test(test_expander),     cmocka_unit_test(test_precondition),
        cmocka_unit_test(test_disconnected), cmocka_unit_test(test_two_and_fewer),
        cmocka_unit_test(test_same_bits),    cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
