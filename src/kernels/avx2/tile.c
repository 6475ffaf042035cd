/* Tiles with AVX2: 64 rows by one token, in passes over the channels.

   maddubs takes one unsigned factor and saturates at 16 bits, so the sign of an
   activation moves to the weight. With g = -1 where a < 0 and 0 elsewhere, one xor does
   it: |a| (w ^ g) = a w - [a < 0] |a|, and what is missing, the sum of |a| over a < 0, is
   the same for all rows: it is added at the end. A pair is at most 2 * 127 * 128 < 32768:
   exact. A step of 8 rows is xor, maddubs, madd and add, 32 products for the four vector
   operations of one cycle (psign, which fewer pipes take, costs a quarter more; 16-bit
   weights with madd alone as well).

   A staged row: for each group 4 bytes of |a| and 4 of g, both ready to be broadcast;
   then in int32 the sums of |a| over a < 0 before the first group, the second, ... and
   after the last. */
#include "kernels/level.h"
#include "kernels/repeat.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

enum {
    PASS = 64, /* groups: 64 x 64 rows x 4 bytes of weights fill half of the L1 (32 KB)
                  and stay there for all tokens; sums wait in acc between passes */
    WIDE_ROWS = 64, /* 8 sums; |a|, g, a product and the ones: 12 of 16 registers */
    PAIR = 8,       /* bytes of |a| and g of a group */
    VECTOR_BYTES = sizeof(__m256i)
};

static inline __m256i load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static inline void store(void *p, __m256i v)
{
    _mm256_storeu_si256((__m256i *)p, v);
}

static inline __m256i broadcast4(const uint8_t *a)
{
    int32_t four;
    memcpy(&four, a, sizeof four);
    return _mm256_set1_epi32(four);
}

static inline __m256i add_pairs(__m256i pairs)
{
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

static inline __m256i dot4(__m256i sum, __m256i magnitude, __m256i sign, __m256i w)
{
    __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_xor_si256(w, sign));
    return _mm256_add_epi32(sum, add_pairs(pairs));
}

/* Eight groups; returns their sums of |a| over a < 0. */
static inline __m256i stage_eight(__m256i a, uint8_t *pairs)
{
    __m256i magnitude = _mm256_abs_epi8(a);
    __m256i sign = _mm256_cmpgt_epi8(_mm256_setzero_si256(), a);
    __m256i even = _mm256_unpacklo_epi32(magnitude, sign); /* 0 1, 4 5 */
    __m256i odd = _mm256_unpackhi_epi32(magnitude, sign);  /* 2 3, 6 7 */
    __m256i negative = _mm256_and_si256(magnitude, sign);
    store(pairs, _mm256_permute2x128_si256(even, odd, 0x20));
    store(pairs + VECTOR_BYTES, _mm256_permute2x128_si256(even, odd, 0x31));
    return add_pairs(_mm256_maddubs_epi16(negative, _mm256_set1_epi8(1)));
}

static inline int32_t add_lanes(__m256i v)
{
    __m128i sum =
        _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
    return _mm_cvtsi128_si32(sum) + _mm_extract_epi32(sum, 1);
}

/* At most PASS groups; returns the sum of `below`. The last groups go through copies. */
static int32_t stage_pass(const int8_t *a, int64_t groups, uint8_t *pairs, uint8_t *below)
{
    int8_t last[VECTOR_BYTES] = {0};
    uint8_t two[2 * VECTOR_BYTES], sums[VECTOR_BYTES];
    __m256i total = _mm256_setzero_si256();
    int64_t j = 0, rest = groups % 8;
    for (; j + 8 <= groups; j += 8) {
        __m256i own = stage_eight(load(a + 4 * j), pairs + PAIR * j);
        store(below + 4 * j, own);
        total = _mm256_add_epi32(total, own);
    }
    if (rest) {
        memcpy(last, a + 4 * j, (size_t)(4 * rest));
        __m256i own = stage_eight(load(last), two);
        store(sums, own);
        memcpy(pairs + PAIR * j, two, (size_t)(PAIR * rest));
        memcpy(below + 4 * j, sums, (size_t)(4 * rest));
        total = _mm256_add_epi32(total, own);
    }
    return add_lanes(total);
}

