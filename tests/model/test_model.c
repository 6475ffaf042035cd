/* Opening models and block files, what they say about themselves, and writing them. */
#include "synthetic.h"

#include <stdlib.h>

static void make_dir(char out[512], const char *name)
{
    snprintf(out, 512, "%s", icd_test_path(name));
}

static void bert_with_and_without_prefix(void **state)
{
    icd_ctx *ctx = *state;
    static const char *const PREFIX[] = {"", "bert."};
    uint64_t hash[2];
    for (int i = 0; i < 2; ++i) {
        char dir[512];
        icd_model *m = NULL;
        make_dir(dir, i ? "prefixed" : "plain");
        synthetic_bert_folder(ctx, dir, PREFIX[i]);
        assert_ok(ctx, icd_model_open(ctx, dir, &m));
        const icd_model_config *c = icd_model_get_config(m);
        assert_string_equal(icd_model_arch(m), "bert");
        assert_string_equal(icd_model_name(m), i ? "prefixed" : "plain");
        assert_string_equal(icd_model_path(m), dir);
        assert_string_equal(c->act, "gelu");
        assert_int_equal(c->layers * 1000 + c->heads, LAYERS * 1000 + HEADS);
        assert_near(c->norm_eps, 1e-12, 0);
        assert_non_null(icd_model_tensor(m, "embeddings.word_embeddings.weight"));
        assert_non_null(icd_model_tensor(m, "embeddings.position_ids"));
        assert_null(icd_model_tensor(m, "bert.pooler.dense.bias"));
        hash[i] = icd_model_hash(m);
        icd_model_free(ctx, m);
    }
    assert_true(hash[0] == hash[1]);
}

static void counts_of_bert(void **state)
{
    icd_ctx *ctx = *state;
    char dir[512];
    icd_model *m = NULL;
    make_dir(dir, "counts");
    synthetic_bert_folder(ctx, dir, "");
    assert_ok(ctx, icd_model_open(ctx, dir, &m));
    int64_t outside = (VOCAB + POSITIONS + TYPES + 2 + HIDDEN + 1) * HIDDEN;
    int64_t layer =
        4 * (HIDDEN + 1) * HIDDEN + 4 * HIDDEN + (2 * HIDDEN + 1) * INNER + HIDDEN;
    assert_int_equal(icd_model_parameters(m), outside + LAYERS * layer);
    assert_int_equal(icd_model_axes(m), 1 + LAYERS * (2 + 2 * HEADS));
    icd_model_free(ctx, m);
}

/* Every binding lies inside its tensor; names are found again. */
static void check_axes(const icd_model *m)
{
    for (int64_t a = 0; a < icd_model_axes(m); ++a) {
        const icd_axis *axis = icd_model_axis_at(m, a);
        assert_ptr_equal(icd_model_axis(m, axis->name), axis);
        assert_int_equal(axis->reaches_output, !strcmp(axis->name, "residual"));
        assert_true(icd_model_frame(m, axis->name) == ICD_FRAME_CHECKPOINT);
        assert_null(icd_model_order(m, axis->name));
        assert_true(axis->bindings > 0);
        for (int64_t b = 0; b < axis->bindings; ++b) {
            const icd_binding *bind = &axis->binding[b];
            const icd_tensor *t = icd_model_tensor(m, bind->tensor);
            assert_non_null(t);
            assert_true(bind->dim < t->dims);
            assert_true(bind->offset + axis->n * bind->block <= t->shape[bind->dim]);
        }
    }
}

static void axes_of_bert(void **state)
{
    icd_ctx *ctx = *state;
    char dir[512];
    icd_model *m = NULL;
    make_dir(dir, "axes");
    synthetic_bert_folder(ctx, dir, "bert.");
    assert_ok(ctx, icd_model_open(ctx, dir, &m));
    check_axes(m);
    assert_int_equal(icd_model_axis(m, "residual")->n, HIDDEN);
    assert_int_equal(icd_model_axis(m, "residual")->bindings, 5 + 12 * LAYERS + 1);
    assert_int_equal(icd_model_axis(m, "layer.1.ffn.inner")->n, INNER);
    const icd_axis *heads = icd_model_axis(m, "layer.0.heads");
    assert_int_equal(heads->n, HEADS);
    assert_int_equal(heads->binding[0].block, HIDDEN / HEADS);
    const icd_axis *v = icd_model_axis(m, "layer.1.head.2.v");
    assert_int_equal(v->bindings, 3);
    assert_int_equal(v->binding[2].dim, 1);
    assert_int_equal(v->binding[2].offset, 2 * HIDDEN / HEADS);
    assert_null(icd_model_axis(m, "layer.2.ffn.inner"));
    icd_model_free(ctx, m);
}

