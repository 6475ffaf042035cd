/* cuBLASLt and cuSPARSELt beside our kernels: which one runs, what it is asked, and what
 * happens where it is not there. On fakes of all three libraries; with a GPU, the
 * products of the real ones. */
#include "cuda/fake.h"
#include "fakes/cuda/libraries.h"
#include "runner/cuda/splt.h"
#include "runner/small.h"

#include "core/small_float.h"

static icd_ctx *ctx;

#ifndef ICD_FAKE_CUBLASLT
#define ICD_FAKE_CUBLASLT   NULL
#define ICD_FAKE_CUSPARSELT NULL
#endif

#ifdef ICD_TEST_GPU
#define LT_LIBRARY   NULL
#define SPLT_LIBRARY NULL
#else
#define LT_LIBRARY   ICD_FAKE_CUBLASLT
#define SPLT_LIBRARY ICD_FAKE_CUSPARSELT
#endif

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

enum { TOKENS = 32, ROWS = 48, COLS = 64 };

/* One product of a type: operands on the device, and what comes out in double precision.
 */
typedef struct operands {
    icd_lt_product p;
    double expected[TOKENS * ROWS];
} operands;

static double put_value(int32_t type, icd_rng *rng, bool zero, void *at, int64_t i)
{
    float v = zero ? 0 : (float)(icd_i_rng_below(rng, 127) - 63);
    uint16_t bits = icd_i_bf16_of(v);
    uint8_t small = icd_i_fp8_of(v, 3);
    if (type == ICD_GPU_BF16) ((uint16_t *)at)[i] = bits;
    if (type == ICD_GPU_INT8) ((int8_t *)at)[i] = (int8_t)v;
    if (type == ICD_GPU_FP8) ((uint8_t *)at)[i] = small;
    return (double)(type == ICD_GPU_FP8 ? icd_i_fp8_value(small, 3) : v);
}

/* @param half [in] two of any four weights are zero */
static void operands_new(icd_gpu *gpu, int32_t type, bool half, operands *o)
{
    static double w[ROWS * COLS], x[TOKENS * COLS];
    uint16_t bits[ROWS * COLS];
    int64_t size = icd_i_gpu_size(type);
    icd_rng rng;
    icd_i_rng_init(&rng, 5, (uint64_t)type);
    *o = (operands){
        .p = {.type = type, .tokens = TOKENS, .rows = ROWS, .cols = COLS, .ldx = COLS}};
    for (int64_t i = 0; i < ROWS * COLS; i++)
        w[i] = put_value(type, &rng, half && i % 4 < 2, bits, i);
    assert_ok(ctx, icd_i_gpu_put(ctx, gpu, bits, ROWS * COLS * size, "w", &o->p.w));
    for (int64_t i = 0; i < TOKENS * COLS; i++)
        x[i] = put_value(type, &rng, false, bits, i);
    assert_ok(ctx, icd_i_gpu_put(ctx, gpu, bits, TOKENS * COLS * size, "x", &o->p.x));
    assert_ok(ctx, icd_device_alloc(ctx, gpu->device, TOKENS * ROWS * 4, "y", &o->p.y));
    for (int64_t t = 0; t < TOKENS; t++)
        for (int64_t r = 0; r < ROWS; r++)
            for (int64_t c = 0; c < COLS; c++)
                o->expected[t * ROWS + r] += w[r * COLS + c] * x[t * COLS + c];
}

static void check_result(icd_gpu *gpu, const operands *o)
{
    int32_t y[TOKENS * ROWS];
    bool whole = o->p.type == ICD_GPU_INT8;
    assert_ok(ctx, icd_device_download(ctx, gpu->device, y, o->p.y,
                                       TOKENS * ROWS * (whole ? 4 : 2)));
    for (int64_t i = 0; i < TOKENS * ROWS; i++) {
        double found =
            whole ? (double)y[i]
                  : (double)icd_i_bf16_value(((const uint16_t *)(const void *)y)[i]);
        double rounded = whole ? 0 : fabs(o->expected[i]) / 250 + 4;
        assert_near(found, o->expected[i], rounded);
    }
}

