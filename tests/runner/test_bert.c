#include "reference.h"

#include "base/npz.h"

static icd_ctx *ctx;
static icd_model *model;
static icd_batch batch;

static int set_up(void **state)
{
    (void)state;
    ctx = small_ctx(2);
    model = small_bert(ctx, &SMALL, 1);
    batch = small_batch(&SMALL, 5, 9, 2);
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

static void compare_with_reference(const icd_model *m, const icd_batch *b)
{
    result r = run_once(ctx, m, NULL, ICD_RUN_F32, b);
    float *expected = reference_bert(m, b), *pooled = NULL;
    double gap = relative_gap(r.hidden, expected, r.tokens * r.width);
    print_message("hidden: largest relative error %.2g\n", gap);
    assert_true(gap <= 1e-5);
    if (r.pooled) {
        pooled = reference_pooled(m, expected, b);
        assert_true(relative_gap(r.pooled, pooled, r.batch * r.width) <= 1e-5);
    }
    free(pooled);
    free(expected);
    result_release(&r);
}

static void test_reference(void **state)
{
    (void)state;
    icd_batch whole = batch;
    whole.lengths = NULL;
    compare_with_reference(model, &batch);
    compare_with_reference(model, &whole);
}

static void test_relu_without_pooler(void **state)
{
    (void)state;
    small_shape z = {3, 20, 33, 5, 9, 6, "relu", false};
    icd_model *m = small_bert(ctx, &z, 31);
    icd_batch b = small_batch(&z, 3, 6, 4);
    result r = run_once(ctx, m, NULL, ICD_RUN_F32, &b);
    assert_null(r.pooled);
    compare_with_reference(m, &b);
    result_release(&r);
    small_batch_release(&b);
    icd_model_free(ctx, m);
}

static void test_one_token(void **state)
{
    (void)state;
    icd_batch b = small_batch(&SMALL, 1, 1, 5);
    compare_with_reference(model, &b);
    small_batch_release(&b);
}

/* int8 is an approximation of the same model, not of another. */
static void test_int8_is_near(void **state)
{
    (void)state;
    result exact = run_once(ctx, model, NULL, ICD_RUN_F32, &batch),
           rounded = run_once(ctx, model, NULL, ICD_RUN_INT8, &batch);
    for (int64_t t = 0; t < exact.tokens; t++)
        assert_true(cosine(exact.hidden + t * exact.width,
                           rounded.hidden + t * exact.width, exact.width) > .995);
    assert_memory_not_equal(exact.hidden, rounded.hidden, sizeof(float) * 8);
    result_release(&exact);
    result_release(&rounded);
}

/* What stands in the padding must not reach the tokens that count. */
static void test_padding_is_masked(void **state)
{
    (void)state;
    for (int dtype = ICD_RUN_F32; dtype <= ICD_RUN_INT8; dtype++) {
        icd_batch other = batch;
        int64_t n = batch.batch * batch.seq, h = SMALL.hidden;
        int32_t *ids = malloc((size_t)n * sizeof *ids);
        assert_non_null(ids);
        for (int64_t i = 0; i < n; i++) {
            bool live = i % batch.seq < batch.lengths[i / batch.seq];
            ids[i] = live ? batch.ids[i] : (batch.ids[i] + 1) % (int32_t)SMALL.vocab;
        }
        other.ids = ids;
        result a = run_once(ctx, model, NULL, dtype, &batch),
               b = run_once(ctx, model, NULL, dtype, &other);
        for (int64_t i = 0; i < n; i++)
            if (i % batch.seq < batch.lengths[i / batch.seq])
                assert_memory_equal(a.hidden + i * h, b.hidden + i * h,
                                    (size_t)h * sizeof(float));
        assert_memory_not_equal(a.hidden, b.hidden, (size_t)(n * h) * sizeof(float));
        result_release(&a);
        result_release(&b);
        free(ids);
    }
}

static void test_threads(void **state)
{
    (void)state;
    icd_batch big = small_batch(&SMALL, 16, 11, 6);
    for (int dtype = ICD_RUN_F32; dtype <= ICD_RUN_INT8; dtype++) {
        result one = {0};
        for (int32_t threads = 1; threads <= 4; threads *= 2) {
            icd_ctx *own = small_ctx(threads);
            result r = run_once(own, model, NULL, dtype, &big);
            if (threads == 1)
                one = r;
            else
                assert_same_bits(&one, &r);
            if (threads > 1) result_release(&r);
            icd_ctx_free(own);
        }
        result_release(&one);
    }
    small_batch_release(&big);
}

/* A runner keeps nothing of a step: smaller batches in between change nothing. */
static void test_steps_are_independent(void **state)
{
    (void)state;
    icd_runner_opts opts = small_opts(ICD_RUN_INT8);
    icd_runner *runner = NULL;
    icd_output out;
    icd_batch small = small_batch(&SMALL, 2, 4, 8);
    result fresh = run_once(ctx, model, NULL, ICD_RUN_INT8, &batch),
           fresh_small = run_once(ctx, model, NULL, ICD_RUN_INT8, &small);
    assert_ok(ctx, icd_runner_new(ctx, model, NULL, &batch, &opts, &runner));
    for (int i = 0; i < 4; i++) {
        assert_ok(ctx, icd_runner_step(ctx, runner, i % 2 ? &small : &batch, &out));
        result r = keep_output(&out);
        assert_same_bits(&r, i % 2 ? &fresh_small : &fresh);
        result_release(&r);
    }
    icd_runner_free(ctx, runner);
    result_release(&fresh);
    result_release(&fresh_small);
    small_batch_release(&small);
}

static icd_model *permuted(const icd_model *source, uint64_t seed)
{
    icd_rng rng;
    icd_perm_set *set = NULL;
    icd_model *out = NULL;
    static const char *const AXIS[] = {"residual", "layer.0.ffn.inner",
                                       "layer.1.ffn.inner", "layer.0.heads"};
    icd_i_rng_init(&rng, seed, 17);
    assert_ok(ctx, icd_perm_set_new(ctx, &set));
    for (size_t i = 0; i < sizeof AXIS / sizeof *AXIS; i++) {
        const icd_axis *axis = icd_model_axis(source, AXIS[i]);
        assert_non_null(axis);
        icd_perm *p = random_order(ctx, &rng, axis->n, icd_model_frame(source, AXIS[i]));
        assert_ok(ctx, icd_perm_set_put(ctx, set, AXIS[i], p, false));
        icd_perm_free(ctx, p);
    }
    assert_ok(ctx, icd_model_apply(ctx, source, set, &out));
    icd_perm_set_free(ctx, set);
    return out;
}

/* True axes move the weights; the output stays in checkpoint order. */
static void test_axes(void **state)
{
    (void)state;
    icd_model *moved = permuted(model, 3), *twice = permuted(moved, 4);
    result expected = run_once(ctx, model, NULL, ICD_RUN_F32, &batch);
    for (int i = 0; i < 2; i++) {
        result r = run_once(ctx, i ? twice : moved, NULL, ICD_RUN_F32, &batch);
        int64_t n = r.tokens * r.width;
        assert_true(relative_gap(r.hidden, expected.hidden, n) <= 1e-5);
        assert_true(relative_gap(r.pooled, expected.pooled, r.batch * r.width) <= 1e-5);
        result_release(&r);
    }
    result_release(&expected);
    icd_model_free(ctx, twice);
    icd_model_free(ctx, moved);
}

typedef struct seen {
    int64_t calls, stop_at;
    double up;          /* sum of the input of layer.0.ffn.up */
    char order[4096];   /* names of the linears as they came */
    float q[64], k[64]; /* first values of the inputs of layer.1.attn.q and .k */
} seen;

static icd_status watch(icd_ctx *c, void *user, const icd_linear *linear, const float *x,
                        int64_t tokens, int64_t cols)
{
    seen *s = user;
    assert_int_equal(cols, linear->cols);
    strcat(s->order, linear->name);
    strcat(s->order, " ");
    for (int64_t i = 0; !strcmp(linear->name, "layer.0.ffn.up") && i < tokens * cols; i++)
        s->up += fabs((double)x[i]);
    if (!strcmp(linear->name, "layer.1.attn.q")) memcpy(s->q, x, 36 * sizeof *x);
    if (!strcmp(linear->name, "layer.1.attn.k")) memcpy(s->k, x, 36 * sizeof *x);
    if (++s->calls == s->stop_at)
        return icd_i_fail(c, ICD_EDATA, "observer", NULL, "seen enough");
    return ICD_OK;
}

/* The observer sees each linear once, in order, and the same f32 input whatever the local
   order is. */
static void test_observer(void **state)
{
    (void)state;
    const icd_linear *list = NULL;
    int64_t count = 0, at = 0;
    icd_runner_opts opts = small_opts(ICD_RUN_F32);
    sparse s = sparse_new(ctx, model, 16, .5, 9);
    seen plain = {0}, ordered = {0};
    assert_ok(ctx, icd_runner_linears(ctx, model, &list, &count));
    assert_int_equal(count, SMALL.layers * 6);
    for (int i = 0; i < 2; i++) {
        icd_runner *runner = NULL;
        icd_output out;
        if (i) set_orders(ctx, s.model, s.layout, 5);
        assert_ok(ctx, icd_runner_new(ctx, s.model, s.layout, &batch, &opts, &runner));
        icd_runner_observe(runner, watch, i ? &ordered : &plain);
        assert_ok(ctx, icd_runner_step(ctx, runner, &batch, &out));
        icd_runner_free(ctx, runner);
    }
    assert_int_equal(plain.calls, count);
    for (int64_t i = 0; i < count; i++) {
        assert_memory_equal(plain.order + at, list[i].name, strlen(list[i].name));
        at += (int64_t)strlen(list[i].name) + 1;
    }
    assert_memory_equal(plain.q, plain.k, sizeof plain.q);
    assert_true(fabs(plain.up - ordered.up) <= 1e-4 * plain.up);
    for (int i = 0; i < SMALL.hidden; i++)
        assert_near((double)plain.q[i], (double)ordered.q[i], 1e-4);
    icd_mem_free(ctx, (void *)(uintptr_t)list);
    sparse_free(ctx, &s);
}

static void test_observer_stops_the_step(void **state)
{
    (void)state;
    icd_runner *runner = NULL;
    icd_output out;
    seen s = {.stop_at = 4};
    icd_runner_opts opts = small_opts(ICD_RUN_INT8);
    assert_ok(ctx, icd_runner_new(ctx, model, NULL, &batch, &opts, &runner));
    icd_runner_observe(runner, watch, &s);
    assert_fails(ctx, ICD_EDATA, "seen enough",
                 icd_runner_step(ctx, runner, &batch, &out));
    assert_null(out.hidden);
    assert_int_equal(s.calls, 4);
    icd_runner_observe(runner, NULL, NULL);
    assert_ok(ctx, icd_runner_step(ctx, runner, &batch, &out));
    icd_runner_free(ctx, runner);
}

static void test_cancelled(void **state)
{
    (void)state;
    icd_runner *runner = NULL;
    icd_output out;
    icd_runner_opts opts = small_opts(ICD_RUN_INT8);
    assert_ok(ctx, icd_runner_new(ctx, model, NULL, &batch, &opts, &runner));
    icd_ctx_cancel(ctx);
    assert_int_equal(icd_runner_step(ctx, runner, &batch, &out), ICD_ECANCELLED);
    icd_ctx_uncancel(ctx);
    assert_ok(ctx, icd_runner_step(ctx, runner, &batch, &out));
    icd_runner_free(ctx, runner);
}

static void refuse_step(icd_runner *runner, icd_batch b, const char *text)
{
    icd_output out;
    assert_fails(ctx, ICD_EINVAL, text, icd_runner_step(ctx, runner, &b, &out));
    assert_null(out.hidden);
}

static void test_bad_input(void **state)
{
    (void)state;
    icd_runner *runner = NULL, *none = NULL;
    icd_runner_opts opts = small_opts(ICD_RUN_INT8);
    int32_t ids[45] = {0}, lengths[5] = {9, 9, 9, 9, 9};
    icd_batch b = {.ids = ids, .lengths = lengths, .batch = 5, .seq = 9};
    icd_batch wrong = b;
    assert_ok(ctx, icd_runner_new(ctx, model, NULL, &batch, &opts, &runner));
    wrong.batch = 6;
    refuse_step(runner, wrong, "6 x 9");
    wrong = b, wrong.seq = 10;
    refuse_step(runner, wrong, "5 x 10");
    wrong = b, wrong.batch = 0;
    refuse_step(runner, wrong, "0 x 9");
    wrong = b, wrong.ids = NULL;
    refuse_step(runner, wrong, "no token ids");
    ids[44] = 23;
    refuse_step(runner, b, "token 44 has id 23, expected 0 to 22");
    ids[44] = -1;
    refuse_step(runner, b, "id -1");
    ids[44] = 0, lengths[2] = 0;
    refuse_step(runner, b, "sequence 2 has length 0, expected 1 to 9");
    lengths[2] = 10;
    refuse_step(runner, b, "length 10");
    icd_runner_free(ctx, runner);
    wrong = b, wrong.seq = 12;
    assert_fails(ctx, ICD_EINVAL, "the model has 11 positions",
                 icd_runner_new(ctx, model, NULL, &wrong, &opts, &none));
    wrong = b, wrong.seq = INT64_MAX;
    assert_fails(ctx, ICD_EINVAL, "tokens",
                 icd_runner_new(ctx, model, NULL, &wrong, &opts, &none));
    wrong = b, wrong.batch = -1;
    assert_fails(ctx, ICD_EINVAL, "-1 x 9",
                 icd_runner_new(ctx, model, NULL, &wrong, &opts, &none));
    assert_null(none);
}

static void test_context_with_more_threads(void **state)
{
    (void)state;
    icd_ctx *one = small_ctx(1);
    icd_runner *runner = NULL;
    icd_output out;
    icd_runner_opts opts = small_opts(ICD_RUN_INT8);
    assert_ok(one, icd_runner_new(one, model, NULL, &batch, &opts, &runner));
    assert_fails(ctx, ICD_EINVAL, "at most 1",
                 icd_runner_step(ctx, runner, &batch, &out));
    icd_runner_free(one, runner);
    icd_ctx_free(one);
}

static icd_status new_and_step(icd_ctx *own, void *arg)
{
    icd_runner_opts opts = small_opts(*(int32_t *)arg);
    icd_runner *runner = NULL;
    const icd_linear *list = NULL;
    icd_output out;
    int64_t count;
    icd_status status = icd_runner_linears(own, model, &list, &count);
    if (status == ICD_OK)
        status = icd_runner_new(own, model, NULL, &batch, &opts, &runner);
    else
        assert_null(list);
    if (status == ICD_OK) status = icd_runner_step(own, runner, &batch, &out);
    icd_runner_free(own, runner);
    icd_mem_free(own, (void *)(uintptr_t)list);
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    for (int32_t dtype = ICD_RUN_F32; dtype <= ICD_RUN_INT8; dtype++)
        icd_test_failing_allocations(new_and_step, &dtype);
}

static icd_array oracle_array(icd_npz *npz, const char *name)
{
    icd_array a = {0};
    assert_ok(ctx, icd_i_npz_get(ctx, npz, name, &a));
    return a;
}

/* all-MiniLM-L6-v2 against Hugging Face (tests/data/make_minilm_oracle.py). */
static void test_minilm(void **state)
{
    (void)state;
    static const char FOLDER[] = ICD_SOURCE_DIR "/.cache/models/all-MiniLM-L6-v2";
    if (!icd_i_file_exists(ICD_SOURCE_DIR
                           "/.cache/models/all-MiniLM-L6-v2/model.safetensors")) {
        print_message("skipped: all-MiniLM-L6-v2 is not here (make model)\n");
        skip();
    }
    icd_npz *npz = NULL;
    icd_model *real = NULL;
    assert_ok(ctx, icd_i_npz_open(ctx, ICD_TEST_DATA "/minilm_oracle.npz", &npz));
    assert_ok(ctx, icd_model_open(ctx, FOLDER, &real));
    icd_array ids = oracle_array(npz, "ids"), lengths = oracle_array(npz, "lengths"),
              hidden = oracle_array(npz, "hidden"), pooled = oracle_array(npz, "pooled");
    icd_batch b = {.ids = ids.data,
                   .lengths = lengths.data,
                   .batch = ids.shape[0],
                   .seq = ids.shape[1]};
    result r = run_once(ctx, real, NULL, ICD_RUN_F32, &b),
           rounded = run_once(ctx, real, NULL, ICD_RUN_INT8, &b);
    double worst = 1, worst_int8 = 1;
    const float *expected = hidden.data;
    assert_int_equal(hidden.count, r.tokens * r.width);
    for (int64_t t = 0; t < r.tokens; t++) {
        const float *e = expected + t * r.width;
        worst = fmin(worst, cosine(r.hidden + t * r.width, e, r.width));
        if (t % b.seq < b.lengths[t / b.seq])
            worst_int8 =
                fmin(worst_int8, cosine(rounded.hidden + t * r.width, e, r.width));
    }
    double gap = relative_gap(r.hidden, expected, hidden.count),
           pooled_gap = relative_gap(r.pooled, pooled.data, pooled.count);
    print_message("f32: cosine %.9f, relative error %.2g, pooled %.2g; int8: cosine "
                  "%.5f\n",
                  worst, gap, pooled_gap, worst_int8);
    assert_true(worst >= .99999 && gap <= 1e-4 && pooled_gap <= 1e-4);
    assert_true(worst_int8 >= .98);
    result_release(&r);
    result_release(&rounded);
    icd_i_array_release(ctx, &ids);
    icd_i_array_release(ctx, &lengths);
    icd_i_array_release(ctx, &hidden);
    icd_i_array_release(ctx, &pooled);
    icd_i_npz_close(ctx, npz);
    icd_model_free(ctx, real);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_relu_without_pooler),
        cmocka_unit_test(test_one_token),
        cmocka_unit_test(test_int8_is_near),
        cmocka_unit_test(test_padding_is_masked),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_steps_are_independent),
        cmocka_unit_test(test_axes),
        cmocka_unit_test(test_observer),
        cmocka_unit_test(test_observer_stops_the_step),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_context_with_more_threads),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_minilm),
    };
    return cmocka_run_group_tests_name("runner bert", tests, set_up, tear_down);
}
