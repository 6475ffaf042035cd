#include "levels.h"

/* Tiles of 4-bit and 2:4 weights: packed from random matrices, the reference against the
   plain product, every level against the reference. */

enum { MAX_TOKENS = 9, COLS = 93, MAX_STEPS = 11, MAX_VECTOR = 80, LDA = 8 * 13 + 1 };
static const int32_t VECTOR[] = {16, 48, 64, 80};

typedef struct problem {
    int64_t rows, steps, tokens;
    int32_t vector;
    const int32_t *live; /* step of the activations; NULL: 0, 1, 2... */
    int32_t list[MAX_STEPS], column[8 * MAX_STEPS], comp[MAX_VECTOR];
    int8_t w[MAX_VECTOR * COLS], a[MAX_TOKENS * LDA];
    float scale[MAX_STEPS * MAX_VECTOR];
    uint8_t packed[MAX_STEPS * MAX_VECTOR * 5];
} problem;

/* Weights in -8..7; columns in any order, some absent. */
static void make(problem *p, icd_rng *rng, int32_t vector, int64_t steps, int64_t tokens)
{
    *p =
        (problem){.rows = vector - 3, .steps = steps, .tokens = tokens, .vector = vector};
    for (int i = 0; i < MAX_VECTOR * COLS; i++)
        p->w[i] = (int8_t)(icd_i_rng_below(rng, 16) - 8);
    fill_int8(rng, p->a, sizeof p->a);
    fill_f32(rng, p->scale, MAX_STEPS * MAX_VECTOR);
    for (int64_t k = 0; k < 8 * steps; k++)
        p->column[k] = (int32_t)icd_i_rng_below(rng, COLS + 9) - 9;
    for (int64_t k = 0; k < 8 * steps; k++)
        p->column[k] = p->column[k] < 0 ? -1 : p->column[k];
    for (int64_t j = 0; j < steps; j++) p->list[j] = (int32_t)j + (j > 2) + (j > 5);
    if (tokens % 3) p->live = p->list;
}

/* Two of every four packed channels become zero in every row. */
static void thin(problem *p, icd_rng *rng)
{
    for (int64_t k = 0; k < 8 * p->steps; k++) p->column[k] = (int32_t)k;
    for (int64_t i = 0; i < MAX_VECTOR; i++)
        for (int64_t k = 0; k + 4 <= COLS; k += 4) {
            int64_t a = icd_i_rng_below(rng, 4),
                    b = (a + 1 + icd_i_rng_below(rng, 3)) % 4;
            for (int64_t c = 0; c < 4; c++)
                p->w[i * COLS + k + c] =
                    c == a || c == b ? (int8_t)(icd_i_rng_below(rng, 255) - 127) : 0;
        }
}

static int32_t dot(const problem *p, int64_t t, int64_t r, int64_t begin, int64_t end)
{
    int32_t sum = 0;
    for (int64_t k = 8 * begin; k < 8 * end; k++) {
        int64_t slot = p->live ? 8 * p->live[k / 8] + k % 8 : k;
        if (r < p->rows && p->column[k] >= 0)
            sum += p->a[t * LDA + slot] * p->w[r * COLS + p->column[k]];
    }
    return sum;
}

static void check_int4(const problem *p, int64_t per)
{
    float expected[MAX_TOKENS * MAX_VECTOR], found[MAX_TOKENS * MAX_VECTOR + 1];
    for (int64_t t = 0; t < p->tokens; t++)
        for (int32_t r = 0; r < p->vector; r++) {
            float sum = 0;
            for (int64_t g = 0; g * per < p->steps; g++) {
                int64_t end = (g + 1) * per < p->steps ? (g + 1) * per : p->steps;
                sum = fmaf((float)dot(p, t, r, g * per, end), p->scale[g * p->vector + r],
                           sum);
            }
            expected[t * p->vector + r] = sum;
        }
    for (int i = 0; level_at(i); i++) {
        found[p->tokens * p->vector] = 42;
        level_at(i)->tile_block_int4(p->a, LDA, p->tokens, p->live, p->steps, per,
                                     p->packed, p->scale, p->vector, found);
        assert_same_f32(found, expected, p->tokens * p->vector,
                        icd_i_isa_name(level_at(i)->isa));
        assert_true(found[p->tokens * p->vector] == 42);
    }
}

