#include "fixture.h"

#include "base/rng.h"
#include "core/layout.h"

#include <math.h>
#include <string.h>

static icd_mask *random_mask(int64_t rows, int64_t cols, int32_t vector, uint64_t seed)
{
    icd_rng rng;
    icd_mask *mask = NULL;
    icd_i_rng_init(&rng, seed, 0);
    assert_ok(ctx, icd_i_mask_new(ctx, rows, cols, vector, &mask));
    for (int64_t b = 0; b < mask->blocks; b++)
        for (int64_t c = 0; c < cols; c++)
            if (icd_i_rng_unit(&rng) < .3) icd_i_mask_set(mask, b, c);
    return mask;
}

/* Row r survives in column c exactly where the mask says so for its block. */
static bool alive(const icd_mask *m, int64_t row, int64_t col)
{
    return icd_i_mask_get(m, row / m->vector, col);
}

static void density_counts_rows_of_a_short_block(void **state)
{
    icd_mask *m = random_mask(10, 70, 4, 1);
    double count = 0;
    (void)state;
    for (int64_t r = 0; r < 10; r++)
        for (int64_t c = 0; c < 70; c++) count += alive(m, r, c);
    assert_near(icd_i_mask_density(m), count / 700, 1e-12);
    icd_i_mask_free(ctx, m);
}

static void coarse_block_lives_where_any_row_does(void **state)
{
    static const int32_t FINE[] = {1, 3, 4, 8}, COARSE[] = {2, 4, 5, 16};
    (void)state;
    for (int f = 0; f < 4; f++)
        for (int k = 0; k < 4; k++) {
            icd_mask *m = random_mask(21, 67, FINE[f], 7 + (uint64_t)f), *coarse = NULL;
            assert_ok(ctx, icd_i_mask_coarsen(ctx, m, COARSE[k], &coarse));
            for (int64_t b = 0; b < coarse->blocks; b++)
                for (int64_t c = 0; c < 67; c++) {
                    bool any = false;
                    for (int64_t r = b * COARSE[k]; r < (b + 1) * COARSE[k] && r < 21;
                         r++)
                        any |= alive(m, r, c);
                    assert_int_equal(icd_i_mask_get(coarse, b, c), any);
                }
            icd_i_mask_free(ctx, coarse);
            icd_i_mask_free(ctx, m);
        }
}

static void access_sets_are_the_surviving_columns(void **state)
{
    icd_mask *a = random_mask(16, 100, 8, 3), *b = random_mask(24, 100, 8, 4);
    const icd_mask *both[] = {a, b};
    icd_access *sets = NULL;
    (void)state;
    assert_ok(ctx, icd_i_mask_access(ctx, both, 2, 77, "group", &sets));
    assert_ok(ctx, icd_access_check(ctx, sets, "mask"));
    assert_int_equal(sets->events, 5);
    assert_int_equal(sets->frame, 77);
    for (int64_t e = 0; e < 5; e++) {
        const icd_mask *m = e < 2 ? a : b;
        int64_t k = sets->event_ptr[e];
        for (int64_t c = 0; c < 100; c++)
            if (icd_i_mask_get(m, e < 2 ? e : e - 2, c))
                assert_int_equal(sets->index[k++], c);
        assert_int_equal(k, sets->event_ptr[e + 1]);
    }
    icd_access_free(ctx, sets);
    icd_i_mask_free(ctx, a);
    icd_i_mask_free(ctx, b);
}

static void groups_of_different_width_are_refused(void **state)
{
    icd_mask *a = random_mask(16, 100, 8, 3), *b = random_mask(24, 99, 8, 4);
    const icd_mask *both[] = {a, b};
    icd_access *sets = NULL;
    (void)state;
    assert_fails(ctx, ICD_EINVAL, "columns",
                 icd_i_mask_access(ctx, both, 2, 0, "g", &sets));
    assert_null(sets);
    icd_i_mask_free(ctx, a);
    icd_i_mask_free(ctx, b);
}

