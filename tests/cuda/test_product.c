/* Products of masked linears under local orders, on the emulated device: every kernel,
 * both vectors, cut tiles; int8 sums are exact, so only the store rounds. */
#include "cuda/fake.h"
#include "runner/cuda/gpu.h"
#include "runner/small.h"

#include "core/small_float.h"
#include "kernels/cuda/pack.h"

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

/* A runner in name only: what loading linears needs. */
typedef struct bench {
    icd_runner r;
    icd_gpu gpu;
    icd_gpu_linear *linear;
    icd_rng rng;
} bench;

/* Which kernels multiply on a Hopper; UNTRIED: as the library decides. */
static int8_t trust = ICD_GPU_REFUSED;

static void bench_new(bench *b, const sparse *s, int32_t dtype, int32_t vector)
{
    const icd_linear *list = NULL;
    *b = (bench){.r = {.model = s->model, .opts = small_opts(dtype), .ctx = ctx}};
    b->r.opts.vector = vector;
    on_device(&b->r.opts);
    icd_i_rng_init(&b->rng, 99, 1);
    assert_ok(ctx, icd_runner_linears(ctx, s->model, &list, &b->r.linears));
    b->r.list = (icd_linear *)(uintptr_t)list;
    assert_ok(ctx, icd_i_gpu_open(ctx, &b->r.opts, 512, &b->gpu));
    for (int i = 0; i < ICD_GPU_HOPPERS && trust != ICD_GPU_UNTRIED; i++)
        b->gpu.trust[i] = trust;
    assert_ok(ctx, icd_i_gpu_linears_new(ctx, &b->gpu, &b->r, s->layout, &b->linear));
}

static void bench_free(bench *b)
{
    icd_i_gpu_linears_free(ctx, &b->r, b->linear);
    icd_i_gpu_close(ctx, &b->gpu);
    icd_mem_free(ctx, b->r.list);
    for (int64_t i = 0; i < b->r.owned_count; i++) icd_mem_free(ctx, b->r.owned[i]);
    icd_i_free(ctx, b->r.owned);
}

/* A staged row: values of the type, zero where no channel lies. */
static void fill(bench *b, const icd_gpu_linear *l, int64_t tokens, unsigned char *to,
                 float *value)
{
    for (int64_t i = 0; i < tokens * l->slots; i++) {
        int64_t s = i % l->slots;
        bool used = s < l->plan->slots && l->plan->old_of_new[s] >= 0;
        float v = used ? (float)(icd_i_rng_below(&b->rng, 255) - 127) : 0;
        uint16_t bits = icd_i_bf16_of(v / 64);
        uint8_t small = icd_i_fp8_of(v * (i % 7 ? 1 : .002F), 3);
        if (l->type == ICD_GPU_INT8)
            to[i] = (unsigned char)(int8_t)v;
        else if (l->type == ICD_GPU_FP8)
            to[i] = small;
        else
            memcpy(to + 2 * i, &bits, 2);
        value[i] = l->type == ICD_GPU_INT8  ? v
                   : l->type == ICD_GPU_FP8 ? icd_i_fp8_value(small, 3)
                                            : icd_i_bf16_value(bits);
    }
}

/* Weight of row r behind staged slot s. */
static double weight(const sparse *s, const icd_gpu_linear *l, int64_t which, int64_t r,
                     int64_t slot)
{
    int32_t c = slot < l->plan->slots ? l->plan->old_of_new[slot] : -1;
    if (c < 0) return 0;
    int64_t at = r * l->info->cols + c;
    if (l->type == ICD_GPU_INT8) return (double)s->quant[which]->q[at];
    if (l->type == ICD_GPU_FP8)
        return (double)icd_i_fp8_value((uint8_t)s->quant[which]->q[at], 3);
    const icd_tensor *t = icd_model_tensor(s->model, l->info->tensor);
    return (double)icd_i_bf16_value(icd_i_bf16_of(((const float *)t->data)[at]));
}

static double expected(const sparse *s, const icd_gpu_linear *l, int64_t which,
                       const float *x, double scale, int64_t r)
{
    double sum = 0;
    char name[160];
    for (int64_t i = 0; i < l->slots; i++)
        sum += (double)x[i] * weight(s, l, which, r, i);
    if (l->type != ICD_GPU_BF16) sum *= scale * (double)s->quant[which]->scale[r];
    snprintf(name, sizeof name, "%.*s.bias", (int)strlen(l->info->tensor) - 7,
             l->info->tensor);
    return sum + (double)((const float *)icd_model_tensor(s->model, name)->data)[r];
}

