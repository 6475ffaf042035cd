/* GPT-2 checkpoints: taken apart when opened, put together again when written. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include <icd/model.h>
#include <icd/packed.h>

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

static const char *data_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", ICD_TEST_DATA, name);
    return path;
}

static icd_model *open_data(icd_ctx *ctx, const char *name)
{
    icd_model *m = NULL;
    assert_ok(ctx, icd_model_open(ctx, data_path(name), &m));
    return m;
}

static void test_config(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m = open_data(ctx, "gpt2_tied");
    const icd_model_config *c = icd_model_get_config(m);
    assert_string_equal(icd_model_arch(m), "decoder");
    assert_true(c->tied && c->layer_norm && !c->rotary && !c->gated);
    assert_int_equal(c->inner, 96);
    assert_int_equal(c->head_dim, 6);
    assert_int_equal(c->kv_heads, 4);
    assert_string_equal(c->act, "gelu_tanh");
    assert_near(c->norm_eps, 1e-5, 1e-12);
    icd_model_free(ctx, m);
    m = open_data(ctx, "gpt2_head");
    c = icd_model_get_config(m);
    assert_false(c->tied);
    assert_int_equal(c->inner, 22);
    assert_string_equal(c->act, "relu");
    assert_near(c->norm_eps, 1e-3, 1e-12);
    icd_model_free(ctx, m);
}

/* Element (r, c) of a part is element (c, part * rows + r) of the checkpoint's matrix. */
static void check_part(const icd_model *m, const icd_safetensors *file, const char *ours,
                       const char *theirs, int64_t part)
{
    const icd_tensor *t = icd_model_tensor(m, ours),
                     *whole = icd_safetensors_get(file, theirs);
    assert_non_null(t);
    assert_non_null(whole);
    const float *a = t->data, *b = whole->data;
    int64_t rows = t->shape[0], cols = t->dims == 2 ? t->shape[1] : 1,
            width = whole->shape[whole->dims - 1];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            assert_memory_equal(&a[r * cols + c], &b[c * width + part * rows + r],
                                sizeof *a);
}

static void test_parts(void **state)
{
    icd_ctx *ctx = *state;
    char path[600];
    icd_safetensors *file = NULL;
    icd_model *m = open_data(ctx, "gpt2_head");
    snprintf(path, sizeof path, "%s/model.safetensors", data_path("gpt2_head"));
    assert_ok(ctx, icd_safetensors_open(ctx, path, &file));
    static const char *const QKV[] = {"q", "k", "v"};
    for (int p = 0; p < 3; p++) {
        char name[64];
        snprintf(name, sizeof name, "model.layers.1.self_attn.%s_proj.weight", QKV[p]);
        check_part(m, file, name, "transformer.h.1.attn.c_attn.weight", p);
        snprintf(name, sizeof name, "model.layers.1.self_attn.%s_proj.bias", QKV[p]);
        check_part(m, file, name, "transformer.h.1.attn.c_attn.bias", p);
    }
    check_part(m, file, "model.layers.0.mlp.up_proj.weight",
               "transformer.h.0.mlp.c_fc.weight", 0);
    check_part(m, file, "model.layers.0.mlp.down_proj.bias",
               "transformer.h.0.mlp.c_proj.bias", 0);
    icd_safetensors_close(ctx, file);
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
    icd_model *m = open_data(ctx, "gpt2_tied");
    assert_int_equal(icd_model_axes(m), 1 + 2 * (2 + 4 * 2));
    /* two embeddings, a norm; per layer two norms, q k v up, o and down with biases */
    check_axis(m, "residual", 24, 4 + 2 * (4 + 4 + 4));
    assert_true(icd_model_axis(m, "residual")->reaches_output);
    check_axis(m, "layer.1.ffn.inner", 96, 3);
    check_axis(m, "layer.0.heads", 4, 7);
    check_axis(m, "layer.0.head.3.qk", 6, 4);
    check_axis(m, "layer.0.head.3.v", 6, 3);
    assert_null(icd_model_axis(m, "layer.0.kv_groups"));
    icd_model_free(ctx, m);
}

