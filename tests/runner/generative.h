/**
 * @file generative.h
 * What holds of every engine that keeps a state: decoding is a prefill, orders and
 * threads change nothing.
 */
#ifndef ICD_TEST_GENERATIVE_H
#define ICD_TEST_GENERATIVE_H

#include "small.h"

#include "base/npz.h"

/** Pages of 8 tokens, where the engine has any. */
static inline icd_runner *runner_of(icd_ctx *ctx, const icd_model *m, int32_t dtype,
                                    int32_t phase, const icd_batch *capacity)
{
    icd_runner_opts opts = small_opts(dtype);
    icd_runner *runner = NULL;
    opts.phase = phase;
    opts.page = 8;
    assert_ok(ctx, icd_runner_new(ctx, m, NULL, capacity, &opts, &runner));
    return runner;
}

/** Of the first rows of the last step; free. */
static inline float *logits_of(icd_ctx *ctx, icd_runner *runner, int64_t rows)
{
    int64_t vocab = icd_runner_outputs(runner);
    float *out = malloc((size_t)(rows * vocab) * sizeof *out);
    assert_non_null(out);
    assert_ok(ctx, icd_runner_logits(ctx, runner, 0, rows, out));
    return out;
}

/** A member of tests/data/NAME.npz as f32; free. */
static inline float *oracle(icd_ctx *ctx, const char *name, const char *member,
                            int64_t *shape)
{
    icd_npz *npz = NULL;
    icd_array a;
    char path[512];
    snprintf(path, sizeof path, "%s/%s.npz", ICD_TEST_DATA, name);
    assert_ok(ctx, icd_i_npz_open(ctx, path, &npz));
    assert_ok(ctx, icd_i_npz_get(ctx, npz, member, &a));
    float *out = malloc((size_t)a.count * sizeof *out);
    assert_non_null(out);
    for (int64_t i = 0; i < a.count; i++) out[i] = (float)icd_i_array_real(&a, i);
    memcpy(shape, a.shape, sizeof a.shape);
    icd_i_array_release(ctx, &a);
    icd_i_npz_close(ctx, npz);
    return out;
}

/** Sequences of several lengths go on behind their own last tokens. */
static inline void decode_behind_padding(icd_ctx *ctx, const icd_model *model,
                                         const icd_batch *batch)
{
    enum { MOST = 8, MOST_TOKENS = 256 };
    icd_output out;
    int32_t next[MOST], ids[MOST_TOKENS], lengths[MOST];
    int64_t seq = batch->seq, long_seq = seq + 1;
    icd_batch longer = {
        .ids = ids, .lengths = lengths, .batch = batch->batch, .seq = long_seq};
    assert_true(batch->batch <= MOST && batch->batch * long_seq <= MOST_TOKENS);
    icd_runner *runner = runner_of(ctx, model, ICD_RUN_F32, ICD_PHASE_PREFILL, &longer);
    for (int64_t s = 0; s < batch->batch; s++) {
        next[s] = (int32_t)s + 1;
        lengths[s] = batch->lengths[s] + 1;
        for (int64_t t = 0; t < long_seq; t++)
            ids[s * long_seq + t] =
                t < batch->lengths[s] ? batch->ids[s * seq + t] : next[s];
    }
    result all = run_once(ctx, model, NULL, ICD_RUN_F32, &longer);
    assert_ok(ctx, icd_runner_step(ctx, runner, batch, &out));
    assert_ok(ctx, icd_runner_decode(ctx, runner, next, true, &out));
    for (int64_t s = 0; s < batch->batch; s++)
        assert_true(
            relative_gap(out.hidden + s * out.width,
                         all.hidden + (s * long_seq + batch->lengths[s]) * all.width,
                         all.width) <= 1e-5);
    icd_runner_free(ctx, runner);
    result_release(&all);
}

/** Every step of the phase decodes the last token again: the same bits, and those of a
 * new runner when the batch changes. @param other [in] a smaller batch */
