#include "fixture.h"

#include "base/rng.h"
#include "core/plan.h"

#include <string.h>

static char NAME[] = "layer.0.ffn.up";

/* 32 x 10; block 0 keeps columns 1 and 8, block 1 columns 0..4; order: reversed. */
static icd_layout_entry make_entry(int32_t kernel, int32_t granule)
{
    icd_layout_entry e = {
        .linear = NAME, .rows = 32, .cols = 10, .kernel = kernel, .granule = granule};
    assert_ok(ctx, icd_i_mask_new(ctx, 32, 10, 16, &e.mask));
    icd_i_mask_set(e.mask, 0, 1);
    icd_i_mask_set(e.mask, 0, 8);
    for (int64_t c = 0; c < 5; c++) icd_i_mask_set(e.mask, 1, c);
    assert_ok(ctx, icd_perm_identity(ctx, 10, 0, &e.order));
    for (int32_t s = 0; s < 10; s++) e.order->old_of_new[s] = 9 - s;
    return e;
}

static void release(icd_layout_entry *e)
{
    icd_i_mask_free(ctx, e->mask);
    icd_perm_free(ctx, e->order);
}

static void check(int32_t kernel, int32_t granule, int64_t slots, const int32_t *live,
                  int64_t count, const int64_t *ptr)
{
    icd_layout_entry e = make_entry(kernel, granule);
    icd_plan *plan = NULL;
    assert_ok(ctx, icd_i_plan_new(ctx, &e, 16, &plan));
    assert_int_equal(plan->slots, slots);
    assert_int_equal(plan->blocks, 2);
    assert_memory_equal(plan->block_ptr, ptr, 3 * sizeof *ptr);
    assert_memory_equal(plan->live, live, (size_t)count * sizeof *live);
    for (int64_t s = 0; s < slots; s++)
        assert_int_equal(plan->old_of_new[s], s < 10 ? 9 - s : -1);
    icd_i_plan_free(ctx, plan);
    release(&e);
}

/* Slots of block 0: 1 and 8; of block 1: 5..9. */
static void lists_are_those_of_a_small_example(void **state)
{
    (void)state;
    check(ICD_KERNEL_DENSE, 0, 12, (int32_t[]){0, 1, 2, 0, 1, 2}, 6,
          (int64_t[]){0, 3, 6});
    check(ICD_KERNEL_TILE, 4, 12, (int32_t[]){0, 2, 1, 2}, 4, (int64_t[]){0, 2, 4});
    check(ICD_KERNEL_TILE, 8, 16, (int32_t[]){0, 1, 2, 3, 0, 1, 2, 3}, 8,
          (int64_t[]){0, 4, 8});
    check(ICD_KERNEL_GATHER, 0, 12, (int32_t[]){1, 8, 8, 8, 5, 6, 7, 8, 9, 9, 9, 9}, 12,
          (int64_t[]){0, 1, 3});
}

static void columns_follow_the_lists(void **state)
{
    icd_layout_entry e = make_entry(ICD_KERNEL_GATHER, 0);
    icd_plan *plan = NULL;
    int32_t column[12];
    (void)state;
    assert_ok(ctx, icd_i_plan_new(ctx, &e, 16, &plan));
    icd_i_plan_columns(plan, 0, column);
    assert_memory_equal(column, ((int32_t[]){8, 1, -1, -1}), 4 * sizeof *column);
    icd_i_plan_columns(plan, 1, column);
    assert_memory_equal(column, ((int32_t[]){4, 3, 2, 1, 0, -1, -1, -1}),
                        8 * sizeof *column);
    assert_int_equal(icd_i_plan_widest(plan), 2);
    assert_int_equal(icd_i_plan_bytes(plan), 3 * 16 * 4 + 12 * 4);
    icd_i_plan_free(ctx, plan);
    e.kernel = ICD_KERNEL_TILE;
    e.granule = 4;
    assert_ok(ctx, icd_i_plan_new(ctx, &e, 16, &plan));
    icd_i_plan_columns(plan, 0, column);
    assert_memory_equal(column, ((int32_t[]){9, 8, 7, 6, 1, 0, -1, -1}),
                        8 * sizeof *column);
    assert_int_equal(icd_i_plan_bytes(plan), 4 * 16 * 4 + 4 * 4);
    icd_i_plan_free(ctx, plan);
    release(&e);
}

