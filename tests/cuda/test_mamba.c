/* Mamba on the emulated device against the CPU engine. */
#include "../runner/mamba.h"
#include "core/small_float.h"
#include "cuda/fake.h"
#include "runner/cuda/gpu.h"

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

static icd_runner *runner_of(const icd_model *m, const icd_layout *layout,
                             const icd_batch *b, int32_t device, int32_t phase,
                             int32_t vector)
{
    icd_runner_opts opts = small_opts(ICD_RUN_BF16);
    icd_runner *r = NULL;
    opts.phase = phase;
    opts.vector = vector;
    if (device == ICD_RUN_CUDA) on_device(&opts);
    assert_ok(ctx, icd_runner_new(ctx, m, layout, b, &opts, &r));
    return r;
}

/* What was seen over the steps of a run. */
typedef struct gaps {
    double sum, worst, cosine;
    int steps;
} gaps;

/* Largest difference over the largest value. */
static void compare(const icd_output *a, const icd_output *b, const icd_batch *batch,
                    gaps *g)
{
    double gap = 0, top = 0;
    assert_int_equal(a->tokens, b->tokens);
    for (int64_t t = 0; t < a->tokens; t++) {
        if (batch && t % batch->seq >= batch->lengths[t / batch->seq]) continue;
        for (int64_t i = t * a->width; i < (t + 1) * a->width; i++) {
            double d = fabs((double)a->hidden[i] - (double)b->hidden[i]);
            gap = d <= gap ? gap : isnan(d) ? INFINITY : d;
            top = fmax(top, fabs((double)b->hidden[i]));
        }
        const float *x = a->hidden + t * a->width, *y = b->hidden + t * a->width;
        g->cosine = fmin(g->cosine, cosine(x, y, a->width));
    }
    g->sum += gap / top;
    g->worst = fmax(g->worst, gap / top);
    g->steps++;
}

/* Operands of products are bf16, and these models make much of what that rounds off:
 * docs/gpu.md has what each step contributes. */
static void judge(const gaps *g)
{
    print_message("relative gap %.3f in the mean, %.3f at most; least cosine %.5f\n",
                  g->sum / g->steps, g->worst, g->cosine);
    assert_true(g->sum / g->steps <= 3e-2);
    assert_true(g->worst <= 8e-2);
    assert_true(g->cosine >= 0.995);
}

static void agrees(const mamba_shape *z, int64_t batch, int64_t seq, int32_t phase,
                   int32_t vector)
{
    icd_model *m = small_mamba(ctx, z, 6);
    icd_batch b = mamba_batch(z, batch, seq, 7);
    icd_runner *gpu = runner_of(m, NULL, &b, ICD_RUN_CUDA, phase, vector),
               *cpu = runner_of(m, NULL, &b, ICD_RUN_CPU, phase, 64);
    gaps g = {.cosine = 1};
    icd_output x, y;
    int32_t ids[4] = {1, 2, 3, 4};
    assert_ok(ctx, icd_runner_step(ctx, gpu, &b, &x));
    assert_ok(ctx, icd_runner_step(ctx, cpu, &b, &y));
    compare(&x, &y, phase == ICD_PHASE_PREFILL ? &b : NULL, &g);
    for (int t = 0; t < 6; t++) {
        ids[0] = t;
        assert_ok(ctx, icd_runner_decode(ctx, gpu, ids, t % 3 != 0, &x));
        assert_ok(ctx, icd_runner_decode(ctx, cpu, ids, t % 3 != 0, &y));
        compare(&x, &y, NULL, &g);
    }
    judge(&g);
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
    agrees(&MAMBA, 2, 200, ICD_PHASE_PREFILL, 64); /* time cut in three */
}

static void test_decode_phase(void **state)
{
    (void)state;
    need_device();
    agrees(&MAMBA, 2, 9, ICD_PHASE_DECODE, 64);
}

/* Two local orders of one model: only the order of sums in f32 differs, and what it
 * rounds (runtime/stage_check.c lets 1e-2 pass). */