static void check_product(bench *b, const sparse *s, int64_t which, int64_t tokens)
{
    icd_gpu_linear *l = &b->linear[which];
    int64_t values = tokens * l->slots, size = icd_i_gpu_size(l->type);
    unsigned char *staged = calloc((size_t)values, (size_t)size);
    float *value = calloc((size_t)values, sizeof *value);
    float *scale = calloc((size_t)tokens, sizeof *scale);
    uint16_t *y = calloc((size_t)(tokens * l->info->rows), sizeof *y);
    icd_dptr d_x, d_scale, d_y;
    fill(b, l, tokens, staged, value);
    for (int64_t t = 0; t < tokens; t++) scale[t] = 0.01F + (float)t / 1000;
    assert_ok(ctx, icd_i_gpu_put(ctx, &b->gpu, staged, values * size, "x", &d_x));
    assert_ok(ctx, icd_i_gpu_put(ctx, &b->gpu, scale, tokens * 4, "scale", &d_scale));
    assert_ok(
        ctx, icd_device_alloc(ctx, b->gpu.device, tokens * l->info->rows * 2, "y", &d_y));
    assert_ok(ctx, icd_i_gpu_prepare(ctx, &b->gpu, l, 1, tokens));
    for (int again = 0; again < 2; again++) /* tallies are back at zero */
        assert_ok(ctx,
                  icd_i_gpu_product(ctx, &b->gpu, l, d_x, d_scale, d_y, l->info->rows));
    assert_ok(
        ctx, icd_device_download(ctx, b->gpu.device, y, d_y, tokens * l->info->rows * 2));
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t r = 0; r < l->info->rows; r++) {
            double want =
                expected(s, l, which, value + t * l->slots, (double)scale[t], r);
            assert_near((double)icd_i_bf16_value(y[t * l->info->rows + r]), want,
                        fabs(want) / 250 + 1e-3);
        }
    icd_device_release(ctx, b->gpu.device, d_x);
    icd_device_release(ctx, b->gpu.device, d_scale);
    icd_device_release(ctx, b->gpu.device, d_y);
    free(staged);
    free(value);
    free(scale);
    free(y);
}

/* Weights in e4m3 in the place of those in int8. */
static void to_fp8(sparse *s)
{
    for (int64_t i = 0; i < s->layout->count; i++) {
        icd_layout_entry *e = &s->layout->entry[i];
        icd_quantized *q = s->quant[i];
        float *w = calloc((size_t)(q->rows * q->cols), sizeof *w);
        for (int64_t j = 0; j < q->rows * q->cols; j++)
            w[j] = (float)q->q[j] * q->scale[j / q->cols];
        icd_matrix m = {"w", w, q->rows, q->cols};
        icd_quantized_free(ctx, q);
        assert_ok(ctx,
                  icd_quantize_matrix(ctx, &m, ICD_WEIGHT_FP8_E4M3, 0, &s->quant[i]));
        e->quant = s->quant[i];
        free(w);
    }
}

/* @param sizes [in] how many of the numbers of tokens, the smaller ones first */
static void check_kernels(int32_t dtype, int32_t vector, int sizes)
{
    static const small_shape z = {1, 72, 330, 3, 23, 11, "gelu", true};
    static const int64_t tokens[] = {1, 3, 8, 9, 70, 130};
    static const int32_t kernels[] = {ICD_KERNEL_DENSE, ICD_KERNEL_TILE,
                                      ICD_KERNEL_GATHER};
    icd_model *source = small_bert(ctx, &z, 8);
    sparse s = sparse_new(ctx, source, 64, .2, 9);
    set_orders(ctx, s.model, s.layout, 10);
    if (dtype == ICD_RUN_FP8) to_fp8(&s);
    for (int k = 0; k < 3; k++) {
        bench b;
        set_kernels(s.layout, kernels[k], 16);
        bench_new(&b, &s, dtype, vector);
        for (int i = 0; i < sizes; i++) check_product(&b, &s, 4 + (i + k) % 2, tokens[i]);
        assert_true(icd_i_gpu_bytes(&b.linear[4]) > 0);
        bench_free(&b);
    }
    sparse_free(ctx, &s);
    icd_model_free(ctx, source);
}

static void test_int8(void **state)
{
    (void)state;
    need_device();
    check_kernels(ICD_RUN_INT8, 64, 6);
    check_kernels(ICD_RUN_INT8, 128, 6);
}

static void test_bf16(void **state)
{
    (void)state;
    need_device();
    check_kernels(ICD_RUN_BF16, 64, 6);
    check_kernels(ICD_RUN_BF16, 128, 6);
}

/* Kernels of warp groups, where the device has them: tiles of 128 and of 256 tokens, more
 * than one of them, cut; dense, with items long enough that every room is used again. */