/* The plan's live granules are the ones that the layout counts. */
static void counts_agree_with_the_layout(void **state)
{
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 40, 0);
    for (int round = 0; round < 40; round++) {
        int64_t rows = 1 + icd_i_rng_below(&rng, 150), cols = icd_i_rng_below(&rng, 90);
        int32_t granule = 4 << icd_i_rng_below(&rng, 4);
        icd_layout_entry e = {.linear = NAME,
                              .rows = rows,
                              .cols = cols,
                              .kernel = ICD_KERNEL_TILE,
                              .granule = granule};
        icd_plan *plan = NULL;
        icd_live live;
        assert_ok(ctx, icd_i_mask_new(ctx, rows, cols, 16, &e.mask));
        for (int64_t b = 0; b < e.mask->blocks; b++)
            for (int64_t c = 0; c < cols; c++)
                if (icd_i_rng_below(&rng, 12) == 0) icd_i_mask_set(e.mask, b, c);
        assert_ok(ctx, icd_perm_identity(ctx, cols, 0, &e.order));
        icd_i_rng_shuffle(&rng, e.order->old_of_new, cols);
        assert_ok(ctx, icd_i_plan_new(ctx, &e, 64, &plan));
        assert_ok(ctx, icd_i_layout_live(ctx, &e, 64, granule, &live));
        assert_int_equal(icd_i_plan_groups(plan), live.live * (granule / ICD_GROUP));
        icd_i_plan_free(ctx, plan);
        release(&e);
    }
}

static void an_empty_matrix_has_an_empty_plan(void **state)
{
    icd_layout_entry e = {.linear = NAME, .kernel = ICD_KERNEL_GATHER};
    icd_plan *plan = NULL;
    (void)state;
    for (int rows = 0; rows < 3; rows++) {
        e.rows = rows;
        assert_ok(ctx, icd_i_plan_new(ctx, &e, 16, &plan));
        assert_int_equal(icd_i_plan_groups(plan), 0);
        assert_int_equal(icd_i_plan_widest(plan), 0);
        icd_i_plan_free(ctx, plan);
    }
}

static void wrong_entries_are_refused(void **state)
{
    icd_layout_entry e = make_entry(ICD_KERNEL_TILE, 4);
    icd_plan *plan = NULL;
    (void)state;
    assert_fails(ctx, ICD_EINVAL, "row blocks of 24", icd_i_plan_new(ctx, &e, 24, &plan));
    assert_null(plan);
    e.granule = 6;
    assert_fails(ctx, ICD_EINVAL, "granule of 6", icd_i_plan_new(ctx, &e, 16, &plan));
    e.kernel = ICD_KERNEL_AUTO;
    assert_fails(ctx, ICD_EINVAL, NAME, icd_i_plan_new(ctx, &e, 16, &plan));
    e.kernel = ICD_KERNEL_DENSE;
    e.rows = 33;
    assert_fails(ctx, ICD_EINVAL, "mask of 32 x 10", icd_i_plan_new(ctx, &e, 16, &plan));
    e.rows = 32;
    e.order->n = 9;
    assert_fails(ctx, ICD_EINVAL, "order of 9", icd_i_plan_new(ctx, &e, 16, &plan));
    e.order->n = 10;
    e.cols = 131073;
    assert_fails(ctx, ICD_EINVAL, "131072", icd_i_plan_new(ctx, &e, 16, &plan));
    release(&e);
}

static icd_status build(icd_ctx *c, void *arg)
{
    icd_plan *plan = NULL;
    icd_status status = icd_i_plan_new(c, arg, 16, &plan);
    if (status != ICD_OK) assert_null(plan);
    icd_i_plan_free(c, plan);
    return status;
}

static void failing_allocations_leave_nothing(void **state)
{
    icd_layout_entry e = make_entry(ICD_KERNEL_TILE, 4);
    (void)state;
    icd_test_failing_allocations(build, &e);
    release(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_those_of_a_small_example),
        cmocka_unit_test(columns_follow_the_lists),
        cmocka_unit_test(counts_agree_with_the_layout),
        cmocka_unit_test(an_empty_matrix_has_an_empty_plan),
        cmocka_unit_test(wrong_entries_are_refused),
        cmocka_unit_test(failing_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
