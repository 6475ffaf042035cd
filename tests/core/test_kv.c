/* The paged KV cache: tokens keep what they are through drops, compaction and copies. */
#include "core/kv.h"

#include "base/rng.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HEADS = 2, DIM = 6, WIDTH = HEADS * DIM, PAGE = 4, TOKENS = 23 };

static const icd_kv_shape SHAPE = {HEADS, DIM, PAGE, 3, TOKENS, false};

/* Value i of the key (or value) of the token at `position` of a sequence. */
static float value_of(int64_t sequence, int64_t position, int64_t i, bool key)
{
    return sinf((float)(sequence * 1000 + position * 37 + i * 5 + key));
}

static void append(icd_kv *kv, int64_t sequence, int64_t count)
{
    float k[WIDTH], v[WIDTH];
    for (int64_t t = 0; t < count; t++) {
        int64_t at = kv->sequence[sequence].next;
        for (int64_t i = 0; i < WIDTH; i++) {
            k[i] = value_of(sequence, at, i, true);
            v[i] = value_of(sequence, at, i, false);
        }
        icd_i_kv_append(kv, sequence, k, v);
        icd_kv_slot last[TOKENS];
        icd_i_kv_list(kv, sequence, last);
        kv->mass[icd_i_kv_at(kv, last[kv->sequence[sequence].live - 1])] = (float)at;
    }
}

/* Every live token holds what was written at its position; pages add up. */
static void check(const icd_kv *kv, double bound)
{
    int64_t taken = 0, tokens = 0;
    for (int64_t s = 0; s < kv->shape.sequences; s++) {
        icd_kv_slot slot[TOKENS];
        icd_i_kv_list(kv, s, slot);
        for (int64_t i = 0; i < kv->sequence[s].live; i++) {
            float k[WIDTH], v[WIDTH];
            int32_t position = kv->position[icd_i_kv_at(kv, slot[i])];
            icd_i_kv_get(kv, slot[i], k, v);
            assert_true(kv->mass[icd_i_kv_at(kv, slot[i])] == (float)position);
            for (int64_t j = 0; j < WIDTH; j++) {
                assert_true(fabsf(k[j] - value_of(s, position, j, true)) <= bound);
                assert_true(fabsf(v[j] - value_of(s, position, j, false)) <= bound);
            }
        }
        taken += kv->sequence[s].pages;
        tokens += kv->sequence[s].live;
    }
    icd_kv_use use = icd_i_kv_use(kv);
    assert_int_equal(use.pages, taken);
    assert_int_equal(use.tokens, tokens);
    assert_int_equal(use.bytes, taken * use.page_bytes);
    assert_int_equal(kv->free_pages, kv->pages - taken);
}

static icd_kv *filled(icd_ctx *ctx, const icd_kv_shape *shape)
{
    icd_kv *kv = NULL;
    assert_ok(ctx, icd_i_kv_new(ctx, shape, &kv));
    append(kv, 0, TOKENS);
    append(kv, 1, 1);
    append(kv, 2, 9);
    append(kv, 1, 7);
    return kv;
}

static void test_append(void **state)
{
    icd_ctx *ctx = *state;
    icd_kv *kv = filled(ctx, &SHAPE);
    check(kv, 0);
    assert_int_equal(kv->sequence[0].pages, 6);
    assert_int_equal(kv->sequence[1].pages, 2);
    icd_i_kv_clear(kv, 0);
    check(kv, 0);
    append(kv, 0, 5);
    check(kv, 0);
    icd_i_kv_free(ctx, kv);
}

static void test_pop_restores(void **state)
{
    icd_ctx *ctx = *state;
    icd_kv *kv = filled(ctx, &SHAPE);
    for (int i = 0; i < 20; i++) {
        icd_kv_use before = icd_i_kv_use(kv);
        append(kv, 1, 2);
        icd_i_kv_pop(kv, 1);
        check(kv, 0);
        icd_i_kv_pop(kv, 1);
        check(kv, 0);
        assert_int_equal(icd_i_kv_use(kv).pages, before.pages);
        if (kv->sequence[1].next + 3 < TOKENS) append(kv, 1, 1);
    }
    icd_i_kv_free(ctx, kv);
}

