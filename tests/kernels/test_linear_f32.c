#include "levels.h"

#include "core/small_float.h"
#include "kernels/linear_f32.h"

#include "fixture.h"

/* Whole f32 and bf16 linears against the plain sum in the plan's order, with and without
   zeros in the input. */

enum { ROWS = 70, COLS = 45, TOKENS = 101, VECTOR = 32 };

static char NAME[] = "linear";

typedef struct problem {
    icd_layout_entry entry;
    float w[ROWS * COLS], bias[ROWS], x[TOKENS * COLS];
    uint16_t half[ROWS * COLS];
    float expected[TOKENS * ROWS], y[TOKENS * ROWS];
} problem;

static void mask_weights(problem *p, icd_rng *rng)
{
    assert_ok(ctx, icd_i_mask_new(ctx, ROWS, COLS, 16, &p->entry.mask));
    for (int64_t b = 0; b < p->entry.mask->blocks; b++)
        for (int64_t c = 0; c < COLS; c++)
            if (icd_i_rng_unit(rng) < .4) icd_i_mask_set(p->entry.mask, b, c);
    for (int64_t i = 0; i < ROWS * COLS; i++)
        if (!icd_i_mask_get(p->entry.mask, i / COLS / 16, i % COLS)) p->half[i] = 0;
}

/* Weights are exact in bf16, so that one sum serves both types. */
static void make(problem *p, uint64_t seed, double zeros)
{
    icd_rng rng;
    icd_i_rng_init(&rng, seed, 0);
    memset(p, 0, sizeof *p);
    p->entry = (icd_layout_entry){.linear = NAME, .rows = ROWS, .cols = COLS};
    for (int i = 0; i < ROWS * COLS; i++)
        p->half[i] = (uint16_t)(0x3F00 + icd_i_rng_below(&rng, 0x200));
    mask_weights(p, &rng);
    for (int i = 0; i < ROWS * COLS; i++) p->w[i] = icd_i_bf16_value(p->half[i]);
    fill_f32(&rng, p->bias, ROWS);
    fill_f32(&rng, p->x, TOKENS * COLS);
    for (int i = 0; i < TOKENS * COLS; i++)
        if (icd_i_rng_unit(&rng) < zeros) p->x[i] = 0;
    assert_ok(ctx, icd_perm_identity(ctx, COLS, 0, &p->entry.order));
    icd_i_rng_shuffle(&rng, p->entry.order->old_of_new, COLS);
    for (int t = 0; t < TOKENS; t++)
        for (int r = 0; r < ROWS; r++) {
            float sum = 0;
            for (int s = 0; s < COLS; s++) {
                int32_t c = p->entry.order->old_of_new[s];
                sum = fmaf(p->x[t * COLS + c], p->w[r * COLS + c], sum);
            }
            p->expected[t * ROWS + r] = sum + p->bias[r];
        }
}

static void release(problem *p)
{
    icd_i_mask_free(ctx, p->entry.mask);
    icd_perm_free(ctx, p->entry.order);
}

/* Two calls split the blocks, as two threads would. */
static void run(const icd_kernels *k, const icd_f32_linear *l, problem *p, int64_t tokens)
{
    const icd_plan *plan = l->plan;
    float *a = checked_malloc((size_t)(tokens * plan->slots) * sizeof *a);
    void *scratch = checked_malloc((size_t)icd_i_f32_scratch(plan));
    for (int64_t t = 0; t < tokens; t += ICD_PANEL)
        k->pack_panel(p->x + t * COLS, COLS,
                      tokens - t < ICD_PANEL ? tokens - t : ICD_PANEL, plan->old_of_new,
                      COLS, plan->slots, a + t * plan->slots);
    memset(p->y, 0x5A, sizeof p->y);
    icd_i_f32_run(k, l, a, tokens, 1, plan->blocks, p->y, ROWS, scratch);
    icd_i_f32_run(k, l, a, tokens, 0, 1, p->y, ROWS, scratch);
    assert_same_f32(p->y, p->expected, tokens * ROWS, icd_i_isa_name(k->isa));
    free(scratch);
    free(a);
}

