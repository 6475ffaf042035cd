#include "solver_support.h"

#include "solver/cascade.h"
#include "solver/coarsen.h"
#include "solver/settle.h"

enum { N = 12000, COMMUNITY = 50 };

/* Communities of COMMUNITY nodes under a shuffle: `degree` pairs a node, a share `noise`
 * of them anywhere. */
static icd_csr *communities(icd_ctx *ctx, int32_t n, int32_t degree, double noise,
                            uint64_t seed)
{
    icd_rng rng;
    icd_csr *w = NULL;
    int32_t *label = calloc((size_t)n, sizeof *label);
    int64_t pairs = (int64_t)n * degree, nnz = 0;
    int32_t *a = calloc((size_t)pairs, sizeof *a), *b = calloc((size_t)pairs, sizeof *b);
    int64_t *row = calloc((size_t)n + 2, sizeof *row);
    icd_i_rng_init(&rng, seed, 1);
    for (int32_t i = 0; i < n; ++i) label[i] = i;
    icd_i_rng_shuffle(&rng, label, n);
    for (int64_t k = 0; k < pairs; ++k) {
        int32_t i = (int32_t)(k / degree), j = (int32_t)icd_i_rng_below(&rng, n);
        if (icd_i_rng_unit(&rng) >= noise)
            j = i / COMMUNITY * COMMUNITY + (int32_t)icd_i_rng_below(&rng, COMMUNITY);
        if (j >= n) j = i;
        a[k] = label[i];
        b[k] = label[j];
        row[a[k] + 2]++;
        row[b[k] + 2]++;
    }
    for (int32_t i = 0; i < n; ++i) row[i + 2] += row[i + 1];
    int32_t *to = calloc((size_t)(2 * pairs), sizeof *to);
    for (int64_t k = 0; k < pairs; ++k) {
        to[row[a[k] + 1]++] = b[k];
        to[row[b[k] + 1]++] = a[k];
    }
    assert_ok(ctx, icd_csr_new(ctx, n, 2 * pairs, &w));
    uint8_t *seen = calloc((size_t)n, 1);
    for (int32_t i = 0; i < n; ++i) {
        int64_t begin = nnz;
        for (int64_t k = row[i]; k < row[i + 1]; ++k)
            if (to[k] != i && !seen[to[k]]++) w->col[nnz++] = to[k];
        for (int64_t k = begin; k < nnz; ++k) {
            w->val[k] = 1;
            seen[w->col[k]] = 0;
        }
        w->row_ptr[i + 1] = nnz;
    }
    w->nnz = nnz;
    free(label);
    free(a);
    free(b);
    free(row);
    free(to);
    free(seen);
    return w;
}

typedef struct graph {
    icd_ctx *ctx;
    icd_csr *w;
    icd_wgraph g;
    icd_budget budget;
} graph;

static void set_up(graph *t, int32_t n, int32_t threads)
{
    *t = (graph){.ctx = ctx_of_threads(threads)};
    t->budget.ctx = t->ctx;
    t->w = communities(t->ctx, n, 6, 0.2, 5);
    assert_ok(t->ctx, icd_i_wgraph_build(t->ctx, t->w, NULL, n, &t->g));
}

static void tear_down(graph *t)
{
    icd_i_wgraph_release(t->ctx, &t->g);
    icd_csr_free(t->ctx, t->w);
    icd_ctx_free(t->ctx);
}

/* Looking at neighbours in parallel gives the very same clusters. */
static void test_coarsen_wide(void **state)
{
    static const int32_t CAP[] = {2, 8, 64, 5000};
    graph t;
    icd_rng rng, same;
    (void)state;
    set_up(&t, N, 3);
    int32_t *one = calloc(N, sizeof *one), *two = calloc(N, sizeof *two), count = 0;
    icd_work work = {.size = 12 * N + 256};
    work.base = malloc(work.size);
    for (int i = 0; i < 4; ++i) {
        icd_i_rng_init(&rng, 4, 1);
        icd_i_rng_init(&same, 4, 1);
        int32_t want = icd_i_coarsen(&t.g, NULL, CAP[i], &rng, &work, one);
        assert_ok(t.ctx,
                  icd_i_coarsen_wide(t.ctx, &t.g, CAP[i], &same, &t.budget, two, &count));
        assert_true(want > 0 && want == count);
        assert_memory_equal(one, two, N * sizeof *one);
    }
    free(work.base);
    free(one);
    free(two);
    tear_down(&t);
}

