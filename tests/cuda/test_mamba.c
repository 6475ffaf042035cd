/* Mamba on the emulated device against the CPU engine. */
#include "../runner/mamba.h"
#include "cuda/fake.h"

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

static icd_runner *runner_of(const icd_model *m, const icd_batch *b, int32_t device,
                             int32_t phase, int32_t vector)
{
    icd_runner_opts opts = small_opts(ICD_RUN_BF16);
    icd_runner *r = NULL;
    opts.phase = phase;
    opts.vector = vector;
    if (device == ICD_RUN_CUDA) on_device(&opts);
    assert_ok(ctx, icd_runner_new(ctx, m, NULL, b, &opts, &r));
    return r;
}

static void compare(const icd_output *a, const icd_output *b, const icd_batch *batch)
{
    double gap = 0, top = 0, worst = 1;
    assert_int_equal(a->tokens, b->tokens);
    for (int64_t t = 0; t < a->tokens; t++) {
        if (batch && t % batch->seq >= batch->lengths[t / batch->seq]) continue;
        for (int64_t i = t * a->width; i < (t + 1) * a->width; i++) {
            double d = fabs((double)a->hidden[i] - (double)b->hidden[i]);
            gap = d <= gap ? gap : isnan(d) ? INFINITY : d;
            top = fmax(top, fabs((double)b->hidden[i]));
        }
        const float *x = a->hidden + t * a->width, *y = b->hidden + t * a->width;
        worst = fmin(worst, cosine(x, y, a->width));
    }
    print_message("largest relative gap %.2g, least cosine %.5f\n", gap / top, worst);
    assert_true(gap / top <= 1e-1); /* products of four values in bf16 */
    assert_true(worst >= 0.99);
}

static void agrees(const mamba_shape *z, int64_t batch, int64_t seq, int32_t phase,
                   int32_t vector)
{
    icd_model *m = small_mamba(ctx, z, 6);
    icd_batch b = mamba_batch(z, batch, seq, 7);
    icd_runner *gpu = runner_of(m, &b, ICD_RUN_CUDA, phase, vector),
               *cpu = runner_of(m, &b, ICD_RUN_CPU, phase, 64);
    icd_output x, y;
    int32_t ids[4] = {1, 2, 3, 4};
    assert_ok(ctx, icd_runner_step(ctx, gpu, &b, &x));
    assert_ok(ctx, icd_runner_step(ctx, cpu, &b, &y));
    compare(&x, &y, phase == ICD_PHASE_PREFILL ? &b : NULL);
    for (int t = 0; t < 6; t++) {
        ids[0] = t;
        assert_ok(ctx, icd_runner_decode(ctx, gpu, ids, t % 3 != 0, &x));
        assert_ok(ctx, icd_runner_decode(ctx, cpu, ids, t % 3 != 0, &y));
        compare(&x, &y, NULL);
    }
    icd_runner_free(ctx, gpu);
    icd_runner_free(ctx, cpu);
    small_batch_release(&b);
    icd_model_free(ctx, m);
}

static void test_prefill_and_decode(void **state)
{
    (void)state;
    need_device();
    agrees(&MAMBA, 3, 13, ICD_PHASE_PREFILL, 64);
    agrees(&TURNED, 2, 40, ICD_PHASE_PREFILL, 128); /* more than one piece of time */
    agrees(&ONE_TAP, 1, 2, ICD_PHASE_PREFILL, 64);
}

static void test_decode_phase(void **state)
{
    (void)state;
    need_device();
    agrees(&MAMBA, 2, 9, ICD_PHASE_DECODE, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefill_and_decode),
        cmocka_unit_test(test_decode_phase),
    };
    return run_on_device(tests, set_up, tear_down);
}
