#include "fixture.h"

#include "base/rng.h"
#include "core/addrs.h"

#include <string.h>

enum { ROWS = 40, COLS = 24, VECTOR = 16, RUNS_MOST = 1 << 16 };

static char NAME[] = "a";

/* A random mask keeps about a third of the columns of every row block. */
static icd_plan *make_plan(int32_t kernel, uint64_t seed)
{
    icd_layout_entry e = {
        .linear = NAME, .rows = ROWS, .cols = COLS, .kernel = kernel, .granule = 4};
    icd_plan *plan = NULL;
    icd_rng rng;
    icd_i_rng_init(&rng, seed, 0);
    assert_ok(ctx, icd_i_mask_new(ctx, ROWS, COLS, VECTOR, &e.mask));
    for (int64_t b = 0; b < e.mask->blocks; b++)
        for (int64_t c = 0; c < COLS; c++)
            if (icd_i_rng_below(&rng, 3) == 0) icd_i_mask_set(e.mask, b, c);
    assert_ok(ctx, icd_i_plan_new(ctx, &e, VECTOR, &plan));
    icd_i_mask_free(ctx, e.mask);
    return plan;
}

/* The same accesses by loops that run forwards. */
typedef struct oracle {
    icd_addr_run *run;
    int64_t count, bits[2], bytes[2]; /* of weights, of activations */
    uint64_t weights[2], indices[2], buffer[3];
} oracle;

static void put(oracle *o, uint64_t address, int64_t bytes, int64_t agent, bool write)
{
    if (bytes == 0) return;
    assert_true(o->count < RUNS_MOST);
    o->run[o->count++] = (icd_addr_run){address, (uint32_t)bytes, (uint16_t)agent, write};
}

static uint64_t round_up(int64_t bytes)
{
    return ((uint64_t)bytes + 63) / 64 * 64;
}

static int64_t entries(const icd_plan *p)
{
    return p->kernel == ICD_KERNEL_GATHER ? 4 : 1;
}

static void place(oracle *o, icd_plan *const *plan, int64_t tokens)
{
    uint64_t top = 0;
    for (int i = 0; i < 2; i++) {
        int64_t groups = icd_i_plan_groups(plan[i]);
        o->weights[i] = top;
        top += round_up(groups * VECTOR * 4 * o->bits[i] / 8);
        o->indices[i] = top;
        top += round_up(groups * entries(plan[i]) * 4);
    }
    /* linear 0: buffer 0 -> 1; linear 1: buffer 1 -> 2 */
    o->buffer[0] = top;
    o->buffer[1] = top += round_up(tokens * plan[0]->slots * o->bytes[0]);
    int64_t written = tokens * ROWS * 4, read = tokens * plan[1]->slots * o->bytes[1];
    o->buffer[2] = top + round_up(written > read ? written : read);
}

static void token_reads(oracle *o, const icd_plan *p, int i, int64_t first, int64_t last,
                        int64_t token, int64_t agent)
{
    int64_t per = entries(p), unit = per == 4 ? 1 : 4;
    int64_t from = first * per, to = last * per;
    for (int64_t k = from; k < to;) {
        int64_t end = k + 1;
        while (end < to && p->live[end] == p->live[end - 1] + 1) end++;
        put(o,
            o->buffer[i] +
                (uint64_t)((token * p->slots + p->live[k] * unit) * o->bytes[i]),
            (end - k) * unit * o->bytes[i], agent, false);
        k = end;
    }
}

/* at: tokens from, to; groups from, to; agent. */
static void pass_reads(oracle *o, const icd_plan *p, int i, const icd_addrs_opts *opts,
                       const int64_t at[5])
{
    int64_t groups = at[3] - at[2];
    for (int64_t t = at[0]; t < at[1]; t += opts->tile) {
        put(o, o->weights[i] + (uint64_t)(at[2] * VECTOR * 4 * o->bits[i] / 8),
            groups * VECTOR * 4 * o->bits[i] / 8, at[4], false);
        if (p->kernel != ICD_KERNEL_DENSE)
            put(o, o->indices[i] + (uint64_t)(at[2] * entries(p) * 4),
                groups * entries(p) * 4, at[4], false);
        for (int64_t u = t; u < t + opts->tile && u < at[1]; u++)
            token_reads(o, p, i, at[2], at[3], u, at[4]);
    }
}

static void expect(oracle *o, const icd_plan *p, int i, const icd_addrs_opts *opts)
{
    for (int64_t b = 0; b < p->blocks; b++)
        for (int64_t c = 0; c < opts->tokens; c += opts->chunk) {
            int64_t stop =
                c + opts->chunk < opts->tokens ? c + opts->chunk : opts->tokens;
            int64_t rows = ROWS - b * VECTOR, agent = b % opts->agents;
            int64_t last = p->block_ptr[b + 1], first = p->block_ptr[b];
            do {
                int64_t end = last - first < opts->pass ? last : first + opts->pass;
                pass_reads(o, p, i, opts, (int64_t[]){c, stop, first, end, agent});
                first = end;
            } while (first < last);
            for (int64_t t = c; t < stop; t++)
                put(o, o->buffer[i + 1] + (uint64_t)((t * ROWS + b * VECTOR) * 4),
                    (rows < VECTOR ? rows : VECTOR) * 4, agent, true);
        }
}

