/* transform.quant.smooth: no bit of an f32 output changes, what is multiplied stays the
   same product, and the calibration follows. */
#include "support.h"

#include "base/npz.h"
#include "base/rng.h"
#include "model/fold.h"
#include "runtime/smooth.h"
#include "runtime/subject.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SEQUENCES = 4, SEQ = 12, LOUD = 3 };

static const char *const MODEL[] = {"llama_gqa", "mamba", "bert-heads/tokens"};
static const int32_t VOCAB[] = {50, 37, 20};

static const char *ids_path(int32_t vocab)
{
    static const char HEAD[] =
        "{'descr': '<i4', 'fortran_order': False, 'shape': (4, 12), }";
    const char *path = icd_test_path("ids.npy");
    unsigned char start[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 118, 0};
    char header[119];
    int32_t ids[SEQUENCES * SEQ];
    icd_rng rng;
    icd_i_rng_init(&rng, 5, 0);
    for (int i = 0; i < SEQUENCES * SEQ; i++)
        ids[i] = (int32_t)icd_i_rng_below(&rng, vocab);
    snprintf(header, sizeof header, "%-117s\n", HEAD);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(start, sizeof start, 1, file), 1);
    assert_int_equal(fwrite(header, 118, 1, file), 1);
    assert_int_equal(fwrite(ids, sizeof ids, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    return path;
}

static icd_status config_new(icd_ctx *ctx, const char *smooth, icd_config **out)
{
    char set[64];
    icd_status status = icd_config_new(ctx, out);
    snprintf(set, sizeof set, "transform.quant.smooth=%s", smooth);
    const char *const KEY[] = {"transform.quant.dtype=int8", "runner.seq=12",
                               "runner.batch=2", set};
    for (size_t i = 0; i < sizeof KEY / sizeof *KEY && status == ICD_OK; i++)
        status = icd_config_override(ctx, *out, KEY[i]);
    return status;
}

/* A job as icd transform has it before anything is transformed. */
static icd_status open_job(icd_ctx *ctx, icd_config *config, const char *model,
                           const char *input, icd_job *job)
{
    *job = (icd_job){.ctx = ctx};
    icd_status status = icd_i_job_open_model(job, config, model, input);
    return status == ICD_OK ? icd_i_calibrate(job) : status;
}

/* Sum over channels of x w, for one row of both. */
static double product(const float *x, const float *w, int64_t n)
{
    double sum = 0;
    for (int64_t c = 0; c < n; c++) sum += (double)x[c] * (double)w[c];
    return sum;
}

/* What Q sees multiplies to what it was: exactly, as all factors are powers of two; where
   the rows of a matrix produce the input of another one they are scaled themselves. */
static int64_t check_products(icd_ctx *ctx, const icd_job *a, const icd_job *b)
{
    int64_t applied = 0;
    for (int64_t i = 0; i < a->linears; i++) {
        const icd_job_linear *x = &a->linear[i], *y = &b->linear[i];
        const icd_linear *l = x->linear;
        float *v = NULL, *w = NULL;
        assert_ok(ctx, icd_model_tensor_f32(ctx, a->checkpoint, l->tensor, &v));
        assert_ok(ctx, icd_model_tensor_f32(ctx, b->checkpoint, l->tensor, &w));
        applied += y->smooth.applied;
        for (int64_t r = 0; r < l->rows; r++) {
            double p = product(x->x, v + r * l->cols, l->cols),
                   q = product(y->x, w + r * l->cols, l->cols);
            int up = 0, down = 0;
            assert_true(frexp(p, &up) == frexp(q, &down));
        }
        icd_mem_free(ctx, v);
        icd_mem_free(ctx, w);
    }
    return applied;
}

static void models_compute_the_same(void **state)
{
    (void)state;
    for (int m = 0; m < 3; m++) {
        icd_ctx *ctx = icd_ctx_new(NULL);
        icd_config *off = NULL, *on = NULL;
        icd_job a, b;
        char path[512];
        snprintf(path, sizeof path, "%s/%s", ICD_TEST_DATA, MODEL[m]);
        const char *ids = ids_path(VOCAB[m]);
        assert_ok(ctx, config_new(ctx, "off", &off));
        assert_ok(ctx, config_new(ctx, "on", &on));
        assert_ok(ctx, open_job(ctx, off, path, ids, &a));
        assert_ok(ctx, open_job(ctx, on, path, ids, &b));
        assert_ok(ctx, icd_i_smooth(&a));
        assert_ok(ctx, icd_i_smooth(&b));
        assert_null(a.unsmoothed);
        assert_non_null(b.unsmoothed); /* its outputs were compared bit by bit */
        assert_true(check_products(ctx, &a, &b) > 0);
        assert_string_equal(icd_model_path(b.checkpoint), path);
        icd_model *once = b.checkpoint;
        assert_ok(ctx, icd_i_smooth(&b));
        assert_ptr_equal(once, b.checkpoint);
        icd_i_job_free(&a);
        icd_i_job_free(&b);
        icd_config_free(ctx, off);
        icd_config_free(ctx, on);
        icd_ctx_free(ctx);
    }
}

/* Query heads of one key-value head read one row. */
static void heads_share_rows(void **state)
{
    icd_ctx *ctx = icd_ctx_new(NULL);
    icd_model *model = NULL;
    icd_fold fold;
    (void)state;
    assert_ok(ctx, icd_model_open(ctx, ICD_TEST_DATA "/llama_gqa", &model));
    const icd_model_config *c = icd_model_get_config(model);
    assert_true(icd_i_model_fold(model, "model.layers.0.self_attn.o_proj.weight", &fold));
    assert_string_equal(fold.weight, "model.layers.0.self_attn.v_proj.weight");
    assert_true(c->heads > c->kv_heads);
    for (int64_t i = 0; i < c->heads * c->head_dim; i++) {
        int64_t head = i / c->head_dim, row = icd_i_fold_row(&fold, i);
        assert_int_equal(row % c->head_dim, i % c->head_dim);
        assert_int_equal(row / c->head_dim, head / (c->heads / c->kv_heads));
    }
    assert_true(icd_i_model_fold(model, "model.layers.1.mlp.down_proj.weight", &fold));
    assert_string_equal(fold.weight, "model.layers.1.mlp.up_proj.weight");
    assert_true(icd_i_model_fold(model, "model.layers.1.mlp.up_proj.weight", &fold));
    assert_string_equal(fold.weight, "model.layers.1.post_attention_layernorm.weight");
    assert_string_equal(fold.bias, "");
    assert_false(icd_i_model_fold(model, "model.embed_tokens.weight", &fold));
    icd_model_free(ctx, model);
    icd_ctx_free(ctx);
}

/* The norms of BERT feed the residual stream, too: only values can take a factor. */
static void bert_folds_values_alone(void **state)
{
    icd_ctx *ctx = icd_ctx_new(NULL);
    icd_config *on = NULL;
    icd_job job;
    (void)state;
    assert_ok(ctx, config_new(ctx, "on", &on));
    assert_ok(ctx,
              open_job(ctx, on, ICD_TEST_DATA "/bert-heads/tokens", ids_path(20), &job));
    assert_ok(ctx, icd_i_smooth(&job));
    for (int64_t i = 0; i < job.linears; i++) {
        const icd_job_linear *l = &job.linear[i];
        bool out = strstr(l->linear->name, "attn.out") != NULL;
        assert_true(l->smooth.tried);
        assert_int_equal(l->smooth.applied, out);
        if (!out) assert_non_null(strstr(l->smooth.reason, "take the inverse"));
    }
    icd_i_job_free(&job);
    icd_config_free(ctx, on);
    icd_ctx_free(ctx);
}

/* A loud channel behind a norm: moving it into the weights loses less, and is kept. */
static void auto_keeps_what_pays(void **state)
{
    icd_ctx *ctx = icd_ctx_new(NULL);
    icd_config *config = NULL;
    icd_model *loud = NULL;
    icd_job job;
    float *gain = NULL;
    (void)state;
    assert_ok(ctx, config_new(ctx, "auto", &config));
    job = (icd_job){.ctx = ctx};
    assert_ok(ctx, icd_i_job_open_model(&job, config, ICD_TEST_DATA "/llama_gqa",
                                        ids_path(50)));
    static const char NORM[] = "model.layers.0.input_layernorm.weight";
    assert_ok(ctx, icd_model_tensor_f32(ctx, job.checkpoint, NORM, &gain));
    gain[LOUD] *= 300;
    icd_replacement with = {NORM, gain};
    assert_ok(ctx, icd_model_replace(ctx, job.checkpoint, &with, 1, &loud));
    icd_model *quiet = job.checkpoint;
    job.checkpoint = loud;
    assert_ok(ctx, icd_i_calibrate(&job));
    assert_ok(ctx, icd_i_smooth(&job));
    const icd_job_smooth *s = &job.linear[0].smooth; /* q of the first layer */
    assert_true(s->applied);
    assert_true(s->after.cosine > s->before.cosine);
    assert_string_equal(s->into, NORM);
    icd_mem_free(ctx, gain);
    icd_i_job_free(&job);
    icd_model_free(ctx, quiet);
    icd_config_free(ctx, config);
    icd_ctx_free(ctx);
}

static icd_status smooth_once(icd_ctx *ctx, void *arg)
{
    icd_config *config = NULL;
    icd_job job = {.ctx = ctx};
    icd_status status = config_new(ctx, "on", &config);
    if (status == ICD_OK)
        status = open_job(ctx, config, ICD_TEST_DATA "/bert-heads/tokens", arg, &job);
    if (status == ICD_OK) status = icd_i_smooth(&job);
    icd_i_job_free(&job);
    icd_config_free(ctx, config);
    return status;
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(smooth_once, (void *)(uintptr_t)ids_path(20));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_compute_the_same),
        cmocka_unit_test(heads_share_rows),
        cmocka_unit_test(bert_folds_values_alone),
        cmocka_unit_test(auto_keeps_what_pays),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
