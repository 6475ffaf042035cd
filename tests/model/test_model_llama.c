/* Llama configurations, tensors and axes: data/llama_gqa, and what is wrong with it when
 * one thing is changed. */
#include "support.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include <icd/model.h>

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

static icd_model *open_data(icd_ctx *ctx, const char *name)
{
    char path[512];
    icd_model *m = NULL;
    snprintf(path, sizeof path, "%s/%s", ICD_TEST_DATA, name);
    assert_ok(ctx, icd_model_open(ctx, path, &m));
    return m;
}

static void test_config(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m = open_data(ctx, "llama_gqa");
    const icd_model_config *c = icd_model_get_config(m);
    assert_string_equal(icd_model_arch(m), "decoder");
    assert_int_equal(c->layers, 2);
    assert_int_equal(c->hidden, 24);
    assert_int_equal(c->inner, 40);
    assert_int_equal(c->heads, 6);
    assert_int_equal(c->kv_heads, 2);
    assert_int_equal(c->head_dim, 4);
    assert_int_equal(c->vocab, 50);
    assert_int_equal(c->positions, 64);
    assert_string_equal(c->act, "silu");
    assert_near(c->norm_eps, 1e-6, 1e-12);
    assert_near(c->rope_theta, 10000, 0);
    assert_false(c->tied);
    icd_model_free(ctx, m);
    m = open_data(ctx, "llama_tied");
    assert_true(icd_model_get_config(m)->tied);
    assert_int_equal(icd_model_get_config(m)->kv_heads, 4);
    icd_model_free(ctx, m);
}

static void check_axis(const icd_model *m, const char *name, int64_t n, int64_t bindings)
{
    const icd_axis *axis = icd_model_axis(m, name);
    if (!axis) fail_msg("no axis %s", name);
    assert_int_equal(axis->n, n);
    assert_int_equal(axis->bindings, bindings);
}

static void test_axes(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m = open_data(ctx, "llama_gqa");
    assert_int_equal(icd_model_axes(m), 1 + 2 * (2 + 2 * 2));
    check_axis(m, "residual", 24, 3 + 2 * 9);
    assert_true(icd_model_axis(m, "residual")->reaches_output);
    check_axis(m, "layer.1.ffn.inner", 40, 3);
    check_axis(m, "layer.0.kv_groups", 2, 4);
    check_axis(m, "layer.0.group.1.q", 3, 2);
    check_axis(m, "layer.0.group.1.v", 4, 4);
    const icd_binding *b = icd_model_axis(m, "layer.0.group.1.v")->binding;
    assert_string_equal(b[3].tensor, "model.layers.0.self_attn.o_proj.weight");
    assert_int_equal(b[3].dim, 1);
    assert_int_equal(b[3].offset, 20);
    icd_model_free(ctx, m);
}

static icd_status apply(icd_ctx *ctx, const icd_model *m, const char *axis,
                        const int32_t *order, int64_t n, icd_model **out)
{
    icd_perm *p = NULL;
    icd_perm_set *set = NULL;
    assert_ok(ctx, icd_perm_from_array(ctx, order, n, icd_model_frame(m, axis), "t", &p));
    assert_ok(ctx, icd_perm_set_new(ctx, &set));
    assert_ok(ctx, icd_perm_set_put(ctx, set, axis, p, false));
    icd_status status = icd_model_apply(ctx, m, set, out);
    icd_perm_set_free(ctx, set);
    icd_perm_free(ctx, p);
    return status;
}