/* Live granules by definition, under a random order. */
static void live_granules_match_the_definition(void **state)
{
    icd_layout *layout = NULL;
    icd_rng rng;
    int32_t order[50];
    icd_live live;
    (void)state;
    icd_i_rng_init(&rng, 11, 0);
    for (int i = 0; i < 50; i++) order[i] = i;
    icd_i_rng_shuffle(&rng, order, 50);
    assert_ok(ctx, icd_i_layout_new(ctx, &layout));
    assert_ok(ctx, icd_i_layout_add(ctx, layout, "down", "down", 30, 50));
    icd_layout_entry *e = icd_i_layout_get(layout, "down");
    e->mask = random_mask(30, 50, 10, 12);
    assert_ok(ctx, icd_perm_from_array(ctx, order, 50, 0, "test", &e->order));
    for (int32_t g = 1; g <= 16; g *= 2) {
        int64_t expected = 0;
        for (int64_t b = 0; b < 3; b++)
            for (int64_t k = 0; k < 50; k += g) {
                bool any = false;
                for (int64_t s = k; s < k + g && s < 50; s++)
                    any |= icd_i_mask_get(e->mask, b, order[s]);
                expected += any;
            }
        assert_ok(ctx, icd_i_layout_live(ctx, e, 10, g, &live));
        assert_int_equal(live.live, expected);
        assert_int_equal(live.all, 3 * ((50 + g - 1) / g));
    }
    icd_i_layout_free(ctx, layout);
}

static icd_status copy_all(icd_ctx *c, void *arg)
{
    icd_status status = ICD_OK;
    icd_layout *layout = NULL, *copy = NULL;
    icd_perm *identity = NULL;
    (void)arg;
    ICD_TRY(icd_i_layout_new(c, &layout));
    ICD_TRY(icd_i_layout_add(c, layout, "q", "qkv", 8, 8));
    ICD_TRY(icd_i_layout_add(c, layout, "k", "qkv", 8, 8));
    ICD_TRY(icd_i_mask_new(c, 8, 8, 4, &layout->entry[0].mask));
    ICD_TRY(icd_perm_identity(c, 8, 5, &identity));
    ICD_TRY(icd_i_layout_set_order(c, layout, "qkv", identity));
    ICD_TRY(icd_i_layout_copy(c, layout, &copy));
    assert_int_equal(copy->count, 2);
    assert_int_equal(icd_i_layout_get(copy, "k")->order->from, 5);
    assert_ptr_not_equal(copy->entry[0].mask, layout->entry[0].mask);
    assert_null(icd_i_layout_get(copy, "v"));
done:
    icd_perm_free(c, identity);
    icd_i_layout_free(c, layout);
    icd_i_layout_free(c, copy);
    return status;
}

/* A permutation whose last slots are the outliers; whole granules without any stay
   whole. */
static void outliers_go_to_the_end(void **state)
{
    enum { N = 48, G = 8 };
    int32_t list[] = {3, 5, 17, 40, 47};
    icd_quantized q = {.cols = N, .outliers = 5, .outlier = list};
    (void)state;
    icd_rng rng;
    icd_i_rng_init(&rng, 4, 0);
    for (int turn = 0; turn < 20; turn++) {
        icd_perm *start = NULL, *end = NULL;
        assert_ok(ctx, icd_perm_identity(ctx, N, 5, &start));
        if (turn) icd_i_rng_shuffle(&rng, start->old_of_new, N);
        assert_ok(ctx, icd_i_order_outliers_last(ctx, turn ? start : NULL, 5, &q,
                                                 turn % 2 ? G : 7, &end));
        assert_int_equal(end->from, 5);
        assert_memory_equal(end->old_of_new + N - 5, list, sizeof list);
        icd_perm_free(ctx, start);
        icd_perm_free(ctx, end);
    }
}

static icd_status order_once(icd_ctx *c, void *arg)
{
    int32_t list[] = {1, 6};
    icd_quantized q = {.cols = 8, .outliers = 2, .outlier = list};
    icd_perm *end = NULL;
    (void)arg;
    icd_status status = icd_i_order_outliers_last(c, NULL, 5, &q, 4, &end);
    icd_perm_free(c, end);
    return status;
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(copy_all, NULL);
    icd_test_failing_allocations(order_once, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(density_counts_rows_of_a_short_block),
        cmocka_unit_test(coarse_block_lives_where_any_row_does),
        cmocka_unit_test(access_sets_are_the_surviving_columns),
        cmocka_unit_test(groups_of_different_width_are_refused),
        cmocka_unit_test(live_granules_match_the_definition),
        cmocka_unit_test(outliers_go_to_the_end),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
