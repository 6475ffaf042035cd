#include "base/mem.h"
#include "base/rng.h"
#include "support.h"

#include <icd/perm.h>
#include <string.h>

enum { SEED = 20240611 };

static icd_ctx *ctx;

static int setup(void **state)
{
    (void)state;
    ctx = icd_ctx_new(NULL);
    return ctx == NULL;
}

static int teardown(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    return 0;
}

static icd_perm *random_perm(icd_rng *rng, int64_t n, uint64_t from)
{
    int32_t *index = NULL;
    icd_perm *p = NULL;
    assert_ok(ctx, ICD_ALLOC(ctx, n, &index));
    for (int64_t i = 0; i < n; ++i) index[i] = (int32_t)i;
    icd_i_rng_shuffle(rng, index, n);
    assert_ok(ctx, icd_perm_from_array(ctx, index, n, from, "test", &p));
    icd_i_free(ctx, index);
    return p;
}

static void test_identity_makes_its_own_frame(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 4; ++n) {
        icd_perm *p = NULL;
        assert_ok(ctx, icd_perm_identity(ctx, n, 77, &p));
        assert_int_equal(p->n, n);
        assert_true(p->from == 77 && p->to == 77);
        for (int64_t k = 0; k < n; ++k) assert_int_equal(p->old_of_new[k], k);
        icd_perm_free(ctx, p);
    }
}

static void test_sizes_out_of_range(void **state)
{
    (void)state;
    icd_perm *p = NULL;
    assert_fails(ctx, ICD_EINVAL, "expected 0 to", icd_perm_identity(ctx, -1, 0, &p));
    assert_null(p);
    assert_fails(ctx, ICD_EINVAL, "expected 0 to",
                 icd_perm_identity(ctx, (int64_t)INT32_MAX + 1, 0, &p));
}

static void test_frames_differ_by_content_and_origin(void **state)
{
    (void)state;
    const int32_t a[] = {1, 0, 2}, b[] = {0, 2, 1};
    icd_perm *p = NULL, *q = NULL, *r = NULL;
    assert_ok(ctx, icd_perm_from_array(ctx, a, 3, 0, "a", &p));
    assert_ok(ctx, icd_perm_from_array(ctx, b, 3, 0, "b", &q));
    assert_ok(ctx, icd_perm_from_array(ctx, a, 3, 5, "a", &r));
    assert_true(p->to != 0 && p->to != q->to && p->to != r->to);
    assert_true(icd_perm_hash(p) != icd_perm_hash(q) &&
                icd_perm_hash(p) != icd_perm_hash(r));
    icd_perm_free(ctx, p);
    icd_perm_free(ctx, q);
    icd_perm_free(ctx, r);
}

static void test_no_bijection(void **state)
{
    (void)state;
    const int32_t twice[] = {0, 2, 2}, high[] = {0, 3, 1}, low[] = {0, -1, 1};
    icd_perm *p = NULL;
    assert_fails(ctx, ICD_EDATA, "x: slot 2: index 2 stands in slot 1 already",
                 icd_perm_from_array(ctx, twice, 3, 0, "x", &p));
    assert_fails(ctx, ICD_EDATA, "x: slot 1: found index 3, expected 0 to 2",
                 icd_perm_from_array(ctx, high, 3, 0, "x", &p));
    assert_fails(ctx, ICD_EDATA, "x: slot 1: found index -1",
                 icd_perm_from_array(ctx, low, 3, 0, "x", &p));
    assert_null(p);
}

static void test_inverse_undoes_gather(void **state)
{
    (void)state;
    icd_rng rng;
    icd_i_rng_init(&rng, SEED, 1);
    print_message("seed %d\n", SEED);
    for (int64_t n = 0; n < 200; n += n < 3 ? 1 : 37) {
        icd_perm *p = random_perm(&rng, n, 9), *q = NULL, *pq = NULL, *qp = NULL;
        assert_ok(ctx, icd_perm_inverse(ctx, p, &q));
        assert_true(q->from == p->to && q->to == p->from);
        assert_ok(ctx, icd_perm_compose(ctx, p, q, &pq));
        assert_ok(ctx, icd_perm_compose(ctx, q, p, &qp));
        assert_true(pq->from == 9 && pq->to == 9 && qp->from == p->to && qp->to == p->to);
        for (int64_t k = 0; k < n; ++k) {
            assert_int_equal(pq->old_of_new[k], k);
            assert_int_equal(qp->old_of_new[k], k);
            assert_int_equal(q->old_of_new[p->old_of_new[k]], k);
        }
        icd_perm_free(ctx, p);
        icd_perm_free(ctx, q);
        icd_perm_free(ctx, pq);
        icd_perm_free(ctx, qp);
    }
}

