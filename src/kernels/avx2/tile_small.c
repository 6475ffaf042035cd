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

static inline void store(void *p, __m256i v)
{
    _mm256_storeu_si256((__m256i *)p, v);
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

static inline int32_t add_lanes(__m256i v)
{
    __m128i sum =
        _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
    return _mm_cvtsi128_si32(sum) + _mm_extract_epi32(sum, 1);
}

/* The sum of a token's activations over a group: four steps at a time where they lie one
   behind the other. */
static int32_t total_of(const int8_t *a, const int32_t *live, int64_t begin,
                        int64_t count)
{
    const __m256i one = _mm256_set1_epi8(1);
    __m256i sum = _mm256_setzero_si256();
    int64_t j = begin, end = begin + count;
    for (; !live && j + 4 <= end; j += 4)
        sum = widen(sum, _mm256_maddubs_epi16(one, load(a + ICD_STEP * j)));
    for (; j < end; j++) {
        const void *x = a + ICD_STEP * (live ? live[j] : j);
        __m256i eight = _mm256_zextsi128_si256(_mm_loadl_epi64(x));
        sum = widen(sum, _mm256_maddubs_epi16(one, eight));
    }
    return add_lanes(sum);
}

/* One token, 64 rows. Memory answers a core that reads at one place only with half of its
   bandwidth, so the steps are read as four streams in turn; at its end a stream asks for
   the place where the same one of the next row block, which lies behind this one, begins.
   Sums of integers have no order: they wait in `dot`, and the scales are applied to them
   in the order of the groups. */
enum {
    WIDE_ROWS = 64,
    STREAMS = 4,
    DOTS = 64, /* groups whose sums wait: 16 KB */
    AHEAD = 8  /* steps: 2 KB of a stream, 100 ns of what memory delivers to all four */
};

#define FETCH(from, bytes)                                                               \
    for (size_t at_ = 0; at_ < (size_t)(bytes); at_ += 64)                               \
        _mm_prefetch((const char *)(from) + at_, _MM_HINT_T0);

/* A stream of steps: where it stands, where its group and where all of it ends, how far
   behind that the same stream of the next block begins, and the sums of the group. */
typedef struct stream {
    int64_t at, group_end, end, jump;
    int32_t *dot;
} stream;

/* One token's operands for 64 rows. */
typedef struct wide {
    const int8_t *a;
    const int32_t *live;
    int64_t steps, per; /* of the whole list; of a scale */
    const uint8_t *w;
    const float *scale;
    int32_t vector;
} wide;

static stream open_stream(const wide *p, int64_t begin, int64_t at, int64_t end,
                          int32_t *dot)
{
    int64_t group = (at - begin) / p->per;
    return (stream){.at = at,
                    .group_end = begin + (group + 1) * p->per,
                    .end = end,
                    .jump = p->steps - (end - at),
                    .dot = dot + group * WIDE_ROWS};
}

/* Step `at` is added to the sums of its group; step `ahead` is asked for. */
#define WIDE_STEP(k)                                                                     \
    {                                                                                    \
        __m256i v = load(line + 32 * k);                                                 \
        __m256i high = _mm256_and_si256(_mm256_srli_epi16(v, 4), half);                  \
        __m256i both =                                                                   \
            _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_and_si256(v, half), b),         \
                             _mm256_maddubs_epi16(high, c));                             \
        store(dot + 8 * k, widen(load(dot + 8 * k), both));                              \
    }

static inline void wide_step(const wide *p, int64_t at, int64_t ahead, int32_t *dot)
{
    const __m256i half = _mm256_set1_epi8(15);
    const int64_t step = icd_i_step_bytes_int4(p->vector);
    const uint8_t *line = p->w + step * at;
    const int8_t *x = p->a + ICD_STEP * (p->live ? p->live[at] : at);
    __m256i b = broadcast4(x), c = broadcast4(x + 4);
    FETCH(p->w + step * ahead, 4 * WIDE_ROWS)
    REPEAT_8(WIDE_STEP)
}

/* One step of a stream; false at its end. */
static inline bool next_step(const wide *p, stream *s)
{
    int64_t ahead = s->at + AHEAD + (s->at + AHEAD < s->end ? 0 : s->jump);
    if (s->at == s->end) return false;
    wide_step(p, s->at, ahead, s->dot);
    if (++s->at == s->group_end) {
        s->group_end += p->per;
        s->dot += WIDE_ROWS;
    }
    return true;
}

/* The sums of the steps `begin` to `end` - 1; groups start at `begin`. */
static void wide_dots(const wide *p, int64_t begin, int64_t end, int32_t *dot)
{
    int64_t part = (end - begin + STREAMS - 1) / STREAMS;
    stream s[STREAMS];
    for (int i = 0; i < STREAMS; i++) {
        int64_t at = begin + i * part < end ? begin + i * part : end;
        s[i] = open_stream(p, begin, at, at + part < end ? at + part : end, dot);
    }
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < STREAMS; i++) more |= next_step(p, &s[i]);
    }
}

