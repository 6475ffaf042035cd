/* A permuted model is the same function, its tensors are the same bits elsewhere, and
 * nothing is applied to an order it was not solved for. */
#include "forward.h"

#include "base/rng.h"

static icd_model *open_bert(icd_ctx *ctx, const char *name, uint64_t seed)
{
    synthetic s = {.ctx = ctx};
    char dir[512];
    icd_rng rng;
    icd_model *m = NULL;
    snprintf(dir, sizeof dir, "%s", icd_test_path(name));
    icd_i_rng_init(&rng, seed, 0);
    synthetic_bert(&s, "");
    for (int64_t i = 0; i < s.count; ++i)
        for (int64_t k = 0; s.tensor[i].dtype == ICD_F32 && k < s.tensor[i].count; ++k)
            ((float *)s.tensor[i].data)[k] = (float)(icd_i_rng_normal(&rng) * 0.5);
    synthetic_write(&s, dir, CONFIG);
    synthetic_free(&s);
    assert_ok(ctx, icd_model_open(ctx, dir, &m));
    return m;
}

/* A random permutation of an axis, from the frame in which it stands, joins a set. */
static void put_random(icd_ctx *ctx, const icd_model *m, const char *axis, icd_rng *rng,
                       icd_perm_set *set)
{
    int32_t pi[2048];
    icd_perm *p = NULL;
    int64_t n = icd_model_axis(m, axis)->n;
    assert_true(n <= 2048);
    for (int64_t k = 0; k < n; ++k) pi[k] = (int32_t)k;
    icd_i_rng_shuffle(rng, pi, n);
    assert_ok(ctx, icd_perm_from_array(ctx, pi, n, icd_model_frame(m, axis), "test", &p));
    assert_ok(ctx, icd_perm_set_put(ctx, set, axis, p, false));
    icd_perm_free(ctx, p);
}

static icd_perm_set *random_set(icd_ctx *ctx, const icd_model *m, uint64_t seed,
                                uint32_t one_in)
{
    icd_perm_set *set = NULL;
    icd_rng rng;
    icd_i_rng_init(&rng, seed, 1);
    assert_ok(ctx, icd_perm_set_new(ctx, &set));
    for (int64_t a = 0; a < icd_model_axes(m); ++a)
        if (icd_i_rng_below(&rng, one_in) == 0)
            put_random(ctx, m, icd_model_axis_at(m, a)->name, &rng, set);
    return set;
}

/* All orders of a model, backwards. */
static icd_perm_set *undo_set(icd_ctx *ctx, const icd_model *m)
{
    icd_perm_set *set = NULL;
    assert_ok(ctx, icd_perm_set_new(ctx, &set));
    for (int64_t a = 0; a < icd_model_axes(m); ++a) {
        const char *name = icd_model_axis_at(m, a)->name;
        icd_perm *back = NULL;
        if (!icd_model_order(m, name)) continue;
        assert_ok(ctx, icd_perm_inverse(ctx, icd_model_order(m, name), &back));
        assert_ok(ctx, icd_perm_set_put(ctx, set, name, back, false));
        icd_perm_free(ctx, back);
    }
    return set;
}

static void expect_checkpoint(const icd_model *m, uint64_t hash)
{
    assert_true(icd_model_hash(m) == hash);
    for (int64_t a = 0; a < icd_model_axes(m); ++a) {
        const char *name = icd_model_axis_at(m, a)->name;
        assert_null(icd_model_order(m, name));
        assert_true(icd_model_frame(m, name) == ICD_FRAME_CHECKPOINT);
    }
}

