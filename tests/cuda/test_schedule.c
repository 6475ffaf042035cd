#include "kernels/cuda/schedule.h"
#include "support.h"

#include "base/mem.h"
#include "base/rng.h"

#include <stdlib.h>

typedef struct made {
    icd_gpu_item *item;
    int32_t *ptr;
    icd_gpu_cuts cuts;
} made;

static made make(const icd_gpu_work *w)
{
    made m = {0};
    m.item = calloc((size_t)icd_i_gpu_items(w), sizeof *m.item);
    m.ptr = calloc((size_t)w->grid + 1, sizeof *m.ptr);
    assert_non_null(m.item);
    assert_non_null(m.ptr);
    icd_i_gpu_schedule(w, m.item, m.ptr, &m.cuts);
    return m;
}

static void drop(made *m)
{
    free(m->item);
    free(m->ptr);
}

/* Every granule of every tile once, in order; pieces numbered; slots and tallies dense.
 */
static void check(const icd_gpu_work *w, const made *m)
{
    int64_t at = 0, slots = 0, tallies = 0;
    for (int64_t t = 0; t < w->tiles; t++)
        for (int64_t b = 0; b < w->blocks; b++) {
            int64_t all = w->block_ptr[b + 1] - w->block_ptr[b], next = 0;
            int32_t parts = m->item[at].parts;
            assert_true(parts >= 1);
            for (int32_t part = 0; part < parts; part++, at++) {
                const icd_gpu_item *i = &m->item[at];
                assert_true(i->block == b && i->tile == t && i->first == next);
                assert_true(i->part == part && i->parts == parts);
                assert_true(i->slot == (parts > 1 ? slots : -1));
                if (parts > 1) assert_int_equal(i->tally, tallies);
                if (parts > 1) assert_true(i->last - i->first >= w->least);
                next = i->last;
            }
            assert_int_equal(next, all);
            if (parts > 1) slots += parts, tallies++;
        }
    assert_int_equal(at, m->cuts.items);
    assert_true(at <= icd_i_gpu_items(w));
    assert_int_equal(slots, m->cuts.slots);
    assert_int_equal(tallies, m->cuts.tallies);
    assert_int_equal(m->ptr[0], 0);
    assert_int_equal(m->ptr[w->grid], at);
    for (int32_t c = 0; c < w->grid; c++) assert_true(m->ptr[c] <= m->ptr[c + 1]);
}

static void covers_everything_once(void **state)
{
    (void)state;
    icd_rng rng;
    icd_i_rng_init(&rng, 8, 0);
    int64_t ptr[65] = {0};
    for (int round = 0; round < 400; round++) {
        icd_gpu_work w = {.block_ptr = ptr};
        w.blocks = (int64_t)icd_i_rng_below(&rng, 65);
        w.tiles = (int64_t)icd_i_rng_below(&rng, 7);
        w.grid = 1 + (int32_t)icd_i_rng_below(&rng, 300);
        w.least = 1 + (int32_t)icd_i_rng_below(&rng, 20);
        for (int64_t b = 0; b < w.blocks; b++)
            ptr[b + 1] = ptr[b] + (int64_t)(round % 3 ? icd_i_rng_below(&rng, 200)
                                                      : icd_i_rng_below(&rng, 2) * 150);
        made m = make(&w);
        check(&w, &m);
        drop(&m);
    }
}

/* A grid of 132 blocks, few tiles: the fullest block has little more than the mean. */
static void balances_uneven_rows(void **state)
{
    (void)state;
    int64_t ptr[13] = {0};
    for (int b = 0; b < 12; b++) ptr[b + 1] = ptr[b] + 8 + b * 16;
    icd_gpu_work w = {ptr, 12, 32, 132, 8};
    made m = make(&w);
    check(&w, &m);
    assert_true(icd_i_gpu_imbalance(m.item, m.ptr, w.grid) < 1.25);
    drop(&m);
    icd_gpu_work one = {ptr, 12, 1, 132, 4};
    m = make(&one);
    check(&one, &m);
    assert_true(m.cuts.items > 60); /* twelve row blocks are spread over the device */
    drop(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(covers_everything_once),
        cmocka_unit_test(balances_uneven_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