static void check(problem *p, int32_t kernel, int32_t granule)
{
    icd_plan *plan = NULL;
    p->entry.kernel = kernel;
    p->entry.granule = granule;
    assert_ok(ctx, icd_i_plan_new(ctx, &p->entry, VECTOR, &plan));
    size_t channels = (size_t)icd_i_plan_groups(plan) * 4;
    int32_t *column =
        checked_malloc((size_t)icd_i_plan_widest(plan) * 4 * sizeof *column);
    int32_t *channel = checked_malloc(channels * sizeof *channel);
    float *w = checked_malloc(channels * VECTOR * sizeof *w);
    uint16_t *half = checked_malloc(channels * VECTOR * sizeof *half);
    icd_i_f32_channels(plan, channel);
    icd_i_f32_pack(plan, p->w, column, w);
    icd_i_bf16_pack(plan, p->half, column, half);
    icd_f32_linear f32 = {plan, w, NULL, channel, p->bias, false};
    icd_f32_linear bf16 = {plan, NULL, half, channel, p->bias, false};
    for (int i = 0; level_at(i); i++)
        for (int64_t tokens = 1; tokens <= TOKENS; tokens += tokens < 8 ? 1 : 31) {
            run(level_at(i), &f32, p, tokens);
            run(level_at(i), &bf16, p, tokens);
        }
    free(half);
    free(w);
    free(channel);
    free(column);
    icd_i_plan_free(ctx, plan);
}

static void every_plan_gives_the_plain_sum(void **state)
{
    static problem p;
    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++) {
        make(&p, seed, (double)seed * .45);
        check(&p, ICD_KERNEL_DENSE, 4);
        check(&p, ICD_KERNEL_GATHER, 1);
        check(&p, ICD_KERNEL_TILE, 4);
        check(&p, ICD_KERNEL_TILE, 16);
        release(&p);
    }
}

/* The weights of a channel that is zero are not read: what they hold does not matter. */
static void zeros_are_skipped(void **state)
{
    static problem p;
    (void)state;
    make(&p, 9, 0);
    icd_i_mask_free(ctx, p.entry.mask);
    p.entry.mask = NULL;
    for (int t = 0; t < TOKENS; t++)
        for (int c = 0; c < COLS; c += 2) p.x[t * COLS + c] = 0;
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c += 2) p.w[r * COLS + c] = NAN;
    for (int t = 0; t < TOKENS; t++)
        for (int r = 0; r < ROWS; r++) {
            float sum = 0;
            for (int s = 0; s < COLS; s++) {
                int32_t c = p.entry.order->old_of_new[s];
                if (c % 2) sum = fmaf(p.x[t * COLS + c], p.w[r * COLS + c], sum);
            }
            p.expected[t * ROWS + r] = sum + p.bias[r];
        }
    icd_plan *plan = NULL;
    p.entry.kernel = ICD_KERNEL_DENSE;
    assert_ok(ctx, icd_i_plan_new(ctx, &p.entry, VECTOR, &plan));
    size_t channels = (size_t)icd_i_plan_groups(plan) * 4;
    int32_t *column = checked_malloc(channels * sizeof *column);
    int32_t *channel = checked_malloc(channels * sizeof *channel);
    float *w = checked_malloc(channels * VECTOR * sizeof *w);
    icd_i_f32_channels(plan, channel);
    icd_i_f32_pack(plan, p.w, column, w);
    icd_f32_linear l = {plan, w, NULL, channel, p.bias, false};
    for (int i = 0; level_at(i); i++)
        for (int64_t tokens = 1; tokens <= ICD_PANEL; tokens++)
            run(level_at(i), &l, &p, tokens);
    free(w);
    free(channel);
    free(column);
    icd_i_plan_free(ctx, plan);
    release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_plan_gives_the_plain_sum),
        cmocka_unit_test(zeros_are_skipped),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
