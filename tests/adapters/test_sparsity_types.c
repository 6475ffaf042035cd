/* N:M, block, channel, a common budget, exclusions: against their definitions. */
#include "support.h"

#include <icd/adapters.h>
#include <icd/perm.h>

#include "base/rng.h"
#include "core/mask.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 12, COLS = 24 };

static icd_ctx *ctx;
static float weights[2][ROWS * COLS];
static icd_perm *order;

static int set_up(void **state)
{
    icd_rng rng;
    icd_perm *p = NULL;
    (void)state;
    icd_i_rng_init(&rng, 7, 0);
    for (int i = 0; i < ROWS * COLS; i++) {
        weights[0][i] = (float)icd_i_rng_normal(&rng) * (i % COLS % 4 ? 1 : 4);
        weights[1][i] = (float)(icd_i_rng_normal(&rng) * exp(icd_i_rng_normal(&rng)));
    }
    ctx = icd_ctx_new(NULL);
    if (!ctx || icd_perm_identity(ctx, COLS, ICD_FRAME_CHECKPOINT, &p) != ICD_OK)
        return -1;
    icd_i_rng_shuffle(&rng, p->old_of_new, COLS);
    icd_status status = icd_perm_from_array(ctx, p->old_of_new, COLS,
                                            ICD_FRAME_CHECKPOINT, "test", &order);
    icd_perm_free(ctx, p);
    return status == ICD_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    icd_perm_free(ctx, order);
    icd_ctx_free(ctx);
    return 0;
}

static icd_sparsity_opts options(int32_t type, double rate)
{
    icd_sparsity_opts opts;
    icd_options_init(&icd_sparsity_table, &opts);
    opts.type = type;
    opts.rate = rate;
    opts.vector = 4;
    opts.granule = 3;
    opts.saliency = ICD_SALIENCY_MAGNITUDE;
    return opts;
}

static icd_matrix matrix(int which)
{
    return (icd_matrix){which ? "layer.1.up" : "layer.0.up", weights[which], ROWS, COLS};
}

static bool alive(const icd_mask *mask, int64_t r, int64_t c)
{
    return icd_i_mask_get(mask, r / mask->vector, c);
}

static float magnitude(int64_t r, int64_t c)
{
    return fabsf(weights[0][r * COLS + c]);
}

/* Every group of m slots of a row keeps its n largest. */
static void check_nm(const icd_mask *mask, int n, int m)
{
    for (int64_t r = 0; r < ROWS; r++)
        for (int64_t g = 0; g < COLS; g += m) {
            int count = 0;
            float worst = INFINITY, best_dead = 0;
            for (int64_t s = g; s < g + m; s++) {
                int64_t c = order->old_of_new[s];
                float size = magnitude(r, c);
                count += alive(mask, r, c);
                if (alive(mask, r, c))
                    worst = fminf(worst, size);
                else
                    best_dead = fmaxf(best_dead, size);
            }
            assert_int_equal(count, n);
            assert_true(worst >= best_dead);
        }
}

static void n_of_m_neighbours_under_an_order(void **state)
{
    static const struct {
        int32_t type, n, m;
    } CASE[] = {
        {ICD_S_2_4, 2, 4}, {ICD_S_1_4, 1, 4}, {ICD_S_4_8, 4, 8}, {ICD_S_NM, 1, 3}};
    icd_sparsity_place place = {.order = order};
    icd_matrix w = matrix(0);
    (void)state;
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; i++) {
        icd_sparsity_opts opts = options(CASE[i].type, 1 - (double)CASE[i].n / CASE[i].m);
        icd_mask *mask = NULL;
        icd_transform_meta meta;
        opts.n = CASE[i].n;
        opts.m = CASE[i].m;
        assert_ok(ctx, icd_apply_sparsity_at(ctx, &w, NULL, &opts, &place, &mask, &meta));
        check_nm(mask, CASE[i].n, CASE[i].m);
        assert_int_equal(meta.unit, CASE[i].m);
        assert_true(meta.retained > 0 && meta.retained_in_place > 0);
        icd_mask_free(ctx, mask);
    }
}

static void n_of_m_that_does_not_fit_is_a_no_op(void **state)
{
    icd_sparsity_opts opts = options(ICD_S_2_4, .75);
    icd_matrix odd = {"odd", weights[0], ROWS, COLS - 2};
    icd_mask *mask = NULL;
    icd_transform_meta meta;
    (void)state;
    assert_ok(ctx, icd_apply_sparsity(ctx, &odd, NULL, &opts, &mask, &meta));
    assert_null(mask);
    assert_non_null(strstr(meta.reason, "multiple"));
}