static inline void decode_phase(icd_ctx *ctx, const icd_model *model,
                                const icd_batch *batch, const icd_batch *other)
{
    icd_runner *runner = runner_of(ctx, model, ICD_RUN_F32, ICD_PHASE_DECODE, batch);
    result all = run_once(ctx, model, NULL, ICD_RUN_F32, batch), first = {0};
    icd_output out;
    for (int i = 0; i < 5; i++) {
        assert_ok(ctx, icd_runner_step(ctx, runner, i == 3 ? other : batch, &out));
        assert_int_equal(out.tokens, i == 3 ? other->batch : batch->batch);
        if (i == 3) continue;
        result r = keep_output(&out);
        for (int64_t s = 0; s < batch->batch; s++)
            assert_true(
                relative_gap(r.hidden + s * r.width,
                             all.hidden +
                                 (s * batch->seq + batch->lengths[s] - 1) * r.width,
                             r.width) <= 1e-5);
        if (i == 0)
            first = r;
        else
            assert_same_bits(&r, &first);
        if (i) result_release(&r);
    }
    result_release(&first);
    result_release(&all);
    icd_runner_free(ctx, runner);
}

/** The model with a random order of every axis. */
static inline icd_model *permuted(icd_ctx *ctx, const icd_model *m, uint64_t seed)
{
    icd_rng rng;
    icd_perm_set *set = NULL;
    icd_model *applied = NULL;
    icd_i_rng_init(&rng, seed, 5);
    assert_ok(ctx, icd_perm_set_new(ctx, &set));
    for (int64_t a = 0; a < icd_model_axes(m); a++) {
        const icd_axis *axis = icd_model_axis_at(m, a);
        icd_perm *p = random_order(ctx, &rng, axis->n, icd_model_frame(m, axis->name));
        assert_ok(ctx, icd_perm_set_put(ctx, set, axis->name, p, false));
        icd_perm_free(ctx, p);
    }
    assert_ok(ctx, icd_model_apply(ctx, m, set, &applied));
    icd_perm_set_free(ctx, set);
    return applied;
}

/** Hidden state and logits of one prefill. */
static inline result run_logits(icd_ctx *ctx, const icd_model *m, const icd_batch *b,
                                float **logits)
{
    icd_output out;
    icd_runner *runner = runner_of(ctx, m, ICD_RUN_F32, ICD_PHASE_PREFILL, b);
    assert_ok(ctx, icd_runner_step(ctx, runner, b, &out));
    result kept = keep_output(&out);
    *logits = logits_of(ctx, runner, kept.tokens);
    icd_runner_free(ctx, runner);
    return kept;
}

/** All axes at once, and again from there: axes inside others move with them. */
static inline void compare_permuted(icd_ctx *ctx, const icd_model *m, const icd_batch *b,
                                    int64_t vocab, uint64_t seed)
{
    float *logits = NULL, *found = NULL;
    icd_model *once = permuted(ctx, m, seed), *twice = permuted(ctx, once, seed + 1);
    result before = run_logits(ctx, m, b, &logits);
    for (int i = 0; i < 2; i++) {
        result after = run_logits(ctx, i ? twice : once, b, &found);
        assert_true(relative_gap(after.hidden, before.hidden,
                                 after.tokens * after.width) <= 1e-5);
        assert_true(relative_gap(found, logits, after.tokens * vocab) <= 1e-5);
        assert_memory_not_equal(found, logits, 64 * sizeof *found);
        result_release(&after);
        free(found);
    }
    result_release(&before);
    free(logits);
    icd_model_free(ctx, twice);
    icd_model_free(ctx, once);
}

/** One, two and four threads compute the same bits, in both phases and in every type up
 * to `last`. */
static inline void threads_change_no_bit(const icd_model *model, int last,
                                         const icd_batch *batch)
{
    for (int phase = 0; phase < 2; phase++)
        for (int dtype = ICD_RUN_F32; dtype <= last; dtype++) {
            result one = {0};
            for (int32_t threads = 1; threads <= 4; threads *= 2) {
                icd_output out;
                icd_ctx *ctx = small_ctx(threads);
                icd_runner *runner = runner_of(ctx, model, dtype, phase, batch);
                assert_ok(ctx, icd_runner_step(ctx, runner, batch, &out));
                result r = keep_output(&out);
                if (threads == 1)
                    one = r;
                else
                    assert_same_bits(&one, &r);
                if (threads > 1) result_release(&r);
                icd_runner_free(ctx, runner);
                icd_ctx_free(ctx);
            }
            result_release(&one);
        }
}

#endif