static void open_gpu(icd_gpu *gpu)
{
    icd_runner_opts opts = {.size = 0};
    on_device(&opts);
    assert_ok(ctx, icd_i_gpu_open(ctx, &opts, 64, gpu));
}

/* The product of every type that the device has, by cuBLASLt. */
static void test_products(void **state)
{
    (void)state;
    need_device();
    icd_gpu gpu;
    icd_lt *lt = NULL;
    open_gpu(&gpu);
    if (icd_i_lt_open(ctx, &gpu, LT_LIBRARY, &lt) != ICD_OK) {
        print_message("skipped: %s\n", icd_ctx_message(ctx));
        icd_i_gpu_close(ctx, &gpu);
        skip();
    }
    for (int32_t type = 0; type < ICD_GPU_TYPES; type++) {
        operands o;
        int32_t tried = 0;
        operands_new(&gpu, type, false, &o);
        if (icd_i_lt_tune(ctx, lt, &o.p, &tried) != ICD_OK) {
            print_message("type %d: %s\n", type, icd_ctx_message(ctx));
            continue;
        }
        assert_true(tried > 0);
        assert_ok(ctx, icd_i_lt_run(ctx, lt, &o.p));
        check_result(&gpu, &o);
    }
    icd_i_lt_close(ctx, lt);
    icd_i_gpu_close(ctx, &gpu);
}

/* The same of 2:4, by cuSPARSELt. */
static void test_sparse_products(void **state)
{
    (void)state;
    need_device();
    icd_gpu gpu;
    icd_splt *splt = NULL;
    open_gpu(&gpu);
    if (icd_i_splt_open(ctx, &gpu, SPLT_LIBRARY, &splt) != ICD_OK) {
        print_message("skipped: %s\n", icd_ctx_message(ctx));
        icd_i_gpu_close(ctx, &gpu);
        skip();
    }
    for (int32_t type = 0; type < ICD_GPU_TYPES; type++) {
        operands o;
        int32_t number = ICD_SPLT_NEW;
        operands_new(&gpu, type, true, &o);
        if (icd_i_splt_make(ctx, splt, &o.p, &number) != ICD_OK) {
            print_message("type %d: %s\n", type, icd_ctx_message(ctx));
            continue;
        }
        assert_ok(ctx, icd_i_splt_run(ctx, splt, number, &o.p));
        check_result(&gpu, &o);
    }
    icd_i_splt_close(ctx, splt);
    icd_i_gpu_close(ctx, &gpu);
}

#ifndef ICD_TEST_GPU

/* No side is odd: cuSPARSELt takes multiples of 8 only. */
static const small_shape EVEN = {1, 32, 64, 2, 23, 24, "gelu", true};

typedef struct told {
    char kernel[4096], gpu[2048]; /* what events of these stages said */
    char warned[2048];
    int kernels;
} told;

static void keep(char *to, size_t room, const char *text)
{
    size_t n = strlen(to);
    snprintf(to + n, room - n, "%s\n", text);
}

static void listen(void *user, const icd_event *event)
{
    told *t = user;
    if (!strcmp(event->stage, "gpu")) keep(t->gpu, sizeof t->gpu, event->meta_json);
    if (strcmp(event->stage, "kernel") != 0) return;
    t->kernels++;
    keep(t->kernel, sizeof t->kernel, event->meta_json);
}

static fake_library_state *state_of(const char *library, const char *symbol)
{
    fake_library_fn *get = NULL;
    void *at = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(at);
    void *found = dlsym(at, symbol);
    assert_non_null(found);
    memcpy(&get, &found, sizeof get);
    return get();
}

static fake_library_state *fresh_lt(double ms)
{
    fake_library_state *s = state_of(ICD_FAKE_CUBLASLT, "fake_cublaslt");
    *s = (fake_library_state){.ms = ms};
    fake_state()->product_ms = 4; /* a pass over rows takes 1 */
    return s;
}

static fake_library_state *fresh_splt(double ms)
{
    fake_library_state *s = state_of(ICD_FAKE_CUSPARSELT, "fake_cusparselt");
    *s = (fake_library_state){.ms = ms, .version = 1000};
    fake_state()->product_ms = 4;
    return s;
}

