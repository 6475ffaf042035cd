#include "base/mem.h"
#include "core/csr_io.h"
#include "support.h"

#include <math.h>
#include <string.h>

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

/* The path 0 - 1 - 2 with weights .5 and .25. */
static icd_csr *path_of_three(icd_ctx *c)
{
    static const int64_t ROW_PTR[] = {0, 1, 3, 4};
    static const int32_t COL[] = {1, 0, 2, 1};
    static const float VAL[] = {.5f, .5f, .25f, .25f};
    icd_csr *w = NULL;
    if (icd_csr_new(c, 3, 4, &w) != ICD_OK) return NULL;
    memcpy(w->row_ptr, ROW_PTR, sizeof ROW_PTR);
    memcpy(w->col, COL, sizeof COL);
    memcpy(w->val, VAL, sizeof VAL);
    return w;
}

static void test_sizes(void **state)
{
    (void)state;
    icd_csr *w = NULL;
    for (int64_t n = 0; n < 3; ++n) {
        assert_ok(ctx, icd_csr_new(ctx, n, 0, &w));
        assert_ok(ctx, icd_csr_check(ctx, w, "W"));
        icd_csr_free(ctx, w);
    }
    assert_fails(ctx, ICD_EINVAL, "found n = -1", icd_csr_new(ctx, -1, 0, &w));
    assert_fails(ctx, ICD_EINVAL, "found n = 2147483648",
                 icd_csr_new(ctx, (int64_t)INT32_MAX + 1, 0, &w));
    assert_fails(ctx, ICD_EINVAL, "found 5 entries, expected 0 to 4",
                 icd_csr_new(ctx, 2, 5, &w));
    assert_null(w);
    icd_csr_free(ctx, NULL);
}

static void test_sound(void **state)
{
    (void)state;
    icd_csr *w = path_of_three(ctx);
    assert_non_null(w);
    assert_ok(ctx, icd_csr_check(ctx, w, "W"));
    icd_csr_free(ctx, w);
}

typedef void breaker(icd_csr *w);

static void out_of_range(icd_csr *w)
{
    w->col[3] = 3;
}
static void negative_column(icd_csr *w)
{
    w->col[0] = -1;
}
static void on_diagonal(icd_csr *w)
{
    w->col[0] = 0;
}
static void repeated(icd_csr *w)
{
    w->col[2] = 0;
}
static void not_a_number(icd_csr *w)
{
    w->val[2] = NAN;
}
static void infinite(icd_csr *w)
{
    w->val[2] = INFINITY;
}
static void negative(icd_csr *w)
{
    w->val[2] = -1;
}
static void zero(icd_csr *w)
{
    w->val[2] = 0;
}
static void one_bit_off(icd_csr *w)
{
    w->val[3] = nextafterf(w->val[3], 1);
}
static void no_mirror(icd_csr *w)
{
    w->col[3] = 0;
}
static void falling(icd_csr *w)
{
    w->row_ptr[2] = 0;
}
static void late_begin(icd_csr *w)
{
    w->row_ptr[0] = 1;
}
static void early_end(icd_csr *w)
{
    w->nnz = 3;
}

static void test_broken(void **state)
{
    (void)state;
    static const struct {
        breaker *fn;
        const char *message;
    } CASE[] = {
        {out_of_range, "W: row 2, column 3: the column is out of range"},
        {negative_column, "W: row 0, column -1: the column is out of range"},
        {on_diagonal, "W: row 0, column 0: the diagonal holds an entry"},
        {repeated, "W: row 1, column 0: the column does not ascend"},
        {not_a_number, "W: row 1, column 2: found NaN"},
        {infinite, "W: row 1, column 2: found an infinite value"},
        {negative, "W: row 1, column 2: found a negative value"},
        {zero, "W: row 1, column 2: found a stored zero"},
        {one_bit_off, "W: row 1, column 2: differs from the value of its mirror image"},
        {no_mirror, "mirror image is missing"},
        {falling, "W: row 1: row pointers fall from 1 to 0"},
        {late_begin, "W: row pointers begin with 1"},
        {early_end, "W: row pointers end with 4"},
    };
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; ++i) {
        icd_csr *w = path_of_three(ctx);
        CASE[i].fn(w);
        assert_fails(ctx, ICD_EDATA, CASE[i].message, icd_csr_check(ctx, w, "W"));
        icd_csr_free(ctx, w);
    }
}

static void test_hash_sees_everything(void **state)
{
    (void)state;
    icd_csr *w = path_of_three(ctx), *v = path_of_three(ctx);
    uint64_t hash = icd_csr_hash(w);
    assert_true(hash == icd_csr_hash(v));
    breaker *const change[] = {out_of_range, one_bit_off, falling};
    for (size_t i = 0; i < sizeof change / sizeof *change; ++i) {
        icd_csr *u = path_of_three(ctx);
        change[i](u);
        assert_true(icd_csr_hash(u) != hash);
        icd_csr_free(ctx, u);
    }
    v->frame = 1;
    assert_true(icd_csr_hash(v) != hash);
    icd_csr_free(ctx, w);
    icd_csr_free(ctx, v);
}

static icd_status allocate(icd_ctx *c, void *arg)
{
    (void)arg;
    icd_csr *w = path_of_three(c);
    icd_status status = w ? icd_csr_check(c, w, "W") : ICD_ENOMEM;
    icd_csr_free(c, w);
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
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_sound),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_hash_sees_everything),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
