#include "hyper_support.h"

#include "solver/hyper_pack.h"

#include <string.h>

enum { N = 50, G = 4, KINDS = 5 };

typedef struct fixture {
    icd_ctx *ctx;
    icd_access *sets;
    int32_t order[N], before[N];
    uint8_t frozen[N], settled[N];
    int64_t granules;
} fixture;

/* Indices of KINDS kinds: i lies in the events whose bit is set in its kind + 1. */
static void setup(fixture *f)
{
    memset(f, 0, sizeof *f);
    f->ctx = icd_ctx_new(NULL);
    assert_non_null(f->ctx);
    f->sets = random_sets(f->ctx, N, 3, 1, 0, 0, false, 1);
    for (int e = 0; e < 3; ++e) {
        int64_t count = f->sets->event_ptr[e];
        for (int32_t i = 0; i < N; ++i)
            if ((i % KINDS + 1) >> e & 1) f->sets->index[count++] = i;
        f->sets->event_ptr[e + 1] = count;
    }
    shuffled(f->order, N, 3);
    memcpy(f->before, f->order, sizeof f->order);
}

static void teardown(fixture *f)
{
    icd_access_free(f->ctx, f->sets);
    icd_ctx_free(f->ctx);
}

static void assert_each_once(const int32_t *order)
{
    bool seen[N] = {false};
    for (int k = 0; k < N; ++k) {
        assert_in_range(order[k], 0, N - 1);
        assert_false(seen[order[k]]);
        seen[order[k]] = true;
    }
}

static void pack(fixture *f, const uint8_t *frozen)
{
    assert_ok(f->ctx, icd_i_hyper_pack(f->ctx, f->sets, G, frozen, f->order, f->settled,
                                       &f->granules));
    assert_each_once(f->order);
}

/* Every settled index that is not frozen shares its granule with equals. */
static int64_t count_settled(const fixture *f)
{
    int64_t count = 0;
    for (int k = 0; k < N; ++k) {
        if (!f->settled[f->order[k]] || f->frozen[f->order[k]]) continue;
        assert_int_equal(f->order[k] % KINDS, f->order[k / G * G] % KINDS);
        count++;
    }
    return count;
}

static void test_granules_of_equals(void **state)
{
    fixture f;
    (void)state;
    setup(&f);
    pack(&f, NULL);
    assert_int_equal(f.granules, KINDS * (N / KINDS / G));
    assert_int_equal(count_settled(&f), f.granules * G);
    teardown(&f);
}

/* Those left over follow one another as before. */
static void test_rest_keeps_its_order(void **state)
{
    fixture f;
    int64_t next = 0;
    (void)state;
    setup(&f);
    pack(&f, NULL);
    for (int k = 0; k < N; ++k) {
        if (f.settled[f.order[k]]) continue;
        while (f.settled[f.before[next]]) ++next;
        assert_int_equal(f.order[k], f.before[next++]);
    }
    teardown(&f);
}

static void test_frozen_stay(void **state)
{
    fixture f;
    (void)state;
    setup(&f);
    for (int i = 0; i < N; i += 9) f.frozen[i] = 1;
    pack(&f, f.frozen);
    assert_true(f.granules > 0);
    assert_int_equal(count_settled(&f), f.granules * G);
    for (int k = 0; k < N; ++k)
        if (f.frozen[f.before[k]]) assert_int_equal(f.order[k], f.before[k]);
    teardown(&f);
}

static void test_no_equals(void **state)
{
    fixture f;
    (void)state;
    setup(&f);
    icd_access *sets = random_sets(f.ctx, N, 60, 1, .5, .5, false, 1);
    assert_ok(f.ctx,
              icd_i_hyper_pack(f.ctx, sets, G, NULL, f.order, f.settled, &f.granules));
    assert_int_equal(f.granules, 0);
    assert_memory_equal(f.order, f.before, sizeof f.order);
    icd_access_free(f.ctx, sets);
    teardown(&f);
}

/* Equals fill their granules and two kinds share the last: no order touches fewer. */
static void test_refinement_meets_the_bound(void **state)
{
    fixture f;
    (void)state;
    setup(&f);
    icd_hyper_params p = {.granule = G, .effort = ICD_EFFORT_LOW, .refine_steps = 100};
    assert_ok(f.ctx, icd_i_hyper_refine(f.ctx, f.sets, &p, f.order, NULL));
    double least = 0;
    for (int e = 0; e < 3; ++e)
        least += (double)((f.sets->event_ptr[e + 1] - f.sets->event_ptr[e] + G - 1) / G);
    assert_true(touched(f.ctx, f.sets, G, f.order) <= least + 1);
    teardown(&f);
}

static icd_status pack_small(icd_ctx *ctx, void *arg)
{
    int64_t ptr[] = {0, 4}, granules;
    int32_t index[] = {0, 2, 4, 6}, order[] = {0, 1, 2, 3, 4, 5, 6, 7};
    uint8_t settled[8];
    icd_access a = {.n = 8, .events = 1, .event_ptr = ptr, .index = index};
    (void)arg;
    return icd_i_hyper_pack(ctx, &a, 2, NULL, order, settled, &granules);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(pack_small, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_granules_of_equals),
        cmocka_unit_test(test_rest_keeps_its_order),
        cmocka_unit_test(test_frozen_stay),
        cmocka_unit_test(test_no_equals),
        cmocka_unit_test(test_refinement_meets_the_bound),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