static void hear(void *user, const char *text)
{
    told *t = user;
    keep(t->warned, sizeof t->warned, text);
}

static result run_layout(const icd_model *model, const icd_layout *layout, int32_t dtype,
                         const char *lt, const char *splt, const icd_batch *batch,
                         told *t)
{
    icd_runner_opts opts = small_opts(dtype);
    icd_runner *runner = NULL;
    icd_output out;
    on_device(&opts);
    opts.vector = 64;
    opts.cublaslt = lt;
    opts.cusparselt = splt;
    *t = (told){.kernels = 0};
    icd_ctx_on_event(ctx, listen, t);
    icd_ctx_on_warning(ctx, hear, t);
    assert_ok(ctx, icd_runner_new(ctx, model, layout, batch, &opts, &runner));
    assert_ok(ctx, icd_runner_step(ctx, runner, batch, &out));
    icd_ctx_on_event(ctx, NULL, NULL);
    icd_ctx_on_warning(ctx, NULL, NULL);
    result kept = keep_output(&out);
    icd_runner_free(ctx, runner);
    return kept;
}

static result run_with(const icd_model *model, int32_t dtype, const char *lt,
                       const char *splt, const icd_batch *batch, told *t)
{
    return run_layout(model, NULL, dtype, lt, splt, batch, t);
}

static void assert_close(const result *a, const result *b, double bound)
{
    double gap = relative_gap(a->hidden, b->hidden, a->tokens * a->width);
    print_message("largest relative gap %.2g\n", gap);
    assert_true(gap <= bound);
}

static icd_batch whole_batch(int64_t batch, int64_t seq)
{
    icd_batch b = small_batch(&EVEN, batch, seq, 2);
    for (int64_t s = 0; s < batch; s++)
        ((int32_t *)(uintptr_t)b.lengths)[s] = (int32_t)seq;
    return b;
}

/* The library is faster: it runs every linear, each shape is timed once. */
static void test_faster(void **state)
{
    static const int32_t DTYPE[] = {ICD_RUN_BF16, ICD_RUN_INT8, ICD_RUN_FP8};
    (void)state;
    need_device();
    icd_model *model = small_bert(ctx, &EVEN, 5);
    icd_batch b = whole_batch(3, 12);
    for (int i = 0; i < 3; i++) {
        told t;
        fake_library_state *lt = fresh_lt(.25);
        result ours = run_with(model, DTYPE[i], "none", "none", &b, &t);
        assert_int_equal(t.kernels, 0);
        result found = run_with(model, DTYPE[i], ICD_FAKE_CUBLASLT, "none", &b, &t);
        assert_int_equal(t.kernels, 3); /* hidden, up, down: not one a linear */
        assert_non_null(strstr(t.kernel, "\"by\":\"cublaslt\""));
        assert_null(strstr(t.kernel, "\"by\":\"ours\""));
        assert_non_null(strstr(t.gpu, "\"library\":\"cublaslt\",\"used\":true"));
        assert_int_equal(lt->searches, 3);
        assert_true(lt->products > 12);
        assert_int_equal(lt->misuse, 0);
        assert_int_equal(lt->alive, 0);
        /* int8 sums are exact; of the others the rounding differs, in e4m3 by 1 of 16 */
        assert_close(&found, &ours, DTYPE[i] == ICD_RUN_FP8 ? 1e-1 : 2e-2);
        result_release(&ours);
        result_release(&found);
    }
    small_batch_release(&b);
    icd_model_free(ctx, model);
}

/* Under local orders: the library reads columns as they are staged, and its rows are put
 * into the order of the next product. */
