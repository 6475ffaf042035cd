#include "support.h"

#include <icd/adapters.h>

#include "base/rng.h"
#include "core/kv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HEADS = 2, DIM = 3, PAGE = 8, TOKENS = 100, SEQUENCES = 2 };

static icd_ctx *ctx;
static icd_kv *cache;

static int set_up(void **state)
{
    icd_rng rng;
    icd_kv_shape shape = {HEADS, DIM, PAGE, SEQUENCES, TOKENS, false};
    float k[HEADS * DIM], v[HEADS * DIM];
    (void)state;
    ctx = icd_ctx_new(NULL);
    if (!ctx || icd_i_kv_new(ctx, &shape, &cache) != ICD_OK) return -1;
    icd_i_rng_init(&rng, 3, 0);
    for (int64_t s = 0; s < SEQUENCES; s++)
        for (int t = 0; t < TOKENS - 20 * s; t++) {
            for (int i = 0; i < HEADS * DIM; i++) {
                k[i] = (float)icd_i_rng_normal(&rng);
                v[i] = (float)(t + 1000 * s);
            }
            icd_i_kv_append(cache, s, k, v);
        }
    for (int64_t i = 0; i < cache->pages * PAGE; i++)
        if (cache->alive[i]) cache->mass[i] = (float)icd_i_rng_unit(&rng) + .01f;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    icd_i_kv_free(ctx, cache);
    icd_ctx_free(ctx);
    return 0;
}

static icd_kv_opts options(double drop, int32_t policy, bool compact)
{
    icd_kv_opts opts;
    icd_options_init(&icd_kv_table, &opts);
    opts.drop = drop;
    opts.policy = policy;
    opts.compact = compact;
    opts.window = 5;
    opts.sinks = 2;
    return opts;
}

/* Positions that survive in a sequence, and their least mass. */
static int64_t survivors(const icd_kv *kv, int64_t s, bool position[TOKENS], float *least)
{
    icd_kv_slot slot[TOKENS];
    icd_i_kv_list(kv, s, slot);
    memset(position, 0, TOKENS);
    *least = INFINITY;
    for (int64_t i = 0; i < kv->sequence[s].live; i++) {
        float k[HEADS * DIM], v[HEADS * DIM];
        int64_t at = icd_i_kv_at(kv, slot[i]);
        int32_t p = kv->position[at];
        icd_i_kv_get(kv, slot[i], k, v);
        assert_true(fabsf(v[0] - (float)(p + 1000 * s)) <= .01f * v[0] + .01f);
        position[p] = true;
        if (p >= 2 && p < TOKENS - 20 * s - 5) *least = fminf(*least, kv->mass[at]);
    }
    return kv->sequence[s].live;
}

static void the_least_attended_go(void **state)
{
    icd_kv_opts opts = options(.3, ICD_KV_MASS, true);
    icd_kv *out = NULL;
    icd_kv_effect effect;
    icd_transform_meta meta;
    (void)state;
    assert_ok(ctx, icd_apply_kvcache(ctx, cache, &opts, &out, &effect, &meta));
    for (int64_t s = 0; s < SEQUENCES; s++) {
        bool kept[TOKENS];
        float least, best = 0;
        int64_t n = TOKENS - 20 * s;
        assert_int_equal(survivors(out, s, kept, &least), n - llround(.3 * (double)n));
        assert_true(kept[0] && kept[1] && kept[n - 1] && kept[n - 5]);
        icd_kv_slot slot[TOKENS];
        icd_i_kv_list(cache, s, slot);
        for (int64_t i = 0; i < n; i++)
            if (!kept[cache->position[icd_i_kv_at(cache, slot[i])]])
                best = fmaxf(best, cache->mass[icd_i_kv_at(cache, slot[i])]);
        assert_true(best <= least);
    }
    assert_true(meta.applied && meta.delta_layout);
    assert_near(meta.rate, .3, .01);
    assert_true(meta.retained > .7 && meta.retained < 1);
    icd_kv_free(ctx, out);
}

