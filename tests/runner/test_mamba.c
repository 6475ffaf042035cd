/* Mamba against PyTorch (data/mamba, a trained one where it is) and its definition; its
 * state. */
#include "generative.h"
#include "mamba.h"

static icd_ctx *ctx;
static icd_model *model;
static icd_batch batch;

enum { BATCH = 4, SEQ = 21 };

static int set_up(void **state)
{
    (void)state;
    ctx = small_ctx(2);
    model = small_mamba(ctx, &MAMBA, 1);
    batch = mamba_batch(&MAMBA, BATCH, SEQ, 2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    small_batch_release(&batch);
    icd_model_free(ctx, model);
    icd_ctx_free(ctx);
    return 0;
}

/* The stream before each layer, from what the linears read and wrote. */
typedef struct stream {
    float *x; /* [tokens x hidden] */
    const float *expected;
    int64_t layer, count;
    double gap;
} stream;

static icd_status follow(icd_ctx *own, void *user, const icd_linear *linear,
                         const float *y, int64_t tokens, int64_t rows)
{
    stream *s = user;
    (void)own;
    if (!strstr(linear->name, "mixer.out")) return ICD_OK;
    s->gap =
        fmax(s->gap, relative_gap(s->x, s->expected + s->layer * s->count, s->count));
    for (int64_t i = 0; i < tokens * rows; i++) s->x[i] += y[i];
    s->layer++;
    return ICD_OK;
}

static void test_pytorch(void **state)
{
    (void)state;
    icd_model *m = NULL;
    icd_output out;
    int64_t shape[8], wide[8];
    int32_t id[64];
    assert_ok(ctx, icd_model_open(ctx, ICD_TEST_DATA "/mamba", &m));
    float *ids = oracle(ctx, "mamba/oracle", "ids", shape),
          *hidden = oracle(ctx, "mamba/oracle", "hidden", wide),
          *logits = oracle(ctx, "mamba/oracle", "logits", wide),
          *layers = oracle(ctx, "mamba/oracle", "stream", wide);
    stream s = {.expected = layers, .count = wide[1] * wide[2] * wide[3]};
    assert_true(shape[0] * shape[1] <= 64);
    for (int64_t i = 0; i < shape[0] * shape[1]; i++) id[i] = (int32_t)ids[i];
    icd_batch b = {.ids = id, .batch = shape[0], .seq = shape[1]};
    icd_runner *runner = runner_of(ctx, m, ICD_RUN_F32, ICD_PHASE_PREFILL, &b);
    s.x = copy_f32(layers, s.count);
    icd_runner_observe_outputs(runner, follow, &s);
    assert_ok(ctx, icd_runner_step(ctx, runner, &b, &out));
    float *found = logits_of(ctx, runner, out.tokens);
    double a = relative_gap(out.hidden, hidden, out.tokens * out.width),
           c = relative_gap(found, logits, out.tokens * icd_runner_outputs(runner));
    print_message("PyTorch: largest relative error: layers %.2g, hidden %.2g, logits "
                  "%.2g\n",
                  s.gap, a, c);
    assert_int_equal(s.layer, 2);
    assert_true(s.gap <= 1e-5 && a <= 1e-5 && c <= 1e-5);
    icd_runner_free(ctx, runner);
    icd_model_free(ctx, m);
    free(s.x);
    free(ids);
    free(hidden);
    free(logits);
    free(layers);
    free(found);
}

/* A trained model with reference logits beside it, where there is one. */
static void test_trained(void **state)
{
    (void)state;
    static const char FOLDER[] = ICD_SOURCE_DIR "/../shared/real/tiny-mamba";
    icd_model *real = NULL;
    icd_safetensors *file = NULL;
    icd_output out;
    if (!icd_i_file_exists(ICD_SOURCE_DIR
                           "/../shared/real/tiny-mamba/reference.safetensors")) {
        print_message("skipped: no ../shared/real/tiny-mamba here\n");
        skip();
    }
    assert_ok(ctx,
              icd_safetensors_open(ctx,
                                   ICD_SOURCE_DIR "/../shared/real/tiny-mamba/reference"
                                                  ".safetensors",
                                   &file));
    assert_ok(ctx, icd_model_open(ctx, FOLDER, &real));
    const icd_tensor *ids = icd_safetensors_get(file, "input_ids"),
                     *logits = icd_safetensors_get(file, "logits");
    assert_true(ids && logits && logits->dtype == ICD_F32);
    int32_t *id = malloc((size_t)ids->count * sizeof *id);
    assert_non_null(id);
    for (int64_t i = 0; i < ids->count; i++)
        id[i] = ids->dtype == ICD_I64 ? (int32_t)((const int64_t *)ids->data)[i]
                                      : ((const int32_t *)ids->data)[i];
    icd_batch b = {.ids = id, .batch = ids->shape[0], .seq = ids->shape[1]};
    icd_runner *runner = runner_of(ctx, real, ICD_RUN_F32, ICD_PHASE_PREFILL, &b);
    assert_ok(ctx, icd_runner_step(ctx, runner, &b, &out));
    float *found = logits_of(ctx, runner, out.tokens);
    double gap = relative_gap(found, logits->data, logits->count);
    print_message("trained Mamba: largest relative error of the logits %.2g\n", gap);
    assert_true(gap <= 1e-4);
    free(found);
    free(id);
    icd_runner_free(ctx, runner);
    icd_model_free(ctx, real);
    icd_safetensors_close(ctx, file);
}

static void compare_with_reference(const mamba_shape *z, uint64_t seed)
{
    icd_model *m = small_mamba(ctx, z, seed);
    for (int64_t seq = 1; seq < 80; seq += 26) {
        icd_batch b = mamba_batch(z, 3, seq, seed);
        result r = run_once(ctx, m, NULL, ICD_RUN_F32, &b);
        float *expected = reference_mamba(m, &b);
        clear_padding(r.hidden, r.width, &b);
        clear_padding(expected, r.width, &b);
        assert_true(relative_gap(r.hidden, expected, r.tokens * r.width) <= 3e-5);
        free(expected);
        result_release(&r);
        small_batch_release(&b);
    }
    icd_model_free(ctx, m);
}

static void test_reference(void **state)
{
    (void)state;
    compare_with_reference(&MAMBA, 11);
    compare_with_reference(&TURNED, 12);
    compare_with_reference(&ONE_TAP, 13);
}

/* Token after token behind a prompt: the same as all at once. */
static void decode_all(const mamba_shape *z, int64_t prompt_seq)
{
    icd_model *m = small_mamba(ctx, z, 31);
    icd_batch whole = mamba_batch(z, BATCH, SEQ, 32), prompt = {.batch = BATCH};
    int32_t start[BATCH * SEQ], next[BATCH];
    icd_output out;
    small_batch_release(&(icd_batch){.lengths = whole.lengths});
    whole.lengths = NULL;
    prompt.seq = prompt_seq;
    prompt.ids = start;
    for (int64_t i = 0; i < BATCH * prompt_seq; i++)
        start[i] = whole.ids[i / prompt_seq * SEQ + i % prompt_seq];
    result all = run_once(ctx, m, NULL, ICD_RUN_F32, &whole);
    icd_runner *runner = runner_of(ctx, m, ICD_RUN_F32, ICD_PHASE_PREFILL, &prompt);
    assert_ok(ctx, icd_runner_step(ctx, runner, &prompt, &out));
    for (int64_t t = prompt_seq; t < SEQ; t++) {
        for (int64_t s = 0; s < BATCH; s++)
            next[s] = (int32_t)((whole.ids[s] + 5) % z->vocab);
        assert_ok(ctx, icd_runner_decode(ctx, runner, next, false, &out));
        for (int64_t s = 0; s < BATCH; s++) next[s] = whole.ids[s * SEQ + t];
        assert_ok(ctx, icd_runner_decode(ctx, runner, next, true, &out));
        assert_int_equal(out.tokens, BATCH);
        for (int64_t s = 0; s < BATCH; s++)
            assert_true(relative_gap(out.hidden + s * out.width,
                                     all.hidden + (s * SEQ + t) * all.width,
                                     all.width) <= 1e-5);
    }
    icd_runner_free(ctx, runner);
    result_release(&all);
    small_batch_release(&whole);
    icd_model_free(ctx, m);
}

static void test_decode_equals_prefill(void **state)
{
    (void)state;
    decode_all(&MAMBA, 7);
    decode_all(&MAMBA, 1); /* fewer tokens than the convolution has taps */
    decode_all(&TURNED, 2);
    decode_all(&ONE_TAP, 1);
}

static void test_decode_behind_padding(void **state)
{
    (void)state;
    decode_behind_padding(ctx, model, &batch);
}

static void test_decode_phase(void **state)
{
    (void)state;
    icd_batch other = mamba_batch(&MAMBA, 2, 9, 17);
    decode_phase(ctx, model, &batch, &other);
    small_batch_release(&other);
}

/* The residual axis, and d_inner, dt_rank and d_state of every layer. */
static void compare_orders(const mamba_shape *z, uint64_t seed)
{
    icd_model *m = small_mamba(ctx, z, seed);
    icd_batch b = mamba_batch(z, 3, 19, seed);
    assert_int_equal(icd_model_axes(m), 1 + 3 * z->layers);
    compare_permuted(ctx, m, &b, z->vocab, seed + 1);
    small_batch_release(&b);
    icd_model_free(ctx, m);
}

static void test_permutations_are_exact(void **state)
{
    (void)state;
    compare_orders(&MAMBA, 21);
    compare_orders(&TURNED, 22);
}

static void test_illegal_axes_are_refused(void **state)
{
    (void)state;
    static const char *const NAME[] = {"layer.0.conv", "layer.2.d_inner", "vocab"};
    for (size_t i = 0; i < sizeof NAME / sizeof *NAME; i++) {
        icd_perm_set *set = NULL;
        icd_perm *p = NULL;
        icd_model *applied = NULL;
        assert_ok(ctx, icd_perm_identity(ctx, 4, ICD_FRAME_CHECKPOINT, &p));
        assert_ok(ctx, icd_perm_set_new(ctx, &set));
        assert_ok(ctx, icd_perm_set_put(ctx, set, NAME[i], p, false));
        assert_fails(ctx, ICD_EINVAL, NAME[i],
                     icd_model_apply(ctx, model, set, &applied));
        assert_null(applied);
        icd_perm_free(ctx, p);
        icd_perm_set_free(ctx, set);
    }
}

static void test_threads(void **state)
{
    (void)state;
    icd_batch big = mamba_batch(&MAMBA, 5, 70, 6);
    threads_change_no_bit(model, ICD_RUN_INT4, &big);
    small_batch_release(&big);
}

/* Rounded weights are an approximation of the same model, not of another. */
static void test_rounded_is_near(void **state)
{
    (void)state;
    static const struct {
        int32_t dtype;
        double cosine;
    } CASE[] = {{ICD_RUN_INT8, .99}, {ICD_RUN_BF16, .9999}, {ICD_RUN_INT4, .8}};
    result exact = run_once(ctx, model, NULL, ICD_RUN_F32, &batch);
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; i++) {
        result rounded = run_once(ctx, model, NULL, CASE[i].dtype, &batch);
        double near = cosine(exact.hidden, rounded.hidden, exact.tokens * exact.width);
        print_message("type %d: cosine %.5f\n", (int)CASE[i].dtype, near);
        assert_true(near > CASE[i].cosine && near < 1);
        assert_memory_not_equal(exact.hidden, rounded.hidden, sizeof(float) * 8);
        result_release(&rounded);
    }
    result_release(&exact);
}

