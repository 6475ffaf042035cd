/**
 * @file levels.h
 * The levels that this machine can run, and random data for their kernels.
 */
#ifndef ICD_TEST_LEVELS_H
#define ICD_TEST_LEVELS_H

#include "support.h"

#include "base/rng.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Level `i` (0 is the reference), NULL behind the last; says which ones cannot run here.
 */
static inline const icd_kernels *level_at(int i)
{
    static const icd_isa ISA[] = {ICD_ISA_REF, ICD_ISA_AVX2, ICD_ISA_VNNI, ICD_ISA_AMX};
    static bool told;
    for (int k = 0; k < 4; k++) {
        if (icd_i_cpu_has(ISA[k])) {
            if (i-- == 0) return icd_i_kernels(ISA[k]);
        } else if (!told) {
            print_message("skipped: this CPU has no %s\n", icd_i_isa_name(ISA[k]));
        }
    }
    told = true;
    return NULL;
}

static inline void *checked_malloc(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    assert_non_null(p);
    return p;
}

/** -127..127, one in four at an end of the range: the sums that would saturate. */
static inline int8_t random_int8(icd_rng *rng)
{
    if (icd_i_rng_below(rng, 4) == 0) return icd_i_rng_below(rng, 2) ? 127 : -127;
    return (int8_t)(icd_i_rng_below(rng, 255) - 127);
}

static inline void fill_int8(icd_rng *rng, int8_t *a, int64_t n)
{
    for (int64_t i = 0; i < n; i++) a[i] = random_int8(rng);
}

static inline void fill_f32(icd_rng *rng, float *a, int64_t n)
{
    for (int64_t i = 0; i < n; i++) a[i] = (float)(3 * icd_i_rng_normal(rng));
}

/** Asserts the same bits; any NaN equals any NaN. */
static inline void assert_same_f32(const float *a, const float *b, int64_t n,
                                   const char *what)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i])))
            fail_msg("%s: element %lld is %a, expected %a", what, (long long)i,
                     (double)a[i], (double)b[i]);
}

#endif