static void check_hopper(int32_t dtype, int32_t vector, int32_t kernel)
{
    static const small_shape z = {1, 72, 330, 3, 23, 11, "gelu", true};
    static const int64_t tokens[] = {70, 300};
    icd_model *source = small_bert(ctx, &z, 8);
    sparse s = sparse_new(ctx, source, 64, .2, 9);
    bench b;
    set_orders(ctx, s.model, s.layout, 10);
    if (dtype == ICD_RUN_FP8) to_fp8(&s);
    set_kernels(s.layout, kernel, 16);
    bench_new(&b, &s, dtype, vector);
    for (int i = 0; i < 2; i++) {
        check_product(&b, &s, 4 + i, tokens[i]);
        assert_int_equal(b.linear[4 + i].hopper,
                         b.gpu.hopper && trust == ICD_GPU_TRUSTED);
    }
    bench_free(&b);
    sparse_free(ctx, &s);
    icd_model_free(ctx, source);
}

static void check_trial(bool wrong)
{
    static const small_shape z = {1, 72, 330, 3, 23, 11, "gelu", true};
    icd_model *source = small_bert(ctx, &z, 8);
    sparse s = sparse_new(ctx, source, 64, .2, 9);
    bench b;
    int tried = 0;
    set_kernels(s.layout, ICD_KERNEL_TILE, 16);
    bench_new(&b, &s, ICD_RUN_INT8, 64);
    check_product(&b, &s, 4, 130);
    for (int i = 0; i < ICD_GPU_HOPPERS; i++) {
        tried += b.gpu.trust[i] != ICD_GPU_UNTRIED;
        if (wrong) assert_int_not_equal(b.gpu.trust[i], ICD_GPU_TRUSTED);
    }
    assert_int_equal(tried, b.gpu.hopper);
    bench_free(&b);
    sparse_free(ctx, &s);
    icd_model_free(ctx, source);
}

static void test_hopper(void **state)
{
    (void)state;
    need_device();
    trust = ICD_GPU_TRUSTED;
    for (int32_t dtype = 0; dtype < 3; dtype++) {
        static const int32_t DTYPE[] = {ICD_RUN_BF16, ICD_RUN_INT8, ICD_RUN_FP8};
        check_hopper(DTYPE[dtype], 64, ICD_KERNEL_TILE);
        check_hopper(DTYPE[dtype], 128, ICD_KERNEL_TILE);
    }
#ifndef ICD_TEST_GPU
    fake_state()->processors = 1;
    check_hopper(ICD_RUN_BF16, 64, ICD_KERNEL_DENSE);
    fake_state()->processors = 4;
#endif
    trust = ICD_GPU_REFUSED;
    check_hopper(ICD_RUN_INT8, 64, ICD_KERNEL_TILE);
}

/* The library compares before it trusts; what is wrong is told and not used. */
static void test_trust(void **state)
{
    (void)state;
    need_device();
    trust = ICD_GPU_UNTRIED;
    check_trial(false);
#ifndef ICD_TEST_GPU
    fake_state()->wrong = 1;
    check_trial(true);
    fake_state()->wrong = 0;
#endif
    trust = ICD_GPU_REFUSED;
}

/* By the device's instruction; on one without it, as two products of bf16. */
static void test_fp8(void **state)
{
    (void)state;
    need_device();
    check_kernels(ICD_RUN_FP8, 64, 6);
    check_kernels(ICD_RUN_FP8, 128, 6);
#ifndef ICD_TEST_GPU
    fake_state()->major = 8;
    check_kernels(ICD_RUN_FP8, 64, 4);
    fake_state()->major = 9;
#endif
}

/* The bytes that a tile plan reads follow its live granules. */
static void test_bytes(void **state)
{
    (void)state;
    need_device();
    icd_model *source = small_bert(ctx, &SMALL, 8);
    sparse s = sparse_new(ctx, source, 64, .05, 9);
    bench dense, tile;
    set_kernels(s.layout, ICD_KERNEL_DENSE, 16);
    bench_new(&dense, &s, ICD_RUN_BF16, 64);
    set_kernels(s.layout, ICD_KERNEL_TILE, 16);
    bench_new(&tile, &s, ICD_RUN_BF16, 64);
    for (int64_t i = 0; i < dense.r.linears; i++)
        assert_true(icd_i_gpu_bytes(&tile.linear[i]) <=
                    icd_i_gpu_bytes(&dense.linear[i]));
    bench_free(&dense);
    bench_free(&tile);
    sparse_free(ctx, &s);
    icd_model_free(ctx, source);
}

