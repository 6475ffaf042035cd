#include "base/rng.h"

#include <assert.h>
#include <math.h>

void icd_i_rng_init(icd_rng *rng, uint64_t seed, uint64_t stream)
{
    rng->state = 0;
    rng->inc = stream << 1 | 1;
    icd_i_rng_u32(rng);
    rng->state += seed;
    icd_i_rng_u32(rng);
}

uint32_t icd_i_rng_u32(icd_rng *rng)
{
    uint64_t old = rng->state;
    rng->state = old * 6364136223846793005u + rng->inc;
    uint32_t shifted = (uint32_t)((old >> 18 ^ old) >> 27);
    uint32_t turn = (uint32_t)(old >> 59);
    return shifted >> turn | shifted << (-turn & 31);
}

uint64_t icd_i_rng_u64(icd_rng *rng)
{
    uint64_t high = icd_i_rng_u32(rng);
    return high << 32 | icd_i_rng_u32(rng);
}

/* The high half of draw * bound is uniform once draws with a low half under 2^32 mod
 * bound, which occur once too often, are dropped. */
static uint32_t below32(icd_rng *rng, uint32_t bound)
{
    uint64_t product = (uint64_t)icd_i_rng_u32(rng) * bound;
    if ((uint32_t)product < bound) {
        uint32_t surplus = -bound % bound;
        while ((uint32_t)product < surplus)
            product = (uint64_t)icd_i_rng_u32(rng) * bound;
    }
    return (uint32_t)(product >> 32);
}

static uint64_t below64(icd_rng *rng, uint64_t bound)
{
    uint64_t surplus = -bound % bound;
    uint64_t draw;
    do draw = icd_i_rng_u64(rng);
    while (draw < surplus);
    return draw % bound;
}

int64_t icd_i_rng_below(icd_rng *rng, int64_t bound)
{
    assert(bound > 0);
    if (bound <= UINT32_MAX) return (int64_t)below32(rng, (uint32_t)bound);
    return (int64_t)below64(rng, (uint64_t)bound);
}

double icd_i_rng_unit(icd_rng *rng)
{
    return (double)(icd_i_rng_u64(rng) >> 11) * 0x1p-53;
}

/* ln x for x > 0 from + * / alone: the C library picks its log by CPU, and its last bit
 * with it. x = m 2^e, m in [1/sqrt 2, sqrt 2); ln m = 2 atanh z with z = (m-1)/(m+1), |z|
 * < 0.172. */
static double portable_log(double x)
{
    int e = 0;
    double m = frexp(x, &e);
    if (m < 0.70710678118654752) {
        m *= 2;
        e--;
    }
    double z = (m - 1) / (m + 1), zz = z * z, sum = 0;
    for (int k = 21; k >= 1; k -= 2) sum = sum * zz + 1.0 / k;
    return e * 0.69314718055994531 + 2 * z * sum;
}

double icd_i_rng_normal(icd_rng *rng)
{
    double u, v, s;
    do {
        u = 2 * icd_i_rng_unit(rng) - 1;
        v = 2 * icd_i_rng_unit(rng) - 1;
        s = u * u + v * v;
    } while (s >= 1 || s <= 0);
    return u * sqrt(-2 * portable_log(s) / s);
}

void icd_i_rng_shuffle(icd_rng *rng, int32_t *a, int64_t n)
{
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = icd_i_rng_below(rng, i + 1);
        int32_t t = a[i];
        a[i] = a[j];
        a[j] = t;
    }
}