/* Both files hold the same tensors with the same bits. */
static void assert_same_file(icd_ctx *ctx, const char *a, const char *b)
{
    char path[600];
    icd_safetensors *x = NULL, *y = NULL;
    snprintf(path, sizeof path, "%s/model.safetensors", a);
    assert_ok(ctx, icd_safetensors_open(ctx, path, &x));
    snprintf(path, sizeof path, "%s/model.safetensors", b);
    assert_ok(ctx, icd_safetensors_open(ctx, path, &y));
    assert_int_equal(icd_safetensors_count(x), icd_safetensors_count(y));
    for (int64_t i = 0; i < icd_safetensors_count(x); i++) {
        const icd_tensor *s = icd_safetensors_at(x, i), *t = icd_safetensors_at(y, i);
        assert_string_equal(s->name, t->name);
        assert_int_equal(s->dims, t->dims);
        assert_memory_equal(s->shape, t->shape, sizeof s->shape);
        assert_memory_equal(s->data, t->data, (size_t)s->count * sizeof(float));
    }
    icd_safetensors_close(ctx, x);
    icd_safetensors_close(ctx, y);
}

/* Every axis reversed. */
static icd_model *reversed(icd_ctx *ctx, const icd_model *m)
{
    icd_perm_set *set = NULL;
    icd_model *out = NULL;
    assert_ok(ctx, icd_perm_set_new(ctx, &set));
    for (int64_t a = 0; a < icd_model_axes(m); a++) {
        const icd_axis *axis = icd_model_axis_at(m, a);
        int32_t order[128];
        icd_perm *p = NULL;
        for (int64_t i = 0; i < axis->n; i++) order[i] = (int32_t)(axis->n - 1 - i);
        assert_ok(ctx, icd_perm_from_array(ctx, order, axis->n,
                                           icd_model_frame(m, axis->name), "t", &p));
        assert_ok(ctx, icd_perm_set_put(ctx, set, axis->name, p, false));
        icd_perm_free(ctx, p);
    }
    assert_ok(ctx, icd_model_apply(ctx, m, set, &out));
    icd_perm_set_free(ctx, set);
    return out;
}

static void test_written_as_it_was(void **state)
{
    icd_ctx *ctx = *state;
    static const char *const NAME[] = {"gpt2_tied", "gpt2_head"};
    for (int i = 0; i < 2; i++) {
        icd_model *m = open_data(ctx, NAME[i]), *once = reversed(ctx, m),
                  *back = reversed(ctx, once), *read = NULL;
        const char *dir = icd_test_path("gpt2-back");
        assert_ok(ctx, icd_model_write(ctx, back, data_path(NAME[i]), dir));
        assert_same_file(ctx, data_path(NAME[i]), dir);
        dir = icd_test_path("gpt2-once");
        assert_ok(ctx, icd_model_write(ctx, once, data_path(NAME[i]), dir));
        assert_ok(ctx, icd_model_open(ctx, dir, &read));
        assert_int_equal(icd_model_hash(read), icd_model_hash(once));
        assert_int_equal(icd_model_frame(read, "layer.0.heads"),
                         icd_model_frame(once, "layer.0.heads"));
        icd_model_free(ctx, read);
        icd_model_free(ctx, back);
        icd_model_free(ctx, once);
        icd_model_free(ctx, m);
    }
}

