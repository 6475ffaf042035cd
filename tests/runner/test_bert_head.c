/* The heads of BERT against transformers, before and after every axis is permuted. The
   oracle is made by tests/data/make_bert_heads_oracle.py. */
#include "small.h"

typedef struct oracle {
    icd_model *model;
    icd_safetensors *reference;
    icd_batch batch;
    const float *logits;
    int64_t outputs, rows; /* rows of logits */
} oracle;

static icd_ctx *ctx;

static void open_oracle(const char *kind, oracle *o)
{
    char path[512];
    *o = (oracle){0};
    snprintf(path, sizeof path, "%s/bert-heads/%s", ICD_TEST_DATA, kind);
    assert_ok(ctx, icd_model_open(ctx, path, &o->model));
    strcat(path, "/reference.safetensors");
    assert_ok(ctx, icd_safetensors_open(ctx, path, &o->reference));
    const icd_tensor *ids = icd_safetensors_get(o->reference, "ids"),
                     *logits = icd_safetensors_get(o->reference, "logits");
    o->batch = (icd_batch){.ids = ids->data,
                           .lengths = icd_safetensors_get(o->reference, "lengths")->data,
                           .batch = ids->shape[0],
                           .seq = ids->shape[1]};
    o->logits = logits->data;
    o->outputs = logits->shape[logits->dims - 1];
    o->rows = logits->count / o->outputs;
}

static void close_oracle(oracle *o)
{
    icd_safetensors_close(ctx, o->reference);
    icd_model_free(ctx, o->model);
}

/* Whether row i is a token that counts, or a sequence. */
static bool counts(const oracle *o, int64_t i)
{
    if (o->rows == o->batch.batch) return true;
    return i % o->batch.seq < o->batch.lengths[i / o->batch.seq];
}

static void compare(const oracle *o, const icd_model *model)
{
    icd_runner_opts opts = small_opts(ICD_RUN_F32);
    icd_runner *r = NULL;
    icd_output out;
    double gap = 0, top = 0;
    float *found = calloc((size_t)(o->rows * o->outputs), sizeof *found);
    assert_non_null(found);
    assert_ok(ctx, icd_runner_new(ctx, model, NULL, &o->batch, &opts, &r));
    assert_int_equal(icd_runner_outputs(r), o->outputs);
    assert_fails(ctx, ICD_EINVAL, "rows", icd_runner_logits(ctx, r, 0, 1, found));
    assert_ok(ctx, icd_runner_step(ctx, r, &o->batch, &out));
    assert_ok(ctx, icd_runner_logits(ctx, r, 0, o->rows, found));
    for (int64_t i = 0; i < o->rows * o->outputs; i++) {
        if (!counts(o, i / o->outputs)) continue;
        top = fmax(top, fabs((double)o->logits[i]));
        gap = fmax(gap, fabs((double)(found[i] - o->logits[i])));
    }
    print_message("%s: largest relative error %.2g\n", icd_model_name(model), gap / top);
    assert_true(gap <= 1e-5 * top);
    assert_fails(ctx, ICD_EUNSUPPORTED, "decodes no tokens",
                 icd_runner_decode(ctx, r, o->batch.ids, false, &out));
    icd_runner_free(ctx, r);
    free(found);
}

static icd_model *shuffle_all(const icd_model *model)
{
    icd_model *out = NULL;
    icd_perm_set *set = NULL;
    icd_rng rng;
    icd_i_rng_init(&rng, 8, 0);
    assert_ok(ctx, icd_perm_set_new(ctx, &set));
    for (int64_t i = 0; i < icd_model_axes(model); i++) {
        const icd_axis *axis = icd_model_axis_at(model, i);
        icd_perm *p =
            random_order(ctx, &rng, axis->n, icd_model_frame(model, axis->name));
        assert_ok(ctx, icd_perm_set_put(ctx, set, axis->name, p, false));
        icd_perm_free(ctx, p);
    }
    assert_ok(ctx, icd_model_apply(ctx, model, set, &out));
    icd_perm_set_free(ctx, set);
    return out;
}

static void test_kind(const char *kind)
{
    oracle o;
    ctx = small_ctx(1);
    open_oracle(kind, &o);
    icd_model *shuffled = shuffle_all(o.model);
    compare(&o, o.model);
    compare(&o, shuffled);
    icd_model_free(ctx, shuffled);
    close_oracle(&o);
    icd_ctx_free(ctx);
}

static void test_masked_words(void **state)
{
    (void)state;
    test_kind("masked");
}

static void test_sequence_labels(void **state)
{
    (void)state;
    test_kind("sequence");
}

static void test_token_labels(void **state)
{
    (void)state;
    test_kind("tokens");
}

static void test_spans(void **state)
{
    (void)state;
    test_kind("span");
}

static void test_no_head(void **state)
{
    (void)state;
    ctx = small_ctx(1);
    icd_model *m = small_bert(ctx, &SMALL, 1);
    icd_batch b = small_batch(&SMALL, 2, 5, 2);
    icd_runner_opts opts = small_opts(ICD_RUN_F32);
    icd_runner *r = NULL;
    icd_output out;
    float logits[8];
    assert_ok(ctx, icd_runner_new(ctx, m, NULL, &b, &opts, &r));
    assert_ok(ctx, icd_runner_step(ctx, r, &b, &out));
    assert_int_equal(icd_runner_outputs(r), 0);
    assert_fails(ctx, ICD_EUNSUPPORTED, "no head",
                 icd_runner_logits(ctx, r, 0, 1, logits));
    icd_runner_free(ctx, r);
    small_batch_release(&b);
    icd_model_free(ctx, m);
    icd_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masked_words), cmocka_unit_test(test_sequence_labels),
        cmocka_unit_test(test_token_labels), cmocka_unit_test(test_spans),
        cmocka_unit_test(test_no_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