static void test_orders_agree(void **state)
{
    (void)state;
    need_device();
    static const mamba_shape deep = {4, 48, 96, 8, 4, 4, 29, false, true, true};
    icd_model *source = small_mamba(ctx, &deep, 6);
    sparse s = sparse_new(ctx, source, 64, .7, 9);
    icd_batch b = mamba_batch(&deep, 2, 33, 7);
    gaps g = {.cosine = 1};
    icd_output x, y;
    for (int64_t i = 0; i < s.layout->count; i++) s.layout->entry[i].quant = NULL;
    icd_runner *plain = runner_of(s.model, NULL, &b, ICD_RUN_CUDA, ICD_PHASE_PREFILL, 64);
    assert_ok(ctx, icd_runner_step(ctx, plain, &b, &y));
    for (uint64_t seed = 1; seed <= 2; seed++) {
        set_orders(ctx, s.model, s.layout, seed);
        set_kernels(s.layout, ICD_KERNEL_TILE, 16);
        icd_runner *other =
            runner_of(s.model, s.layout, &b, ICD_RUN_CUDA, ICD_PHASE_PREFILL, 64);
        assert_ok(ctx, icd_runner_step(ctx, other, &b, &x));
        compare(&x, &y, &b, &g);
        icd_runner_free(ctx, other);
    }
    print_message("largest relative gap %.2g, least cosine %.6f\n", g.worst, g.cosine);
    assert_true(g.worst <= 1e-2);
    icd_runner_free(ctx, plain);
    small_batch_release(&b);
    sparse_free(ctx, &s);
    icd_model_free(ctx, source);
}

enum {
    SCAN_SEQ = 37,
    SCAN_N = 70,
    SCAN_STATES = 5,
    SCAN_BC = 2 * SCAN_STATES,
    SCAN_WIDE = (SCAN_N + ICD_GPU_SCAN - 1) / ICD_GPU_SCAN
};

typedef struct scan_case {
    uint16_t u[SCAN_SEQ * SCAN_N], z[SCAN_SEQ * SCAN_N], y[SCAN_SEQ * SCAN_N];
    float dt[SCAN_SEQ * SCAN_N], bc[SCAN_SEQ * SCAN_BC], a[SCAN_N * SCAN_STATES];
    float d[SCAN_N], from[SCAN_N * SCAN_STATES], to[SCAN_N * SCAN_STATES];
} scan_case;

static void fill_scan(scan_case *c)
{
    icd_rng rng;
    icd_i_rng_init(&rng, 4, 2);
    for (int i = 0; i < SCAN_SEQ * SCAN_N; i++) {
        c->u[i] = icd_i_bf16_of((float)icd_i_rng_normal(&rng));
        c->z[i] = icd_i_bf16_of((float)icd_i_rng_normal(&rng));
        c->dt[i] = (float)icd_i_rng_normal(&rng) - 2;
    }
    for (int i = 0; i < SCAN_SEQ * SCAN_BC; i++) c->bc[i] = (float)icd_i_rng_normal(&rng);
    for (int i = 0; i < SCAN_N * SCAN_STATES; i++) {
        c->a[i] = -(float)exp(icd_i_rng_normal(&rng));
        c->from[i] = (float)icd_i_rng_normal(&rng);
    }
    for (int i = 0; i < SCAN_N; i++) c->d[i] = (float)icd_i_rng_normal(&rng);
}

/* One channel in double precision: everything but the last rounding of y is exact. */
static void check_channel(const scan_case *c, int n)
{
    double h[SCAN_STATES];
    for (int s = 0; s < SCAN_STATES; s++) h[s] = (double)c->from[n * SCAN_STATES + s];
    for (int t = 0; t < SCAN_SEQ; t++) {
        double u = (double)icd_i_bf16_value(c->u[t * SCAN_N + n]),
               z = (double)icd_i_bf16_value(c->z[t * SCAN_N + n]),
               dt = log1p(exp((double)c->dt[t * SCAN_N + n])), y = (double)c->d[n] * u,
               size = fabs(y);
        const float *b = c->bc + t * SCAN_BC, *k = b + SCAN_STATES;
        for (int s = 0; s < SCAN_STATES; s++) {
            h[s] = exp(dt * (double)c->a[n * SCAN_STATES + s]) * h[s] +
                   dt * u * (double)b[s];
            y += h[s] * (double)k[s];
            size += fabs(h[s] * (double)k[s]);
        }
        y *= z / (1 + exp(-z));
        assert_near((double)icd_i_bf16_value(c->y[t * SCAN_N + n]), y,
                    fabs(y) / 256 + 2e-6 * size * fabs(z));
    }
    for (int s = 0; s < SCAN_STATES; s++)
        assert_near((double)c->to[n * SCAN_STATES + s], h[s], 2e-5 * (1 + fabs(h[s])));
}

