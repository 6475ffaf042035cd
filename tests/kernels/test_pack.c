#include "levels.h"

enum { ROWS = 21, COLS = 30, GROUPS = 3, VECTOR = 32 };
static const int32_t COLUMN[4 * GROUPS] = {29, 0, 7, 7, -1, 3, 12, -1, 1, 2, -1, 28};

static void int8_lines_hold_16_rows_of_4_channels(void **state)
{
    int8_t w[ROWS * COLS], out[GROUPS * VECTOR * 4];
    int32_t comp[VECTOR];
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 60, 0);
    fill_int8(&rng, w, sizeof w);
    memset(out, 0x5A, sizeof out);
    assert_int_equal(icd_i_pack_bytes(GROUPS, VECTOR), sizeof out);
    icd_i_pack_block(w, COLS, ROWS, COLUMN, GROUPS, VECTOR, out, comp);
    for (int r = 0; r < VECTOR; r++) {
        int32_t sum = 0;
        for (int k = 0; k < 4 * GROUPS; k++) {
            int8_t expected = r < ROWS && COLUMN[k] >= 0 ? w[r * COLS + COLUMN[k]] : 0;
            assert_int_equal(out[(k / 4 * VECTOR + r) * 4 + k % 4], expected);
            sum += expected;
        }
        assert_int_equal(comp[r], 128 * sum);
    }
}

static void f32_panels_hold_16_rows_of_a_channel(void **state)
{
    float w[ROWS * COLS], out[4 * GROUPS * VECTOR];
    uint16_t half[ROWS * COLS], packed[4 * GROUPS * VECTOR];
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 61, 0);
    fill_f32(&rng, w, ROWS * COLS);
    for (int i = 0; i < ROWS * COLS; i++)
        half[i] = (uint16_t)icd_i_rng_below(&rng, 65536);
    icd_i_pack_block_f32(w, COLS, ROWS, COLUMN, 4 * GROUPS, VECTOR, out);
    icd_i_pack_block_bf16(half, COLS, ROWS, COLUMN, 4 * GROUPS, VECTOR, packed);
    for (int r = 0; r < VECTOR; r++)
        for (int k = 0; k < 4 * GROUPS; k++) {
            bool there = r < ROWS && COLUMN[k] >= 0;
            int at = (r / 16 * 4 * GROUPS + k) * 16 + r % 16;
            assert_true(out[at] == (there ? w[r * COLS + COLUMN[k]] : 0));
            assert_int_equal(packed[at], there ? half[r * COLS + COLUMN[k]] : 0);
        }
}

static void nothing_packs_into_nothing(void **state)
{
    int32_t comp[VECTOR] = {1};
    int8_t none = 42;
    (void)state;
    icd_i_pack_block(&none, 0, ROWS, COLUMN, 0, VECTOR, &none, comp);
    assert_int_equal(none, 42);
    assert_int_equal(comp[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(int8_lines_hold_16_rows_of_4_channels),
        cmocka_unit_test(f32_panels_hold_16_rows_of_a_channel),
        cmocka_unit_test(nothing_packs_into_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
