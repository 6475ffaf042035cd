/* Tiles with AVX-512. vpdpbusd wants unsigned activations: a + 128, which adds
   128 * sum(w) to every row; starting from -comp takes it off again. All sums are modulo
   2^32, so the result is exact. */
#include "kernels/gather.h"
#include "kernels/level.h"

#if defined(__x86_64__)
#include <immintrin.h>

static inline __m512i broadcast4(const int8_t *a)
{
    uint32_t four;
    memcpy(&four, a, sizeof four);
    return _mm512_set1_epi32((int32_t)(four ^ 0x80808080u));
}

/* Accumulates T tokens x R vectors of 16 rows: T * R + R + 1 of 32 registers. */
#define TILE(name, T, R)                                                                 \
    static inline void name(const int8_t *a, int64_t lda, const int32_t *live,           \
                            int64_t count, const int8_t *w, const int32_t *comp,         \
                            int32_t vector, int32_t *acc)                                \
    {                                                                                    \
        __m512i sum[T][R];                                                               \
        for (int r = 0; r < R; r++) {                                                    \
            __m512i start = _mm512_sub_epi32(_mm512_setzero_si512(),                     \
                                             _mm512_loadu_si512(comp + 16 * r));         \
            for (int t = 0; t < T; t++) sum[t][r] = start;                               \
        }                                                                                \
        for (int64_t j = 0; j < count; j++, w += 4 * (int64_t)vector) {                  \
            const int8_t *x = a + 4 * (live ? live[j] : j);                              \
            __m512i row[R];                                                              \
            for (int r = 0; r < R; r++) row[r] = _mm512_loadu_si512(w + 64 * r);         \
            for (int t = 0; t < T; t++) {                                                \
                __m512i b = broadcast4(x + t * lda);                                     \
                for (int r = 0; r < R; r++)                                              \
                    sum[t][r] = _mm512_dpbusd_epi32(sum[t][r], b, row[r]);               \
            }                                                                            \
        }                                                                                \
        for (int t = 0; t < T; t++)                                                      \
            for (int r = 0; r < R; r++)                                                  \
                _mm512_storeu_si512(acc + t * vector + 16 * r, sum[t][r]);               \
    }

TILE(tile_6x4, 6, 4)
TILE(tile_2x4, 2, 4)
TILE(tile_1x4, 1, 4)
TILE(tile_6x1, 6, 1)
TILE(tile_1x1, 1, 1)

static void rows_64(const int8_t *a, int64_t lda, int64_t tokens, const int32_t *live,
                    int64_t count, const int8_t *w, const int32_t *comp, int32_t vector,
                    int32_t *acc)
{
    int64_t t = 0;
    for (; t + 6 <= tokens; t += 6)
        tile_6x4(a + t * lda, lda, live, count, w, comp, vector, acc + t * vector);
    for (; t + 2 <= tokens; t += 2)
        tile_2x4(a + t * lda, lda, live, count, w, comp, vector, acc + t * vector);
    if (t < tokens)
        tile_1x4(a + t * lda, lda, live, count, w, comp, vector, acc + t * vector);
}

static void rows_16(const int8_t *a, int64_t lda, int64_t tokens, const int32_t *live,
                    int64_t count, const int8_t *w, const int32_t *comp, int32_t vector,
                    int32_t *acc)
{
    int64_t t = 0;
    for (; t + 6 <= tokens; t += 6)
        tile_6x1(a + t * lda, lda, live, count, w, comp, vector, acc + t * vector);
    for (; t < tokens; t++)
        tile_1x1(a + t * lda, lda, live, count, w, comp, vector, acc + t * vector);
}

void icd_i_tile_block_avx512(const int8_t *a, int64_t lda, int64_t tokens,
                             const int32_t *live, int64_t count, const int8_t *w,
                             const int32_t *comp, int32_t vector, int32_t *acc)
{
    int32_t r = 0;
    for (; r + 64 <= vector; r += 64)
        rows_64(a, lda, tokens, live, count, w + 4 * r, comp + r, vector, acc + r);
    for (; r < vector; r += 16)
        rows_16(a, lda, tokens, live, count, w + 4 * r, comp + r, vector, acc + r);
}

/* T tokens x one vector of 16 rows of f32. */
#define TILE_F32(name, T)                                                                \
    static inline void name(const float *a, int64_t lda, const int32_t *live,            \
                            int64_t count, const float *w, int32_t vector, float *y)     \
    {                                                                                    \
        __m512 sum[T];                                                                   \
        for (int t = 0; t < T; t++) sum[t] = _mm512_setzero_ps();                        \
        for (int64_t j = 0; j < count; j++, w += vector) {                               \
            const float *x = a + (live ? live[j] : j);                                   \
            __m512 row = _mm512_loadu_ps(w);                                             \
            for (int t = 0; t < T; t++)                                                  \
                sum[t] = _mm512_fmadd_ps(_mm512_set1_ps(x[t * lda]), row, sum[t]);       \
        }                                                                                \
        for (int t = 0; t < T; t++) _mm512_storeu_ps(y + t * vector, sum[t]);            \
    }

TILE_F32(tile_f32_12, 12)
TILE_F32(tile_f32_1, 1)

void icd_i_tile_block_f32_avx512(const float *a, int64_t lda, int64_t tokens,
                                 const int32_t *live, int64_t count, const float *w,
                                 int32_t vector, float *y)
{
    for (int32_t r = 0; r < vector; r += 16) {
        int64_t t = 0;
        for (; t + 12 <= tokens; t += 12)
            tile_f32_12(a + t * lda, lda, live, count, w + r, vector, y + t * vector + r);
        for (; t < tokens; t++)
            tile_f32_1(a + t * lda, lda, live, count, w + r, vector, y + t * vector + r);
    }
}

void icd_i_gather_rows_avx512(const int8_t *a, int64_t lda, int64_t tokens,
                              const int32_t *index, int64_t count, int8_t *out)
{
    gather_rows(a, lda, tokens, index, count, out);
}
#endif
