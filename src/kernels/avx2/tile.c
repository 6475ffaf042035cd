/* Tiles with AVX2. maddubs wants one unsigned factor and saturates at 16 bits; with |a|
   and w * sign(a), both at most 127, a pair sums to 2 * 127 * 127 < 32768: exact. */
#include "kernels/gather.h"
#include "kernels/level.h"

#if defined(__x86_64__)
#include <immintrin.h>

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
                            int64_t count, const int8_t *w, int32_t vector,              \
                            int32_t *acc)                                                \
    {                                                                                    \
        __m256i sum[T][R];                                                               \
        for (int t = 0; t < T; t++)                                                      \
            for (int r = 0; r < R; r++) sum[t][r] = _mm256_setzero_si256();              \
        for (int64_t j = 0; j < count; j++, w += 4 * (int64_t)vector) {                  \
            const int8_t *x = a + 4 * (live ? live[j] : j);                              \
            for (int t = 0; t < T; t++) {                                                \
                __m256i b = broadcast4(x + t * lda), m = _mm256_abs_epi8(b);             \
                for (int r = 0; r < R; r++)                                              \
                    sum[t][r] = dot4(sum[t][r], m, b,                                    \
                                     _mm256_loadu_si256((const __m256i *)w + r));        \
            }                                                                            \
        }                                                                                \
        for (int t = 0; t < T; t++)                                                      \
            for (int r = 0; r < R; r++)                                                  \
                _mm256_storeu_si256((__m256i *)(acc + t * vector) + r, sum[t][r]);       \
    }

TILE(tile_3x4, 3, 4)
TILE(tile_2x4, 2, 4)
TILE(tile_1x8, 1, 8)
TILE(tile_1x4, 1, 4)
TILE(tile_3x2, 3, 2)
TILE(tile_1x2, 1, 2)

static void rows_32(const int8_t *a, int64_t lda, int64_t tokens, const int32_t *live,
                    int64_t count, const int8_t *w, int32_t vector, int32_t *acc)
{
    int64_t t = 0;
    for (; t + 3 <= tokens; t += 3)
        tile_3x4(a + t * lda, lda, live, count, w, vector, acc + t * vector);
    if (tokens - t == 2)
        tile_2x4(a + t * lda, lda, live, count, w, vector, acc + t * vector);
    if (tokens - t == 1)
        tile_1x4(a + t * lda, lda, live, count, w, vector, acc + t * vector);
}

static void rows_16(const int8_t *a, int64_t lda, int64_t tokens, const int32_t *live,
                    int64_t count, const int8_t *w, int32_t vector, int32_t *acc)
{
    int64_t t = 0;
    for (; t + 3 <= tokens; t += 3)
        tile_3x2(a + t * lda, lda, live, count, w, vector, acc + t * vector);
    for (; t < tokens; t++)
        tile_1x2(a + t * lda, lda, live, count, w, vector, acc + t * vector);
}

/* One token is bound by memory: whole groups of 64 rows, one behind the other. */
void icd_i_tile_block_avx2(const int8_t *a, int64_t lda, int64_t tokens,
                           const int32_t *live, int64_t count, const int8_t *w,
                           const int32_t *comp, int32_t vector, int32_t *acc)
{
    int32_t r = 0;
    (void)comp;
    for (; tokens == 1 && r + 64 <= vector; r += 64)
        tile_1x8(a, lda, live, count, w + 4 * r, vector, acc + r);
    for (; r + 32 <= vector; r += 32)
        rows_32(a, lda, tokens, live, count, w + 4 * r, vector, acc + r);
    if (r < vector) rows_16(a, lda, tokens, live, count, w + 4 * r, vector, acc + r);
}

/* T tokens x R vectors of 8 rows of f32. */
#define TILE_F32(name, T, R)                                                             \
    static inline void name(const float *a, int64_t lda, const int32_t *live,            \
                            int64_t count, const float *w, int32_t vector, float *y)     \
    {                                                                                    \
        __m256 sum[T][R];                                                                \
        for (int t = 0; t < T; t++)                                                      \
            for (int r = 0; r < R; r++) sum[t][r] = _mm256_setzero_ps();                 \
        for (int64_t j = 0; j < count; j++, w += vector) {                               \
            const float *x = a + (live ? live[j] : j);                                   \
            for (int t = 0; t < T; t++) {                                                \
                __m256 b = _mm256_broadcast_ss(x + t * lda);                             \
                for (int r = 0; r < R; r++)                                              \
                    sum[t][r] =                                                          \
                        _mm256_fmadd_ps(b, _mm256_loadu_ps(w + 8 * r), sum[t][r]);       \
            }                                                                            \
        }                                                                                \
        for (int t = 0; t < T; t++)                                                      \
            for (int r = 0; r < R; r++)                                                  \
                _mm256_storeu_ps(y + t * vector + 8 * r, sum[t][r]);                     \
    }

TILE_F32(tile_f32_6x2, 6, 2)
TILE_F32(tile_f32_1x2, 1, 2)

void icd_i_tile_block_f32_avx2(const float *a, int64_t lda, int64_t tokens,
                               const int32_t *live, int64_t count, const float *w,
                               int32_t vector, float *y)
{
    for (int32_t r = 0; r < vector; r += 16) {
        int64_t t = 0;
        for (; t + 6 <= tokens; t += 6)
            tile_f32_6x2(a + t * lda, lda, live, count, w + r, vector,
                         y + t * vector + r);
        for (; t < tokens; t++)
            tile_f32_1x2(a + t * lda, lda, live, count, w + r, vector,
                         y + t * vector + r);
    }
}

void icd_i_gather_rows_avx2(const int8_t *a, int64_t lda, int64_t tokens,
                            const int32_t *index, int64_t count, int8_t *out)
{
    gather_rows(a, lda, tokens, index, count, out);
}
#endif