static void test_local_orders(void **state)
{
    static const int32_t DTYPE[] = {ICD_RUN_BF16, ICD_RUN_INT8};
    (void)state;
    need_device();
    icd_model *source = small_bert(ctx, &EVEN, 5);
    sparse s = sparse_new(ctx, source, 64, .7, 9);
    icd_batch b = whole_batch(2, 9);
    set_orders(ctx, s.model, s.layout, 10);
    for (int64_t i = 0; i < s.layout->count; i++) s.layout->entry[i].quant = NULL;
    for (int i = 0; i < 2; i++) {
        told t;
        fake_library_state *lt = fresh_lt(.25);
        result ours = run_layout(s.model, s.layout, DTYPE[i], "none", "none", &b, &t);
        result found =
            run_layout(s.model, s.layout, DTYPE[i], ICD_FAKE_CUBLASLT, "none", &b, &t);
        assert_non_null(strstr(t.kernel, "\"by\":\"cublaslt\""));
        assert_null(strstr(t.kernel, "\"by\":\"ours\""));
        assert_int_equal(lt->misuse, 0);
        assert_close(&found, &ours, 2e-2);
        result_release(&ours);
        result_release(&found);
    }
    small_batch_release(&b);
    sparse_free(ctx, &s);
    icd_model_free(ctx, source);
}

/* Ours is faster, or the library refuses at any step: our kernels run, to the bit. */
static void test_ours(void **state)
{
    static const char *const FAIL[] = {NULL,
                                       "cublasLtCreate",
                                       "cublasLtMatmulDescCreate",
                                       "cublasLtMatrixLayoutCreate",
                                       "cublasLtMatmulPreferenceCreate",
                                       "cublasLtMatmulAlgoGetHeuristic",
                                       "cublasLtMatmul"};
    (void)state;
    need_device();
    told t;
    icd_model *model = small_bert(ctx, &EVEN, 5);
    icd_batch b = whole_batch(2, 9);
    result ours = run_with(model, ICD_RUN_BF16, "none", "none", &b, &t);
    for (size_t i = 0; i < sizeof FAIL / sizeof *FAIL; i++) {
        fake_library_state *lt = fresh_lt(FAIL[i] ? .25 : 5);
        lt->fail = FAIL[i];
        result found = run_with(model, ICD_RUN_BF16, ICD_FAKE_CUBLASLT, "none", &b, &t);
        assert_null(strstr(t.kernel, "\"by\":\"cublaslt\""));
        assert_same_bits(&ours, &found);
        assert_int_equal(lt->alive, 0);
        assert_int_equal(lt->misuse, 0);
        result_release(&found);
    }
    result_release(&ours);
    small_batch_release(&b);
    icd_model_free(ctx, model);
}

static void test_absent(void **state)
{
    (void)state;
    need_device();
    told t;
    icd_model *model = small_bert(ctx, &EVEN, 5);
    icd_batch b = whole_batch(1, 5);
    result ours = run_with(model, ICD_RUN_BF16, "none", "none", &b, &t);
    assert_string_equal(t.gpu, "");
    assert_string_equal(t.warned, "");
    result found = run_with(model, ICD_RUN_BF16, "/nowhere/libcublasLt.so",
                            "/nowhere/libcusparseLt.so", &b, &t);
    assert_non_null(strstr(t.gpu, "\"library\":\"cublaslt\",\"used\":false"));
    assert_non_null(strstr(t.gpu, "/nowhere/libcublasLt.so could not be loaded"));
    assert_non_null(strstr(t.warned, "dense linears run our own kernel: cuBLASLt: "
                                     "/nowhere/libcublasLt.so could not be loaded"));
    assert_non_null(strstr(t.gpu, "/nowhere/libcusparseLt.so could not be loaded, so 2:4 "
                                  "runs as dense"));
    assert_same_bits(&ours, &found);
    result_release(&found);
    found = run_with(model, ICD_RUN_BF16, ICD_FAKE_NVML, ICD_FAKE_NVML, &b, &t);
    assert_non_null(strstr(t.gpu, "found no function cublasLtCreate"));
    assert_non_null(strstr(t.gpu, "found no function cusparseLtInit"));
    result_release(&found);
    result_release(&ours);
    small_batch_release(&b);
    icd_model_free(ctx, model);
}