static void n_of_m_says_itself_what_goes(void **state)
{
    icd_sparsity_opts opts = options(ICD_S_2_4, .5);
    (void)state;
    assert_ok(ctx, icd_sparsity_check(ctx, &opts));
    opts.rate = .75; /* the default, which nobody asked for */
    assert_ok(ctx, icd_sparsity_check(ctx, &opts));
    opts.rate = .6;
    assert_int_equal(icd_sparsity_check(ctx, &opts), ICD_EINVAL);
    assert_non_null(strstr(icd_ctx_message(ctx), "0.5"));
    opts.type = ICD_S_HDS;
    assert_ok(ctx, icd_sparsity_check(ctx, &opts));
}

static void blocks_are_whole_tiles_of_the_sorted_order(void **state)
{
    icd_sparsity_opts opts = options(ICD_S_BLOCK, .75);
    icd_matrix w[2] = {matrix(0), matrix(1)};
    icd_perm *sorted = NULL;
    icd_mask *mask = NULL;
    icd_transform_meta meta;
    int tiles = 0;
    (void)state;
    assert_ok(ctx, icd_sparsity_block_order(ctx, w, NULL, 2, &opts, ICD_FRAME_CHECKPOINT,
                                            &sorted));
    icd_sparsity_place place = {.order = sorted};
    assert_ok(ctx, icd_apply_sparsity_at(ctx, w, NULL, &opts, &place, &mask, &meta));
    for (int64_t b = 0; b < ROWS / 4; b++)
        for (int64_t g = 0; g < COLS; g += 3) {
            int live = 0;
            for (int64_t s = g; s < g + 3; s++)
                live += icd_i_mask_get(mask, b, sorted->old_of_new[s]);
            assert_true(live == 0 || live == 3);
            tiles += live / 3;
        }
    assert_int_equal(tiles, ROWS / 4 * COLS / 3 / 4);
    assert_true(meta.retained >= meta.retained_in_place);
    icd_mask_free(ctx, mask);
    icd_perm_free(ctx, sorted);
}

static void channels_die_in_every_row(void **state)
{
    icd_sparsity_opts opts = options(ICD_S_CHANNEL, .5);
    icd_matrix w = matrix(0);
    icd_mask *mask = NULL;
    icd_transform_meta meta;
    int live = 0;
    (void)state;
    assert_ok(ctx, icd_apply_sparsity(ctx, &w, NULL, &opts, &mask, &meta));
    for (int64_t c = 0; c < COLS; c++) {
        for (int64_t b = 1; b < mask->blocks; b++)
            assert_int_equal(icd_i_mask_get(mask, b, c), icd_i_mask_get(mask, 0, c));
        live += icd_i_mask_get(mask, 0, c);
    }
    assert_int_equal(live, COLS / 2);
    icd_mask_free(ctx, mask);
}

/* Both matrices together lose the asked share, each its own. */
static void a_common_budget(void **state)
{
    static const int32_t TYPE[] = {ICD_S_HDS, ICD_S_UNSTRUCTURED, ICD_S_BLOCK};
    icd_matrix w[2] = {matrix(0), matrix(1)};
    (void)state;
    for (size_t i = 0; i < sizeof TYPE / sizeof *TYPE; i++) {
        icd_sparsity_opts opts = options(TYPE[i], .5);
        icd_sparsity_place place = {0};
        double density[2];
        assert_ok(ctx, icd_sparsity_floor(ctx, w, NULL, NULL, 2, &opts, &place.floor));
        for (int m = 0; m < 2; m++) {
            icd_mask *mask = NULL;
            icd_transform_meta meta;
            assert_ok(ctx, icd_apply_sparsity_at(ctx, &w[m], NULL, &opts, &place, &mask,
                                                 &meta));
            density[m] = icd_i_mask_density(mask);
            icd_mask_free(ctx, mask);
        }
        assert_near(density[0] + density[1], 1, .01);
        assert_true(fabs(density[0] - density[1]) > .02);
    }
}

static double pruned_by(icd_matrix *w, const icd_sparsity_opts *opts, double floor)
{
    icd_sparsity_place place = {.floor = floor};
    icd_mask *mask = NULL;
    icd_transform_meta meta;
    assert_ok(ctx, icd_apply_sparsity_at(ctx, w, NULL, opts, &place, &mask, &meta));
    double density = mask ? icd_i_mask_density(mask) : 1;
    icd_mask_free(ctx, mask);
    return (1 - density) * (double)(w->rows * w->cols);
}

/* The budget counts weights, not units: channels of a tall matrix hold more of them. */
static void a_common_budget_counts_weights(void **state)
{
    icd_sparsity_opts opts = options(ICD_S_CHANNEL, .5);
    icd_matrix w[2] = {matrix(0), matrix(1)};
    double floor = 0, pruned = 0, all = 0;
    (void)state;
    w[1].rows = 4;
    assert_ok(ctx, icd_sparsity_floor(ctx, w, NULL, NULL, 2, &opts, &floor));
    for (int m = 0; m < 2; m++) {
        pruned += pruned_by(&w[m], &opts, floor);
        all += (double)(w[m].rows * w[m].cols);
    }
    assert_near(pruned / all, .5, (double)w[0].rows / all);
}

