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

/* Eight groups. */
static inline void stage_eight(__m256i a, uint8_t *pairs, uint8_t *below)
{
    __m256i magnitude = _mm256_abs_epi8(a);
    __m256i sign = _mm256_cmpgt_epi8(_mm256_setzero_si256(), a);
    __m256i even = _mm256_unpacklo_epi32(magnitude, sign); /* 0 1, 4 5 */
    __m256i odd = _mm256_unpackhi_epi32(magnitude, sign);  /* 2 3, 6 7 */
    __m256i negative = _mm256_and_si256(magnitude, sign);
    store(pairs, _mm256_permute2x128_si256(even, odd, 0x20));
    store(pairs + VECTOR_BYTES, _mm256_permute2x128_si256(even, odd, 0x31));
    store(below, add_pairs(_mm256_maddubs_epi16(negative, _mm256_set1_epi8(1))));
}

/* Sums of each group become sums of all groups before it. */
static void accumulate(uint8_t *below, int64_t groups)
{
    int32_t sum = 0;
    for (int64_t j = 0; j <= groups; j++) {
        int32_t own = 0;
        if (j < groups) memcpy(&own, below + 4 * j, sizeof own);
        memcpy(below + 4 * j, &sum, sizeof sum);
        sum += own;
    }
}

/* The last groups go through copies. */
static void stage_row(const int8_t *a, int64_t groups, uint8_t *out)
{
    uint8_t *below = out + PAIR * groups;
    int8_t last[VECTOR_BYTES] = {0};
    uint8_t pairs[2 * VECTOR_BYTES], sums[VECTOR_BYTES];
    int64_t j = 0;
    for (; j + 8 <= groups; j += 8)
        stage_eight(load(a + 4 * j), out + PAIR * j, below + 4 * j);
    if (j < groups) {
        memcpy(last, a + 4 * j, (size_t)(4 * (groups - j)));
        stage_eight(load(last), pairs, sums);
        memcpy(out + PAIR * j, pairs, (size_t)(PAIR * (groups - j)));
        memcpy(below + 4 * j, sums, (size_t)(4 * (groups - j)));
    }
    accumulate(below, groups);
}

void icd_i_stage_rows_avx2(const int8_t *a, int64_t lda, int64_t tokens, int64_t slots,
                           uint8_t *out)
{
    for (int64_t t = 0; t < tokens; t++)
        stage_row(a + t * lda, slots / 4, out + t * icd_i_staged_bytes(slots));
}

/* One token's operands in a pass: its pairs, its sums below 0, and which groups. */
typedef struct part {
    const uint8_t *pairs, *below;
    const int32_t *live, *at;
    int64_t count;
} part;

static inline int32_t below_of(const part *p, int64_t group)
{
    int32_t sum;
    memcpy(&sum, p->below + 4 * group, sizeof sum);
    return sum;
}

/* What is missing in every sum of the part. */
static inline int32_t missing(const part *p)
{
    int32_t sum = 0;
    if (!p->live) return below_of(p, p->count) - below_of(p, 0);
    for (int64_t j = 0; j < p->count; j++)
        sum += below_of(p, p->live[j] + 1) - below_of(p, p->live[j]);
    return sum;
}

/* One token by n vectors of 8 rows; `more`: acc holds the sums of earlier passes. What a
   sum starts from is added last, so that no product waits for it. */
#define START(k) __m256i sum##k = _mm256_setzero_si256();
#define STEP(k)                                                                          \
    sum##k = dot4(sum##k, magnitude, sign, load(line + 32 * k));                         \
    IN_ORDER(sum##k)
#define SAVE(k)                                                                          \
    sum##k = _mm256_add_epi32(sum##k, rest);                                             \
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
        const uint8_t *x = p->pairs;                                                     \
        const int8_t *line = w;                                                          \
        const __m256i rest = _mm256_set1_epi32(missing(p));                              \
        REPEAT_##n(START) if (p->live || p->at) for (int64_t j = 0; j < p->count; j++)   \
        {                                                                                \
            x = p->pairs + PAIR * (p->live ? (int64_t)p->live[j] : j);                   \
            line = w + line_bytes * (p->at ? (int64_t)p->at[j] : j);                     \
            GROUP(n, x, line)                                                            \
        }                                                                                \
        else for (int64_t j = 0; j < p->count; j++, x += PAIR, line += line_bytes)       \
            GROUP(n, x, line) REPEAT_##n(SAVE)                                           \
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

static void wide_rows(const uint8_t *a, int64_t slots, int64_t tokens,
                      const int32_t *live, const int32_t *at, int64_t count,
                      const int8_t *w, int32_t vector, int32_t rows, int32_t *acc)
{
    int64_t first = 0, row = icd_i_staged_bytes(slots);
    do {
        int64_t skip = live ? 0 : first;
        part p = {.live = live ? live + first : NULL,
                  .at = at ? at + first : NULL,
                  .count = count - first < PASS ? count - first : PASS};
        const int8_t *lines = at ? w : w + 4 * (int64_t)vector * first;
        for (int64_t t = 0; t < tokens; t++) {
            p.pairs = a + t * row + PAIR * skip;
            p.below = a + t * row + PAIR * (slots / 4) + 4 * skip;
            if (!live) fetch(p.pairs + row);
            rows_pass(&p, lines, vector, rows, first > 0, acc + t * vector);
        }
        first += p.count;
    } while (first < count);
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
    const __m256i rest = _mm256_set1_epi32(missing(p));
    int64_t stream = (p->count + STREAMS - 1) / STREAMS;
    REPEAT_8(START)
    for (int64_t i = 0; i < stream; i++)
        for (int64_t j = i; j < p->count; j += stream) {
            const uint8_t *x = p->pairs + PAIR * (p->live ? (int64_t)p->live[j] : j);
            const int8_t *line = w + line_bytes * (p->at ? (int64_t)p->at[j] : j);
            if (i + AHEAD >= stream)
                fetch_line(line + line_bytes * (AHEAD + p->count - stream));
            GROUP(8, x, line)
        }
    REPEAT_8(SAVE)
}

void icd_i_tile_block_avx2(const uint8_t *a, int64_t slots, int64_t tokens,
                           const int32_t *live, const int32_t *at, int64_t count,
                           const int8_t *w, const int32_t *comp, int32_t vector,
                           int32_t *acc)
{
    part p = {a, a + PAIR * (slots / 4), live, at, count};
    (void)comp;
    for (int32_t r = 0; r < vector; r += WIDE_ROWS) {
        int32_t rows = vector - r < WIDE_ROWS ? vector - r : WIDE_ROWS;
        if (tokens == 1 && rows == WIDE_ROWS)
            one_token(&p, w + 4 * r, vector, acc + r);
        else
            wide_rows(a, slots, tokens, live, at, count, w + 4 * r, vector, rows,
                      acc + r);
    }
}
#endif
