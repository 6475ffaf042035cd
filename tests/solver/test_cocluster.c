#include "hyper_support.h"

#include "core/mask.h"
#include <icd/cocluster.h>

#include <string.h>

/* Full blocks of 8 x 16 on the diagonal of 32 x 64, under hidden orders. */
static icd_mask *hidden_blocks(icd_ctx *ctx)
{
    icd_mask *mask = NULL;
    int32_t row[32], col[64];
    assert_ok(ctx, icd_i_mask_new(ctx, 32, 64, 1, &mask));
    shuffled(row, 32, 1);
    shuffled(col, 64, 2);
    for (int r = 0; r < 32; ++r)
        for (int c = 0; c < 64; ++c)
            if (r / 8 == c / 16) icd_i_mask_set(mask, row[r], col[c]);
    return mask;
}

static icd_mask *random_mask(icd_ctx *ctx, int64_t rows, int64_t cols, double density,
                             uint64_t seed)
{
    icd_mask *mask = NULL;
    icd_rng rng;
    icd_i_rng_init(&rng, seed, 0);
    assert_ok(ctx, icd_i_mask_new(ctx, rows, cols, 1, &mask));
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < cols; ++c)
            if (icd_i_rng_unit(&rng) < density) icd_i_mask_set(mask, r, c);
    return mask;
}

static int64_t live_tiles(const icd_mask *m, const icd_perm *rows, const icd_perm *cols,
                          int64_t vector, int64_t granule)
{
    int64_t live = 0;
    for (int64_t r = 0; r < m->rows; r += vector)
        for (int64_t c = 0; c < m->cols; c += granule) {
            bool found = false;
            for (int64_t i = r; i < r + vector && i < m->rows; ++i)
                for (int64_t j = c; j < c + granule && j < m->cols; ++j)
                    found |= icd_i_mask_get(m, rows->old_of_new[i], cols->old_of_new[j]);
            live += found;
        }
    return live;
}

static void test_finds_blocks(void **state)
{
    icd_ctx *ctx = icd_ctx_new(NULL);
    icd_perm *rows = NULL, *cols = NULL;
    icd_cocluster_opts opts = {
        .size = sizeof opts, .vector = 8, .granule = 16, .effort = ICD_EFFORT_DEFAULT};
    icd_cocluster_stats stats;
    (void)state;
    icd_mask *mask = hidden_blocks(ctx);
    assert_ok(ctx, icd_cocluster(ctx, mask, &opts, &rows, &cols, &stats));
    assert_int_equal(stats.tiles, 16);
    assert_int_equal(stats.before, 16);
    assert_int_equal(stats.after, 4);
    assert_int_equal(stats.least, 4);
    assert_int_equal(live_tiles(mask, rows, cols, 8, 16), 4);
    icd_perm_free(ctx, rows);
    icd_perm_free(ctx, cols);
    icd_i_mask_free(ctx, mask);
    icd_ctx_free(ctx);
}

/* Sizes that tiles do not divide, empty and full masks: figures are as counted, never
 * more than before, never less than possible. */
static void check_random(icd_ctx *ctx, int64_t n, double density)
{
    icd_perm *rows = NULL, *cols = NULL;
    icd_cocluster_opts opts = {.size = sizeof opts, .vector = 4, .granule = 5};
    icd_cocluster_stats s;
    icd_mask *mask = random_mask(ctx, n, n + 7 * (n > 0), density, (uint64_t)n);
    assert_ok(ctx, icd_cocluster(ctx, mask, &opts, &rows, &cols, &s));
    assert_int_equal(rows->n, mask->rows);
    assert_int_equal(cols->n, mask->cols);
    assert_int_equal(live_tiles(mask, rows, cols, 4, 5), s.after);
    assert_true(s.least <= s.after && s.after <= s.before && s.before <= s.tiles);
    icd_perm_free(ctx, rows);
    icd_perm_free(ctx, cols);
    icd_i_mask_free(ctx, mask);
}

static void test_figures_as_counted(void **state)
{
    icd_ctx *ctx = icd_ctx_new(NULL);
    (void)state;
    for (int64_t n = 0; n < 40; n += n < 3 ? 1 : 17)
        for (int k = 0; k < 4; ++k) check_random(ctx, n, k / 3.);
    icd_ctx_free(ctx);
}

static void test_same_bytes_for_any_threads(void **state)
{
    icd_ctx *ctx[2];
    icd_perm *rows[2] = {NULL}, *cols[2] = {NULL};
    icd_cocluster_opts opts = {.size = sizeof opts, .vector = 4, .granule = 4, .seed = 5};
    (void)state;
    for (int t = 0; t < 2; ++t) {
        icd_ctx_opts threads = {.size = sizeof threads, .threads = t ? 4 : 1};
        ctx[t] = icd_ctx_new(&threads);
        icd_mask *mask = random_mask(ctx[t], 30, 50, .1, 8);
        assert_ok(ctx[t], icd_cocluster(ctx[t], mask, &opts, rows + t, cols + t, NULL));
        icd_i_mask_free(ctx[t], mask);
    }
    assert_memory_equal(rows[0]->old_of_new, rows[1]->old_of_new, 30 * sizeof(int32_t));
    assert_memory_equal(cols[0]->old_of_new, cols[1]->old_of_new, 50 * sizeof(int32_t));
    for (int t = 0; t < 2; ++t) {
        icd_perm_free(ctx[t], rows[t]);
        icd_perm_free(ctx[t], cols[t]);
        icd_ctx_free(ctx[t]);
    }
}

static void test_bad_input(void **state)
{
    icd_ctx *ctx = icd_ctx_new(NULL);
    icd_perm *rows = NULL, *cols = NULL;
    icd_cocluster_opts opts = {.size = sizeof opts, .effort = 7};
    icd_mask *mask = random_mask(ctx, 4, 4, .5, 1), *vectors = NULL;
    (void)state;
    assert_fails(ctx, ICD_EINVAL, "found 7",
                 icd_cocluster(ctx, mask, &opts, &rows, &cols, NULL));
    opts.effort = 0;
    opts.granule = -3;
    assert_fails(ctx, ICD_EINVAL, "-3",
                 icd_cocluster(ctx, mask, &opts, &rows, &cols, NULL));
    assert_ok(ctx, icd_i_mask_new(ctx, 4, 4, 2, &vectors));
    assert_fails(ctx, ICD_EINVAL, "expected V = 1",
                 icd_cocluster(ctx, vectors, NULL, &rows, &cols, NULL));
    assert_null(rows);
    assert_null(cols);
    icd_i_mask_free(ctx, vectors);
    icd_i_mask_free(ctx, mask);
    icd_ctx_free(ctx);
}

static icd_status cocluster_small(icd_ctx *ctx, void *arg)
{
    icd_perm *rows = NULL, *cols = NULL;
    icd_cocluster_opts opts = {.size = sizeof opts, .vector = 2, .granule = 2};
    icd_status status = icd_cocluster(ctx, arg, &opts, &rows, &cols, NULL);
    assert_true((status == ICD_OK) == (rows && cols));
    icd_perm_free(ctx, rows);
    icd_perm_free(ctx, cols);
    return status;
}

static void test_failing_allocations(void **state)
{
    icd_ctx *ctx = icd_ctx_new(NULL);
    icd_mask *mask = random_mask(ctx, 6, 8, .3, 4);
    (void)state;
    icd_test_failing_allocations(cocluster_small, mask);
    icd_i_mask_free(ctx, mask);
    icd_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_blocks),
        cmocka_unit_test(test_figures_as_counted),
        cmocka_unit_test(test_same_bytes_for_any_threads),
        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