static void block_file(void **state)
{
    icd_ctx *ctx = *state;
    synthetic s = {.ctx = ctx};
    char dir[512], path[600];
    icd_model *m = NULL;
    make_dir(dir, "block");
    synthetic_block(&s, 10, ICD_F16);
    synthetic_block(&s, 9, ICD_F16);
    synthetic_add(&s, "input", ICD_F16, 4, HIDDEN);
    synthetic_add(&s, "layer.x.ffn.w1", ICD_F16, 4, 4);
    synthetic_write(&s, dir, NULL);
    synthetic_free(&s);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    const char *both[] = {dir, path};
    for (int i = 0; i < 2; ++i) {
        assert_ok(ctx, icd_model_open(ctx, both[i], &m));
        assert_string_equal(icd_model_arch(m), "ffn");
        assert_string_equal(icd_model_name(m), i ? "model" : "block");
        assert_string_equal(icd_model_get_config(m)->act, "relu");
        assert_int_equal(icd_model_get_config(m)->layers, 2);
        assert_int_equal(icd_model_get_config(m)->inner, INNER);
        assert_int_equal(icd_model_axes(m), 2);
        assert_string_equal(icd_model_axis_at(m, 0)->name, "layer.9.ffn.inner");
        assert_string_equal(icd_model_axis_at(m, 1)->name, "layer.10.ffn.inner");
        assert_int_equal(icd_model_tensor(m, "input")->count, 4 * HIDDEN);
        check_axes(m);
        icd_model_free(ctx, m);
    }
}

static void tensors_as_f32(void **state)
{
    icd_ctx *ctx = *state;
    char dir[512];
    icd_model *m = NULL;
    float *data = NULL;
    make_dir(dir, "f32");
    synthetic_bert_folder(ctx, dir, "");
    assert_ok(ctx, icd_model_open(ctx, dir, &m));
    assert_ok(ctx, icd_model_tensor_f32(ctx, m, "pooler.dense.bias", &data));
    assert_true(data[3] == 7003);
    icd_i_free(ctx, data);
    assert_fails(ctx, ICD_EINVAL, "no tensor 'pooler'",
                 icd_model_tensor_f32(ctx, m, "pooler", &data));
    assert_null(data);
    assert_fails(ctx, ICD_EINVAL, "I64",
                 icd_model_tensor_f32(ctx, m, "embeddings.position_ids", &data));
    icd_model_free(ctx, m);
}

static void refuse_config(icd_ctx *ctx, const char *from, const char *to,
                          icd_status status, const char *text)
{
    char dir[512], config[sizeof CONFIG + 64];
    icd_model *m = NULL;
    const char *at = strstr(CONFIG, from);
    assert_non_null(at);
    make_dir(dir, "config");
    snprintf(config, sizeof config, "%.*s%s%s", (int)(at - CONFIG), CONFIG, to,
             at + strlen(from));
    synthetic_text(ctx, dir, "config.json", config);
    assert_fails(ctx, status, text, icd_model_open(ctx, dir, &m));
    assert_null(m);
}

static void broken_configs(void **state)
{
    icd_ctx *ctx = *state;
    char dir[512];
    make_dir(dir, "config");
    synthetic_bert_folder(ctx, dir, "");
    refuse_config(ctx, "\"bert\"", "\"gptj\"", ICD_EUNSUPPORTED, "found 'gptj'");
    refuse_config(ctx, "\"model_type\"", "\"type\"", ICD_EUNSUPPORTED, "found '(none)'");
    refuse_config(ctx, "\"gelu\"", "\"silu\"", ICD_EUNSUPPORTED, "hidden_act");
    refuse_config(ctx, "\"hidden_act\"", "\"is_decoder\": true, \"hidden_act\"",
                  ICD_EUNSUPPORTED, "is_decoder");
    refuse_config(ctx, "\"hidden_act\"",
                  "\"position_embedding_type\": \"relative_key\", \"hidden_act\"",
                  ICD_EUNSUPPORTED, "relative_key");
    refuse_config(ctx, "\"vocab_size\": 11,", "", ICD_EDATA, "vocab_size");
    refuse_config(ctx, "\"vocab_size\": 11", "\"vocab_size\": 0", ICD_EDATA,
                  "vocab_size");
    refuse_config(ctx, "heads\": 3", "heads\": 5", ICD_EDATA, "no multiple");
    refuse_config(ctx, "\"vocab_size\": 11", "\"vocab_size\": 12", ICD_EDATA,
                  "tensor 'embeddings.word_embeddings.weight': found [11, 12], expected "
                  "[12, 12]");
    refuse_config(ctx, "layers\": 2", "layers\": 3", ICD_EDATA,
                  "tensor 'encoder.layer.2.attention.self.query.weight': found none");
    refuse_config(ctx, "{", "[", ICD_EDATA, "not JSON");
}

