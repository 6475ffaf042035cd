#include "hyper_support.h"

#include "solver/hyper_votes.h"

#include <string.h>

enum { N = 22, G = 4 };

typedef struct fixture {
    icd_ctx *ctx;
    icd_access *sets;
    int32_t order[N], free_index[N];
    icd_hyper h;
    icd_hyper_votes votes;
} fixture;

static void setup(fixture *f)
{
    memset(f, 0, sizeof *f);
    f->ctx = icd_ctx_new(NULL);
    assert_non_null(f->ctx);
    f->sets = random_sets(f->ctx, N, 30, 4, .6, .1, false, 1);
    for (int32_t k = 0; k < N; ++k) f->order[k] = f->free_index[k] = k;
    icd_hyper_window window = {f->order, 0, N};
    assert_ok(f->ctx, icd_i_hyper_init(f->ctx, f->sets, G, 1, &window, &f->h));
    assert_ok(f->ctx, icd_i_hyper_votes_init(f->ctx, &f->h, &f->votes));
}

static void teardown(fixture *f)
{
    icd_i_hyper_votes_release(f->ctx, &f->votes);
    icd_i_hyper_release(f->ctx, &f->h);
    icd_access_free(f->ctx, f->sets);
    icd_ctx_free(f->ctx);
}

static void vote_for(fixture *f, uint64_t seed, int times)
{
    int32_t slot_of[N];
    shuffled(slot_of, N, seed);
    icd_i_hyper_place(&f->h, slot_of);
    for (int k = 0; k < times; ++k) icd_i_hyper_votes_count(&f->votes, &f->h);
}

static void assert_places_consistent(const icd_hyper *h)
{
    bool seen[N] = {false};
    for (int32_t i = 0; i < N; ++i) {
        assert_in_range(h->slot_of[i], 0, N - 1);
        assert_false(seen[h->slot_of[i]]);
        assert_int_equal(h->granule_of[i], h->slot_of[i] / G);
        seen[h->slot_of[i]] = true;
    }
    assert_true(icd_i_hyper_consistent(h));
}

static void test_majority_wins(void **state)
{
    fixture f;
    (void)state;
    setup(&f);
    vote_for(&f, 1, 3);
    int32_t wanted[N];
    memcpy(wanted, f.h.granule_of, sizeof wanted);
    vote_for(&f, 2, 2);
    icd_i_hyper_votes_settle(&f.votes, &f.h, f.free_index, N);
    assert_memory_equal(f.h.granule_of, wanted, sizeof wanted);
    assert_places_consistent(&f.h);
    teardown(&f);
}

static void test_any_votes_fit(void **state)
{
    fixture f;
    (void)state;
    setup(&f);
    for (uint64_t seed = 1; seed < 40; ++seed) {
        vote_for(&f, seed, 1 + (int)(seed % 3));
        icd_i_hyper_votes_settle(&f.votes, &f.h, f.free_index, N);
        assert_places_consistent(&f.h);
        if (seed % 10 == 0) icd_i_hyper_votes_clear(&f.votes, &f.h);
    }
    teardown(&f);
}

static void test_frozen_and_unasked_stay(void **state)
{
    fixture f;
    int32_t before[N], free_index[] = {3, 7, 8, 15, 20};
    (void)state;
    setup(&f);
    memcpy(before, f.h.slot_of, sizeof before);
    icd_i_hyper_votes_settle(&f.votes, &f.h, f.free_index, N); /* no votes */
    assert_memory_equal(f.h.slot_of, before, sizeof before);
    vote_for(&f, 3, 4);
    vote_for(&f, 4, 1);
    memcpy(before, f.h.slot_of, sizeof before);
    icd_i_hyper_votes_settle(&f.votes, &f.h, free_index, 5);
    assert_places_consistent(&f.h);
    for (int32_t i = 0; i < N; ++i) {
        bool is_free = false;
        for (int k = 0; k < 5; ++k) is_free |= free_index[k] == i;
        if (!is_free) assert_int_equal(f.h.slot_of[i], before[i]);
    }
    teardown(&f);
}

static void test_votes_end(void **state)
{
    fixture f;
    (void)state;
    setup(&f);
    vote_for(&f, 1, ICD_HYPER_VOTES + 50);
    assert_int_equal(f.votes.counted, ICD_HYPER_VOTES);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_majority_wins),
        cmocka_unit_test(test_any_votes_fit),
        cmocka_unit_test(test_frozen_and_unasked_stay),
        cmocka_unit_test(test_votes_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
