/* Mamba configurations, tensors and axes: data/mamba, and what is wrong with it when one
 * thing is changed. */
#include "support.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include <icd/model.h>

static const char DATA[] = ICD_TEST_DATA "/mamba";

static int setup(void **state)
{
    *state = icd_ctx_new(NULL);
    return *state == NULL;
}

static int teardown(void **state)
{
    icd_ctx_free(*state);
    return 0;
}

static void test_config(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m = NULL;
    assert_ok(ctx, icd_model_open(ctx, DATA, &m));
    const icd_model_config *c = icd_model_get_config(m);
    assert_string_equal(icd_model_arch(m), "mamba");
    assert_int_equal(c->layers, 2);
    assert_int_equal(c->hidden, 20);
    assert_int_equal(c->inner, 70);
    assert_int_equal(c->state, 5);
    assert_int_equal(c->conv, 4);
    assert_int_equal(c->dt_rank, 3);
    assert_int_equal(c->vocab, 37);
    assert_near(c->norm_eps, 1e-5, 1e-12);
    assert_true(c->tied);
    icd_model_free(ctx, m);
}

static void check_axis(const icd_model *m, const char *name, int64_t n, int64_t bindings)
{
    const icd_axis *axis = icd_model_axis(m, name);
    assert_non_null(axis);
    assert_int_equal(axis->n, n);
    assert_int_equal(axis->bindings, bindings);
}

static void test_axes(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m = NULL;
    assert_ok(ctx, icd_model_open(ctx, DATA, &m));
    assert_int_equal(icd_model_axes(m), 7);
    /* embedding, last norm; of each layer: norm, in_proj, out_proj */
    check_axis(m, "residual", 20, 2 + 2 * 3);
    /* in_proj twice, conv weight and bias, x_proj, dt_proj and bias, A, D, out_proj */
    check_axis(m, "layer.1.d_inner", 70, 10);
    check_axis(m, "layer.1.dt_rank", 3, 2);
    check_axis(m, "layer.1.d_state", 5, 3);
    assert_true(icd_model_axis(m, "residual")->reaches_output);
    assert_null(icd_model_axis(m, "layer.2.d_inner"));
    icd_model_free(ctx, m);
}

/* A folder with data/mamba's weights and another config.json. */
static const char *folder_of(icd_ctx *ctx, const char *config, size_t size)
{
    static char dir[512];
    static int number;
    char path[600];
    snprintf(path, sizeof path, "mamba-%d", ++number);
    snprintf(dir, sizeof dir, "%s", icd_test_path(path));
    assert_ok(ctx, icd_i_mkdirs(ctx, dir));
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_ok(ctx, icd_i_file_write(ctx, path, config, size));
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(symlink(ICD_TEST_DATA "/mamba/model.safetensors", path), 0);
    return dir;
}

/* The configuration with one value changed (NULL: without it). */
static const char *changed(icd_ctx *ctx, const char *key, const char *value)
{
    json_t *root = NULL, *fresh = value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL;
    char *text = NULL;
    assert_ok(ctx, icd_i_json_read(ctx, ICD_TEST_DATA "/mamba/config.json", &root));
    if (fresh)
        json_object_set_new(root, key, fresh);
    else
        json_object_del(root, key);
    assert_ok(ctx, icd_i_json_print(ctx, root, false, &text));
    const char *dir = folder_of(ctx, text, strlen(text));
    icd_i_free(ctx, text);
    json_decref(root);
    return dir;
}

static void refuse(icd_ctx *ctx, icd_status expected, const char *text, const char *key,
                   const char *value)
{
    icd_model *m = NULL;
    assert_fails(ctx, expected, text, icd_model_open(ctx, changed(ctx, key, value), &m));
    assert_null(m);
}