/* A part of another type makes the whole f32; a packed part leaves the others alone. */
static void test_replaced_and_packed(void **state)
{
    icd_ctx *ctx = *state;
    static const char Q[] = "model.layers.0.self_attn.q_proj.weight",
                      K[] = "model.layers.0.self_attn.k_proj.weight";
    icd_model *m = open_data(ctx, "gpt2_head"), *changed = NULL, *read = NULL;
    float *q = NULL, *k = NULL;
    assert_ok(ctx, icd_model_tensor_f32(ctx, m, Q, &q));
    assert_ok(ctx, icd_model_tensor_f32(ctx, m, K, &k));
    for (int i = 0; i < 15 * 15; i++) q[i] *= .5f;
    const icd_replacement with = {Q, q};
    assert_ok(ctx, icd_model_replace(ctx, m, &with, 1, &changed));
    const icd_packed packed = {Q, NULL, NULL, NULL};
    const char *dir = icd_test_path("gpt2-packed");
    assert_ok(ctx, icd_model_write_packed(ctx, changed, &packed, 1,
                                          data_path("gpt2_head"), dir));
    assert_ok(ctx, icd_model_open(ctx, dir, &read));
    assert_non_null(icd_model_packed(read, Q));
    assert_null(icd_model_packed(read, K));
    assert_memory_equal(icd_model_tensor(read, Q)->data, q, 15 * 15 * sizeof *q);
    assert_memory_equal(icd_model_tensor(read, K)->data, k, 15 * 15 * sizeof *k);
    icd_model_free(ctx, read);
    dir = icd_test_path("gpt2-replaced");
    assert_ok(ctx, icd_model_write(ctx, changed, data_path("gpt2_head"), dir));
    assert_ok(ctx, icd_model_open(ctx, dir, &read));
    assert_int_equal(icd_model_hash(read), icd_model_hash(changed));
    icd_model_free(ctx, read);
    icd_model_free(ctx, changed);
    icd_model_free(ctx, m);
    icd_mem_free(ctx, q);
    icd_mem_free(ctx, k);
}

/* Writes data/NAME's tensors in bf16 with the same configuration. */
static const char *in_bf16(icd_ctx *ctx, const char *name)
{
    enum { MOST = 64, ELEMENTS = 1 << 15 };
    static uint16_t bits[ELEMENTS];
    icd_tensor tensor[MOST];
    icd_safetensors *file = NULL;
    const char *dir = icd_test_path("gpt2-bf16");
    char path[600], *text = NULL;
    size_t size = 0;
    int64_t used = 0;
    snprintf(path, sizeof path, "%s/model.safetensors", data_path(name));
    assert_ok(ctx, icd_safetensors_open(ctx, path, &file));
    int64_t count = icd_safetensors_count(file);
    assert_true(count <= MOST);
    for (int64_t i = 0; i < count; i++) {
        tensor[i] = *icd_safetensors_at(file, i);
        const uint32_t *word = tensor[i].data;
        assert_true(used + tensor[i].count <= ELEMENTS);
        for (int64_t e = 0; e < tensor[i].count; e++)
            bits[used + e] = (uint16_t)(word[e] >> 16);
        tensor[i].data = bits + used;
        tensor[i].dtype = ICD_BF16;
        used += tensor[i].count;
    }
    assert_ok(ctx, icd_i_mkdirs(ctx, dir));
    snprintf(path, sizeof path, "%s/config.json", data_path(name));
    assert_ok(ctx, icd_i_file_read(ctx, path, &text, &size));
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_ok(ctx, icd_i_file_write(ctx, path, text, size));
    icd_mem_free(ctx, text);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_ok(ctx, icd_safetensors_write(ctx, path, tensor, count, NULL));
    icd_safetensors_close(ctx, file);
    return dir;
}