/* Where memory ends, the second copies of the weights go first. */
static void test_short_of_memory(void **state)
{
    (void)state;
    need_device();
    told t;
    fake_cuda_state *gpu = fake_state();
    size_t all = gpu->memory;
    icd_model *model = small_bert(ctx, &EVEN, 5);
    icd_batch b = whole_batch(2, 9);
    result ours = run_with(model, ICD_RUN_BF16, "none", "none", &b, &t);
    int met = 0;
    for (int at = 0; at < 2000; at += at < 8 ? 1 : 23) {
        icd_runner_opts opts = small_opts(ICD_RUN_BF16);
        icd_runner *runner = NULL;
        icd_output out;
        (void)fresh_lt(.25);
        on_device(&opts);
        opts.vector = 64;
        opts.cublaslt = ICD_FAKE_CUBLASLT;
        gpu->fail = "cuMemAlloc_v2";
        gpu->fail_with = 2;
        gpu->fail_after = at;
        icd_status status = icd_runner_new(ctx, model, NULL, &b, &opts, &runner);
        if (status == ICD_OK) status = icd_runner_step(ctx, runner, &b, &out);
        bool through = gpu->fail_after > 0;
        gpu->fail = NULL;
        if (status == ICD_OK) {
            assert_true(relative_gap(out.hidden, ours.hidden, ours.tokens * ours.width) <=
                        2e-2);
            met++;
        } else {
            assert_int_equal(status, ICD_ENOMEM);
            assert_non_null(strstr(icd_ctx_message(ctx), "GPU memory"));
        }
        icd_runner_free(ctx, runner);
        if (through) break;
    }
    assert_true(met > 0);
    assert_int_equal(gpu->allocations, 0);
    gpu->memory = all;
    result_release(&ours);
    small_batch_release(&b);
    icd_model_free(ctx, model);
}

/* A model of whose weights two of any four are zero, in every linear. */
static icd_model *halved_bert(const icd_model *model)
{
    const icd_linear *list = NULL;
    int64_t count = 0;
    icd_replacement with[MOST_TENSORS];
    icd_model *half = NULL;
    assert_ok(ctx, icd_runner_linears(ctx, model, &list, &count));
    for (int64_t i = 0; i < count; i++) {
        float *w = NULL;
        assert_ok(ctx, icd_model_tensor_f32(ctx, model, list[i].tensor, &w));
        for (int64_t j = 0; j < list[i].rows * list[i].cols; j += 4)
            w[j + j / 4 % 2] = w[j + 2 + j / 4 % 2] = 0;
        with[i] = (icd_replacement){list[i].tensor, w};
    }
    assert_ok(ctx, icd_model_replace(ctx, model, with, count, &half));
    for (int64_t i = 0; i < count; i++)
        icd_mem_free(ctx, (void *)(uintptr_t)with[i].data);
    icd_mem_free(ctx, (void *)(uintptr_t)list);
    return half;
}

static void test_two_of_four(void **state)
{
    static const int32_t DTYPE[] = {ICD_RUN_BF16, ICD_RUN_INT8, ICD_RUN_FP8};
    (void)state;
    need_device();
    icd_model *dense = small_bert(ctx, &EVEN, 5), *model = halved_bert(dense);
    icd_batch b = whole_batch(2, 16);
    for (int i = 0; i < 3; i++) {
        told t;
        fake_library_state *splt = fresh_splt(.25);
        result ours = run_with(model, DTYPE[i], "none", "none", &b, &t);
        result found = run_with(model, DTYPE[i], "none", ICD_FAKE_CUSPARSELT, &b, &t);
        assert_non_null(strstr(t.kernel, "\"by\":\"cusparselt\""));
        assert_int_equal(t.kernels, 6); /* each has a compressed matrix of its own */
        assert_int_equal(splt->searches, 6);
        assert_int_equal(splt->misuse, 0);
        assert_int_equal(splt->alive, 0);
        assert_close(&found, &ours, DTYPE[i] == ICD_RUN_FP8 ? 1e-1 : 2e-2);
        result_release(&found);
        result_release(&ours);
    }
    small_batch_release(&b);
    icd_model_free(ctx, model);
    icd_model_free(ctx, dense);
}

