/* Tiles of 4-bit and of 2:4 weights with AVX2: 16 rows by up to two tokens. */
#include "kernels/level.h"
#include "kernels/repeat.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

enum { LINE_ROWS = 16, BURST = 4 }; /* 4 steps x 2 x 2 * 15 * 127 < 32768 */

static inline __m256i broadcast4(const int8_t *a)
{
    int32_t four;
    memcpy(&four, a, sizeof four);
    return _mm256_set1_epi32(four);
}

static inline __m256i broadcast8(const int8_t *a)
{
    int64_t eight;
    memcpy(&eight, a, sizeof eight);
    return _mm256_set1_epi64x(eight);
}

static inline __m256i load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static inline __m256i widen(__m256i sum, __m256i pairs)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* Weights 0..15 take the unsigned place of maddubs; 8 sum(a) is taken off at the end. */
#define CLEAR(t)                                                                         \
    __m256i sum##t##0 = _mm256_set1_epi32(-8 * total[t]), sum##t##1 = sum##t##0;
#define CLEAR_PAIRS(t)                                                                   \
    __m256i pairs##t##0 = _mm256_setzero_si256(), pairs##t##1 = pairs##t##0;
#define STEP(t)                                                                          \
    {                                                                                    \
        __m256i b = broadcast4(x + t * lda), c = broadcast4(x + t * lda + 4);            \
        __m256i p = _mm256_add_epi16(_mm256_maddubs_epi16(low0, b),                      \
                                     _mm256_maddubs_epi16(high0, c));                    \
        __m256i q = _mm256_add_epi16(_mm256_maddubs_epi16(low1, b),                      \
                                     _mm256_maddubs_epi16(high1, c));                    \
        pairs##t##0 = _mm256_add_epi16(pairs##t##0, p);                                  \
        pairs##t##1 = _mm256_add_epi16(pairs##t##1, q);                                  \
    }
#define WIDEN(t)                                                                         \
    sum##t##0 = widen(sum##t##0, pairs##t##0);                                           \
    sum##t##1 = widen(sum##t##1, pairs##t##1);
#define SCALE(t)                                                                         \
    {                                                                                    \
        float *to = y + t * vector;                                                      \
        __m256 first =                                                                   \
            _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum##t##0), s0, _mm256_loadu_ps(to));     \
        __m256 second =                                                                  \
            _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum##t##1), s1, _mm256_loadu_ps(to + 8)); \
        _mm256_storeu_ps(to, first);                                                     \
        _mm256_storeu_ps(to + 8, second);                                                \
    }

/* One group of `count` steps for 16 rows. */
#define GROUP(name, TOKENS)                                                              \
    static inline void name(const int8_t *a, int64_t lda, const int32_t *live,           \
                            int64_t begin, int64_t count, const uint8_t *w,              \
                            const float *scale, int32_t vector, const int32_t *total,    \
                            float *y)                                                    \
    {                                                                                    \
        const __m256i half = _mm256_set1_epi8(15);                                       \
        __m256 s0 = _mm256_loadu_ps(scale), s1 = _mm256_loadu_ps(scale + 8);             \
        TOKENS(CLEAR)                                                                    \
        for (int64_t j = 0; j < count;) {                                                \
            int64_t end = j + BURST < count ? j + BURST : count;                         \
            TOKENS(CLEAR_PAIRS)                                                          \
            for (; j < end; j++) {                                                       \
                const int8_t *x = a + ICD_STEP * (live ? live[begin + j] : begin + j);   \
                __m256i w0 = load(w + 4 * vector * j),                                   \
                        w1 = load(w + 4 * vector * j + 32);                              \
                __m256i low0 = _mm256_and_si256(w0, half);                               \
                __m256i low1 = _mm256_and_si256(w1, half);                               \
                __m256i high0 = _mm256_and_si256(_mm256_srli_epi16(w0, 4), half);        \
                __m256i high1 = _mm256_and_si256(_mm256_srli_epi16(w1, 4), half);        \
                TOKENS(STEP)                                                             \
            }                                                                            \
            TOKENS(WIDEN)                                                                \
        }                                                                                \
        TOKENS(SCALE)                                                                    \
    }

GROUP(group_1, REPEAT_1)
GROUP(group_2, REPEAT_2)

/* The same for 64 rows and one token: whole lines of memory one behind the other, asked
   for early. */