/* What a layout may choose: kernels give the same bits, local orders what rounding does.
 */
static void test_layouts(void **state)
{
    (void)state;
    sparse s = sparse_new(ctx, model, 16, .5, 9);
    result dense = run_once(ctx, s.model, s.layout, ICD_RUN_INT8, &batch);
    for (int i = 0; i < 2; i++) {
        set_kernels(s.layout, i ? ICD_KERNEL_GATHER : ICD_KERNEL_TILE, i ? 1 : 4);
        result r = run_once(ctx, s.model, s.layout, ICD_RUN_INT8, &batch);
        assert_same_bits(&r, &dense);
        result_release(&r);
    }
    set_orders(ctx, s.model, s.layout, 4);
    set_kernels(s.layout, ICD_KERNEL_TILE, 8);
    result ordered = run_once(ctx, s.model, s.layout, ICD_RUN_INT8, &batch);
    assert_same_bits(&ordered, &dense);
    result_release(&ordered);
    ordered = run_once(ctx, s.model, s.layout, ICD_RUN_F32, &batch);
    result plain = run_once(ctx, s.model, NULL, ICD_RUN_F32, &batch);
    assert_true(relative_gap(ordered.hidden, plain.hidden, plain.tokens * plain.width) <=
                1e-5);
    result_release(&plain);
    result_release(&ordered);
    result_release(&dense);
    sparse_free(ctx, &s);
}