static void test_refusals(void **state)
{
    icd_ctx *ctx = *state;
    refuse(ctx, ICD_EUNSUPPORTED, "hidden_act: found 'relu'", "hidden_act", "\"relu\"");
    refuse(ctx, ICD_EDATA, "hidden_act", "hidden_act", "7");
    refuse(ctx, ICD_EDATA, "use_bias: expected true or false", "use_bias", "1");
    refuse(ctx, ICD_EDATA, "in_proj.bias", "use_bias", "true");
    refuse(ctx, ICD_EDATA, "conv1d.bias", "use_conv_bias", "false");
    refuse(ctx, ICD_EDATA, "lm_head.weight", "tie_word_embeddings", "false");
    refuse(ctx, ICD_EDATA, "conv1d.weight", "conv_kernel", "3");
    refuse(ctx, ICD_EDATA, "conv_kernel", "conv_kernel", "17");
    refuse(ctx, ICD_EDATA, "conv_kernel", "conv_kernel", "0");
    refuse(ctx, ICD_EDATA, "in_proj.weight", "intermediate_size", "40");
    refuse(ctx, ICD_EDATA, "x_proj.weight", "state_size", "6");
    refuse(ctx, ICD_EDATA, "x_proj.weight", "time_step_rank", "\"auto\"");
    refuse(ctx, ICD_EDATA, "time_step_rank", "time_step_rank", "-1");
    refuse(ctx, ICD_EDATA, "time_step_rank", "time_step_rank", "\"many\"");
    refuse(ctx, ICD_EDATA, "backbone.layers.2.", "num_hidden_layers", "3");
    refuse(ctx, ICD_EDATA, "num_hidden_layers", "num_hidden_layers", "1e3");
    refuse(ctx, ICD_EDATA, "hidden_size", "hidden_size", "1000000000000");
    refuse(ctx, ICD_EDATA, "vocab_size", "vocab_size", NULL);
    refuse(ctx, ICD_EDATA, "layer_norm_epsilon", "layer_norm_epsilon", "-1.0");
    refuse(ctx, ICD_EDATA, "layer_norm_epsilon", "layer_norm_epsilon", "\"small\"");
    refuse(ctx, ICD_EUNSUPPORTED, "model_type: found 'mamba2'", "model_type",
           "\"mamba2\"");
}

static void test_defaults(void **state)
{
    icd_ctx *ctx = *state;
    static const char *const KEY[] = {"hidden_act",    "use_bias",
                                      "use_conv_bias", "tie_word_embeddings",
                                      "conv_kernel",   "layer_norm_epsilon"};
    for (size_t i = 0; i < sizeof KEY / sizeof *KEY; i++) {
        icd_model *m = NULL;
        assert_ok(ctx, icd_model_open(ctx, changed(ctx, KEY[i], NULL), &m));
        assert_int_equal(icd_model_get_config(m)->conv, 4);
        assert_non_null(icd_model_axis(m, "residual"));
        icd_model_free(ctx, m);
    }
}

/* Fewer layers than the file has: what the rest reads is unknown. */
static void test_unknown_tensors(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m = NULL;
    assert_ok(ctx, icd_model_open(ctx, changed(ctx, "num_hidden_layers", "1"), &m));
    assert_null(icd_model_axis(m, "residual"));
    assert_non_null(icd_model_axis(m, "layer.0.d_inner"));
    icd_model_free(ctx, m);
}

/* Bytes of config.json turned or cut at random: a model, or a sentence that says why not.
 */
static void test_damaged_configs(void **state)
{
    icd_ctx *ctx = *state;
    char *text = NULL;
    size_t size = 0;
    icd_rng rng;
    icd_i_rng_init(&rng, 17, 1);
    assert_ok(ctx,
              icd_i_file_read(ctx, ICD_TEST_DATA "/mamba/config.json", &text, &size));
    for (int n = 0; n < 60; n++) {
        char damaged[1024];
        size_t left = n % 3 ? size : (size_t)icd_i_rng_below(&rng, (int64_t)size);
        icd_model *m = NULL;
        assert_true(size < sizeof damaged);
        memcpy(damaged, text, size);
        for (int i = 0; n % 3 && i < 1 + n / 20; i++)
            damaged[icd_i_rng_below(&rng, (int64_t)size)] =
                "0129\"{}[],:-\n"[icd_i_rng_below(&rng, 13)];
        icd_status status = icd_model_open(ctx, folder_of(ctx, damaged, left), &m);
        assert_true(status == ICD_OK || status == ICD_EDATA ||
                    status == ICD_EUNSUPPORTED);
        assert_true((status == ICD_OK) == (m != NULL));
        if (status != ICD_OK) assert_true(strlen(icd_ctx_message(ctx)) > 10);
        icd_ctx_clear(ctx);
        icd_model_free(ctx, m);
    }
    icd_i_free(ctx, text);
}

static icd_status open_once(icd_ctx *ctx, void *arg)
{
    icd_model *m = NULL;
    icd_status status = icd_model_open(ctx, arg, &m);
    icd_model_free(ctx, m);
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(open_once, (void *)(uintptr_t)DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_axes),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_unknown_tensors),
        cmocka_unit_test(test_damaged_configs),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