/* Rotated pairs, whole heads across groups: no axis says that they may move. */
static void test_illegal_orders(void **state)
{
    icd_ctx *ctx = *state;
    static const int32_t SIX[] = {1, 0, 2, 3, 4, 5}, FOUR[] = {1, 0, 2, 3};
    icd_model *m = open_data(ctx, "llama_gqa"), *out = NULL;
    assert_fails(ctx, ICD_EINVAL, "no axis 'layer.0.group.0.qk'",
                 apply(ctx, m, "layer.0.group.0.qk", FOUR, 4, &out));
    assert_fails(ctx, ICD_EINVAL, "no axis 'layer.0.heads'",
                 apply(ctx, m, "layer.0.heads", SIX, 6, &out));
    assert_fails(ctx, ICD_EINVAL, "the axis has 2",
                 apply(ctx, m, "layer.0.kv_groups", SIX, 6, &out));
    assert_fails(ctx, ICD_EINVAL, "the axis has 3",
                 apply(ctx, m, "layer.0.group.0.q", FOUR, 4, &out));
    assert_null(out);
    icd_model_free(ctx, m);
}

/* A group takes its members along, in blocks of several sizes. */
static void test_members_follow(void **state)
{
    icd_ctx *ctx = *state;
    static const int32_t SWAP[] = {1, 0};
    icd_model *m = open_data(ctx, "llama_gqa"), *out = NULL;
    assert_ok(ctx, apply(ctx, m, "layer.0.kv_groups", SWAP, 2, &out));
    const icd_binding *q = icd_model_axis(out, "layer.0.group.1.q")->binding;
    const icd_binding *v = icd_model_axis(out, "layer.0.group.0.v")->binding;
    assert_int_equal(q[0].offset, 0);
    assert_int_equal(q[1].offset, 0);
    assert_int_equal(v[0].offset, 4);
    assert_int_equal(v[1].offset, 12);
    assert_int_equal(v[2].offset, 16);
    assert_int_equal(v[3].offset, 20);
    assert_int_equal(icd_model_axis(out, "layer.1.group.1.q")->binding[0].offset, 12);
    icd_model_free(ctx, out);
    icd_model_free(ctx, m);
}

/* A folder with data/NAME's weights and its configuration with one value changed (NULL:
 * without it). */
static const char *changed(icd_ctx *ctx, const char *name, const char *key,
                           const char *value)
{
    bool newer = strcmp(key, "rope_parameters") == 0;
    static char dir[512];
    static int number;
    char path[600], weights[600];
    json_t *root = NULL, *fresh = value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL;
    snprintf(path, sizeof path, "variant-%d", ++number);
    snprintf(dir, sizeof dir, "%s", icd_test_path(path));
    assert_ok(ctx, icd_i_mkdirs(ctx, dir));
    snprintf(path, sizeof path, "%s/%s/config.json", ICD_TEST_DATA, name);
    assert_ok(ctx, icd_i_json_read(ctx, path, &root));
    if (newer) json_object_del(root, "rope_theta");
    if (fresh)
        json_object_set_new(root, key, fresh);
    else
        json_object_del(root, key);
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_ok(ctx, icd_i_json_write(ctx, root, path));
    json_decref(root);
    snprintf(weights, sizeof weights, "%s/%s/model.safetensors", ICD_TEST_DATA, name);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(symlink(weights, path), 0);
    return dir;
}

static void refuse(icd_ctx *ctx, icd_status expected, const char *text, const char *key,
                   const char *value)
{
    icd_model *m = NULL;
    const char *dir = changed(ctx, "llama_gqa", key, value);
    assert_fails(ctx, expected, text, icd_model_open(ctx, dir, &m));
    assert_null(m);
}

