#include "solver_support.h"

#include "solver/improve.h"

/* A graph, blocks of it, and the order to better: what icd_i_improve takes. */
typedef struct setting {
    icd_ctx *ctx;
    icd_csr *w;
    icd_wgraph g;
    icd_bounds blocks, zones;
    icd_budget budget;
    icd_improve_params params;
    int32_t *order, *hidden;
} setting;

static void setting_init(setting *s, int64_t n, int64_t groups, int32_t granule,
                         double seconds)
{
    icd_rng rng;
    memset(s, 0, sizeof *s);
    s->ctx = ctx_of_threads(1);
    s->order = calloc((size_t)n, sizeof *s->order);
    s->hidden = calloc((size_t)n, sizeof *s->hidden);
    s->w = planted_graph(s->ctx, n, groups, 0.5, 0.01, 21, s->hidden);
    assert_ok(s->ctx, icd_i_wgraph_build(s->ctx, s->w, NULL, (int32_t)n, &s->g));
    assert_ok(s->ctx, icd_i_bounds_nest(s->ctx, NULL, (int32_t)n, granule, &s->blocks));
    icd_i_rng_init(&rng, 17, 1);
    for (int32_t i = 0; i < n; ++i) s->order[i] = i;
    icd_i_rng_shuffle(&rng, s->order, n);
    double now = icd_i_now();
    s->budget.ctx = s->ctx;
    s->params = (icd_improve_params){.blocks = &s->blocks,
                                     .budget = &s->budget,
                                     .begin = now,
                                     .end = now + seconds,
                                     .until = now + seconds,
                                     .seed = 3};
}

static void setting_release(setting *s)
{
    icd_i_wgraph_release(s->ctx, &s->g);
    icd_i_bounds_release(s->ctx, &s->blocks);
    icd_i_bounds_release(s->ctx, &s->zones);
    icd_csr_free(s->ctx, s->w);
    icd_ctx_free(s->ctx);
    free(s->order);
    free(s->hidden);
}

static void improve(setting *s)
{
    int64_t passes = 0;
    assert_ok(s->ctx, icd_i_improve(s->ctx, &s->g, &s->params, s->order, &passes));
}

static void assert_order(const setting *s)
{
    uint8_t *seen = calloc((size_t)s->g.n, 1);
    for (int32_t k = 0; k < s->g.n; ++k) {
        assert_in_range(s->order[k], 0, s->g.n - 1);
        assert_int_equal(seen[s->order[k]]++, 0);
    }
    free(seen);
}

/* From a random order to the hidden one: no weight between granules is left but noise. */
static void test_whole(void **state)
{
    setting s;
    (void)state;
    setting_init(&s, 192, 12, 16, 0.2);
    improve(&s);
    assert_order(&s);
    double planted = 0, found = naive_cut(s.w, s.order, 16);
    for (int64_t i = 0; i < s.w->n; ++i)
        for (int64_t k = s.w->row_ptr[i]; k < s.w->row_ptr[i + 1]; ++k)
            if (s.hidden[i] != s.hidden[s.w->col[k]]) planted += (double)s.w->val[k] / 2;
    assert_true(found <= planted * (1 + 1e-6));
    setting_release(&s);
}

/* Where the table of a whole graph is too large, windows are searched one by one. */
static void test_windows(void **state)
{
    enum { N = 4800, GRANULE = 16 };
    setting s;
    (void)state;
    setting_init(&s, N, N / GRANULE, GRANULE, 0.3);
    double before = naive_cut(s.w, s.order, GRANULE);
    improve(&s);
    assert_order(&s);
    assert_true(naive_cut(s.w, s.order, GRANULE) < 0.99 * before);
    setting_release(&s);
}

/* What may not move does not, and nothing leaves its zone. */
static void test_frozen_and_zones(void **state)
{
    enum { N = 192 };
    setting s;
    uint8_t frozen[N] = {0};
    int32_t before[N], zone[N];
    (void)state;
    setting_init(&s, N, 12, 16, 0.05);
    assert_ok(s.ctx, icd_i_bounds_nest(s.ctx, NULL, N, 64, &s.zones));
    for (int32_t v = 0; v < N; v += 5) frozen[v] = 1;
    s.params.frozen = frozen;
    s.params.zones = &s.zones;
    memcpy(before, s.order, sizeof before);
    improve(&s);
    assert_order(&s);
    for (int32_t k = 0; k < N; ++k) zone[before[k]] = k / 64;
    for (int32_t k = 0; k < N; ++k) {
        assert_int_equal(zone[s.order[k]], k / 64);
        if (frozen[before[k]]) assert_int_equal(s.order[k], before[k]);
    }
    setting_release(&s);
}

/* Once nothing is left to gain the search ends, hours before its time. */
static void test_enough(void **state)
{
    setting s;
    (void)state;
    setting_init(&s, 96, 6, 16, 7200);
    for (int64_t i = 0; i < s.w->n; ++i)
        for (int64_t k = s.w->row_ptr[i]; k < s.w->row_ptr[i + 1]; ++k)
            s.w->val[k] = s.hidden[i] == s.hidden[s.w->col[k]] ? 1.0f : 1e-9f;
    icd_i_wgraph_release(s.ctx, &s.g);
    assert_ok(s.ctx, icd_i_wgraph_build(s.ctx, s.w, NULL, 96, &s.g));
    s.params.enough = 1e-6;
    improve(&s);
    assert_true(naive_cut(s.w, s.order, 16) < 1e-3);
    setting_release(&s);
}

typedef struct audience {
    icd_ctx *ctx;
    int calls, cancel_at;
    int64_t done;
} audience;

static void listen(void *user, const char *stage, int64_t done, int64_t total)
{
    audience *a = user;
    if (strncmp(stage, "anneal: cut ", 12)) return;
    assert_true(done >= a->done && total > 0 && done <= total + 1000);
    a->done = done;
    if (++a->calls == a->cancel_at) icd_ctx_cancel(a->ctx);
}

/* Says how far it is while it goes on, and ends where it is told to: hours early. */
static void test_progress_and_cancel(void **state)
{
    setting s;
    audience a = {.cancel_at = 40};
    int64_t passes = 0;
    (void)state;
    setting_init(&s, 320, 20, 16, 7200);
    a.ctx = s.ctx;
    icd_ctx_on_progress(s.ctx, listen, &a);
    icd_i_improve(s.ctx, &s.g, &s.params, s.order, &passes);
    assert_true(a.calls >= a.cancel_at);
    assert_true(icd_i_cancelled(s.ctx));
    assert_order(&s);
    setting_release(&s);
}

static icd_status improve_once(icd_ctx *ctx, void *arg)
{
    setting *s = arg;
    int32_t order[96];
    int64_t passes = 0;
    icd_budget budget = {.ctx = ctx};
    icd_improve_params params = s->params;
    params.budget = &budget;
    params.until = params.end = icd_i_now() + 0.001;
    for (int32_t i = 0; i < 96; ++i) order[i] = i;
    return icd_i_improve(ctx, &s->g, &params, order, &passes);
}

static void test_failing_allocations(void **state)
{
    setting s;
    (void)state;
    setting_init(&s, 96, 6, 16, 1);
    icd_test_failing_allocations(improve_once, &s);
    setting_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_frozen_and_zones),
        cmocka_unit_test(test_enough),
        cmocka_unit_test(test_progress_and_cancel),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