#define WIDE_READ(k) __m256 y##k = _mm256_loadu_ps(y + 8 * k);
#define WIDE_SCALE(k)                                                                    \
    y##k = _mm256_fmadd_ps(_mm256_cvtepi32_ps(load(dot + 8 * k)),                        \
                           _mm256_loadu_ps(scale + 8 * k), y##k);
#define WIDE_WRITE(k) _mm256_storeu_ps(y + 8 * k, y##k);

static void wide_scale(const int32_t *dot, int64_t groups, const float *scale,
                       int32_t vector, float *y)
{
    REPEAT_8(WIDE_READ)
    for (int64_t g = 0; g < groups; g++, dot += WIDE_ROWS, scale += vector) {
        REPEAT_8(WIDE_SCALE)
    }
    REPEAT_8(WIDE_WRITE)
}

static void wide_rows(const wide *p, float *y)
{
    int32_t dot[DOTS * WIDE_ROWS];
    for (int64_t begin = 0; begin < p->steps; begin += DOTS * p->per) {
        int64_t left = p->steps - begin,
                all = left < DOTS * p->per ? left : DOTS * p->per;
        int64_t groups = (all + p->per - 1) / p->per;
        for (int64_t g = 0; g < groups; g++) {
            int64_t rest = all - g * p->per, n = rest < p->per ? rest : p->per;
            int32_t total = total_of(p->a, p->live, begin + g * p->per, n);
            for (int i = 0; i < WIDE_ROWS; i += 8)
                store(dot + g * WIDE_ROWS + i, _mm256_set1_epi32(-8 * total));
        }
        wide_dots(p, begin, begin + all, dot);
        wide_scale(dot, groups, p->scale + begin / p->per * p->vector, p->vector, y);
    }
}

/* One group for one or two tokens, from row `r` on. */
static void group_rows(const int8_t *a, int64_t lda, bool two, const int32_t *live,
                       int64_t begin, int64_t count, const uint8_t *w, const float *scale,
                       int32_t vector, int32_t r, float *y)
{
    int32_t total[2] = {total_of(a, live, begin, count), 0};
    if (two) total[1] = total_of(a + lda, live, begin, count);
    for (; r < vector; r += LINE_ROWS)
        (two ? group_2 : group_1)(a, lda, live, begin, count, w + 4 * r, scale + r,
                                  vector, total, y + r);
}

void icd_i_tile_block_int4_avx2(const int8_t *a, int64_t lda, int64_t tokens,
                                const int32_t *live, int64_t count, int64_t per,
                                const uint8_t *w, const float *scale, int32_t vector,
                                float *y)
{
    int32_t r = 0;
    memset(y, 0, (size_t)(tokens * vector) * sizeof *y);
    for (; tokens == 1 && r + WIDE_ROWS <= vector; r += WIDE_ROWS)
        wide_rows(&(wide){a, live, count, per, w + 4 * r, scale + r, vector}, y + r);
    if (r == vector) return;
    for (int64_t begin = 0; begin < count;
         begin += per, scale += vector, w += 4 * vector * per) {
        int64_t n = count - begin < per ? count - begin : per;
        for (int64_t t = 0; t < tokens; t += 2)
            group_rows(a + t * lda, lda, t + 1 < tokens, live, begin, n, w, scale, vector,
                       r, y + t * vector);
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

/* 64 rows by one token, as four streams. */
#define WIDE_CLEAR_24(k) __m256i sum##k = _mm256_setzero_si256();
#define WIDE_STEP_24(k)                                                                  \
    sum##k = dot_24(sum##k, b, sources(codes + 8 * k), load(line + 32 * k));             \
    IN_ORDER(sum##k)
#define WIDE_SAVE_24(k) store(acc + 8 * k, sum##k);

static void tile_24_wide(const int8_t *a, const int32_t *live, int64_t count,
                         const int8_t *w, int64_t codes_at, int32_t vector, int32_t *acc)
{
    int64_t part = (count + STREAMS - 1) / STREAMS;
    REPEAT_8(WIDE_CLEAR_24)
    for (int64_t i = 0; i < part; i++)
        for (int64_t j = i; j < count; j += part) {
            const int8_t *line = w + 5 * (int64_t)vector * j, *codes = line + codes_at;
            __m256i b = broadcast8(a + ICD_STEP * (live ? live[j] : j));
            int64_t ahead = i + AHEAD < part ? j + AHEAD : j + AHEAD - part + count;
            FETCH(w + 5 * (int64_t)vector * ahead, 5 * WIDE_ROWS)
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
        tile_24_wide(a, live, count, w + 4 * r, 4 * vector - 3 * r, vector, acc + r);
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
