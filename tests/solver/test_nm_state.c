#include "support.h"

#include "base/rng.h"
#include "solver/nm_state.h"

#include <stdlib.h>

#define SEED 20241124

static icd_ctx *make_ctx(int32_t threads)
{
    icd_ctx_opts opts = {.size = sizeof opts, .threads = threads};
    icd_ctx *ctx = icd_ctx_new(&opts);
    assert_non_null(ctx);
    return ctx;
}

static float *random_saliency(int64_t count)
{
    icd_rng rng;
    icd_i_rng_init(&rng, SEED, 0);
    float *x = calloc((size_t)count + 1, sizeof *x);
    for (int64_t k = 0; k < count; ++k) x[k] = (float)icd_i_rng_unit(&rng);
    return x;
}

static int falling(const void *x, const void *y)
{
    return *(const int16_t *)y - *(const int16_t *)x;
}

/* What a group keeps, by definition. */
static int32_t kept_of(const icd_nm_state *s, const int32_t *member)
{
    int32_t sum = 0;
    for (int64_t r = 0; r < s->rows; ++r) {
        int16_t x[32];
        for (int32_t k = 0; k < s->m; ++k) x[k] = s->value[member[k] * s->rows + r];
        qsort(x, (size_t)s->m, sizeof *x, falling);
        for (int32_t k = 0; k < s->n; ++k) sum += x[k];
    }
    return sum;
}

static void check_change(const icd_nm_state *s, int32_t c, int32_t x)
{
    int32_t group = icd_i_nm_group_of(s, c), member[32];
    int32_t change = s->change[(int64_t)c * s->cols + x];
    assert_int_equal(s->reverse[(int64_t)x * s->cols + c], change);
    if (group == icd_i_nm_group_of(s, x)) {
        assert_int_equal(change, ICD_NM_NEVER);
        return;
    }
    for (int32_t k = 0; k < s->m; ++k) member[k] = s->member[group * s->m + k];
    assert_int_equal(s->kept[group], kept_of(s, member));
    for (int32_t k = 0; k < s->m; ++k)
        if (member[k] == c) member[k] = x;
    assert_int_equal(change, kept_of(s, member) - s->kept[group]);
}

/* Tables after random exchanges, for several tiles of rows and columns. */
static void check_tables(icd_ctx *ctx, int64_t rows, int32_t cols, int32_t n, int32_t m)
{
    icd_rng rng;
    icd_nm_state s;
    float *x = random_saliency(rows * cols);
    int32_t *column = calloc((size_t)cols, sizeof *column);
    for (int32_t c = 0; c < cols; ++c) column[c] = c;
    icd_nm_source source = {.saliency = x,
                            .rows = rows,
                            .stride = cols,
                            .column = column,
                            .cols = cols,
                            .n = n,
                            .m = m};
    assert_ok(ctx, icd_i_nm_state_init(ctx, &source, &s));
    assert_true(icd_i_nm_refresh(ctx, &s));
    icd_i_rng_init(&rng, SEED, 1);
    for (int k = 0; k < 10; ++k) {
        int32_t a = (int32_t)icd_i_rng_below(&rng, cols);
        int32_t b = (int32_t)icd_i_rng_below(&rng, cols);
        if (icd_i_nm_group_of(&s, a) == icd_i_nm_group_of(&s, b)) continue;
        int64_t before = icd_i_nm_kept(&s);
        int64_t gain = s.change[(int64_t)a * cols + b] + s.reverse[(int64_t)a * cols + b];
        icd_i_nm_exchange(&s, a, b);
        assert_true(icd_i_nm_refresh(ctx, &s));
        assert_int_equal(icd_i_nm_kept(&s), before + gain);
    }
    for (int k = 0; k < 500; ++k)
        check_change(&s, (int32_t)icd_i_rng_below(&rng, cols),
                     (int32_t)icd_i_rng_below(&rng, cols));
    icd_i_nm_state_release(ctx, &s);
    free(column);
    free(x);
}

static void test_changes_equal_recompute(void **state)
{
    (void)state;
    icd_ctx *ctx = make_ctx(2);
    check_tables(ctx, 37, 24, 2, 4);
    check_tables(ctx, 16, 24, 1, 4);
    check_tables(ctx, 40, 32, 4, 8);
    check_tables(ctx, 5, 12, 1, 2);
    check_tables(ctx, 20, 64, 31, 32);
    check_tables(ctx, 300, 520, 2, 4);
    icd_ctx_free(ctx);
}

static void test_regroup(void **state)
{
    (void)state;
    icd_ctx *ctx = make_ctx(1);
    icd_nm_state s;
    int32_t column[8] = {0, 1, 2, 3, 4, 5, 6, 7}, order[8] = {7, 0, 6, 1, 5, 2, 4, 3};
    float *x = random_saliency(9 * 8);
    icd_nm_source source = {.saliency = x,
                            .rows = 9,
                            .stride = 8,
                            .column = column,
                            .cols = 8,
                            .n = 2,
                            .m = 4};
    assert_ok(ctx, icd_i_nm_state_init(ctx, &source, &s));
    icd_i_nm_regroup(&s, order);
    assert_true(icd_i_nm_refresh(ctx, &s));
    assert_int_equal(icd_i_nm_kept(&s), kept_of(&s, order) + kept_of(&s, order + 4));
    for (int32_t k = 0; k < 8; ++k) assert_int_equal(s.slot_of[order[k]], k);
    icd_i_nm_state_release(ctx, &s);
    free(x);
    icd_ctx_free(ctx);
}

static void test_cancellation_leaves_groups_stale(void **state)
{
    (void)state;
    icd_ctx *ctx = make_ctx(1);
    icd_nm_state s;
    int32_t column[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    float *x = random_saliency(9 * 8);
    icd_nm_source source = {.saliency = x,
                            .rows = 9,
                            .stride = 8,
                            .column = column,
                            .cols = 8,
                            .n = 2,
                            .m = 4};
    assert_ok(ctx, icd_i_nm_state_init(ctx, &source, &s));
    icd_ctx_cancel(ctx);
    assert_false(icd_i_nm_refresh(ctx, &s));
    assert_true(s.stale[0] && s.stale[1]);
    icd_i_nm_state_release(ctx, &s);
    free(x);
    icd_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes_equal_recompute),
        cmocka_unit_test(test_regroup),
        cmocka_unit_test(test_cancellation_leaves_groups_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
