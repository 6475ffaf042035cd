/**
 * @file rng.h
 * PCG32 (XSH-RR): small, seedable, the same stream on every machine.
 * @source O'Neill (2014), HMC-CS-2014-0905
 */
#ifndef ICD_BASE_RNG_H
#define ICD_BASE_RNG_H

#include <stdint.h>

typedef struct icd_rng {
    uint64_t state, inc;
} icd_rng;

/** Two different `stream`s of one seed are independent. */
void icd_i_rng_init(icd_rng *rng, uint64_t seed, uint64_t stream);
uint32_t icd_i_rng_u32(icd_rng *rng);
uint64_t icd_i_rng_u64(icd_rng *rng);

/** Uniform in [0, bound), without bias; bound > 0. @source Lemire (2019), 10.1145/3230636
 */
int64_t icd_i_rng_below(icd_rng *rng, int64_t bound);

/** Uniform in [0, 1) with 53 bits. */
double icd_i_rng_unit(icd_rng *rng);

/** Standard normal (Marsaglia polar); the same bits on every machine, unlike with libm's
 * log. */
double icd_i_rng_normal(icd_rng *rng);

/** Fisher-Yates. */
void icd_i_rng_shuffle(icd_rng *rng, int32_t *a, int64_t n);

#endif