enum { AHEAD = 4096 };
#define FETCH(k)      _mm_prefetch((const char *)line + AHEAD + 64 * k, _MM_HINT_T0);
#define WIDE_ROWS     64
#define WIDE_CLEAR(k) __m256i sum##k = start;
#define WIDE_PAIRS(k) __m256i pairs##k = _mm256_setzero_si256();
#define WIDE_STEP(k)                                                                     \
    {                                                                                    \
        __m256i v = load(line + 32 * k);                                                 \
        __m256i high = _mm256_and_si256(_mm256_srli_epi16(v, 4), half);                  \
        __m256i p = _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_and_si256(v, half), b), \
                                     _mm256_maddubs_epi16(high, c));                     \
        pairs##k = _mm256_add_epi16(pairs##k, p);                                        \
    }
#define WIDE_WIDEN(k) sum##k = widen(sum##k, pairs##k);
#define WIDE_SCALE(k)                                                                    \
    _mm256_storeu_ps(y + 8 * k, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum##k),              \
                                                _mm256_loadu_ps(scale + 8 * k),          \
                                                _mm256_loadu_ps(y + 8 * k)));

static void group_wide(const int8_t *a, const int32_t *live, int64_t begin, int64_t count,
                       const uint8_t *w, const float *scale, int32_t vector,
                       int32_t total, float *y)
{
    const __m256i half = _mm256_set1_epi8(15), start = _mm256_set1_epi32(-8 * total);
    const uint8_t *line = w;
    REPEAT_8(WIDE_CLEAR)
    for (int64_t j = 0; j < count;) {
        int64_t end = j + BURST < count ? j + BURST : count;
        REPEAT_8(WIDE_PAIRS)
        for (; j < end; j++, line += 4 * vector) {
            const int8_t *x = a + ICD_STEP * (live ? live[begin + j] : begin + j);
            __m256i b = broadcast4(x), c = broadcast4(x + 4);
            REPEAT_4(FETCH)
            REPEAT_8(WIDE_STEP)
        }
        REPEAT_8(WIDE_WIDEN)
    }
    REPEAT_8(WIDE_SCALE)
}

/* The sum of a token's activations over a group. */
static int32_t total_of(const int8_t *a, const int32_t *live, int64_t begin,
                        int64_t count)
{
    const __m128i one = _mm_set1_epi16(1);
    __m128i sum = _mm_setzero_si128();
    int32_t lane[4];
    for (int64_t j = begin; j < begin + count; j++) {
        const int8_t *x = a + ICD_STEP * (live ? live[j] : j);
        __m128i wide = _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)x));
        sum = _mm_add_epi32(sum, _mm_madd_epi16(wide, one));
    }
    _mm_storeu_si128((__m128i *)lane, sum);
    return lane[0] + lane[1] + lane[2] + lane[3];
}

/* One group for one or two tokens. */
static void group_rows(const int8_t *a, int64_t lda, bool two, const int32_t *live,
                       int64_t begin, int64_t count, const uint8_t *w, const float *scale,
                       int32_t vector, float *y)
{
    int32_t total[2] = {total_of(a, live, begin, count), 0}, r = 0;
    if (two) total[1] = total_of(a + lda, live, begin, count);
    for (; !two && r + WIDE_ROWS <= vector; r += WIDE_ROWS)
        group_wide(a, live, begin, count, w + 4 * r, scale + r, vector, total[0], y + r);
    for (; r < vector; r += LINE_ROWS)
        (two ? group_2 : group_1)(a, lda, live, begin, count, w + 4 * r, scale + r,
                                  vector, total, y + r);
}

void icd_i_tile_block_int4_avx2(const int8_t *a, int64_t lda, int64_t tokens,
                                const int32_t *live, int64_t count, int64_t per,
                                const uint8_t *w, const float *scale, int32_t vector,
                                float *y)
{
    memset(y, 0, (size_t)(tokens * vector) * sizeof *y);
    for (int64_t begin = 0; begin < count;
         begin += per, scale += vector, w += 4 * vector * per) {
        int64_t n = count - begin < per ? count - begin : per;
        for (int64_t t = 0; t < tokens; t += 2)
            group_rows(a + t * lda, lda, t + 1 < tokens, live, begin, n, w, scale, vector,
                       y + t * vector);
    }
}

