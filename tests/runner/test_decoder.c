/* The decoder against transformers (data/llama_*) and its definition; its cache. */
#include "generative.h"
#include "llama.h"

#include "core/kv.h"

static icd_ctx *ctx;
static icd_model *model;
static icd_batch batch;

static int set_up(void **state)
{
    (void)state;
    ctx = small_ctx(2);
    model = small_llama(ctx, &LLAMA, 1);
    batch = llama_batch(&LLAMA, 4, 21, 2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    small_batch_release(&batch);
    icd_model_free(ctx, model);
    icd_ctx_free(ctx);
    return 0;
}

static void compare_with_oracle(const char *name)
{
    char path[512], archive[64];
    icd_model *m = NULL;
    icd_output out;
    int64_t shape[4];
    int32_t id[256];
    snprintf(path, sizeof path, "%s/%s", ICD_TEST_DATA, name);
    snprintf(archive, sizeof archive, "%s/oracle", name);
    assert_ok(ctx, icd_model_open(ctx, path, &m));
    float *ids = oracle(ctx, archive, "ids", shape);
    assert_true(shape[0] * shape[1] <= 256);
    for (int64_t i = 0; i < shape[0] * shape[1]; i++) id[i] = (int32_t)ids[i];
    icd_batch b = {.ids = id, .batch = shape[0], .seq = shape[1]};
    icd_runner *runner = runner_of(ctx, m, ICD_RUN_F32, ICD_PHASE_PREFILL, &b);
    float *hidden = oracle(ctx, archive, "hidden", shape),
          *logits = oracle(ctx, archive, "logits", shape);
    assert_ok(ctx, icd_runner_step(ctx, runner, &b, &out));
    assert_int_equal(shape[2], icd_runner_outputs(runner));
    float *found = logits_of(ctx, runner, out.tokens);
    double a = relative_gap(out.hidden, hidden, out.tokens * out.width),
           c = relative_gap(found, logits, out.tokens * shape[2]);
    print_message("%s: largest relative error: hidden %.2g, logits %.2g\n", name, a, c);
    assert_true(a <= 1e-5 && c <= 1e-5);
    icd_runner_free(ctx, runner);
    icd_model_free(ctx, m);
    free(ids);
    free(found);
    free(hidden);
    free(logits);
}

static void test_transformers(void **state)
{
    (void)state;
    compare_with_oracle("llama_gqa");
    compare_with_oracle("llama_tied");
}

/* e to the mean surprise at each next token. */
static double perplexity(icd_runner *runner, const icd_batch *b)
{
    int64_t vocab = icd_runner_outputs(runner), count = 0;
    float *logits = logits_of(ctx, runner, b->batch * b->seq);
    double sum = 0;
    for (int64_t t = 0; t < b->batch * b->seq; t++) {
        const float *row = logits + t * vocab;
        double total = 0;
        if (t % b->seq == b->seq - 1) continue;
        for (int64_t i = 0; i < vocab; i++)
            total += exp((double)row[i] - (double)row[b->ids[t + 1]]);
        sum += log(total);
        count++;
    }
    free(logits);
    return exp(sum / (double)count);
}

/* SmolLM2-135M, if it was fetched (tests/data/make_smollm2_oracle.py). */
static void test_smollm2(void **state)
{
    (void)state;
    static const char FOLDER[] = ICD_SOURCE_DIR "/.cache/models/smollm2-135m";
    icd_model *real = NULL;
    icd_output out;
    int64_t shape[4], some[4];
    int32_t id[64];
    double gap = 0;
    if (!icd_i_file_exists(ICD_SOURCE_DIR "/.cache/models/smollm2-135m/config.json")) {
        print_message("skipped: SmolLM2 is not here (tools/fetch_model.sh smollm2)\n");
        skip();
    }
    float *ids = oracle(ctx, "smollm2_oracle", "ids", shape),
          *hidden = oracle(ctx, "smollm2_oracle", "hidden", some),
          *expected = oracle(ctx, "smollm2_oracle", "perplexity", (int64_t[4]){0});
    for (int64_t i = 0; i < shape[0] * shape[1]; i++) id[i] = (int32_t)ids[i];
    icd_batch b = {.ids = id, .batch = shape[0], .seq = shape[1]};
    assert_ok(ctx, icd_model_open(ctx, FOLDER, &real));
    icd_runner *runner = runner_of(ctx, real, ICD_RUN_F32, ICD_PHASE_PREFILL, &b);
    assert_ok(ctx, icd_runner_step(ctx, runner, &b, &out));
    for (int64_t i = 0; i < some[0] * some[1]; i++) {
        int64_t t = i / some[1] * shape[1] + i % some[1] * 4;
        gap = fmax(gap, relative_gap(out.hidden + t * out.width, hidden + i * out.width,
                                     out.width));
    }
    double found = perplexity(runner, &b);
    print_message("SmolLM2: hidden %.2g, perplexity %.6f\n", gap, found);
    assert_true(gap <= 1e-4);
    assert_near(found, (double)*expected, 1e-4 * found);
    icd_runner_free(ctx, runner);
    icd_model_free(ctx, real);
    free(ids);
    free(hidden);
    free(expected);
}

static void compare_with_reference(const llama_shape *z, uint64_t seed)
{
    icd_model *m = small_llama(ctx, z, seed);
    for (int64_t seq = 1; seq <= z->positions; seq += 13) {
        icd_batch b = llama_batch(z, 3, seq, seed);
        result r = run_once(ctx, m, NULL, ICD_RUN_F32, &b);
        float *expected = reference_llama(m, &b);
        clear_padding(&r, &b);
        assert_true(relative_gap(r.hidden, expected, r.tokens * r.width) <= 1e-5);
        free(expected);
        result_release(&r);
        small_batch_release(&b);
    }
    icd_model_free(ctx, m);
}

static void test_reference(void **state)
{
    (void)state;
    llama_shape gelu = {1, 12, 9, 3, 3, 6, 11, 80, "gelu", false, true};
    compare_with_reference(&LLAMA, 11);
    compare_with_reference(&WIDE, 12);
    compare_with_reference(&gelu, 13);
}

/* Token after token after a prompt: the same as all at once. */
static void test_decode_equals_prefill(void **state)
{
    (void)state;
    icd_batch whole = batch, prompt = batch;
    int32_t start[84], next[4], lengths[4] = {7, 7, 7, 7};
    icd_output out;
    whole.lengths = NULL;
    prompt.seq = 7;
    for (int64_t i = 0; i < 28; i++) start[i] = batch.ids[i / 7 * 21 + i % 7];
    prompt.ids = start;
    prompt.lengths = lengths;
    result all = run_once(ctx, model, NULL, ICD_RUN_F32, &whole);
    icd_runner *runner = runner_of(ctx, model, ICD_RUN_F32, ICD_PHASE_PREFILL, &whole);
    assert_ok(ctx, icd_runner_step(ctx, runner, &prompt, &out));
    for (int64_t t = 7; t < 21; t++) {
        for (int64_t s = 0; s < 4; s++) next[s] = (batch.ids[s] + 5) % 29;
        assert_ok(ctx, icd_runner_decode(ctx, runner, next, false, &out));
        for (int64_t s = 0; s < 4; s++) next[s] = batch.ids[s * 21 + t];
        assert_ok(ctx, icd_runner_decode(ctx, runner, next, true, &out));
        assert_int_equal(out.tokens, 4);
        for (int64_t s = 0; s < 4; s++)
            assert_true(relative_gap(out.hidden + s * out.width,
                                     all.hidden + (s * 21 + t) * all.width,
                                     all.width) <= 1e-5);
    }
    assert_fails(ctx, ICD_EINVAL, "sequence 0 has 21 tokens",
                 icd_runner_decode(ctx, runner, next, true, &out));
    assert_null(out.hidden);
    icd_runner_free(ctx, runner);
    result_release(&all);
}

static void test_decode_behind_padding(void **state)
{
    (void)state;
    decode_behind_padding(ctx, model, &batch);
}

static void test_decode_phase(void **state)
{
    (void)state;
    icd_output out;
    icd_batch other = llama_batch(&LLAMA, 2, 9, 17);
    icd_runner *runner = runner_of(ctx, model, ICD_RUN_F32, ICD_PHASE_DECODE, &batch);
    decode_phase(ctx, model, &batch, &other);
    assert_ok(ctx, icd_runner_step(ctx, runner, &batch, &out));
    assert_int_equal(icd_runner_kv(runner, 0)->sequence[0].next, batch.lengths[0] - 1);
    icd_runner_free(ctx, runner);
    small_batch_release(&other);
}

static void compare_orders(const llama_shape *z, uint64_t seed)
{
    icd_model *m = small_llama(ctx, z, seed);
    icd_batch b = llama_batch(z, 3, 19, seed);
    compare_permuted(ctx, m, &b, z->vocab, seed + 1);
    small_batch_release(&b);
    icd_model_free(ctx, m);
}

static void test_permutations_are_exact(void **state)
{
    (void)state;
    compare_orders(&LLAMA, 21);
    compare_orders(&WIDE, 22);
}

static void test_threads(void **state)
{
    (void)state;
    icd_batch big = llama_batch(&LLAMA, 5, 64, 6);
    threads_change_no_bit(model, ICD_RUN_INT8, &big);
    small_batch_release(&big);
}

/* int8 is an approximation of the same model, not of another. */
static void test_int8_is_near(void **state)
{
    (void)state;
    result exact = run_once(ctx, model, NULL, ICD_RUN_F32, &batch),
           rounded = run_once(ctx, model, NULL, ICD_RUN_INT8, &batch);
    for (int64_t t = 0; t < exact.tokens; t++)
        assert_true(cosine(exact.hidden + t * exact.width,
                           rounded.hidden + t * exact.width, exact.width) > .99);
    assert_memory_not_equal(exact.hidden, rounded.hidden, sizeof(float) * 8);
    result_release(&exact);
    result_release(&rounded);
}

/* What a layout may choose: kernels give the same bits, local orders what rounding does.
 */
static void test_layouts(void **state)
{
    (void)state;
    sparse s = sparse_new(ctx, model, 16, .5, 9);
    result dense = run_once(ctx, s.model, s.layout, ICD_RUN_INT8, &batch);
    for (int i = 0; i < 2; i++) {
        set_kernels(s.layout, i ? ICD_KERNEL_GATHER : ICD_KERNEL_TILE, i ? 1 : 4);
        result r = run_once(ctx, s.model, s.layout, ICD_RUN_INT8, &batch);
        assert_same_bits(&r, &dense);
        result_release(&r);
    }
    set_orders(ctx, s.model, s.layout, 4);
    set_kernels(s.layout, ICD_KERNEL_TILE, 8);
    result ordered = run_once(ctx, s.model, s.layout, ICD_RUN_INT8, &batch);
    assert_same_bits(&ordered, &dense);
    result_release(&ordered);
    ordered = run_once(ctx, s.model, s.layout, ICD_RUN_F32, &batch);
    result plain = run_once(ctx, s.model, NULL, ICD_RUN_F32, &batch);
    assert_true(relative_gap(ordered.hidden, plain.hidden, plain.tokens * plain.width) <=
                1e-5);
    result_release(&plain);
    result_release(&ordered);
    result_release(&dense);
    sparse_free(ctx, &s);
}

typedef struct names {
    char text[1024];
    int64_t calls;
} names;

static icd_status note(icd_ctx *own, void *user, const icd_linear *linear, const float *x,
                       int64_t tokens, int64_t cols)
{
    names *n = user;
    (void)own;
    (void)x;
    assert_int_equal(cols, linear->cols);
    assert_int_equal(tokens, 84);
    size_t used = strlen(n->text);
    snprintf(n->text + used, sizeof n->text - used, "%s>%s ", linear->in_axis,
             linear->name);
    n->calls++;
    return ICD_OK;
}

static void test_observer(void **state)
{
    (void)state;
    names n = {{0}, 0};
    icd_output out;
    icd_runner *runner = runner_of(ctx, model, ICD_RUN_INT8, ICD_PHASE_PREFILL, &batch);
    icd_runner_observe(runner, note, &n);
    assert_ok(ctx, icd_runner_step(ctx, runner, &batch, &out));
    assert_int_equal(n.calls, 14);
    assert_non_null(strstr(n.text, "residual>layer.0.attn.q residual>layer.0.attn.k "
                                   "residual>layer.0.attn.v >layer.0.attn.out "
                                   "residual>layer.0.mlp.gate residual>layer.0.mlp.up "
                                   "layer.0.ffn.inner>layer.0.mlp.down "));
    icd_runner_free(ctx, runner);
}

/* --- the cache ------------------------------------------------------------------------
 */

static result decode_now(icd_runner *runner)
{
    icd_output out;
    assert_ok(ctx, icd_runner_step(ctx, runner, &batch, &out));
    return keep_output(&out);
}

/* Shuffles the cached tokens of every layer and sequence. */
static void shuffle_tokens(icd_runner *runner, uint64_t seed)
{
    icd_rng rng;
    icd_i_rng_init(&rng, seed, 1);
    for (int64_t n = 0; n < LLAMA.layers; n++) {
        icd_kv *kv = icd_runner_kv(runner, n);
        for (int64_t s = 0; s < batch.batch; s++) {
            int32_t order[64];
            for (int32_t i = 0; i < kv->sequence[s].live; i++) order[i] = i;
            icd_i_rng_shuffle(&rng, order, kv->sequence[s].live);
            assert_ok(ctx, icd_i_kv_permute(ctx, kv, s, order));
        }
    }
}

static void test_token_order_does_not_matter(void **state)
{
    (void)state;
    icd_runner *runner = runner_of(ctx, model, ICD_RUN_F32, ICD_PHASE_DECODE, &batch);
    result before = decode_now(runner);
    for (uint64_t seed = 0; seed < 5; seed++) {
        shuffle_tokens(runner, seed);
        result after = decode_now(runner);
        assert_true(relative_gap(after.hidden, before.hidden,
                                 before.tokens * before.width) <= 1e-5);
        result_release(&after);
    }
    result_release(&before);
    icd_runner_free(ctx, runner);
}

/* Drops every token whose position `drop` says; returns how many are left. */
static int64_t drop_tokens(icd_runner *runner, bool (*drop)(int32_t position))
{
    int64_t left = 0;
    for (int64_t n = 0; n < LLAMA.layers; n++) {
        icd_kv *kv = icd_runner_kv(runner, n);
        for (int64_t s = 0; s < batch.batch; s++) {
            icd_kv_slot slot[64], dead[64];
            int64_t count = 0;
            icd_i_kv_list(kv, s, slot);
            for (int64_t i = 0; i < kv->sequence[s].live; i++)
                if (drop(kv->position[icd_i_kv_at(kv, slot[i])])) dead[count++] = slot[i];
            icd_i_kv_drop(kv, s, dead, count);
            left += kv->sequence[s].live;
        }
    }
    return left;
}

static bool two_of_three(int32_t position)
{
    return position % 3 != 0;
}

static bool first_eight(int32_t position)
{
    return position < 8;
}

/* Compaction frees pages and changes nothing else; a page that dies as a whole is skipped
 * at once. */
static void test_drop_and_compact(void **state)
{
    (void)state;
    icd_runner *runner = runner_of(ctx, model, ICD_RUN_F32, ICD_PHASE_DECODE, &batch);
    result all = decode_now(runner);
    icd_kv_use full = icd_i_kv_use(icd_runner_kv(runner, 0));
    drop_tokens(runner, two_of_three);
    icd_kv_use holes = icd_i_kv_use(icd_runner_kv(runner, 0));
    assert_int_equal(holes.pages, full.pages);
    result with_holes = decode_now(runner);
    shuffle_tokens(runner, 3);
    icd_kv_use dense = icd_i_kv_use(icd_runner_kv(runner, 0));
    assert_true(dense.pages < holes.pages && dense.tokens == holes.tokens);
    result compact = decode_now(runner);
    assert_true(relative_gap(compact.hidden, with_holes.hidden, all.tokens * all.width) <=
                1e-5);
    assert_true(relative_gap(compact.hidden, all.hidden, all.tokens * all.width) > 1e-3);
    icd_runner_free(ctx, runner);
    runner = runner_of(ctx, model, ICD_RUN_F32, ICD_PHASE_DECODE, &batch);
    result again = decode_now(runner);
    assert_same_bits(&again, &all);
    drop_tokens(runner, first_eight);
    assert_true(icd_i_kv_use(icd_runner_kv(runner, 1)).pages < full.pages);
    result_release(&again);
    again = decode_now(runner);
    icd_runner_free(ctx, runner);
    result_release(&all);
    result_release(&with_holes);
    result_release(&compact);
    result_release(&again);
}

/* With one layer, dropped tokens are tokens that were never there, but for positions. */
static void test_dropped_tokens_are_gone(void **state)
{
    (void)state;
    llama_shape z = LLAMA;
    z.layers = 1;
    icd_model *m = small_llama(ctx, &z, 31);
    int32_t ids[21], short_ids[13];
    icd_output out;
    for (int32_t i = 0; i < 21; i++) ids[i] = i;
    for (int32_t i = 0; i < 13; i++) short_ids[i] = i + 8;
    icd_batch full = {.ids = ids, .batch = 1, .seq = 21},
              tail = {.ids = short_ids, .batch = 1, .seq = 13};
    icd_runner *runner = runner_of(ctx, m, ICD_RUN_F32, ICD_PHASE_DECODE, &full);
    assert_ok(ctx, icd_runner_step(ctx, runner, &full, &out));
    icd_kv *kv = icd_runner_kv(runner, 0);
    icd_kv_slot slot[64];
    icd_i_kv_list(kv, 0, slot);
    icd_i_kv_drop(kv, 0, slot, 8);
    assert_ok(ctx, icd_runner_step(ctx, runner, &full, &out));
    float *expected = reference_llama(m, &tail); /* rotations depend on distances only */
    assert_true(relative_gap(out.hidden, expected + 12 * z.hidden, z.hidden) <= 1e-5);
    free(expected);
    icd_runner_free(ctx, runner);
    icd_model_free(ctx, m);
}

static void test_int8_cache(void **state)
{
    (void)state;
    icd_runner *runner = runner_of(ctx, model, ICD_RUN_F32, ICD_PHASE_DECODE, &batch);
    icd_runner *other = runner_of(ctx, model, ICD_RUN_F32, ICD_PHASE_PREFILL, &batch);
    result wide = decode_now(runner);
    for (int64_t n = 0; n < LLAMA.layers; n++) {
        icd_kv *copy = NULL;
        assert_ok(ctx, icd_i_kv_copy(ctx, icd_runner_kv(runner, n), true, &copy));
        assert_ok(ctx, icd_runner_put_kv(ctx, runner, n, copy));
        assert_true(icd_runner_kv(runner, n)->k8 != NULL);
        icd_i_kv_free(ctx, copy);
    }
    result narrow = decode_now(runner);
    assert_memory_not_equal(wide.hidden, narrow.hidden, 64);
    for (int64_t t = 0; t < wide.tokens; t++)
        assert_true(cosine(wide.hidden + t * wide.width, narrow.hidden + t * wide.width,
                           wide.width) > .999);
    shuffle_tokens(runner, 8);
    result after = decode_now(runner);
    assert_true(relative_gap(after.hidden, narrow.hidden, wide.tokens * wide.width) <=
                1e-5);
    icd_kv_shape shape = icd_runner_kv(runner, 0)->shape;
    shape.tokens++;
    icd_kv *bigger = NULL;
    assert_ok(ctx, icd_i_kv_new(ctx, &shape, &bigger));
    assert_fails(ctx, ICD_EINVAL, "another shape",
                 icd_runner_put_kv(ctx, runner, 1, bigger));
    icd_i_kv_free(ctx, bigger);
    result_release(&wide);
    result_release(&narrow);
    result_release(&after);
    icd_runner_free(ctx, runner);
    icd_runner_free(ctx, other);
}

typedef struct masses {
    int64_t calls, layer, sequence, query;
    double worst;
} masses;

static icd_status sum_masses(icd_ctx *own, void *user, const icd_attention *a)
{
    masses *m = user;
    double sum = 0;
    (void)own;
    for (int64_t i = 0; i < a->count; i++) {
        sum += (double)a->mass[i];
        assert_true(a->mass[i] >= 0 && a->position[i] <= a->query);
    }
    assert_int_equal(a->count, a->query + 1);
    m->worst = fmax(m->worst, fabs(sum - 1));
    m->calls++;
    m->layer = a->layer;
    m->sequence = a->sequence;
    m->query = a->query;
    return ICD_OK;
}

static double cached_mass(icd_runner *runner, int64_t layer, int64_t sequence)
{
    const icd_kv *kv = icd_runner_kv(runner, layer);
    icd_kv_slot slot[64];
    double sum = 0;
    icd_i_kv_list(kv, sequence, slot);
    for (int64_t i = 0; i < kv->sequence[sequence].live; i++)
        sum += (double)kv->mass[icd_i_kv_at(kv, slot[i])];
    return sum;
}

static void test_attention_masses(void **state)
{
    (void)state;
    int64_t tokens = 0;
    masses m = {0};
    int32_t next[4] = {3, 1, 4, 1};
    icd_output out;
    icd_batch wide = batch;
    wide.seq = 30;
    for (int64_t s = 0; s < 4; s++) tokens += batch.lengths[s];
    icd_runner *runner = runner_of(ctx, model, ICD_RUN_F32, ICD_PHASE_PREFILL, &wide),
               *plain = runner_of(ctx, model, ICD_RUN_F32, ICD_PHASE_PREFILL, &batch);
    assert_ok(ctx, icd_runner_attention(ctx, runner, sum_masses, &m));
    assert_ok(ctx, icd_runner_step(ctx, plain, &batch, &out));
    result expected = keep_output(&out);
    assert_ok(ctx, icd_runner_step(ctx, runner, &batch, &out));
    result found = keep_output(&out);
    assert_same_bits(&found, &expected);
    assert_int_equal(m.calls, LLAMA.layers * tokens);
    for (int64_t s = 0; s < 4; s++)
        assert_near(cached_mass(runner, 1, s), batch.lengths[s], 1e-4);
    assert_ok(ctx, icd_runner_decode(ctx, runner, next, false, &out));
    assert_near(cached_mass(runner, 1, 0), batch.lengths[0], 1e-4);
    assert_ok(ctx, icd_runner_decode(ctx, runner, next, true, &out));
    assert_int_equal(m.calls, LLAMA.layers * (tokens + 8));
    assert_int_equal(m.layer, LLAMA.layers - 1);
    assert_int_equal(m.sequence, 3);
    assert_int_equal(m.query, batch.lengths[3]);
    assert_near(cached_mass(runner, 1, 0), batch.lengths[0] + 1, 1e-4);
    assert_true(m.worst < 1e-5);
    icd_runner_free(ctx, runner);
    icd_runner_free(ctx, plain);
    result_release(&expected);
    result_release(&found);
}

/* --- what the world does wrong ---------------------------------------------------------
 */

static icd_status cancel_late(icd_ctx *own, void *user, const icd_linear *linear,
                              const float *x, int64_t tokens, int64_t cols)
{
    (void)x;
    (void)tokens;
    (void)cols;
    if (!strcmp(linear->name, user)) icd_ctx_cancel(own);
    return ICD_OK;
}

/* A decode that ends half way leaves the cache as it was. */
static void test_cancelled_decode(void **state)
{
    (void)state;
    icd_output out;
    int32_t next[4] = {1, 2, 3, 4};
    icd_batch wide = batch;
    wide.seq = 30;
    icd_runner *runner = runner_of(ctx, model, ICD_RUN_F32, ICD_PHASE_PREFILL, &wide);
    assert_ok(ctx, icd_runner_step(ctx, runner, &batch, &out));
    assert_ok(ctx, icd_runner_decode(ctx, runner, next, false, &out));
    result before = keep_output(&out);
    static char name[] = "layer.1.attn.q";
    icd_runner_observe(runner, cancel_late, name);
    assert_int_equal(icd_runner_decode(ctx, runner, next, true, &out), ICD_ECANCELLED);
    icd_ctx_uncancel(ctx);
    icd_runner_observe(runner, NULL, NULL);
    assert_int_equal(icd_runner_kv(runner, 0)->sequence[0].next, batch.lengths[0]);
    assert_int_equal(icd_runner_kv(runner, 1)->sequence[0].next, batch.lengths[0]);
    assert_ok(ctx, icd_runner_decode(ctx, runner, next, false, &out));
    result after = keep_output(&out);
    assert_same_bits(&after, &before);
    result_release(&before);
    result_release(&after);
    icd_runner_free(ctx, runner);
}

static void test_bad_input(void **state)
{
    (void)state;
    icd_output out;
    icd_runner_opts opts = small_opts(ICD_RUN_F32);
    icd_runner *runner = runner_of(ctx, model, ICD_RUN_F32, ICD_PHASE_PREFILL, &batch),
               *none = NULL;
    int32_t next[4] = {1, 2, 29, 4};
    float logits[29];
    icd_batch longer = batch;
    assert_fails(ctx, ICD_EINVAL, "no state to decode from",
                 icd_runner_decode(ctx, runner, next, true, &out));
    assert_ok(ctx, icd_runner_step(ctx, runner, &batch, &out));
    assert_fails(ctx, ICD_EINVAL, "id 29",
                 icd_runner_decode(ctx, runner, next, true, &out));
    assert_fails(ctx, ICD_EINVAL, "computed 84",
                 icd_runner_logits(ctx, runner, 84, 1, logits));
    assert_ok(ctx, icd_runner_logits(ctx, runner, 83, 1, logits));
    icd_runner_free(ctx, runner);
    longer.seq = 65;
    assert_fails(ctx, ICD_EINVAL, "64 positions",
                 icd_runner_new(ctx, model, NULL, &longer, &opts, &none));
    assert_null(none);
}

static icd_status new_and_step(icd_ctx *own, void *arg)
{
    icd_runner_opts opts = small_opts(*(int32_t *)arg);
    icd_runner *runner = NULL;
    icd_output out;
    int32_t next[4] = {1, 2, 3, 4};
    icd_batch one = batch;
    one.batch = 1;
    one.lengths = (const int32_t[]){5};
    icd_status status = icd_runner_new(own, model, NULL, &batch, &opts, &runner);
    if (status == ICD_OK) status = icd_runner_attention(own, runner, NULL, NULL);
    if (status == ICD_OK) status = icd_runner_step(own, runner, &one, &out);
    if (status == ICD_OK) status = icd_runner_decode(own, runner, next, true, &out);
    if (status == ICD_OK)
        status = icd_runner_put_kv(own, runner, 0, icd_runner_kv(runner, 0));
    icd_runner_free(own, runner);
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    for (int32_t dtype = ICD_RUN_F32; dtype <= ICD_RUN_INT8; dtype++)
        icd_test_failing_allocations(new_and_step, &dtype);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transformers),
        cmocka_unit_test(test_smollm2),
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_decode_equals_prefill),
        cmocka_unit_test(test_decode_behind_padding),
        cmocka_unit_test(test_decode_phase),
        cmocka_unit_test(test_permutations_are_exact),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_int8_is_near),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_observer),
        cmocka_unit_test(test_token_order_does_not_matter),
        cmocka_unit_test(test_drop_and_compact),
        cmocka_unit_test(test_dropped_tokens_are_gone),
        cmocka_unit_test(test_int8_cache),
        cmocka_unit_test(test_attention_masses),
        cmocka_unit_test(test_cancelled_decode),
        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