/* The hidden state of `m` is that of `source` in the order of its residual axis. */
static void expect_same_function(const icd_model *source, const icd_model *m)
{
    token_rows x, y;
    double pooled[2][HIDDEN];
    const icd_perm *residual = icd_model_order(m, "residual");
    forward(source, x, pooled[0]);
    forward(m, y, pooled[1]);
    for (int t = 0; t < TOKENS; ++t)
        for (int c = 0; c < HIDDEN; ++c)
            assert_near(y[t][c], x[t][residual ? residual->old_of_new[c] : c], 1e-9);
    for (int c = 0; c < HIDDEN; ++c) assert_near(pooled[1][c], pooled[0][c], 1e-9);
}

static void same_function(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m = open_bert(ctx, "function", 1);
    uint64_t hash = icd_model_hash(m);
    for (uint64_t seed = 0; seed < 20; ++seed) {
        icd_model *applied = NULL, *back = NULL;
        icd_perm_set *set = random_set(ctx, m, seed, 1 + (uint32_t)seed % 3);
        print_message("seed %d: %d axes\n", (int)seed, (int)set->count);
        assert_ok(ctx, icd_model_apply(ctx, m, set, &applied));
        assert_true(set->count == 0 || icd_model_hash(applied) != hash);
        expect_same_function(m, applied);
        icd_perm_set *undo = undo_set(ctx, applied);
        assert_ok(ctx, icd_model_apply(ctx, applied, undo, &back));
        expect_checkpoint(back, hash);
        icd_model_free(ctx, back);
        icd_model_free(ctx, applied);
        icd_perm_set_free(ctx, undo);
        icd_perm_set_free(ctx, set);
    }
    icd_model_free(ctx, m);
}

/* Each axis by itself: a binding that is missing cannot hide behind another. */
static void each_axis_alone(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m = open_bert(ctx, "alone", 2);
    icd_rng rng;
    icd_i_rng_init(&rng, 3, 3);
    for (int64_t a = 0; a < icd_model_axes(m); ++a) {
        const char *name = icd_model_axis_at(m, a)->name;
        icd_model *applied = NULL;
        icd_perm_set *set = NULL;
        assert_ok(ctx, icd_perm_set_new(ctx, &set));
        put_random(ctx, m, name, &rng, set);
        assert_ok(ctx, icd_model_apply(ctx, m, set, &applied));
        expect_same_function(m, applied);
        assert_true(icd_model_frame(applied, name) == set->entry[0].perm->to);
        icd_model_free(ctx, applied);
        icd_perm_set_free(ctx, set);
    }
    icd_model_free(ctx, m);
}

/* Orders accumulate over several applications, also where heads moved in between. */
static void several_times(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m[5] = {open_bert(ctx, "several", 4)};
    uint64_t hash = icd_model_hash(m[0]);
    for (int i = 1; i < 4; ++i) {
        icd_perm_set *set = random_set(ctx, m[i - 1], (uint64_t)i, 2);
        assert_ok(ctx, icd_model_apply(ctx, m[i - 1], set, &m[i]));
        expect_same_function(m[0], m[i]);
        icd_perm_set_free(ctx, set);
    }
    icd_perm_set *undo = undo_set(ctx, m[3]);
    assert_ok(ctx, icd_model_apply(ctx, m[3], undo, &m[4]));
    expect_checkpoint(m[4], hash);
    icd_perm_set_free(ctx, undo);
    for (int i = 4; i >= 0; --i) icd_model_free(ctx, m[i]);
}