/* Drops frees only pages that it empties; compaction leaves ceil(live / page). */
static void test_drop_and_compact(void **state)
{
    icd_ctx *ctx = *state;
    icd_rng rng;
    for (uint64_t seed = 0; seed < 20; seed++) {
        icd_kv *kv = filled(ctx, &SHAPE);
        icd_kv_slot slot[TOKENS], drop[TOKENS];
        int64_t n = 0, live = kv->sequence[0].live;
        icd_i_rng_init(&rng, seed, 1);
        icd_i_kv_list(kv, 0, slot);
        for (int64_t i = 0; i < live; i++)
            if (icd_i_rng_below(&rng, 3) > 0) drop[n++] = slot[i];
        icd_i_kv_drop(kv, 0, drop, n);
        check(kv, 0);
        assert_int_equal(kv->sequence[0].live, live - n);
        assert_int_equal(kv->sequence[0].next, TOKENS);
        assert_ok(ctx, icd_i_kv_permute(ctx, kv, 0, NULL));
        check(kv, 0);
        assert_int_equal(kv->sequence[0].pages, (live - n + PAGE - 1) / PAGE);
        append(kv, 1, 3);
        icd_i_kv_pop(kv, 1);
        check(kv, 0);
        icd_i_kv_free(ctx, kv);
    }
}

static void test_permute(void **state)
{
    icd_ctx *ctx = *state;
    icd_kv *kv = filled(ctx, &SHAPE);
    icd_kv_slot before[TOKENS], after[TOKENS];
    int32_t order[TOKENS], position[TOKENS];
    icd_i_kv_list(kv, 2, before);
    icd_i_kv_drop(kv, 2, before + 3, 1);
    icd_i_kv_list(kv, 2, before);
    for (int32_t i = 0; i < 8; i++) {
        order[i] = (i * 3 + 2) % 8;
        position[i] = kv->position[icd_i_kv_at(kv, before[i])];
    }
    assert_ok(ctx, icd_i_kv_permute(ctx, kv, 2, order));
    check(kv, 0);
    icd_i_kv_list(kv, 2, after);
    for (int32_t i = 0; i < 8; i++)
        assert_int_equal(kv->position[icd_i_kv_at(kv, after[i])], position[order[i]]);
    order[0] = order[1];
    assert_int_equal(icd_i_kv_permute(ctx, kv, 2, order), ICD_EDATA);
    check(kv, 0);
    append(kv, 2, 2);
    check(kv, 0);
    icd_i_kv_free(ctx, kv);
}

/* A slot without a token holds zeros, whatever stood there. */
static void test_dead_slots_are_zero(void **state)
{
    icd_ctx *ctx = *state;
    for (int int8 = 0; int8 < 2; int8++) {
        icd_kv_shape shape = SHAPE;
        icd_kv *kv = NULL;
        float bad[WIDTH];
        icd_kv_slot slot[TOKENS];
        shape.int8 = int8;
        for (int i = 0; i < WIDTH; i++) bad[i] = NAN;
        assert_ok(ctx, icd_i_kv_new(ctx, &shape, &kv));
        append(kv, 0, 1);
        icd_i_kv_append(kv, 0, bad, bad);
        icd_i_kv_list(kv, 0, slot);
        icd_i_kv_drop(kv, 0, slot + 1, 1);
        for (int64_t h = 0; h < HEADS; h++)
            for (int64_t i = 0; i < DIM; i++) {
                int64_t at = icd_i_kv_head(kv, slot[1].page, h) + DIM + i;
                assert_true(int8 ? kv->v8[at] == 0 : kv->v[at] == 0);
            }
        for (int64_t h = 0; int8 && h < HEADS; h++)
            assert_true(kv->v_scale[icd_i_kv_scale(kv, slot[1].page, h) + 1] == 0);
        icd_i_kv_free(ctx, kv);
    }
}