static void check_stream(icd_addrs *a, const oracle *o)
{
    icd_addr_run run[7];
    int64_t n, at = 0;
    while ((n = a->next(a->self, run, 7)) > 0)
        for (int64_t i = 0; i < n; i++, at++) {
            assert_true(at < o->count);
            assert_int_equal(run[i].address, o->run[at].address);
            assert_int_equal(run[i].bytes, o->run[at].bytes);
            assert_int_equal(run[i].agent, o->run[at].agent);
            assert_int_equal(run[i].write, o->run[at].write);
        }
    assert_int_equal(at, o->count);
}

static void test_same_as_loops(void **state)
{
    static const int32_t KERNEL[][2] = {{ICD_KERNEL_TILE, ICD_KERNEL_GATHER},
                                        {ICD_KERNEL_DENSE, ICD_KERNEL_TILE},
                                        {ICD_KERNEL_GATHER, ICD_KERNEL_DENSE}};
    static const icd_addrs_opts OPTS[] = {
        {.tokens = 1, .chunk = 96, .pass = 64, .tile = 2, .agents = 1},
        {.tokens = 7, .chunk = 4, .pass = 2, .tile = 2, .agents = 3},
        {.tokens = 8, .chunk = 8, .pass = 1, .tile = 3, .agents = 2},
        {.tokens = 5, .chunk = 1, .pass = 3, .tile = 1, .agents = 1}};
    static icd_addr_run memory[RUNS_MOST];
    (void)state;
    for (size_t k = 0; k < 3; k++)
        for (size_t c = 0; c < 4; c++) {
            icd_plan *plan[2] = {make_plan(KERNEL[k][0], k), make_plan(KERNEL[k][1], 9)};
            icd_addrs_linear linear[] = {{plan[0], 0, 1}, {plan[1], 1, 2}};
            const int32_t bits[] = {8, 4}, bytes[] = {1, 4};
            oracle o = {.run = memory, .bits = {8, 4}, .bytes = {1, 4}};
            icd_addrs_opts opts = OPTS[c];
            opts.weight_bits = bits;
            opts.input_bytes = bytes;
            icd_addrs *a = NULL;
            place(&o, plan, OPTS[c].tokens);
            expect(&o, plan[0], 0, &OPTS[c]);
            expect(&o, plan[1], 1, &OPTS[c]);
            assert_ok(ctx, icd_i_addrs_plans(ctx, linear, 2, &opts, &a));
            assert_int_equal(a->agents, OPTS[c].agents);
            check_stream(a, &o);
            a->rewind(a->self);
            check_stream(a, &o);
            icd_i_addrs_free(ctx, a);
            icd_i_plan_free(ctx, plan[0]);
            icd_i_plan_free(ctx, plan[1]);
        }
}

static void test_wrong_arguments(void **state)
{
    (void)state;
    icd_plan *plan = make_plan(ICD_KERNEL_TILE, 1);
    icd_addrs_linear linear = {plan, 0, 1}, below = {plan, -1, 1}, beyond = {plan, 0, 9};
    const int32_t bits = 64;
    icd_addrs_opts none = {0}, wide = {.tokens = 1, .weight_bits = &bits},
                   one = {.tokens = 1}, many = {.tokens = 1, .agents = 70000};
    icd_addrs *a = NULL;
    assert_fails(ctx, ICD_EINVAL, "0 tokens",
                 icd_i_addrs_plans(ctx, &linear, 1, &none, &a));
    assert_fails(ctx, ICD_EINVAL, "buffers -1",
                 icd_i_addrs_plans(ctx, &below, 1, &one, &a));
    assert_fails(ctx, ICD_EINVAL, "buffers 0 and 9",
                 icd_i_addrs_plans(ctx, &beyond, 1, &one, &a));
    assert_fails(ctx, ICD_EINVAL, "70000 agents",
                 icd_i_addrs_plans(ctx, &linear, 1, &many, &a));
    assert_fails(ctx, ICD_EINVAL, "64 bits",
                 icd_i_addrs_plans(ctx, &linear, 1, &wide, &a));
    assert_null(a);
    icd_i_addrs_free(ctx, NULL);
    icd_i_plan_free(ctx, plan);
}

static void test_nothing_to_touch(void **state)
{
    icd_addrs *a = NULL;
    icd_addrs_opts opts = {.tokens = 3};
    icd_addr_run run;
    (void)state;
    assert_ok(ctx, icd_i_addrs_plans(ctx, NULL, 0, &opts, &a));
    assert_int_equal(a->next(a->self, &run, 1), 0);
    icd_i_addrs_free(ctx, a);
}

static icd_status make(icd_ctx *c, void *arg)
{
    icd_addrs *a = NULL;
    icd_addrs_opts opts = {.tokens = 3};
    icd_status status = icd_i_addrs_plans(c, arg, 1, &opts, &a);
    icd_i_addrs_free(c, a);
    return status;
}

static void test_memory(void **state)
{
    (void)state;
    icd_plan *plan = make_plan(ICD_KERNEL_TILE, 1);
    icd_addrs_linear linear = {plan, 0, 1};
    icd_test_failing_allocations(make, &linear);
    icd_i_plan_free(ctx, plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_loops),
        cmocka_unit_test(test_wrong_arguments),
        cmocka_unit_test(test_nothing_to_touch),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
