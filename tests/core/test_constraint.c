#include "base/error.h"
#include "support.h"

#include <icd/constraint.h>

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

static icd_status check(const icd_constraint *c, const int32_t *old_of_new, int64_t n)
{
    icd_perm *p = NULL;
    assert_ok(ctx, icd_perm_from_array(ctx, old_of_new, n, 0, "x", &p));
    icd_status status = icd_constraint_check_perm(ctx, c, p);
    icd_perm_free(ctx, p);
    return status;
}

static void test_none(void **state)
{
    (void)state;
    const int32_t any[] = {3, 1, 0, 2};
    icd_constraint zero = {0};
    assert_ok(ctx, icd_constraint_check(ctx, NULL, 4));
    assert_ok(ctx, icd_constraint_check(ctx, &zero, 0));
    assert_ok(ctx, check(&zero, any, 4));
    assert_ok(ctx, check(NULL, any, 4));
}

static void test_unit(void **state)
{
    (void)state;
    const int32_t whole[] = {2, 3, 0, 1}, turned[] = {3, 2, 0, 1},
                  shifted[] = {1, 2, 3, 0};
    icd_constraint pairs = {.unit = 2}, three = {.unit = 3}, negative = {.unit = -1};
    assert_ok(ctx, check(&pairs, whole, 4));
    assert_fails(ctx, ICD_EINVAL, "slot 0: index 3 has left its unit of 2",
                 check(&pairs, turned, 4));
    assert_fails(ctx, ICD_EINVAL, "has left its unit of 2", check(&pairs, shifted, 4));
    assert_fails(ctx, ICD_EINVAL, "found unit 3 for 4 indices",
                 icd_constraint_check(ctx, &three, 4));
    assert_fails(ctx, ICD_EINVAL, "found unit -1",
                 icd_constraint_check(ctx, &negative, 4));
}

static void test_ties(void **state)
{
    (void)state;
    const icd_tie rope[] = {{0, 2}, {1, 3}};
    const int32_t kept[] = {1, 0, 3, 2}, broken[] = {0, 2, 1, 3};
    icd_constraint c = {.tie = rope, .ties = 2};
    assert_ok(ctx, check(&c, kept, 4));
    assert_fails(ctx, ICD_EINVAL, "indices 0 and 2 are tied at distance 2, found 1",
                 check(&c, broken, 4));
}

static void test_bad_ties(void **state)
{
    (void)state;
    static const struct {
        icd_tie tie[2];
        int32_t unit;
        const char *message;
    } CASE[] = {
        {{{0, 2}, {2, 4}}, 0, "tied twice"},
        {{{0, 2}, {1, 1}}, 0, "tied twice"},
        {{{0, 2}, {1, 5}}, 0, "found distance 4, expected 2"},
        {{{0, 2}, {4, 6}}, 0, "found index 6, expected 0 to 5"},
        {{{-1, 2}, {1, 3}}, 0, "found index -1"},
        {{{1, 2}, {3, 4}}, 2, "distance 1 crosses units of 2"},
    };
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; ++i) {
        icd_constraint c = {.unit = CASE[i].unit, .tie = CASE[i].tie, .ties = 2};
        assert_fails(ctx, ICD_EINVAL, CASE[i].message, icd_constraint_check(ctx, &c, 6));
    }
}

/* A tie inside a unit is kept by the unit, whatever its distance. */
static void test_tie_inside_unit(void **state)
{
    (void)state;
    const icd_tie inside[] = {{0, 1}};
    const int32_t moved[] = {2, 3, 0, 1};
    icd_constraint c = {.unit = 2, .tie = inside, .ties = 1};
    assert_ok(ctx, check(&c, moved, 4));
}

static void test_fixed(void **state)
{
    (void)state;
    const int32_t fixed[] = {1, 3}, kept[] = {2, 1, 0, 3}, broken[] = {0, 1, 3, 2},
                  high[] = {4};
    icd_constraint c = {.fixed = fixed, .fixed_count = 2};
    icd_constraint bad = {.fixed = high, .fixed_count = 1};
    assert_ok(ctx, check(&c, kept, 4));
    assert_fails(ctx, ICD_EINVAL, "index 3 is fixed, found in slot 2",
                 check(&c, broken, 4));
    assert_fails(ctx, ICD_EINVAL, "found index 4", icd_constraint_check(ctx, &bad, 4));
}

static icd_status allocate(icd_ctx *c, void *arg)
{
    const icd_tie tie[] = {{0, 2}};
    icd_constraint constraint = {.tie = tie, .ties = 1};
    icd_perm *p = NULL;
    (void)arg;
    icd_status status = icd_perm_identity(c, 4, 0, &p);
    if (status == ICD_OK) status = icd_constraint_check_perm(c, &constraint, p);
    icd_perm_free(c, p);
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
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_unit),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_bad_ties),
        cmocka_unit_test(test_tie_inside_unit),
        cmocka_unit_test(test_fixed),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