static void only_compaction_frees_pages(void **state)
{
    icd_kv *out = NULL;
    icd_kv_effect whole, scattered;
    icd_transform_meta meta;
    icd_kv_opts opts = options(.5, ICD_KV_MASS, true);
    (void)state;
    assert_ok(ctx, icd_apply_kvcache(ctx, cache, &opts, &out, &whole, &meta));
    icd_kv_free(ctx, out);
    opts.compact = false;
    assert_ok(ctx, icd_apply_kvcache(ctx, cache, &opts, &out, &scattered, &meta));
    icd_kv_free(ctx, out);
    assert_int_equal(whole.tokens_after, scattered.tokens_after);
    assert_int_equal(whole.pages_after, 7 + 5);
    assert_true(scattered.pages_after > 18);
    assert_true(whole.bytes_after < scattered.bytes_after);
    assert_int_equal(whole.pages_before, 13 + 10);
}

static void recency_keeps_the_end_and_the_sinks(void **state)
{
    icd_kv_opts opts = options(.8, ICD_KV_RECENCY, true);
    icd_kv *out = NULL;
    icd_transform_meta meta;
    bool kept[TOKENS];
    float least;
    (void)state;
    assert_ok(ctx, icd_apply_kvcache(ctx, cache, &opts, &out, NULL, &meta));
    survivors(out, 0, kept, &least);
    for (int p = 0; p < TOKENS; p++) assert_int_equal(kept[p], p < 2 || p >= 82);
    icd_kv_free(ctx, out);
}

static void int8_and_nothing_dropped(void **state)
{
    icd_kv_opts opts = options(0, ICD_KV_MASS, true);
    icd_kv *out = NULL;
    icd_kv_effect effect;
    icd_transform_meta meta;
    bool kept[TOKENS];
    float least;
    (void)state;
    opts.int8 = true;
    assert_ok(ctx, icd_apply_kvcache(ctx, cache, &opts, &out, &effect, &meta));
    assert_int_equal(survivors(out, 1, kept, &least), TOKENS - 20);
    assert_true(effect.bytes_after < effect.bytes_before);
    assert_false(meta.delta_layout);
    icd_kv_free(ctx, out);
}

static void what_cannot_be_done_is_a_no_op(void **state)
{
    icd_kv_opts opts = options(.5, ICD_KV_MASS, true);
    icd_kv *out = NULL, *plain = NULL;
    icd_transform_meta meta;
    (void)state;
    opts.block = 32;
    assert_ok(ctx, icd_apply_kvcache(ctx, cache, &opts, &out, NULL, &meta));
    assert_null(out);
    assert_non_null(strstr(meta.reason, "page"));
    opts.block = PAGE;
    assert_ok(ctx, icd_i_kv_copy(ctx, cache, false, &plain));
    memset(plain->mass, 0, (size_t)(plain->pages * PAGE) * sizeof *plain->mass);
    assert_ok(ctx, icd_apply_kvcache(ctx, plain, &opts, &out, NULL, &meta));
    assert_null(out);
    assert_non_null(strstr(meta.reason, "no attention"));
    icd_i_kv_free(ctx, plain);
    opts.drop = 1;
    assert_fails(ctx, ICD_EINVAL, "drop",
                 icd_apply_kvcache(ctx, cache, &opts, &out, NULL, &meta));
}

static icd_status run(icd_ctx *c, void *arg)
{
    icd_kv_opts opts = options(.5, ICD_KV_RECENCY, true);
    icd_kv *out = NULL;
    icd_transform_meta meta;
    (void)arg;
    icd_status status = icd_apply_kvcache(c, cache, &opts, &out, NULL, &meta);
    icd_kv_free(c, out);
    return status;
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(run, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_attended_go),
        cmocka_unit_test(only_compaction_frees_pages),
        cmocka_unit_test(recency_keeps_the_end_and_the_sinks),
        cmocka_unit_test(int8_and_nothing_dropped),
        cmocka_unit_test(what_cannot_be_done_is_a_no_op),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
