/* What a model says about its orders must be true: replayed, undone, written, tampered
 * with, and below the heads of tasks. */
#include "synthetic.h"

#include <unistd.h>

#include "base/rng.h"

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

static icd_model *open_at(icd_ctx *ctx, const char *dir)
{
    icd_model *m = NULL;
    assert_ok(ctx, icd_model_open(ctx, dir, &m));
    return m;
}

static void put_random(icd_ctx *ctx, icd_perm_set *set, const icd_model *m,
                       const char *axis, uint64_t seed)
{
    int32_t index[64];
    icd_rng rng;
    icd_perm *p = NULL;
    int32_t n = (int32_t)icd_model_axis(m, axis)->n;
    assert_in_range(n, 2, 64);
    for (int32_t i = 0; i < n; ++i) index[i] = i;
    icd_i_rng_init(&rng, seed, 0);
    icd_i_rng_shuffle(&rng, index, n);
    assert_ok(ctx,
              icd_perm_from_array(ctx, index, n, icd_model_frame(m, axis), "random", &p));
    assert_ok(ctx, icd_perm_set_put(ctx, set, axis, p, false));
    icd_perm_free(ctx, p);
}

static icd_perm_set *new_set(icd_ctx *ctx)
{
    icd_perm_set *set = NULL;
    assert_ok(ctx, icd_perm_set_new(ctx, &set));
    return set;
}

/* All axes, from the last to the first if `backwards`. */
static icd_perm_set *random_set(icd_ctx *ctx, const icd_model *m, uint64_t seed,
                                bool backwards)
{
    icd_perm_set *set = new_set(ctx);
    int64_t n = icd_model_axes(m);
    for (int64_t i = 0; i < n; ++i) {
        int64_t a = backwards ? n - 1 - i : i;
        put_random(ctx, set, m, icd_model_axis_at(m, a)->name, seed + (uint64_t)a);
    }
    return set;
}

/* The orders that a model reports, or their inverses. */
static icd_perm_set *orders_of(icd_ctx *ctx, const icd_model *m, bool inverse)
{
    icd_perm_set *set = new_set(ctx);
    for (int64_t a = 0; a < icd_model_axes(m); ++a) {
        const char *axis = icd_model_axis_at(m, a)->name;
        const icd_perm *order = icd_model_order(m, axis);
        icd_perm *p = NULL;
        if (!order) continue;
        assert_ok(ctx, inverse ? icd_perm_inverse(ctx, order, &p)
                               : icd_perm_copy(ctx, order, &p));
        assert_ok(ctx, icd_perm_set_put(ctx, set, axis, p, false));
        icd_perm_free(ctx, p);
    }
    return set;
}

/* Applies a set and frees it. */
static icd_model *apply(icd_ctx *ctx, const icd_model *m, icd_perm_set *set)
{
    icd_model *out = NULL;
    assert_ok(ctx, icd_model_apply(ctx, m, set, &out));
    icd_perm_set_free(ctx, set);
    return out;
}

static void assert_same_model(icd_ctx *ctx, icd_model *found, const icd_model *expected)
{
    assert_true(icd_model_hash(found) == icd_model_hash(expected));
    icd_model_free(ctx, found);
}

/* Two rounds, so that the second starts from frames that are not the checkpoint's. */
static void orders_replay_and_undo(void **state)
{
    icd_ctx *ctx = *state;
    synthetic_bert_folder(ctx, icd_test_path("replay"), "");
    icd_model *m = open_at(ctx, icd_test_path("replay"));
    for (uint64_t seed = 1; seed <= 20; ++seed) {
        print_message("seed %d\n", (int)seed);
        icd_model *once = apply(ctx, m, random_set(ctx, m, seed, false));
        icd_model *twice = apply(ctx, once, random_set(ctx, once, seed + 1000, true));
        assert_true(icd_model_hash(once) != icd_model_hash(m));
        assert_same_model(ctx, apply(ctx, m, orders_of(ctx, twice, false)), twice);
        assert_same_model(ctx, apply(ctx, twice, orders_of(ctx, twice, true)), m);
        icd_model_free(ctx, twice);
        icd_model_free(ctx, once);
    }
    icd_model_free(ctx, m);
}

static void entries_may_come_in_any_order(void **state)
{
    icd_ctx *ctx = *state;
    synthetic_bert_folder(ctx, icd_test_path("any"), "");
    icd_model *m = open_at(ctx, icd_test_path("any"));
    icd_model *forwards = apply(ctx, m, random_set(ctx, m, 5, false));
    assert_same_model(ctx, apply(ctx, m, random_set(ctx, m, 5, true)), forwards);
    icd_model_free(ctx, forwards);
    icd_model_free(ctx, m);
}