static void int4_tiles_are_exact_in_every_group(void **state)
{
    static problem p;
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 41, 0);
    for (size_t v = 0; v < sizeof VECTOR / sizeof *VECTOR; v++)
        for (int64_t tokens = 1; tokens <= MAX_TOKENS; tokens++)
            for (int64_t steps = 0; steps <= MAX_STEPS; steps += steps < 2 ? 1 : 3) {
                make(&p, &rng, VECTOR[v], steps, tokens);
                icd_i_pack_block_int4(p.w, COLS, p.rows, p.column, steps, p.vector,
                                      p.packed);
                check_int4(&p, 1);
                check_int4(&p, 4);
                check_int4(&p, 7);
                check_int4(&p, 100);
            }
}

/* Where the products are largest, no partial sum of 16 bits may saturate. */
static void int4_extremes_do_not_saturate(void **state)
{
    static problem p;
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 42, 0);
    for (int sign = -1; sign <= 1; sign += 2) {
        make(&p, &rng, 16, MAX_STEPS, 2);
        for (int k = 0; k < 8 * MAX_STEPS; k++) p.column[k] = k;
        memset(p.a, sign * 127, sizeof p.a);
        memset(p.w, 7, sizeof p.w);
        icd_i_pack_block_int4(p.w, COLS, p.rows, p.column, p.steps, 16, p.packed);
        check_int4(&p, MAX_STEPS);
    }
}

static void check_24(const problem *p)
{
    int32_t found[MAX_TOKENS * MAX_VECTOR + 1];
    for (int i = 0; level_at(i); i++) {
        found[p->tokens * p->vector] = 42;
        level_at(i)->tile_block_24(p->a, LDA, p->tokens, p->live, p->steps,
                                   (const int8_t *)p->packed, p->comp, p->vector, found);
        for (int64_t t = 0; t < p->tokens; t++)
            for (int32_t r = 0; r < p->vector; r++)
                assert_int_equal(found[t * p->vector + r], dot(p, t, r, 0, p->steps));
        assert_int_equal(found[p->tokens * p->vector], 42);
    }
}

static void two_of_four_tiles_are_exact(void **state)
{
    static problem p;
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 43, 0);
    for (size_t v = 0; v < sizeof VECTOR / sizeof *VECTOR; v++)
        for (int64_t tokens = 1; tokens <= MAX_TOKENS; tokens++)
            for (int64_t steps = 0; steps <= MAX_STEPS; steps += 1 + steps / 2) {
                make(&p, &rng, VECTOR[v], steps, tokens);
                thin(&p, &rng);
                assert_true(icd_i_pack_block_24(p.w, COLS, p.rows, p.column, steps,
                                                p.vector, (int8_t *)p.packed, p.comp));
                check_24(&p);
            }
}

static void a_third_weight_of_four_is_refused(void **state)
{
    static problem p;
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 44, 0);
    make(&p, &rng, 16, 4, 1);
    thin(&p, &rng);
    for (int k = 20; k < 24; k++) p.w[5 * COLS + k] = 1;
    assert_false(icd_i_pack_block_24(p.w, COLS, p.rows, p.column, 4, 16,
                                     (int8_t *)p.packed, p.comp));
    assert_true(
        icd_i_pack_block_24(p.w, COLS, 5, p.column, 4, 16, (int8_t *)p.packed, p.comp));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(int4_tiles_are_exact_in_every_group),
        cmocka_unit_test(int4_extremes_do_not_saturate),
        cmocka_unit_test(two_of_four_tiles_are_exact),
        cmocka_unit_test(a_third_weight_of_four_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
