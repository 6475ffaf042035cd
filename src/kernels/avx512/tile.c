/* Tiles with AVX-512. vpdpbusd wants unsigned activations: a + 128, which adds
   128 * sum(w) to every row; starting from -comp takes it off again. All sums are modulo
   2^32, so the result is exact. */
#include "kernels/level.h"
#include "kernels/repeat.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

static inline __m512i broadcast4(const int8_t *a)
{
    uint32_t four;
    memcpy(&four, a, sizeof four);
    return _mm512_set1_epi32((int32_t)(four ^ 0x80808080u));
}

#define WEIGHTS(r) _mm512_loadu_si512(w + 64 * r)
#define START(r)                                                                         \
    _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_loadu_si512(comp + 16 * r))
#define SAVE(t, r) _mm512_storeu_si512(acc + t * vector + 16 * r, sum##t##r);

/* Four vectors of 16 rows; six tokens take 24 accumulators, 4 weights and an activation
   of the 32 registers. */
#define CLEAR_4(t)                                                                       \
    __m512i sum##t##0 = START(0), sum##t##1 = START(1);                                  \
    __m512i sum##t##2 = START(2), sum##t##3 = START(3);
#define STEP_4(t)                                                                        \
    {                                                                                    \
        __m512i b = broadcast4(x + t * lda);                                             \
        sum##t##0 = _mm512_dpbusd_epi32(sum##t##0, b, w0);                               \
        sum##t##1 = _mm512_dpbusd_epi32(sum##t##1, b, w1);                               \
        sum##t##2 = _mm512_dpbusd_epi32(sum##t##2, b, w2);                               \
        sum##t##3 = _mm512_dpbusd_epi32(sum##t##3, b, w3);                               \
    }
#define SAVE_4(t) SAVE(t, 0) SAVE(t, 1) SAVE(t, 2) SAVE(t, 3)
#define TILE_4(name, TOKENS)                                                             \
    static inline void name(const int8_t *a, int64_t lda, const int32_t *live,           \
                            int64_t count, const int8_t *w, const int32_t *comp,         \
                            int32_t vector, int32_t *acc)                                \
    {                                                                                    \
        TOKENS(CLEAR_4)                                                                  \
        for (int64_t j = 0; j < count; j++, w += 4 * (int64_t)vector) {                  \
            const int8_t *x = a + 4 * (live ? live[j] : j);                              \
            __m512i w0 = WEIGHTS(0), w1 = WEIGHTS(1), w2 = WEIGHTS(2), w3 = WEIGHTS(3);  \
            TOKENS(STEP_4)                                                               \
        }                                                                                \
        TOKENS(SAVE_4)                                                                   \
    }

#define CLEAR_1(t) __m512i sum##t##0 = START(0);
#define STEP_1(t)  sum##t##0 = _mm512_dpbusd_epi32(sum##t##0, broadcast4(x + t * lda), w0);
#define SAVE_1(t)  SAVE(t, 0)
#define TILE_1(name, TOKENS)                                                             \
    static inline void name(const int8_t *a, int64_t lda, const int32_t *live,           \
                            int64_t count, const int8_t *w, const int32_t *comp,         \
                            int32_t vector, int32_t *acc)                                \
    {                                                                                    \
        TOKENS(CLEAR_1)                                                                  \
        for (int64_t j = 0; j < count; j++, w += 4 * (int64_t)vector) {                  \
            const int8_t *x = a + 4 * (live ? live[j] : j);                              \
            __m512i w0 = WEIGHTS(0);                                                     \
            TOKENS(STEP_1)                                                               \
        }                                                                                \
        TOKENS(SAVE_1)                                                                   \
    }

TILE_4(tile_6x4, REPEAT_6)
TILE_4(tile_2x4, REPEAT_2)
TILE_4(tile_1x4, REPEAT_1)
TILE_1(tile_6x1, REPEAT_6)
TILE_1(tile_1x1, REPEAT_1)

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

/* One vector of 16 rows of f32; twelve tokens keep both multipliers busy. */
#define CLEAR_F32(t) __m512 sum##t = _mm512_setzero_ps();
#define STEP_F32(t)  sum##t = _mm512_fmadd_ps(_mm512_set1_ps(x[t * lda]), w0, sum##t);
#define SAVE_F32(t)  _mm512_storeu_ps(y + t * vector, sum##t);
#define TILE_F32(name, TOKENS)                                                           \
    static inline void name(const float *a, int64_t lda, const int32_t *live,            \
                            int64_t count, const float *w, int32_t vector, float *y)     \
    {                                                                                    \
        TOKENS(CLEAR_F32)                                                                \
        for (int64_t j = 0; j < count; j++, w += vector) {                               \
            const float *x = a + (live ? live[j] : j);                                   \
            __m512 w0 = _mm512_loadu_ps(w);                                              \
            TOKENS(STEP_F32)                                                             \
        }                                                                                \
        TOKENS(SAVE_F32)                                                                 \
    }

TILE_F32(tile_f32_12, REPEAT_12)
TILE_F32(tile_f32_1, REPEAT_1)

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
#endif