/* head.0 is the checkpoint's head 0 wherever it stands. */
static void axes_of_a_head_follow_it(void **state)
{
    icd_ctx *ctx = *state;
    const int32_t move[HEADS] = {2, 0, 1};
    icd_perm *p = NULL;
    icd_perm_set *heads = new_set(ctx), *inside = new_set(ctx);
    synthetic_bert_folder(ctx, icd_test_path("follow"), "");
    icd_model *m = open_at(ctx, icd_test_path("follow"));
    put_random(ctx, inside, m, "layer.1.head.0.v", 3);
    assert_ok(ctx, icd_perm_from_array(ctx, move, HEADS, 0, "move", &p));
    assert_ok(ctx, icd_perm_set_put(ctx, heads, "layer.1.heads", p, false));
    icd_model *moved = apply(ctx, m, heads);
    const icd_axis *v = icd_model_axis(moved, "layer.1.head.0.v");
    assert_int_equal(v->binding[0].offset, HIDDEN / HEADS);
    assert_int_equal(icd_model_axis(moved, "layer.1.head.2.qk")->binding[0].offset, 0);
    assert_int_equal(icd_model_axis(moved, "layer.0.head.0.v")->binding[0].offset, 0);
    assert_int_equal(icd_model_axis(m, "layer.1.head.0.v")->binding[0].offset, 0);

    icd_model *both = apply(ctx, moved, inside);
    const float *from = icd_model_tensor(m, v->binding[0].tensor)->data;
    const float *to = icd_model_tensor(both, v->binding[0].tensor)->data;
    const icd_perm *order = icd_model_order(both, "layer.1.head.0.v");
    for (int32_t k = 0; k < HIDDEN / HEADS; ++k)
        assert_memory_equal(to + (HIDDEN / HEADS + k) * HIDDEN,
                            from + order->old_of_new[k] * HIDDEN, HIDDEN * sizeof *to);
    icd_model_free(ctx, both);
    icd_model_free(ctx, moved);
    icd_model_free(ctx, m);
    icd_perm_free(ctx, p);
}

/* Writes a permuted model and returns it, opened again. */
static icd_model *write_permuted(icd_ctx *ctx, const char *source, const char *dir)
{
    icd_model *m = open_at(ctx, source);
    icd_model *applied = apply(ctx, m, random_set(ctx, m, 11, false));
    assert_ok(ctx, icd_model_write(ctx, applied, source, dir));
    icd_model *again = open_at(ctx, dir);
    assert_true(icd_model_hash(again) == icd_model_hash(applied));
    for (int64_t a = 0; a < icd_model_axes(m); ++a) {
        const icd_axis *x = icd_model_axis_at(again, a);
        const icd_axis *y = icd_model_axis_at(applied, a);
        assert_true(icd_model_frame(again, x->name) == icd_model_frame(applied, y->name));
        assert_int_equal(x->binding[0].offset, y->binding[0].offset);
    }
    assert_same_model(ctx, apply(ctx, again, orders_of(ctx, again, true)), m);
    icd_model_free(ctx, applied);
    icd_model_free(ctx, m);
    return again;
}

static void written_orders_come_back(void **state)
{
    icd_ctx *ctx = *state;
    char source[512], dir[512];
    snprintf(source, sizeof source, "%s", icd_test_path("orders-in"));
    snprintf(dir, sizeof dir, "%s", icd_test_path("orders-out"));
    synthetic_bert_folder(ctx, source, "bert.");
    icd_model_free(ctx, write_permuted(ctx, source, dir));
}

static void single_file_finds_its_orders(void **state)
{
    icd_ctx *ctx = *state;
    synthetic s = {.ctx = ctx};
    char source[512], file[560];
    snprintf(source, sizeof source, "%s", icd_test_path("block-in"));
    snprintf(file, sizeof file, "%s/model.safetensors", icd_test_path("block-out"));
    synthetic_block(&s, 1, ICD_F16);
    synthetic_write(&s, source, NULL);
    synthetic_free(&s);
    icd_model *folder = write_permuted(ctx, source, icd_test_path("block-out"));
    icd_model *single = open_at(ctx, file);
    assert_true(icd_model_frame(single, "layer.1.ffn.inner") != ICD_FRAME_CHECKPOINT);
    assert_true(icd_model_frame(single, "layer.1.ffn.inner") ==
                icd_model_frame(folder, "layer.1.ffn.inner"));
    icd_model_free(ctx, single);
    icd_model_free(ctx, folder);
}

