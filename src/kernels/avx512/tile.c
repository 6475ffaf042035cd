/* Tiles with AVX-512. vpdpbusd wants unsigned activations: a + 128, which adds
   128 * sum(w) to every row; starting from -comp takes it off again. All sums are modulo
   2^32, so the result is exact. */
#include "kernels/level.h"
#include "kernels/repeat.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

/* Groups of activations, groups of weights, how many. */
#define LIST const int32_t *live, const int32_t *at, int64_t count

/* A staged row: activations plus 128, the unsigned factor of VNNI. */
void icd_i_stage_rows_avx512(const int8_t *a, int64_t lda, int64_t tokens, int64_t slots,
                             uint8_t *out)
{
    for (int64_t t = 0; t < tokens; t++, out += icd_i_staged_bytes(slots))
        for (int64_t s = 0; s < slots; s++) out[s] = (uint8_t)(a[t * lda + s] + 128);
}

static inline __m512i broadcast4(const uint8_t *a)
{
    int32_t four;
    memcpy(&four, a, sizeof four);
    return _mm512_set1_epi32(four);
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
    static inline void name(const uint8_t *a, int64_t lda, LIST, const int8_t *lines,    \
                            const int32_t *comp, int32_t vector, int32_t *acc)           \
    {                                                                                    \
        TOKENS(CLEAR_4)                                                                  \
        for (int64_t j = 0; j < count; j++) {                                            \
            const uint8_t *x = a + 4 * (live ? live[j] : j);                             \
            const int8_t *w = lines + 4 * (int64_t)vector * (at ? at[j] : j);            \
            __m512i w0 = WEIGHTS(0), w1 = WEIGHTS(1), w2 = WEIGHTS(2), w3 = WEIGHTS(3);  \
            TOKENS(STEP_4)                                                               \
        }                                                                                \
        TOKENS(SAVE_4)                                                                   \
    }

#define CLEAR_1(t) __m512i sum##t##0 = START(0);
#define STEP_1(t)  sum##t##0 = _mm512_dpbusd_epi32(sum##t##0, broadcast4(x + t * lda), w0);
#define SAVE_1(t)  SAVE(t, 0)
#define TILE_1(name, TOKENS)                                                             \
    static inline void name(const uint8_t *a, int64_t lda, LIST, const int8_t *lines,    \
                            const int32_t *comp, int32_t vector, int32_t *acc)           \
    {                                                                                    \
        TOKENS(CLEAR_1)                                                                  \
        for (int64_t j = 0; j < count; j++) {                                            \
            const uint8_t *x = a + 4 * (live ? live[j] : j);                             \
            const int8_t *w = lines + 4 * (int64_t)vector * (at ? at[j] : j);            \
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

static void rows_64(const uint8_t *a, int64_t lda, int64_t tokens, LIST, const int8_t *w,
                    const int32_t *comp, int32_t vector, int32_t *acc)
{
    int64_t t = 0;
    for (; t + 6 <= tokens; t += 6)
        tile_6x4(a + t * lda, lda, live, at, count, w, comp, vector, acc + t * vector);
    for (; t + 2 <= tokens; t += 2)
        tile_2x4(a + t * lda, lda, live, at, count, w, comp, vector, acc + t * vector);
    if (t < tokens)
        tile_1x4(a + t * lda, lda, live, at, count, w, comp, vector, acc + t * vector);
}

static void rows_16(const uint8_t *a, int64_t lda, int64_t tokens, LIST, const int8_t *w,
                    const int32_t *comp, int32_t vector, int32_t *acc)
{
    int64_t t = 0;
    for (; t + 6 <= tokens; t += 6)
        tile_6x1(a + t * lda, lda, live, at, count, w, comp, vector, acc + t * vector);
    for (; t < tokens; t++)
        tile_1x1(a + t * lda, lda, live, at, count, w, comp, vector, acc + t * vector);
}

/* 128 * sum(w) of 16 rows over the groups of a list. */
static void offsets(const int32_t *at, int64_t count, const int8_t *w, int32_t vector,
                    int32_t *comp)
{
    __m512i sum = _mm512_setzero_si512(), all = _mm512_set1_epi32((int32_t)0x80808080u);
    for (int64_t j = 0; j < count; j++)
        sum = _mm512_dpbusd_epi32(sum, all,
                                  _mm512_loadu_si512(w + 4 * (int64_t)vector * at[j]));
    _mm512_storeu_si512(comp, sum);
}

void icd_i_tile_block_avx512(const uint8_t *a, int64_t slots, int64_t tokens,
                             const int32_t *live, const int32_t *at, int64_t count,
                             const int8_t *w, const int32_t *comp, int32_t vector,
                             int32_t *acc)
{
    int32_t own[64];
    int64_t lda = icd_i_staged_bytes(slots);
    for (int32_t r = 0, rows; r < vector; r += rows) {
        const int32_t *start = at ? own : comp + r;
        rows = r + 64 <= vector ? 64 : 16;
        for (int32_t k = 0; at && k < rows; k += 16)
            offsets(at, count, w + 4 * (r + k), vector, own + k);
        (rows == 64 ? rows_64 : rows_16)(a, lda, tokens, live, at, count, w + 4 * r,
                                         start, vector, acc + r);
    }
}
#endif