/* Rows in parallel are those of icd_i_wgraph_contract, edge by edge. */
static void test_contract(void **state)
{
    graph t;
    icd_wgraph one, two;
    icd_rng rng;
    (void)state;
    set_up(&t, N, 3);
    int32_t *map = calloc(N, sizeof *map), groups = 700;
    icd_work work = {.size = icd_i_wgraph_bytes(N, t.g.ptr[N])};
    work.base = malloc(work.size);
    icd_i_rng_init(&rng, 2, 1);
    for (int32_t v = 0; v < N; ++v)
        map[v] = v < groups ? v : (int32_t)icd_i_rng_below(&rng, groups);
    assert_true(icd_i_wgraph_contract(&t.g, map, groups, &work, &one));
    assert_ok(t.ctx, icd_i_wgraph_contract_new(t.ctx, &t.g, map, groups, &two));
    assert_memory_equal(one.ptr, two.ptr, (size_t)(groups + 1) * sizeof *one.ptr);
    assert_memory_equal(one.size, two.size, (size_t)groups * sizeof *one.size);
    assert_memory_equal(one.edge, two.edge, (size_t)one.ptr[groups] * sizeof *one.edge);
    icd_i_wgraph_release(t.ctx, &two);
    free(work.base);
    free(map);
    tear_down(&t);
}

/* Renaming and back is the graph itself. */
static void test_rename(void **state)
{
    graph t;
    icd_wgraph there, back;
    icd_rng rng;
    (void)state;
    set_up(&t, N, 3);
    int32_t *order = calloc(N, sizeof *order), *inverse = calloc(N, sizeof *inverse);
    icd_i_rng_init(&rng, 8, 1);
    for (int32_t v = 0; v < N; ++v) order[v] = v;
    icd_i_rng_shuffle(&rng, order, N);
    for (int32_t i = 0; i < N; ++i) inverse[order[i]] = i;
    assert_ok(t.ctx, icd_i_wgraph_rename(t.ctx, &t.g, order, &there));
    assert_ok(t.ctx, icd_i_wgraph_rename(t.ctx, &there, inverse, &back));
    assert_memory_equal(back.ptr, t.g.ptr, (N + 1) * sizeof *back.ptr);
    assert_memory_equal(back.edge, t.g.edge, (size_t)t.g.ptr[N] * sizeof *back.edge);
    icd_i_wgraph_release(t.ctx, &there);
    icd_i_wgraph_release(t.ctx, &back);
    free(order);
    free(inverse);
    tear_down(&t);
}

/* Never a higher cut, never more than there is room for where there was less. */
static void test_settle(void **state)
{
    enum { PARTS = 20 };
    graph t;
    int32_t *part = calloc(N, sizeof *part), *same = calloc(N, sizeof *same);
    int64_t room[PARTS], taken[PARTS] = {0};
    (void)state;
    set_up(&t, N, 3);
    icd_ctx *one = ctx_of_threads(1);
    for (int32_t b = 0; b < PARTS; ++b) room[b] = N / PARTS + b;
    for (int32_t v = 0; v < N; ++v) part[v] = same[v] = v % PARTS;
    int64_t before = icd_i_wgraph_cut(&t.g, part);
    icd_settle_params params = {&t.budget, 5, PARTS, room};
    assert_ok(t.ctx, icd_i_settle(t.ctx, &t.g, &params, part));
    assert_ok(one, icd_i_settle(one, &t.g, &params, same));
    assert_memory_equal(part, same, N * sizeof *part);
    assert_true(icd_i_wgraph_cut(&t.g, part) < before);
    for (int32_t v = 0; v < N; ++v) taken[part[v]]++;
    for (int32_t b = 0; b < PARTS; ++b) assert_true(taken[b] <= room[b]);
    icd_ctx_free(one);
    free(part);
    free(same);
    tear_down(&t);
}