static void refuse_folder(icd_ctx *ctx, const char *dir, const char *text)
{
    icd_model *m = NULL;
    assert_fails(ctx, ICD_EDATA, text, icd_model_open(ctx, dir, &m));
    assert_null(m);
}

/* As a kill between the two files leaves them, or a careless hand. */
static void orders_of_other_weights(void **state)
{
    icd_ctx *ctx = *state;
    char source[512], dir[512], orders[560];
    snprintf(source, sizeof source, "%s", icd_test_path("other-in"));
    snprintf(dir, sizeof dir, "%s", icd_test_path("other-out"));
    snprintf(orders, sizeof orders, "%s/icd.axes.json", dir);
    synthetic_bert_folder(ctx, source, "");
    icd_model_free(ctx, write_permuted(ctx, source, dir));
    synthetic_text(ctx, dir, "icd.axes.json", "{\"version\": 1, \"axes\": {}}\n");
    refuse_folder(ctx, dir, "icd.axes.json: its hash is");
    assert_int_equal(unlink(orders), 0);
    refuse_folder(ctx, dir, "it is missing");
    icd_model_free(ctx, write_permuted(ctx, source, dir));
    synthetic_bert_folder(ctx, dir, "");
    refuse_folder(ctx, dir, "were written with none");
}

static const char TOKENS[] =
    "{\"model_type\": \"bert\", \"num_hidden_layers\": 2, \"hidden_size\": 12,"
    " \"intermediate_size\": 20, \"num_attention_heads\": 3, \"vocab_size\": 11,"
    " \"max_position_embeddings\": 7, \"type_vocab_size\": 2,"
    " \"architectures\": [\"BertForTokenClassification\"],"
    " \"layer_norm_eps\": 1e-12, \"hidden_act\": \"gelu\"}";

/* A folder with a model below a head of the named tensor. */
static icd_model *open_with(icd_ctx *ctx, const char *config, const char *name,
                            int64_t rows, int64_t columns)
{
    synthetic s = {.ctx = ctx};
    synthetic_bert(&s, "bert.");
    synthetic_add(&s, name, ICD_F32, rows, columns);
    synthetic_write(&s, icd_test_path("task"), config);
    synthetic_free(&s);
    return open_at(ctx, icd_test_path("task"));
}

/* Element (r, c) of a head's tensor after the residual axis was permuted. */
static void check_task(icd_ctx *ctx, const char *config, const char *name, int64_t rows,
                       int64_t columns, bool on_rows, bool on_columns)
{
    icd_model *m = open_with(ctx, config, name, rows, columns);
    icd_perm_set *set = new_set(ctx);
    put_random(ctx, set, m, "residual", 7);
    icd_model *r = apply(ctx, m, set);
    const int32_t *pi = icd_model_order(r, "residual")->old_of_new;
    const float *from = icd_model_tensor(m, name)->data;
    const float *to = icd_model_tensor(r, name)->data;
    int64_t wide = columns ? columns : 1;
    for (int64_t i = 0; i < rows * wide; ++i) {
        int64_t row = on_rows ? pi[i / wide] : i / wide;
        int64_t column = on_columns ? pi[i % wide] : i % wide;
        assert_true(to[i] == from[row * wide + column]);
    }
    icd_model_free(ctx, r);
    icd_model_free(ctx, m);
}

static void heads_of_tasks_are_bound(void **state)
{
    icd_ctx *ctx = *state;
    static const char TRANSFORM[] = "cls.predictions.transform";
    char name[128];
    snprintf(name, sizeof name, "%s.dense.weight", TRANSFORM);
    check_task(ctx, CONFIG, name, HIDDEN, HIDDEN, true, true);
    snprintf(name, sizeof name, "%s.dense.bias", TRANSFORM);
    check_task(ctx, CONFIG, name, HIDDEN, 0, true, false);
    snprintf(name, sizeof name, "%s.LayerNorm.weight", TRANSFORM);
    check_task(ctx, CONFIG, name, HIDDEN, 0, true, false);
    check_task(ctx, CONFIG, "cls.predictions.decoder.weight", VOCAB, HIDDEN, false, true);
    check_task(ctx, CONFIG, "cls.predictions.bias", VOCAB, 0, false, false);
    check_task(ctx, CONFIG, "cls.seq_relationship.weight", 2, HIDDEN, false, false);
    check_task(ctx, CONFIG, "qa_outputs.weight", 2, HIDDEN, false, true);
    check_task(ctx, CONFIG, "classifier.weight", 2, HIDDEN, false, false);
    check_task(ctx, TOKENS, "classifier.weight", 2, HIDDEN, false, true);
}

