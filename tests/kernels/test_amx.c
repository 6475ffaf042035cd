/* The AMX tiles, compiled against a model of the instructions that they use, so that
   their logic is tested on any x86-64 CPU. */
#include "levels.h"

#if defined(__x86_64__)
#include "kernels/level.h"

#include <immintrin.h>

/* Eight tiles of 16 rows of 64 bytes, as palette 1 has them, and what they are
   configured to. */
static struct {
    bool configured;
    uint16_t row_bytes[16];
    uint8_t rows[16];
    uint8_t data[8][16][64];
} amx;
static int64_t products;

static void model_config(const void *p)
{
    const uint8_t *c = p;
    assert_int_equal(c[0], 1);
    for (int i = 1; i < 16; i++) assert_int_equal(c[i], 0);
    memcpy(amx.row_bytes, c + 16, sizeof amx.row_bytes);
    memcpy(amx.rows, c + 48, sizeof amx.rows);
    for (int i = 0; i < 16; i++)
        assert_true(amx.rows[i] <= (i < 8 ? 16 : 0) &&
                    amx.row_bytes[i] <= (i < 8 ? 64 : 0));
    memset(amx.data, 0, sizeof amx.data);
    amx.configured = true;
}

static void check_tile(int t)
{
    assert_true(amx.configured && amx.rows[t] && amx.row_bytes[t]);
}

static void model_load(int t, const void *base, int64_t stride)
{
    check_tile(t);
    memset(amx.data[t], 0, sizeof amx.data[t]);
    for (int r = 0; r < amx.rows[t]; r++)
        memcpy(amx.data[t][r], (const char *)base + r * stride, amx.row_bytes[t]);
}

static void model_store(int t, void *base, int64_t stride)
{
    check_tile(t);
    for (int r = 0; r < amx.rows[t]; r++)
        memcpy((char *)base + r * stride, amx.data[t][r], amx.row_bytes[t]);
}

/* tdpbusd: c[m][n] gains four products for every row k of b, unsigned bytes of a by
   signed ones of b, modulo 2^32. */
static void model_dpbusd(int c, int a, int b)
{
    check_tile(a);
    check_tile(b);
    check_tile(c);
    assert_true(amx.rows[c] == amx.rows[a] && amx.row_bytes[a] == 4 * amx.rows[b] &&
                amx.row_bytes[c] == amx.row_bytes[b]);
    for (int m = 0; m < amx.rows[c]; m++)
        for (int n = 0; n < amx.row_bytes[c] / 4; n++) {
            uint32_t sum;
            memcpy(&sum, amx.data[c][m] + 4 * n, sizeof sum);
            for (int k = 0; k < amx.row_bytes[a]; k++)
                sum += (uint32_t)(amx.data[a][m][k] *
                                  (int8_t)amx.data[b][k / 4][4 * n + k % 4]);
            memcpy(amx.data[c][m] + 4 * n, &sum, sizeof sum);
        }
    products++;
}

/* What the AVX-512 tiles compute (test_avx512.c) for the tokens that fill no tile. */
static void rest(const uint8_t *a, int64_t slots, int64_t tokens, const int32_t *live,
                 const int32_t *at, int64_t count, const int8_t *w, const int32_t *comp,
                 int32_t vector, int32_t *acc)
{
    (void)comp;
    for (int64_t t = 0; t < tokens; t++)
        for (int32_t r = 0; r < vector; r++) {
            const uint8_t *x = a + t * icd_i_staged_bytes(slots);
            int32_t sum = 0;
            for (int64_t i = 0; i < 4 * count; i++)
                sum += (x[4 * (live ? live[i / 4] : i / 4) + i % 4] - 128) *
                       w[((at ? at[i / 4] : i / 4) * vector + r) * 4 + i % 4];
            acc[t * vector + r] = sum;
        }
}

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbusd
#define _tile_loadconfig(p)     model_config(p)
#define _tile_release()         ((void)(amx.configured = false))
#define _tile_loadd(t, p, n)    model_load(t, p, n)
#define _tile_stored(t, p, n)   model_store(t, p, n)
#define _tile_dpbusd(c, a, b)   model_dpbusd(c, a, b)
#define icd_i_tile_block_avx512 rest
#define icd_i_tile_block_amx    amx_model
void amx_model(const uint8_t *a, int64_t slots, int64_t tokens, const int32_t *live,
               const int32_t *at, int64_t count, const int8_t *w, const int32_t *comp,
               int32_t vector, int32_t *acc);