void icd_i_stage_rows_avx2(const int8_t *a, int64_t lda, int64_t tokens, int64_t slots,
                           uint8_t *out)
{
    int64_t groups = slots / 4;
    for (int64_t t = 0; t < tokens; t++, a += lda, out += icd_i_staged_bytes(slots)) {
        uint8_t *below = out + PAIR * groups, *total = below + 4 * groups;
        for (int64_t j = 0; j < groups; j += PASS, total += 4) {
            int64_t n = groups - j < PASS ? groups - j : PASS;
            int32_t sum = stage_pass(a + 4 * j, n, out + PAIR * j, below + 4 * j);
            memcpy(total, &sum, sizeof sum);
        }
    }
}

/* One token's staged row of `groups`, and which `count` of them: a list, or, where `live`
   is NULL, those from `first` on. */
typedef struct part {
    const uint8_t *row;
    int64_t groups, first, count;
    const int32_t *live, *at;
} part;

static inline int32_t int32_at(const uint8_t *from, int64_t index)
{
    int32_t value;
    memcpy(&value, from + 4 * index, sizeof value);
    return value;
}

static inline int32_t below_of(const part *p, int64_t group)
{
    return int32_at(p->row + PAIR * p->groups, group);
}

/* What is missing in the sums of groups without a list: whole passes at once. */
static inline int32_t missing(const part *p)
{
    const uint8_t *total = p->row + (PAIR + 4) * p->groups;
    int64_t end = p->first + p->count;
    int32_t sum = 0;
    for (int64_t j = p->first; j < end;)
        if (j % PASS == 0 && (j + PASS <= end || end == p->groups)) {
            sum += int32_at(total, j / PASS);
            j += PASS;
        } else {
            sum += below_of(p, j++);
        }
    return sum;
}

/* One token by n vectors of 8 rows; `more`: acc holds the sums of earlier passes. What is
   missing is added last, so that no product waits for it. */
