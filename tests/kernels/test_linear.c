#include "levels.h"

#include "kernels/linear.h"

#include "fixture.h"

/* A masked int8 matrix, its input and the naive result. */
typedef struct problem {
    int64_t rows, cols, tokens;
    icd_layout_entry entry;
    int8_t *q, *a;
    float *scale, *bias, *a_scale, *expected, *y;
} problem;

static char NAME[] = "linear";

/* Every fifth row block keeps nothing at all. */
static void make_mask(icd_rng *rng, problem *p, int32_t vector, double density)
{
    icd_mask *m = NULL;
    assert_ok(ctx, icd_i_mask_new(ctx, p->rows, p->cols, vector, &m));
    for (int64_t b = 0; b < m->blocks; b++)
        for (int64_t c = 0; c < p->cols; c++)
            if (b % 5 != 4 && icd_i_rng_unit(rng) < density) icd_i_mask_set(m, b, c);
    for (int64_t r = 0; r < p->rows; r++)
        for (int64_t c = 0; c < p->cols; c++)
            if (!icd_i_mask_get(m, r / vector, c)) p->q[r * p->cols + c] = 0;
    p->entry.mask = m;
}

static void multiply(problem *p)
{
    for (int64_t t = 0; t < p->tokens; t++)
        for (int64_t r = 0; r < p->rows; r++) {
            int32_t sum = 0;
            for (int64_t c = 0; c < p->cols; c++)
                sum += p->a[t * p->cols + c] * p->q[r * p->cols + c];
            float product = (float)sum * (p->a_scale[t] * p->scale[r]);
            p->expected[t * p->rows + r] = p->bias ? product + p->bias[r] : product;
        }
}

static problem make_problem(uint64_t seed, int64_t rows, int64_t cols, int64_t tokens)
{
    problem p = {.rows = rows, .cols = cols, .tokens = tokens};
    icd_rng rng;
    icd_i_rng_init(&rng, seed, 1);
    p.q = checked_malloc((size_t)(rows * cols));
    p.a = checked_malloc((size_t)(tokens * cols));
    p.scale = checked_malloc((size_t)rows * sizeof(float));
    p.bias = checked_malloc((size_t)rows * sizeof(float));
    p.a_scale = checked_malloc((size_t)tokens * sizeof(float));
    p.expected = checked_malloc((size_t)(tokens * rows) * sizeof(float));
    p.y = checked_malloc((size_t)(tokens * rows) * sizeof(float));
    fill_int8(&rng, p.q, rows * cols);
    fill_int8(&rng, p.a, tokens * cols);
    fill_f32(&rng, p.scale, rows);
    fill_f32(&rng, p.bias, rows);
    fill_f32(&rng, p.a_scale, tokens);
    p.entry = (icd_layout_entry){.linear = NAME, .rows = rows, .cols = cols};
    make_mask(&rng, &p, seed % 2 ? 16 : 5, (double)(seed % 4) / 4 + .1);
    assert_ok(ctx, icd_perm_identity(ctx, cols, 0, &p.entry.order));
    if (seed % 3) icd_i_rng_shuffle(&rng, p.entry.order->old_of_new, cols);
    multiply(&p);
    return p;
}

static void release(problem *p)
{
    icd_i_mask_free(ctx, p->entry.mask);
    icd_perm_free(ctx, p->entry.order);
    free(p->q);
    free(p->a);
    free(p->scale);
    free(p->bias);
    free(p->a_scale);
    free(p->expected);
    free(p->y);
}

/* The activations as quantize_row leaves them: in the plan's slots. */
static int8_t *slots_of(const problem *p, const icd_plan *plan)
{
    int8_t *a = checked_malloc((size_t)(p->tokens * plan->slots));
    for (int64_t t = 0; t < p->tokens; t++)
        for (int64_t s = 0; s < plan->slots; s++) {
            int32_t c = plan->old_of_new[s];
            a[t * plan->slots + s] = c < 0 ? 0 : p->a[t * p->cols + c];
        }
    return a;
}

/* Two calls split the blocks, as two threads would. */
static void run_plan(const problem *p, const icd_kernels *k, const icd_plan *plan)
{
    int8_t *w = checked_malloc((size_t)icd_i_linear_bytes(plan));
    size_t rows = (size_t)(plan->blocks * plan->vector);
    int32_t *comp = checked_malloc(rows * sizeof *comp);
    int32_t *column =
        checked_malloc((size_t)icd_i_plan_widest(plan) * 4 * sizeof *column);
    void *scratch = checked_malloc((size_t)icd_i_linear_scratch(plan));
    int8_t *a = slots_of(p, plan);
    icd_packed_linear l = {plan, w, comp, p->scale, p->bias};
    icd_i_linear_pack(plan, p->q, column, w, comp);
    memset(p->y, 0x5A, (size_t)(p->tokens * p->rows) * sizeof *p->y);
    icd_i_linear_run(k, &l, a, p->a_scale, p->tokens, plan->blocks / 2, plan->blocks,
                     p->y, p->rows, scratch);
    icd_i_linear_run(k, &l, a, p->a_scale, p->tokens, 0, plan->blocks / 2, p->y, p->rows,
                     scratch);
    free(a);
    free(scratch);
    free(column);
    free(comp);
    free(w);
}

