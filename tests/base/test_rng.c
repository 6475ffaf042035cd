#include "support.h"

#include "base/rng.h"

#include <math.h>
#include <string.h>

enum { SEED = 20240501 };

/* The first outputs of pcg32-demo of the reference implementation (seed 42, stream 54).
 */
static void the_reference_vector(void **state)
{
    (void)state;
    const uint32_t expected[] = {0xa15c02b7, 0x7b47f409, 0xba1d3330,
                                 0x83d2f293, 0xbfa4784b, 0xcbed606e};
    icd_rng rng;
    icd_i_rng_init(&rng, 42, 54);
    for (int i = 0; i < 6; i++) assert_int_equal(icd_i_rng_u32(&rng), expected[i]);
}

static void wide_draws_are_two_narrow_ones(void **state)
{
    (void)state;
    icd_rng a, b;
    icd_i_rng_init(&a, 42, 54);
    icd_i_rng_init(&b, 42, 54);
    uint64_t high = icd_i_rng_u32(&a), low = icd_i_rng_u32(&a);
    assert_true(icd_i_rng_u64(&b) == (high << 32 | low));
}

static void streams_differ(void **state)
{
    (void)state;
    icd_rng a, b;
    int equal = 0;
    icd_i_rng_init(&a, SEED, 1);
    icd_i_rng_init(&b, SEED, 2);
    for (int i = 0; i < 1000; i++) equal += icd_i_rng_u32(&a) == icd_i_rng_u32(&b);
    assert_true(equal < 3);
}

/* chi-square with bound-1 degrees of freedom stays under its mean plus six deviations. */
static void check_uniform(int64_t bound, int64_t draws)
{
    double count[64] = {0}, chi = 0, mean = (double)draws / (double)bound;
    icd_rng rng;
    icd_i_rng_init(&rng, SEED, (uint64_t)bound);
    for (int64_t i = 0; i < draws; i++) {
        int64_t value = icd_i_rng_below(&rng, bound);
        assert_true(value >= 0 && value < bound);
        count[value]++;
    }
    for (int64_t i = 0; i < bound; i++)
        chi += (count[i] - mean) * (count[i] - mean) / mean;
    double freedom = (double)bound - 1;
    if (chi > freedom + 6 * sqrt(2 * freedom) + 1e-9)
        fail_msg("bound %lld, seed %d: chi-square %g", (long long)bound, SEED, chi);
}

static void below_is_uniform(void **state)
{
    (void)state;
    check_uniform(1, 100);
    check_uniform(2, 20000);
    check_uniform(7, 20000);
    check_uniform(64, 60000);
}

/* Without rejection a bound of 3/4 of the range favours the lower third (x mod bound) or
 * every third value (x * bound / range). */
static void check_unbiased(int64_t bound)
{
    enum { DRAWS = 30000 };
    icd_rng rng;
    int low = 0, third = 0;
    icd_i_rng_init(&rng, SEED, 9);
    for (int i = 0; i < DRAWS; i++) {
        int64_t value = icd_i_rng_below(&rng, bound);
        assert_true(value >= 0 && value < bound);
        low += value < bound / 3;
        third += value % 3 == 0;
    }
    assert_near(low / (double)DRAWS, 1 / 3.0, 0.015);
    assert_near(third / (double)DRAWS, 1 / 3.0, 0.015);
}

static void large_bounds_are_unbiased(void **state)
{
    (void)state;
    check_unbiased(3221225472);          /* 3/4 of 2^32 */
    check_unbiased(4294967296);          /* 2^32: the first that takes two draws */
    check_unbiased(6917529027641081856); /* 3/8 of 2^64 */
    check_unbiased(INT64_MAX);
}

static void units_lie_in_the_half_open_interval(void **state)
{
    (void)state;
    icd_rng rng;
    double sum = 0, least = 1;
    icd_i_rng_init(&rng, SEED, 3);
    for (int i = 0; i < 100000; i++) {
        double u = icd_i_rng_unit(&rng);
        assert_true(u >= 0 && u < 1);
        sum += u;
        if (u < least) least = u;
    }
    assert_near(sum / 100000, 0.5, 0.006);
    assert_true(least < 1e-3);
}

static void normal_has_its_moments(void **state)
{
    (void)state;
    enum { DRAWS = 200000 };
    icd_rng rng;
    double power[5] = {0};
    int within = 0;
    icd_i_rng_init(&rng, SEED, 4);
    for (int i = 0; i < DRAWS; i++) {
        double x = icd_i_rng_normal(&rng), p = 1;
        assert_true(isfinite(x));
        for (int k = 1; k <= 4; k++) power[k] += (p *= x) / DRAWS;
        within += fabs(x) < 1;
    }
    assert_near(power[1], 0, 0.012);
    assert_near(power[2], 1, 0.02);
    assert_near(power[3], 0, 0.05);
    assert_near(power[4], 3, 0.15);
    assert_near(within / (double)DRAWS, 0.682689, 0.006);
}

/* The polar method with libm's log, which is right to the last bit but one. */
static double oracle_normal(icd_rng *rng)
{
    for (;;) {
        double u = 2 * icd_i_rng_unit(rng) - 1, v = 2 * icd_i_rng_unit(rng) - 1;
        double s = u * u + v * v;
        if (s < 1 && s > 0) return u * sqrt(-2 * log(s) / s);
    }
}

static void normal_agrees_with_libm(void **state)
{
    (void)state;
    icd_rng a, b;
    icd_i_rng_init(&a, SEED, 5);
    icd_i_rng_init(&b, SEED, 5);
    for (int i = 0; i < 100000; i++) {
        double x = icd_i_rng_normal(&a), y = oracle_normal(&b);
        assert_near(x, y, 1e-14 * (1 + fabs(y)));
    }
}

static void shuffles_are_permutations(void **state)
{
    (void)state;
    icd_rng rng;
    int32_t a[100];
    icd_i_rng_init(&rng, SEED, 6);
    icd_i_rng_shuffle(&rng, a, 0);
    for (int64_t n = 1; n <= 100; n++) {
        char seen[100] = {0};
        for (int32_t i = 0; i < n; i++) a[i] = i;
        icd_i_rng_shuffle(&rng, a, n);
        for (int64_t i = 0; i < n; i++) {
            assert_true(a[i] >= 0 && a[i] < n && !seen[a[i]]);
            seen[a[i]] = 1;
        }
    }
}

static void shuffles_are_equally_likely(void **state)
{
    (void)state;
    enum { DRAWS = 24000 };
    int count[64] = {0};
    icd_rng rng;
    icd_i_rng_init(&rng, SEED, 7);
    for (int i = 0; i < DRAWS; i++) {
        int32_t a[3] = {0, 1, 2};
        icd_i_rng_shuffle(&rng, a, 3);
        count[a[0] * 16 + a[1] * 4 + a[2]]++;
    }
    int orders = 0;
    for (int i = 0; i < 64; i++) {
        if (!count[i]) continue;
        orders++;
        assert_near(count[i], DRAWS / 6.0, 350);
    }
    assert_int_equal(orders, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_vector),
        cmocka_unit_test(wide_draws_are_two_narrow_ones),
        cmocka_unit_test(streams_differ),
        cmocka_unit_test(below_is_uniform),
        cmocka_unit_test(large_bounds_are_unbiased),
        cmocka_unit_test(units_lie_in_the_half_open_interval),
        cmocka_unit_test(normal_has_its_moments),
        cmocka_unit_test(normal_agrees_with_libm),
        cmocka_unit_test(shuffles_are_permutations),
        cmocka_unit_test(shuffles_are_equally_likely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
