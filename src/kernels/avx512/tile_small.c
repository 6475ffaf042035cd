/* Tiles of 4-bit and of 2:4 weights with AVX-512 VNNI: 16 rows by up to four tokens. */
#include "kernels/level.h"
#include "kernels/repeat.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

enum { LINE_ROWS = 16 };

static inline int32_t four_bytes(const int8_t *a)
{
    int32_t four;
    memcpy(&four, a, sizeof four);
    return four;
}

static inline int64_t eight_bytes(const int8_t *a)
{
    int64_t eight;
    memcpy(&eight, a, sizeof eight);
    return eight;
}

/* Weights 0..15 are the unsigned factor; 8 sum(a) is taken off by the start. */
#define CLEAR(t) __m512i sum##t = _mm512_set1_epi32(-8 * total[t]);
#define STEP(t)                                                                          \
    sum##t =                                                                             \
        _mm512_dpbusd_epi32(sum##t, low, _mm512_set1_epi32(four_bytes(x + t * lda)));    \
    sum##t = _mm512_dpbusd_epi32(sum##t, high,                                           \
                                 _mm512_set1_epi32(four_bytes(x + t * lda + 4)));
#define SCALE(t)                                                                         \
    _mm512_storeu_ps(y + t * vector, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum##t), s,      \
                                                     _mm512_loadu_ps(y + t * vector)));

/* One group of `count` steps for 16 rows. */
#define GROUP(name, TOKENS)                                                              \
    static inline void name(const int8_t *a, int64_t lda, const int32_t *live,           \
                            int64_t begin, int64_t count, const uint8_t *w,              \
                            const float *scale, int32_t vector, const int32_t *total,    \
                            float *y)                                                    \
    {                                                                                    \
        const __m512i half = _mm512_set1_epi32(0x0F0F0F0F);                              \
        __m512 s = _mm512_loadu_ps(scale);                                               \
        TOKENS(CLEAR)                                                                    \
        for (int64_t j = 0; j < count; j++) {                                            \
            const int8_t *x = a + ICD_STEP * (live ? live[begin + j] : begin + j);       \
            __m512i line = _mm512_loadu_si512(w + 4 * vector * j);                       \
            __m512i low = _mm512_and_si512(line, half);                                  \
            __m512i high = _mm512_and_si512(_mm512_srli_epi32(line, 4), half);           \
            TOKENS(STEP)                                                                 \
        }                                                                                \
        TOKENS(SCALE)                                                                    \
    }

GROUP(group_1, REPEAT_1)
GROUP(group_4, REPEAT_4)

static int32_t total_of(const int8_t *a, const int32_t *live, int64_t begin,
                        int64_t count)
{
    int32_t sum = 0;
    for (int64_t j = begin; j < begin + count; j++) {
        const int8_t *x = a + ICD_STEP * (live ? live[j] : j);
        for (int k = 0; k < ICD_STEP; k++) sum += x[k];
    }
    return sum;
}

void icd_i_tile_block_int4_avx512(const int8_t *a, int64_t lda, int64_t tokens,
                                  const int32_t *live, int64_t count, int64_t per,
                                  const uint8_t *w, const float *scale, int32_t vector,
                                  float *y)
{
    memset(y, 0, (size_t)(tokens * vector) * sizeof *y);
    for (int64_t begin = 0; begin < count;
         begin += per, scale += vector, w += 4 * vector * per) {
        int64_t n = count - begin < per ? count - begin : per;
        for (int64_t t = 0, step; t < tokens; t += step) {
            const int8_t *x = a + t * lda;
            int32_t total[4];
            step = t + 4 <= tokens ? 4 : 1;
            for (int64_t i = 0; i < step; i++)
                total[i] = total_of(x + i * lda, live, begin, n);
            for (int32_t r = 0; r < vector; r += LINE_ROWS)
                (step == 4 ? group_4 : group_1)(x, lda, live, begin, n, w + 4 * r,
                                                scale + r, vector, total,
                                                y + t * vector + r);
        }
    }
}

/* Where each byte of a line of 16 rows comes from in eight activations. */
static inline __m512i sources(const int8_t *codes)
{
    __m512i b = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)codes));
    b = _mm512_or_si512(b, _mm512_slli_epi32(b, 12));
    b = _mm512_or_si512(b, _mm512_slli_epi32(b, 6));
    b = _mm512_and_si512(b, _mm512_set1_epi32(0x03030303));
    return _mm512_or_si512(b, _mm512_set1_epi32(0x04040000));
}

/* Activations become unsigned by adding 128; comp = 128 sum(w) is taken off. */
#define CLEAR_24(t) __m512i sum##t = start;
#define STEP_24(t)                                                                       \
    {                                                                                    \
        int64_t b = eight_bytes(x + t * lda) ^ (int64_t)UINT64_C(0x8080808080808080);    \
        sum##t = _mm512_dpbusd_epi32(                                                    \
            sum##t, _mm512_shuffle_epi8(_mm512_set1_epi64(b), from), line);              \
    }
#define SAVE_24(t) _mm512_storeu_si512(acc + t * vector, sum##t);
#define TILE_24(name, TOKENS)                                                            \
    static inline void name(const int8_t *a, int64_t lda, const int32_t *live,           \
                            int64_t count, const int8_t *w, const int8_t *codes,         \
                            const int32_t *comp, int32_t vector, int32_t *acc)           \
    {                                                                                    \
        __m512i start =                                                                  \
            _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_loadu_si512(comp));          \
        TOKENS(CLEAR_24)                                                                 \
        for (int64_t j = 0; j < count; j++, w += 5 * vector, codes += 5 * vector) {      \
            const int8_t *x = a + ICD_STEP * (live ? live[j] : j);                       \
            __m512i line = _mm512_loadu_si512(w), from = sources(codes);                 \
            TOKENS(STEP_24)                                                              \
        }                                                                                \
        TOKENS(SAVE_24)                                                                  \
    }

TILE_24(tile_24_1, REPEAT_1)
TILE_24(tile_24_4, REPEAT_4)

void icd_i_tile_block_24_avx512(const int8_t *a, int64_t lda, int64_t tokens,
                                const int32_t *live, int64_t count, const int8_t *w,
                                const int32_t *comp, int32_t vector, int32_t *acc)
{
    for (int32_t r = 0; r < vector; r += LINE_ROWS) {
        const int8_t *line = w + 4 * r, *codes = w + 4 * vector + r;
        int64_t t = 0;
        for (; t + 4 <= tokens; t += 4)
            tile_24_4(a + t * lda, lda, live, count, line, codes, comp + r, vector,
                      acc + t * vector + r);
        for (; t < tokens; t++)
            tile_24_1(a + t * lda, lda, live, count, line, codes, comp + r, vector,
                      acc + t * vector + r);
    }
}
#endif