static void test_refusals(void **state)
{
    icd_ctx *ctx = *state;
    refuse(ctx, ICD_EUNSUPPORTED, "rope_scaling: found 'llama3'", "rope_scaling",
           "{\"rope_type\": \"llama3\", \"factor\": 8}");
    refuse(ctx, ICD_EUNSUPPORTED, "rope_scaling: found 'linear'", "rope_scaling",
           "{\"type\": \"linear\", \"factor\": 2}");
    refuse(ctx, ICD_EUNSUPPORTED, "rope_scaling: found '(an object)'", "rope_scaling",
           "{}");
    refuse(ctx, ICD_EUNSUPPORTED, "rope_parameters: found 'yarn'", "rope_parameters",
           "{\"rope_type\": \"yarn\", \"rope_theta\": 1e6}");
    refuse(ctx, ICD_EUNSUPPORTED, "partial_rotary_factor", "partial_rotary_factor",
           "0.5");
    refuse(ctx, ICD_EUNSUPPORTED, "hidden_act: found 'mish'", "hidden_act", "\"mish\"");
    refuse(ctx, ICD_EDATA, "hidden_act", "hidden_act", "3");
    refuse(ctx, ICD_EDATA, "no multiple of num_key_value_heads 4", "num_key_value_heads",
           "4");
    refuse(ctx, ICD_EDATA, "expected an even number", "head_dim", "3");
    refuse(ctx, ICD_EDATA, "q_proj", "head_dim", "6");
    refuse(ctx, ICD_EDATA, "k_proj", "num_key_value_heads", "3");
    refuse(ctx, ICD_EDATA, "rope_theta: found 0", "rope_theta", "0.0");
    refuse(ctx, ICD_EDATA, "q_proj.bias", "attention_bias", "true");
    refuse(ctx, ICD_EDATA, "gate_proj.bias", "mlp_bias", "true");
    refuse(ctx, ICD_EDATA, "model.layers.2.", "num_hidden_layers", "3");
    refuse(ctx, ICD_EDATA, "vocab_size", "vocab_size", NULL);
    refuse(ctx, ICD_EDATA, "num_hidden_layers", "num_hidden_layers", "1000000000000");
}

static void test_defaults(void **state)
{
    icd_ctx *ctx = *state;
    static const char *const KEY[] = {"hidden_act", "rms_norm_eps", "rope_theta",
                                      "rope_scaling", "head_dim"};
    for (size_t i = 0; i < sizeof KEY / sizeof *KEY; i++) {
        icd_model *m = NULL;
        assert_ok(ctx, icd_model_open(ctx, changed(ctx, "llama_gqa", KEY[i], NULL), &m));
        assert_int_equal(icd_model_get_config(m)->head_dim, 4);
        assert_near(icd_model_get_config(m)->norm_eps, 1e-6, 1e-12);
        icd_model_free(ctx, m);
    }
    icd_model *m = NULL;
    const char *dir =
        changed(ctx, "llama_gqa", "rope_scaling", "{\"type\": \"default\"}");
    assert_ok(ctx, icd_model_open(ctx, dir, &m));
    icd_model_free(ctx, m);
    /* where newer files have the base */
    dir = changed(ctx, "llama_gqa", "rope_parameters",
                  "{\"rope_type\": \"default\", \"rope_theta\": 5e5}");
    assert_ok(ctx, icd_model_open(ctx, dir, &m));
    assert_near(icd_model_get_config(m)->rope_theta, 5e5, 0);
    icd_model_free(ctx, m);
    /* without tying, the head must be there */
    dir = changed(ctx, "llama_tied", "tie_word_embeddings", "false");
    assert_fails(ctx, ICD_EDATA, "lm_head.weight", icd_model_open(ctx, dir, &m));
}

/* Tensors of unknown use: fewer layers than the file has. */
static void test_unknown_tensors(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m = NULL;
    const char *dir = changed(ctx, "llama_gqa", "num_hidden_layers", "1");
    assert_ok(ctx, icd_model_open(ctx, dir, &m));
    assert_null(icd_model_axis(m, "residual"));
    assert_non_null(icd_model_axis(m, "layer.0.ffn.inner"));
    icd_model_free(ctx, m);
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
    static char path[512];
    snprintf(path, sizeof path, "%s/llama_tied", ICD_TEST_DATA);
    icd_test_failing_allocations(open_once, path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_axes),
        cmocka_unit_test(test_illegal_orders),
        cmocka_unit_test(test_members_follow),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_unknown_tensors),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