/* Tokens of a cache move between pages with all their heads. */
static void test_move(void **state)
{
    (void)state;
    need_device();
    enum { PAGES = 3, HEADS = 2, SIZE = 8, DIM = 5, VALUES = PAGES * HEADS * SIZE * DIM };
    static const int32_t from[] = {3, 17, 8}, to[] = {0, 1, 23};
    uint16_t in[VALUES], out[VALUES];
    icd_gpu gpu;
    icd_dptr d_in, d_out, d_from, d_to;
    icd_runner_opts opts = {.size = 0};
    on_device(&opts);
    for (int i = 0; i < VALUES; i++) in[i] = (uint16_t)i;
    assert_ok(ctx, icd_i_gpu_open(ctx, &opts, 64, &gpu));
    assert_ok(ctx, icd_i_gpu_put(ctx, &gpu, in, sizeof in, "in", &d_in));
    assert_ok(ctx, icd_device_alloc(ctx, gpu.device, sizeof out, "out", &d_out));
    assert_ok(ctx, icd_i_gpu_put(ctx, &gpu, from, sizeof from, "from", &d_from));
    assert_ok(ctx, icd_i_gpu_put(ctx, &gpu, to, sizeof to, "to", &d_to));
    icd_gpu_move move = {.in = d_in,
                         .out = d_out,
                         .from = d_from,
                         .to = d_to,
                         .count = 3,
                         .kv_heads = HEADS,
                         .dim = DIM,
                         .size = SIZE};
    assert_ok(ctx, icd_i_gpu_run(ctx, &gpu, ICD_RUN_MOVE, 3, ICD_GPU_ROWS, &move));
    assert_ok(ctx, icd_device_download(ctx, gpu.device, out, d_out, sizeof out));
    for (int i = 0; i < 3; i++)
        for (int h = 0; h < HEADS; h++)
            for (int v = 0; v < DIM; v++) {
                int a = ((from[i] / SIZE * HEADS + h) * SIZE + from[i] % SIZE) * DIM + v;
                int b = ((to[i] / SIZE * HEADS + h) * SIZE + to[i] % SIZE) * DIM + v;
                assert_int_equal(out[b], in[a]);
            }
    icd_i_gpu_close(ctx, &gpu);
}

static void test_refusals(void **state)
{
    (void)state;
    need_device();
    icd_model *m = small_bert(ctx, &SMALL, 8);
    icd_batch batch = small_batch(&SMALL, 1, 4, 2);
    icd_runner_opts opts = small_opts(ICD_RUN_BF16);
    icd_runner *r = NULL;
    on_device(&opts);
    assert_fails(ctx, ICD_EINVAL, "a GPU takes 64 or 128",
                 icd_runner_new(ctx, m, NULL, &batch, &opts, &r));
    opts.vector = 64;
    opts.driver = "/nowhere/libcuda.so.1";
    assert_fails(ctx, ICD_EUNSUPPORTED, "could not be loaded",
                 icd_runner_new(ctx, m, NULL, &batch, &opts, &r));
    assert_null(r);
    small_batch_release(&batch);
    icd_model_free(ctx, m);
}

/* What a layout brings and no kernel here multiplies. */
static void test_foreign_weights(void **state)
{
    (void)state;
    need_device();
    icd_model *source = small_bert(ctx, &SMALL, 8);
    icd_batch batch = small_batch(&SMALL, 1, 4, 2);
    sparse s = sparse_new(ctx, source, 64, .5, 9);
    icd_runner_opts opts = small_opts(ICD_RUN_INT8);
    icd_runner *r = NULL;
    on_device(&opts);
    opts.vector = 64;
    s.quant[0]->input_scale = .5F; /* the others that read its input have none */
    assert_fails(ctx, ICD_EINVAL, "of another type or scale than those of",
                 icd_runner_new(ctx, s.model, s.layout, &batch, &opts, &r));
    s.quant[0]->input_scale = 0;
    s.quant[0]->outliers = 1;
    assert_fails(ctx, ICD_EUNSUPPORTED, "found 1 outlier channels",
                 icd_runner_new(ctx, s.model, s.layout, &batch, &opts, &r));
    s.quant[0]->outliers = 0;
    opts.dtype = ICD_RUN_FP8;
    assert_fails(ctx, ICD_EUNSUPPORTED, "found weights in int8",
                 icd_runner_new(ctx, s.model, s.layout, &batch, &opts, &r));
    opts.device = ICD_RUN_CPU;
    assert_fails(ctx, ICD_EUNSUPPORTED, "found fp8, which no kernel of a CPU multiplies",
                 icd_runner_new(ctx, s.model, NULL, &batch, &opts, &r));
    assert_null(r);
    sparse_free(ctx, &s);
    small_batch_release(&batch);
    icd_model_free(ctx, source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_int8),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_fp8),
        cmocka_unit_test(test_hopper),
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_move),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_foreign_weights),
    };
    return run_on_device(tests, set_up, tear_down);
}
