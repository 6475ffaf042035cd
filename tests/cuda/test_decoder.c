/* The decoder on the emulated device against the CPU engine. */
#include "cuda/fake.h"
#include "runner/llama.h"

#include "core/kv.h"
#include <icd/adapters.h>
#include <icd/transform.h>

static icd_ctx *ctx;

static int set_up(void **state)
{
    (void)state;
    ctx = small_ctx(1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    return 0;
}

typedef struct pair {
    icd_model *model;
    icd_runner *cpu, *gpu;
    icd_batch batch;
} pair;

static icd_runner *runner_of(const pair *p, int32_t device, int32_t phase, int64_t room)
{
    icd_runner_opts opts = small_opts(ICD_RUN_BF16);
    icd_batch capacity = p->batch;
    icd_runner *r = NULL;
    opts.phase = phase;
    opts.page = 8;
    opts.vector = 64;
    if (device == ICD_RUN_CUDA) on_device(&opts);
    capacity.seq += room;
    assert_ok(ctx, icd_runner_new(ctx, p->model, NULL, &capacity, &opts, &r));
    return r;
}

static pair pair_new(const llama_shape *z, int64_t batch, int64_t seq, int32_t phase)
{
    pair p = {.model = small_llama(ctx, z, 3), .batch = llama_batch(z, batch, seq, 4)};
    p.cpu = runner_of(&p, ICD_RUN_CPU, phase, 6);
    p.gpu = runner_of(&p, ICD_RUN_CUDA, phase, 6);
    return p;
}

static void pair_free(pair *p)
{
    icd_runner_free(ctx, p->cpu);
    icd_runner_free(ctx, p->gpu);
    small_batch_release(&p->batch);
    icd_model_free(ctx, p->model);
}

static void compare_rows(const icd_output *a, const icd_output *b, const int32_t *lengths,
                         int64_t seq, double bound)
{
    double gap = 0, top = 0;
    assert_int_equal(a->tokens, b->tokens);
    for (int64_t t = 0; t < a->tokens; t++) {
        if (lengths && t % seq >= lengths[t / seq]) continue;
        for (int64_t i = 0; i < a->width; i++) {
            double x = (double)a->hidden[t * a->width + i],
                   y = (double)b->hidden[t * a->width + i];
            gap = fabs(x - y) <= gap ? gap : isnan(x) ? INFINITY : fabs(x - y);
            top = fmax(top, fabs(y));
        }
    }
    print_message("largest relative gap %.2g\n", gap / top);
    assert_true(gap / top <= bound);
}

static void step_both(pair *p, bool lengths)
{
    icd_output a, b;
    assert_ok(ctx, icd_runner_step(ctx, p->gpu, &p->batch, &a));
    assert_ok(ctx, icd_runner_step(ctx, p->cpu, &p->batch, &b));
    compare_rows(&a, &b, lengths ? p->batch.lengths : NULL, p->batch.seq, 2e-2);
}

static void decode_both(pair *p, const int32_t *ids, bool keep)
{
    icd_output a, b;
    assert_ok(ctx, icd_runner_decode(ctx, p->gpu, ids, keep, &a));
    assert_ok(ctx, icd_runner_decode(ctx, p->cpu, ids, keep, &b));
    compare_rows(&a, &b, NULL, 1, 2e-2);
}

static void test_prefill_and_decode(void **state)
{
    (void)state;
    need_device();
    const llama_shape *const shapes[] = {&LLAMA, &WIDE};
    for (int i = 0; i < 2; i++) {
        pair p = pair_new(shapes[i], 3, 14, ICD_PHASE_PREFILL);
        int32_t ids[3] = {1, 2, 3};
        step_both(&p, true);
        decode_both(&p, ids, false);
        ids[0] = 7;
        for (int t = 0; t < 5; t++) decode_both(&p, ids, true);
        pair_free(&p);
    }
}

static void test_decode_phase(void **state)
{
    (void)state;
    need_device();
    pair p = pair_new(&LLAMA, 2, 17, ICD_PHASE_DECODE);
    step_both(&p, false);
    step_both(&p, false);
    pair_free(&p);
}

/* Every second token dropped, with and without compaction, in both caches. */
static void thin(icd_runner *r, bool compact, bool places)
{
    for (int64_t n = 0; n < LLAMA.layers; n++) {
        icd_kv *kv = places ? icd_runner_kv_places(r, n) : icd_runner_kv(r, n);
        for (int64_t s = 0; s < 2; s++) {
            icd_kv_slot list[64], drop[64];
            int64_t live = kv->sequence[s].live, count = 0;
            icd_i_kv_list(kv, s, list);
            for (int64_t t = 1; t + 1 < live; t += 2) drop[count++] = list[t];
            icd_i_kv_drop(kv, s, drop, count);
            if (compact) assert_ok(ctx, icd_i_kv_permute(ctx, kv, s, NULL));
        }
    }
}

static void test_eviction(void **state)
{
    (void)state;
    need_device();
    for (int i = 0; i < 4; i++) {
        bool compact = i % 2, places = i / 2;
        pair p = pair_new(&LLAMA, 2, 20, ICD_PHASE_PREFILL);
        int32_t ids[2] = {4, 5};
        step_both(&p, true);
        thin(p.gpu, compact, places);
        thin(p.cpu, compact, false);
        decode_both(&p, ids, true);
        decode_both(&p, ids, true);
        pair_free(&p);
    }
}

static void expect_pages(icd_runner *a, icd_runner *b)
{
    for (int64_t n = 0; n < LLAMA.layers; n++) {
        icd_kv_use x = icd_i_kv_use(icd_runner_kv_places(a, n)),
                   y = icd_i_kv_use(icd_runner_kv_places(b, n));
        assert_int_equal(x.pages, y.pages);
        assert_int_equal(x.tokens, y.tokens);
    }
}

/* Tokens turned round and packed into whole pages by the device: pages come back, values
 * follow, whatever is asked for in between. Without memory for it the CPU moves them. */
static void turn_round(icd_runner *r)
{
    for (int64_t n = 0; n < LLAMA.layers; n++) {
        icd_kv *kv = icd_runner_kv_places(r, n);
        for (int64_t s = 0; s < 2; s++) {
            icd_kv_slot list[64], drop[64];
            int32_t order[64];
            int64_t live = kv->sequence[s].live, count = 0;
            icd_i_kv_list(kv, s, list);
            for (int64_t t = 0; t < live; t += 3) drop[count++] = list[t];
            icd_i_kv_drop(kv, s, drop, count);
            live -= count;
            for (int64_t t = 0; t < live; t++) order[t] = (int32_t)(live - 1 - t);
            assert_ok(ctx, icd_i_kv_permute(ctx, kv, s, order));
        }
    }
}

static void test_compaction(void **state)
{
    (void)state;
    need_device();
    result kept = {0};
    for (int i = 0; i < 3; i++) {
        pair p = pair_new(&LLAMA, 2, 20, ICD_PHASE_PREFILL);
        int32_t ids[2] = {4, 5};
        icd_output out;
        step_both(&p, true);
        int64_t before = icd_i_kv_use(icd_runner_kv_places(p.gpu, 0)).pages;
        turn_round(p.gpu);
        turn_round(p.cpu);
        expect_pages(p.gpu, p.cpu);
        assert_true(icd_i_kv_use(icd_runner_kv_places(p.gpu, 0)).pages < before);
        if (i == 1) (void)icd_runner_kv(p.gpu, 1); /* with values: moved at once */
#ifndef ICD_TEST_GPU
        fake_state()->fail = i == 2 ? "cuMemAlloc_v2" : NULL;
        fake_state()->fail_with = 2;
        fake_state()->fail_after = 0;
#endif
        icd_status status = icd_runner_decode(ctx, p.gpu, ids, false, &out);
#ifndef ICD_TEST_GPU
        fake_state()->fail = NULL;
#endif
        if (i == 2 && status == ICD_ENOMEM) /* not of the caches: of a first schedule */
            status = icd_runner_decode(ctx, p.gpu, ids, false, &out);
        assert_ok(ctx, status);
        if (i)
            assert_memory_equal(out.hidden, kept.hidden,
                                (size_t)(out.tokens * out.width) * sizeof(float));
        else
            kept = keep_output(&out);
        decode_both(&p, ids, true);
        decode_both(&p, ids, true);
        expect_pages(p.gpu, p.cpu);
        pair_free(&p);
    }
    result_release(&kept);
}

/* A token that nobody read cannot be moved. */
static void test_unknown_token(void **state)
{
    (void)state;
    need_device();
    pair p = pair_new(&LLAMA, 2, 9, ICD_PHASE_PREFILL);
    int32_t ids[2] = {4, 5};
    icd_output out;
    step_both(&p, true);
    icd_kv *kv = icd_runner_kv_places(p.gpu, 0);
    icd_kv_slot list[64];
    icd_i_kv_list(kv, 0, list);
    kv->position[icd_i_kv_at(kv, list[0])] = 14;
    assert_fails(ctx, ICD_EINVAL, "which the GPU does not hold",
                 icd_runner_decode(ctx, p.gpu, ids, true, &out));
    pair_free(&p);
}

/* What every token drew of the attention, in both caches. */
static double mass_gap(const pair *p, int64_t queries)
{
    double gap = 0;
    for (int64_t n = 0; n < LLAMA.layers; n++) {
        const icd_kv *a = icd_runner_kv_places(p->gpu, n),
                     *b = icd_runner_kv_places(p->cpu, n);
        for (int64_t s = 0; s < p->batch.batch; s++) {
            icd_kv_slot x[64], y[64];
            double sum = 0;
            icd_i_kv_list(a, s, x);
            icd_i_kv_list(b, s, y);
            for (int64_t i = 0; i < a->sequence[s].live; i++) {
                double found = (double)a->mass[icd_i_kv_at(a, x[i])];
                sum += found;
                gap = fmax(gap, fabs(found - (double)b->mass[icd_i_kv_at(b, y[i])]));
            }
            double all = (double)(queries + p->batch.lengths[s]);
            assert_near(sum, all, 1e-4 * all);
        }
    }
    return gap;
}

static void masses_agree(const llama_shape *z, int64_t batch, int64_t seq)
{
    pair p = pair_new(z, batch, seq, ICD_PHASE_PREFILL);
    int32_t ids[4] = {4, 5, 6, 7};
    icd_output first, second;
    assert_ok(ctx, icd_runner_step(ctx, p.gpu, &p.batch, &first));
    result plain = keep_output(&first);
    assert_ok(ctx, icd_runner_attention(ctx, p.gpu, NULL, NULL));
    assert_ok(ctx, icd_runner_attention(ctx, p.cpu, NULL, NULL));
    step_both(&p, true);
    assert_ok(ctx, icd_runner_step(ctx, p.gpu, &p.batch, &second));
    result seen = keep_output(&second);
    assert_same_bits(&plain, &seen); /* looking changes nothing */
    double gap = mass_gap(&p, 0);
    decode_both(&p, ids, false); /* a token that is not kept leaves nothing */
    gap = fmax(gap, mass_gap(&p, 0));
    decode_both(&p, ids, true);
    gap = fmax(gap, mass_gap(&p, 1));
    icd_runner_attention_stop(ctx, p.gpu);
    icd_runner_attention_stop(ctx, p.cpu);
    decode_both(&p, ids, true);
    gap = fmax(gap, mass_gap(&p, 1));
    print_message("largest gap of masses %.2g\n", gap);
    assert_true(gap <= 3e-2);
    result_release(&plain);
    result_release(&seen);
    pair_free(&p);
}

static void test_masses(void **state)
{
    (void)state;
    need_device();
    masses_agree(&LLAMA, 3, 14);
    masses_agree(&WIDE, 2, 11);
}

/* Shares of single queries are shown by the CPU only. */
static icd_status never(icd_ctx *own, void *user, const icd_attention *seen)
{
    (void)own;
    (void)user;
    (void)seen;
    return ICD_OK;
}

static void test_refuses_queries(void **state)
{
    (void)state;
    need_device();
    icd_output out;
    pair p = pair_new(&LLAMA, 2, 9, ICD_PHASE_PREFILL);
    assert_ok(ctx, icd_runner_attention(ctx, p.gpu, never, NULL));
    assert_fails(ctx, ICD_EUNSUPPORTED, "look inside a step",
                 icd_runner_step(ctx, p.gpu, &p.batch, &out));
    pair_free(&p);
}

/* Policy `mass`, by the masses of each side: nearly the same tokens stay. */
static int64_t evict_by_mass(icd_runner *r, int64_t layer, bool compact, bool *stays)
{
    icd_kv_opts opts;
    icd_kv *thinned = NULL;
    icd_kv_effect effect;
    icd_transform_meta meta;
    icd_kv_slot list[64];
    icd_options_init(&icd_kv_table, &opts);
    opts.drop = .5;
    opts.policy = ICD_KV_MASS;
    opts.compact = compact;
    opts.sinks = opts.window = 1;
    assert_ok(ctx, icd_apply_kvcache(ctx, icd_runner_kv_places(r, layer), &opts, &thinned,
                                     &effect, &meta));
    assert_non_null(thinned);
    assert_ok(ctx, icd_runner_move_kv(ctx, r, layer, thinned));
    icd_i_kv_list(thinned, 0, list);
    for (int64_t i = 0; i < thinned->sequence[0].live; i++)
        stays[thinned->position[icd_i_kv_at(thinned, list[i])]] = true;
    int64_t pages = effect.pages_after;
    icd_kv_free(ctx, thinned);
    return pages;
}

static void test_evicts_by_mass(void **state)
{
    (void)state;
    need_device();
    int64_t pages[2] = {0, 0};
    for (int compact = 0; compact < 2; compact++) {
        pair p = pair_new(&LLAMA, 1, 40, ICD_PHASE_PREFILL);
        int64_t both = 0, one = 0;
        int32_t ids[1] = {3};
        icd_output out;
        assert_ok(ctx, icd_runner_attention(ctx, p.gpu, NULL, NULL));
        assert_ok(ctx, icd_runner_attention(ctx, p.cpu, NULL, NULL));
        step_both(&p, true);
        for (int64_t n = 0; n < LLAMA.layers; n++) {
            bool a[64] = {false}, b[64] = {false};
            pages[compact] += evict_by_mass(p.gpu, n, compact, a);
            (void)evict_by_mass(p.cpu, n, compact, b);
            for (int i = 0; i < 64; i++) {
                both += a[i] && b[i];
                one += a[i] || b[i];
            }
        }
        print_message("%lld of %lld tokens are the same\n", (long long)both,
                      (long long)one);
        assert_true(both * 10 >= one * 9);
        assert_ok(ctx, icd_runner_decode(ctx, p.gpu, ids, true, &out));
        assert_ok(ctx, icd_runner_decode(ctx, p.cpu, ids, true, &out));
        pair_free(&p);
    }
    assert_true(pages[1] < pages[0]);
}

/* From the first allocation of a runner to a token after a compaction. */
static icd_status all_of_it(icd_ctx *own, void *arg)
{
    const icd_model *model = arg;
    icd_runner_opts opts = small_opts(ICD_RUN_BF16);
    icd_runner *r = NULL;
    icd_output out;
    int32_t ids[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, length = 9;
    icd_batch batch = {.ids = ids, .lengths = &length, .batch = 1, .seq = 9};
    icd_batch capacity = {.batch = 1, .seq = 12};
    on_device(&opts);
    opts.vector = 64;
    opts.page = 8;
    icd_status status = icd_runner_new(own, model, NULL, &capacity, &opts, &r);
    if (status == ICD_OK) status = icd_runner_attention(own, r, NULL, NULL);
    if (status == ICD_OK) status = icd_runner_step(own, r, &batch, &out);
    for (int64_t n = 0; status == ICD_OK && n < LLAMA.layers; n++) {
        icd_kv *kv = icd_runner_kv_places(r, n);
        icd_kv_slot list[16];
        icd_i_kv_list(kv, 0, list);
        icd_i_kv_drop(kv, 0, list, 3);
        status = icd_i_kv_permute(own, kv, 0, NULL);
    }
    if (status == ICD_OK) status = icd_runner_decode(own, r, ids, true, &out);
    icd_runner_free(own, r);
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    need_device();
    icd_model *model = small_llama(ctx, &LLAMA, 3);
    icd_test_failing_allocations(all_of_it, model);
#ifndef ICD_TEST_GPU
    assert_int_equal(fake_state()->allocations, 0);
#endif
    icd_model_free(ctx, model);
}

static void test_logits(void **state)
{
    (void)state;
    need_device();
    pair p = pair_new(&LLAMA, 2, 9, ICD_PHASE_PREFILL);
    float a[29], b[29];
    step_both(&p, true);
    assert_ok(ctx, icd_runner_logits(ctx, p.gpu, 3, 1, a));
    assert_ok(ctx, icd_runner_logits(ctx, p.cpu, 3, 1, b));
    assert_true(relative_gap(a, b, 29) <= 2e-2);
    pair_free(&p);
}

/* GPT-2 has other layers: it is refused before anything is copied. */
static void test_refuses_gpt2(void **state)
{
    (void)state;
    need_device();
    icd_model *m = NULL;
    icd_runner *runner = NULL;
    icd_runner_opts opts = small_opts(ICD_RUN_BF16);
    int32_t ids[4] = {1, 2, 3, 4};
    icd_batch b = {.ids = ids, .batch = 1, .seq = 4};
    opts.device = ICD_RUN_CUDA;
    assert_ok(ctx, icd_model_open(ctx, ICD_TEST_DATA "/gpt2_head", &m));
    assert_fails(ctx, ICD_EUNSUPPORTED, "not of GPT-2's",
                 icd_runner_new(ctx, m, NULL, &b, &opts, &runner));
    assert_null(runner);
    icd_model_free(ctx, m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefill_and_decode),
        cmocka_unit_test(test_decode_phase),
        cmocka_unit_test(test_eviction),
        cmocka_unit_test(test_compaction),
        cmocka_unit_test(test_unknown_token),
        cmocka_unit_test(test_masses),
        cmocka_unit_test(test_refuses_queries),
        cmocka_unit_test(test_evicts_by_mass),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_logits),
        cmocka_unit_test(test_refuses_gpt2),
    };
    return run_on_device(tests, set_up, tear_down);
}
