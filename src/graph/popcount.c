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

/* Population counts of 32 bytes by table, a nibble at a time. @source Mula, Kurz, Lemire
 * (2018), 10.1093/comjnl/bxx046 */
__attribute__((target("avx2"))) static inline __m256i byte_counts(__m256i x)
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

/* A byte holds the counts of 31 vectors at most: 31 * 8 < 256. */
__attribute__((target("avx2"))) uint32_t
icd_i_popcount_avx2(const uint64_t *a, const uint64_t *b, int64_t words)
{
    __m256i total = _mm256_setzero_si256();
    for (int64_t k = 0; k < words;) {
        int64_t end = words - k > 31 * 4 ? k + 31 * 4 : words;
        __m256i bytes = _mm256_setzero_si256();
        for (; k < end; k += 4) {
            __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(a + k));
            __m256i y = _mm256_loadu_si256((const __m256i *)(const void *)(b + k));
            bytes = _mm256_add_epi8(bytes, byte_counts(_mm256_and_si256(x, y)));
        }
        total = _mm256_add_epi64(total, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
    }
    uint64_t lane[4];
    _mm256_storeu_si256((__m256i *)(void *)lane, total);
    return (uint32_t)(lane[0] + lane[1] + lane[2] + lane[3]);
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