/* In one piece, or cut: 4 pieces of 9, the last one has 10. */
static void scan_in(int pieces)
{
    static scan_case c;
    icd_gpu gpu;
    icd_runner_opts opts = small_opts(ICD_RUN_BF16);
    on_device(&opts);
    fill_scan(&c);
    assert_ok(ctx, icd_i_gpu_open(ctx, &opts, 64, &gpu));
    icd_gpu_scan p = {.ld_bc = SCAN_BC,
                      .ldz = SCAN_N,
                      .batch = 1,
                      .seq = SCAN_SEQ,
                      .n = SCAN_N,
                      .states = SCAN_STATES,
                      .pieces = pieces,
                      .span = SCAN_SEQ / pieces};
    assert_ok(ctx, icd_i_gpu_put(ctx, &gpu, c.u, sizeof c.u, "u", &p.u));
    assert_ok(ctx, icd_i_gpu_put(ctx, &gpu, c.z, sizeof c.z, "z", &p.z));
    assert_ok(ctx, icd_i_gpu_put(ctx, &gpu, c.y, sizeof c.y, "y", &p.y));
    assert_ok(ctx, icd_i_gpu_put(ctx, &gpu, c.dt, sizeof c.dt, "dt", &p.dt));
    assert_ok(ctx, icd_i_gpu_put(ctx, &gpu, c.bc, sizeof c.bc, "bc", &p.b));
    assert_ok(ctx, icd_i_gpu_put(ctx, &gpu, c.a, sizeof c.a, "a", &p.a));
    assert_ok(ctx, icd_i_gpu_put(ctx, &gpu, c.d, sizeof c.d, "d", &p.d));
    assert_ok(ctx, icd_i_gpu_put(ctx, &gpu, c.from, sizeof c.from, "from", &p.from));
    assert_ok(ctx, icd_i_gpu_put(ctx, &gpu, c.to, sizeof c.to, "to", &p.to));
    assert_ok(ctx,
              icd_device_alloc(ctx, gpu.device, SCAN_SEQ * (SCAN_STATES + 1) * SCAN_N * 4,
                               "carry", &p.carry));
    p.c = icd_dptr_add(p.b, SCAN_STATES * 4);
    if (pieces > 1)
        assert_ok(ctx, icd_i_gpu_run(ctx, &gpu, ICD_RUN_SCAN_CARRY,
                                     SCAN_WIDE * (pieces - 1), ICD_GPU_SCAN, &p));
    assert_ok(ctx, icd_i_gpu_run(ctx, &gpu, ICD_RUN_SCAN, SCAN_WIDE * pieces,
                                 ICD_GPU_SCAN, &p));
    assert_ok(ctx, icd_device_download(ctx, gpu.device, c.y, p.y, sizeof c.y));
    assert_ok(ctx, icd_device_download(ctx, gpu.device, c.to, p.to, sizeof c.to));
    for (int n = 0; n < SCAN_N; n++) check_channel(&c, n);
    icd_i_gpu_close(ctx, &gpu);
}

static void test_scan(void **state)
{
    (void)state;
    need_device();
    scan_in(1);
    scan_in(4);
    scan_in(SCAN_SEQ);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_orders_agree),
        cmocka_unit_test(test_prefill_and_decode),
        cmocka_unit_test(test_decode_phase),
    };
    return run_on_device(tests, set_up, tear_down);
}
