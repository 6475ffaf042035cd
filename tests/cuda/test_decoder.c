/* The decoder on the emulated device against the CPU engine. */
#include "cuda/fake.h"
#include "runner/llama.h"

#include "core/kv.h"

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
    compare_rows(&a, &b, lengths ? p->batch.lengths : NULL, p->batch.seq, 4e-2);
}

static void decode_both(pair *p, const int32_t *ids, bool keep)
{
    icd_output a, b;
    assert_ok(ctx, icd_runner_decode(ctx, p->gpu, ids, keep, &a));
    assert_ok(ctx, icd_runner_decode(ctx, p->cpu, ids, keep, &b));
    compare_rows(&a, &b, NULL, 1, 4e-2);
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
static void thin(icd_runner *r, bool compact)
{
    for (int64_t n = 0; n < LLAMA.layers; n++) {
        icd_kv *kv = icd_runner_kv(r, n);
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
    for (int compact = 0; compact < 2; compact++) {
        pair p = pair_new(&LLAMA, 2, 20, ICD_PHASE_PREFILL);
        int32_t ids[2] = {4, 5};
        step_both(&p, true);
        thin(p.gpu, compact);
        thin(p.cpu, compact);
        decode_both(&p, ids, true);
        decode_both(&p, ids, true);
        pair_free(&p);
    }
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
    assert_true(relative_gap(a, b, 29) <= 4e-2);
    pair_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefill_and_decode),
        cmocka_unit_test(test_decode_phase),
        cmocka_unit_test(test_eviction),
        cmocka_unit_test(test_logits),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