/* Weights that are not 2:4, a shape it does not take, an old release, and failures. */
static void test_not_two_of_four(void **state)
{
    static const char *const FAIL[] = {"cusparseLtInit", "cusparseLtSpMMAPruneCheck",
                                       "cusparseLtSpMMACompress",
                                       "cusparseLtMatmulSearch", "cusparseLtMatmul"};
    (void)state;
    need_device();
    told t;
    fake_library_state *splt = fresh_splt(.25);
    icd_model *dense = small_bert(ctx, &EVEN, 5), *model = halved_bert(dense);
    icd_batch b = whole_batch(2, 16), odd = whole_batch(1, 5);
    result one = run_with(dense, ICD_RUN_BF16, "none", ICD_FAKE_CUSPARSELT, &b, &t);
    assert_int_equal(t.kernels, 0);
    result_release(&one);
    one = run_with(model, ICD_RUN_BF16, "none", ICD_FAKE_CUSPARSELT, &odd, &t);
    result_release(&one);
    assert_null(strstr(t.kernel, "\"by\":\"cusparselt\""));
    result ours = run_with(model, ICD_RUN_BF16, "none", "none", &b, &t);
    for (size_t i = 0; i < sizeof FAIL / sizeof *FAIL; i++) {
        splt->fail = FAIL[i];
        result found = run_with(model, ICD_RUN_BF16, "none", ICD_FAKE_CUSPARSELT, &b, &t);
        assert_null(strstr(t.kernel, "\"by\":\"cusparselt\""));
        assert_same_bits(&ours, &found);
        assert_int_equal(splt->alive, 0);
        result_release(&found);
    }
    splt->fail = NULL;
    splt->version = 501;
    result old = run_with(model, ICD_RUN_BF16, "none", ICD_FAKE_CUSPARSELT, &b, &t);
    assert_non_null(strstr(t.gpu, "found version 501, expected 502 or later"));
    assert_int_equal(splt->misuse, 0);
    result_release(&old);
    result_release(&ours);
    small_batch_release(&odd);
    small_batch_release(&b);
    icd_model_free(ctx, model);
    icd_model_free(ctx, dense);
}

/* The device's own look at the weights. */
static void test_prune_check(void **state)
{
    (void)state;
    need_device();
    enum { SIDE = 16, VALUES = SIDE * SIDE };
    fake_library_state *fake = fresh_splt(.25);
    uint16_t w[VALUES], zero[VALUES] = {0};
    icd_gpu gpu;
    icd_splt *splt = NULL;
    icd_runner_opts opts = {.size = 0};
    on_device(&opts);
    for (int i = 0; i < VALUES; i++) w[i] = 0x3f80;
    assert_ok(ctx, icd_i_gpu_open(ctx, &opts, 64, &gpu));
    assert_ok(ctx, icd_i_splt_open(ctx, &gpu, ICD_FAKE_CUSPARSELT, &splt));
    icd_lt_product p = {
        .type = ICD_GPU_BF16, .tokens = SIDE, .rows = SIDE, .cols = SIDE, .ldx = SIDE};
    assert_ok(ctx, icd_i_gpu_put(ctx, &gpu, w, sizeof w, "w", &p.w));
    assert_ok(ctx, icd_i_gpu_put(ctx, &gpu, zero, sizeof zero, "x", &p.x));
    assert_ok(ctx, icd_i_gpu_put(ctx, &gpu, zero, sizeof zero, "y", &p.y));
    int32_t number = ICD_SPLT_NEW;
    assert_fails(ctx, ICD_EUNSUPPORTED, "found weights with more than two of four values",
                 icd_i_splt_make(ctx, splt, &p, &number));
    assert_int_equal(number, ICD_SPLT_NONE);
    icd_i_splt_close(ctx, splt);
    icd_i_gpu_close(ctx, &gpu);
    assert_int_equal(fake->alive, 0);
    assert_int_equal(fake->misuse, 0);
}

#endif /* ICD_TEST_GPU */

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_sparse_products),
#ifndef ICD_TEST_GPU
        cmocka_unit_test(test_faster),
        cmocka_unit_test(test_local_orders),
        cmocka_unit_test(test_ours),
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_short_of_memory),
        cmocka_unit_test(test_two_of_four),
        cmocka_unit_test(test_not_two_of_four),
        cmocka_unit_test(test_prune_check),
#endif
    };
    return run_on_device(tests, set_up, tear_down);
}