/* What is zero already costs nothing; what cannot be judged takes no part. */
static void a_common_budget_of_odd_matrices(void **state)
{
    static float none[ROWS * COLS], bad[ROWS * COLS];
    icd_sparsity_opts opts = options(ICD_S_HDS, .5);
    icd_matrix w[3] = {matrix(0), matrix(1), matrix(1)};
    double floor = 0, size = ROWS * COLS;
    (void)state;
    memcpy(bad, w[1].w, sizeof bad);
    bad[7] = NAN;
    w[1].w = none;
    w[2].w = bad;
    assert_ok(ctx, icd_sparsity_floor(ctx, w, NULL, NULL, 3, &opts, &floor));
    assert_near(pruned_by(&w[1], &opts, floor), size, 0);
    assert_near(pruned_by(&w[0], &opts, floor) / size, 0, .05);
    assert_near(pruned_by(&w[2], &opts, floor), 0, 0);
    opts.rate = .25; /* less than what is zero */
    assert_ok(ctx, icd_sparsity_floor(ctx, w, NULL, NULL, 2, &opts, &floor));
    assert_near(pruned_by(&w[1], &opts, floor), size, 0);
    assert_near(pruned_by(&w[0], &opts, floor), 0, 0);
}

/* A linear whose weights all go has an output that is nothing like the original. */
static void nothing_is_not_like_something(void **state)
{
    float x[2 * COLS] = {0}, w[2 * COLS];
    icd_matrix matrix = {"test", w, 2, COLS};
    icd_calibration cal = {.x = x, .tokens = 2};
    icd_sparsity_opts opts = options(ICD_S_CHANNEL, .5);
    icd_mask *mask = NULL;
    icd_transform_meta meta;
    (void)state;
    for (int c = 0; c < 2 * COLS; c++) w[c] = c % COLS ? 1 : 2;
    x[COLS - 1] = 1; /* token 0 shows only a channel that goes, token 1 nothing */
    assert_ok(ctx, icd_apply_sparsity(ctx, &matrix, &cal, &opts, &mask, &meta));
    assert_false(icd_i_mask_get(mask, 0, COLS - 1));
    assert_near(meta.cosine, .5, 1e-12);
    icd_mask_free(ctx, mask);
}

static void excluded_linears_are_left_alone(void **state)
{
    static const char *const PATTERN[] = {"layer.1.*"};
    icd_sparsity_opts opts = options(ICD_S_HDS, .5);
    icd_matrix w[2] = {matrix(0), matrix(1)};
    icd_mask *mask = NULL;
    icd_transform_meta meta;
    (void)state;
    opts.exclude = (icd_strings){.count = 1, .item = PATTERN};
    assert_ok(ctx, icd_apply_sparsity(ctx, &w[1], NULL, &opts, &mask, &meta));
    assert_null(mask);
    assert_non_null(strstr(meta.reason, "exclude"));
    assert_ok(ctx, icd_apply_sparsity(ctx, &w[0], NULL, &opts, &mask, &meta));
    assert_non_null(mask);
    icd_mask_free(ctx, mask);
}

static icd_status run_all(icd_ctx *c, void *arg)
{
    icd_status status = ICD_OK;
    icd_sparsity_opts opts = options(ICD_S_BLOCK, .5);
    icd_matrix w = matrix(0);
    icd_sparsity_place place = {0};
    icd_perm *sorted = NULL;
    icd_mask *mask = NULL;
    icd_transform_meta meta;
    (void)arg;
    status =
        icd_sparsity_block_order(c, &w, NULL, 1, &opts, ICD_FRAME_CHECKPOINT, &sorted);
    place.order = sorted;
    if (status == ICD_OK)
        status = icd_sparsity_floor(c, &w, NULL, &place, 1, &opts, &place.floor);
    if (status == ICD_OK)
        status = icd_apply_sparsity_at(c, &w, NULL, &opts, &place, &mask, &meta);
    icd_mask_free(c, mask);
    icd_perm_free(c, sorted);
    return status;
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(run_all, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n_of_m_neighbours_under_an_order),
        cmocka_unit_test(n_of_m_that_does_not_fit_is_a_no_op),
        cmocka_unit_test(n_of_m_says_itself_what_goes),
        cmocka_unit_test(blocks_are_whole_tiles_of_the_sorted_order),
        cmocka_unit_test(channels_die_in_every_row),
        cmocka_unit_test(a_common_budget),
        cmocka_unit_test(a_common_budget_counts_weights),
        cmocka_unit_test(a_common_budget_of_odd_matrices),
        cmocka_unit_test(nothing_is_not_like_something),
        cmocka_unit_test(excluded_linears_are_left_alone),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