typedef struct names {
    char text[1024];
} names;

static icd_status note(icd_ctx *own, void *user, const icd_linear *linear, const float *x,
                       int64_t tokens, int64_t cols)
{
    names *n = user;
    size_t used = strlen(n->text);
    (void)own;
    (void)x;
    snprintf(n->text + used, sizeof n->text - used, "%s %s %d %d\n", linear->name,
             linear->in_axis, (int)tokens, (int)cols);
    return ICD_OK;
}

static void test_observers_see_every_linear(void **state)
{
    (void)state;
    names n = {""};
    icd_output out;
    icd_runner *runner = runner_of(ctx, model, ICD_RUN_F32, ICD_PHASE_PREFILL, &batch);
    icd_runner_observe(runner, note, &n);
    assert_ok(ctx, icd_runner_step(ctx, runner, &batch, &out));
    assert_string_equal(n.text, "layer.0.mixer.in residual 84 20\n"
                                "layer.0.mixer.x layer.0.d_inner 84 70\n"
                                "layer.0.mixer.dt layer.0.dt_rank 84 3\n"
                                "layer.0.mixer.out layer.0.d_inner 84 70\n"
                                "layer.1.mixer.in residual 84 20\n"
                                "layer.1.mixer.x layer.1.d_inner 84 70\n"
                                "layer.1.mixer.dt layer.1.dt_rank 84 3\n"
                                "layer.1.mixer.out layer.1.d_inner 84 70\n");
    icd_runner_free(ctx, runner);
}