static double solve(graph *t, int32_t *order)
{
    icd_bounds blocks = {0}, reached = {0};
    icd_bisect_params bisect = {&t->budget, 2, 1, 25};
    int32_t n = t->g.n, *part = calloc((size_t)n, sizeof *part);
    assert_ok(t->ctx, icd_i_bounds_nest(t->ctx, NULL, n, 64, &blocks));
    icd_split_params params = {&blocks, &bisect, 1};
    assert_ok(t->ctx, icd_i_cascade(t->ctx, &t->g, &params, &reached, part, order));
    assert_non_null(reached.at);
    assert_int_equal(reached.at[reached.count], n);
    for (int32_t v = 0; v < n; ++v) assert_in_range(part[v], 0, reached.count - 1);
    for (int32_t k = 1; k < n; ++k) assert_true(part[order[k - 1]] <= part[order[k]]);
    assert_ok(t->ctx, icd_i_cascade_end(t->ctx, &t->g, &params, &reached, part, order));
    icd_i_bounds_release(t->ctx, &blocks);
    icd_i_bounds_release(t->ctx, &reached);
    free(part);
    return naive_cut(t->w, order, 64);
}

/* As good as bisection on the graph itself, within some percent; any thread count. */
static void test_cascade(void **state)
{
    graph t, alone;
    icd_bounds blocks = {0};
    (void)state;
    set_up(&t, N, 4);
    set_up(&alone, N, 1);
    icd_bisect_params bisect = {&t.budget, 2, 1, 25};
    int32_t *order = calloc(N, sizeof *order), *same = calloc(N, sizeof *same);
    double cut = solve(&t, order);
    assert_true(cut == solve(&alone, same));
    assert_memory_equal(order, same, N * sizeof *order);
    for (int32_t k = 0; k < N; ++k) same[k] = k;
    assert_ok(t.ctx, icd_i_bounds_nest(t.ctx, NULL, N, 64, &blocks));
    assert_ok(t.ctx, icd_i_split(t.ctx, &t.g, NULL, &blocks, &bisect, 1, same, NULL));
    double plain = naive_cut(t.w, same, 64);
    print_message("cut %.0f, without rungs %.0f\n", cut, plain);
    assert_true(cut < 1.05 * plain);
    icd_i_bounds_release(t.ctx, &blocks);
    free(order);
    free(same);
    tear_down(&alone);
    tear_down(&t);
}

/* A ring with five neighbours to each side: quick enough to fail at every allocation. */
static icd_csr *band(icd_ctx *ctx, int32_t n)
{
    enum { REACH = 5 };
    icd_csr *w = NULL;
    int64_t nnz = 0;
    assert_ok(ctx, icd_csr_new(ctx, n, (int64_t)2 * REACH * n, &w));
    for (int32_t i = 0; i < n; ++i) {
        for (int32_t k = 0; k <= 2 * REACH; ++k)
            if (k != REACH) w->col[nnz++] = (i + k - REACH + n) % n;
        w->row_ptr[i + 1] = nnz;
    }
    for (int64_t k = 0; k < nnz; ++k) w->val[k] = 1;
    return w;
}

static icd_status cascade_only(icd_ctx *ctx, void *arg)
{
    const icd_wgraph *g = arg;
    icd_status status;
    icd_budget budget = {.ctx = ctx};
    icd_bounds blocks = {0}, reached = {0};
    icd_bisect_params bisect = {&budget, 1, 1, 5};
    icd_split_params params = {&blocks, &bisect, 1};
    int32_t *part = NULL, *order = NULL;
    ICD_TRY(icd_i_bounds_nest(ctx, NULL, g->n, 16, &blocks));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &part));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &order));
    ICD_TRY(icd_i_cascade(ctx, g, &params, &reached, part, order));
    ICD_TRY(icd_i_cascade_end(ctx, g, &params, &reached, part, order));
done:
    icd_i_bounds_release(ctx, &blocks);
    icd_i_bounds_release(ctx, &reached);
    icd_i_free(ctx, part);
    icd_i_free(ctx, order);
    return status;
}

static void test_failing_allocations(void **state)
{
    graph t = {.ctx = ctx_of_threads(1)};
    (void)state;
    t.w = band(t.ctx, 8300);
    assert_ok(t.ctx, icd_i_wgraph_build(t.ctx, t.w, NULL, 8300, &t.g));
    icd_test_failing_allocations(cascade_only, &t.g);
    tear_down(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_coarsen_wide), cmocka_unit_test(test_contract),
        cmocka_unit_test(test_rename),       cmocka_unit_test(test_settle),
        cmocka_unit_test(test_cascade),      cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
