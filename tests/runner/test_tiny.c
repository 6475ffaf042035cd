/* The trained models that ship, against transformers (tests/data/make_tiny_oracle.py). */
#include "small.h"

#include "base/npz.h"

#define ICD_TEST_THREADS 2
#include "fixture.h"

enum { EVERY = 8 };

/* What is stored of one model. */
typedef struct oracle {
    icd_array ids, lengths, hidden, logits;
    icd_model *model;
    icd_batch batch;
} oracle;

static void take(const icd_npz *npz, const char *model, const char *member,
                 icd_array *out)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", model, member);
    assert_ok(ctx, icd_i_npz_get(ctx, (icd_npz *)(uintptr_t)npz, name, out));
}

static oracle oracle_open(const char *name)
{
    oracle o = {0};
    icd_npz *npz = NULL;
    char path[512];
    assert_ok(ctx, icd_i_npz_open(ctx, ICD_TEST_DATA "/tiny_oracle.npz", &npz));
    take(npz, name, "ids", &o.ids);
    take(npz, name, "lengths", &o.lengths);
    take(npz, name, "hidden", &o.hidden);
    take(npz, name, "logits", &o.logits);
    icd_i_npz_close(ctx, npz);
    snprintf(path, sizeof path, ICD_SOURCE_DIR "/data/tiny-%s", name);
    assert_ok(ctx, icd_model_open(ctx, path, &o.model));
    o.batch = (icd_batch){.ids = o.ids.data,
                          .lengths = o.lengths.data,
                          .batch = o.ids.shape[0],
                          .seq = o.ids.shape[1]};
    return o;
}

static void oracle_close(oracle *o)
{
    icd_model_free(ctx, o->model);
    icd_i_array_release(ctx, &o->ids);
    icd_i_array_release(ctx, &o->lengths);
    icd_i_array_release(ctx, &o->hidden);
    icd_i_array_release(ctx, &o->logits);
}

static icd_runner *start(const oracle *o)
{
    icd_runner *runner = NULL;
    icd_runner_opts opts;
    icd_options_init(&icd_runner_table, &opts);
    opts.dtype = ICD_RUN_F32;
    assert_ok(ctx, icd_runner_new(ctx, o->model, NULL, &o->batch, &opts, &runner));
    return runner;
}

/* Largest |a - b| over largest |b| of rows; the largest is taken of all of `whole`. */
static double gap(const float *a, const float *b, int64_t n, const icd_array *whole)
{
    double most = 0, largest = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs((double)a[i] - (double)b[i]));
    for (int64_t i = 0; i < whole->count; i++)
        largest = fmax(largest, fabs(icd_i_array_real(whole, i)));
    return most / largest;
}

/* Rows that count: padding has no meaning. */
static double hidden_gap(const oracle *o, const icd_output *out)
{
    double most = 0;
    const float *expected = o->hidden.data;
    for (int64_t t = 0; t < out->tokens; t++) {
        int64_t at = t * out->width;
        if (t % o->batch.seq < o->batch.lengths[t / o->batch.seq])
            most =
                fmax(most, gap(out->hidden + at, expected + at, out->width, &o->hidden));
    }
    return most;
}

static double logits_gap(const oracle *o, icd_runner *runner)
{
    double most = 0;
    const float *expected = o->logits.data;
    int64_t n = icd_runner_outputs(runner), rows = o->logits.shape[1];
    float *found = malloc((size_t)n * sizeof *found);
    assert_non_null(found);
    assert_int_equal(o->logits.shape[2], n);
    for (int64_t s = 0; s < o->batch.batch; s++)
        for (int64_t i = 0; i < rows && i * EVERY < o->batch.lengths[s]; i++) {
            assert_ok(ctx, icd_runner_logits(ctx, runner, s * o->batch.seq + i * EVERY, 1,
                                             found));
            most = fmax(most, gap(found, expected + (s * rows + i) * n, n, &o->logits));
        }
    free(found);
    return most;
}

static void equals_transformers(const char *name, double bound)
{
    oracle o = oracle_open(name);
    icd_runner *runner = start(&o);
    icd_output out;
    assert_ok(ctx, icd_runner_step(ctx, runner, &o.batch, &out));
    double hidden = hidden_gap(&o, &out), logits = logits_gap(&o, runner);
    print_message("%s: hidden %.2g, logits %.2g\n", name, hidden, logits);
    assert_true(hidden <= bound && logits <= bound);
    icd_runner_free(ctx, runner);
    oracle_close(&o);
}

/* A prefill of half the tokens, then one token after the other. */
static void decoding_equals_transformers(const char *name, double bound)
{
    oracle o = oracle_open(name);
    icd_runner *runner = start(&o);
    icd_output out;
    int64_t seq = o.batch.seq, half = seq / 2, most = o.batch.batch;
    const float *expected = o.hidden.data;
    int32_t ids[2 * 64], next[8];
    double found = 0;
    assert_true(most <= 2 && half <= 64);
    for (int64_t s = 0; s < most; s++)
        memcpy(ids + s * half, o.batch.ids + s * seq, (size_t)half * sizeof *ids);
    icd_batch first = {.ids = ids, .batch = most, .seq = half};
    assert_ok(ctx, icd_runner_step(ctx, runner, &first, &out));
    for (int64_t t = half; t < seq; t++) {
        for (int64_t s = 0; s < most; s++) next[s] = o.batch.ids[s * seq + t];
        assert_ok(ctx, icd_runner_decode(ctx, runner, next, true, &out));
        for (int64_t s = 0; s < most; s++)
            found = fmax(found,
                         gap(out.hidden + s * out.width,
                             expected + (s * seq + t) * out.width, out.width, &o.hidden));
    }
    print_message("%s, decoding: %.2g\n", name, found);
    assert_true(found <= bound);
    icd_runner_free(ctx, runner);
    oracle_close(&o);
}

static void bert(void **state)
{
    (void)state;
    equals_transformers("bert", 1e-5);
}

static void decoder(void **state)
{
    (void)state;
    equals_transformers("decoder", 1e-5);
    decoding_equals_transformers("decoder", 1e-5);
}

static void mamba(void **state)
{
    (void)state;
    equals_transformers("mamba", 1e-5);
    decoding_equals_transformers("mamba", 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bert),
        cmocka_unit_test(decoder),
        cmocka_unit_test(mamba),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