static void composed_at_once(void **state)
{
    icd_ctx *ctx = *state;
    static const char AXIS[] = "layer.1.ffn.inner";
    icd_model *m = open_bert(ctx, "composed", 5), *one = NULL, *two = NULL, *both = NULL;
    icd_perm_set *first = NULL, *second = NULL, *whole = NULL;
    icd_rng rng;
    icd_i_rng_init(&rng, 6, 6);
    assert_ok(ctx, icd_perm_set_new(ctx, &first));
    assert_ok(ctx, icd_perm_set_new(ctx, &second));
    assert_ok(ctx, icd_perm_set_new(ctx, &whole));
    put_random(ctx, m, AXIS, &rng, first);
    assert_ok(ctx, icd_model_apply(ctx, m, first, &one));
    put_random(ctx, one, AXIS, &rng, second);
    assert_ok(ctx, icd_model_apply(ctx, one, second, &two));
    const icd_perm *order = icd_model_order(two, AXIS);
    assert_true(order->from == ICD_FRAME_CHECKPOINT);
    assert_true(icd_model_frame(two, AXIS) == second->entry[0].perm->to);
    assert_ok(ctx, icd_perm_set_put(ctx, whole, AXIS, order, false));
    assert_ok(ctx, icd_model_apply(ctx, m, whole, &both));
    assert_true(icd_model_hash(both) == icd_model_hash(two));
    icd_model *all[] = {both, two, one, m};
    for (int i = 0; i < 4; ++i) icd_model_free(ctx, all[i]);
    icd_perm_set_free(ctx, first);
    icd_perm_set_free(ctx, second);
    icd_perm_set_free(ctx, whole);
}

/* An explicit order: a random one of four is the identity too often to test anything. */
static void put_order(icd_ctx *ctx, icd_perm_set *set, const char *axis,
                      const int32_t *pi, int64_t n)
{
    icd_perm *p = NULL;
    assert_ok(ctx, icd_perm_from_array(ctx, pi, n, ICD_FRAME_CHECKPOINT, axis, &p));
    assert_ok(ctx, icd_perm_set_put(ctx, set, axis, p, false));
    icd_perm_free(ctx, p);
}

static void orders_within_heads_stay_with_their_head(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m = open_bert(ctx, "heads", 7), *applied = NULL;
    icd_perm_set *set = NULL;
    const int32_t turn[HEADS] = {2, 0, 1}, within[HIDDEN / HEADS] = {1, 3, 0, 2};
    assert_ok(ctx, icd_perm_set_new(ctx, &set));
    put_order(ctx, set, "layer.0.heads", turn, HEADS);
    put_order(ctx, set, "layer.0.head.2.qk", within, HIDDEN / HEADS);
    assert_ok(ctx, icd_model_apply(ctx, m, set, &applied));
    expect_same_function(m, applied);
    assert_true(icd_model_frame(applied, "layer.0.head.2.qk") ==
                icd_perm_set_get(set, "layer.0.head.2.qk")->to);
    assert_null(icd_model_order(applied, "layer.0.head.0.qk"));
    assert_null(icd_model_order(applied, "layer.0.head.2.v"));
    icd_perm_set_free(ctx, set);
    icd_model_free(ctx, applied);
    icd_model_free(ctx, m);
}

static void orders_survive_a_round_trip(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m = open_bert(ctx, "trip", 9), *one = NULL, *two = NULL, *read = NULL;
    icd_model *back = NULL;
    char dir[512];
    icd_perm_set *first = random_set(ctx, m, 10, 2);
    snprintf(dir, sizeof dir, "%s", icd_test_path("trip.out"));
    assert_ok(ctx, icd_model_apply(ctx, m, first, &one));
    icd_perm_set *second = random_set(ctx, one, 11, 2);
    assert_ok(ctx, icd_model_apply(ctx, one, second, &two));
    assert_ok(ctx, icd_model_write(ctx, two, icd_model_path(m), dir));
    assert_ok(ctx, icd_model_open(ctx, dir, &read));
    assert_true(icd_model_hash(read) == icd_model_hash(two));
    for (int64_t a = 0; a < icd_model_axes(m); ++a) {
        const char *name = icd_model_axis_at(m, a)->name;
        assert_true(icd_model_frame(read, name) == icd_model_frame(two, name));
    }
    icd_perm_set *undo = undo_set(ctx, read);
    assert_ok(ctx, icd_model_apply(ctx, read, undo, &back));
    expect_checkpoint(back, icd_model_hash(m));
    icd_model *all[] = {back, read, two, one, m};
    for (int i = 0; i < 5; ++i) icd_model_free(ctx, all[i]);
    icd_perm_set_free(ctx, undo);
    icd_perm_set_free(ctx, first);
    icd_perm_set_free(ctx, second);
}

