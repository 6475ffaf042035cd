#include "support.h"

#include "base/rng.h"
#include "solver/nm_maxima.h"

#include <stdlib.h>
#include <string.h>

#define SEED 20241123
#define ROWS 80
#define COLS 11

static void fill(int16_t *x, int64_t count, uint64_t stream)
{
    icd_rng rng;
    icd_i_rng_init(&rng, SEED, stream);
    for (int64_t k = 0; k < count; ++k) x[k] = (int16_t)icd_i_rng_below(&rng, INT16_MAX);
}

static void test_add_equals_plain(void **state)
{
    (void)state;
    icd_nm_maxima fast = icd_i_nm_maxima(), plain = icd_i_nm_maxima_plain();
    int16_t rest[ROWS], column[COLS * ROWS];
    fill(rest, ROWS, 1);
    fill(column, COLS * ROWS, 2);
    for (int64_t count = 0; count <= COLS; ++count)
        for (int64_t rows = 0; rows <= ROWS; rows += ICD_NM_LANES) {
            int32_t a[COLS] = {0}, b[COLS] = {0};
            a[3] = b[3] = 7;
            fast.add(rest, (icd_nm_columns){column, ROWS, rows, count}, 5, a);
            plain.add(rest, (icd_nm_columns){column, ROWS, rows, count}, 5, b);
            assert_memory_equal(a, b, sizeof a);
        }
}

static void test_add_by_hand(void **state)
{
    (void)state;
    int16_t rest[16] = {3, 0, 5}, column[16] = {1, 2, 9};
    int32_t line = 100;
    icd_i_nm_maxima().add(rest, (icd_nm_columns){column, 16, 16, 1}, 10, &line);
    assert_int_equal(line, 100 + 10 + 3 + 2 + 9);
}

static void test_sort_equals_plain(void **state)
{
    (void)state;
    int16_t a[2 * ROWS], b[2 * ROWS];
    fill(a, 2 * ROWS, 3);
    memcpy(b, a, sizeof a);
    icd_i_nm_maxima().sort(a, a + ROWS, ROWS);
    icd_i_nm_maxima_plain().sort(b, b + ROWS, ROWS);
    assert_memory_equal(a, b, sizeof a);
    for (int k = 0; k < ROWS; ++k) assert_true(a[k] >= a[ROWS + k]);
}

static void test_best_equals_plain(void **state)
{
    (void)state;
    icd_rng rng;
    icd_i_rng_init(&rng, SEED, 4);
    for (int64_t count = 1; count < 40; ++count) {
        int32_t x[3][40];
        int64_t at = -1, expected = -1;
        for (int k = 0; k < 120; ++k)
            x[k / 40][k % 40] = (int32_t)icd_i_rng_below(&rng, 9) - 2;
        int32_t best = icd_i_nm_maxima().best(x[0], x[1], x[2], count, &at);
        assert_int_equal(
            best, icd_i_nm_maxima_plain().best(x[0], x[1], x[2], count, &expected));
        if (best > 0) assert_int_equal(at, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add_equals_plain),
        cmocka_unit_test(test_add_by_hand),
        cmocka_unit_test(test_sort_equals_plain),
        cmocka_unit_test(test_best_equals_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