static icd_status refuse(icd_ctx *own, void *user, const icd_linear *linear,
                         const float *x, int64_t tokens, int64_t cols)
{
    (void)own;
    (void)user;
    (void)x;
    (void)tokens;
    (void)cols;
    return strcmp(linear->name, "layer.1.mixer.dt") ? ICD_OK : ICD_ECANCELLED;
}

/* A token that ends half way leaves the state as it was. */
static void test_failed_decode_changes_nothing(void **state)
{
    (void)state;
    int32_t next[BATCH] = {3, 1, 4, 1};
    icd_output out;
    icd_runner *runner = runner_of(ctx, model, ICD_RUN_F32, ICD_PHASE_PREFILL, &batch);
    assert_ok(ctx, icd_runner_step(ctx, runner, &batch, &out));
    assert_ok(ctx, icd_runner_decode(ctx, runner, next, false, &out));
    result before = keep_output(&out);
    icd_runner_observe(runner, refuse, NULL);
    assert_int_equal(icd_runner_decode(ctx, runner, next, true, &out), ICD_ECANCELLED);
    icd_runner_observe(runner, NULL, NULL);
    assert_ok(ctx, icd_runner_decode(ctx, runner, next, true, &out));
    result after = keep_output(&out);
    assert_same_bits(&before, &after);
    result_release(&before);
    result_release(&after);
    icd_runner_free(ctx, runner);
}

static void test_wrong_input(void **state)
{
    (void)state;
    int32_t ids[3] = {1, 29, 2}, next[BATCH] = {0, 0, 0, -1};
    icd_batch wrong = {.ids = ids, .batch = 1, .seq = 3};
    icd_output out;
    icd_runner *runner = runner_of(ctx, model, ICD_RUN_F32, ICD_PHASE_PREFILL, &batch);
    assert_fails(ctx, ICD_EINVAL, "there is no state",
                 icd_runner_decode(ctx, runner, next, true, &out));
    assert_fails(ctx, ICD_EINVAL, "token 1 has id 29",
                 icd_runner_step(ctx, runner, &wrong, &out));
    assert_ok(ctx, icd_runner_step(ctx, runner, &batch, &out));
    assert_fails(ctx, ICD_EINVAL, "has id -1",
                 icd_runner_decode(ctx, runner, next, true, &out));
    assert_fails(ctx, ICD_EUNSUPPORTED, "no KV cache",
                 icd_runner_attention(ctx, runner, NULL, NULL));
    icd_runner_free(ctx, runner);
}

static icd_status new_and_step(icd_ctx *own, void *arg)
{
    icd_runner_opts opts = small_opts(*(const int32_t *)arg);
    icd_runner *runner = NULL;
    icd_output out;
    icd_status status = icd_runner_new(own, model, NULL, &batch, &opts, &runner);
    if (status == ICD_OK) status = icd_runner_step(own, runner, &batch, &out);
    icd_runner_free(own, runner);
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    for (int32_t dtype = ICD_RUN_F32; dtype <= ICD_RUN_INT4; dtype++)
        icd_test_failing_allocations(new_and_step, &dtype);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pytorch),
        cmocka_unit_test(test_trained),
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_decode_equals_prefill),
        cmocka_unit_test(test_decode_behind_padding),
        cmocka_unit_test(test_decode_phase),
        cmocka_unit_test(test_permutations_are_exact),
        cmocka_unit_test(test_illegal_axes_are_refused),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_rounded_is_near),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_observers_see_every_linear),
        cmocka_unit_test(test_failed_decode_changes_nothing),
        cmocka_unit_test(test_wrong_input),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
