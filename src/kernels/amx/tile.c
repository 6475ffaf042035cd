/* Tiles with AMX. One instruction multiplies 16 tokens x 64 channels, unsigned as VNNI
   wants them, by 64 channels x 16 rows, which lie in the packed weights as it reads them:
   16 groups, 64 bytes of each. All sums are modulo 2^32 and start from -comp, so they are
   those of the AVX-512 tiles, which take the tokens that fill no tile. */
#include "kernels/level.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

/* Sides of a tile: tokens, rows of the output, groups of 4 channels. */
enum { SIDE = 16, LINE = 64 };

/* The intrinsics do not tell every compiler which memory they read and write: what was
   stored at p before must be there, what is read after must be read again. */
static inline void settle(const void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}

/* Every tile is 16 rows of 64 bytes. 0 to 3 are sums, 4 activations, 5 and 6 weights. */
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

static void configure(void)
{
    tile_config c = {.palette = 1};
    for (int i = 0; i < 7; i++) {
        c.row_bytes[i] = LINE;
        c.rows[i] = SIDE;
    }
    settle(&c);
    _tile_loadconfig(&c);
}

/* What one product reads: rows of activations, groups of weights, and their strides. */
typedef struct operands {
    const uint8_t *a;
    const int8_t *w;
    int64_t lda, ldw;
} operands;

/* Groups `live` of 16 tokens side by side, runs of neighbours in one piece; what is left
   of the lines stays 0, so that weights there count for nothing. */
static void gather(const uint8_t *a, int64_t lda, const int32_t *live, int64_t count,
                   uint8_t *out)
{
    for (int64_t j = 0, run; j < count; j += run) {
        int64_t at = live ? live[j] : j;
        for (run = 1; j + run < count && (!live || live[j + run] == at + run);) run++;
        for (int t = 0; t < SIDE; t++)
            memcpy(out + t * LINE + 4 * j, a + t * lda + 4 * at, (size_t)(4 * run));
    }
}

static int is_run(const int32_t *live, int64_t count)
{
    for (int64_t j = 1; live && j < count; j++)
        if (live[j] != live[0] + j) return 0;
    return 1;
}

/* The activations of up to 16 groups from number `first` of the list: where they lie if
   that is 64 bytes in one piece, else in `own`. */
static void take_activations(operands *o, const uint8_t *a, int64_t lda,
                             const int32_t *live, int64_t first, int64_t count,
                             uint8_t *own)
{
    const int32_t *list = live ? live + first : NULL;
    const uint8_t *from = live ? a : a + 4 * first;
    if (count == SIDE && is_run(list, count)) {
        o->a = list ? a + 4 * (int64_t)list[0] : from;
        o->lda = lda;
        return;
    }
    memset(own, 0, SIDE * LINE);
    gather(from, lda, list, count, own);
    o->a = own;
    o->lda = LINE;
}

/* Weights of `groups` groups and `tiles` times 16 rows; behind the last group of a block
   there may be no memory to read, so a short end is copied. */
static void take_weights(operands *o, const int8_t *w, int32_t vector, int64_t groups,
                         int tiles, int8_t *own)
{
    o->w = w;
    o->ldw = 4 * (int64_t)vector;
    if (groups == SIDE) return;
    memset(own, 0, (size_t)(SIDE * LINE * tiles));
    for (int64_t j = 0; j < groups; j++)
        memcpy(own + j * LINE * tiles, w + j * o->ldw, (size_t)(LINE * tiles));
    o->w = own;
    o->ldw = LINE * tiles;
}

#define LIST    const int32_t *live, int64_t count
#define SUMS(t) _tile_loadd(t, comp + SIDE * t, 0) /* stride 0: 16 times the same row */
#define SAVE(t) _tile_stored(t, acc + SIDE * t, 4 * (int64_t)vector)
#define STEP(t, b)                                                                       \
    _tile_loadd(b, o.w + LINE * t, o.ldw);                                               \
    _tile_dpbusd(t, 4, b)

/* 16 tokens by 16 x `tiles` rows. @param comp [in] what the sums start from */
#define TILE(name, tiles, ALL_SUMS, ALL_STEPS, ALL_SAVES)                                \
    static void name(const uint8_t *a, int64_t lda, LIST, const int8_t *w,               \
                     const int32_t *comp, int32_t vector, int32_t *acc)                  \
    {                                                                                    \
        uint8_t own_a[SIDE * LINE];                                                      \
        int8_t own_w[SIDE * LINE * tiles];                                               \
        settle(comp);                                                                    \
        ALL_SUMS;                                                                        \
        for (int64_t j = 0; j < count; j += SIDE) {                                      \
            operands o;                                                                  \
            int64_t n = count - j < SIDE ? count - j : SIDE;                             \
            take_activations(&o, a, lda, live, j, n, own_a);                             \
            take_weights(&o, w + 4 * vector * j, vector, n, tiles, own_w);               \
            settle(o.a);                                                                 \
            settle(o.w);                                                                 \
            _tile_loadd(4, o.a, o.lda);                                                  \
            ALL_STEPS;                                                                   \
        }                                                                                \
        ALL_SAVES;                                                                       \
        settle(acc);                                                                     \
    }

TILE(tile_4, 4, SUMS(0); SUMS(1); SUMS(2); SUMS(3), STEP(0, 5); STEP(1, 6); STEP(2, 5);
     STEP(3, 6), SAVE(0); SAVE(1); SAVE(2); SAVE(3))
TILE(tile_1, 1, SUMS(0), STEP(0, 5), SAVE(0))

/* All whole tiles of tokens by `rows` output rows. */
static void rows_of(const uint8_t *a, int64_t lda, int64_t tokens, LIST, const int8_t *w,
                    const int32_t *comp, int32_t vector, int32_t rows, int32_t *acc)
{
    int32_t start[4 * SIDE];
    for (int32_t r = 0; r < rows; r++) start[r] = (int32_t)(0u - (uint32_t)comp[r]);
    for (int64_t t = 0; t + SIDE <= tokens; t += SIDE)
        (rows == 4 * SIDE ? tile_4 : tile_1)(a + t * lda, lda, live, count, w, start,
                                             vector, acc + t * vector);
}

void icd_i_tile_block_amx(const uint8_t *a, int64_t slots, int64_t tokens,
                          const int32_t *live, const int32_t *at, int64_t count,
                          const int8_t *w, const int32_t *comp, int32_t vector,
                          int32_t *acc)
{
    int64_t lda = icd_i_staged_bytes(slots), whole = at ? 0 : tokens / SIDE * SIDE;
    if (whole) configure();
    for (int32_t r = 0, rows; whole && r < vector; r += rows) {
        rows = r + 4 * SIDE <= vector ? 4 * SIDE : SIDE;
        rows_of(a, lda, whole, live, count, w + 4 * r, comp + r, vector, rows, acc + r);
    }
    if (whole) _tile_release();
    if (whole < tokens)
        icd_i_tile_block_avx512(a + whole * lda, slots, tokens - whole, live, at, count,
                                w, comp, vector, acc + whole * vector);
}
#endif