#define START(k) __m256i sum##k = _mm256_setzero_si256();
#define STEP(k)                                                                          \
    sum##k = dot4(sum##k, magnitude, sign, load(line + 32 * k));                         \
    IN_ORDER(sum##k)
#define SAVE(k)                                                                          \
    sum##k = _mm256_add_epi32(sum##k, _mm256_set1_epi32(rest));                          \
    if (more) sum##k = _mm256_add_epi32(sum##k, load(acc + 8 * k));                      \
    store(acc + 8 * k, sum##k);
#define GROUP(n, x, line)                                                                \
    {                                                                                    \
        __m256i magnitude = broadcast4(x), sign = broadcast4(x + PAIR / 2);              \
        REPEAT_##n(STEP)                                                                 \
    }
#define ROWS(n)                                                                          \
    static void rows_##n(const part *p, const int8_t *w, int32_t vector, bool more,      \
                         int32_t *acc)                                                   \
    {                                                                                    \
        const int64_t line_bytes = 4 * (int64_t)vector;                                  \
        const uint8_t *x = p->row + PAIR * p->first;                                     \
        const int8_t *line = w;                                                          \
        int32_t rest = 0;                                                                \
        REPEAT_##n(START) if (p->live || p->at)                                          \
        {                                                                                \
            for (int64_t j = 0; j < p->count; j++) {                                     \
                int64_t g = p->live ? (int64_t)p->live[j] : p->first + j;                \
                line = w + line_bytes * (p->at ? (int64_t)p->at[j] : j);                 \
                rest += below_of(p, g);                                                  \
                GROUP(n, p->row + PAIR * g, line)                                        \
            }                                                                            \
        }                                                                                \
        else                                                                             \
        {                                                                                \
            rest = missing(p);                                                           \
            for (int64_t j = 0; j < p->count; j++, x += PAIR, line += line_bytes)        \
                GROUP(n, x, line)                                                        \
        }                                                                                \
        REPEAT_##n(SAVE)                                                                 \
    }

ROWS(8)
ROWS(4)
ROWS(2)

/* At most WIDE_ROWS rows. */
static void rows_pass(const part *p, const int8_t *w, int32_t vector, int32_t rows,
                      bool more, int32_t *acc)
{
    int32_t r = 0;
    for (; r + 64 <= rows; r += 64) rows_8(p, w + 4 * r, vector, more, acc + r);
    for (; r + 32 <= rows; r += 32) rows_4(p, w + 4 * r, vector, more, acc + r);
    for (; r < rows; r += 16) rows_2(p, w + 4 * r, vector, more, acc + r);
}

/* The lines of a pass that the next token reads: not one behind the other, so that the
   processor does not see them coming. */
static void fetch(const uint8_t *pairs)
{
    enum { LINE = 64 };
    for (int i = 0; i < PAIR * PASS; i += LINE) _mm_prefetch(pairs + i, _MM_HINT_T0);
}

/* The whole of a call, for `rows` rows; p is the first token's part. */
static void wide_rows(const part *p, int64_t row, int64_t tokens, const int8_t *w,
                      int32_t vector, int32_t rows, int32_t *acc)
{
    int64_t first = 0;
    do {
        part now = *p;
        const int8_t *lines = p->at ? w : w + 4 * (int64_t)vector * first;
        if (p->live) now.live += first;
        if (p->at) now.at += first;
        now.first = first;
        now.count = p->count - first < PASS ? p->count - first : PASS;
        for (int64_t t = 0; t < tokens; t++, now.row += row) {
            if (now.count > 0)
                fetch(now.row + row + PAIR * (p->live ? now.live[0] : first));
            rows_pass(&now, lines, vector, rows, first > 0, acc + t * vector);
        }
        first += now.count;
    } while (first < p->count);
}

/* 64 rows by one token. Sums of integers have no order, so the list is read as four
   streams, each of whole lines one behind the other: memory answers a core that reads at
   one place only with half of its bandwidth. At its end a stream asks for the place where
   the same one of the next row block, which lies behind this one, begins. */
enum { STREAMS = 4, AHEAD = 8 };

static inline void fetch_line(const int8_t *line)
{
    for (int k = 0; k < 4 * WIDE_ROWS; k += 64) _mm_prefetch(line + k, _MM_HINT_T0);
}

static void one_token(const part *p, const int8_t *w, int32_t vector, int32_t *acc)
{
    const bool more = false;
    const int64_t line_bytes = 4 * (int64_t)vector;
    int64_t stream = (p->count + STREAMS - 1) / STREAMS;
    int32_t rest = p->live ? 0 : missing(p);
    REPEAT_8(START)
    for (int64_t i = 0; i < stream; i++)
        for (int64_t j = i; j < p->count; j += stream) {
            int64_t g = p->live ? (int64_t)p->live[j] : j;
            const int8_t *line = w + line_bytes * (p->at ? (int64_t)p->at[j] : j);
            if (p->live) rest += below_of(p, g);
            if (i + AHEAD >= stream)
                fetch_line(line + line_bytes * (AHEAD + p->count - stream));
            GROUP(8, p->row + PAIR * g, line)
        }
    REPEAT_8(SAVE)
}

void icd_i_tile_block_avx2(const uint8_t *a, int64_t slots, int64_t tokens,
                           const int32_t *live, const int32_t *at, int64_t count,
                           const int8_t *w, const int32_t *comp, int32_t vector,
                           int32_t *acc)
{
    part p = {a, slots / 4, 0, count, live, at};
    (void)comp;
    for (int32_t r = 0; r < vector; r += WIDE_ROWS) {
        int32_t rows = vector - r < WIDE_ROWS ? vector - r : WIDE_ROWS;
        if (tokens == 1 && rows == WIDE_ROWS)
            one_token(&p, w + 4 * r, vector, acc + r);
        else
            wide_rows(&p, icd_i_staged_bytes(slots), tokens, w + 4 * r, vector, rows,
                      acc + r);
    }
}
#endif