static void wrong_tensors(void **state)
{
    icd_ctx *ctx = *state;
    synthetic s = {.ctx = ctx};
    char dir[512];
    icd_model *m = NULL;
    make_dir(dir, "wrong");
    synthetic_bert(&s, "");
    s.tensor[3].dtype = ICD_I32;
    synthetic_write(&s, dir, CONFIG);
    assert_fails(ctx, ICD_EDATA, "found dtype I32", icd_model_open(ctx, dir, &m));
    s.tensor[3].dtype = ICD_F32;
    s.tensor[4].name = strcpy((char *)s.tensor[4].name, "bert.pooler.dense.bias");
    synthetic_write(&s, dir, CONFIG);
    assert_fails(ctx, ICD_EDATA, "with and without the prefix",
                 icd_model_open(ctx, dir, &m));
    assert_null(m);
    synthetic_free(&s);
}

static void wrong_blocks(void **state)
{
    icd_ctx *ctx = *state;
    synthetic s = {.ctx = ctx};
    char dir[512];
    icd_model *m = NULL;
    make_dir(dir, "wrongblock");
    synthetic_add(&s, "other", ICD_F32, 3, 0);
    synthetic_write(&s, dir, NULL);
    assert_fails(ctx, ICD_EUNSUPPORTED, "layer.N.ffn.w1", icd_model_open(ctx, dir, &m));
    synthetic_block(&s, 0, ICD_F32);
    s.tensor[2].count = s.tensor[2].shape[0] = INNER - 1;
    synthetic_write(&s, dir, NULL);
    assert_fails(ctx, ICD_EDATA, "layer.0.ffn.b1': found [19], expected [20]",
                 icd_model_open(ctx, dir, &m));
    assert_fails(ctx, ICD_EIO, "", icd_model_open(ctx, icd_test_path("nowhere"), &m));
    assert_null(m);
    synthetic_free(&s);
}

static void replaced_tensors(void **state)
{
    icd_ctx *ctx = *state;
    char dir[512];
    icd_model *m = NULL, *r = NULL;
    float data[HIDDEN] = {1, 2, 3};
    const icd_replacement with = {"pooler.dense.bias", data}, unknown = {"x", data};
    make_dir(dir, "replace");
    synthetic_bert_folder(ctx, dir, "");
    assert_ok(ctx, icd_model_open(ctx, dir, &m));
    assert_ok(ctx, icd_model_replace(ctx, m, &with, 1, &r));
    assert_string_equal(icd_model_path(r), "");
    assert_memory_equal(icd_model_tensor(r, with.name)->data, data, sizeof data);
    assert_ptr_not_equal(icd_model_tensor(r, with.name)->data, data);
    assert_ptr_equal(icd_model_tensor(r, "pooler.dense.weight")->data,
                     icd_model_tensor(m, "pooler.dense.weight")->data);
    assert_true(icd_model_hash(r) != icd_model_hash(m));
    icd_model_free(ctx, r);
    assert_fails(ctx, ICD_EINVAL, "no tensor 'x'",
                 icd_model_replace(ctx, m, &unknown, 1, &r));
    assert_null(r);
    icd_model_free(ctx, m);
}

/* What replaces a tensor of halves is of floats. */
static void replaced_halves(void **state)
{
    icd_ctx *ctx = *state;
    synthetic s = {.ctx = ctx};
    char dir[512];
    icd_model *m = NULL, *r = NULL;
    float data[INNER] = {0.1f, -2}, *out = NULL;
    const icd_replacement with = {"layer.0.ffn.b1", data};
    make_dir(dir, "replacehalves");
    synthetic_block(&s, 0, ICD_F16);
    synthetic_write(&s, dir, NULL);
    synthetic_free(&s);
    assert_ok(ctx, icd_model_open(ctx, dir, &m));
    assert_ok(ctx, icd_model_replace(ctx, m, &with, 1, &r));
    assert_ok(ctx, icd_model_tensor_f32(ctx, r, with.name, &out));
    assert_memory_equal(out, data, sizeof data);
    assert_int_equal(icd_model_tensor(m, with.name)->dtype, ICD_F16);
    icd_i_free(ctx, out);
    icd_model_free(ctx, r);
    icd_model_free(ctx, m);
}

static bool has_file(icd_ctx *ctx, const char *dir, const char *name)
{
    char *path = NULL;
    assert_ok(ctx, icd_i_path_join(ctx, dir, name, &path));
    bool found = icd_i_file_exists(path);
    icd_i_free(ctx, path);
    return found;
}