static void check_plan(problem *p, int32_t kernel, int32_t granule, int32_t vector)
{
    char what[96];
    icd_plan *plan = NULL;
    p->entry.kernel = kernel;
    p->entry.granule = granule;
    assert_ok(ctx, icd_i_plan_new(ctx, &p->entry, vector, &plan));
    for (int i = 0; level_at(i); i++) {
        run_plan(p, level_at(i), plan);
        snprintf(what, sizeof what, "%s, kernel %d, g %d, V %d, %lld x %lld, %lld tokens",
                 icd_i_isa_name(level_at(i)->isa), kernel, granule, vector,
                 (long long)p->rows, (long long)p->cols, (long long)p->tokens);
        assert_same_f32(p->y, p->expected, p->tokens * p->rows, what);
    }
    icd_i_plan_free(ctx, plan);
}

/* Whatever the kernel, granule, row block and order: the naive product, bit for bit. */
static void every_plan_gives_the_naive_product(void **state)
{
    static const int64_t ROWS[] = {1, 16, 70, 130}, COLS[] = {1, 3, 4, 37, 64, 130};
    static const int64_t TOKENS[] = {1, 2, 7, 97};
    (void)state;
    for (uint64_t seed = 0; seed < 4 * 6 * 4; seed++) {
        problem p =
            make_problem(seed, ROWS[seed % 4], COLS[seed / 4 % 6], TOKENS[seed / 24 % 4]);
        for (int32_t vector = 16; vector <= 128; vector *= 2) {
            check_plan(&p, ICD_KERNEL_DENSE, 0, vector);
            check_plan(&p, ICD_KERNEL_GATHER, 0, vector);
            for (int32_t g = 4; g <= 64; g *= 2)
                check_plan(&p, ICD_KERNEL_TILE, g, vector);
        }
        release(&p);
    }
}

static void no_bias_adds_nothing(void **state)
{
    problem p = make_problem(5, 70, 37, 7);
    (void)state;
    free(p.bias);
    p.bias = NULL;
    multiply(&p);
    check_plan(&p, ICD_KERNEL_TILE, 8, 64);
    release(&p);
}

/* Without a mask the tile plan lists everything: same weights, same live groups. */
static void all_live_tile_is_dense(void **state)
{
    problem p = make_problem(7, 130, 128, 3);
    icd_plan *dense = NULL, *tile = NULL;
    (void)state;
    icd_i_mask_free(ctx, p.entry.mask);
    p.entry.mask = NULL;
    p.entry.kernel = ICD_KERNEL_DENSE;
    assert_ok(ctx, icd_i_plan_new(ctx, &p.entry, 64, &dense));
    p.entry.kernel = ICD_KERNEL_TILE;
    p.entry.granule = 16;
    assert_ok(ctx, icd_i_plan_new(ctx, &p.entry, 64, &tile));
    assert_int_equal(icd_i_plan_groups(tile), icd_i_plan_groups(dense));
    assert_memory_equal(tile->live, dense->live,
                        (size_t)icd_i_plan_groups(dense) * sizeof *dense->live);
    check_plan(&p, ICD_KERNEL_TILE, 16, 64);
    icd_i_plan_free(ctx, dense);
    icd_i_plan_free(ctx, tile);
    release(&p);
}

/* Live groups without a hole take the dense path, wherever they begin. */
static void a_run_of_groups_may_begin_anywhere(void **state)
{
    (void)state;
    for (int64_t first = 0; first < 64; first += 12) {
        problem p = make_problem(3, 32, 64, 5);
        for (int64_t c = 0; c < 64; c++)
            for (int64_t r = 0; r < 32; r++) {
                bool alive = c >= first && c < first + 12;
                uint64_t bit = UINT64_C(1) << c;
                p.entry.mask->bits[r / 16] &= ~bit;
                p.entry.mask->bits[r / 16] |= alive ? bit : 0;
                p.q[r * 64 + c] = alive ? (int8_t)(r - c) : 0;
            }
        multiply(&p);
        check_plan(&p, ICD_KERNEL_TILE, 4, 16);
        check_plan(&p, ICD_KERNEL_GATHER, 0, 16);
        release(&p);
    }
}

/* Groups that are zero in all of a few tokens are left out, whatever the kernel. */
static void zeros_in_the_input_change_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed++) {
        problem p = make_problem(seed, 70, 130, 1 + (int64_t)seed % 7);
        for (int64_t i = 0; i < p.tokens * p.cols; i++)
            if (i % p.cols / 4 % 3 != 1) p.a[i] = 0;
        multiply(&p);
        check_plan(&p, ICD_KERNEL_DENSE, 0, 64);
        check_plan(&p, ICD_KERNEL_GATHER, 0, 64);
        check_plan(&p, ICD_KERNEL_TILE, 4, 64);
        check_plan(&p, ICD_KERNEL_TILE, 16, 32);
        release(&p);
    }
}

/* A NaN in one token reaches that token's outputs and no other. */
static void nan_in_a_row_stays_visible(void **state)
{
    problem p = make_problem(2, 16, 37, 3);
    (void)state;
    p.a_scale[1] = NAN;
    multiply(&p);
    assert_true(isnan(p.expected[16]));
    check_plan(&p, ICD_KERNEL_TILE, 4, 16);
    assert_true(isfinite(p.y[0]) && isfinite(p.y[32]));
    release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_plan_gives_the_naive_product),
        cmocka_unit_test(no_bias_adds_nothing),
        cmocka_unit_test(all_live_tile_is_dense),
        cmocka_unit_test(a_run_of_groups_may_begin_anywhere),
        cmocka_unit_test(zeros_in_the_input_change_nothing),
        cmocka_unit_test(nan_in_a_row_stays_visible),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