/* Types stay; with one part in f32 all of its tensor are. */
static void test_types(void **state)
{
    icd_ctx *ctx = *state;
    static const char K[] = "model.layers.1.self_attn.k_proj.weight";
    icd_model *m = NULL, *changed = NULL, *read = NULL;
    float *k = NULL;
    char source[512];
    snprintf(source, sizeof source, "%s", in_bf16(ctx, "gpt2_head"));
    assert_ok(ctx, icd_model_open(ctx, source, &m));
    assert_int_equal(icd_model_tensor(m, K)->dtype, ICD_BF16);
    assert_ok(ctx, icd_model_tensor_f32(ctx, m, K, &k));
    k[0] = 1.0009765625f;
    const icd_replacement with = {K, k};
    assert_ok(ctx, icd_model_replace(ctx, m, &with, 1, &changed));
    const char *dir = icd_test_path("gpt2-mixed");
    assert_ok(ctx, icd_model_write(ctx, changed, source, dir));
    assert_ok(ctx, icd_model_open(ctx, dir, &read));
    assert_int_equal(icd_model_tensor(read, K)->dtype, ICD_F32);
    assert_memory_equal(icd_model_tensor(read, K)->data, k, 15 * 15 * sizeof *k);
    assert_int_equal(
        icd_model_tensor(read, "model.layers.1.self_attn.q_proj.weight")->dtype, ICD_F32);
    assert_int_equal(
        icd_model_tensor(read, "model.layers.0.self_attn.k_proj.weight")->dtype,
        ICD_BF16);
    icd_model_free(ctx, read);
    icd_model_free(ctx, changed);
    icd_model_free(ctx, m);
    icd_mem_free(ctx, k);
}

/* data/gpt2_head with one value of its configuration changed (NULL: without it). */
static void refuse(icd_ctx *ctx, icd_status expected, const char *text, const char *key,
                   const char *value)
{
    char path[600], *weights = NULL;
    size_t size = 0;
    json_t *root = NULL;
    icd_model *m = NULL;
    const char *dir = icd_test_path("gpt2-changed");
    assert_ok(ctx, icd_i_mkdirs(ctx, dir));
    snprintf(path, sizeof path, "%s/config.json", data_path("gpt2_head"));
    assert_ok(ctx, icd_i_json_read(ctx, path, &root));
    if (value)
        json_object_set_new(root, key, json_loads(value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(root, key);
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_ok(ctx, icd_i_json_write(ctx, root, path));
    json_decref(root);
    snprintf(path, sizeof path, "%s/model.safetensors", data_path("gpt2_head"));
    assert_ok(ctx, icd_i_file_read(ctx, path, &weights, &size));
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_ok(ctx, icd_i_file_write(ctx, path, weights, size));
    icd_mem_free(ctx, weights);
    assert_fails(ctx, expected, text, icd_model_open(ctx, dir, &m));
    assert_null(m);
}

static void test_refusals(void **state)
{
    icd_ctx *ctx = *state;
    refuse(ctx, ICD_EUNSUPPORTED, "activation_function: found 'mish'",
           "activation_function", "\"mish\"");
    refuse(ctx, ICD_EUNSUPPORTED, "scale_attn_weights", "scale_attn_weights", "false");
    refuse(ctx, ICD_EUNSUPPORTED, "scale_attn_by_inverse_layer_idx",
           "scale_attn_by_inverse_layer_idx", "true");
    refuse(ctx, ICD_EUNSUPPORTED, "add_cross_attention", "add_cross_attention", "true");
    refuse(ctx, ICD_EDATA, "no multiple of n_head", "n_head", "4");
    refuse(ctx, ICD_EDATA, "n_embd", "n_embd", NULL);
    refuse(ctx, ICD_EDATA, "up_proj", "n_inner", "23");
    refuse(ctx, ICD_EDATA, "embed_positions", "n_positions", "47");
    refuse(ctx, ICD_EDATA, "model.layers.2.", "n_layer", "3");
}

static icd_status write_once(icd_ctx *ctx, void *arg)
{
    icd_model *m = NULL;
    icd_status status = icd_model_open(ctx, arg, &m);
    if (status == ICD_OK) {
        const icd_packed packed = {"model.layers.0.mlp.up_proj.weight", NULL, NULL, NULL};
        const char *dir = icd_test_path("gpt2-failing");
        status = icd_model_write_packed(ctx, m, &packed, 1, arg, dir);
    }
    icd_model_free(ctx, m);
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    static char path[512];
    snprintf(path, sizeof path, "%s", data_path("gpt2_head"));
    icd_test_failing_allocations(write_once, path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_axes),
        cmocka_unit_test(test_written_as_it_was),
        cmocka_unit_test(test_replaced_and_packed),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
