/* Tiles with AVX2. maddubs wants one unsigned factor and saturates at 16 bits; with |a|
   and w * sign(a), both at most 127, a pair sums to 2 * 127 * 127 < 32768: exact. */
#include "kernels/level.h"
#include "kernels/repeat.h"

#if defined(__x86_64__)
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

#define WEIGHTS(r) _mm256_loadu_si256((const __m256i *)w + r)
#define SAVE(t, r) _mm256_storeu_si256((__m256i *)(acc + t * vector) + r, sum##t##r);

/* Four vectors of 8 rows. With two tokens the 8 accumulators, 4 weights, two forms of an
   activation, the ones and a product fill the 16 registers; maddubs and madd then run at
   the rate of the multipliers. 3 x 4 and 4 x 2 tiles are as fast, and tiles of 16-bit
   weights with madd alone 15 % slower (Zen 3). */
#define CLEAR_4(t)                                                                       \
    __m256i sum##t##0 = _mm256_setzero_si256(), sum##t##1 = sum##t##0;                   \
    __m256i sum##t##2 = sum##t##0, sum##t##3 = sum##t##0;
#define STEP_4(t)                                                                        \
    {                                                                                    \
        __m256i b = broadcast4(x + t * lda), m = _mm256_abs_epi8(b);                     \
        sum##t##0 = dot4(sum##t##0, m, b, w0);                                           \
        sum##t##1 = dot4(sum##t##1, m, b, w1);                                           \
        sum##t##2 = dot4(sum##t##2, m, b, w2);                                           \
        sum##t##3 = dot4(sum##t##3, m, b, w3);                                           \
    }
#define SAVE_4(t) SAVE(t, 0) SAVE(t, 1) SAVE(t, 2) SAVE(t, 3)
#define TILE_4(name, TOKENS)                                                             \
    static inline void name(const int8_t *a, int64_t lda, const int32_t *live,           \
                            const int32_t *at, int64_t count, const int8_t *lines,       \
                            int32_t vector, int32_t *acc)                                \
    {                                                                                    \
        TOKENS(CLEAR_4)                                                                  \
        for (int64_t j = 0; j < count; j++) {                                            \
            const int8_t *x = a + 4 * (live ? live[j] : j);                              \
            const int8_t *w = lines + 4 * (int64_t)vector * (at ? at[j] : j);            \
            __m256i w0 = WEIGHTS(0), w1 = WEIGHTS(1), w2 = WEIGHTS(2), w3 = WEIGHTS(3);  \
            TOKENS(STEP_4)                                                               \
        }                                                                                \
        TOKENS(SAVE_4)                                                                   \
    }

#define CLEAR_2(t) __m256i sum##t##0 = _mm256_setzero_si256(), sum##t##1 = sum##t##0;
#define STEP_2(t)                                                                        \
    {                                                                                    \
        __m256i b = broadcast4(x + t * lda), m = _mm256_abs_epi8(b);                     \
        sum##t##0 = dot4(sum##t##0, m, b, w0);                                           \
        sum##t##1 = dot4(sum##t##1, m, b, w1);                                           \
    }
#define SAVE_2(t) SAVE(t, 0) SAVE(t, 1)
#define TILE_2(name, TOKENS)                                                             \
    static inline void name(const int8_t *a, int64_t lda, const int32_t *live,           \
                            const int32_t *at, int64_t count, const int8_t *lines,       \
                            int32_t vector, int32_t *acc)                                \
    {                                                                                    \
        TOKENS(CLEAR_2)                                                                  \
        for (int64_t j = 0; j < count; j++) {                                            \
            const int8_t *x = a + 4 * (live ? live[j] : j);                              \
            const int8_t *w = lines + 4 * (int64_t)vector * (at ? at[j] : j);            \
            __m256i w0 = WEIGHTS(0), w1 = WEIGHTS(1);                                    \
            TOKENS(STEP_2)                                                               \
        }                                                                                \
        TOKENS(SAVE_2)                                                                   \
    }

TILE_4(tile_2x4, REPEAT_2)
TILE_4(tile_1x4, REPEAT_1)
TILE_2(tile_3x2, REPEAT_3)
TILE_2(tile_1x2, REPEAT_1)

static void rows_32(const int8_t *a, int64_t lda, int64_t tokens, const int32_t *live,
                    const int32_t *at, int64_t count, const int8_t *w, int32_t vector,
                    int32_t *acc)
{
    int64_t t = 0;
    for (; t + 2 <= tokens; t += 2)
        tile_2x4(a + t * lda, lda, live, at, count, w, vector, acc + t * vector);
    if (t < tokens)
        tile_1x4(a + t * lda, lda, live, at, count, w, vector, acc + t * vector);
}

static void rows_16(const int8_t *a, int64_t lda, int64_t tokens, const int32_t *live,
                    const int32_t *at, int64_t count, const int8_t *w, int32_t vector,
                    int32_t *acc)
{
    int64_t t = 0;
    for (; t + 3 <= tokens; t += 3)
        tile_3x2(a + t * lda, lda, live, at, count, w, vector, acc + t * vector);
    for (; t < tokens; t++)
        tile_1x2(a + t * lda, lda, live, at, count, w, vector, acc + t * vector);
}

/* 64 rows by one token. Sums of integers have no order, so the list is read as four
   streams, each of whole lines one behind the other: memory answers a core that reads at
   one place only with two thirds of its bandwidth. */
enum { STREAMS = 4 };
#define WIDE_CLEAR(k) __m256i sum##k = _mm256_setzero_si256();
#define WIDE_STEP(k)  sum##k = dot4(sum##k, m, b, WEIGHTS(k));
#define WIDE_SAVE(k)  _mm256_storeu_si256((__m256i *)acc + k, sum##k);

static void rows_64(const int8_t *a, const int32_t *live, const int32_t *at,
                    int64_t count, const int8_t *lines, int32_t vector, int32_t *acc)
{
    int64_t part = (count + STREAMS - 1) / STREAMS;
    REPEAT_8(WIDE_CLEAR)
    for (int64_t i = 0; i < part; i++)
        for (int64_t j = i; j < count; j += part) {
            const int8_t *w = lines + 4 * (int64_t)vector * (at ? at[j] : j);
            __m256i b = broadcast4(a + 4 * (live ? live[j] : j)), m = _mm256_abs_epi8(b);
            REPEAT_8(WIDE_STEP)
        }
    REPEAT_8(WIDE_SAVE)
}

void icd_i_tile_block_avx2(const int8_t *a, int64_t lda, int64_t tokens,
                           const int32_t *live, const int32_t *at, int64_t count,
                           const int8_t *w, const int32_t *comp, int32_t vector,
                           int32_t *acc)
{
    int32_t r = 0;
    (void)comp;
    for (; tokens == 1 && r + 64 <= vector; r += 64)
        rows_64(a, live, at, count, w + 4 * r, vector, acc + r);
    for (; r + 32 <= vector; r += 32)
        rows_32(a, lda, tokens, live, at, count, w + 4 * r, vector, acc + r);
    if (r < vector) rows_16(a, lda, tokens, live, at, count, w + 4 * r, vector, acc + r);
}
#endif
