/* int8 tiles with AVX2. maddubs wants one unsigned factor and saturates at 16 bits; with
   |a| and w * sign(a), both at most 127, a pair sums to 2 * 127 * 127 < 32768: exact. */
#include "kernels/level.h"

#include <immintrin.h>
#include <string.h>

static inline __m256i dot4(__m256i acc, __m256i magnitude, __m256i a, __m256i w)
{
    __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(w, a));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

static inline __m256i broadcast4(const int8_t *a)
{
    int32_t four;
    memcpy(&four, a, sizeof four);
    return _mm256_set1_epi32(four);
}

/* Accumulates T tokens x R vectors of 8 rows. T * R accumulators, one weight, two
   activations and the ones fit into 16 registers for T * R <= 12. */
#define TILE(name, T, R)                                                                 \
    static inline void name(const int8_t *a, int64_t lda, const int32_t *live,           \
                            int64_t count, const int8_t *w, int64_t stride,              \
                            int32_t vector, int32_t *acc)                                \
    {                                                                                    \
        __m256i sum[T][R];                                                               \
        for (int t = 0; t < T; t++)                                                      \
            for (int r = 0; r < R; r++) sum[t][r] = _mm256_setzero_si256();              \
        for (int64_t j = 0; j < count; j++, w += stride) {                               \
            const int8_t *x = a + 4 * (live ? live[j] : j);                              \
            for (int t = 0; t < T; t++) {                                                \
                __m256i b = broadcast4(x + t * lda), m = _mm256_abs_epi8(b);             \
                for (int r = 0; r < R; r++)                                              \
                    sum[t][r] = dot4(sum[t][r], m, b,                                    \
                                     _mm256_load_si256((const __m256i *)w + r));         \
            }                                                                            \
        }                                                                                \
        for (int t = 0; t < T; t++)                                                      \
            for (int r = 0; r < R; r++)                                                  \
                _mm256_storeu_si256((__m256i *)(acc + t * vector) + r, sum[t][r]);       \
    }

TILE(tile_3x4, 3, 4)
TILE(tile_2x4, 2, 4)
TILE(tile_1x4, 1, 4)
TILE(tile_3x2, 3, 2)
TILE(tile_1x2, 1, 2)

/* 32 rows (4 vectors) for all tokens. */
static void rows_32(const int8_t *a, int64_t lda, int64_t tokens, const int32_t *live,
                    int64_t count, const int8_t *w, int32_t vector, int32_t *acc)
{
    int64_t stride = (int64_t)vector * 4, t = 0;
    for (; t + 3 <= tokens; t += 3)
        tile_3x4(a + t * lda, lda, live, count, w, stride, vector, acc + t * vector);
    if (tokens - t == 2)
        tile_2x4(a + t * lda, lda, live, count, w, stride, vector, acc + t * vector);
    if (tokens - t == 1)
        tile_1x4(a + t * lda, lda, live, count, w, stride, vector, acc + t * vector);
}

static void rows_16(const int8_t *a, int64_t lda, int64_t tokens, const int32_t *live,
                    int64_t count, const int8_t *w, int32_t vector, int32_t *acc)
{
    int64_t stride = (int64_t)vector * 4, t = 0;
    for (; t + 3 <= tokens; t += 3)
        tile_3x2(a + t * lda, lda, live, count, w, stride, vector, acc + t * vector);
    for (; t < tokens; t++)
        tile_1x2(a + t * lda, lda, live, count, w, stride, vector, acc + t * vector);
}

void icd_i_tile_block_avx2(const int8_t *a, int64_t lda, int64_t tokens,
                           const int32_t *live, int64_t count, const int8_t *w,
                           const int32_t *comp, int32_t vector, int32_t *acc)
{
    int32_t r = 0;
    (void)comp;
    for (; r + 32 <= vector; r += 32)
        rows_32(a, lda, tokens, live, count, w + 4 * r, vector, acc + r);
    if (r < vector) rows_16(a, lda, tokens, live, count, w + 4 * r, vector, acc + r);
}

/* AVX2 has no byte gather; four indices at a time keep the loads independent. */
void icd_i_gather_row_avx2(const int8_t *a, const int32_t *index, int64_t count,
                           int8_t *out)
{
    for (int64_t k = 0; k < count; k += 4)
        for (int i = 0; i < 4; i++) out[k + i] = index[k + i] < 0 ? 0 : a[index[k + i]];
}