static void test_int8(void **state)
{
    icd_ctx *ctx = *state;
    icd_kv *kv = filled(ctx, &SHAPE), *small = NULL, *again = NULL, *wide = NULL;
    icd_kv_slot slot[TOKENS];
    icd_i_kv_list(kv, 0, slot);
    icd_i_kv_drop(kv, 0, slot + 2, 5);
    assert_ok(ctx, icd_i_kv_copy(ctx, kv, true, &small));
    check(small, .5 / 127 + 1e-6);
    check(kv, 0);
    assert_ok(ctx, icd_i_kv_permute(ctx, small, 0, NULL));
    append(small, 1, 2);
    check(small, .5 / 127 + 1e-6);
    assert_ok(ctx, icd_i_kv_copy(ctx, small, true, &again));
    assert_ok(ctx, icd_i_kv_copy(ctx, small, false, &wide));
    check(again, .5 / 127 + 1e-6);
    check(wide, .5 / 127 + 1e-6);
    assert_int_equal(icd_i_kv_use(kv).page_bytes, 2 * HEADS * PAGE * DIM * 4);
    assert_int_equal(icd_i_kv_use(small).page_bytes, 2 * HEADS * PAGE * (DIM + 4));
    icd_i_kv_free(ctx, kv);
    icd_i_kv_free(ctx, small);
    icd_i_kv_free(ctx, again);
    icd_i_kv_free(ctx, wide);
}

static void test_shapes(void **state)
{
    icd_ctx *ctx = *state;
    static const icd_kv_shape BAD[] = {
        {0, 4, 4, 1, 1, false},
        {1, 0, 4, 1, 1, false},
        {1, 4, 0, 1, 1, false},
        {1, 4, 4, 0, 1, false},
        {1, 4, 4, 1, 0, false},
        {1, 4, 4, 1 << 20, 1 << 20, false},
        {1 << 20, 1 << 20, 4, 1, 1, false},
        {-1, -4, 4, 1, 1, false},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        icd_kv *kv = NULL;
        assert_int_equal(icd_i_kv_new(ctx, &BAD[i], &kv), ICD_EINVAL);
        assert_null(kv);
    }
}

static icd_status use_all(icd_ctx *ctx, void *user)
{
    icd_kv *kv = NULL, *copy = NULL;
    icd_kv_shape shape = SHAPE;
    static const int32_t ORDER[3] = {2, 0, 1};
    shape.int8 = *(bool *)user;
    icd_status status = icd_i_kv_new(ctx, &shape, &kv);
    if (status == ICD_OK) {
        append(kv, 1, 3);
        status = icd_i_kv_permute(ctx, kv, 1, ORDER);
    }
    if (status == ICD_OK) status = icd_i_kv_copy(ctx, kv, !shape.int8, &copy);
    if (kv) check(kv, .01);
    icd_i_kv_free(ctx, copy);
    icd_i_kv_free(ctx, kv);
    return status;
}

static void test_memory_failures(void **state)
{
    (void)state;
    bool int8 = false;
    icd_test_failing_allocations(use_all, &int8);
    int8 = true;
    icd_test_failing_allocations(use_all, &int8);
}

static int setup(void **state)
{
    *state = icd_ctx_new(NULL);
    return *state == NULL;
}

static int teardown(void **state)
{
    icd_ctx_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_pop_restores),
        cmocka_unit_test(test_drop_and_compact),
        cmocka_unit_test(test_permute),
        cmocka_unit_test(test_dead_slots_are_zero),
        cmocka_unit_test(test_int8),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_memory_failures),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