static void refuse_entry(icd_ctx *ctx, const icd_model *m, const char *axis, int64_t n,
                         uint64_t from, bool local, const char *text)
{
    icd_perm_set *set = NULL;
    icd_perm *p = NULL;
    icd_model *applied = NULL;
    assert_ok(ctx, icd_perm_set_new(ctx, &set));
    assert_ok(ctx, icd_perm_identity(ctx, n, from, &p));
    assert_ok(ctx, icd_perm_set_put(ctx, set, axis, p, local));
    assert_fails(ctx, ICD_EINVAL, text, icd_model_apply(ctx, m, set, &applied));
    assert_null(applied);
    icd_perm_free(ctx, p);
    icd_perm_set_free(ctx, set);
}

static void what_does_not_fit_is_refused(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m = open_bert(ctx, "refuse", 12), *once = NULL, *twice = NULL;
    refuse_entry(ctx, m, "residual", HIDDEN, 0, true, "local order");
    refuse_entry(ctx, m, "layer.1.fnn.inner", INNER, 0, false,
                 "did you mean 'layer.1.ffn.inner'?");
    refuse_entry(ctx, m, "zzz", INNER, 0, false, "no axis 'zzz'");
    refuse_entry(ctx, m, "residual", HIDDEN - 1, 0, false, "the axis has 12");
    refuse_entry(ctx, m, "residual", HIDDEN, 5, false, "frame 0000000000000005");
    icd_perm_set *set = random_set(ctx, m, 13, 1);
    assert_ok(ctx, icd_model_apply(ctx, m, set, &once));
    assert_fails(ctx, ICD_EINVAL, "applied already",
                 icd_model_apply(ctx, once, set, &twice));
    assert_null(twice);
    icd_perm_set_free(ctx, set);
    icd_model_free(ctx, once);
    icd_model_free(ctx, m);
}

static void untouched_tensors_stay_views(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m = open_bert(ctx, "views", 14), *applied = NULL;
    icd_perm_set *set = NULL;
    icd_rng rng;
    icd_i_rng_init(&rng, 15, 15);
    assert_ok(ctx, icd_perm_set_new(ctx, &set));
    put_random(ctx, m, "layer.0.ffn.inner", &rng, set);
    assert_ok(ctx, icd_model_apply(ctx, m, set, &applied));
    assert_string_equal(icd_model_path(applied), "");
    assert_ptr_equal(weight(m, "pooler.dense.weight"),
                     weight(applied, "pooler.dense.weight"));
    assert_ptr_equal(part(m, 1, "output.dense.weight"),
                     part(applied, 1, "output.dense.weight"));
    assert_ptr_not_equal(part(m, 0, "output.dense.weight"),
                         part(applied, 0, "output.dense.weight"));
    icd_perm_set_free(ctx, set);
    icd_model_free(ctx, applied);
    icd_model_free(ctx, m);
}

/* Half precision, element by element: w1 and b1 by rows, w2 by columns. */
static void block_of_halves(void **state)
{
    icd_ctx *ctx = *state;
    synthetic s = {.ctx = ctx};
    char dir[512];
    icd_model *m = NULL, *applied = NULL;
    snprintf(dir, sizeof dir, "%s", icd_test_path("halves"));
    synthetic_block(&s, 4, ICD_F16);
    synthetic_write(&s, dir, NULL);
    synthetic_free(&s);
    assert_ok(ctx, icd_model_open(ctx, dir, &m));
    icd_perm_set *set = random_set(ctx, m, 16, 1);
    assert_ok(ctx, icd_model_apply(ctx, m, set, &applied));
    const int32_t *pi = set->entry[0].perm->old_of_new;
    const char *name[3] = {"layer.4.ffn.w1", "layer.4.ffn.b1", "layer.4.ffn.w2"};
    const uint16_t *old[3], *new[3];
    for (int i = 0; i < 3; ++i) {
        old[i] = icd_model_tensor(m, name[i])->data;
        new[i] = icd_model_tensor(applied, name[i])->data;
    }
    for (int k = 0; k < INNER; ++k) {
        assert_int_equal(new[1][k], old[1][pi[k]]);
        for (int c = 0; c < HIDDEN; ++c) {
            assert_int_equal(new[0][k * HIDDEN + c], old[0][pi[k] * HIDDEN + c]);
            assert_int_equal(new[2][c * INNER + k], old[2][c * INNER + pi[k]]);
        }
    }
    icd_perm_set_free(ctx, set);
    icd_model_free(ctx, applied);
    icd_model_free(ctx, m);
}

