#include "support.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static void checked_sizes(void **state)
{
    (void)state;
    size_t out = 7;
    assert_true(icd_i_mul_size(6, 7, &out) && out == 42);
    assert_true(icd_i_mul_size(0, SIZE_MAX, &out) && out == 0);
    assert_true(icd_i_mul_size(SIZE_MAX, 1, &out) && out == SIZE_MAX);
    assert_false(icd_i_mul_size(SIZE_MAX / 2 + 1, 2, &out));
    assert_true(icd_i_add_size(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
    assert_false(icd_i_add_size(SIZE_MAX, 1, &out));
    assert_true(out == SIZE_MAX);
}

static bool all_zero(const void *ptr, size_t bytes)
{
    const unsigned char *p = ptr;
    for (size_t i = 0; i < bytes; i++)
        if (p[i]) return false;
    return true;
}

static void blocks_are_zeroed_and_aligned(void **state)
{
    icd_ctx *ctx = *state;
    for (int64_t n = 0; n < 300; n++) {
        double *p = NULL;
        assert_ok(ctx, ICD_ALLOC(ctx, n, &p));
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        assert_true(all_zero(p, (size_t)n * sizeof *p));
        memset(p, 0xff, (size_t)n * sizeof *p);
        icd_i_free(ctx, p);
        assert_ok(ctx, ICD_ALLOC_UNSET(ctx, n, &p));
        assert_int_equal((uintptr_t)p % 64, 0);
        memset(p, 0xff, (size_t)n * sizeof *p);
        icd_i_free(ctx, p);
    }
    icd_i_free(ctx, NULL);
    icd_mem_free(ctx, NULL);
}

/* malloc aligns to 16 bytes; an allocator that shifts its blocks needs the header to
 * cope. */
static void *shifted_realloc(void *user, void *ptr, size_t bytes)
{
    assert_null(ptr);
    size_t shift = (size_t) * (int *)user;
    char *raw = malloc(bytes + 64);
    memset(raw, 0xaa, bytes + 64);
    raw[shift - 1] = (char)shift;
    return raw + shift;
}

static void shifted_free(void *user, void *ptr)
{
    (void)user;
    char *p = ptr;
    free(p - p[-1]);
}

static void any_allocator_will_do(void **state)
{
    (void)state;
    for (int shift = 8; shift <= 64; shift += 8) {
        icd_ctx_opts opts = {.size = sizeof opts,
                             .allocator = {shifted_realloc, shifted_free, &shift}};
        icd_ctx *ctx = icd_ctx_new(&opts);
        char *p = NULL;
        assert_ok(ctx, ICD_ALLOC(ctx, 100, &p));
        assert_int_equal((uintptr_t)p % 64, 0);
        assert_true(all_zero(p, 100));
        icd_i_free(ctx, p);
        icd_ctx_free(ctx);
    }
}

static void impossible_sizes_are_refused(void **state)
{
    icd_ctx *ctx = *state;
    double *p = (double *)1;
    assert_fails(ctx, ICD_EINVAL, "-1", ICD_ALLOC(ctx, -1, &p));
    assert_null(p);
    p = (double *)1;
    assert_fails(ctx, ICD_ENOMEM, "9223372036854775807 elements of 8 bytes",
                 ICD_ALLOC(ctx, INT64_MAX, &p));
    assert_null(p);
    void *q = NULL;
    assert_fails(ctx, ICD_ENOMEM, "memory", icd_i_alloc(ctx, 1, SIZE_MAX - 8, &q));
    assert_null(q);
}

static void growing_keeps_what_was_there(void **state)
{
    icd_ctx *ctx = *state;
    int32_t *p = NULL;
    int64_t capacity = 0, moves = 0;
    for (int64_t n = 1; n <= 10000; n++) {
        int64_t before = capacity;
        assert_ok(ctx, icd_i_grow(ctx, (void **)&p, &capacity, n, sizeof *p));
        assert_true(capacity >= n);
        assert_true(all_zero(p + n - 1, (size_t)(capacity - n + 1) * sizeof *p));
        p[n - 1] = (int32_t)n;
        moves += capacity != before;
    }
    assert_true(moves < 15); /* doubling */
    for (int32_t i = 0; i < 10000; i++) assert_int_equal(p[i], i + 1);
    icd_i_free(ctx, p);
}

static void growing_too_far_changes_nothing(void **state)
{
    icd_ctx *ctx = *state;
    int32_t *p = NULL;
    int64_t capacity = 0;
    assert_ok(ctx, icd_i_grow(ctx, (void **)&p, &capacity, 5, sizeof *p));
    int32_t *kept = p;
    int64_t size = capacity;
    assert_fails(ctx, ICD_ENOMEM, "memory",
                 icd_i_grow(ctx, (void **)&p, &capacity, INT64_MAX, sizeof *p));
    assert_ptr_equal(p, kept);
    assert_int_equal(capacity, size);
    icd_i_free(ctx, p);
}

static void strings_are_copied(void **state)
{
    icd_ctx *ctx = *state;
    const char *samples[] = {"", "x", "a longer string, with an end"};
    for (int i = 0; i < 3; i++) {
        char *copy = NULL;
        assert_ok(ctx, icd_i_strdup(ctx, samples[i], &copy));
        assert_string_equal(copy, samples[i]);
        assert_ptr_not_equal(copy, samples[i]);
        icd_i_free(ctx, copy);
    }
}

static void arena_pieces_do_not_overlap(void **state)
{
    icd_ctx *ctx = *state;
    icd_arena *arena = NULL;
    enum { PIECES = 400 };
    unsigned char *piece[PIECES];
    assert_ok(ctx, icd_i_arena_new(ctx, &arena));
    for (size_t i = 0; i < PIECES; i++) {
        piece[i] = icd_i_arena_alloc(ctx, arena, i * 37 % 9000);
        assert_non_null(piece[i]);
        assert_int_equal((uintptr_t)piece[i] % 16, 0);
        assert_true(all_zero(piece[i], i * 37 % 9000));
        memset(piece[i], (int)(i & 255), i * 37 % 9000);
    }
    for (size_t i = 0; i < PIECES; i++)
        for (size_t k = 0; k < i * 37 % 9000; k++) assert_int_equal(piece[i][k], i & 255);
    assert_string_equal(icd_i_arena_strdup(ctx, arena, "text"), "text");
    icd_i_arena_free(ctx, arena);
    icd_i_arena_free(ctx, NULL);
}

static void an_arena_refuses_the_impossible(void **state)
{
    icd_ctx *ctx = *state;
    icd_arena *arena = NULL;
    assert_ok(ctx, icd_i_arena_new(ctx, &arena));
    assert_null(icd_i_arena_alloc(ctx, arena, SIZE_MAX));
    assert_int_equal(icd_ctx_status(ctx), ICD_ENOMEM);
    assert_null(icd_i_arena_alloc(ctx, arena, SIZE_MAX / 2));
    assert_non_null(icd_i_arena_alloc(ctx, arena, 1)); /* it goes on after that */
    icd_i_arena_free(ctx, arena);
}

static icd_status use_everything(icd_ctx *ctx, void *arg)
{
    (void)arg;
    icd_status status = ICD_OK;
    icd_arena *arena = NULL;
    char *copy = NULL;
    int64_t *list = NULL, capacity = 0;
    ICD_TRY(icd_i_strdup(ctx, "text", &copy));
    ICD_TRY(icd_i_grow(ctx, (void **)&list, &capacity, 3, sizeof *list));
    ICD_TRY(icd_i_grow(ctx, (void **)&list, &capacity, 300, sizeof *list));
    ICD_TRY(icd_i_arena_new(ctx, &arena));
    for (int i = 0; i < 3; i++)
        if (!icd_i_arena_alloc(ctx, arena, 4000)) ICD_TRY(ICD_ENOMEM);
done:
    icd_i_arena_free(ctx, arena);
    icd_i_free(ctx, list);
    icd_i_free(ctx, copy);
    return status;
}

static void failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(use_everything, NULL);
}

static int setup(void **state)
{
    *state = icd_ctx_new(NULL);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    icd_ctx_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checked_sizes),
        cmocka_unit_test(blocks_are_zeroed_and_aligned),
        cmocka_unit_test(any_allocator_will_do),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(growing_keeps_what_was_there),
        cmocka_unit_test(growing_too_far_changes_nothing),
        cmocka_unit_test(strings_are_copied),
        cmocka_unit_test(arena_pieces_do_not_overlap),
        cmocka_unit_test(an_arena_refuses_the_impossible),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