static void written_models_open_again(void **state)
{
    icd_ctx *ctx = *state;
    char dir[512], copy[512];
    icd_model *m = NULL, *again = NULL;
    make_dir(dir, "source");
    make_dir(copy, "copy/below");
    synthetic_bert_folder(ctx, dir, "bert.");
    synthetic_text(ctx, dir, "vocab.txt", "[UNK]\n");
    assert_ok(ctx, icd_model_open(ctx, dir, &m));
    assert_ok(ctx, icd_model_write(ctx, m, dir, copy));
    assert_true(has_file(ctx, copy, "vocab.txt") && has_file(ctx, copy, "icd.axes.json"));
    assert_false(has_file(ctx, copy, "tokenizer.json"));
    assert_ok(ctx, icd_model_open(ctx, copy, &again));
    assert_true(icd_model_hash(m) == icd_model_hash(again));
    check_axes(again);
    icd_model_free(ctx, again);
    icd_model_free(ctx, m);
}

static void original_names_are_written(void **state)
{
    icd_ctx *ctx = *state;
    char dir[512], copy[512], path[600];
    icd_model *m = NULL;
    icd_safetensors *file = NULL;
    make_dir(dir, "names");
    make_dir(copy, "names.copy");
    synthetic_bert_folder(ctx, dir, "bert.");
    assert_ok(ctx, icd_model_open(ctx, dir, &m));
    assert_ok(ctx, icd_model_write(ctx, m, dir, copy));
    icd_model_free(ctx, m);
    snprintf(path, sizeof path, "%s/model.safetensors", copy);
    assert_ok(ctx, icd_safetensors_open(ctx, path, &file));
    assert_non_null(icd_safetensors_get(file, "bert.pooler.dense.bias"));
    assert_non_null(icd_safetensors_get(file, "embeddings.position_ids"));
    icd_safetensors_close(ctx, file);
}

static void axes_of_another_model(void **state)
{
    icd_ctx *ctx = *state;
    char dir[512];
    icd_model *m = NULL;
    make_dir(dir, "foreign");
    synthetic_bert_folder(ctx, dir, "");
    synthetic_text(ctx, dir, "icd.axes.json",
                   "{\"version\": 1, \"axes\": {\"residual\": {\"pi\": [1, 0]}}}");
    assert_fails(ctx, ICD_EDATA, "icd.axes.json", icd_model_open(ctx, dir, &m));
    assert_null(m);
}

static void real_minilm(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m = NULL;
    const char *dir = real_model();
    if (!dir) skip_real();
    assert_ok(ctx, icd_model_open(ctx, dir, &m));
    assert_int_equal(icd_model_get_config(m)->layers, 6);
    assert_int_equal(icd_model_parameters(m), 22713216);
    assert_int_equal(icd_model_axes(m), 1 + 6 * (2 + 2 * 12));
    check_axes(m);
    icd_model_free(ctx, m);
}

static void real_block(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m = NULL;
    assert_ok(ctx,
              icd_model_open(ctx, ICD_SOURCE_DIR "/data/use-lite-ffn.safetensors", &m));
    assert_string_equal(icd_model_name(m), "use-lite-ffn");
    assert_int_equal(icd_model_get_config(m)->inner, 1536);
    assert_int_equal(icd_model_tensor(m, "input")->shape[0], 512);
    assert_int_equal(icd_model_parameters(m), 2 * 1536 * 512 + 1536 + 512);
    icd_model_free(ctx, m);
}

static icd_status open_and_write(icd_ctx *ctx, void *arg)
{
    icd_model *m = NULL, *r = NULL;
    float data[HIDDEN] = {0};
    const icd_replacement with = {"pooler.dense.bias", data};
    char copy[600];
    snprintf(copy, sizeof copy, "%s.copy", (const char *)arg);
    icd_status status = icd_model_open(ctx, arg, &m);
    if (status == ICD_OK) status = icd_model_replace(ctx, m, &with, 1, &r);
    if (status == ICD_OK) status = icd_model_write(ctx, r, arg, copy);
    icd_model_free(ctx, r);
    icd_model_free(ctx, m);
    return status;
}

static void memory_short(void **state)
{
    char dir[512];
    make_dir(dir, "memory");
    synthetic_bert_folder(*state, dir, "bert.");
    icd_test_failing_allocations(open_and_write, dir);
}

static int setup(void **state)
{
    *state = icd_ctx_new(NULL);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    icd_ctx_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bert_with_and_without_prefix),
        cmocka_unit_test(counts_of_bert),
        cmocka_unit_test(axes_of_bert),
        cmocka_unit_test(block_file),
        cmocka_unit_test(tensors_as_f32),
        cmocka_unit_test(broken_configs),
        cmocka_unit_test(wrong_tensors),
        cmocka_unit_test(wrong_blocks),
        cmocka_unit_test(replaced_tensors),
        cmocka_unit_test(replaced_halves),
        cmocka_unit_test(written_models_open_again),
        cmocka_unit_test(original_names_are_written),
        cmocka_unit_test(axes_of_another_model),
        cmocka_unit_test(real_minilm),
        cmocka_unit_test(real_block),
        cmocka_unit_test(memory_short),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
