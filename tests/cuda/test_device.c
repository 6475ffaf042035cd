/* The device layer on the fake driver: what it holds, refuses and gives back. */
#include "cuda/fake.h"

#include "base/cuda/device.h"

static icd_ctx *ctx;

static int set_up(void **state)
{
    (void)state;
    ctx = icd_ctx_new(NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    return 0;
}

static void assert_nothing_alive(void)
{
    const fake_cuda_state *s = fake_state();
    assert_int_equal(s->allocations + s->contexts + s->streams, 0);
    assert_int_equal(s->events + s->graphs + s->modules, 0);
}

static void test_memory(void **state)
{
    (void)state;
    need_device();
    icd_device *d = fake_device(ctx);
    icd_dptr a, b;
    char in[300] = "values", out[300] = "";
    int64_t now = 0, most = 0;
    assert_ok(ctx, icd_device_alloc(ctx, d, sizeof in, "a", &a));
    assert_ok(ctx, icd_device_alloc(ctx, d, sizeof in, "b", &b));
    assert_ok(ctx, icd_device_upload(ctx, d, a, in, sizeof in));
    assert_ok(ctx, icd_device_copy(ctx, d, b, a, sizeof in));
    assert_ok(ctx, icd_device_download(ctx, d, out, b, sizeof out));
    assert_memory_equal(in, out, sizeof in);
    icd_device_release(ctx, d, a);
    icd_device_use(d, &now, &most);
    assert_int_equal(now, sizeof in);
    assert_int_equal(most, 2 * sizeof in);
    icd_device_close(ctx, d);
    assert_nothing_alive();
}

static void test_out_of_memory(void **state)
{
    (void)state;
    need_device();
    icd_device *d = fake_device(ctx);
    icd_dptr a;
    assert_fails(ctx, ICD_ENOMEM, "weights need 4000.0 MB of GPU memory",
                 icd_device_alloc(ctx, d, 4000000000, "weights", &a));
    assert_int_equal(a.at, 0);
    assert_ok(ctx, icd_device_alloc(ctx, d, 1000, "weights", &a));
    icd_device_close(ctx, d);
    assert_nothing_alive();
}

static void test_graph_and_timer(void **state)
{
    (void)state;
    need_device();
    icd_device *d = fake_device(ctx);
    icd_device_graph *g = NULL;
    icd_timer *t = NULL;
    icd_dptr a;
    double ms = -1;
    char out[16] = "";
    assert_ok(ctx, icd_device_alloc(ctx, d, 16, "a", &a));
    assert_ok(ctx, icd_timer_new(ctx, d, &t));
    assert_ok(ctx, icd_device_fill(ctx, d, a, 1, 16));
    assert_ok(ctx, icd_device_record(ctx, d));
    assert_ok(ctx, icd_device_fill(ctx, d, a, 7, 16));
    assert_fails(ctx, ICD_EINVAL, "while work is recorded", icd_device_sync(ctx, d));
    assert_fails(ctx, ICD_EINVAL, "while work is recorded",
                 icd_device_upload(ctx, d, a, out, 16));
    assert_ok(ctx, icd_device_record_end(ctx, d, &g));
    assert_ok(ctx, icd_device_download(ctx, d, out, a, 16));
    assert_int_equal(out[3], 1); /* recorded, not done */
    assert_ok(ctx, icd_timer_start(ctx, t));
    assert_ok(ctx, icd_device_replay(ctx, d, g));
    assert_ok(ctx, icd_timer_stop(ctx, t));
    assert_ok(ctx, icd_timer_ms(ctx, t, &ms));
    assert_ok(ctx, icd_device_download(ctx, d, out, a, 16));
    assert_int_equal(out[3], 7);
    assert_true(ms >= 0);
    icd_timer_free(ctx, t);
    icd_device_graph_free(ctx, g);
    icd_device_close(ctx, d);
    assert_nothing_alive();
}

static void test_l2(void **state)
{
    (void)state;
    need_device();
    icd_device *d = fake_device(ctx);
    icd_dptr a;
    assert_ok(ctx, icd_device_flush_l2(ctx, d));
    assert_ok(ctx, icd_device_flush_l2(ctx, d));
    assert_ok(ctx, icd_device_profile(ctx, d, true));
    assert_ok(ctx, icd_device_profile(ctx, d, false));
    assert_ok(ctx, icd_device_alloc(ctx, d, 4096, "a", &a));
    assert_ok(ctx, icd_device_pin(ctx, d, a, 4096));
    assert_int_equal(fake_state()->pinned, 4096);
    assert_ok(ctx, icd_device_pin(ctx, d, a, 0));
    assert_int_equal(fake_state()->pinned, 0);
    assert_fails(ctx, ICD_EINVAL, "to pin", icd_device_pin(ctx, d, a, (int64_t)1 << 40));
    icd_device_close(ctx, d);
    fake_state()->pinnable = 0;
    d = fake_device(ctx);
    assert_fails(ctx, ICD_EUNSUPPORTED, "sets no part", icd_device_pin(ctx, d, a, 4096));
    icd_device_close(ctx, d);
    fake_state()->pinnable = 1 << 20;
    assert_nothing_alive();
}

static void test_no_gpu(void **state)
{
    (void)state;
    need_device();
    icd_device *d = NULL;
    icd_device_opts opts = {.size = sizeof opts, .driver = fake_library(), .ordinal = 3};
    fake_cuda_state *s = fake_state();
    assert_fails(ctx, ICD_EUNSUPPORTED, "none has the number 3",
                 icd_device_open(ctx, &opts, &d));
    s->major = 7;
    opts.ordinal = 0;
    assert_fails(ctx, ICD_EUNSUPPORTED, "expected 8.0 or later",
                 icd_device_open(ctx, &opts, &d));
    s->major = 9;
    s->devices = 0;
    assert_fails(ctx, ICD_EUNSUPPORTED, "no CUDA-capable device",
                 icd_device_open(ctx, &opts, &d));
    s->devices = 1;
    assert_null(d);
    assert_nothing_alive();
}

/* Each call of the driver fails once: an error is told, nothing stays behind. */
static void test_failing_calls(void **state)
{
    (void)state;
    need_device();
    static const char *const symbol[] = {"cuInit",
                                         "cuDeviceGetAttribute",
                                         "cuDevicePrimaryCtxRetain",
                                         "cuStreamCreate",
                                         "cuEventCreate",
                                         "cuGraphInstantiateWithFlags",
                                         "cuStreamEndCapture",
                                         "cuMemAlloc_v2"};
    for (size_t i = 0; i < sizeof symbol / sizeof *symbol; i++) {
        icd_status status = ICD_OK;
        icd_device *d = NULL;
        icd_timer *t = NULL;
        icd_device_graph *g = NULL;
        icd_dptr a;
        icd_device_opts opts = {.size = sizeof opts, .driver = fake_library()};
        fake_state()->fail = symbol[i];
        fake_state()->fail_with = 719;
        ICD_TRY(icd_device_open(ctx, &opts, &d));
        ICD_TRY(icd_timer_new(ctx, d, &t));
        ICD_TRY(icd_device_alloc(ctx, d, 64, "a", &a));
        ICD_TRY(icd_device_record(ctx, d));
        ICD_TRY(icd_device_record_end(ctx, d, &g));
    done:
        fake_state()->fail = NULL;
        assert_true(status != ICD_OK);
        icd_timer_free(ctx, t);
        icd_device_graph_free(ctx, g);
        icd_device_close(ctx, d);
        assert_nothing_alive();
    }
}

static icd_status open_and_close(icd_ctx *c, void *arg)
{
    icd_device *d = NULL;
    icd_timer *t = NULL;
    icd_dptr a;
    icd_device_opts opts = {.size = sizeof opts, .driver = fake_library()};
    (void)arg;
    icd_status status = icd_device_open(c, &opts, &d);
    if (status == ICD_OK) status = icd_timer_new(c, d, &t);
    if (status == ICD_OK) status = icd_device_alloc(c, d, 64, "a", &a);
    icd_timer_free(c, t);
    icd_device_close(c, d);
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    need_device();
    icd_test_failing_allocations(open_and_close, NULL);
    assert_nothing_alive();
}

/* On a machine with a GPU: the real driver takes what the fake takes. */
static void test_real_gpu(void **state)
{
    (void)state;
    icd_device *d = NULL;
    if (icd_device_open(ctx, NULL, &d) != ICD_OK) {
        print_message("skipped: %s\n", icd_ctx_message(ctx));
        skip();
    }
    icd_dptr a;
    int value = 5, back = 0;
    assert_ok(ctx, icd_device_alloc(ctx, d, 4, "a", &a));
    assert_ok(ctx, icd_device_upload(ctx, d, a, &value, 4));
    assert_ok(ctx, icd_device_download(ctx, d, &back, a, 4));
    assert_int_equal(back, 5);
    assert_ok(ctx, icd_device_flush_l2(ctx, d));
    assert_ok(ctx, icd_device_sync(ctx, d));
    icd_device_close(ctx, d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_graph_and_timer),
        cmocka_unit_test(test_l2),
        cmocka_unit_test(test_no_gpu),
        cmocka_unit_test(test_failing_calls),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_real_gpu),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