static void head_of_a_wrong_shape(void **state)
{
    icd_ctx *ctx = *state;
    synthetic s = {.ctx = ctx};
    synthetic_bert(&s, "bert.");
    synthetic_add(&s, "qa_outputs.weight", ICD_F32, 2, HIDDEN + 1);
    synthetic_write(&s, icd_test_path("task"), CONFIG);
    synthetic_free(&s);
    refuse_folder(ctx, icd_test_path("task"),
                  "tensor 'qa_outputs.weight': found [2, 13], expected [2, 12]");
}

static void keep_warning(void *user, const char *message)
{
    snprintf(user, 512, "%s", message);
}

static void unknown_tensor_withdraws_the_residual(void **state)
{
    icd_ctx *ctx = *state;
    char warning[512] = "";
    icd_ctx_on_warning(ctx, keep_warning, warning);
    icd_model *m = open_with(ctx, CONFIG, "adapter.down.weight", 4, HIDDEN);
    icd_ctx_on_warning(ctx, NULL, NULL);
    assert_non_null(strstr(warning, "adapter.down.weight"));
    assert_null(icd_model_axis(m, "residual"));
    assert_non_null(icd_model_axis(m, "layer.0.ffn.inner"));
    assert_non_null(icd_model_axis(m, "layer.1.heads"));
    icd_model_free(ctx, m);
}

/* Renames "...LayerNorm.weight" to gamma and "...LayerNorm.bias" to beta. */
static void use_old_names(synthetic *s)
{
    for (int64_t i = 0; i < s->count; ++i) {
        char *norm = strstr((char *)(uintptr_t)s->tensor[i].name, "LayerNorm.");
        if (norm) strcpy(norm + 10, norm[10] == 'w' ? "gamma" : "beta");
    }
}

static void old_names_of_norms(void **state)
{
    icd_ctx *ctx = *state;
    synthetic s = {.ctx = ctx};
    icd_safetensors *file = NULL;
    char dir[512], path[560];
    snprintf(dir, sizeof dir, "%s", icd_test_path("old"));
    snprintf(path, sizeof path, "%s/model.safetensors", icd_test_path("old-out"));
    synthetic_bert(&s, "bert.");
    use_old_names(&s);
    synthetic_write(&s, dir, CONFIG);
    synthetic_free(&s);
    icd_model *m = open_at(ctx, dir);
    assert_non_null(icd_model_tensor(m, "embeddings.LayerNorm.weight"));
    assert_non_null(icd_model_tensor(m, "encoder.layer.1.output.LayerNorm.bias"));
    assert_ok(ctx, icd_model_write(ctx, m, dir, icd_test_path("old-out")));
    assert_ok(ctx, icd_safetensors_open(ctx, path, &file));
    assert_non_null(icd_safetensors_get(file, "bert.embeddings.LayerNorm.gamma"));
    assert_string_equal(icd_safetensors_metadata(file, "format"), "pt");
    assert_null(icd_safetensors_metadata(file, "other"));
    icd_safetensors_close(ctx, file);
    icd_model_free(ctx, m);
}

static icd_status open_and_write(icd_ctx *ctx, void *arg)
{
    const char *const *dir = arg;
    icd_model *m = NULL, *again = NULL;
    icd_status status = icd_model_open(ctx, dir[0], &m);
    if (status == ICD_OK) status = icd_model_write(ctx, m, dir[0], dir[1]);
    if (status == ICD_OK) status = icd_model_open(ctx, dir[1], &again);
    icd_model_free(ctx, again);
    icd_model_free(ctx, m);
    return status;
}

/* From a folder with orders of every kind. */
static void memory_short(void **state)
{
    icd_ctx *ctx = *state;
    char in[512], permuted[512], out[512];
    const char *dir[] = {permuted, out};
    snprintf(in, sizeof in, "%s", icd_test_path("short-in"));
    snprintf(permuted, sizeof permuted, "%s", icd_test_path("short-permuted"));
    snprintf(out, sizeof out, "%s", icd_test_path("short-out"));
    synthetic_bert_folder(ctx, in, "bert.");
    icd_model_free(ctx, write_permuted(ctx, in, permuted));
    icd_test_failing_allocations(open_and_write, dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(orders_replay_and_undo, setup, teardown),
        cmocka_unit_test_setup_teardown(entries_may_come_in_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(axes_of_a_head_follow_it, setup, teardown),
        cmocka_unit_test_setup_teardown(written_orders_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(single_file_finds_its_orders, setup, teardown),
        cmocka_unit_test_setup_teardown(orders_of_other_weights, setup, teardown),
        cmocka_unit_test_setup_teardown(heads_of_tasks_are_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(head_of_a_wrong_shape, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_tensor_withdraws_the_residual, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(old_names_of_norms, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_short, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