#include "kernels/amx/tile.c"

enum { GROUPS = 53, TOKENS = 50, MAX_VECTOR = 144 };

/* Groups one by one, and in runs that are shorter, longer and as long as a tile. */
static int64_t make_list(icd_rng *rng, int64_t kind, int32_t *live)
{
    int64_t n = 0;
    for (int32_t g = 0; g < GROUPS; g++)
        if (kind == 0 || (kind == 1 && icd_i_rng_below(rng, 2)) ||
            (kind == 2 && g / 8 % 2) || (kind == 3 && (g < 3 || g >= 7)))
            live[n++] = g;
    return n;
}

/* Buffers end where the data end, so that the address sanitizer sees a step too far. */
static void compare(icd_rng *rng, int64_t tokens, int32_t vector, const int32_t *live,
                    const int32_t *at, int64_t count)
{
    const icd_kernels *ref = icd_i_kernels(ICD_ISA_REF);
    int64_t row = icd_i_staged_bytes(4 * GROUPS), sums = tokens * vector;
    int8_t *a = checked_malloc((size_t)(tokens * 4 * GROUPS)),
           *w = checked_malloc((size_t)(count * vector * 4));
    uint8_t *staged = checked_malloc((size_t)(tokens * row));
    int32_t *found = checked_malloc((size_t)sums * sizeof *found),
            *expected = checked_malloc((size_t)sums * sizeof *expected),
            comp[MAX_VECTOR] = {0};
    fill_int8(rng, a, tokens * 4 * GROUPS);
    fill_int8(rng, w, count * vector * 4);
    for (int64_t i = 0; i < count * vector * 4; i++) comp[i / 4 % vector] += 128 * w[i];
    ref->stage_rows(a, 4 * GROUPS, tokens, 4 * GROUPS, staged);
    ref->tile_block(staged, 4 * GROUPS, tokens, live, at, count, w, comp, vector,
                    expected);
    for (int64_t t = 0; t < tokens; t++) /* as stage_rows of AVX-512 */
        for (int64_t s = 0; s < 4 * GROUPS; s++)
            staged[t * row + s] = (uint8_t)(a[t * 4 * GROUPS + s] + 128);
    products = 0;
    amx_model(staged, 4 * GROUPS, tokens, live, at, count, w, comp, vector, found);
    assert_memory_equal(found, expected, (size_t)sums * sizeof *found);
    assert_int_equal(products,
                     at ? 0 : tokens / 16 * (vector / 16) * ((count + 15) / 16));
    assert_false(amx.configured);
    free(a);
    free(w);
    free(staged);
    free(found);
    free(expected);
}

static void tiles_are_exact(void **state)
{
    icd_rng rng;
    int32_t live[GROUPS];
    (void)state;
    icd_i_rng_init(&rng, 60, 0);
    for (int32_t vector = 16; vector <= MAX_VECTOR; vector += 32)
        for (int64_t tokens = 1; tokens <= TOKENS; tokens += 7)
            for (int64_t kind = 0; kind < 4; kind++) {
                int64_t count = make_list(&rng, kind, live);
                compare(&rng, tokens, vector, live, NULL, count);
            }
}

static void tiles_without_a_list(void **state)
{
    static const int64_t COUNT[] = {0, 1, 15, 16, 17, 32, GROUPS};
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 61, 0);
    for (size_t i = 0; i < sizeof COUNT / sizeof *COUNT; i++)
        for (int32_t vector = 16; vector <= 80; vector += 16)
            compare(&rng, 32 + (int64_t)i, vector, NULL, NULL, COUNT[i]);
}

/* Lists of the weights are for a few tokens: AVX-512 takes all of them. */
static void lists_of_weights(void **state)
{
    static const int32_t AT[] = {0, 2, 3};
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 62, 0);
    for (int64_t tokens = 1; tokens <= 33; tokens += 16)
        compare(&rng, tokens, 64, AT, AT, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_are_exact),
        cmocka_unit_test(tiles_without_a_list),
        cmocka_unit_test(lists_of_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void)
{
    print_message("skipped: not an x86-64 CPU\n");
    return 77;
}
#endif