static void an_empty_set_changes_nothing(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m = open_bert(ctx, "nothing", 17), *applied = NULL;
    icd_perm_set *set = NULL;
    assert_ok(ctx, icd_perm_set_new(ctx, &set));
    assert_ok(ctx, icd_model_apply(ctx, m, set, &applied));
    expect_checkpoint(applied, icd_model_hash(m));
    icd_perm_set_free(ctx, set);
    icd_model_free(ctx, applied);
    icd_model_free(ctx, m);
}

static void real_minilm(void **state)
{
    icd_ctx *ctx = *state;
    icd_model *m = NULL, *applied = NULL, *back = NULL;
    if (!real_model()) skip_real();
    assert_ok(ctx, icd_model_open(ctx, real_model(), &m));
    uint64_t hash = icd_model_hash(m);
    icd_perm_set *set = random_set(ctx, m, 18, 1);
    assert_ok(ctx, icd_model_apply(ctx, m, set, &applied));
    icd_perm_set *undo = undo_set(ctx, applied);
    assert_ok(ctx, icd_model_apply(ctx, applied, undo, &back));
    expect_checkpoint(back, hash);
    icd_perm_set_free(ctx, undo);
    icd_perm_set_free(ctx, set);
    icd_model_free(ctx, back);
    icd_model_free(ctx, applied);
    icd_model_free(ctx, m);
}

typedef struct shortage {
    char dir[512];
    icd_perm_set *set;
} shortage;

static icd_status open_and_apply(icd_ctx *ctx, void *arg)
{
    shortage *s = arg;
    icd_model *m = NULL, *applied = NULL, *again = NULL;
    icd_status status = icd_model_open(ctx, s->dir, &m);
    if (status == ICD_OK) status = icd_model_apply(ctx, m, s->set, &applied);
    if (status == ICD_OK)
        status = icd_model_apply(ctx, applied, &(icd_perm_set){0}, &again);
    if (status != ICD_OK) assert_null(again);
    icd_model_free(ctx, again);
    icd_model_free(ctx, applied);
    icd_model_free(ctx, m);
    return status;
}

static void memory_short(void **state)
{
    icd_ctx *ctx = *state;
    shortage s;
    icd_model *m = open_bert(ctx, "shortage", 19);
    snprintf(s.dir, sizeof s.dir, "%s", icd_model_path(m));
    s.set = random_set(ctx, m, 20, 2);
    icd_test_failing_allocations(open_and_apply, &s);
    icd_perm_set_free(ctx, s.set);
    icd_model_free(ctx, m);
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
        cmocka_unit_test(same_function),
        cmocka_unit_test(each_axis_alone),
        cmocka_unit_test(several_times),
        cmocka_unit_test(composed_at_once),
        cmocka_unit_test(orders_within_heads_stay_with_their_head),
        cmocka_unit_test(orders_survive_a_round_trip),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(untouched_tensors_stay_views),
        cmocka_unit_test(block_of_halves),
        cmocka_unit_test(an_empty_set_changes_nothing),
        cmocka_unit_test(real_minilm),
        cmocka_unit_test(memory_short),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
