#include "solver/nm_maxima.h"

#include "base/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static void add(const int16_t *rest, icd_nm_columns column, int32_t base, int32_t *line)
{
    const int16_t *x = column.first;
    for (int64_t c = 0; c < column.count; ++c, x += column.pitch) {
        int32_t sum = base;
        for (int64_t r = 0; r < column.rows; ++r) sum += rest[r] > x[r] ? rest[r] : x[r];
        line[c] += sum;
    }
}

static void sort(int16_t *restrict level, int16_t *restrict carry, int64_t rows)
{
    for (int64_t r = 0; r < rows; ++r) {
        int16_t a = level[r], b = carry[r];
        level[r] = a > b ? a : b;
        carry[r] = a > b ? b : a;
    }
}

static int32_t best(const int32_t *a, const int32_t *b, const int32_t *noise,
                    int64_t count, int64_t *at)
{
    int32_t most = INT32_MIN;
    for (int64_t k = 0; k < count; ++k) {
        int32_t sum = a[k] + b[k] + noise[k];
        if (sum <= most) continue;
        most = sum;
        *at = k;
    }
    return most;
}

icd_nm_maxima icd_i_nm_maxima_plain(void)
{
    return (icd_nm_maxima){.add = add, .sort = sort, .best = best};
}

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2")))

AVX2 static __m256i load(const void *at)
{
    return _mm256_loadu_si256((const __m256i *)at);
}

AVX2 static __m256i sum_pairs(__m256i sum, __m256i rest, const int16_t *column)
{
    __m256i larger = _mm256_max_epi16(rest, load(column));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(larger, _mm256_set1_epi16(1)));
}

/* Four columns share the loads of rest and one reduction. */
AVX2 static void add_4(const int16_t *rest, const icd_nm_columns *column, int64_t first,
                       int32_t base, int32_t *line)
{
    const int16_t *x = column->first + first * column->pitch;
    const int16_t *y = x + column->pitch, *z = y + column->pitch, *w = z + column->pitch;
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (int64_t r = 0; r < column->rows; r += ICD_NM_LANES) {
        __m256i t = load(rest + r);
        a = sum_pairs(a, t, x + r);
        b = sum_pairs(b, t, y + r);
        c = sum_pairs(c, t, z + r);
        d = sum_pairs(d, t, w + r);
    }
    a = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    __m128i sum =
        _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    __m128i *out = (__m128i *)(line + first);
    sum = _mm_add_epi32(sum, _mm_set1_epi32(base));
    _mm_storeu_si128(out, _mm_add_epi32(_mm_loadu_si128(out), sum));
}

AVX2 static void add_avx2(const int16_t *rest, icd_nm_columns column, int32_t base,
                          int32_t *line)
{
    int64_t c = 0;
    for (; c + 4 <= column.count; c += 4) add_4(rest, &column, c, base, line);
    column.first += c * column.pitch;
    column.count -= c;
    add(rest, column, base, line + c);
}

AVX2 static void sort_avx2(int16_t *restrict level, int16_t *restrict carry, int64_t rows)
{
    for (int64_t r = 0; r < rows; r += ICD_NM_LANES) {
        __m256i a = load(level + r), b = load(carry + r);
        _mm256_storeu_si256((__m256i *)(level + r), _mm256_max_epi16(a, b));
        _mm256_storeu_si256((__m256i *)(carry + r), _mm256_min_epi16(a, b));
    }
}

AVX2 static int32_t largest_lane(__m256i x)
{
    __m128i a = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    a = _mm_max_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    a = _mm_max_epi32(a, _mm_shuffle_epi32(a, 0xb1));
    return _mm_cvtsi128_si32(a);
}

AVX2 static int32_t best_avx2(const int32_t *a, const int32_t *b, const int32_t *noise,
                              int64_t count, int64_t *at)
{
    __m256i most = _mm256_set1_epi32(INT32_MIN);
    int64_t k = 0, end = count & ~(int64_t)7;
    for (; k < end; k += 8) {
        __m256i sum = _mm256_add_epi32(load(a + k), load(b + k));
        most = _mm256_max_epi32(most, _mm256_add_epi32(sum, load(noise + k)));
    }
    int32_t value = largest_lane(most);
    for (; k < count; ++k)
        if (a[k] + b[k] + noise[k] > value) value = a[k] + b[k] + noise[k];
    if (value <= 0) return value;
    for (k = 0; a[k] + b[k] + noise[k] != value;) ++k;
    *at = k;
    return value;
}
#endif

icd_nm_maxima icd_i_nm_maxima(void)
{
#if defined(__x86_64__)
    if (icd_i_cpu_has(ICD_ISA_AVX2))
        return (icd_nm_maxima){add_avx2, sort_avx2, best_avx2};
#endif
    return icd_i_nm_maxima_plain();
}
