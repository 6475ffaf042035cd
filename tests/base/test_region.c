#include "support.h"

#include "base/mem.h"
#include "base/region.h"
#include "base/rng.h"
#include "base/threads.h"

#include <string.h>

enum { HUGE_PAGE = 2 << 20, BLOCKS = 64 };

static icd_region *region_of(icd_ctx *ctx)
{
    icd_region *region = NULL;
    assert_ok(ctx, icd_i_region_new(ctx, &region));
    return region;
}

static void what_is_built_alike_lies_alike(void **state)
{
    icd_ctx *ctx = *state;
    uintptr_t at[2][BLOCKS];
    icd_region *region[2];
    for (int r = 0; r < 2; r++) {
        char *block[BLOCKS];
        icd_rng rng;
        icd_i_rng_init(&rng, 7, 0);
        region[r] = region_of(ctx);
        icd_i_region_enter(ctx, region[r]);
        for (int i = 0; i < BLOCKS; i++) {
            int64_t bytes = icd_i_rng_below(&rng, 3000000);
            assert_ok(ctx, ICD_ALLOC(ctx, bytes, &block[i]));
            at[r][i] = (uintptr_t)block[i] % HUGE_PAGE;
            if (i % 3 == 2) icd_i_free(ctx, block[i - 1]);
        }
        icd_i_region_leave(ctx);
    }
    assert_memory_equal(at[0], at[1], sizeof at[0]);
    assert_int_equal(icd_i_region_bytes(region[0]), icd_i_region_bytes(region[1]));
    for (int r = 0; r < 2; r++) icd_i_region_free(region[r]);
}

static bool all(const unsigned char *p, int64_t bytes, unsigned char value)
{
    for (int64_t i = 0; i < bytes; i++)
        if (p[i] != value) return false;
    return true;
}

/* Blocks come zeroed and aligned, keep what is written to them, and freed room is used
 * again. */
static void blocks_do_not_overlap(void **state)
{
    icd_ctx *ctx = *state;
    unsigned char *block[BLOCKS] = {0};
    int64_t bytes[BLOCKS] = {0};
    icd_rng rng;
    icd_i_rng_init(&rng, 3, 0);
    icd_region *region = region_of(ctx);
    icd_i_region_enter(ctx, region);
    for (int step = 0; step < 2000; step++) {
        int i = (int)icd_i_rng_below(&rng, BLOCKS);
        if (block[i]) assert_true(all(block[i], bytes[i], (unsigned char)i));
        icd_i_free(ctx, block[i]);
        bytes[i] = icd_i_rng_below(&rng, 20000);
        assert_ok(ctx, ICD_ALLOC(ctx, bytes[i], &block[i]));
        assert_int_equal((uintptr_t)block[i] % 64, 0);
        assert_true(all(block[i], bytes[i], 0));
        memset(block[i], i, (size_t)bytes[i]);
    }
    assert_int_equal(icd_i_region_bytes(region), 32 << 20);
    icd_i_region_leave(ctx);
    for (int i = 0; i < BLOCKS; i++) icd_i_free(ctx, block[i]);
    icd_i_region_free(region);
}

/* Blocks from before, inside and after may be freed at any time. */
static void a_block_knows_where_it_came_from(void **state)
{
    icd_ctx *ctx = *state;
    char *before = NULL, *inside = NULL, *after = NULL;
    icd_region *region = region_of(ctx);
    assert_ok(ctx, ICD_ALLOC(ctx, 10, &before));
    icd_i_region_enter(ctx, region);
    assert_ok(ctx, ICD_ALLOC(ctx, 10, &inside));
    icd_i_free(ctx, before);
    icd_i_region_leave(ctx);
    assert_ok(ctx, ICD_ALLOC(ctx, 10, &after));
    icd_i_free(ctx, inside);
    icd_i_region_free(region);
    icd_i_free(ctx, after);
}

static void large_and_impossible_requests(void **state)
{
    icd_ctx *ctx = *state;
    char *large = NULL, *none = NULL;
    icd_region *region = region_of(ctx);
    icd_i_region_enter(ctx, region);
    assert_ok(ctx, ICD_ALLOC(ctx, 100 << 20, &large));
    large[0] = large[(100 << 20) - 1] = 1;
    assert_int_equal(icd_i_alloc(ctx, INT64_MAX / 4, 1, (void **)&none), ICD_ENOMEM);
    icd_i_region_leave(ctx);
    icd_i_free(ctx, large);
    icd_i_region_free(region);
}

static void churn(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    icd_ctx *ctx = arg;
    (void)chunks;
    (void)worker;
    for (int64_t i = 0; i < 200; i++) {
        unsigned char *p = NULL;
        assert_ok(ctx, ICD_ALLOC(ctx, 100 * (chunk + 1), &p));
        memset(p, (int)chunk, (size_t)(100 * (chunk + 1)));
        assert_true(all(p, 100 * (chunk + 1), (unsigned char)chunk));
        icd_i_free(ctx, p);
    }
}

static void threads_share_a_region(void **state)
{
    icd_ctx *ctx = *state;
    icd_region *region = region_of(ctx);
    icd_i_region_enter(ctx, region);
    icd_i_parallel(ctx, 8, churn, ctx);
    icd_i_region_leave(ctx);
    icd_i_region_free(region);
}

static int setup(void **state)
{
    *state = icd_ctx_new(&(icd_ctx_opts){.threads = 4});
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
        cmocka_unit_test(what_is_built_alike_lies_alike),
        cmocka_unit_test(blocks_do_not_overlap),
        cmocka_unit_test(a_block_knows_where_it_came_from),
        cmocka_unit_test(large_and_impossible_requests),
        cmocka_unit_test(threads_share_a_region),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
