#include "graph/bits.h"

#include "base/cpu.h"

uint32_t icd_i_popcount_ref(const uint64_t *a, const uint64_t *b, int64_t words)
{
    int64_t count = 0;
    for (int64_t k = 0; k < words; k++) count += __builtin_popcountll(a[k] & b[k]);
    return (uint32_t)count;
}

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i both(const uint64_t *a, const uint64_t *b)
{
    __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)a);
    __m256i y = _mm256_loadu_si256((const __m256i *)(const void *)b);
    return _mm256_and_si256(x, y);
}

/* Population counts of 32 bytes by table, a nibble at a time. */
AVX2 static inline __m256i byte_counts(__m256i x)
{
    const __m256i table =
        _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2,
                         2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i low = _mm256_and_si256(x, nibble);
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble);
    return _mm256_add_epi8(_mm256_shuffle_epi8(table, low),
                           _mm256_shuffle_epi8(table, high));
}

/* Adds three bits in every place: *sum keeps the low digit, the high one is returned. */
AVX2 static inline __m256i carry(__m256i *sum, __m256i a, __m256i b)
{
    __m256i differ = _mm256_xor_si256(a, b);
    __m256i high =
        _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(differ, *sum));
    *sum = _mm256_xor_si256(differ, *sum);
    return high;
}

/* What carry-save adders have collected: digit d counts 2^d. */
typedef struct digits {
    __m256i ones, twos, fours;
} digits;

/* Eight vectors in, one of eights out. */
AVX2 static inline __m256i add_eight(digits *d, const uint64_t *a, const uint64_t *b)
{
    __m256i two0 = carry(&d->ones, both(a, b), both(a + 4, b + 4));
    __m256i two1 = carry(&d->ones, both(a + 8, b + 8), both(a + 12, b + 12));
    __m256i four0 = carry(&d->twos, two0, two1);
    two0 = carry(&d->ones, both(a + 16, b + 16), both(a + 20, b + 20));
    two1 = carry(&d->ones, both(a + 24, b + 24), both(a + 28, b + 28));
    __m256i four1 = carry(&d->twos, two0, two1);
    return carry(&d->fours, four0, four1);
}

AVX2 static inline __m256i weighted(__m256i bytes, int digit)
{
    return _mm256_slli_epi64(_mm256_sad_epu8(bytes, _mm256_setzero_si256()), digit);
}

AVX2 static inline uint32_t lane_sum(__m256i x)
{
    __m128i half =
        _mm_add_epi64(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    return (uint32_t)(_mm_cvtsi128_si64(half) + _mm_extract_epi64(half, 1));
}

/* A byte counts at most 8 per vector, and there are at most ICD_BITS_WORDS / 4 = 32
 * vectors: 4 of eights and 7 left over. @source Mula, Kurz, Lemire
 * (2018), 10.1093/comjnl/bxx046 */
AVX2 uint32_t icd_i_popcount_avx2(const uint64_t *a, const uint64_t *b, int64_t words)
{
    __m256i zero = _mm256_setzero_si256(), eights = zero, rest = zero;
    digits d = {zero, zero, zero};
    int64_t k = 0;
    for (; k + 32 <= words; k += 32)
        eights = _mm256_add_epi8(eights, byte_counts(add_eight(&d, a + k, b + k)));
    for (; k < words; k += 4)
        rest = _mm256_add_epi8(rest, byte_counts(both(a + k, b + k)));
    rest = _mm256_add_epi8(rest, byte_counts(d.ones));
    __m256i low = _mm256_add_epi64(weighted(rest, 0), weighted(byte_counts(d.twos), 1));
    __m256i high =
        _mm256_add_epi64(weighted(byte_counts(d.fours), 2), weighted(eights, 3));
    return lane_sum(_mm256_add_epi64(low, high));
}
#else
uint32_t icd_i_popcount_avx2(const uint64_t *a, const uint64_t *b, int64_t words)
{
    return icd_i_popcount_ref(a, b, words);
}
#endif

icd_i_popcount_fn *icd_i_popcount_best(void)
{
    return icd_i_cpu_has(ICD_ISA_AVX2) ? icd_i_popcount_avx2 : icd_i_popcount_ref;
}
