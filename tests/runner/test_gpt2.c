/* GPT-2 against transformers (tests/data/gpt2_*): every layer, decoding, orders, types.
 */
#include "generative.h"

static icd_ctx *ctx;

static int set_up(void **state)
{
    (void)state;
    ctx = small_ctx(2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    return 0;
}

static const char *const NAME[] = {"gpt2_tied", "gpt2_head"};
enum { MODELS = 2, BATCH = 2, SEQ = 21 };

/* A model and the batch of its oracle. */
typedef struct example {
    const char *name;
    icd_model *model;
    int32_t id[BATCH * SEQ];
    icd_batch batch;
} example;

static void open_example(example *e, const char *name)
{
    char path[512], archive[64];
    int64_t shape[8];
    snprintf(path, sizeof path, "%s/%s", ICD_TEST_DATA, name);
    snprintf(archive, sizeof archive, "%s/oracle", name);
    *e = (example){.name = name, .batch = {.batch = BATCH, .seq = SEQ}};
    assert_ok(ctx, icd_model_open(ctx, path, &e->model));
    float *ids = oracle(ctx, archive, "ids", shape);
    assert_true(shape[0] == BATCH && shape[1] == SEQ);
    for (int i = 0; i < BATCH * SEQ; i++) e->id[i] = (int32_t)ids[i];
    free(ids);
    e->batch.ids = e->id;
}

static double gap_to_oracle(const example *e, const char *member, const float *found)
{
    char archive[64];
    int64_t shape[8];
    snprintf(archive, sizeof archive, "%s/oracle", e->name);
    float *expected = oracle(ctx, archive, member, shape);
    double gap = relative_gap(found, expected, shape[0] * shape[1] * shape[2]);
    free(expected);
    return gap;
}

/* The input of every linear but k and v, which read what q reads. */
typedef struct layers {
    const example *e;
    double worst;
    int64_t compared;
} layers;

static icd_status compare_input(icd_ctx *own, void *user, const icd_linear *linear,
                                const float *x, int64_t tokens, int64_t cols)
{
    layers *l = user;
    (void)own;
    (void)tokens;
    (void)cols;
    if (strstr(linear->name, "attn.k") || strstr(linear->name, "attn.v")) return ICD_OK;
    double gap = gap_to_oracle(l->e, linear->name, x);
    if (gap > l->worst) l->worst = gap;
    l->compared++;
    return ICD_OK;
}

static void test_transformers(void **state)
{
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        example e;
        icd_output out;
        open_example(&e, NAME[i]);
        layers seen = {&e, 0, 0};
        icd_runner *runner =
            runner_of(ctx, e.model, ICD_RUN_F32, ICD_PHASE_PREFILL, &e.batch);
        icd_runner_observe(runner, compare_input, &seen);
        assert_ok(ctx, icd_runner_step(ctx, runner, &e.batch, &out));
        float *logits = logits_of(ctx, runner, out.tokens);
        double hidden = gap_to_oracle(&e, "hidden", out.hidden),
               head = gap_to_oracle(&e, "logits", logits);
        print_message("%s: largest relative error: hidden %.2g, logits %.2g, inputs of "
                      "linears %.2g\n",
                      e.name, hidden, head, seen.worst);
        assert_int_equal(seen.compared, 8);
        assert_true(hidden <= 1e-5 && head <= 1e-5 && seen.worst <= 1e-5);
        free(logits);
        icd_runner_free(ctx, runner);
        icd_model_free(ctx, e.model);
    }
}

/* Token after token: positions go on, in sequences of several lengths, too. */
static void test_decoding(void **state)
{
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        example e;
        int32_t lengths[BATCH] = {SEQ, 9};
        open_example(&e, NAME[i]);
        icd_batch padded = e.batch, other = {.ids = e.id, .batch = 1, .seq = 7};
        int32_t seven[1] = {7};
        padded.lengths = lengths;
        other.lengths = seven;
        decode_behind_padding(ctx, e.model, &padded);
        decode_phase(ctx, e.model, &padded, &other);
        icd_model_free(ctx, e.model);
    }
}

static void test_permutations_are_exact(void **state)
{
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        example e;
        open_example(&e, NAME[i]);
        compare_permuted(ctx, e.model, &e.batch, 50, 30 + (uint64_t)i);
        icd_model_free(ctx, e.model);
    }
}

static void test_threads(void **state)
{
    (void)state;
    example e;
    int32_t lengths[BATCH] = {SEQ, SEQ};
    open_example(&e, "gpt2_tied");
    e.batch.lengths = lengths;
    threads_change_no_bit(e.model, ICD_RUN_INT8, &e.batch);
    icd_model_free(ctx, e.model);
}

static void test_int8_is_near(void **state)
{
    (void)state;
    example e;
    open_example(&e, "gpt2_tied");
    result exact = run_once(ctx, e.model, NULL, ICD_RUN_F32, &e.batch),
           rounded = run_once(ctx, e.model, NULL, ICD_RUN_INT8, &e.batch);
    for (int64_t t = 0; t < exact.tokens; t++)
        assert_true(cosine(exact.hidden + t * exact.width,
                           rounded.hidden + t * exact.width, exact.width) > .99);
    assert_memory_not_equal(exact.hidden, rounded.hidden, sizeof(float) * 8);
    result_release(&exact);
    result_release(&rounded);
    icd_model_free(ctx, e.model);
}

static icd_status run_failing(icd_ctx *own, void *arg)
{
    const example *e = arg;
    icd_runner *runner = NULL;
    icd_output out;
    icd_runner_opts opts = small_opts(ICD_RUN_F32);
    icd_status status = icd_runner_new(own, e->model, NULL, &e->batch, &opts, &runner);
    if (status == ICD_OK) status = icd_runner_step(own, runner, &e->batch, &out);
    icd_runner_free(own, runner);
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    example e;
    open_example(&e, "gpt2_head");
    icd_test_failing_allocations(run_failing, &e);
    icd_model_free(ctx, e.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transformers),
        cmocka_unit_test(test_decoding),
        cmocka_unit_test(test_permutations_are_exact),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_int8_is_near),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