/* Where each byte of four rows' lines comes from in eight activations. */
static inline __m256i sources(const int8_t *codes)
{
    __m256i b = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)codes));
    b = _mm256_or_si256(b, _mm256_slli_epi32(b, 12));
    b = _mm256_or_si256(b, _mm256_slli_epi32(b, 6));
    b = _mm256_and_si256(b, _mm256_set1_epi32(0x03030303));
    return _mm256_or_si256(b, _mm256_set1_epi32(0x04040000));
}

static inline __m256i dot_24(__m256i sum, __m256i a, __m256i from, __m256i w)
{
    __m256i x = _mm256_shuffle_epi8(a, from);
    return widen(sum, _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(w, x)));
}

#define CLEAR_24(t) __m256i sum##t##0 = _mm256_setzero_si256(), sum##t##1 = sum##t##0;
#define STEP_24(t)                                                                       \
    {                                                                                    \
        __m256i b = broadcast8(x + t * lda);                                             \
        sum##t##0 = dot_24(sum##t##0, b, from0, w0);                                     \
        sum##t##1 = dot_24(sum##t##1, b, from1, w1);                                     \
    }
#define SAVE_24(t)                                                                       \
    _mm256_storeu_si256((__m256i *)(acc + t * vector), sum##t##0);                       \
    _mm256_storeu_si256((__m256i *)(acc + t * vector + 8), sum##t##1);
#define TILE_24(name, TOKENS)                                                            \
    static inline void name(const int8_t *a, int64_t lda, const int32_t *live,           \
                            int64_t count, const int8_t *w, const int8_t *codes,         \
                            int32_t vector, int32_t *acc)                                \
    {                                                                                    \
        TOKENS(CLEAR_24)                                                                 \
        for (int64_t j = 0; j < count; j++, w += 5 * vector, codes += 5 * vector) {      \
            const int8_t *x = a + ICD_STEP * (live ? live[j] : j);                       \
            __m256i w0 = load(w), w1 = load(w + 32);                                     \
            __m256i from0 = sources(codes), from1 = sources(codes + 8);                  \
            TOKENS(STEP_24)                                                              \
        }                                                                                \
        TOKENS(SAVE_24)                                                                  \
    }

TILE_24(tile_24_1, REPEAT_1)
TILE_24(tile_24_2, REPEAT_2)
TILE_24(tile_24_3, REPEAT_3)

/* 64 rows by one token: whole lines of memory one behind the other. */
#define WIDE_CLEAR_24(k) __m256i sum##k = _mm256_setzero_si256();
#define WIDE_STEP_24(k)                                                                  \
    sum##k = dot_24(sum##k, b, sources(codes + 8 * k), load(w + 32 * k));
#define WIDE_SAVE_24(k) _mm256_storeu_si256((__m256i *)acc + k, sum##k);

static void tile_24_wide(const int8_t *a, const int32_t *live, int64_t count,
                         const int8_t *w, const int8_t *codes, int32_t vector,
                         int32_t *acc)
{
    REPEAT_8(WIDE_CLEAR_24)
    for (int64_t j = 0; j < count; j++, w += 5 * vector, codes += 5 * vector) {
        __m256i b = broadcast8(a + ICD_STEP * (live ? live[j] : j));
        const int8_t *line = w;
        REPEAT_5(FETCH)
        REPEAT_8(WIDE_STEP_24)
    }
    REPEAT_8(WIDE_SAVE_24)
}

void icd_i_tile_block_24_avx2(const int8_t *a, int64_t lda, int64_t tokens,
                              const int32_t *live, int64_t count, const int8_t *w,
                              const int32_t *comp, int32_t vector, int32_t *acc)
{
    int32_t r = 0;
    (void)comp;
    for (; tokens == 1 && r + WIDE_ROWS <= vector; r += WIDE_ROWS)
        tile_24_wide(a, live, count, w + 4 * r, w + 4 * vector + r, vector, acc + r);
    for (; r < vector; r += LINE_ROWS) {
        const int8_t *line = w + 4 * r, *codes = w + 4 * vector + r;
        int64_t t = 0;
        for (; t + 3 <= tokens; t += 3)
            tile_24_3(a + t * lda, lda, live, count, line, codes, vector,
                      acc + t * vector + r);
        for (; t + 2 <= tokens; t += 2)
            tile_24_2(a + t * lda, lda, live, count, line, codes, vector,
                      acc + t * vector + r);
        if (t < tokens)
            tile_24_1(a + t * lda, lda, live, count, line, codes, vector,
                      acc + t * vector + r);
    }
}
#endif