/* Gathering by p and then by d is gathering by compose(p, d), for data of any bits. */
static void test_compose_is_gather_after_gather(void **state)
{
    (void)state;
    enum { N = 97 };
    icd_rng rng;
    icd_i_rng_init(&rng, SEED, 2);
    icd_perm *p = random_perm(&rng, N, 0), *d = random_perm(&rng, N, p->to), *pd = NULL;
    assert_ok(ctx, icd_perm_compose(ctx, p, d, &pd));
    uint64_t data[N], step[N];
    for (int k = 0; k < N; ++k) data[k] = icd_i_rng_u64(&rng);
    for (int k = 0; k < N; ++k) step[k] = data[p->old_of_new[k]];
    for (int k = 0; k < N; ++k)
        assert_true(step[d->old_of_new[k]] == data[pd->old_of_new[k]]);
    assert_true(pd->from == p->from && pd->to == d->to);
    icd_perm_free(ctx, p);
    icd_perm_free(ctx, d);
    icd_perm_free(ctx, pd);
}

static void test_composition_associates(void **state)
{
    (void)state;
    icd_rng rng;
    icd_i_rng_init(&rng, SEED, 3);
    icd_perm *a = random_perm(&rng, 31, 0), *b = random_perm(&rng, 31, a->to);
    icd_perm *c = random_perm(&rng, 31, b->to);
    icd_perm *ab = NULL, *bc = NULL, *left = NULL, *right = NULL;
    assert_ok(ctx, icd_perm_compose(ctx, a, b, &ab));
    assert_ok(ctx, icd_perm_compose(ctx, b, c, &bc));
    assert_ok(ctx, icd_perm_compose(ctx, ab, c, &left));
    assert_ok(ctx, icd_perm_compose(ctx, a, bc, &right));
    assert_int_equal(icd_perm_moved(left, right), 0);
    assert_true(left->from == right->from && left->to == right->to);
    icd_perm *all[] = {a, b, c, ab, bc, left, right};
    for (size_t i = 0; i < sizeof all / sizeof *all; ++i) icd_perm_free(ctx, all[i]);
}

static void test_frames_refuse(void **state)
{
    (void)state;
    icd_rng rng;
    icd_i_rng_init(&rng, SEED, 4);
    icd_perm *p = random_perm(&rng, 16, 0), *stale = random_perm(&rng, 16, 0);
    icd_perm *small = random_perm(&rng, 15, p->to), *out = NULL;
    assert_fails(ctx, ICD_EINVAL, "the second starts from 0000000000000000",
                 icd_perm_compose(ctx, p, stale, &out));
    assert_null(out);
    assert_fails(ctx, ICD_EINVAL, "expected equal sizes",
                 icd_perm_compose(ctx, p, small, &out));
    assert_null(out);
    icd_perm_free(ctx, p);
    icd_perm_free(ctx, stale);
    icd_perm_free(ctx, small);
}

static void test_moved(void **state)
{
    (void)state;
    const int32_t a[] = {0, 1, 2, 3}, b[] = {0, 2, 1, 3}, c[] = {0, 1, 2};
    icd_perm *p = NULL, *q = NULL, *r = NULL;
    assert_ok(ctx, icd_perm_from_array(ctx, a, 4, 0, "a", &p));
    assert_ok(ctx, icd_perm_from_array(ctx, b, 4, 0, "b", &q));
    assert_ok(ctx, icd_perm_from_array(ctx, c, 3, 0, "c", &r));
    assert_int_equal(icd_perm_moved(p, p), 0);
    assert_int_equal(icd_perm_moved(p, q), 2);
    assert_int_equal(icd_perm_moved(p, r), 4);
    icd_perm_free(ctx, p);
    icd_perm_free(ctx, q);
    icd_perm_free(ctx, r);
}

static icd_status allocate(icd_ctx *c, void *arg)
{
    icd_status status;
    const int32_t index[] = {2, 0, 1};
    icd_perm *p = NULL, *q = NULL, *pq = NULL, *copy = NULL;
    (void)arg;
    ICD_TRY(icd_perm_from_array(c, index, 3, 0, "x", &p));
    ICD_TRY(icd_perm_inverse(c, p, &q));
    ICD_TRY(icd_perm_compose(c, p, q, &pq));
    ICD_TRY(icd_perm_copy(c, p, &copy));
done:
    icd_perm_free(c, p);
    icd_perm_free(c, q);
    icd_perm_free(c, pq);
    icd_perm_free(c, copy);
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(allocate, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity_makes_its_own_frame),
        cmocka_unit_test(test_sizes_out_of_range),
        cmocka_unit_test(test_frames_differ_by_content_and_origin),
        cmocka_unit_test(test_no_bijection),
        cmocka_unit_test(test_inverse_undoes_gather),
        cmocka_unit_test(test_compose_is_gather_after_gather),
        cmocka_unit_test(test_composition_associates),
        cmocka_unit_test(test_frames_refuse),
        cmocka_unit_test(test_moved),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
